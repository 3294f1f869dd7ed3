//! The door over real use cases and a real store: what goes in as a request comes out as a status, fields and a body.

mod approval;
mod bearers;
mod bootstrap;
mod expired;
mod extras;
mod factory;
mod fixture;
mod probes;
mod publication;
mod scep;

use axum::body::Body;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fleetward_base::limits;
use fleetward_pki::{Certificate, cms, est};
use http::{Method, Request, StatusCode};

use crate::fixture::{Answer, Device, House};

pub(crate) fn certificates(answer: &Answer) -> Vec<Certificate> {
    let der = est::decode(answer.body.as_bytes()).expect("base64");
    let list = cms::certificates(&der).expect("certs-only");
    list.iter().map(|der| Certificate::parse(der).expect("a certificate")).collect()
}

pub(crate) fn identity(answer: &Answer) -> String {
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    match certificates(answer).as_slice() {
        [leaf] => leaf.identity().expect("an identity").to_string(),
        other => panic!("{} certificates, and only the issued one was to come", other.len()),
    }
}

pub(crate) fn refused(answer: &Answer, status: StatusCode) {
    assert_eq!(answer.status, status, "{}", answer.body);
    assert_eq!(answer.field("content-type"), Some("text/plain; charset=utf-8"));
    assert!(answer.body.ends_with('\n') && answer.body.lines().count() == 1, "{:?}", answer.body);
}

#[tokio::test]
async fn authorities_are_for_anyone() {
    let house = House::new().await;
    let roots = certificates(&house.get("/.well-known/est/cacerts").await);
    assert_eq!(roots.len(), 1, "without a tenant the root alone");
    let answer = house.get("/.well-known/est/acme/cacerts").await;
    assert_eq!(answer.field("content-type"), Some("application/pkcs7-mime; smime-type=certs-only"));
    assert_eq!(answer.field("content-transfer-encoding"), Some("base64"));
    let chain = certificates(&answer);
    assert_eq!(chain.len(), 2);
    assert_eq!((&chain[0].issuer, &chain[1]), (&roots[0].subject, &roots[0]));
    let zenith = certificates(&house.get("/.well-known/est/zenith/cacerts").await);
    assert_ne!(zenith[0].subject_key_id, chain[0].subject_key_id);
    refused(&house.get("/.well-known/est/nobody/cacerts").await, StatusCode::NOT_FOUND);
    let own = house.enrolled("acme", "gw-1").await;
    let answer = house.send(house.as_device(&own), Method::GET, "/.well-known/est/cacerts", &[], "").await;
    assert_eq!(certificates(&answer), chain, "to a device those of its tenant");
}

#[tokio::test]
async fn a_token_enrols_with_and_without_a_label() {
    let house = House::new().await;
    for (name, path) in [
        ("gw-1", "/.well-known/est/simpleenroll"),
        ("gw-2", "/.well-known/est/acme/simpleenroll"),
        ("gw-3", "/some/where/.well-known/est/acme/simpleenroll"),
    ] {
        let basic = house.basic("acme", name).await;
        let answer = house.enroll(path, &basic, &Device::new(name).body()).await;
        assert_eq!(identity(&answer), format!("urn:fleetward:acme:{name}"));
        assert!(!answer.body.contains('\n'), "strongSwan reads one line");
    }
    let basic = house.basic("acme", "gw-4").await;
    refused(
        &house.enroll("/.well-known/est/zenith/simpleenroll", &basic, &Device::new("gw-4").body()).await,
        StatusCode::UNAUTHORIZED,
    );
}

