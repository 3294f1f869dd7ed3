//! `DELETE /v1/tenants/{tenant}/jobs/{job}`

use axum::extract::State;
use fleetward_app::jobs::{delete_job, job};
use fleetward_base::JobId;
use http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::caller::InTenant;
use crate::door::Door;
use crate::etag::IfMatch;
use crate::listing::Query;
use crate::path::At;
use crate::problem::Problem;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct How {
    /// Also one that is under way
    #[serde(default)]
    force: bool,
}

/// Delete a job with its executions
///
/// It is gone a moment later.
#[utoipa::path(
    delete,
    path = "/v1/tenants/{tenant}/jobs/{job}",
    operation_id = "delete_job",
    tag = "jobs",
    params(
        ("tenant" = String, Path),
        ("job" = String, Path),
        How,
        ("If-Match" = String, Header, description = "The ETag of what was seen, or `*`"),
    ),
    responses((status = 204)),
    extensions(("x-permission" = json!("job:control"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    InTenant { ctx, tenant, .. }: InTenant,
    At(id): At<JobId>,
    Query(how): Query<How>,
    if_match: IfMatch,
) -> Result<StatusCode, Problem> {
    let current = async { job(door.app(), &ctx, &tenant, &id).await.map(|found| found.job.revision) };
    let expected = Some(if_match.revision(current).await?);
    delete_job(door.app(), &ctx, &tenant, &id, expected, how.force).await?;
    Ok(StatusCode::NO_CONTENT)
}
