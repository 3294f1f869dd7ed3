//! `POST /v1/tenants/{tenant}/devices/{device}/commands/{command}/cancel`

use axum::Json as Answer;
use axum::extract::State;
use fleetward_app::commands::cancel_command;
use fleetward_base::{CommandId, DeviceId};

use super::Cancel;
use crate::body::Json;
use crate::caller::InTenant;
use crate::door::Door;
use crate::path::At;
use crate::problem::Problem;
use crate::view::CommandView;

/// Take a command back from a device
///
/// One that the device may have is taken back by `force` only: it may run all the same. Asking twice is harmless.
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/devices/{device}/commands/{command}/cancel",
    operation_id = "cancel_command",
    tag = "commands",
    params(("tenant" = String, Path), ("device" = String, Path), ("command" = String, Path)),
    request_body = Cancel,
    responses((status = 200, body = CommandView)),
    extensions(("x-permission" = json!("command:cancel"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(device): At<DeviceId>,
    At(id): At<CommandId>,
    body: Json<Cancel>,
) -> Result<Answer<CommandView>, Problem> {
    let (ctx, tenant) = caller.once(&body);
    let after = cancel_command(door.app(), &ctx, &tenant, &device, &id, body.value.force).await?;
    Ok(Answer(after.into()))
}
