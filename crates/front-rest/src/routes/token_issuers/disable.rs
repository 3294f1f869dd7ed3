//! `POST /v1/tenants/{tenant}/token-issuers/{name}/disable`

use axum::Json as Answer;
use axum::extract::State;
use fleetward_app::token_issuers::enable_token_issuer;

use crate::caller::InTenant;
use crate::door::Door;
use crate::path::{At, Name};
use crate::problem::Problem;
use crate::view::TokenIssuerView;

/// Take the word of a token service no more
///
/// Sessions on its word end at once; certificates that were given for its tokens stay.
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/token-issuers/{name}/disable",
    operation_id = "disable_token_issuer",
    tag = "enrolment",
    params(("tenant" = String, Path), ("name" = String, Path)),
    responses((status = 200, body = TokenIssuerView)),
    extensions(("x-permission" = json!("token-issuer:manage"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(name): At<Name>,
) -> Result<Answer<TokenIssuerView>, Problem> {
    Ok(Answer(enable_token_issuer(door.app(), &caller.ctx, &caller.tenant, &name.0, false).await?.into()))
}
