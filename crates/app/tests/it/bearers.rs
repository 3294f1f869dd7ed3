//! Tokens of a token service: exchanged for a certificate once, good for a session while they count, and worth nothing where
//! any rule says no.

use std::time::Duration;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fleetward_app::deny_list::{self, Denied};
use fleetward_app::enroll::{Admitted, Credentials, Enrolled, admit_bearer, enroll_device, still_admitted};
use fleetward_app::identity_policy::{amend_policy, show_policy};
use fleetward_app::token_issuers::{
    KeysAt, enable_token_issuer, register_token_issuer, remove_token_issuer, token_issuer, token_issuers,
};
use fleetward_app::{Error, reconcile, registry};
use fleetward_base::{Secret, TenantId};
use fleetward_core::access::DeviceRights;
use fleetward_core::journal::Action;
use fleetward_core::lifecycle::{Status, Transition};
use fleetward_core::token_issuer::{Login, Rules};
use serde_json::{Value, json};

use crate::enroll::{Device, admit, attempt, causes, events, refused};
use crate::fixture::{Fixture, device, tenant};

const HOUR: Duration = Duration::from_secs(3600);

/// A token service.
struct Service(Ed25519KeyPair);

impl Service {
    fn new() -> Self {
        Self(Ed25519KeyPair::generate().expect("random source"))
    }

    fn keys(&self) -> KeysAt {
        let x = URL_SAFE_NO_PAD.encode(self.0.public_key().as_ref());
        KeysAt::Given(json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": "k1", "x": x }] }).to_string())
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = format!("{}.{}", part(header), part(claims));
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(self.0.sign(signed.as_bytes())))
    }

    /// A token of ten minutes with these claims beside the usual ones; null takes one out.
    fn token(&self, fixture: &Fixture, name: &str, change: Value) -> String {
        let now = fixture.app.now().secs();
        let mut claims = json!({
            "iss": "https://id.example", "aud": "fleet", "sub": name, "iat": now, "exp": now + 600, "jti": "1",
        });
        let fields = claims.as_object_mut().expect("an object");
        for (key, value) in change.as_object().expect("an object") {
            if value.is_null() {
                fields.remove(key)
            } else {
                fields.insert(key.clone(), value.clone())
            };
        }
        self.sign(&json!({ "alg": "EdDSA", "kid": "k1" }), &claims)
    }
}

fn rules(registers: bool) -> Rules {
    let text = json!({ "issuer": "https://id.example", "audience": ["fleet"], "registers": registers });
    serde_json::from_value(text).expect("rules")
}

async fn policy(fixture: &Fixture, change: Value) {
    let (app, admin, acme) = (&fixture.app, &fixture.admin, tenant("acme"));
    let at = show_policy(app, admin, &acme).await.expect("a policy").revision;
    amend_policy(app, admin, &acme, at, change.as_object().expect("an object").clone()).await.expect("amended");
}

/// `acme` believes a service and takes its tokens for everything.
async fn house(registers: bool) -> (Fixture, Service) {
    let (fixture, service) = (Fixture::new().await, Service::new());
    let (app, admin, acme) = (&fixture.app, &fixture.admin, tenant("acme"));
    let made = register_token_issuer(app, admin, &acme, "idp", rules(registers), service.keys()).await.expect("made");
    assert_eq!((made.keys.len(), made.disabled_at), (1, None));
    policy(&fixture, json!({ "tokens": { "exchange": true, "mqtt": true } })).await;
    (fixture, service)
}

async fn exchange(fixture: &Fixture, label: &str, field: &Device, token: &str) -> Result<Enrolled, Error> {
    let credentials = Credentials { device: String::new(), token: Secret::new(token.to_owned()) };
    let label: TenantId = tenant(label);
    enroll_device(&fixture.app, &attempt(fixture), Some(&label), &credentials, &field.request()).await
}

async fn connect(fixture: &Fixture, user: &str, client: &str, token: &str) -> Result<Admitted, Error> {
    let login = Login::parse(user).expect("a user name");
    admit_bearer(&fixture.app, &attempt(fixture), &login, client, &Secret::new(token.to_owned())).await
}

