//! `GET /v1/tenants/{tenant}/issuer`

use axum::extract::State;
use fleetward_app::issuers::issuer;

use crate::caller::InTenant;
use crate::door::Door;
use crate::etag::Tagged;
use crate::problem::Problem;
use crate::view::IssuerView;

/// Show who signs
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/issuer",
    operation_id = "show_issuer",
    tag = "tenants",
    params(("tenant" = String, Path)),
    responses((status = 200, body = IssuerView)),
    extensions(("x-permission" = json!("issuer:read"))),
)]
pub(super) async fn handler(State(door): State<Door>, caller: InTenant) -> Result<Tagged<IssuerView>, Problem> {
    let found = issuer(door.app(), &caller.ctx, &caller.tenant).await?;
    Ok(Tagged::ok(found.revision, IssuerView::new(found)))
}
