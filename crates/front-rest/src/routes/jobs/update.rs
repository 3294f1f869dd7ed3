//! `PATCH /v1/tenants/{tenant}/jobs/{job}`

use axum::extract::State;
use fleetward_app::jobs::{JobChange, job, update_job};
use fleetward_base::JobId;
use fleetward_core::job::{Abort, Rate, Retry};
use fleetward_core::selector::Selector;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::body::Json;
use crate::caller::InTenant;
use crate::door::Door;
use crate::etag::{IfMatch, Tagged};
use crate::fields::{Given, given};
use crate::path::At;
use crate::problem::Problem;
use crate::view::JobProgressView;

/// What is to be another way. Absent keeps, `null` clears.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = UpdateJob, example = json!({ "rate": { "maximum_per_minute": 500 } }))]
pub(super) struct Body {
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<String>)]
    description: Given<String>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<Object>)]
    rate: Given<Rate>,
    #[schema(value_type = Option<Vec<Object>>)]
    abort: Option<Vec<Abort>>,
    #[schema(value_type = Option<Vec<Object>>)]
    retry: Option<Vec<Retry>>,
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<u32>)]
    timeout_minutes: Given<u32>,
    /// Come to those there are; of a continuous job only.
    #[serde(default)]
    #[schema(value_type = Vec<Object>)]
    add_targets: Vec<Selector>,
}

impl From<Body> for JobChange {
    fn from(body: Body) -> Self {
        Self {
            description: body.description,
            rate: body.rate,
            abort: body.abort,
            retry: body.retry,
            timeout_minutes: body.timeout_minutes,
            add_targets: body.add_targets,
        }
    }
}

/// Change a job that has not ended
#[utoipa::path(
    patch,
    path = "/v1/tenants/{tenant}/jobs/{job}",
    operation_id = "update_job",
    tag = "jobs",
    params(
        ("tenant" = String, Path),
        ("job" = String, Path),
        ("If-Match" = String, Header, description = "The ETag of what was seen, or `*`"),
    ),
    request_body = Body,
    responses((status = 200, body = JobProgressView)),
    extensions(("x-permission" = json!("job:control"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    InTenant { ctx, tenant, .. }: InTenant,
    At(id): At<JobId>,
    if_match: IfMatch,
    body: Json<Body>,
) -> Result<Tagged<JobProgressView>, Problem> {
    let current = async { job(door.app(), &ctx, &tenant, &id).await.map(|found| found.job.revision) };
    let expected = Some(if_match.revision(current).await?);
    Ok(super::tagged(update_job(door.app(), &ctx, &tenant, &id, expected, body.value.into()).await?))
}
