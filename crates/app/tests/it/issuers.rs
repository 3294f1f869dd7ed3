//! Issuers elsewhere: what is sent to them byte by byte, what is taken from them, and what becomes of devices when they
//! fail. The other side plays the documented exchanges over real sockets.

#![expect(clippy::indexing_slicing, reason = "a test that does not find what it looks for fails there")]

mod claims;
mod elsewhere;

use std::time::Duration;

use aws_lc_rs::hmac::{self, HMAC_SHA256};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use fleetward_app::authority::{self, Credential};
use fleetward_app::doctor::{self, Verdict};
use fleetward_app::enroll::{Attempt, Credentials, Enrolled, admit_device, enroll_device, reenroll_device};
use fleetward_app::issuers::{IssuerView, check_issuer, issuer, set_issuer};
use fleetward_app::journal::{self, JournalFilter};
use fleetward_app::{Error, enroll_tokens, reconcile, registry};
use fleetward_base::Secret;
use fleetward_core::issuer::Issuer;
use fleetward_core::journal::Action;
use fleetward_core::registry::DeviceFields;
use fleetward_pki::{Certificate, SoftKey, csr, name, pem};
use rustls_pki_types::CertificateDer;
use serde_json::{Value, json};

use crate::fixture::{Fixture, device, tenant};
use elsewhere::{Asked, Authority, Reply, Server};

const HOUR: Duration = Duration::from_secs(3600);
const AUTH_KEY: &str = "00112233445566778899aabbccddeeff";
/// The key of RFC 7517 appendix A.2.
const JWK: &str = r#"{"kty":"EC","crv":"P-256","kid":"1","use":"sig",
    "x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4","y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
    "d":"870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE"}"#;

fn secret(text: &str) -> Option<Secret<String>> {
    Some(Secret::new(text.to_owned()))
}

fn config(value: Value) -> Issuer {
    serde_json::from_value(value).expect("a configuration")
}

fn cfssl(url: &str, authority: &Authority) -> (Issuer, Credential) {
    let config = config(json!({ "kind": "cfssl", "url": url, "authorities": authority.pem(), "profile": "device" }));
    (config, Credential { auth_key: secret(AUTH_KEY), ..Credential::default() })
}

async fn set(fixture: &Fixture, (config, credential): (Issuer, Credential)) -> Result<IssuerView, Error> {
    let (app, admin, acme) = (&fixture.app, &fixture.admin, tenant("acme"));
    let revision = issuer(app, admin, &acme).await.expect("there").revision;
    set_issuer(app, admin, &acme, revision, config, Some(credential)).await
}

fn attempt(fixture: &Fixture) -> Attempt {
    Attempt { address: [192, 0, 2, 1].into(), request_id: fixture.app.new_request_id() }
}

fn request(key: &SoftKey, name: &str) -> Vec<u8> {
    csr::write(&name::write(None, name), &[], key).expect("signs")
}

async fn enroll(fixture: &Fixture, name: &str, key: &SoftKey) -> Result<Enrolled, Error> {
    let (app, admin, fields) = (&fixture.app, &fixture.admin, DeviceFields::default());
    let made = enroll_tokens::create_enroll_token(app, admin, &tenant("acme"), device(name), fields, Some(HOUR)).await;
    let token = Secret::new(made.expect("a token").token);
    let credentials = Credentials { device: name.to_owned(), token };
    enroll_device(app, &attempt(fixture), None, &credentials, &request(key, name)).await
}

async fn told(fixture: &Fixture, action: Action) -> usize {
    let filter = JournalFilter::default();
    let events = journal::events(&fixture.app, &fixture.admin, &tenant("acme"), filter, None, 1000).await;
    events.expect("events").iter().filter(|event| event.entry.action == action).count()
}

fn is_unavailable<T>(outcome: Result<T, Error>) -> bool {
    matches!(outcome, Err(Error::Unavailable { what: "the certificate issuer" }))
}