#[tokio::test]
async fn the_same_request_is_answered_the_same() {
    let house = House::new().await;
    let (basic, field) = (house.basic("acme", "gw-1").await, Device::new("gw-1"));
    let first = house.enroll("/.well-known/est/simpleenroll", &basic, &field.body()).await;
    let again = house.enroll("/.well-known/est/simpleenroll", &basic, &field.body()).await;
    assert_eq!((first.status, &first.body), (StatusCode::OK, &again.body));
    let other = house.enroll("/.well-known/est/simpleenroll", &basic, &Device::new("gw-1").body()).await;
    refused(&other, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn bodies_are_read_as_clients_write_them_and_libest_gets_lines() {
    let house = House::new().await;
    let line = |field: &Device| STANDARD.encode(field.request());
    let lines = |field: &Device| est::encode(&field.request(), est::Layout::Lines);
    let armour = |field: &Device| {
        format!("-----BEGIN CERTIFICATE REQUEST-----\r\n{}-----END CERTIFICATE REQUEST-----\r\n", lines(field))
    };
    let forms: [&dyn Fn(&Device) -> String; 3] = [&line, &lines, &armour];
    for (form, name) in forms.iter().zip(["gw-1", "gw-2", "gw-3"]) {
        let basic = house.basic("acme", name).await;
        let fields = [
            ("authorization", basic.as_str()),
            ("content-type", "application/pkcs10"),
            ("user-agent", "libest client 1.0"),
        ];
        let answer = house
            .send(house.anyone(), Method::POST, "/.well-known/est/simpleenroll", &fields, form(&Device::new(name)))
            .await;
        assert_eq!(identity(&answer), format!("urn:fleetward:acme:{name}"));
        assert!(answer.body.lines().all(|line| line.len() <= 64), "libest reads lines");
    }
}

#[tokio::test]
async fn a_challenge_is_for_those_who_brought_nothing() {
    let house = House::new().await;
    let body = Device::new("gw-1").body();
    let challenge = |answer: &Answer| answer.field("www-authenticate").map(str::to_owned);
    for path in ["/.well-known/est/simpleenroll", "/.well-known/est/acme/simplereenroll"] {
        let nothing = house.send(house.anyone(), Method::POST, path, &[], body.clone()).await;
        refused(&nothing, StatusCode::UNAUTHORIZED);
        assert_eq!(challenge(&nothing).as_deref(), Some("Basic realm=\"fleetward\", charset=\"UTF-8\""));
    }
    for authorization in ["Bearer x", "Basic", "Basic !!!", &format!("Basic {}", STANDARD.encode("gw-1:wrong"))] {
        let answer = house.enroll("/.well-known/est/simpleenroll", authorization, &body).await;
        refused(&answer, StatusCode::UNAUTHORIZED);
        assert_eq!(challenge(&answer), None, "{authorization}");
        assert!(!answer.body.contains("wrong"), "a credential is not repeated");
    }
    let basic = house.basic("acme", "gw-1").await;
    let answer = house.enroll("/.well-known/est/simplereenroll", &basic, &body).await;
    refused(&answer, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_certificate_renews_at_either_operation() {
    let house = House::new().await;
    let own = house.enrolled("acme", "gw-1").await;
    let mut seen = vec![own.certificate.clone()];
    for path in
        ["/.well-known/est/simplereenroll", "/.well-known/est/acme/simplereenroll", "/.well-known/est/simpleenroll"]
    {
        let body = Device::new("gw-1").body();
        let answer = house.send(house.as_device(&own), Method::POST, path, &[], body).await;
        assert_eq!(identity(&answer), "urn:fleetward:acme:gw-1");
        seen.push(certificates(&answer).remove(0).der);
    }
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 4, "each is another certificate");
    let body = Device::new("gw-1").body();
    let path = "/.well-known/est/zenith/simplereenroll";
    refused(&house.send(house.as_device(&own), Method::POST, path, &[], body).await, StatusCode::UNAUTHORIZED);
    let body = Device::new("gw-2").body();
    let path = "/.well-known/est/simplereenroll";
    refused(&house.send(house.as_device(&own), Method::POST, path, &[], body).await, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn operations_that_are_not_offered_say_so() {
    let house = House::new().await;
    let path = "/.well-known/est/acme/fullcmc";
    refused(&house.send(house.anyone(), Method::POST, path, &[], "").await, StatusCode::NOT_IMPLEMENTED);
    for (method, path, allowed) in [
        (Method::POST, "/.well-known/est/cacerts", "GET"),
        (Method::GET, "/.well-known/est/simpleenroll", "POST"),
        (Method::PUT, "/.well-known/est/acme/simplereenroll", "POST"),
    ] {
        let answer = house.send(house.anyone(), method, path, &[], "").await;
        refused(&answer, StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(answer.field("allow"), Some(allowed));
    }
    for path in ["/.well-known/est/unknown", "/.well-known/est/ACME/cacerts", "/.well-known/est/cacerts/simpleenroll"] {
        refused(&house.get(path).await, StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn bodies_that_are_no_request() {
    let house = House::new().await;
    let basic = house.basic("acme", "gw-1").await;
    let path = "/.well-known/est/simpleenroll";
    for body in ["", "====", "not base64!", "AAAA", "MIIB", &STANDARD.encode([0x30; 64])] {
        refused(&house.enroll(path, &basic, body).await, StatusCode::BAD_REQUEST);
    }
    let json = [("authorization", basic.as_str()), ("content-type", "application/json")];
    let answer = house.send(house.anyone(), Method::POST, path, &json, "{}").await;
    refused(&answer, StatusCode::UNSUPPORTED_MEDIA_TYPE);
    let plain = [("authorization", basic.as_str())];
    let body = Device::new("gw-1").body();
    assert_eq!(house.send(house.anyone(), Method::POST, path, &plain, body).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_huge_body_is_refused_before_it_is_kept() {
    let house = House::new().await;
    let basic = house.basic("acme", "gw-1").await;
    let path = "/.well-known/est/simpleenroll";
    let announced = [("authorization", basic.as_str()), ("content-length", "1000000000000")];
    let answer = house.send(house.anyone(), Method::POST, path, &announced, "AAAA").await;
    refused(&answer, StatusCode::PAYLOAD_TOO_LARGE);
    // Not announced, and without end: only what the limit allows is ever asked for.
    let endless = axum::body::Bytes::from_static(&[b'A'; 4096]);
    let sent = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = std::sync::Arc::clone(&sent);
    let stream = futures::stream::repeat_with(move || {
        counted.fetch_add(4096, std::sync::atomic::Ordering::Relaxed);
        Ok::<_, std::convert::Infallible>(endless.clone())
    });
    let request = Request::post(path).header("authorization", &basic).body(Body::from_stream(stream));
    let answer = house.answer(house.anyone(), request.expect("a request")).await;
    refused(&answer, StatusCode::PAYLOAD_TOO_LARGE);
    assert!(sent.load(std::sync::atomic::Ordering::Relaxed) <= limits::EST_BODY_BYTES + 2 * 4096);
}

#[tokio::test]
async fn too_many_refusals_say_when_to_come_back() {
    let house = House::new().await;
    let wrong = format!("Basic {}", STANDARD.encode("gw-1:wrong"));
    let body = Device::new("gw-1").body();
    for _ in 0..limits::ENROLL_PER_ADDRESS_BURST {
        refused(&house.enroll("/.well-known/est/simpleenroll", &wrong, &body).await, StatusCode::UNAUTHORIZED);
    }
    let answer = house.enroll("/.well-known/est/simpleenroll", &wrong, &body).await;
    refused(&answer, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(answer.field("retry-after"), Some("1"));
}
