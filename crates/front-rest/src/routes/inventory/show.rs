//! `GET /v1/tenants/{tenant}/inventory/{serial}`

use axum::Json;
use axum::extract::State;
use fleetward_app::inventory::inventory_row;

use crate::caller::InTenant;
use crate::door::Door;
use crate::path::{At, Serial};
use crate::problem::Problem;
use crate::view::InventoryRowView;

/// Show a row of the manufacturing database
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/inventory/{serial}",
    operation_id = "show_inventory_row",
    tag = "enrolment",
    params(("tenant" = String, Path), ("serial" = String, Path)),
    responses((status = 200, body = InventoryRowView)),
    extensions(("x-permission" = json!("inventory:read"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(serial): At<Serial>,
) -> Result<Json<InventoryRowView>, Problem> {
    let found = inventory_row(door.app(), &caller.ctx, &caller.tenant, &serial.0).await?;
    Ok(Json(InventoryRowView::new(found)))
}
