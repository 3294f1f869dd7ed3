//! `GET /v1/tenants/{tenant}/factories/{certificate}`

use axum::extract::State;
use fleetward_app::provisioning::factories::factory;

use crate::caller::InTenant;
use crate::door::Door;
use crate::etag::Tagged;
use crate::path::{At, CertificateId};
use crate::problem::Problem;
use crate::view::FactoryView;

/// Show the authority of a factory
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/factories/{certificate}",
    operation_id = "show_factory",
    tag = "provisioning",
    params(("tenant" = String, Path), ("certificate" = String, Path)),
    responses((status = 200, body = FactoryView)),
    extensions(("x-permission" = json!("provisioning:read"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(CertificateId(id)): At<CertificateId>,
) -> Result<Tagged<FactoryView>, Problem> {
    let found = factory(door.app(), &caller.ctx, &caller.tenant, &id).await?;
    Ok(Tagged::ok(found.revision, found.into()))
}
