//! `POST /v1/tenants/{tenant}/token-issuers`

use axum::Json as Answer;
use axum::extract::State;
use fleetward_app::Error;
use fleetward_app::token_issuers::{KeysAt, register_token_issuer};
use fleetward_core::token_issuer::Rules;
use http::StatusCode;
use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::body::Json;
use crate::caller::InTenant;
use crate::door::Door;
use crate::problem::Problem;
use crate::view::TokenIssuerView;

/// A token service.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = RegisterTokenIssuer, example = json!({
    "name": "factory-idp",
    "rules": { "issuer": "https://id.example.com", "audience": ["fleet.example.com"] },
    "jwks": { "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": "1", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" }] }
}))]
pub(super) struct Body {
    name: String,
    /// `issuer` (the `iss` of its tokens), `audience` (one of these must be in `aud`), `algorithms` (of ES256, ES384, EdDSA,
    /// RS256), `device_claim` (sub unless said), `max_lifetime_s` (3600), `leeway_s` (30), `registers` (whether devices that
    /// are not known come in; false).
    #[schema(value_type = Object)]
    rules: Rules,
    /// Its public keys (RFC 7517), or:
    #[schema(value_type = Option<Object>)]
    jwks: Option<Value>,
    /// where they are: https, at a public address or in a network that the installation's operator has opened.
    jwks_url: Option<String>,
    /// PEM that the server of the keys is held to.
    anchors: Option<String>,
}

/// Believe a token service
///
/// What was said under the same name is replaced. Whether tokens are taken at all, and for what, is said by the section
/// `tokens` of the identity policy.
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/token-issuers",
    operation_id = "register_token_issuer",
    tag = "enrolment",
    params(("tenant" = String, Path)),
    request_body = Body,
    responses((status = 201, body = TokenIssuerView)),
    extensions(("x-permission" = json!("token-issuer:manage"))),
)]
pub(super) async fn handler(
    State(door): State<Door>,
    caller: InTenant,
    body: Json<Body>,
) -> Result<(StatusCode, Answer<TokenIssuerView>), Problem> {
    let (ctx, tenant) = caller.once(&body);
    let Body { name, rules, jwks, jwks_url, anchors } = body.value;
    let at = match (jwks, jwks_url) {
        (Some(jwks), None) if anchors.is_none() => KeysAt::Given(jwks.to_string()),
        (None, Some(url)) => KeysAt::Url { url, anchors },
        _ => return Err(Error::invalid("jwks", "give the keys, or where they are with anchors for that").into()),
    };
    let made = register_token_issuer(door.app(), &ctx, &tenant, &name, rules, at).await?;
    Ok((StatusCode::CREATED, Answer(made.into())))
}
