//! `POST /v1/vault/enable`

use axum::Json as Answer;
use axum::extract::State;
use fleetward_app::vault::{enable, vault};

use crate::caller::Caller;
use crate::door::Door;
use crate::problem::Problem;
use crate::routes::vault::view;
use crate::view::VaultView;

/// Enable the keys of all tenants again
#[utoipa::path(
    post,
    path = "/v1/vault/enable",
    operation_id = "enable_installation_vault",
    tag = "vault",
    responses((status = 200, body = VaultView)),
    extensions(("x-permission" = json!("vault:enable"))),
)]
pub(super) async fn handler(State(door): State<Door>, caller: Caller) -> Result<Answer<VaultView>, Problem> {
    enable(door.app(), &caller.ctx, None).await?;
    Ok(Answer(view(vault(door.app(), &caller.ctx).await?)))
}
