//! `GET /v1/tenants/{tenant}/device-types/{name}`

use axum::Json as Answer;
use axum::extract::State;
use fleetward_app::device_types::device_type;

use super::{DeviceTypeView, view};
use crate::caller::InTenant;
use crate::door::Door;
use crate::path::{At, Name};
use crate::problem::Problem;

/// Show a type of devices
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/device-types/{name}",
    operation_id = "show_device_type",
    tag = "devices",
    params(("tenant" = String, Path), ("name" = String, Path)),
    responses((status = 200, body = DeviceTypeView)),
    extensions(("x-permission" = json!("device:read"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(Name(name)): At<Name>,
) -> Result<Answer<DeviceTypeView>, Problem> {
    Ok(Answer(view(device_type(door.app(), &caller.ctx, &caller.tenant, &name).await?)))
}
