//! `POST /v1/tenants/{tenant}/devices/{device}/renew`

use axum::extract::State;
use fleetward_app::registry;
use fleetward_app::rotation::{Ask, ask_device_to_renew};
use fleetward_base::DeviceId;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::body::Json;
use crate::caller::InTenant;
use crate::door::Door;
use crate::etag::Tagged;
use crate::path::At;
use crate::problem::Problem;
use crate::view::DeviceView;

/// Why a device is to renew.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = RenewDevice, example = json!({ "reason": "the key may be known", "at_once": false }))]
pub(super) struct Body {
    /// For the history and for the device's log.
    #[serde(default)]
    reason: Option<String>,
    /// The old certificate ends with the first use of the new one.
    #[serde(default)]
    at_once: bool,
}

/// Ask a device to renew its certificate now
///
/// It is told at once where it is connected, and else when it is back.
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/devices/{device}/renew",
    operation_id = "renew_device",
    tag = "devices",
    params(("tenant" = String, Path), ("device" = String, Path)),
    request_body = Body,
    responses((status = 200, body = DeviceView)),
    extensions(("x-permission" = json!("rotation:create"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(id): At<DeviceId>,
    body: Json<Body>,
) -> Result<Tagged<DeviceView>, Problem> {
    let (ctx, tenant) = caller.once(&body);
    let ask = Ask { reason: body.value.reason.unwrap_or_default(), at_once: body.value.at_once };
    ask_device_to_renew(door.app(), &ctx, &tenant, &id, ask).await?;
    Ok(super::tagged(registry::device(door.app(), &ctx, &tenant, &id).await?))
}
