//! `PUT /v1/tenants/{tenant}/certificates/{certificate}/device/{device}`

use axum::extract::State;
use fleetward_app::provisioning::unbound::attach;
use fleetward_base::DeviceId;
use http::StatusCode;

use crate::caller::InTenant;
use crate::door::Door;
use crate::path::{At, CertificateId};
use crate::problem::Problem;

/// Give a certificate to a device
///
/// It is that device's for good. Asking twice is harmless, so it asks for no `If-Match`.
#[utoipa::path(
    put,
    path = "/v1/tenants/{tenant}/certificates/{certificate}/device/{device}",
    operation_id = "attach_certificate",
    tag = "devices",
    params(("tenant" = String, Path), ("certificate" = String, Path), ("device" = String, Path)),
    responses((status = 204)),
    extensions(("x-permission" = json!("device:update"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(CertificateId(id)): At<CertificateId>,
    At(device): At<DeviceId>,
) -> Result<StatusCode, Problem> {
    attach(door.app(), &caller.ctx, &caller.tenant, &id, &device).await?;
    Ok(StatusCode::NO_CONTENT)
}