/// Plays cfssl: the HMAC must hold, and the certificate is that of the request with the name in `hosts`.
fn play_cfssl(authority: &Authority, asked: &Asked) -> Reply {
    if asked.path == "/api/v1/cfssl/info" {
        return Reply::json(200, json!({ "success": true, "result": { "certificate": authority.pem() } }));
    }
    assert_eq!((asked.method.as_str(), asked.path.as_str()), ("POST", "/api/v1/cfssl/authsign"));
    let part = |name: &str| STANDARD.decode(asked.json()[name].as_str().expect("text")).expect("base64");
    let key = hmac::Key::new(HMAC_SHA256, &(0..16).map(|digit| digit * 0x11).collect::<Vec<u8>>());
    hmac::verify(&key, &part("request"), &part("token")).expect("the HMAC holds");
    let request: Value = serde_json::from_slice(&part("request")).expect("JSON");
    let host = request["hosts"][0].as_str().expect("a name").to_owned();
    let device = host.rsplit(':').next().expect("a device").to_owned();
    assert_eq!(
        (host.as_str(), &request["profile"]),
        (format!("urn:fleetward:acme:{device}").as_str(), &json!("device"))
    );
    let certificate = authority.issue("acme", &device, request["certificate_request"].as_str().expect("PEM"), 24);
    Reply::json(200, json!({ "success": true, "errors": [], "messages": [], "result": { "certificate": certificate } }))
}

#[tokio::test]
async fn a_device_is_known_by_what_cfssl_signed() {
    let fixture = Fixture::new().await;
    let authority = Authority::new("Elsewhere");
    let server = Server::start({
        let authority = authority.clone();
        move |asked| play_cfssl(&authority, asked)
    })
    .await;
    let view = set(&fixture, cfssl(&server.url, &authority)).await.expect("set");
    assert!(view.credential && view.revision == 1);
    let (key, _) = SoftKey::generate();
    let enrolled = enroll(&fixture, "gw-1", &key).await.expect("enrolled");
    let certificate = Certificate::parse(&enrolled.certificate).expect("a certificate");
    assert_eq!(certificate.issuer, authority.certificate().subject);
    let shown = CertificateDer::from(enrolled.certificate.as_slice());
    admit_device(&fixture.app, &attempt(&fixture), &shown).await.expect("it is let in");
    assert_eq!(server.count(), 1);
    // It renews there too, and one that asks again gets the same without another being made.
    let (next, _) = SoftKey::generate();
    let renew =
        || async { reenroll_device(&fixture.app, &attempt(&fixture), None, &shown, &request(&next, "gw-1")).await };
    let (first, second) = (renew().await.expect("renewed"), renew().await.expect("again"));
    assert_eq!(first.certificate, second.certificate);
    // Devices are told of its authority; another server on the same database learns of it too.
    let chain = authority::authority_chain(&fixture.app, Some(&tenant("acme"))).await.expect("a chain");
    assert_eq!(chain.first(), Some(&authority.certificate().der));
    // What it signed counts after our own key took over again.
    set(&fixture, (Issuer::BuiltIn, Credential::default())).await.expect("set");
    admit_device(&fixture.app, &attempt(&fixture), &shown).await.expect("it still counts");
    let (own, _) = SoftKey::generate();
    let ours = enroll(&fixture, "gw-2", &own).await.expect("enrolled");
    assert_ne!(Certificate::parse(&ours.certificate).expect("reads").issuer, authority.certificate().subject);
}

