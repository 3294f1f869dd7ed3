//! `GET /v1/tenants/{tenant}/certificates/{certificate}`

use axum::Json;
use axum::extract::State;
use fleetward_app::provisioning::unbound::certificate;

use super::View;
use crate::caller::InTenant;
use crate::door::Door;
use crate::path::{At, CertificateId};
use crate::problem::Problem;

/// Show a certificate
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/certificates/{certificate}",
    operation_id = "show_certificate",
    tag = "devices",
    params(("tenant" = String, Path), ("certificate" = String, Path)),
    responses((status = 200, body = View)),
    extensions(("x-permission" = json!("device:read"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(CertificateId(id)): At<CertificateId>,
) -> Result<Json<View>, Problem> {
    Ok(Json(certificate(door.app(), &caller.ctx, &caller.tenant, &id).await?.into()))
}
