//! `GET /v1/tenants/{tenant}/command-templates/{name}`

use axum::extract::State;
use fleetward_app::commands::templates::command_template;

use super::{View, tagged};
use crate::caller::InTenant;
use crate::door::Door;
use crate::etag::Tagged;
use crate::path::{At, Name};
use crate::problem::Problem;

/// Show a command that is written down
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/command-templates/{name}",
    operation_id = "show_command_template",
    tag = "commands",
    params(("tenant" = String, Path), ("name" = String, Path)),
    responses((status = 200, body = View)),
    extensions(("x-permission" = json!("command:read"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(Name(name)): At<Name>,
) -> Result<Tagged<View>, Problem> {
    Ok(tagged(command_template(door.app(), &caller.ctx, &caller.tenant, &name).await?))
}
