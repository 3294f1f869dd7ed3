//! `DELETE /v1/tenants/{tenant}/devices/{device}/shadow`

use axum::extract::State;
use axum::response::Response;
use fleetward_app::shadow::{Via, delete, deleted_body};

use super::{Name, Which, answer};
use crate::caller::InTenant;
use crate::door::Door;
use crate::problem::Problem;

/// Delete a shadow
///
/// Its version goes on counting when it is made anew within two days.
#[utoipa::path(
    delete,
    path = "/v1/tenants/{tenant}/devices/{device}/shadow",
    operation_id = "delete_shadow",
    tag = "state",
    params(("tenant" = String, Path), ("device" = String, Path), Name),
    responses((status = 200, body = Value, description = "The last version")),
    extensions(("x-permission" = json!("shadow:delete"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    Which(key): Which,
) -> Result<Response, Problem> {
    let deleted = delete(door.app(), &caller.ctx, &caller.tenant, &key, None, Via::Call).await?;
    Ok(answer(deleted_body(&deleted, None), deleted.version))
}
