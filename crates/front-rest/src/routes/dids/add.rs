//! `POST /v1/tenants/{tenant}/devices/{device}/dids`

use axum::Json as Answer;
use axum::extract::State;
use fleetward_app::dids::add_did;
use fleetward_base::DeviceId;
use http::StatusCode;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::body::Json;
use crate::caller::InTenant;
use crate::door::Door;
use crate::path::At;
use crate::problem::Problem;
use crate::view::DeviceDidView;

/// An identifier and the proof that its key is held.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = AddDid, example = json!({
    "did": "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK",
    "proof": "eyJhbGciOiJFZERTQSJ9.e30.AA"
}))]
pub(super) struct Body {
    did: String,
    /// The challenge, signed: a compact JWS by ES256, ES384 or EdDSA.
    proof: String,
}

/// Add an identifier to a device
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/devices/{device}/dids",
    operation_id = "add_device_did",
    tag = "devices",
    params(("tenant" = String, Path), ("device" = String, Path)),
    request_body = Body,
    responses((status = 201, body = DeviceDidView)),
    extensions(("x-permission" = json!("device:update"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(id): At<DeviceId>,
    body: Json<Body>,
) -> Result<(StatusCode, Answer<DeviceDidView>), Problem> {
    let (ctx, tenant) = caller.once(&body);
    let Body { did, proof } = body.value;
    let added = add_did(door.app(), &ctx, &tenant, &id, &did, &proof).await?;
    Ok((StatusCode::CREATED, Answer(DeviceDidView::new(added))))
}