#[tokio::test]
async fn a_token_is_exchanged_for_one_certificate() {
    let (fixture, service) = house(true).await;
    let field = Device::new("gw-1");
    let token = service.token(&fixture, "gw-1", json!({}));
    let held = exchange(&fixture, "acme", &field, &token).await.expect("a certificate");
    admit(&fixture, &held).await.expect("which lets it in");
    let again = exchange(&fixture, "acme", &field, &token).await.expect("an answer that was lost");
    assert_eq!(again.serial, held.serial);
    assert_eq!(
        refused(exchange(&fixture, "acme", &Device::new("gw-1"), &token).await),
        "the token was exchanged before"
    );
    let acme = tenant("acme");
    let way = fixture.app.read(&acme, "test", move |tx| {
        Box::pin(async move { Ok(tx.certificate(&held.serial).await?.map(|row| (row.way, row.source))) })
    });
    assert_eq!(way.await.expect("a row"), Some(("jwt".to_owned(), Some("idp".to_owned()))));
    // For another device's request, as another device, and in a tenant that does not believe the service.
    let other = service.token(&fixture, "gw-2", json!({ "jti": "2" }));
    assert!(matches!(exchange(&fixture, "acme", &field, &other).await, Err(Error::Invalid { .. })));
    let named = Credentials { device: "gw-1".to_owned(), token: Secret::new(other.clone()) };
    let as_another =
        enroll_device(&fixture.app, &attempt(&fixture), Some(&acme), &named, &Device::new("gw-2").request()).await;
    assert_eq!(refused(as_another), "the token is of another device");
    assert_eq!(refused(exchange(&fixture, "zenith", &Device::new("gw-2"), &other).await), "tokens are not taken here");
    let credentials = Credentials { device: String::new(), token: Secret::new(other) };
    let unlabelled = enroll_device(&fixture.app, &attempt(&fixture), None, &credentials, &field.request()).await;
    assert_eq!(refused(unlabelled), "say which tenant by the EST label");
    assert!(causes(&fixture, "acme").await.contains(&"jwt-used".to_owned()));
    assert_eq!(causes(&fixture, "zenith").await, ["jwt-off"]);
    // What ended is forgotten.
    fixture.clock.advance(HOUR);
    assert!(reconcile::expiry::expire(&fixture.app).await.expect("expired") >= 1);
}

#[tokio::test]
async fn a_token_that_breaks_a_rule_is_worth_nothing() {
    let (fixture, service) = house(true).await;
    let now = fixture.app.now().secs();
    let tries = [
        (service.token(&fixture, "gw-1", json!({ "aud": "other" })), "jwt-audience"),
        (service.token(&fixture, "gw-1", json!({ "iss": "https://else" })), "jwt-issuer"),
        (service.token(&fixture, "gw-1", json!({ "exp": null })), "jwt-unbounded"),
        (service.token(&fixture, "gw-1", json!({ "exp": now + 3601 })), "jwt-too-long"),
        (service.token(&fixture, "gw-1", json!({ "iat": now - 900, "exp": now - 60 })), "jwt-expired"),
        (service.token(&fixture, "gw-1", json!({ "nbf": now + 300 })), "jwt-not-yet"),
        (service.token(&fixture, "gw-1", json!({ "sub": null })), "jwt-no-device"),
        (service.token(&fixture, "gw-1", json!({ "jti": null })), "jwt-bad-id"),
        (Service::new().token(&fixture, "gw-1", json!({})), "jwt-signature"),
        (
            service.sign(&json!({ "alg": "EdDSA", "kid": "k2" }), &json!({ "iss": "https://id.example" })),
            "jwt-unknown-key",
        ),
        (
            service.sign(&json!({ "alg": "HS256", "kid": "k1" }), &json!({ "iss": "https://id.example" })),
            "jwt-algorithm",
        ),
        (service.sign(&json!({ "alg": "none" }), &json!({ "iss": "https://id.example" })), "jwt-algorithm"),
        (service.sign(&json!({ "alg": "EdDSA" }), &json!({})), "jwt-issuer"),
        ("e30.e30.AA".to_owned(), "jwt-malformed"),
    ];
    for (token, cause) in &tries {
        assert!(
            matches!(exchange(&fixture, "acme", &Device::new("gw-1"), token).await, Err(Error::Unauthenticated { .. })),
            "{cause}"
        );
        // Each is counted against its address, which has paid for it before the next.
        fixture.clock.advance(Duration::from_secs(1));
    }
    let causes = causes(&fixture, "acme").await;
    let expected: Vec<&str> = tries.iter().map(|(_, cause)| *cause).collect();
    for cause in expected {
        assert!(causes.iter().any(|it| it == cause), "{cause} is not in {causes:?}");
    }
}

