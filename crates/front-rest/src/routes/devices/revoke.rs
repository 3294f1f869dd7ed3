//! `POST /v1/tenants/{tenant}/devices/{device}/revoke`

use axum::extract::State;
use fleetward_app::registry::revoke_device;
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

/// Why a device is revoked.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = RevokeDevice, example = json!({ "reason": "key_compromise" }))]
pub(super) struct Body {
    /// For the history; `unspecified` where it is absent.
    #[serde(default)]
    reason: Option<String>,
}

/// Revoke a device
///
/// Every certificate is revoked and its session ends within a second. A new enrolment token brings the device back.
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/devices/{device}/revoke",
    operation_id = "revoke_device",
    tag = "devices",
    params(("tenant" = String, Path), ("device" = String, Path)),
    request_body = Body,
    responses((status = 200, body = DeviceView)),
    extensions(("x-permission" = json!("device:revoke"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(id): At<DeviceId>,
    body: Json<Body>,
) -> Result<Tagged<DeviceView>, Problem> {
    let (ctx, tenant) = caller.once(&body);
    let reason = body.value.reason.unwrap_or_else(|| "unspecified".to_owned());
    Ok(super::tagged(revoke_device(door.app(), &ctx, &tenant, &id, &reason).await?))
}
