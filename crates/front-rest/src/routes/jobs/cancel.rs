//! `POST /v1/tenants/{tenant}/jobs/{job}/cancel`

use axum::extract::State;
use fleetward_app::jobs::cancel_job;
use fleetward_base::JobId;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::body::Json;
use crate::caller::InTenant;
use crate::door::Door;
use crate::etag::Tagged;
use crate::path::At;
use crate::problem::Problem;
use crate::view::JobProgressView;

/// How a job is canceled.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CancelJob, example = json!({ "reason_code": "superseded" }))]
pub(super) struct Body {
    /// A word for programs.
    reason_code: Option<String>,
    /// A sentence for people.
    comment: Option<String>,
    /// Also what is in progress.
    #[serde(default)]
    force: bool,
}

/// Cancel a job
///
/// What is queued is canceled; devices that began go on, unless it is by force.
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/jobs/{job}/cancel",
    operation_id = "cancel_job",
    tag = "jobs",
    params(("tenant" = String, Path), ("job" = String, Path)),
    request_body = Body,
    responses((status = 200, body = JobProgressView)),
    extensions(("x-permission" = json!("job:control"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(id): At<JobId>,
    body: Json<Body>,
) -> Result<Tagged<JobProgressView>, Problem> {
    let (ctx, tenant) = caller.once(&body);
    let Body { reason_code, comment, force } = body.value;
    let how = (reason_code, comment, force);
    Ok(super::tagged(cancel_job(door.app(), &ctx, &tenant, &id, None, how).await?))
}
