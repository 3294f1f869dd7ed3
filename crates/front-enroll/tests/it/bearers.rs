//! `simpleenroll` with a token of a token service.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fleetward_app::token_issuers::{KeysAt, register_token_issuer};
use http::StatusCode;
use serde_json::{Value, json};

use crate::fixture::{Device, House};

#[tokio::test]
async fn a_bearer_of_a_token_enrols() {
    let house = House::new().await;
    let key = Ed25519KeyPair::generate().expect("random source");
    let x = URL_SAFE_NO_PAD.encode(key.public_key().as_ref());
    let keys = || KeysAt::Given(json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "x": x }] }).to_string());
    for home in ["acme", "zenith"] {
        let rules = json!({ "issuer": format!("https://{home}.example"), "audience": ["fleet"], "registers": true });
        let rules = serde_json::from_value(rules).expect("rules");
        let home_id = home.parse().expect("a name");
        register_token_issuer(&house.app, &house.system, &home_id, "idp", rules, keys()).await.expect("registered");
        house.policy(home, json!({ "tokens": { "exchange": true } })).await;
    }
    let now = house.app.now().secs();
    let claims = json!({ "iss": "https://acme.example", "aud": "fleet", "sub": "gw-1", "iat": now, "exp": now + 60, "jti": "7" });
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&json!({ "alg": "EdDSA" })), part(&claims));
    let bearer = format!("Bearer {signed}.{}", URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes())));
    let device = Device::new("gw-1");
    let est = |label: &str| format!("/.well-known/est/{label}/simpleenroll");
    let abroad = house.enroll(&est("zenith"), &bearer, &device.body()).await;
    assert_eq!(abroad.status, StatusCode::UNAUTHORIZED, "the same key, and another tenant's issuer: {}", abroad.body);
    let done = house.enroll(&est("acme"), &bearer, &device.body()).await;
    assert_eq!(done.status, StatusCode::OK, "{}", done.body);
    assert_eq!(crate::certificates(&done).len(), 1);
    let replayed = house.enroll(&est("acme"), &bearer, &Device::new("gw-1").body()).await;
    assert_eq!(replayed.status, StatusCode::UNAUTHORIZED);
    house.policy("acme", json!({ "tokens": { "exchange": false } })).await;
    assert_eq!(house.enroll(&est("acme"), &bearer, &device.body()).await.status, StatusCode::UNAUTHORIZED);
}
