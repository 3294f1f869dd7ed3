//! What a tenant can ask for and offer beyond plain enrolment: attributes, channel binding, tokens in requests, keys.

use axum::body::Body;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fleetward_app::enroll::Channel;
use fleetward_app::enrollment_requests::{decide_enrollment, enrollment_requests};
use fleetward_core::approval::{Decision, State};
use fleetward_pki::{Certificate, Signer, SoftKey, cms, est};
use http::{Method, Request, StatusCode};
use serde_json::json;

use crate::fixture::{Answer, Device, House};
use crate::{certificates, identity, refused};

const ENROLL: &str = "/.well-known/est/acme/simpleenroll";

/// Enrols over a connection of this kind.
async fn over(house: &House, channel: Channel, basic: &str, body: String) -> Answer {
    let mut request = Request::post(ENROLL).header("authorization", basic).body(Body::from(body)).expect("a request");
    request.extensions_mut().insert(channel);
    house.answer(house.anyone(), request).await
}

#[tokio::test]
async fn attributes_say_what_a_request_should_have() {
    let house = House::new().await;
    let none = house.get("/.well-known/est/csrattrs").await;
    assert_eq!((none.status, none.body.as_str()), (StatusCode::NO_CONTENT, ""), "no tenant, no wishes");
    refused(&house.get("/.well-known/est/nobody/csrattrs").await, StatusCode::NOT_FOUND);
    let password = [0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x09, 0x07];
    let wants = |answer: &Answer| {
        assert_eq!(answer.field("content-type"), Some("application/csrattrs"));
        assert_eq!(answer.field("content-transfer-encoding"), Some("base64"));
        let der = est::decode(answer.body.as_bytes()).expect("base64");
        der.windows(password.len()).any(|window| window == password)
    };
    assert!(!wants(&house.get("/.well-known/est/acme/csrattrs").await));
    house.policy("acme", json!({ "est": { "challenge_password": "required" } })).await;
    assert!(wants(&house.get("/.well-known/est/acme/csrattrs").await));
    assert!(!wants(&house.get("/.well-known/est/zenith/csrattrs").await), "the other tenant's are its own");
}

