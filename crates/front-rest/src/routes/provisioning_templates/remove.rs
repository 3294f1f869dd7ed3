//! `DELETE /v1/tenants/{tenant}/provisioning-templates/{name}`

use axum::extract::State;
use fleetward_app::provisioning::templates::{delete_template, template};
use http::StatusCode;

use crate::caller::InTenant;
use crate::door::Door;
use crate::etag::IfMatch;
use crate::path::{At, Name};
use crate::problem::Problem;

/// Delete a provisioning template
///
/// Claims that name it get nothing by it from then on.
#[utoipa::path(
    delete,
    path = "/v1/tenants/{tenant}/provisioning-templates/{name}",
    operation_id = "delete_provisioning_template",
    tag = "provisioning",
    params(("tenant" = String, Path), ("name" = String, Path), ("If-Match" = String, Header, description = "The ETag of what was seen, or `*`")),
    responses((status = 204)),
    extensions(("x-permission" = json!("provisioning:manage"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(Name(name)): At<Name>,
    if_match: IfMatch,
) -> Result<StatusCode, Problem> {
    let (ctx, tenant) = (&caller.ctx, &caller.tenant);
    let current = async { template(door.app(), ctx, tenant, &name).await.map(|found| found.revision) };
    let expected = if_match.revision(current).await?;
    delete_template(door.app(), ctx, tenant, &name, expected).await?;
    Ok(StatusCode::NO_CONTENT)
}
