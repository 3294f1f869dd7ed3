//! `DELETE /v1/tenants/{tenant}/certificates/{certificate}`

use axum::extract::State;
use fleetward_app::provisioning::unbound::remove;
use http::StatusCode;
use serde::Deserialize;
use utoipa::IntoParams;

use crate::caller::InTenant;
use crate::door::Door;
use crate::listing::Query;
use crate::path::{At, CertificateId};
use crate::problem::Problem;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct How {
    /// Also one that is a device's
    #[serde(default)]
    force: bool,
}

/// Remove a certificate that does not count
///
/// It is revoked and shown no more; its row stays as evidence, so it asks for no `If-Match`.
#[utoipa::path(
    delete,
    path = "/v1/tenants/{tenant}/certificates/{certificate}",
    operation_id = "remove_certificate",
    tag = "devices",
    params(("tenant" = String, Path), ("certificate" = String, Path), How),
    responses((status = 204)),
    extensions(("x-permission" = json!("device:revoke"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(CertificateId(id)): At<CertificateId>,
    Query(how): Query<How>,
) -> Result<StatusCode, Problem> {
    remove(door.app(), &caller.ctx, &caller.tenant, &id, how.force).await?;
    Ok(StatusCode::NO_CONTENT)
}
