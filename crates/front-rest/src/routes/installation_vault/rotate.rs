//! `POST /v1/vault/rotate`

use axum::Json as Answer;
use axum::extract::State;
use fleetward_app::vault::{rotate_root, vault};

use crate::caller::Caller;
use crate::door::Door;
use crate::problem::Problem;
use crate::routes::vault::view;
use crate::view::VaultView;

/// Make a new root key; all others are wrapped again
#[utoipa::path(
    post,
    path = "/v1/vault/rotate",
    operation_id = "rotate_installation_vault",
    tag = "vault",
    responses((status = 200, body = VaultView)),
    extensions(("x-permission" = json!("vault:rotate"))),
)]
pub(super) async fn handler(State(door): State<Door>, caller: Caller) -> Result<Answer<VaultView>, Problem> {
    rotate_root(door.app(), &caller.ctx).await?;
    Ok(Answer(view(vault(door.app(), &caller.ctx).await?)))
}