#[tokio::test]
async fn a_token_is_a_session_until_it_ends() {
    let (fixture, service) = house(true).await;
    let (app, admin, acme, gw1) = (&fixture.app, &fixture.admin, tenant("acme"), device("gw-1"));
    let token = service.token(&fixture, "gw-1", json!({ "jti": null }));
    let admitted = connect(&fixture, "acme/gw-1", "gw-1", &token).await.expect("in");
    assert_eq!((admitted.rights, admitted.not_after), (DeviceRights::Full, app.now().plus(Duration::from_secs(600))));
    let status = registry::device(app, admin, &acme, &gw1).await.expect("it was made").device.status;
    assert_eq!(status, Status::Active);
    connect(&fixture, "acme", "", &token).await.expect("again with the same, while it counts");
    let still = async || still_admitted(app, &acme, &gw1, &admitted.serial, admitted.rights).await.expect("asked");
    assert!(still().await);

    assert_eq!(
        refused(connect(&fixture, "acme/gw-2", "gw-2", &token).await),
        "the user name is not that of the token's device"
    );
    assert_eq!(refused(connect(&fixture, "acme", "gw-2", &token).await), "the token is of another device");
    assert_eq!(refused(connect(&fixture, "zenith/gw-1", "gw-1", &token).await), "tokens are not taken here");
    assert_eq!(refused(connect(&fixture, "nobody/gw-1", "gw-1", &token).await), "tokens are not taken here");
    policy(&fixture, json!({ "tokens": { "device_in_username": true } })).await;
    assert_eq!(
        refused(connect(&fixture, "acme", "gw-1", &token).await),
        "the user name is not that of the token's device"
    );
    connect(&fixture, "acme/gw-1", "gw-1", &token).await.expect("with its name");

    // Quarantined it has fewer rights, and what it had does not stand; suspended it has none, whatever its token says.
    registry::change_status(app, admin, &acme, &gw1, Transition::Quarantine).await.expect("quarantined");
    assert!(!still().await);
    assert_eq!(connect(&fixture, "acme/gw-1", "gw-1", &token).await.expect("in").rights, DeviceRights::Restricted);
    registry::change_status(app, admin, &acme, &gw1, Transition::Suspend).await.expect("suspended");
    assert_eq!(refused(connect(&fixture, "acme/gw-1", "gw-1", &token).await), "the device may not connect");
    registry::change_status(app, admin, &acme, &gw1, Transition::Reinstate).await.expect("resumed");
    connect(&fixture, "acme/gw-1", "gw-1", &token).await.expect("in");

    fixture.clock.advance(Duration::from_secs(600));
    assert_eq!(refused(connect(&fixture, "acme/gw-1", "gw-1", &token).await), "the token has expired");
    let told: Vec<_> = events(&fixture, "acme", admin).await;
    assert!(told.iter().any(|it| it.entry.action == Action::DeviceConnectionRefused));
}

#[tokio::test]
async fn whoever_is_not_believed_any_more_lets_nobody_in() {
    let (fixture, service) = house(true).await;
    let (app, admin, acme, gw1) = (&fixture.app, &fixture.admin, tenant("acme"), device("gw-1"));
    let token = service.token(&fixture, "gw-1", json!({}));
    let admitted = connect(&fixture, "acme", "gw-1", &token).await.expect("in");
    let still = async || still_admitted(app, &acme, &gw1, &admitted.serial, admitted.rights).await.expect("asked");
    assert!(still().await);
    enable_token_issuer(app, admin, &acme, "idp", false).await.expect("off");
    enable_token_issuer(app, admin, &acme, "idp", false).await.expect("twice is harmless");
    assert!(!still().await);
    assert_eq!(refused(connect(&fixture, "acme", "gw-1", &token).await), "the token's issuer is not believed any more");
    enable_token_issuer(app, admin, &acme, "idp", true).await.expect("on");
    assert!(still().await);

    let key = token_issuer(app, admin, &acme, "idp").await.expect("there").keys.remove(0);
    deny_list::deny(app, admin, &acme, Denied::Key, &key, "stolen").await.expect("denied");
    assert!(!still().await);
    assert_eq!(refused(connect(&fixture, "acme", "gw-1", &token).await), "the key of the token is on the deny list");
    assert_eq!(
        refused(exchange(&fixture, "acme", &Device::new("gw-1"), &token).await),
        "the key of the token is on the deny list"
    );
    deny_list::allow(app, admin, &acme, Denied::Key, &key).await.expect("allowed");
    policy(&fixture, json!({ "tokens": { "mqtt": false } })).await;
    assert!(!still().await);
    policy(&fixture, json!({ "tokens": { "mqtt": true } })).await;

    // Other keys under the same name: what the old ones signed counts no more.
    let next = Service::new();
    register_token_issuer(app, admin, &acme, "idp", rules(true), next.keys()).await.expect("replaced");
    assert!(!still().await);
    assert_eq!(refused(connect(&fixture, "acme", "gw-1", &token).await), "the token's signature is wrong");
    remove_token_issuer(app, admin, &acme, "idp").await.expect("removed");
    assert!(matches!(remove_token_issuer(app, admin, &acme, "idp").await, Err(Error::NotFound { .. })));
    let after = next.token(&fixture, "gw-1", json!({}));
    assert_eq!(refused(connect(&fixture, "acme", "gw-1", &after).await), "the token is of another issuer");
}

