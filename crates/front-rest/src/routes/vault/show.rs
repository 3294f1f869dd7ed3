//! `GET /v1/tenants/{tenant}/vault`

use axum::Json as Answer;
use axum::extract::State;
use fleetward_app::vault::tenant_vault;

use super::view;
use crate::caller::InTenant;
use crate::door::Door;
use crate::problem::Problem;
use crate::view::VaultView;

/// Show the keys of the tenant, by name
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/vault",
    operation_id = "show_vault",
    tag = "vault",
    params(("tenant" = String, Path)),
    responses((status = 200, body = VaultView)),
    extensions(("x-permission" = json!("vault:read"))),
)]
pub(super) async fn handler(State(door): State<Door>, caller: InTenant) -> Result<Answer<VaultView>, Problem> {
    Ok(Answer(view(tenant_vault(door.app(), &caller.ctx, &caller.tenant).await?)))
}
