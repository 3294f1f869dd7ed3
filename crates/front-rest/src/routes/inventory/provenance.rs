//! `GET /v1/tenants/{tenant}/devices/{device}/provenance`

use axum::Json;
use axum::extract::State;
use fleetward_app::inventory::provenance;
use fleetward_base::DeviceId;

use crate::caller::InTenant;
use crate::door::Door;
use crate::path::At;
use crate::problem::Problem;
use crate::view::InventoryRowView;

/// Show what is known of a device from its making
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/devices/{device}/provenance",
    operation_id = "show_device_provenance",
    tag = "devices",
    params(("tenant" = String, Path), ("device" = String, Path)),
    responses((status = 200, body = InventoryRowView)),
    extensions(("x-permission" = json!("inventory:read"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(id): At<DeviceId>,
) -> Result<Json<InventoryRowView>, Problem> {
    let found = provenance(door.app(), &caller.ctx, &caller.tenant, &id).await?;
    Ok(Json(InventoryRowView::new(found)))
}
