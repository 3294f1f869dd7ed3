//! `POST /v1/tenants/{tenant}/devices/{device}/status`

use axum::extract::State;
use fleetward_app::registry::change_status;
use fleetward_base::DeviceId;
use fleetward_core::lifecycle::Transition;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::body::Json;
use crate::caller::InTenant;
use crate::door::Door;
use crate::etag::Tagged;
use crate::path::At;
use crate::problem::Problem;
use crate::view::DeviceView;

/// A step in a device's life.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ChangeDeviceStatus, example = json!({ "transition": "quarantine" }))]
pub(super) struct Body {
    /// claim, quarantine, suspend, report_lost, reinstate or decommission.
    #[schema(value_type = String)]
    transition: Transition,
}

/// Move a device along its life
///
/// Decommissioning asks for `device:decommission`, suspending and reporting lost for `device:revoke`.
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/devices/{device}/status",
    operation_id = "change_device_status",
    tag = "devices",
    params(("tenant" = String, Path), ("device" = String, Path)),
    request_body = Body,
    responses((status = 200, body = DeviceView)),
    extensions(("x-permission" = json!("device:update"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(id): At<DeviceId>,
    body: Json<Body>,
) -> Result<Tagged<DeviceView>, Problem> {
    let (ctx, tenant) = caller.once(&body);
    Ok(super::tagged(change_status(door.app(), &ctx, &tenant, &id, body.value.transition).await?))
}
