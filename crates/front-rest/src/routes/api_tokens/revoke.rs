//! `DELETE /v1/tenants/{tenant}/api-tokens/{token}`

use axum::extract::State;
use fleetward_app::api_tokens::revoke_api_token;
use fleetward_base::TokenId;
use http::StatusCode;

use crate::caller::InTenant;
use crate::door::Door;
use crate::path::At;
use crate::problem::Problem;

/// Revoke a token of a tenant, now
///
/// A token never changes otherwise, so it has no ETag and asks for no `If-Match`.
#[utoipa::path(
    delete,
    path = "/v1/tenants/{tenant}/api-tokens/{token}",
    operation_id = "revoke_api_token",
    tag = "access",
    params(("tenant" = String, Path), ("token" = String, Path)),
    responses((status = 204)),
    extensions(("x-permission" = json!("api-token:revoke"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(id): At<TokenId>,
) -> Result<StatusCode, Problem> {
    revoke_api_token(door.app(), &caller.ctx, Some(caller.tenant), id).await?;
    Ok(StatusCode::NO_CONTENT)
}
