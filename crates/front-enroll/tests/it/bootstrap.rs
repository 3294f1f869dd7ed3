//! Azure's registration and the device flow, as their clients speak.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fleetward_app::enrollment_keys::{Kind, NewEnrollment, ShownKeys, create_enrollment, id_scope};
use fleetward_app::enrollment_requests::decide_enrollment;
use fleetward_app::provisioning::factories::{
    FactoryChange, NewFactory, amend_factory, create_registration_code, register_factory,
};
use fleetward_app::provisioning::jit::{activate, arrived};
use fleetward_core::approval::Decision;
use fleetward_core::provisioning::Mode;
use fleetward_pki::pem;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::factory::{Maker, line, made, maker};
use crate::fixture::{Answer, Device, House};

const VERSION: &str = "?api-version=2019-03-31";

async fn individual(house: &House, name: &str) -> ShownKeys {
    let (tenant, new) = ("acme".parse().expect("a name"), NewEnrollment::default());
    let made = create_enrollment(&house.app, &house.system, &tenant, Kind::Individual, name.to_owned(), new).await;
    made.expect("made")
}

fn signature(house: &House, key: &str, scope: &str, id: &str) -> String {
    let (resource, expires) = (format!("{scope}%2fregistrations%2f{id}"), house.app.now().secs() + 3600);
    let key = hmac::Key::new(hmac::HMAC_SHA256, &STANDARD.decode(key).expect("base64"));
    let tag = STANDARD.encode(hmac::sign(&key, format!("{resource}\n{expires}").as_bytes()));
    let tag = tag.replace('+', "%2b").replace('/', "%2f").replace('=', "%3d");
    format!("SharedAccessSignature sr={resource}&sig={tag}&se={expires}&skn=registration")
}

fn json_of(answer: &Answer) -> Value {
    serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{error}: {}", answer.body))
}

async fn ask(house: &House, method: Method, path: &str, credential: &str, body: String) -> Answer {
    let fields = [("authorization", credential), ("content-type", "application/json; charset=utf-8")];
    let fields = if credential.is_empty() { &fields[1..] } else { &fields[..] };
    house.send(house.anyone(), method, path, fields, body).await
}

#[tokio::test]
async fn a_device_registers_as_azure_has_it() {
    let house = House::new().await;
    let keys = individual(&house, "gw-1").await;
    let base = format!("/{}/registrations/gw-1", keys.id_scope);
    let sas = signature(&house, &keys.primary_key, &keys.id_scope, "gw-1");
    let csr = Device::new("gw-1").body();
    let body = json!({ "registrationId": "gw-1", "csr": csr }).to_string();
    let accepted = ask(&house, Method::PUT, &format!("{base}/register{VERSION}"), &sas, body).await;
    assert_eq!((accepted.status, accepted.field("retry-after")), (StatusCode::ACCEPTED, Some("3")));
    let operation = json_of(&accepted)["operationId"].as_str().expect("an id").to_owned();
    let path = format!("{base}/operations/{operation}{VERSION}");
    let found = json_of(&ask(&house, Method::GET, &path, &sas, String::new()).await);
    assert_eq!((&found["status"], &found["registrationState"]["deviceId"]), (&json!("assigned"), &json!("gw-1")));
    assert_eq!(found["registrationState"]["issuedCertificateChain"].as_array().map(Vec::len), Some(3));
    let state = ask(&house, Method::POST, &format!("{base}{VERSION}"), &sas, String::new()).await;
    assert_eq!((state.status, &json_of(&state)["status"]), (StatusCode::OK, &json!("assigned")));

    let unversioned = ask(&house, Method::PUT, &format!("{base}/register"), &sas, String::new()).await;
    assert_eq!((unversioned.status, &json_of(&unversioned)["errorCode"]), (StatusCode::BAD_REQUEST, &json!(400_001)));
    let broken = ask(&house, Method::PUT, &format!("{base}/register{VERSION}"), &sas, "[".into()).await;
    assert_eq!(broken.status, StatusCode::BAD_REQUEST);
    let huge = ask(&house, Method::PUT, &format!("{base}/register{VERSION}"), &sas, " ".repeat(200_000)).await;
    assert_eq!(huge.status, StatusCode::BAD_REQUEST);
}

