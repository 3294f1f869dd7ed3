//! `POST /v1/tenants/{tenant}/devices/{device}/did-challenges`

use axum::Json as Answer;
use axum::extract::State;
use fleetward_app::dids::challenge_did;
use fleetward_base::DeviceId;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::body::Json;
use crate::caller::InTenant;
use crate::door::Door;
use crate::path::At;
use crate::problem::Problem;
use crate::view::{DidChallengeView, Time};

/// Whose key is to be proved.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ChallengeDid, example = json!({ "did": "did:key:z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK" }))]
pub(super) struct Body {
    /// did:key or did:web.
    did: String,
}

/// Ask what the holder of an identifier is to sign
///
/// It signs a compact JWS over `{"iss": DID, "aud": audience, "nonce": nonce}`.
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/devices/{device}/did-challenges",
    operation_id = "challenge_device_did",
    tag = "devices",
    params(("tenant" = String, Path), ("device" = String, Path)),
    request_body = Body,
    responses((status = 200, body = DidChallengeView)),
    extensions(("x-permission" = json!("device:update"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    At(id): At<DeviceId>,
    body: Json<Body>,
) -> Result<Answer<DidChallengeView>, Problem> {
    let (ctx, tenant) = caller.once(&body);
    let made = challenge_did(door.app(), &ctx, &tenant, &id, &body.value.did).await?;
    let expires_at = Time(made.expires_at);
    Ok(Answer(DidChallengeView { nonce: made.nonce, audience: made.audience, expires_at }))
}