#[tokio::test]
async fn a_request_that_is_bound_counts_on_its_connection_only() {
    let house = House::new().await;
    let (own, other) = ([7; 32], [8; 32]);
    let device = Device::new("gw-1");
    let bound = device.request_with(&STANDARD.encode(own));
    let basic = house.basic("acme", "gw-1").await;
    let elsewhere = over(&house, Channel::Tls13(other), &basic, bound.clone()).await;
    refused(&elsewhere, StatusCode::BAD_REQUEST);
    assert!(elsewhere.body.contains("bound to another connection"), "{}", elsewhere.body);
    let old = over(&house, Channel::Tls12, &basic, bound.clone()).await;
    refused(&old, StatusCode::BAD_REQUEST);
    assert!(old.body.contains("TLS 1.3"), "{}", old.body);
    assert_eq!(identity(&over(&house, Channel::Tls13(own), &basic, bound).await), "urn:fleetward:acme:gw-1");

    house.policy("acme", json!({ "est": { "challenge_password": "required" } })).await;
    let basic = house.basic("acme", "gw-2").await;
    let loose = over(&house, Channel::Tls13(own), &basic, Device::new("gw-2").body()).await;
    refused(&loose, StatusCode::BAD_REQUEST);
    assert!(loose.body.contains("tls-exporter"), "it says what to do: {}", loose.body);
    let bound = Device::new("gw-2").request_with(&STANDARD.encode(own));
    assert_eq!(over(&house, Channel::Tls13(own), &basic, bound).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_token_may_come_in_the_request_where_the_tenant_says_so() {
    let house = House::new().await;
    let token = |basic: &str| {
        let pair = STANDARD.decode(basic.strip_prefix("Basic ").expect("basic")).expect("base64");
        String::from_utf8(pair).expect("text").split_once(':').expect("a pair").1.to_owned()
    };
    let send = |body: String| house.send(house.anyone(), Method::POST, ENROLL, &[], body);
    let first = token(&house.basic("acme", "gw-1").await);
    refused(&send(Device::new("gw-1").request_with(&first)).await, StatusCode::UNAUTHORIZED);
    house.policy("acme", json!({ "est": { "challenge_password": "token" } })).await;
    refused(&send(Device::new("gw-1").request_with("fwe_wrong")).await, StatusCode::UNAUTHORIZED);
    refused(&send(Device::new("gw-2").request_with(&first)).await, StatusCode::UNAUTHORIZED);
    refused(&send(Device::new("gw-1").body()).await, StatusCode::UNAUTHORIZED);
    assert_eq!(identity(&send(Device::new("gw-1").request_with(&first)).await), "urn:fleetward:acme:gw-1");
}

#[tokio::test]
async fn keys_are_made_only_where_the_tenant_wants_that() {
    let house = House::new().await;
    let path = "/.well-known/est/acme/serverkeygen";
    let basic = house.basic("acme", "gw-1").await;
    let field = Device::new("gw-1");
    refused(&house.enroll(path, &basic, &field.body()).await, StatusCode::FORBIDDEN);
    house.policy("acme", json!({ "est": { "server_keys": true } })).await;
    let answer = house.enroll(path, &basic, &field.body()).await;
    let (key, certificate) = key_and_certificate(&answer);
    assert_eq!(certificate.spki, key.public_spki(), "they belong together");
    assert_ne!(certificate.spki, field.spki(), "the key of the request is not certified");
    assert_eq!(certificate.identity().expect("an identity").to_string(), "urn:fleetward:acme:gw-1");
    assert_eq!(answer.field("cache-control"), Some("no-store"));
    // It was in that answer and nowhere else.
    refused(&house.enroll(path, &basic, &field.body()).await, StatusCode::UNAUTHORIZED);

    let peer = house.as_chain(std::slice::from_ref(&certificate.der));
    let renewed = house.send(peer, Method::POST, path, &[], field.body()).await;
    let (next, renewed) = key_and_certificate(&renewed);
    assert_eq!(renewed.spki, next.public_spki());
    assert_ne!(next.public_spki(), key.public_spki());
}

#[tokio::test]
async fn a_key_is_made_when_somebody_has_let_the_device_in() {
    let house = House::new().await;
    let path = "/.well-known/est/acme/serverkeygen";
    house.policy("acme", json!({ "est": { "server_keys": true }, "enrolment": { "approval": ["token"] } })).await;
    let (basic, field, acme) =
        (house.basic("acme", "gw-1").await, Device::new("gw-1"), "acme".parse().expect("a name"));
    for _ in 0..2 {
        assert_eq!(house.enroll(path, &basic, &field.body()).await.status, StatusCode::ACCEPTED);
    }
    let inbox = async || {
        let (app, system) = (&house.app, &house.system);
        enrollment_requests(app, system, &acme, Some(State::Pending), None, 9).await.expect("a page")
    };
    let waiting = inbox().await;
    let [request] = waiting.as_slice() else { panic!("one request: {waiting:?}") };
    assert_eq!(request.key_fingerprint, None, "there is no key yet");
    decide_enrollment(&house.app, &house.system, &acme, &request.id, Decision::Approve, None).await.expect("decided");
    // What was approved is a key from here, and not that of the request.
    assert_eq!(house.enroll(ENROLL, &basic, &field.body()).await.status, StatusCode::ACCEPTED);
    let (key, certificate) = key_and_certificate(&house.enroll(path, &basic, &field.body()).await);
    assert_eq!(certificate.spki, key.public_spki());
    refused(&house.enroll(path, &basic, &field.body()).await, StatusCode::UNAUTHORIZED);
}

/// The two parts of the answer, as a client takes it apart.
fn key_and_certificate(answer: &Answer) -> (SoftKey, Certificate) {
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    let kind = answer.field("content-type").expect("a type");
    let boundary = kind.strip_prefix("multipart/mixed; boundary=").expect("multipart");
    assert!(answer.body.ends_with(&format!("--{boundary}--\r\n")));
    let parts: Vec<&str> = answer.body.split(&format!("--{boundary}\r\n")).skip(1).collect();
    let [key, certificate] = parts.as_slice() else { panic!("two parts: {}", answer.body) };
    let content = |part: &str, kind: &str| {
        let (head, text) = part.split_once("\r\n\r\n").expect("head and body");
        assert_eq!(head, format!("Content-Type: {kind}\r\nContent-Transfer-Encoding: base64"));
        est::decode(text.split("\r\n").next().expect("a line").as_bytes()).expect("base64")
    };
    let key = SoftKey::from_pkcs8(&content(key, "application/pkcs8")).expect("a key");
    let list = content(certificate, "application/pkcs7-mime; smime-type=certs-only");
    let der = cms::certificates(&list).expect("certs-only").remove(0);
    (key, Certificate::parse(&der).expect("a certificate"))
}

#[tokio::test]
async fn a_layout_can_be_set_for_a_tenant() {
    let house = House::new().await;
    house.policy("acme", json!({ "est": { "layout": "lines" } })).await;
    let lines = house.get("/.well-known/est/acme/cacerts").await;
    assert!(lines.body.lines().all(|line| line.len() <= 64) && lines.body.lines().count() > 3);
    assert_eq!(certificates(&lines).len(), 2);
    assert_eq!(house.get("/.well-known/est/zenith/cacerts").await.body.lines().count(), 1);
}
