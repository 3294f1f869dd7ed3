//! `DELETE /v1/tenants/{tenant}/device-groups/{name}`

use axum::extract::State;
use fleetward_app::device_groups::{device_group, remove_device_group};
use http::StatusCode;

use crate::caller::InTenant;
use crate::door::Door;
use crate::etag::IfMatch;
use crate::path::{At, Name};
use crate::problem::Problem;

/// Remove a group in which no other lies
///
/// Its devices leave it.
#[utoipa::path(
    delete,
    path = "/v1/tenants/{tenant}/device-groups/{name}",
    operation_id = "remove_device_group",
    tag = "devices",
    params(("tenant" = String, Path), ("name" = String, Path), ("If-Match" = String, Header, description = "The ETag of what was seen, or `*`")),
    responses((status = 204)),
    extensions(("x-permission" = json!("device:update"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(Name(name)): At<Name>,
    if_match: IfMatch,
) -> Result<StatusCode, Problem> {
    let (ctx, tenant) = (&caller.ctx, &caller.tenant);
    let current = async { device_group(door.app(), ctx, tenant, &name).await.map(|(found, _)| found.revision) };
    let expected = if_match.revision(current).await?;
    remove_device_group(door.app(), ctx, tenant, &name, Some(expected)).await?;
    Ok(StatusCode::NO_CONTENT)
}
