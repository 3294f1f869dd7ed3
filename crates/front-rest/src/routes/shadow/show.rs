//! `GET /v1/tenants/{tenant}/devices/{device}/shadow`

use axum::extract::State;
use axum::response::Response;
use fleetward_app::shadow::{get, operator_body};

use super::{Name, Which, answer};
use crate::caller::InTenant;
use crate::door::Door;
use crate::problem::Problem;

/// Show a shadow with its delta
///
/// Where a device goes to and fro on something, `oscillating` says on what and what that may mean; it is then no part of the
/// delta. `stale_report` says that it started with less than it had applied, and has not caught up.
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/devices/{device}/shadow",
    operation_id = "show_shadow",
    tag = "state",
    params(("tenant" = String, Path), ("device" = String, Path), Name),
    responses((status = 200, body = Value)),
    extensions(("x-permission" = json!("shadow:read"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    Which(key): Which,
) -> Result<Response, Problem> {
    let view = get(door.app(), &caller.ctx, &caller.tenant, &key).await?;
    Ok(answer(operator_body(&view, door.app().now()), view.document.version))
}
