//! `DELETE /v1/tenants/{tenant}/factories/{certificate}`

use axum::extract::State;
use fleetward_app::provisioning::factories::revoke_factory;
use http::StatusCode;

use crate::caller::InTenant;
use crate::door::Door;
use crate::path::{At, CertificateId};
use crate::problem::Problem;

/// Revoke the authority of a factory
///
/// Nothing that it issued is let in from then on, devices that use such a certificate included.
#[utoipa::path(
    delete,
    path = "/v1/tenants/{tenant}/factories/{certificate}",
    operation_id = "revoke_factory",
    tag = "provisioning",
    params(("tenant" = String, Path), ("certificate" = String, Path)),
    responses((status = 204)),
    extensions(("x-permission" = json!("provisioning:manage"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(CertificateId(id)): At<CertificateId>,
) -> Result<StatusCode, Problem> {
    revoke_factory(door.app(), &caller.ctx, &caller.tenant, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