/// Plays step-ca and holds the one-time token to what it reads.
fn play_step(authority: &Authority, asked: &Asked, now: i64) -> Reply {
    if asked.method == "GET" {
        let list = if asked.path == "/1.0/intermediates" { json!([authority.pem()]) } else { json!([]) };
        return Reply::json(200, json!({ "crts": list }));
    }
    let body = asked.json();
    let token = body["ott"].as_str().expect("a token").to_owned();
    let (signed, signature) = token.rsplit_once('.').expect("three parts");
    let key: Value = serde_json::from_str(JWK).expect("JSON");
    let number = |name: &str| URL_SAFE_NO_PAD.decode(key[name].as_str().expect("text")).expect("base64");
    let point = [vec![4], number("x"), number("y")].concat();
    let signature = URL_SAFE_NO_PAD.decode(signature).expect("base64");
    let public = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point);
    public.verify(signed.as_bytes(), &signature).expect("ES256 holds");
    let (header, claims) = signed.split_once('.').expect("two parts");
    let read =
        |part: &str| -> Value { serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).expect("base64")).expect("JSON") };
    assert_eq!(read(header), json!({ "alg": "ES256", "kid": "1", "typ": "JWT" }));
    let claims = read(claims);
    assert_eq!((&claims["iss"], &claims["sha"]), (&json!("fleetward"), &json!("ab".repeat(32))));
    assert_eq!((claims["iat"].as_i64(), claims["exp"].as_i64()), (Some(now), Some(now + 300)));
    assert_eq!(claims["aud"], format!("http://{}{}", asked.header("host"), asked.path));
    assert!(claims["jti"].as_str().is_some_and(|id| id.len() > 20));
    match asked.path.as_str() {
        "/1.0/sign" => {
            assert_eq!((&claims["sub"], &claims["sans"]), (&json!("gw-1"), &json!(["urn:fleetward:acme:gw-1"])));
            let csr = body["csr"].as_str().expect("PEM");
            let der = pem::read(pem::CERTIFICATE_REQUEST, csr).expect("PEM").remove(0);
            let hash = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &der);
            assert_eq!(claims["cnf"]["x5rt#S256"], URL_SAFE_NO_PAD.encode(hash.as_ref()));
            assert_eq!(body["notAfter"], "2027-02-18T10:53:00.000Z");
            let certificate = authority.issue("acme", "gw-1", csr, 24);
            Reply::json(
                201,
                json!({ "crt": certificate, "ca": authority.pem(), "certChain": [certificate, authority.pem()] }),
            )
        }
        "/1.0/revoke" => {
            assert_eq!(claims["sub"], body["serial"]);
            assert!(claims.get("sans").is_none() && body["passive"] == json!(true));
            Reply::json(200, json!({ "status": "ok" }))
        }
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn step_ca_gets_a_token_for_one_request() {
    let fixture = Fixture::new().await;
    let authority = Authority::new("Step");
    let now = fixture.app.now().secs();
    let server = Server::start({
        let authority = authority.clone();
        move |asked| play_step(&authority, asked, now)
    })
    .await;
    let wanted = json!({
        "kind": "step-ca", "url": server.url, "authorities": authority.pem(), "provisioner": "fleetward",
        "root_sha256": "ab".repeat(32),
    });
    set(&fixture, (config(wanted), Credential { jwk: secret(JWK), ..Credential::default() })).await.expect("set");
    let (key, _) = SoftKey::generate();
    let enrolled = enroll(&fixture, "gw-1", &key).await.expect("enrolled");
    let check = check_issuer(&fixture.app, &tenant("acme")).await.expect("asked");
    assert_eq!(check.fault, None);
    // It learns of the revocation, once.
    registry::revoke_device(&fixture.app, &fixture.admin, &tenant("acme"), &device("gw-1"), "lost")
        .await
        .expect("revoked");
    assert_eq!(reconcile::issuers::tell(&fixture.app).await.expect("told"), 1);
    let last = server.last();
    let serial = Certificate::parse(&enrolled.certificate).expect("reads").serial;
    assert_eq!((last.path.as_str(), &last.json()["serial"]), ("/1.0/revoke", &json!(serial.to_decimal())));
    assert_eq!(reconcile::issuers::tell(&fixture.app).await.expect("told"), 0);
}