/// A factory that the tenant registered, with proof that it holds its key; its id.
async fn registered(house: &House, maker: &Maker, mode: Mode) -> String {
    let acme = "acme".parse().expect("a name");
    let (code, _) = create_registration_code(&house.app, &house.system, &acme).await.expect("a code");
    let new = NewFactory {
        name: "Maker".to_owned(),
        certificate: pem::write(pem::CERTIFICATE, maker.der()),
        verification: pem::write(pem::CERTIFICATE, &made(maker, &code)),
        mode,
        template: None,
    };
    register_factory(&house.app, &house.system, &acme, new).await.expect("registered").id
}

/// What a device with these certificates is answered.
async fn registers(house: &House, scope: &str, name: &str, chain: &[Vec<u8>]) -> StatusCode {
    let path = format!("/{scope}/registrations/{name}/register{VERSION}");
    let body = json!({ "registrationId": name }).to_string();
    house.send(house.as_chain(chain), Method::PUT, &path, &[("content-type", "application/json")], body).await.status
}

#[tokio::test]
async fn a_factorys_certificate_registers_whom_a_first_connection_would() {
    let house = House::new().await;
    let (app, system, acme) = (&house.app, &house.system, "acme".parse().expect("a name"));
    let scope = id_scope(app, system, &acme).await.expect("a scope");
    let zenith = id_scope(app, system, &"zenith".parse().expect("a name")).await.expect("a scope");
    let (own, stranger) = (maker("Maker"), maker("Maker"));
    let line = line(&own, "Line 4");
    let (accepted, refused) = (StatusCode::ACCEPTED, StatusCode::UNAUTHORIZED);
    let first = made(&own, "SN-1");
    assert_eq!(registers(&house, &scope, "SN-1", std::slice::from_ref(&first)).await, refused, "nobody's factory");
    let factory = registered(&house, &own, Mode::Provision).await;
    assert_eq!(registers(&house, &scope, "SN-2", std::slice::from_ref(&first)).await, refused, "another name");
    assert_eq!(registers(&house, &zenith, "SN-1", std::slice::from_ref(&first)).await, refused, "another tenant");
    assert_eq!(registers(&house, &scope, "SN-1", std::slice::from_ref(&first)).await, accepted);
    assert_eq!(registers(&house, &scope, "SN-1", &[made(&own, "SN-1")]).await, refused, "a second of this name");
    assert_eq!(registers(&house, &scope, "SN-3", &[made(&stranger, "SN-3")]).await, refused, "a factory of its name");
    let (third, above) = (made(&line, "SN-3"), line.der().to_vec());
    assert_eq!(registers(&house, &scope, "SN-3", std::slice::from_ref(&third)).await, refused, "alone");
    assert_eq!(registers(&house, &scope, "SN-3", &[third, above]).await, accepted, "with what stands above it");
    // What was revoked is not registered anew.
    house.revoke("acme", "SN-3").await;
    house.revoke("acme", "SN-1").await;
    assert_eq!(registers(&house, &scope, "SN-1", std::slice::from_ref(&first)).await, refused, "revoked");
    let change = FactoryChange { enabled: Some(false), ..FactoryChange::default() };
    amend_factory(app, system, &acme, &factory, 1, change).await.expect("disabled");
    assert_eq!(registers(&house, &scope, "SN-4", &[made(&own, "SN-4")]).await, refused, "disabled");
}

#[tokio::test]
async fn a_factorys_device_that_is_to_be_claimed_waits_here_too() {
    let house = House::new().await;
    let (app, system, acme) = (&house.app, &house.system, "acme".parse().expect("a name"));
    let scope = id_scope(app, system, &acme).await.expect("a scope");
    let maker = maker("Maker");
    registered(&house, &maker, Mode::Register).await;
    let chain = [made(&maker, "SN-1")];
    assert_eq!(registers(&house, &scope, "SN-1", &chain).await, StatusCode::UNAUTHORIZED, "nobody claimed it");
    let waiting = arrived(app, system, &acme, true, None, 10).await.expect("a page");
    assert_eq!(waiting.iter().map(|row| row.name.as_str()).collect::<Vec<_>>(), ["SN-1"]);
    activate(app, system, &acme, &waiting.first().expect("it waits").id).await.expect("activated");
    assert_eq!(registers(&house, &scope, "SN-1", &chain).await, StatusCode::ACCEPTED);
}

