//! `GET /v1/tenants/{tenant}/jobs/{job}`

use axum::extract::State;
use fleetward_app::jobs::job;
use fleetward_base::JobId;

use crate::caller::InTenant;
use crate::door::Door;
use crate::etag::Tagged;
use crate::path::At;
use crate::problem::Problem;
use crate::view::JobProgressView;

/// Show a job with its progress
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/jobs/{job}",
    operation_id = "show_job",
    tag = "jobs",
    params(("tenant" = String, Path), ("job" = String, Path)),
    responses((status = 200, body = JobProgressView)),
    extensions(("x-permission" = json!("job:read"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(id): At<JobId>,
) -> Result<Tagged<JobProgressView>, Problem> {
    Ok(super::tagged(job(door.app(), &caller.ctx, &caller.tenant, &id).await?))
}