#[tokio::test]
async fn vault_is_asked_with_a_token_that_app_role_gave() {
    let fixture = Fixture::new().await;
    let authority = Authority::new("Vault");
    let logins = std::sync::atomic::AtomicUsize::new(0);
    let server = Server::start({
        let authority = authority.clone();
        move |asked| {
            use std::sync::atomic::Ordering::SeqCst;
            assert_eq!(asked.header("x-vault-request"), "true");
            assert_eq!(asked.header("x-vault-namespace"), "team");
            let token = asked.header("x-vault-token").to_owned();
            match asked.path.as_str() {
                "/v1/auth/machines/login" => {
                    assert_eq!(asked.json(), json!({ "role_id": "r", "secret_id": "s" }));
                    let token = format!("t{}", logins.fetch_add(1, SeqCst));
                    Reply::json(200, json!({ "auth": { "client_token": token, "lease_duration": 1200 }, "data": null }))
                }
                // The first token was taken back meanwhile.
                _ if token == "t0" => Reply::json(403, json!({ "errors": ["permission denied"] })),
                "/v1/pki/acme/sign/device" => {
                    let body = asked.json();
                    assert_eq!(token, "t1");
                    assert_eq!(body["common_name"], "gw-1");
                    assert_eq!(body["uri_sans"], "urn:fleetward:acme:gw-1");
                    assert_eq!(body["ttl"], format!("{}s", 90 * 24 * 3600 - 1));
                    let certificate = authority.issue("acme", "gw-1", body["csr"].as_str().expect("PEM"), 24);
                    Reply::json(200, json!({ "data": { "certificate": certificate, "issuing_ca": authority.pem() } }))
                }
                "/v1/pki/acme/revoke" => Reply::json(200, json!({ "data": { "revocation_time": 1 } })),
                "/v1/auth/token/lookup-self" => Reply::json(200, json!({ "data": {} })),
                "/v1/pki/acme/ca/pem" => Reply { status: 200, headers: Vec::new(), body: authority.pem() },
                other => panic!("{other}"),
            }
        }
    })
    .await;
    let wanted = json!({
        "kind": "vault", "url": server.url, "authorities": authority.pem(), "mount": "pki/acme", "role": "device",
        "namespace": "team", "login": "machines",
    });
    let credential = Credential { role_id: secret("r"), secret_id: secret("s"), ..Credential::default() };
    set(&fixture, (config(wanted), credential)).await.expect("set");
    let (key, _) = SoftKey::generate();
    let enrolled = enroll(&fixture, "gw-1", &key).await.expect("enrolled");
    // Login, refused, login again, signed.
    assert_eq!(server.count(), 4);
    assert_eq!(check_issuer(&fixture.app, &tenant("acme")).await.expect("asked").fault, None);
    registry::revoke_device(&fixture.app, &fixture.admin, &tenant("acme"), &device("gw-1"), "lost")
        .await
        .expect("revoked");
    assert_eq!(reconcile::issuers::tell(&fixture.app).await.expect("told"), 1);
    let serial = Certificate::parse(&enrolled.certificate).expect("reads").serial.to_string();
    let said = server.last().json()["serial_number"].as_str().expect("text").replace(':', "");
    assert_eq!(said, serial);
}

