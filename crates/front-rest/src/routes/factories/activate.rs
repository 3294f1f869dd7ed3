//! `POST /v1/tenants/{tenant}/factory-certificates/{certificate}/activate`

use axum::Json as Answer;
use axum::extract::State;
use fleetward_app::provisioning::jit::activate;

use crate::caller::InTenant;
use crate::door::Door;
use crate::path::{At, CertificateId};
use crate::problem::Problem;
use crate::view::FactoryCertificateView;

/// Let a device in that waits
///
/// Asking twice is harmless.
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/factory-certificates/{certificate}/activate",
    operation_id = "activate_factory_certificate",
    tag = "provisioning",
    params(("tenant" = String, Path), ("certificate" = String, Path)),
    responses((status = 200, body = FactoryCertificateView)),
    extensions(("x-permission" = json!("device:activate"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(CertificateId(id)): At<CertificateId>,
) -> Result<Answer<FactoryCertificateView>, Problem> {
    Ok(Answer(activate(door.app(), &caller.ctx, &caller.tenant, &id).await?.into()))
}
