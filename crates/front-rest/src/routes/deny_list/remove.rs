//! `DELETE /v1/tenants/{tenant}/deny-list/{kind}/{value}`

use axum::extract::{Path, State};
use fleetward_app::deny_list::{Denied, allow};
use http::StatusCode;

use crate::caller::InTenant;
use crate::door::Door;
use crate::problem::Problem;

/// Take something off the deny list
#[utoipa::path(
    delete,
    path = "/v1/tenants/{tenant}/deny-list/{kind}/{value}",
    operation_id = "remove_deny_list_entry",
    tag = "deny list",
    params(("tenant" = String, Path), ("kind" = String, Path), ("value" = String, Path)),
    responses((status = 204)),
    extensions(("x-permission" = json!("device:revoke"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    Path(names): Path<(String, String, String)>,
) -> Result<StatusCode, Problem> {
    let (_, kind, value) = names;
    let kind = Denied::parse(&kind).map_err(|_| Problem::not_found("entry"))?;
    allow(door.app(), &caller.ctx, &caller.tenant, kind, &value).await?;
    Ok(StatusCode::NO_CONTENT)
}
