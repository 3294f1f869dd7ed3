//! `DELETE /v1/tenants/{tenant}/token-issuers/{name}`

use axum::extract::State;
use fleetward_app::token_issuers::remove_token_issuer;
use http::StatusCode;

use crate::caller::InTenant;
use crate::door::Door;
use crate::path::{At, Name};
use crate::problem::Problem;

/// Forget a token service
///
/// Sessions on its word end at once. It has no ETag and asks for no `If-Match`.
#[utoipa::path(
    delete,
    path = "/v1/tenants/{tenant}/token-issuers/{name}",
    operation_id = "remove_token_issuer",
    tag = "enrolment",
    params(("tenant" = String, Path), ("name" = String, Path)),
    responses((status = 204)),
    extensions(("x-permission" = json!("token-issuer:manage"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(name): At<Name>,
) -> Result<StatusCode, Problem> {
    remove_token_issuer(door.app(), &caller.ctx, &caller.tenant, &name.0).await?;
    Ok(StatusCode::NO_CONTENT)
}
