//! `GET /v1/tenants/{tenant}/devices/{device}/dids`

use axum::Json;
use axum::extract::State;
use fleetward_app::dids::dids;
use fleetward_base::DeviceId;

use crate::caller::InTenant;
use crate::door::Door;
use crate::path::At;
use crate::problem::Problem;
use crate::view::{DeviceDidView, DeviceDidsView};

/// Show the identifiers of a device
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/devices/{device}/dids",
    operation_id = "show_device_dids",
    tag = "devices",
    params(("tenant" = String, Path), ("device" = String, Path)),
    responses((status = 200, body = DeviceDidsView)),
    extensions(("x-permission" = json!("device:read"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(id): At<DeviceId>,
) -> Result<Json<DeviceDidsView>, Problem> {
    let found = dids(door.app(), &caller.ctx, &caller.tenant, &id).await?;
    Ok(Json(DeviceDidsView { items: found.into_iter().map(DeviceDidView::new).collect() }))
}
