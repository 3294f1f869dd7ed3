//! `DELETE /v1/tenants/{tenant}/claims/{name}`

use axum::extract::State;
use fleetward_app::provisioning::claims::revoke_claim;
use http::StatusCode;

use crate::caller::InTenant;
use crate::door::Door;
use crate::path::{At, Name};
use crate::problem::Problem;

/// Revoke a claim
///
/// Whoever is connected with it is disconnected; devices that came with it stay. A claim never changes otherwise, so it
/// has no ETag and asks for no `If-Match`.
#[utoipa::path(
    delete,
    path = "/v1/tenants/{tenant}/claims/{name}",
    operation_id = "revoke_claim",
    tag = "provisioning",
    params(("tenant" = String, Path), ("name" = String, Path)),
    responses((status = 204)),
    extensions(("x-permission" = json!("provisioning:manage"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(Name(name)): At<Name>,
) -> Result<StatusCode, Problem> {
    revoke_claim(door.app(), &caller.ctx, &caller.tenant, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}
