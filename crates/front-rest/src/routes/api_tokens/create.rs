//! `POST /v1/tenants/{tenant}/api-tokens`

use axum::Json as Answer;
use axum::extract::State;
use fleetward_app::api_tokens::create_api_token;
use http::StatusCode;

use super::{Body, made};
use crate::body::Json;
use crate::caller::InTenant;
use crate::door::Door;
use crate::problem::Problem;
use crate::view::NewApiTokenView;

/// Make a token of a tenant
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/api-tokens",
    operation_id = "create_api_token",
    tag = "access",
    params(("tenant" = String, Path)),
    request_body(content = Body),
    responses((status = 201, body = NewApiTokenView)),
    extensions(("x-permission" = json!("api-token:create"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    body: Json<Body>,
) -> Result<(StatusCode, Answer<NewApiTokenView>), Problem> {
    let (ctx, tenant) = caller.once(&body);
    let home = Some(tenant);
    let (life, body) = (body.value.life(), body.value);
    let token = create_api_token(door.app(), &ctx, home, body.name, body.role, life).await?;
    Ok((StatusCode::CREATED, Answer(made(token))))
}
