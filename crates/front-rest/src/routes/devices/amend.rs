//! `PATCH /v1/tenants/{tenant}/devices/{device}`

use axum::extract::State;
use fleetward_app::registry::{amend_device, device};
use fleetward_base::DeviceId;

use super::Amendment;
use crate::body::Json;
use crate::caller::InTenant;
use crate::door::Door;
use crate::etag::{IfMatch, Tagged};
use crate::path::At;
use crate::problem::Problem;
use crate::view::DeviceView;

/// Change fields of a device
#[utoipa::path(
    patch,
    path = "/v1/tenants/{tenant}/devices/{device}",
    operation_id = "amend_device",
    tag = "devices",
    params(
        ("tenant" = String, Path),
        ("device" = String, Path),
        ("If-Match" = String, Header, description = "The ETag of what was seen, or `*`"),
    ),
    request_body = Amendment,
    responses((status = 200, body = DeviceView)),
    extensions(("x-permission" = json!("device:update"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    InTenant { ctx, tenant, .. }: InTenant,
    At(id): At<DeviceId>,
    if_match: IfMatch,
    body: Json<Amendment>,
) -> Result<Tagged<DeviceView>, Problem> {
    let current = async { device(door.app(), &ctx, &tenant, &id).await.map(|found| found.device.revision) };
    let expected = if_match.revision(current).await?;
    Ok(super::tagged(amend_device(door.app(), &ctx, &tenant, &id, expected, body.value.into()).await?))
}
