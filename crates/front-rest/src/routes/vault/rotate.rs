//! `POST /v1/tenants/{tenant}/vault/rotate`

use axum::Json as Answer;
use axum::extract::State;
use fleetward_app::vault::{rotate_tenant, tenant_vault};

use super::view;
use crate::caller::InTenant;
use crate::door::Door;
use crate::problem::Problem;
use crate::view::VaultView;

/// Make a new key of the tenant; what the old one sealed goes on to open
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/vault/rotate",
    operation_id = "rotate_vault",
    tag = "vault",
    params(("tenant" = String, Path)),
    responses((status = 200, body = VaultView)),
    extensions(("x-permission" = json!("vault:rotate"))),
)]
pub(super) async fn handler(State(door): State<Door>, caller: InTenant) -> Result<Answer<VaultView>, Problem> {
    rotate_tenant(door.app(), &caller.ctx, &caller.tenant).await?;
    Ok(Answer(view(tenant_vault(door.app(), &caller.ctx, &caller.tenant).await?)))
}
