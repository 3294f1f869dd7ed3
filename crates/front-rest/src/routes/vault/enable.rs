//! `POST /v1/tenants/{tenant}/vault/enable`

use axum::Json as Answer;
use axum::extract::State;
use fleetward_app::vault::{enable, tenant_vault};

use super::view;
use crate::caller::InTenant;
use crate::door::Door;
use crate::problem::Problem;
use crate::view::VaultView;

/// Enable the keys of the tenant again
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/vault/enable",
    operation_id = "enable_vault",
    tag = "vault",
    params(("tenant" = String, Path)),
    responses((status = 200, body = VaultView)),
    extensions(("x-permission" = json!("vault:enable"))),
)]
pub(super) async fn handler(State(door): State<Door>, caller: InTenant) -> Result<Answer<VaultView>, Problem> {
    enable(door.app(), &caller.ctx, Some(&caller.tenant)).await?;
    Ok(Answer(view(tenant_vault(door.app(), &caller.ctx, &caller.tenant).await?)))
}
