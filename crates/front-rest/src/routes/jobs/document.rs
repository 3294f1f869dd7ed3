//! `GET /v1/tenants/{tenant}/jobs/{job}/document`

use axum::Json;
use axum::extract::State;
use fleetward_app::jobs::job_document;
use fleetward_base::JobId;
use serde_json::value::RawValue;

use crate::caller::InTenant;
use crate::door::Door;
use crate::path::At;
use crate::problem::Problem;

/// Show the document of a job, as it was given
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/jobs/{job}/document",
    operation_id = "show_job_document",
    tag = "jobs",
    params(("tenant" = String, Path), ("job" = String, Path)),
    responses((status = 200, body = Object)),
    extensions(("x-permission" = json!("job:read"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(id): At<JobId>,
) -> Result<Json<Box<RawValue>>, Problem> {
    let document = job_document(door.app(), &caller.ctx, &caller.tenant, &id).await?;
    RawValue::from_string(document).map(Json).map_err(|_| Problem::internal())
}