/// Each path as nobody, with another device's signature, under another tenant's name, and with another tenant's
/// certificate.
#[tokio::test]
async fn registrations_are_probed_from_outside() {
    for (method, rest) in
        [(Method::PUT, "/register"), (Method::GET, "/operations/4.x"), (Method::GET, ""), (Method::POST, "")]
    {
        // Each with an allowance of its own.
        let house = House::new().await;
        let (keys, others) = (individual(&house, "gw-1").await, individual(&house, "gw-2").await);
        let zenith = id_scope(&house.app, &house.system, &"zenith".parse().expect("a name")).await.expect("a scope");
        let stranger = house.enrolled("zenith", "gw-1").await;
        let own = signature(&house, &keys.primary_key, &keys.id_scope, "gw-1");
        let foreign = signature(&house, &others.primary_key, &keys.id_scope, "gw-1");
        let moved = signature(&house, &keys.primary_key, &zenith, "gw-1");
        let at = |scope: &str| format!("/{scope}/registrations/gw-1{rest}{VERSION}");
        for (path, credential) in [
            (at(&keys.id_scope), ""),
            (at(&keys.id_scope), "Basic eDp5"),
            (at(&keys.id_scope), foreign.as_str()),
            (at(&keys.id_scope), moved.as_str()),
            (at(&zenith), own.as_str()),
            (at(&zenith), moved.as_str()),
            (at("0neNOBODY"), own.as_str()),
        ] {
            let answer = ask(&house, method.clone(), &path, credential, "{}".into()).await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{method} {path} {}", answer.body);
            let body = json_of(&answer);
            assert_eq!((&body["errorCode"], &body["message"]), (&json!(401_002), &json!("Unauthorized")));
        }
        let peer = house.as_device(&stranger);
        let answer = house.send(peer, method.clone(), &at(&keys.id_scope), &[], "{}").await;
        assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "another tenant's certificate: {method} {rest}");
    }
}

fn form(fields: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish()
}

async fn oauth(house: &House, path: &str, fields: &[(&str, &str)]) -> Answer {
    let kind = [("content-type", "application/x-www-form-urlencoded")];
    house.send(house.anyone(), Method::POST, path, &kind, form(fields)).await
}

const GRANT: (&str, &str) = ("grant_type", "urn:ietf:params:oauth:grant-type:device_code");

#[tokio::test]
async fn a_device_gets_its_certificate_by_the_device_flow() {
    let house = House::new().await;
    let acme = "acme".parse().expect("a name");
    let scope = id_scope(&house.app, &house.system, &acme).await.expect("a scope");
    let field = Device::new("gw-1");
    let csr = field.body();
    let asks = [("client_id", scope.as_str()), ("device", "gw-1"), ("csr", csr.as_str())];
    let asked = oauth(&house, "/oauth/device_authorization", &asks).await;
    assert_eq!((asked.status, asked.field("cache-control")), (StatusCode::OK, Some("no-store")));
    let asked = json_of(&asked);
    let code = asked["device_code"].as_str().expect("a code").to_owned();
    let poll = async || json_of(&oauth(&house, "/oauth/token", &[GRANT, ("device_code", &code)]).await);
    assert_eq!(poll().await["error"], "authorization_pending");
    let user_code = asked["user_code"].as_str().expect("a code");
    decide_enrollment(&house.app, &house.system, &acme, user_code, Decision::Approve, None).await.expect("decided");
    let granted = poll().await;
    assert_eq!(granted["token_type"], "Bearer");
    let bearer = format!("Bearer {}", granted["access_token"].as_str().expect("a token"));
    // A person looked at this key; with another one the token is worth nothing, whoever holds it.
    let thief = house.enroll("/.well-known/est/simpleenroll", &bearer, &Device::new("gw-1").body()).await;
    assert_eq!(thief.status, StatusCode::UNAUTHORIZED, "{}", thief.body);
    let answer = house.enroll("/.well-known/est/simpleenroll", &bearer, &csr).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
}

