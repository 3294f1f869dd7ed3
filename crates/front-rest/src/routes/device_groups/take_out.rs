//! `DELETE /v1/tenants/{tenant}/device-groups/{name}/devices/{device}`

use axum::extract::State;
use fleetward_app::device_groups::move_device;
use fleetward_base::DeviceId;
use http::StatusCode;

use crate::caller::InTenant;
use crate::door::Door;
use crate::path::{At, Name};
use crate::problem::Problem;

/// Take a device out of a group
///
/// Asking twice is harmless, so it asks for no `If-Match`.
#[utoipa::path(
    delete,
    path = "/v1/tenants/{tenant}/device-groups/{name}/devices/{device}",
    operation_id = "take_device_out_of_group",
    tag = "devices",
    params(("tenant" = String, Path), ("name" = String, Path), ("device" = String, Path)),
    responses((status = 204)),
    extensions(("x-permission" = json!("device:update"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(Name(name)): At<Name>,
    At(id): At<DeviceId>,
) -> Result<StatusCode, Problem> {
    move_device(door.app(), &caller.ctx, &caller.tenant, &id, &name, false).await?;
    Ok(StatusCode::NO_CONTENT)
}
