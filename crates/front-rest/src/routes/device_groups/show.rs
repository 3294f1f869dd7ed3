//! `GET /v1/tenants/{tenant}/device-groups/{name}`

use axum::extract::State;
use fleetward_app::device_groups::device_group;

use super::{DeviceGroupView, tagged};
use crate::caller::InTenant;
use crate::door::Door;
use crate::etag::Tagged;
use crate::path::{At, Name};
use crate::problem::Problem;

/// Show a group of devices
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/device-groups/{name}",
    operation_id = "show_device_group",
    tag = "devices",
    params(("tenant" = String, Path), ("name" = String, Path)),
    responses((status = 200, body = DeviceGroupView)),
    extensions(("x-permission" = json!("device:read"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(Name(name)): At<Name>,
) -> Result<Tagged<DeviceGroupView>, Problem> {
    let (group, _) = device_group(door.app(), &caller.ctx, &caller.tenant, &name).await?;
    Ok(tagged(group))
}
