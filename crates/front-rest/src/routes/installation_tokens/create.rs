//! `POST /v1/api-tokens`

use axum::Json as Answer;
use axum::extract::State;
use fleetward_app::api_tokens::create_api_token;
use http::StatusCode;

use crate::body::Json;
use crate::caller::Caller;
use crate::door::Door;
use crate::problem::Problem;
use crate::routes::api_tokens::{Body, made};
use crate::view::NewApiTokenView;

/// Make a token of the installation
#[utoipa::path(
    post,
    path = "/v1/api-tokens",
    operation_id = "create_installation_api_token",
    tag = "access",
    request_body(content = Body, example = json!({ "name": "root", "role": "admin" })),
    responses((status = 201, body = NewApiTokenView)),
    extensions(("x-permission" = json!("api-token:create"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: Caller,
    body: Json<Body>,
) -> Result<(StatusCode, Answer<NewApiTokenView>), Problem> {
    let (ctx, home) = (caller.once(&body), None);
    let (life, body) = (body.value.life(), body.value);
    let token = create_api_token(door.app(), &ctx, home, body.name, body.role, life).await?;
    Ok((StatusCode::CREATED, Answer(made(token))))
}
