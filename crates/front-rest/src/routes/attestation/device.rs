//! `GET /v1/tenants/{tenant}/devices/{device}/attestation`

use axum::Json as Answer;
use axum::extract::State;
use fleetward_app::attestation::device_attestation;
use fleetward_base::DeviceId;

use crate::caller::InTenant;
use crate::door::Door;
use crate::path::At;
use crate::problem::Problem;
use crate::view::DeviceAttestationView;

/// Show how a device stands with its attestation
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/devices/{device}/attestation",
    operation_id = "show_device_attestation",
    tag = "attestation",
    params(("tenant" = String, Path), ("device" = String, Path)),
    responses((status = 200, body = DeviceAttestationView)),
    extensions(("x-permission" = json!("attestation:read"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(id): At<DeviceId>,
) -> Result<Answer<DeviceAttestationView>, Problem> {
    let found = device_attestation(door.app(), &caller.ctx, &caller.tenant, &id).await?;
    Ok(Answer(DeviceAttestationView::new(found)))
}
