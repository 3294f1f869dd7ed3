//! `POST /v1/redirect`

use axum::Json as Answer;
use axum::extract::State;
use fleetward_app::messaging::{Elsewhere, redirect};
use serde::Deserialize;
use utoipa::ToSchema;

use crate::body::Json;
use crate::caller::Caller;
use crate::door::Door;
use crate::problem::Problem;
use crate::view::RedirectView;

/// Another server.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = StartRedirect, example = json!({ "server": "b.example.com:8883" }))]
pub(super) struct Body {
    /// `host` or `host:port`.
    server: String,
    /// For good (0x9D); otherwise for now (0x9C).
    #[serde(default)]
    moved: bool,
}

/// Send the MQTT clients of this server to another one
///
/// Those that are connected are told so over some seconds, those that come at once. MQTT 3.1.1 has no word for it: there the
/// connection is closed, and refused. It lasts until it is ended, or the server is started anew.
#[utoipa::path(
    post,
    path = "/v1/redirect",
    operation_id = "start_redirect",
    tag = "system",
    request_body = Body,
    responses((status = 200, body = RedirectView)),
    extensions(("x-permission" = json!("system:manage"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: Caller,
    body: Json<Body>,
) -> Result<Answer<RedirectView>, Problem> {
    let Body { server, moved } = body.value;
    let to = Some(Elsewhere { server, moved });
    let going = redirect(door.app(), &caller.ctx, to.clone()).await?;
    Ok(Answer(RedirectView::of(to, going)))
}
