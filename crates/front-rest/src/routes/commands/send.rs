//! `POST /v1/tenants/{tenant}/commands`

use axum::Json as Answer;
use axum::extract::State;
use fleetward_app::commands::send_command;
use fleetward_core::selector::Selector;
use http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use super::Wanted;
use crate::body::Json;
use crate::caller::InTenant;
use crate::door::Door;
use crate::page::Page;
use crate::problem::Problem;
use crate::view::CommandView;

/// A command for many devices.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SendCommands, example = json!({
    "to": { "devices": ["gw-1", "gw-2"] },
    "command": { "op": "restart-app", "payload": { "name": "collector" }, "ttl_s": 3600 }
}))]
pub(super) struct Body {
    /// Which devices: one of `hardware`, all `tags`, one of `devices`, `environment`, `site`. At most 1000; more are a job.
    #[schema(value_type = Object)]
    to: Selector,
    command: Wanted,
}

/// Send a command to many devices
///
/// All of them get it or none. It waits for those that are away, and is one command under one id.
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/commands",
    operation_id = "send_commands",
    tag = "commands",
    params(("tenant" = String, Path)),
    request_body = Body,
    responses((status = 201, body = Page<CommandView>)),
    extensions(("x-permission" = json!("command:send"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    body: Json<Body>,
) -> Result<(StatusCode, Answer<Page<CommandView>>), Problem> {
    let (ctx, tenant) = caller.once(&body);
    let Body { to, command } = body.value;
    let sent = send_command(door.app(), &ctx, &tenant, to, command.command()?).await?;
    let items = sent.into_iter().map(CommandView::from).collect();
    Ok((StatusCode::CREATED, Answer(Page { items, next: None })))
}
