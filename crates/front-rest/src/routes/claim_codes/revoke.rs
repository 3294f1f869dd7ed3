//! `DELETE /v1/tenants/{tenant}/claim-codes/{token}`

use axum::extract::State;
use fleetward_app::provisioning::codes::revoke_claim_code;
use fleetward_base::TokenId;
use http::StatusCode;

use crate::caller::InTenant;
use crate::door::Door;
use crate::path::At;
use crate::problem::Problem;

/// Revoke a claim code
///
/// One that was used stays used. A code never changes otherwise, so it has no ETag and asks for no `If-Match`.
#[utoipa::path(
    delete,
    path = "/v1/tenants/{tenant}/claim-codes/{token}",
    operation_id = "revoke_claim_code",
    tag = "provisioning",
    params(("tenant" = String, Path), ("token" = String, Path)),
    responses((status = 204)),
    extensions(("x-permission" = json!("claim-code:create"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(id): At<TokenId>,
) -> Result<StatusCode, Problem> {
    revoke_claim_code(door.app(), &caller.ctx, &caller.tenant, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
