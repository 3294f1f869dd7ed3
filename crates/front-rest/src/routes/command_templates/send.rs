//! `POST /v1/tenants/{tenant}/command-templates/{name}/send`

use std::time::Duration;

use axum::Json as Answer;
use axum::extract::State;
use fleetward_app::commands::NewCommand;
use fleetward_app::commands::templates::send_template;
use fleetward_base::{CommandId, DeviceId};
use http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::body::Json;
use crate::caller::InTenant;
use crate::door::Door;
use crate::path::{At, Name};
use crate::problem::Problem;
use crate::view::CommandView;

/// To which device it is sent, and how. What is absent is as usual.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SendCommandTemplate, example = json!({ "device": "gw-1", "ttl_s": 3600 }))]
pub(super) struct Body {
    #[schema(value_type = String)]
    device: DeviceId,
    /// The same id is the same command, so that sending it again is harmless.
    #[schema(value_type = Option<String>)]
    id: Option<CommandId>,
    /// How long it may wait for its device, in seconds.
    ttl_s: Option<u64>,
    /// How long it may take from the device's first word to its end.
    run_timeout_s: Option<u64>,
}

/// Send a command that is written down to a device
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/command-templates/{name}/send",
    operation_id = "send_command_template",
    tag = "commands",
    params(("tenant" = String, Path), ("name" = String, Path)),
    request_body = Body,
    responses((status = 201, body = CommandView)),
    extensions(("x-permission" = json!("command:send"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(Name(name)): At<Name>,
    body: Json<Body>,
) -> Result<(StatusCode, Answer<CommandView>), Problem> {
    let (ctx, tenant) = caller.once(&body);
    let Body { device, id, ttl_s, run_timeout_s } = body.value;
    let life = ttl_s.map(Duration::from_secs);
    let how = NewCommand { id, life, run_timeout: run_timeout_s.map(Duration::from_secs), ..NewCommand::default() };
    let sent = send_template(door.app(), &ctx, &tenant, (&name, &device), how).await?;
    Ok((StatusCode::CREATED, Answer(sent.into())))
}
