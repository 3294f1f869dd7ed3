//! `POST /v1/tenants/{tenant}/jobs`

use axum::extract::State;
use fleetward_app::jobs::{NewJob, create_job};
use fleetward_base::JobId;
use fleetward_core::job::{Policy, Selection};
use fleetward_core::selector::Selector;
use serde::Deserialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::body::Json;
use crate::caller::InTenant;
use crate::door::Door;
use crate::etag::Tagged;
use crate::problem::Problem;
use crate::view::JobProgressView;

/// A job to be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CreateJob, example = json!({
    "id": "reboot-2026-11",
    "document": { "operation": "reboot" },
    "targets": [{ "tags": ["eu"] }],
    "policy": {
        "rate": { "maximum_per_minute": 100 },
        "abort": [{ "failure": "all", "threshold_percent": 10, "minimum_executed": 20 }],
        "retry": [{ "failure": "timed_out", "retries": 2 }],
        "timeout_minutes": 30
    }
}))]
pub(super) struct Body {
    /// Its name: 1 to 64 of a-z, A-Z, 0-9, _ and -.
    #[schema(value_type = String)]
    id: JobId,
    /// A JSON object of at most 32,768 characters; it reaches the devices as it is.
    #[schema(value_type = Object)]
    document: Box<RawValue>,
    description: Option<String>,
    /// A device is meant that one of them means, each as the `selector` of a rollout.
    #[schema(value_type = Vec<Object>)]
    targets: Vec<Selector>,
    /// snapshot: who is there when it begins; continuous: also who comes, and who leaves loses what was not begun.
    #[serde(default = "snapshot")]
    #[schema(value_type = Option<String>)]
    selection: Selection,
    /// `rate`, `abort`, `retry`, `timeout_minutes` and `schedule`.
    #[serde(default)]
    #[schema(value_type = Object)]
    policy: Policy,
}

const fn snapshot() -> Selection {
    Selection::Snapshot
}

impl From<Body> for NewJob {
    fn from(body: Body) -> Self {
        Self {
            id: body.id,
            document: body.document.get().to_owned(),
            description: body.description,
            targets: body.targets,
            selection: body.selection,
            policy: body.policy,
        }
    }
}

/// Create a job
///
/// It begins by itself, at once or when its schedule says so.
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/jobs",
    operation_id = "create_job",
    tag = "jobs",
    params(("tenant" = String, Path)),
    request_body = Body,
    responses((status = 201, body = JobProgressView)),
    extensions(("x-permission" = json!("job:create"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    body: Json<Body>,
) -> Result<Tagged<JobProgressView>, Problem> {
    let (ctx, tenant) = caller.once(&body);
    let made = create_job(door.app(), &ctx, &tenant, body.value.into()).await?;
    Ok(Tagged::created(made.job.revision, made.into()))
}
