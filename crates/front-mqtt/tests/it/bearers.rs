//! Devices without a certificate, with a token in place of a password.

use std::time::Duration;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fleetward_app::identity_policy::{amend_policy, show_policy};
use fleetward_app::reconcile::token_issuers;
use fleetward_app::registry;
use fleetward_app::token_issuers::{KeysAt, enable_token_issuer, register_token_issuer};
use fleetward_sim::mqtt::{Options, Version};
use serde_json::{Value, json};

use crate::house::{House, id, tenant};

struct Service(Ed25519KeyPair);

impl Service {
    /// Both tenants take tokens, and only `acme` believes this service.
    async fn believed(house: &House) -> Self {
        let service = Self(Ed25519KeyPair::generate().expect("random source"));
        let x = URL_SAFE_NO_PAD.encode(service.0.public_key().as_ref());
        let keys = KeysAt::Given(json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "x": x }] }).to_string());
        let rules = json!({ "issuer": "https://id.example", "audience": ["fleet"], "registers": true });
        let rules = serde_json::from_value(rules).expect("rules");
        register_token_issuer(&house.app, &house.admin, &tenant("acme"), "idp", rules, keys).await.expect("registered");
        for home in ["acme", "zenith"] {
            let at = show_policy(&house.app, &house.admin, &tenant(home)).await.expect("a policy").revision;
            let change = json!({ "tokens": { "mqtt": true } }).as_object().expect("an object").clone();
            amend_policy(&house.app, &house.admin, &tenant(home), at, change).await.expect("amended");
        }
        service
    }

    fn login(&self, house: &House, user: &str, device: &str, version: Version) -> Options {
        let now = house.app.now().secs();
        let claims =
            json!({ "iss": "https://id.example", "aud": "fleet", "sub": device, "iat": now, "exp": now + 600 });
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(&json!({ "alg": "EdDSA" })), part(&claims));
        let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(self.0.sign(signed.as_bytes())));
        Options { version, username: Some(user.to_owned()), password: Some(token), ..Options::default() }
    }
}

#[tokio::test]
async fn a_token_is_a_session_that_ends_with_it() {
    let house = House::new().await;
    let service = Service::believed(&house).await;
    let mut link = house.connect_as(None, "gw-1", &service.login(&house, "acme/gw-1", "gw-1", Version::V5)).await;
    link.subscribe(&["devices/gw-1/in"]).await;
    assert_eq!(link.publish("devices/gw-1/in", "1").await, 0);
    assert_eq!(link.next().await.0, "devices/gw-1/in");
    assert_ne!(link.publish("devices/gw-2/in", "1").await, 0, "as every device: what is its own");
    house.clock.advance(Duration::from_secs(601));
    assert_eq!(link.ended().await, Some(0xA0), "maximum connect time");
    // With a new token it is back, under a name that the server gives it.
    house.connect_as(None, "", &service.login(&house, "acme", "gw-1", Version::V5)).await.expect_nothing().await;
}

#[tokio::test]
async fn nobody_gets_in_by_anothers_word() {
    let house = House::new().await;
    let service = Service::believed(&house).await;
    for (user, device, client) in [
        ("zenith/gw-1", "gw-1", "gw-1"),
        ("nobody/gw-1", "gw-1", "gw-1"),
        ("acme/gw-2", "gw-1", "gw-1"),
        ("acme", "gw-1", "gw-2"),
    ] {
        let options = service.login(&house, user, device, Version::V5);
        assert_eq!(house.refused_as(None, client, &options).await, 0x87, "{user} {device} {client}");
        let options = Options { version: Version::V311, ..options };
        assert_eq!(house.refused_as(None, client, &options).await, 5, "{user} {device} {client}");
    }
    let nameless = service.login(&house, "No Tenant", "gw-1", Version::V5);
    assert_eq!(house.refused_as(None, "gw-1", &nameless).await, 0x86, "no tenant is said");
    let secret = Options { password: Some("secret".into()), ..service.login(&house, "acme/gw-1", "gw-1", Version::V5) };
    assert_eq!(house.refused_as(None, "gw-1", &secret).await, 0x87, "a password is no token");
    // A certificate decides where there is one, whatever else is said.
    let gw = house.enroll("zenith", "gw-9", "rev-a").await;
    let both = service.login(&house, "acme/gw-1", "gw-1", Version::V5);
    assert_eq!(house.refused_as(Some(&gw), "gw-1", &both).await, 0x85);
    house.connect_as(Some(&gw), "gw-9", &both).await.expect_nothing().await;
}

#[tokio::test]
async fn what_is_not_believed_any_more_ends_now() {
    let house = House::new().await;
    let service = Service::believed(&house).await;
    let login = || service.login(&house, "acme/gw-1", "gw-1", Version::V5);
    let cert = house.enroll("acme", "gw-7", "rev-a").await;
    let mut other = house.connect(&cert, Version::V5).await;
    let link = house.connect_as(None, "gw-1", &login()).await;
    enable_token_issuer(&house.app, &house.admin, &tenant("acme"), "idp", false).await.expect("off");
    assert_eq!(link.ended().await, Some(0x98), "administrative action");
    other.expect_nothing().await;
    assert_eq!(house.refused_as(None, "gw-1", &login()).await, 0x87);
    enable_token_issuer(&house.app, &house.admin, &tenant("acme"), "idp", true).await.expect("on");
    let link = house.connect_as(None, "gw-1", &login()).await;
    registry::revoke_device(&house.app, &house.admin, &tenant("acme"), &id("gw-1"), "stolen").await.expect("revoked");
    assert_eq!(link.ended().await, Some(0x98));
    assert_eq!(house.refused_as(None, "gw-1", &login()).await, 0x87, "its token says what it likes");
}

#[tokio::test]
async fn what_another_server_disables_ends_here() {
    let (house, other) = House::with_another_server().await;
    let service = Service::believed(&house).await;
    token_issuers::tick(&house.app).await.expect("a look");
    let link = house.connect_as(None, "gw-1", &service.login(&house, "acme/gw-1", "gw-1", Version::V5)).await;
    assert_eq!(token_issuers::tick(&house.app).await.expect("a look"), 0, "nothing changed");
    enable_token_issuer(&other, &house.admin, &tenant("acme"), "idp", false).await.expect("off");
    assert_eq!(token_issuers::tick(&house.app).await.expect("a look"), 1);
    assert_eq!(link.ended().await, Some(0x98));
}
