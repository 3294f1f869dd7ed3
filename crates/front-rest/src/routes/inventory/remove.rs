//! `DELETE /v1/tenants/{tenant}/inventory/{serial}`

use axum::extract::State;
use fleetward_app::inventory::remove_inventory;
use http::StatusCode;

use crate::caller::InTenant;
use crate::door::Door;
use crate::path::{At, Serial};
use crate::problem::Problem;

/// Take a row out of the manufacturing database
///
/// A device that came in by it stays. A row has no ETag and asks for no `If-Match`.
#[utoipa::path(
    delete,
    path = "/v1/tenants/{tenant}/inventory/{serial}",
    operation_id = "remove_inventory_row",
    tag = "enrolment",
    params(("tenant" = String, Path), ("serial" = String, Path)),
    responses((status = 204)),
    extensions(("x-permission" = json!("inventory:remove"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(serial): At<Serial>,
) -> Result<StatusCode, Problem> {
    remove_inventory(door.app(), &caller.ctx, &caller.tenant, &serial.0).await?;
    Ok(StatusCode::NO_CONTENT)
}
