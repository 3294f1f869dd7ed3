//! `DELETE /v1/tenants/{tenant}/devices/{device}/dids/{did}`

use axum::extract::State;
use fleetward_app::dids::remove_did;
use fleetward_base::DeviceId;
use http::StatusCode;

use crate::caller::InTenant;
use crate::door::Door;
use crate::path::{At, DidText};
use crate::problem::Problem;

/// Take an identifier from a device
///
/// An identifier has no ETag and asks for no `If-Match`.
#[utoipa::path(
    delete,
    path = "/v1/tenants/{tenant}/devices/{device}/dids/{did}",
    operation_id = "remove_device_did",
    tag = "devices",
    params(("tenant" = String, Path), ("device" = String, Path), ("did" = String, Path)),
    responses((status = 204)),
    extensions(("x-permission" = json!("device:update"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(id): At<DeviceId>,
    At(did): At<DidText>,
) -> Result<StatusCode, Problem> {
    remove_did(door.app(), &caller.ctx, &caller.tenant, &id, &did.0).await?;
    Ok(StatusCode::NO_CONTENT)
}
