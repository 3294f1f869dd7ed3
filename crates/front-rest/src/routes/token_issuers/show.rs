//! `GET /v1/tenants/{tenant}/token-issuers/{name}`

use axum::Json as Answer;
use axum::extract::State;
use fleetward_app::token_issuers::token_issuer;

use crate::caller::InTenant;
use crate::door::Door;
use crate::path::{At, Name};
use crate::problem::Problem;
use crate::view::TokenIssuerView;

/// Show a token service
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/token-issuers/{name}",
    operation_id = "show_token_issuer",
    tag = "enrolment",
    params(("tenant" = String, Path), ("name" = String, Path)),
    responses((status = 200, body = TokenIssuerView)),
    extensions(("x-permission" = json!("token-issuer:read"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(name): At<Name>,
) -> Result<Answer<TokenIssuerView>, Problem> {
    Ok(Answer(token_issuer(door.app(), &caller.ctx, &caller.tenant, &name.0).await?.into()))
}
