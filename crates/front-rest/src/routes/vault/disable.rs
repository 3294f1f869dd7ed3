//! `POST /v1/tenants/{tenant}/vault/disable`

use axum::Json as Answer;
use axum::extract::State;
use fleetward_app::vault::{disable, tenant_vault};

use super::{Disable, view};
use crate::body::Json;
use crate::caller::InTenant;
use crate::door::Door;
use crate::problem::Problem;
use crate::view::VaultView;

/// Disable the keys of the tenant, on every server within a second
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/vault/disable",
    operation_id = "disable_vault",
    tag = "vault",
    params(("tenant" = String, Path)),
    request_body = Disable,
    responses((status = 200, body = VaultView)),
    extensions(("x-permission" = json!("vault:disable"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    body: Json<Disable>,
) -> Result<Answer<VaultView>, Problem> {
    disable(door.app(), &caller.ctx, Some(&caller.tenant), &body.value.reason).await?;
    Ok(Answer(view(tenant_vault(door.app(), &caller.ctx, &caller.tenant).await?)))
}
