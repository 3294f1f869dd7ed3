//! `GET /v1/tenants/{tenant}`

use axum::extract::State;
use fleetward_app::tenants::tenant;

use crate::caller::InTenant;
use crate::door::Door;
use crate::etag::Tagged;
use crate::problem::Problem;
use crate::view::TenantView;

/// Show a tenant
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}",
    operation_id = "show_tenant",
    tag = "tenants",
    params(("tenant" = String, Path)),
    responses((status = 200, body = TenantView)),
    extensions(("x-permission" = json!("tenant:read"))),
)]
pub(super) async fn handler(State(door): State<Door>, caller: InTenant) -> Result<Tagged<TenantView>, Problem> {
    let found = tenant(door.app(), &caller.ctx, &caller.tenant).await?;
    Ok(Tagged::ok(found.revision, super::view(found)))
}
