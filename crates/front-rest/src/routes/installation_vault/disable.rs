//! `POST /v1/vault/disable`

use axum::Json as Answer;
use axum::extract::State;
use fleetward_app::vault::{disable, vault};

use crate::body::Json;
use crate::caller::Caller;
use crate::door::Door;
use crate::problem::Problem;
use crate::routes::vault::{Disable, view};
use crate::view::VaultView;

/// Disable the keys of all tenants, on every server within a second
#[utoipa::path(
    post,
    path = "/v1/vault/disable",
    operation_id = "disable_installation_vault",
    tag = "vault",
    request_body = Disable,
    responses((status = 200, body = VaultView)),
    extensions(("x-permission" = json!("vault:disable"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: Caller,
    body: Json<Disable>,
) -> Result<Answer<VaultView>, Problem> {
    disable(door.app(), &caller.ctx, None, &body.value.reason).await?;
    Ok(Answer(view(vault(door.app(), &caller.ctx).await?)))
}