#[tokio::test]
async fn a_certificate_that_was_not_asked_for_is_not_kept() {
    let fixture = Fixture::new().await;
    let (authority, stranger) = (Authority::new("Elsewhere"), Authority::new("Elsewhere"));
    let turn = std::sync::atomic::AtomicUsize::new(0);
    let (key, _) = SoftKey::generate();
    let other = pem::write(pem::CERTIFICATE_REQUEST, &request(&SoftKey::generate().0, "gw-1"));
    let server = Server::start({
        let authority = authority.clone();
        move |asked| {
            let request: Value = serde_json::from_slice(
                &STANDARD.decode(asked.json()["request"].as_str().expect("text")).expect("base64"),
            )
            .expect("JSON");
            let csr = request["certificate_request"].as_str().expect("PEM").to_owned();
            let certificate = match turn.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
                0 => authority.issue("zenith", "gw-1", &csr, 24),
                1 => authority.issue("acme", "gw-1", &other, 24),
                2 => authority.issue("acme", "gw-1", &csr, 24 * 91),
                3 => stranger.issue("acme", "gw-1", &csr, 24),
                4 => return Reply::json(200, json!({ "success": true, "result": null })),
                5 => return Reply { status: 200, headers: Vec::new(), body: "x".repeat(300 * 1024) },
                6 => {
                    return Reply {
                        status: 302,
                        headers: vec![("location", "/elsewhere".to_owned())],
                        body: String::new(),
                    };
                }
                _ => authority.issue("acme", "gw-1", &csr, 24),
            };
            Reply::json(200, json!({ "success": true, "result": { "certificate": certificate } }))
        }
    })
    .await;
    set(&fixture, cfssl(&server.url, &authority)).await.expect("set");
    for turn in 0..7 {
        assert!(is_unavailable(enroll(&fixture, "gw-1", &key).await), "turn {turn}");
    }
    let listed = registry::device_certificates(&fixture.app, &fixture.admin, &tenant("acme"), &device("gw-1")).await;
    assert!(listed.is_err() || listed.is_ok_and(|list| list.is_empty()), "nothing was kept");
    // Told once, with the reason, and once that it is over. Refusals of single requests pause nothing.
    assert_eq!((told(&fixture, Action::IssuerFailed).await, told(&fixture, Action::IssuerRecovered).await), (1, 0));
    enroll(&fixture, "gw-1", &key).await.expect("the eighth is good");
    assert_eq!(told(&fixture, Action::IssuerRecovered).await, 1);
    let recent = issuer(&fixture.app, &fixture.admin, &tenant("acme")).await.expect("there").recent.expect("asked");
    assert!(!recent.paused && recent.last_success.is_some() && recent.last_failure.is_some());
}

#[tokio::test]
async fn one_that_is_down_is_left_alone_for_a_while() {
    let fixture = Fixture::new().await;
    let authority = Authority::new("Elsewhere");
    let turn = std::sync::atomic::AtomicUsize::new(0);
    let server = Server::start({
        let authority = authority.clone();
        move |asked| match turn.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
            0 => Reply::json(400, json!({ "success": false, "errors": [{ "code": 400, "message": "invalid token" }] })),
            1 => Reply::json(403, json!({ "success": false, "errors": [] })),
            2..=6 => Reply::json(503, json!({})),
            7 => Reply { headers: vec![("retry-after", "90".to_owned())], ..Reply::json(429, json!({})) },
            _ => play_cfssl(&authority, asked),
        }
    })
    .await;
    set(&fixture, cfssl(&server.url, &authority)).await.expect("set");
    let (key, _) = SoftKey::generate();
    for _ in 0..7 {
        assert!(is_unavailable(enroll(&fixture, "gw-1", &key).await));
    }
    assert_eq!(server.count(), 7);
    assert!(is_unavailable(enroll(&fixture, "gw-1", &key).await));
    assert_eq!(server.count(), 7, "after five failures in a row it is not asked");
    fixture.clock.advance(Duration::from_secs(31));
    assert!(is_unavailable(enroll(&fixture, "gw-1", &key).await));
    assert_eq!(server.count(), 8, "one may try");
    fixture.clock.advance(Duration::from_secs(89));
    assert!(is_unavailable(enroll(&fixture, "gw-1", &key).await));
    assert_eq!(server.count(), 8, "it asked for 90 s");
    fixture.clock.advance(Duration::from_secs(2));
    enroll(&fixture, "gw-1", &key).await.expect("it is back");
    // Nobody listens at all.
    let url = Server::nowhere().await;
    set(&fixture, cfssl(&url, &Authority::new("Away"))).await.expect("set");
    assert!(is_unavailable(enroll(&fixture, "gw-2", &SoftKey::generate().0).await));
    let check = check_issuer(&fixture.app, &tenant("acme")).await.expect("asked");
    assert!(check.fault.expect("a fault").contains("no connection"));
}

