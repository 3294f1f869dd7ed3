//! `DELETE /v1/tenants/{tenant}/devices/{device}/commands/{command}`

use axum::extract::State;
use fleetward_app::commands::templates::delete_command;
use fleetward_base::{CommandId, DeviceId};
use http::StatusCode;

use crate::caller::InTenant;
use crate::door::Door;
use crate::path::At;
use crate::problem::Problem;

/// Forget a command that nothing can follow
///
/// What it was is in the journal. It does not change any more, so it asks for no `If-Match`.
#[utoipa::path(
    delete,
    path = "/v1/tenants/{tenant}/devices/{device}/commands/{command}",
    operation_id = "delete_command",
    tag = "commands",
    params(("tenant" = String, Path), ("device" = String, Path), ("command" = String, Path)),
    responses((status = 204)),
    extensions(("x-permission" = json!("command:cancel"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(device): At<DeviceId>,
    At(id): At<CommandId>,
) -> Result<StatusCode, Problem> {
    delete_command(door.app(), &caller.ctx, &caller.tenant, &device, &id).await?;
    Ok(StatusCode::NO_CONTENT)
}
