//! `DELETE /v1/redirect`

use axum::extract::State;
use fleetward_app::messaging::redirect;
use http::StatusCode;

use crate::caller::Caller;
use crate::door::Door;
use crate::problem::Problem;

/// Keep the MQTT clients of this server again
///
/// It has no ETag and asks for no `If-Match`.
#[utoipa::path(
    delete,
    path = "/v1/redirect",
    operation_id = "end_redirect",
    tag = "system",
    responses((status = 204)),
    extensions(("x-permission" = json!("system:manage"))),
)]
pub(super) async fn handler(State(door): State<Door>, caller: Caller) -> Result<StatusCode, Problem> {
    redirect(door.app(), &caller.ctx, None).await?;
    Ok(StatusCode::NO_CONTENT)
}
