//! `DELETE /v1/tenants/{tenant}/makers/{maker}`

use axum::extract::State;
use fleetward_app::inventory::makers::remove_maker;
use http::StatusCode;

use crate::caller::InTenant;
use crate::door::Door;
use crate::path::{At, MakerName};
use crate::problem::Problem;

/// Believe nothing more of a maker
///
/// What was verified under its key stays so. A maker has no ETag and asks for no `If-Match`.
#[utoipa::path(
    delete,
    path = "/v1/tenants/{tenant}/makers/{maker}",
    operation_id = "remove_maker",
    tag = "enrolment",
    params(("tenant" = String, Path), ("maker" = String, Path)),
    responses((status = 204)),
    extensions(("x-permission" = json!("maker:manage"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(maker): At<MakerName>,
) -> Result<StatusCode, Problem> {
    remove_maker(door.app(), &caller.ctx, &caller.tenant, &maker.0).await?;
    Ok(StatusCode::NO_CONTENT)
}
