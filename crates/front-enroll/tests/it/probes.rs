//! Every operation of the door is tried from outside.
//!
//! The list is the crate's own, which its routers are made of: an operation that is new is tried too, and has to refuse or to be
//! among those that anybody may ask.

use std::time::Duration;

use axum::body::Body;
use fleetward_app::authority;
use fleetward_app::enrollment_keys::id_scope;
use http::{Method, Request, StatusCode};

use crate::fixture::{Device, House};

/// What anybody may ask, each with its reason. To whoever asks the answer is the same.
const OPEN: [(&str, &str); 13] = [
    ("GET /.well-known/est/{label}/cacerts", "authorities are for anyone (RFC 7030 §4.1)"),
    ("GET /.well-known/est/{label}/csrattrs", "and so is what a request should have (RFC 7030 §4.5)"),
    ("POST /oauth/device_authorization", "whoever asks has nothing to show; a person decides"),
    ("POST /oauth/token", "the device code is the credential"),
    ("GET /scep/{tenant}", "capabilities and authorities; a message is its own credential"),
    ("POST /scep/{tenant}", "as above"),
    ("GET /scep/{tenant}/{*rest}", "as above"),
    ("POST /scep/{tenant}/{*rest}", "as above"),
    ("GET /pki/{ca}/ca.der", "what is there is signed, and for those who check certificates"),
    ("GET /pki/{ca}/crl.der", "as above"),
    ("GET /pki/{ca}/crl/{shard}", "as above"),
    ("POST /pki/{ca}/ocsp", "as above"),
    ("GET /pki/{ca}/ocsp/{*request}", "as above"),
];

/// Refusals, and what is not offered.
const REFUSED: [StatusCode; 4] =
    [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN, StatusCode::NOT_FOUND, StatusCode::NOT_IMPLEMENTED];

/// An operation as it is asked for: its path, and a body of the right kind.
struct Asked {
    path: String,
    kind: &'static str,
    body: String,
}

async fn asked(house: &House, method: &str, path: &str) -> Asked {
    let acme = "acme".parse().expect("a name");
    let scope = id_scope(&house.app, &house.system, &acme).await.expect("a scope");
    let chain = authority::authority_chain(&house.app, Some(&acme)).await.expect("authorities");
    let ca = fleetward_pki::certificate::fingerprint(chain.first().expect("the issuing one"));
    let mut filled = path
        .replace("{label}", "acme")
        .replace("{tenant}", "acme")
        .replace("{scope}", &scope)
        .replace("{id}", "gw-1")
        .replace("{operation}", "4.x")
        .replace("{ca}", &ca)
        .replace("{shard}", "0.der")
        .replace("{*request}", "AAAA")
        .replace("{*rest}", "x");
    let (kind, body) = match path.split('/').nth(1) {
        Some(".well-known") => ("application/pkcs10", Device::new("gw-1").body()),
        Some("{scope}") => {
            filled += "?api-version=2019-03-31";
            ("application/json", "{}".to_owned())
        }
        Some("oauth") => {
            let grant = "urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Adevice_code";
            let form = format!("client_id={scope}&device=gw-1&grant_type={grant}&device_code=x");
            ("application/x-www-form-urlencoded", form)
        }
        Some("scep" | "cgi-bin") => {
            filled += if method == "GET" { "?operation=GetCACaps" } else { "?operation=PKIOperation" };
            ("application/x-pki-message", "no message".to_owned())
        }
        Some("pki") => ("application/ocsp-request", "no request".to_owned()),
        other => panic!("{other:?}: say what is sent there"),
    };
    Asked { path: filled, kind, body }
}

/// As nobody, as another tenant's device, and as the bearer of another tenant's token.
#[tokio::test]
async fn every_operation_is_probed_from_outside() {
    let house = House::new().await;
    house.offer_scep("acme").await;
    let stranger = house.enrolled("zenith", "gw-1").await;
    let operations = fleetward_front_enroll::operations();
    for (title, _) in OPEN {
        assert!(operations.iter().any(|(method, path)| format!("{method} {path}") == title), "{title} is gone");
    }
    // Without a label EST is addressed to the tenant of whoever asks.
    for (method, path) in
        operations.iter().filter(|(_, path)| !path.starts_with("/.well-known/est/") || path.contains("{label}"))
    {
        let title = format!("{method} {path}");
        let asked = asked(&house, method, path).await;
        let token = house.basic("zenith", "gw-1").await;
        let mut statuses = Vec::new();
        for (peer, authorization) in
            [(house.anyone(), None), (house.as_device(&stranger), None), (house.anyone(), Some(token.as_str()))]
        {
            // What one was refused does not count against the next.
            house.clock.advance(Duration::from_secs(60));
            let mut request = Request::builder().method(method.as_str()).uri(&asked.path);
            request = request.header("content-type", asked.kind);
            if let Some(authorization) = authorization {
                request = request.header("authorization", authorization);
            }
            let body = if method == Method::GET.as_str() { Body::empty() } else { Body::from(asked.body.clone()) };
            statuses.push(house.status(peer, request.body(body).expect("a request")).await);
        }
        if OPEN.iter().any(|(open, _)| *open == title) {
            let same = statuses.windows(2).all(|two| two.first() == two.last());
            assert!(same && statuses.iter().all(|status| !status.is_server_error()), "{title}: {statuses:?}");
        } else {
            assert!(statuses.iter().all(|status| REFUSED.contains(status)), "{title}: {statuses:?}");
        }
    }
}
