//! `POST /v1/tenants/{tenant}/commands/{command}/cancel`

use axum::Json as Answer;
use axum::extract::State;
use fleetward_app::commands::cancel_everywhere;
use fleetward_base::CommandId;
use serde::Serialize;
use utoipa::ToSchema;

use super::Cancel;
use crate::body::Json;
use crate::caller::InTenant;
use crate::door::Door;
use crate::path::At;
use crate::problem::Problem;

/// How far taking a command back went.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CanceledCommands)]
pub(super) struct CanceledView {
    /// Devices that it was taken back from.
    canceled: u64,
    /// Devices that are through with it, or may have it.
    left: u64,
}

/// Take a command back from all its devices
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/commands/{command}/cancel",
    operation_id = "cancel_commands",
    tag = "commands",
    params(("tenant" = String, Path), ("command" = String, Path)),
    request_body = Cancel,
    responses((status = 200, body = CanceledView)),
    extensions(("x-permission" = json!("command:cancel"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(id): At<CommandId>,
    body: Json<Cancel>,
) -> Result<Answer<CanceledView>, Problem> {
    let (ctx, tenant) = caller.once(&body);
    let status = cancel_everywhere(door.app(), &ctx, &tenant, &id, body.value.force).await?;
    Ok(Answer(CanceledView { canceled: status.canceled, left: status.left }))
}