#[tokio::test]
async fn only_whom_the_pinned_authority_vouches_for_is_asked() {
    let fixture = Fixture::new().await;
    let authority = Authority::new("Elsewhere");
    let identity = authority::server_identity(&fixture.app).expect("an identity for localhost");
    let pinned = authority::root_pem(&fixture.app).await.expect("a root");
    let server = Server::start_tls(identity.chain.clone(), identity.key.clone_key(), {
        let authority = authority.clone();
        move |asked| play_cfssl(&authority, asked)
    })
    .await;
    let with = |tls_ca: &str| {
        config(json!({
            "kind": "cfssl", "url": server.url, "authorities": authority.pem(), "profile": "device", "tls_ca": tls_ca,
        }))
    };
    let credential = || Credential { auth_key: secret(AUTH_KEY), ..Credential::default() };
    set(&fixture, (with(&authority.pem()), credential())).await.expect("set");
    assert!(is_unavailable(enroll(&fixture, "gw-1", &SoftKey::generate().0).await));
    assert_eq!(server.count(), 0, "nothing was said to a stranger");
    set(&fixture, (with(&pinned), credential())).await.expect("set");
    enroll(&fixture, "gw-1", &SoftKey::generate().0).await.expect("enrolled");
}

#[tokio::test]
async fn who_may_set_it_and_what_is_shown() {
    let fixture = Fixture::new().await;
    let (app, admin, acme) = (&fixture.app, &fixture.admin, tenant("acme"));
    let authority = Authority::new("Elsewhere");
    let (wanted, credential) = cfssl("https://ca.example.com", &authority);
    let owner = fixture.operator("acme", "owner").await;
    let denied = set_issuer(app, &owner, &acme, 0, wanted.clone(), Some(credential.clone())).await;
    assert!(matches!(denied, Err(Error::Denied { .. })));
    let foreign = fixture.operator("zenith", "owner").await;
    assert!(matches!(issuer(app, &foreign, &acme).await, Err(Error::NotFound { .. })));
    let first = issuer(app, &owner, &acme).await.expect("the owner may look");
    assert_eq!((first.config, first.revision, first.credential), (Issuer::BuiltIn, 0, false));
    set_issuer(app, admin, &acme, 0, wanted.clone(), Some(credential.clone())).await.expect("set");
    let stale = set_issuer(app, admin, &acme, 0, wanted.clone(), Some(credential.clone())).await;
    assert!(matches!(stale, Err(Error::Stale { expected: 0, found: 1 })));
    let shown = format!("{:?}", issuer(app, &owner, &acme).await.expect("there"));
    assert!(!shown.contains(AUTH_KEY));
    // The credential stays where it was given for, and goes nowhere else.
    let Issuer::Cfssl(same) = wanted.clone() else { panic!("cfssl") };
    let label = Issuer::Cfssl(fleetward_core::issuer::Cfssl { label: "second".to_owned(), ..same.clone() });
    assert!(set_issuer(app, admin, &acme, 1, label, None).await.expect("set").credential);
    let moved = Issuer::Cfssl(fleetward_core::issuer::Cfssl { url: "https://evil.example.com".to_owned(), ..same });
    assert!(!set_issuer(app, admin, &acme, 2, moved, None).await.expect("set").credential);
    // Nobody else's authority.
    let taken = set_issuer(app, admin, &tenant("zenith"), 0, wanted, Some(credential.clone())).await;
    assert!(matches!(taken, Err(Error::Conflict { code: "authority-taken", .. })));
    let ours = authority::authority_chain(app, Some(&tenant("zenith"))).await.expect("a chain").remove(0);
    let ours = config(json!({
        "kind": "cfssl", "url": "https://ca.example.com", "authorities": pem::write(pem::CERTIFICATE, &ours),
    }));
    let taken = set_issuer(app, admin, &acme, 3, ours, Some(credential)).await;
    assert!(matches!(taken, Err(Error::Conflict { code: "authority-taken", .. })));
    for bad in [
        json!({ "kind": "cfssl", "url": "http://ca.example.com", "authorities": authority.pem() }),
        json!({ "kind": "cfssl", "url": "https://ca.example.com", "authorities": "" }),
        json!({ "kind": "cfssl", "url": "https://ca.example.com", "authorities": authority.leaf_pem() }),
        json!({ "kind": "step-ca", "url": "https://ca.example.com", "authorities": authority.pem(), "provisioner": "p" }),
        json!({ "kind": "vault", "url": "https://ca.example.com", "authorities": authority.pem(), "role": "r" }),
    ] {
        let outcome = set_issuer(app, admin, &acme, 3, config(bad.clone()), Some(Credential::default())).await;
        assert!(matches!(outcome, Err(Error::Invalid { .. })), "{bad}");
    }
}

