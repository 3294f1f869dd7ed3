//! `POST /v1/tenants/{tenant}/devices/{device}/commands`

use axum::Json as Answer;
use axum::extract::State;
use fleetward_app::commands::send_command;
use fleetward_base::DeviceId;
use fleetward_core::selector::Selector;
use http::StatusCode;

use super::Wanted;
use crate::body::Json;
use crate::caller::InTenant;
use crate::door::Door;
use crate::path::At;
use crate::problem::Problem;
use crate::view::CommandView;

/// Send a command to a device
///
/// It waits where the device is away, for as long as `ttl_s` says, and is never delivered after that.
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/devices/{device}/commands",
    operation_id = "send_command",
    tag = "commands",
    params(("tenant" = String, Path), ("device" = String, Path)),
    request_body = Wanted,
    responses((status = 201, body = CommandView)),
    extensions(("x-permission" = json!("command:send"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(device): At<DeviceId>,
    body: Json<Wanted>,
) -> Result<(StatusCode, Answer<CommandView>), Problem> {
    let (ctx, tenant) = caller.once(&body);
    let to = Selector { devices: [device].into(), ..Selector::default() };
    let sent = send_command(door.app(), &ctx, &tenant, to, body.value.command()?).await?;
    let sent = sent.into_iter().next().ok_or_else(|| Problem::not_found("device"))?;
    Ok((StatusCode::CREATED, Answer(sent.into())))
}
