//! `POST /v1/tenants/{tenant}/devices/{device}/shadow`

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use fleetward_app::shadow::{Via, accepted_body, update};
use fleetward_base::limits;
use http::HeaderMap;

use super::{Name, Which, answer};
use crate::body::read;
use crate::caller::InTenant;
use crate::door::Door;
use crate::problem::Problem;

/// Merge into a shadow
///
/// `null` takes a key out. With `version` it is done only at that version, else refused with 409.
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/devices/{device}/shadow",
    operation_id = "update_shadow",
    tag = "state",
    params(("tenant" = String, Path), ("device" = String, Path), Name),
    request_body(content = Value, example = json!({ "state": { "desired": { "interval_s": 30 } } })),
    responses((status = 200, body = Value, description = "What was submitted, with the new version")),
    extensions(("x-permission" = json!("shadow:update"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    Which(key): Which,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    let payload = read(&headers, body, limits::MQTT_PAYLOAD_BYTES).await?;
    let applied = update(door.app(), &caller.ctx, &caller.tenant, &key, &payload, Via::Call).await?;
    Ok(answer(accepted_body(&applied), applied.document.version))
}