#[tokio::test]
async fn only_devices_that_there_are_come_in_where_the_rules_say_so() {
    let (fixture, service) = house(false).await;
    let (app, admin, acme) = (&fixture.app, &fixture.admin, tenant("acme"));
    let token = |jti: &str| service.token(&fixture, "gw-1", json!({ "jti": jti }));
    assert_eq!(refused(connect(&fixture, "acme", "gw-1", &token("1")).await), "there is no such device");
    assert_eq!(refused(exchange(&fixture, "acme", &Device::new("gw-1"), &token("1")).await), "there is no such device");
    registry::create_device(app, admin, &acme, device("gw-1"), Default::default()).await.expect("made");
    assert_eq!(refused(connect(&fixture, "acme", "gw-1", &token("1")).await), "the device may not connect");
    exchange(&fixture, "acme", &Device::new("gw-1"), &token("1")).await.expect("it is one of the tenant's");
    connect(&fixture, "acme", "gw-1", &token("2")).await.expect("it is in now");

    // Where a person is to look at it, only a request for a certificate can wait.
    register_token_issuer(app, admin, &acme, "idp", rules(true), service.keys()).await.expect("replaced");
    policy(&fixture, json!({ "enrolment": { "approval": ["jwt"] } })).await;
    let stranger = service.token(&fixture, "gw-2", json!({ "jti": "3" }));
    assert_eq!(refused(connect(&fixture, "acme", "gw-2", &stranger).await), "approval-required");
    assert!(matches!(exchange(&fixture, "acme", &Device::new("gw-2"), &stranger).await, Err(Error::Pending { .. })));
}

#[tokio::test]
async fn token_services_are_bounded_and_their_own_tenants() {
    let (fixture, service) = house(false).await;
    let (app, admin, acme) = (&fixture.app, &fixture.admin, tenant("acme"));
    let register = async |name: &str, issuer: &str, keys: KeysAt| {
        let rules = Rules { issuer: issuer.to_owned(), ..rules(false) };
        register_token_issuer(app, admin, &acme, name, rules, keys).await
    };
    let taken = register("other", "https://id.example", service.keys()).await;
    assert!(matches!(taken, Err(Error::Conflict { code: "token-issuer-taken", .. })));
    for (name, keys, field) in [
        ("a b", service.keys(), "name"),
        ("x", KeysAt::Given(r#"{"keys":[{"kty":"oct","k":"AA"}]}"#.to_owned()), "jwks"),
        ("x", KeysAt::Given("[]".to_owned()), "jwks"),
        ("x", KeysAt::Url { url: "http://id.example/keys".to_owned(), anchors: None }, "jwks_url"),
        ("x", KeysAt::Url { url: "https://127.0.0.1/keys".to_owned(), anchors: None }, "jwks_url"),
        ("x", KeysAt::Url { url: "https://8.8.8.8/keys".to_owned(), anchors: Some("x".to_owned()) }, "anchors"),
    ] {
        let found = register(name, "https://x", keys).await;
        assert!(matches!(&found, Err(Error::Invalid { field: at, .. }) if at == field), "{field}: {found:?}");
    }
    for n in 1..fleetward_base::limits::TOKEN_ISSUERS {
        register(&format!("s{n}"), &format!("https://{n}"), service.keys()).await.expect("made");
    }
    let full = register("one-more", "https://one-more", service.keys()).await;
    assert!(matches!(full, Err(Error::Conflict { code: "token-issuers-full", .. })));
    let page = token_issuers(app, admin, &acme, Some("idp".to_owned()), 2).await.expect("a page");
    assert_eq!(page.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["s1", "s10"]);

    let operator = fixture.operator("acme", "operator").await;
    assert!(matches!(enable_token_issuer(app, &operator, &acme, "idp", false).await, Err(Error::Denied { .. })));
    token_issuer(app, &operator, &acme, "idp").await.expect("to look is no harm");
    let foreign = fixture.operator("zenith", "owner").await;
    assert!(matches!(token_issuer(app, &foreign, &acme, "idp").await, Err(Error::NotFound { .. })));
    let abroad = token_issuer(app, &foreign, &tenant("zenith"), "idp").await;
    assert!(matches!(abroad, Err(Error::NotFound { .. })), "each tenant has its own");
}
