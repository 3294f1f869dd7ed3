//! `DELETE /v1/tenants/{tenant}/command-templates/{name}`

use axum::extract::State;
use fleetward_app::commands::templates::{command_template, remove_command_template};
use http::StatusCode;

use crate::caller::InTenant;
use crate::door::Door;
use crate::etag::IfMatch;
use crate::path::{At, Name};
use crate::problem::Problem;

/// Remove a command that is written down
///
/// What was sent by it goes on.
#[utoipa::path(
    delete,
    path = "/v1/tenants/{tenant}/command-templates/{name}",
    operation_id = "remove_command_template",
    tag = "commands",
    params(("tenant" = String, Path), ("name" = String, Path), ("If-Match" = String, Header, description = "The ETag of what was seen, or `*`")),
    responses((status = 204)),
    extensions(("x-permission" = json!("command:manage"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(Name(name)): At<Name>,
    if_match: IfMatch,
) -> Result<StatusCode, Problem> {
    let (ctx, tenant) = (&caller.ctx, &caller.tenant);
    let current = async { command_template(door.app(), ctx, tenant, &name).await.map(|found| found.revision) };
    let expected = if_match.revision(current).await?;
    remove_command_template(door.app(), ctx, tenant, &name, Some(expected)).await?;
    Ok(StatusCode::NO_CONTENT)
}
