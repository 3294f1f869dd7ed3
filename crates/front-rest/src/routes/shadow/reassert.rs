//! `POST /v1/tenants/{tenant}/devices/{device}/shadow/reassert`

use axum::Json;
use axum::extract::State;
use fleetward_app::shadow::reassert;

use super::{Name, Which};
use crate::caller::InTenant;
use crate::door::Door;
use crate::problem::Problem;
use crate::view::ReassertedView;

/// Ask again for what oscillated
///
/// What a device goes to and fro on is left out of its delta, until it is desired otherwise or this is called; the delta is
/// then told at once. Called again it does nothing more.
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/devices/{device}/shadow/reassert",
    operation_id = "reassert_shadow",
    tag = "state",
    params(("tenant" = String, Path), ("device" = String, Path), Name),
    responses((status = 200, body = ReassertedView)),
    extensions(("x-permission" = json!("shadow:update"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    Which(key): Which,
) -> Result<Json<ReassertedView>, Problem> {
    let paths = reassert(door.app(), &caller.ctx, &caller.tenant, &key).await?;
    Ok(Json(ReassertedView { paths }))
}
