//! `POST /v1/tenants/{tenant}/transfers/{transfer}/complete`

use axum::extract::State;
use fleetward_app::transfers::complete_transfer;
use fleetward_base::TransferId;
use http::StatusCode;

use crate::caller::InTenant;
use crate::door::Door;
use crate::path::At;
use crate::problem::Problem;

/// Let a device go that has not said that it has wiped itself
///
/// For an accepted transfer whose device is waited for. What the device still remembers of this tenant goes along with it.
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/transfers/{transfer}/complete",
    operation_id = "complete_transfer",
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
    complete_transfer(door.app(), &caller.ctx, &caller.tenant, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
