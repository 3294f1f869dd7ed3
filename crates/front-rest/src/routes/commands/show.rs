//! `GET /v1/tenants/{tenant}/devices/{device}/commands/{command}`

use axum::extract::State;
use fleetward_app::commands::command;
use fleetward_base::{CommandId, DeviceId};

use crate::caller::InTenant;
use crate::door::Door;
use crate::etag::Tagged;
use crate::path::At;
use crate::problem::Problem;
use crate::view::CommandView;

/// Show a command of a device, with what it carries and what came of it
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/devices/{device}/commands/{command}",
    operation_id = "show_command",
    tag = "commands",
    params(("tenant" = String, Path), ("device" = String, Path), ("command" = String, Path)),
    responses((status = 200, body = CommandView)),
    extensions(("x-permission" = json!("command:read"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(device): At<DeviceId>,
    At(id): At<CommandId>,
) -> Result<Tagged<CommandView>, Problem> {
    let found = command(door.app(), &caller.ctx, &caller.tenant, &device, &id).await?;
    Ok(Tagged::ok(found.command.version, CommandView::whole(found)))
}