/// Requests are no secrets. Whoever sends a recorded one takes its place in the inbox, and what a person then approves is
/// of use to the recorded key alone.
#[tokio::test]
async fn a_recorded_request_brings_its_sender_nothing() {
    let house = House::new().await;
    let acme = "acme".parse().expect("a name");
    let scope = id_scope(&house.app, &house.system, &acme).await.expect("a scope");
    let csr = Device::new("gw-1").body();
    let asks = [("client_id", scope.as_str()), ("device", "gw-1"), ("csr", csr.as_str())];
    let asked = async || json_of(&oauth(&house, "/oauth/device_authorization", &asks).await);
    let (first, second) = (asked().await, asked().await);
    let user_code = second["user_code"].as_str().expect("a code");
    decide_enrollment(&house.app, &house.system, &acme, user_code, Decision::Approve, None).await.expect("decided");
    let code = |of: &serde_json::Value| of["device_code"].as_str().expect("a code").to_owned();
    let poll = async |code: String| json_of(&oauth(&house, "/oauth/token", &[GRANT, ("device_code", &code)]).await);
    assert_eq!(poll(code(&first)).await["error"], "invalid_grant", "the earlier code went with its place");
    let granted = poll(code(&second)).await;
    let bearer = format!("Bearer {}", granted["access_token"].as_str().expect("a token"));
    let own_key = house.enroll("/.well-known/est/simpleenroll", &bearer, &Device::new("gw-1").body()).await;
    assert_eq!(own_key.status, StatusCode::UNAUTHORIZED, "{}", own_key.body);
    // The token ends by its time also where it is bound and was never used.
    house.clock.advance(std::time::Duration::from_secs(30 * 24 * 3600));
    let late = house.enroll("/.well-known/est/simpleenroll", &bearer, &csr).await;
    assert_eq!(late.status, StatusCode::UNAUTHORIZED, "{}", late.body);
}

#[tokio::test]
async fn the_device_flow_is_probed_from_outside() {
    let house = House::new().await;
    let acme = "acme".parse().expect("a name");
    let scope = id_scope(&house.app, &house.system, &acme).await.expect("a scope");
    for (fields, code) in [
        (&[("client_id", "0neNOBODY"), ("device", "gw-1")][..], "invalid_client"),
        (&[("client_id", scope.as_str())], "invalid_request"),
        (&[("client_id", scope.as_str()), ("device", "a/b")], "invalid_request"),
        (&[("client_id", scope.as_str()), ("device", "gw-1"), ("csr", "!")], "invalid_request"),
        (&[("client_id", scope.as_str()), ("client_id", "x"), ("device", "gw-1")], "invalid_request"),
        (&[("device", "gw-1")], "invalid_request"),
    ] {
        let answer = oauth(&house, "/oauth/device_authorization", fields).await;
        assert_eq!(json_of(&answer)["error"], code, "{fields:?}");
    }
    for (fields, code) in [
        (&[GRANT][..], "invalid_request"),
        (&[GRANT, ("device_code", "x")], "invalid_grant"),
        (&[GRANT, ("device_code", &format!("fwd_{}", "A".repeat(43)))], "invalid_grant"),
        (&[("grant_type", "password"), ("device_code", "x")], "unsupported_grant_type"),
    ] {
        let answer = oauth(&house, "/oauth/token", fields).await;
        assert_eq!((answer.status, &json_of(&answer)["error"]), (StatusCode::BAD_REQUEST, &json!(code)), "{fields:?}");
    }
}

#[tokio::test]
async fn a_symmetric_key_is_a_password_of_est() {
    let house = House::new().await;
    let keys = individual(&house, "gw-1").await;
    let basic = format!("Basic {}", STANDARD.encode(format!("gw-1:{}", keys.secondary_key)));
    let body = Device::new("gw-1").body();
    let answer = house.enroll("/.well-known/est/acme/simpleenroll", &basic, &body).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    for path in ["/.well-known/est/zenith/simpleenroll", "/.well-known/est/simpleenroll"] {
        assert_eq!(house.enroll(path, &basic, &body).await.status, StatusCode::UNAUTHORIZED, "{path}");
    }
}
