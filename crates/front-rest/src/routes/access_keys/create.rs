//! `POST /v1/tenants/{tenant}/access-keys`

use axum::Json as Answer;
use axum::extract::State;
use fleetward_app::access_keys::create_access_key;
use http::StatusCode;

use super::Body;
use crate::body::Json;
use crate::caller::InTenant;
use crate::door::Door;
use crate::problem::Problem;
use crate::view::NewAccessKeyView;

/// Make an access key of a tenant
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/access-keys",
    operation_id = "create_access_key",
    tag = "access",
    params(("tenant" = String, Path)),
    request_body(content = Body),
    responses((status = 201, body = NewAccessKeyView)),
    extensions(("x-permission" = json!("access-key:create"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    body: Json<Body>,
) -> Result<(StatusCode, Answer<NewAccessKeyView>), Problem> {
    let (ctx, tenant) = caller.once(&body);
    let made = create_access_key(door.app(), &ctx, &tenant, body.value.name, body.value.role).await?;
    Ok((StatusCode::CREATED, Answer(NewAccessKeyView { id: made.id, secret: made.secret })))
}
