//! `POST /v1/tenants/{tenant}/makers`

use axum::Json as Answer;
use axum::extract::State;
use fleetward_app::inventory::makers::register_maker;
use http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::body::Json;
use crate::caller::InTenant;
use crate::door::Door;
use crate::problem::Problem;
use crate::view::MakerView;

/// A maker and its public key.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = RegisterMaker, example = json!({
    "name": "acme-electronics",
    "public_key": "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n-----END PUBLIC KEY-----\n"
}))]
pub(super) struct Body {
    /// As rows of the inventory name it.
    name: String,
    /// P-256, P-384 or Ed25519, PEM.
    public_key: String,
}

/// Believe what a maker signs
///
/// Another key of the same maker is replaced. It counts for what is imported from now on.
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/makers",
    operation_id = "register_maker",
    tag = "enrolment",
    params(("tenant" = String, Path)),
    request_body = Body,
    responses((status = 201, body = MakerView)),
    extensions(("x-permission" = json!("maker:manage"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    body: Json<Body>,
) -> Result<(StatusCode, Answer<MakerView>), Problem> {
    let (ctx, tenant) = caller.once(&body);
    let Body { name, public_key } = body.value;
    let made = register_maker(door.app(), &ctx, &tenant, &name, &public_key).await?;
    Ok((StatusCode::CREATED, Answer(MakerView::new(made))))
}
