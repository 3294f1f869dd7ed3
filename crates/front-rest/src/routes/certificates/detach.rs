//! `DELETE /v1/tenants/{tenant}/certificates/{certificate}/device/{device}`

use axum::extract::State;
use fleetward_app::provisioning::unbound::detach;
use fleetward_base::DeviceId;
use http::StatusCode;

use crate::caller::InTenant;
use crate::door::Door;
use crate::path::{At, CertificateId};
use crate::problem::Problem;

/// Take a certificate from its device
///
/// It counts no more, until it is attached to the same device again; its session ends.
#[utoipa::path(
    delete,
    path = "/v1/tenants/{tenant}/certificates/{certificate}/device/{device}",
    operation_id = "detach_certificate",
    tag = "devices",
    params(("tenant" = String, Path), ("certificate" = String, Path), ("device" = String, Path)),
    responses((status = 204)),
    extensions(("x-permission" = json!("device:revoke"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(CertificateId(id)): At<CertificateId>,
    At(device): At<DeviceId>,
) -> Result<StatusCode, Problem> {
    detach(door.app(), &caller.ctx, &caller.tenant, &id, &device).await?;
    Ok(StatusCode::NO_CONTENT)
}
