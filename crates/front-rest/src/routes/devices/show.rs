//! `GET /v1/tenants/{tenant}/devices/{device}`

use axum::extract::State;
use fleetward_app::registry::device;
use fleetward_base::DeviceId;

use crate::caller::InTenant;
use crate::door::Door;
use crate::etag::Tagged;
use crate::path::At;
use crate::problem::Problem;
use crate::view::DeviceView;

/// Show a device
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/devices/{device}",
    operation_id = "show_device",
    tag = "devices",
    params(("tenant" = String, Path), ("device" = String, Path)),
    responses((status = 200, body = DeviceView)),
    extensions(("x-permission" = json!("device:read"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(id): At<DeviceId>,
) -> Result<Tagged<DeviceView>, Problem> {
    Ok(super::tagged(device(door.app(), &caller.ctx, &caller.tenant, &id).await?))
}
