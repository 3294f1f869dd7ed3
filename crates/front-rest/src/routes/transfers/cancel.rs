//! `DELETE /v1/tenants/{tenant}/transfers/{transfer}`

use axum::extract::State;
use fleetward_app::transfers::cancel_transfer;
use fleetward_base::TransferId;
use http::StatusCode;

use crate::caller::InTenant;
use crate::door::Door;
use crate::path::At;
use crate::problem::Problem;

/// Take an offer back, or call a transfer off whose device is still waited for
///
/// It never changes otherwise, so it has no ETag and asks for no `If-Match`. One whose device has gone is a conflict.
#[utoipa::path(
    delete,
    path = "/v1/tenants/{tenant}/transfers/{transfer}",
    operation_id = "cancel_transfer",
    tag = "devices",
    params(("tenant" = String, Path), ("transfer" = String, Path)),
    responses((status = 204)),
    extensions(("x-permission" = json!("device:transfer"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(id): At<TransferId>,
) -> Result<StatusCode, Problem> {
    cancel_transfer(door.app(), &caller.ctx, &caller.tenant, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
