//! `GET /v1/vault`

use axum::Json as Answer;
use axum::extract::State;
use fleetward_app::vault::vault;

use crate::caller::Caller;
use crate::door::Door;
use crate::problem::Problem;
use crate::routes::vault::view;
use crate::view::VaultView;

/// Show the keys of the installation, by name
#[utoipa::path(
    get,
    path = "/v1/vault",
    operation_id = "show_installation_vault",
    tag = "vault",
    responses((status = 200, body = VaultView)),
    extensions(("x-permission" = json!("vault:read"))),
)]
pub(super) async fn handler(State(door): State<Door>, caller: Caller) -> Result<Answer<VaultView>, Problem> {
    Ok(Answer(view(vault(door.app(), &caller.ctx).await?)))
}
