//! `DELETE /v1/tenants/{tenant}/scep-challenges/{token}`

use axum::extract::State;
use fleetward_app::enroll_tokens::revoke_scep_challenge;
use fleetward_base::TokenId;
use http::StatusCode;

use crate::caller::InTenant;
use crate::door::Door;
use crate::path::At;
use crate::problem::Problem;

/// Revoke a challenge for SCEP
///
/// A challenge never changes otherwise, so it has no ETag and asks for no `If-Match`.
#[utoipa::path(
    delete,
    path = "/v1/tenants/{tenant}/scep-challenges/{token}",
    operation_id = "revoke_scep_challenge",
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
    revoke_scep_challenge(door.app(), &caller.ctx, &caller.tenant, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
