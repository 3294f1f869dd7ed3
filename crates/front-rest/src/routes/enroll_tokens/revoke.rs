//! `DELETE /v1/tenants/{tenant}/enroll-tokens/{token}`

use axum::extract::State;
use fleetward_app::enroll_tokens::revoke_enroll_token;
use fleetward_base::TokenId;
use http::StatusCode;

use crate::caller::InTenant;
use crate::door::Door;
use crate::path::At;
use crate::problem::Problem;

/// Revoke an enrolment token
///
/// A token never changes otherwise, so it has no ETag and asks for no `If-Match`.
#[utoipa::path(
    delete,
    path = "/v1/tenants/{tenant}/enroll-tokens/{token}",
    operation_id = "revoke_enroll_token",
    tag = "enrolment",
    params(("tenant" = String, Path), ("token" = String, Path)),
    responses((status = 204)),
    extensions(("x-permission" = json!("enroll-token:revoke"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(id): At<TokenId>,
) -> Result<StatusCode, Problem> {
    revoke_enroll_token(door.app(), &caller.ctx, &caller.tenant, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
