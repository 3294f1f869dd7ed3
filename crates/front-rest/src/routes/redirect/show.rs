//! `GET /v1/redirect`

use axum::Json as Answer;
use axum::extract::State;
use fleetward_app::messaging::redirected;

use crate::caller::Caller;
use crate::door::Door;
use crate::problem::Problem;
use crate::view::RedirectView;

/// Show where this server sends its MQTT clients
#[utoipa::path(
    get,
    path = "/v1/redirect",
    operation_id = "show_redirect",
    tag = "system",
    responses((status = 200, body = RedirectView)),
    extensions(("x-permission" = json!("system:read"))),
)]
pub(super) async fn handler(State(door): State<Door>, caller: Caller) -> Result<Answer<RedirectView>, Problem> {
    Ok(Answer(RedirectView::of(redirected(door.app(), &caller.ctx)?, 0)))
}