#[tokio::test]
async fn an_issuer_that_signs_with_another_authority_is_found_out() {
    let fixture = Fixture::new().await;
    let (registered, present) = (Authority::new("Old"), Authority::new("New"));
    let server = Server::start(move |asked| play_cfssl(&present, asked)).await;
    set(&fixture, cfssl(&server.url, &registered)).await.expect("set");
    let check = check_issuer(&fixture.app, &tenant("acme")).await.expect("asked");
    assert!(check.fault.expect("a fault").contains("not registered"));
    let own = check_issuer(&fixture.app, &tenant("zenith")).await.expect("asked");
    assert!(own.fault.is_none() && own.authority_ends.is_some());
}

#[tokio::test]
async fn an_examination_asks_every_issuer() {
    let fixture = Fixture::new().await;
    let (app, admin) = (&fixture.app, &fixture.admin);
    let look = async || {
        // What was found a moment ago is kept.
        fixture.clock.advance(doctor::KEPT);
        let report = doctor::examine(app).await;
        report.checks.iter().find(|check| check.name == "external-issuers").expect("a check").clone()
    };
    let none = look().await;
    assert_eq!((none.verdict, none.detail.contains("none")), (Verdict::Ok, true), "{}", none.detail);
    let (good, away) = (Authority::new("Elsewhere"), Authority::new("Away"));
    let server = Server::start({
        let authority = good.clone();
        move |asked| play_cfssl(&authority, asked)
    })
    .await;
    set(&fixture, cfssl(&server.url, &good)).await.expect("set");
    let well = look().await;
    assert_eq!((well.verdict, server.last().path.as_str()), (Verdict::Ok, "/api/v1/cfssl/info"), "{}", well.detail);
    assert!(well.detail.contains("1 answer, 0 do not") && well.detail.contains("attestation-key ("), "{}", well.detail);
    // Another tenant's is not there: that is told, without a name, and the installation is not broken by it.
    let (config, credential) = cfssl(&Server::nowhere().await, &away);
    set_issuer(app, admin, &tenant("zenith"), 0, config, Some(credential)).await.expect("set");
    let (asked, ill) = (server.count(), look().await);
    assert_eq!((ill.verdict, server.count()), (Verdict::Warn, asked + 1), "{}", ill.detail);
    assert!(ill.detail.contains("1 answer, 1 do not") && ill.detail.contains("cfssl"), "{}", ill.detail);
    assert!(!ill.detail.contains("zenith") && ill.remedy.is_some(), "{}", ill.detail);
}
