//! The AWS-shaped shadow on the devices' door, as a device with its certificate sees it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use async_trait::async_trait;
use axum::Router;
use axum::body::{Body, to_bytes};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use fleetward_app::attestation::{AnchorKind, NewAnchor, add_anchor};
use fleetward_app::enroll::{Attempt, Credentials, enroll_device};
use fleetward_app::enroll_tokens::create_enroll_token;
use fleetward_app::provisioning::factories::{NewFactory, create_registration_code, register_factory};
use fleetward_app::topic_messages::Beside;
use fleetward_app::{DeviceLinks, DeviceMessage, EndReason, Peer, Principal, PublishRefused, Retained};
use fleetward_attest::tpm::Public;
use fleetward_base::{DeviceId, Secret, TenantId, Timestamp};
use fleetward_core::provisioning::Mode;
use fleetward_front_rest::device::AtWork;
use fleetward_front_rest::{attest, device, device_commands, device_jobs, identity};
use fleetward_pki::{SoftKey, csr, name, pem};
use futures::future::{Either, select};
use http::{HeaderMap, Request};
use parking_lot::Mutex;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair};
use rustls_pki_types::CertificateDer;
use serde_json::{Value, json};
use tower::ServiceExt;

use crate::house::{House, tenant};

/// The door as one device reaches it; without a certificate as nobody does.
pub(crate) struct Device(Router);

impl Device {
    pub(crate) async fn enrolled(house: &House, of: &str, device: &str) -> Self {
        let (ctx, id) = (house.app.system("test"), device.parse().expect("a name"));
        let made = create_enroll_token(&house.app, &ctx, &tenant(of), id, Default::default(), None).await;
        let attempt = Attempt { address: [192, 0, 2, 9].into(), request_id: house.app.new_request_id() };
        let credentials = Credentials { device: device.to_owned(), token: Secret::new(made.expect("a token").token) };
        let (key, _) = SoftKey::generate();
        let subject = name::write(None, device);
        let request = csr::write(&subject, &[], &key).expect("a request");
        let enrolled = enroll_device(&house.app, &attempt, None, &credentials, &request).await.expect("a certificate");
        Self::with(house, vec![CertificateDer::from(enrolled.certificate)])
    }

    pub(crate) fn with(house: &House, certificates: Vec<CertificateDer<'static>>) -> Self {
        let address = SocketAddr::from(([192, 0, 2, 9], 4711));
        let peer = Peer { address, certificates: certificates.into() };
        let app = &house.app;
        let doors = device::router(app.clone()).merge(attest::router(app.clone())).merge(identity::router(app.clone()));
        let doors = doors.merge(device_jobs::router(app.clone())).merge(device_commands::router(app.clone()));
        Self(doors.layer(axum::Extension(peer)))
    }

    pub(crate) async fn ask(&self, method: &str, path: &str, body: impl Into<Body>) -> (u16, HeaderMap, Value) {
        let request = Request::builder().method(method).uri(path).body(body.into()).expect("a request");
        let response = self.0.clone().oneshot(request).await.expect("infallible");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = to_bytes(response.into_body(), 1 << 20).await.expect("a body");
        (status, headers, serde_json::from_slice(&bytes).unwrap_or_default())
    }

    /// Status, `x-amzn-ErrorType`, and the body's code and message.
    pub(crate) async fn refusal(&self, method: &str, path: &str, body: impl Into<Body>) -> (u16, String, Value, Value) {
        let (status, headers, body) = self.ask(method, path, body).await;
        let kind = headers.get("x-amzn-errortype").map(|kind| kind.to_str().expect("ASCII").to_owned());
        (
            status,
            kind.unwrap_or_default(),
            body.get("code").cloned().unwrap_or_default(),
            body.get("message").cloned().unwrap_or_default(),
        )
    }
}

const MINE: &str = "/things/gw-1/shadow";

#[tokio::test]
async fn a_device_reads_and_writes_its_own_shadow() {
    let house = House::open().await;
    let device = Device::enrolled(&house, "acme", "gw-1").await;
    let body = json!({ "state": { "reported": { "on": true } }, "clientToken": "t-1" });
    let (status, _, accepted) = device.ask("POST", MINE, body.to_string()).await;
    assert_eq!((status, &accepted["version"], &accepted["clientToken"]), (200, &json!(1), &json!("t-1")));
    let (status, headers, found) = device.ask("GET", MINE, "").await;
    assert_eq!((status, &found["state"]), (200, &json!({ "reported": { "on": true } })));
    assert_eq!(headers["content-type"], "application/json");
    device.ask("POST", &format!("{MINE}?name=config"), body.to_string()).await;
    let (_, _, names) = device.ask("GET", "/api/things/shadow/ListNamedShadowsForThing/gw-1", "").await;
    assert_eq!(names["results"], json!(["config"]));
    let (status, _, deleted) = device.ask("DELETE", MINE, "").await;
    assert_eq!((status, &deleted["version"]), (200, &json!(1)));
}

/// As AWS has it: the eleventh at once is told that it is one too many, and what was begun goes on.
#[tokio::test]
async fn a_connection_has_ten_requests_at_work() {
    let house = House::open().await;
    let device = Device::enrolled(&house, "acme", "gw-1").await;
    let (one, other) = (Device(device.0.clone().layer(axum::Extension(AtWork::default()))), &device);
    let one = &one;
    let (senders, bodies): (Vec<_>, Vec<_>) = (0..10).map(|_| tokio::sync::oneshot::channel::<Bytes>()).unzip();
    let asked: Vec<_> = bodies
        .into_iter()
        .map(|body| {
            let body = futures::stream::once(async move { body.await.map_err(std::io::Error::other) });
            Box::pin(one.ask("POST", MINE, Body::from_stream(body)))
        })
        .collect();
    let asked = futures::future::join_all(asked);
    // The ten go on meanwhile: one that stood still with something in its hands would stop the others too.
    let beside = Box::pin(async {
        let refused = loop {
            let refused = one.refusal("GET", MINE, "").await;
            if refused.0 != 404 {
                break refused;
            }
        };
        assert_eq!((refused.0, refused.1.as_str()), (429, "ThrottlingException"));
        assert_eq!(other.ask("GET", MINE, "").await.0, 404, "another connection");
    });
    let Either::Right(((), asked)) = select(asked, beside).await else { panic!("their bodies are still to come") };
    for sender in senders {
        sender.send(Bytes::from_static(br#"{"state":{"reported":{"x":1}}}"#)).expect("it waits");
    }
    let answers: Vec<u16> = asked.await.into_iter().map(|answer| answer.0).collect();
    assert_eq!(answers, [200; 10]);
    assert_eq!(one.ask("GET", MINE, "").await.0, 200, "there is room again");
}

#[tokio::test]
async fn names_come_in_pages() {
    let house = House::open().await;
    let device = Device::enrolled(&house, "acme", "gw-1").await;
    for name in ["a", "b", "c"] {
        device.ask("POST", &format!("{MINE}?name={name}"), r#"{"state":{"reported":{"x":1}}}"#).await;
    }
    let path = "/api/things/shadow/ListNamedShadowsForThing/gw-1?pageSize=2";
    let (_, _, first) = device.ask("GET", path, "").await;
    assert_eq!(first["results"], json!(["a", "b"]));
    let next = first["nextToken"].as_str().expect("more");
    let (_, _, second) = device.ask("GET", &format!("{path}&nextToken={next}"), "").await;
    assert_eq!((&second["results"], &second["nextToken"]), (&json!(["c"]), &Value::Null));
}

#[tokio::test]
async fn refusals_have_the_names_that_clients_know() {
    let house = House::open().await;
    let device = Device::enrolled(&house, "acme", "gw-1").await;
    let case = |status: u16, kind: &str, message: &str| (status, kind.to_owned(), json!(status), json!(message));
    let missing = "No shadow exists with name: gw-1";
    assert_eq!(device.refusal("GET", MINE, "").await, case(404, "ResourceNotFoundException", missing));
    assert_eq!(device.refusal("POST", MINE, "{").await, case(400, "InvalidRequestException", "Invalid JSON"));
    let stale = r#"{"state":{"reported":{}},"version":9}"#;
    assert_eq!(device.refusal("POST", MINE, stale).await, case(409, "ConflictException", "Version conflict"));
    let huge = vec![b' '; fleetward_base::limits::MQTT_PAYLOAD_BYTES + 1];
    let too_large = "The payload exceeds the maximum size allowed";
    assert_eq!(device.refusal("POST", MINE, huge).await, case(413, "RequestEntityTooLargeException", too_large));
    let (_, _, body) = device.ask("POST", MINE, r#"{"clientToken":"t-9","state":7}"#).await;
    assert_eq!(body["clientToken"], "t-9");
}

/// Each refusal of the contract that a request over HTTPS can have, by its code, exception and text.
#[tokio::test]
async fn every_refusal_of_the_contract() {
    let house = House::open().await;
    let device = Device::enrolled(&house, "acme", "gw-1").await;
    device.ask("POST", MINE, r#"{"state":{"reported":{"x":1}}}"#).await;
    let deep = r#"{"state":{"desired":{"a":{"b":{"c":{"d":{"e":{"f":{"g":1}}}}}}}}}"#;
    let token = format!(r#"{{"state":{{}},"clientToken":"{}"}}"#, "x".repeat(65));
    let large = format!(r#"{{"state":{{"desired":{{"a":"{}"}}}}}}"#, "x".repeat(8192));
    let invalid = (400, "InvalidRequestException");
    type Case<'a> = (&'a str, &'a str, &'a [u8], (u16, &'a str), &'a str);
    let cases: [Case<'_>; 16] = [
        ("POST", MINE, b"{", invalid, "Invalid JSON"),
        ("POST", MINE, b"{}", invalid, "Missing required node: state"),
        ("POST", MINE, br#"{"state":5}"#, invalid, "State node must be an object"),
        ("POST", MINE, br#"{"state":{"desired":5}}"#, invalid, "Desired node must be an object"),
        ("POST", MINE, br#"{"state":{"reported":5}}"#, invalid, "Reported node must be an object"),
        ("POST", MINE, br#"{"state":{},"version":"1"}"#, invalid, "Invalid version"),
        ("POST", MINE, token.as_bytes(), invalid, "Invalid clientToken"),
        ("POST", MINE, deep.as_bytes(), invalid, "JSON contains too many levels of nesting; maximum is 6"),
        ("POST", MINE, br#"{"state":{"wanted":{}}}"#, invalid, "State contains an invalid node"),
        ("GET", "/things/gw-2/shadow", b"", (403, "ForbiddenException"), "Forbidden"),
        ("GET", "/things/a%20b/shadow", b"", (404, "ResourceNotFoundException"), "Thing not found"),
        (
            "GET",
            "/things/gw-1/shadow?name=net",
            b"",
            (404, "ResourceNotFoundException"),
            "No shadow exists with name: gw-1~net",
        ),
        (
            "DELETE",
            "/things/gw-1/shadow?name=a/b",
            b"",
            (404, "ResourceNotFoundException"),
            "No shadow exists with name: gw-1~a/b",
        ),
        ("POST", MINE, br#"{"state":{},"version":7}"#, (409, "ConflictException"), "Version conflict"),
        (
            "POST",
            MINE,
            large.as_bytes(),
            (413, "RequestEntityTooLargeException"),
            "The payload exceeds the maximum size allowed",
        ),
        (
            "POST",
            MINE,
            b"\xff\xfe",
            (415, "UnsupportedDocumentEncodingException"),
            "Unsupported documented encoding; supported encoding is UTF-8",
        ),
    ];
    for (method, path, body, (status, kind), message) in cases {
        let found = device.refusal(method, path, body.to_vec()).await;
        assert_eq!(found, (status, kind.to_owned(), json!(status), json!(message)), "{method} {path}");
    }
    let nobody = Device::with(&house, Vec::new());
    let found = nobody.refusal("GET", MINE, "").await;
    assert_eq!(found, (401, "UnauthorizedException".to_owned(), json!(401), json!("Unauthorized")));
}

/// A broker that remembers what it was given.
#[derive(Default)]
struct Heard {
    messages: Mutex<Vec<(String, DeviceMessage)>>,
}

#[async_trait]
impl DeviceLinks for Heard {
    fn end_sessions(&self, _: &TenantId, _: &DeviceId, _: EndReason) {}
    async fn forget(&self, _: &TenantId, _: &DeviceId) {}
    fn end_claim(&self, _: &TenantId, _: &str) {}
    fn end_certificate(&self, _: &TenantId, _: &DeviceId, _: &str) {}
    fn live(&self, _: &TenantId, _: &DeviceId) -> Option<String> {
        None
    }
    fn recheck(&self, _: &TenantId, _: &DeviceId) {}
    fn recheck_all(&self, _: &TenantId) {}
    async fn publish(&self, _: &TenantId, _: String, _: Bytes) {}
    async fn queue_changed(&self, _: &TenantId, _: &[(DeviceId, fleetward_core::job::queue::Change)]) {}

    async fn publish_as(&self, device: &Principal, message: DeviceMessage) -> Result<(), PublishRefused> {
        if message.topic.starts_with("other/") {
            return Err(PublishRefused::NotAuthorized);
        }
        self.messages.lock().push((device.key(), message));
        Ok(())
    }

    async fn may_receive(&self, _: &Principal, topic: &str) -> bool {
        !topic.starts_with("other/")
    }

    fn retained(&self, _: &TenantId, topic: &str) -> Option<Retained> {
        (topic == "shared/b").then(|| retained(topic))
    }

    async fn retained_for(&self, _: &Principal, after: &str, limit: usize) -> Vec<Retained> {
        ["shared/a", "shared/b", "shared/c"]
            .into_iter()
            .filter(|topic| *topic > after)
            .take(limit)
            .map(retained)
            .collect()
    }
}

fn retained(topic: &str) -> Retained {
    Retained {
        topic: topic.to_owned(),
        payload: Bytes::from_static(b"on"),
        qos: 1,
        stored_at: Timestamp::from_secs(7),
        expires_at: None,
        beside: Beside { user: vec![("a".to_owned(), "b".to_owned())], ..Beside::default() },
    }
}

#[tokio::test]
async fn messages_are_published_and_what_is_retained_is_read() {
    let house = House::open().await;
    let device = Device::enrolled(&house, "acme", "gw-1").await;
    let (status, kind, ..) = device.refusal("POST", "/topics/shared/x", "1").await;
    assert_eq!((status, kind.as_str()), (503, "ServiceUnavailableException"), "there is no broker yet");
    let heard = Arc::new(Heard::default());
    house.app.connect_links(Arc::clone(&heard) as Arc<dyn DeviceLinks>);

    for path in ["/topics/telemetry/gw-1/cpu?qos=1", "/topics/telemetry%2Fgw-1%2Fcpu?qos=0&retain=true"] {
        let (status, _, body) = device.ask("POST", path, "17").await;
        assert_eq!((status, &body["message"]), (200, &json!("OK")));
        assert!(body["traceId"].is_string());
    }
    let messages: Vec<_> = heard.messages.lock().drain(..).collect();
    let seen = messages.iter().map(|(who, it)| (who.as_str(), it.topic.as_str(), &it.payload[..], it.qos, it.retain));
    let topic = "telemetry/gw-1/cpu";
    assert!(seen.eq([("acme/gw-1", topic, b"17".as_slice(), 1, false), ("acme/gw-1", topic, b"17", 0, true)]));
    for (path, status, kind) in [
        ("/topics/shared/x?qos=2", 400, "InvalidRequestException"),
        ("/topics/shared/x?qos=a", 400, "InvalidRequestException"),
        ("/topics/shared/x?retain=maybe", 400, "InvalidRequestException"),
        ("/topics/other/x", 403, "ForbiddenException"),
    ] {
        let (found, name, ..) = device.refusal("POST", path, "1").await;
        assert_eq!((found, name.as_str()), (status, kind), "{path}");
    }
    let huge = vec![b' '; fleetward_base::limits::MQTT_PAYLOAD_BYTES + 1];
    assert_eq!(device.refusal("POST", "/topics/shared/x", huge).await.0, 413);
    assert!(heard.messages.lock().is_empty());

    let (status, _, one) = device.ask("GET", "/retainedMessage/shared%2Fb", "").await;
    let beside = BASE64_STANDARD.encode(r#"[{"a":"b"}]"#);
    let expect = json!({
        "topic": "shared/b", "payload": "b24=", "qos": 1, "lastModifiedTime": 7000, "userProperties": beside,
    });
    assert_eq!((status, one), (200, expect));
    assert_eq!(device.refusal("GET", "/retainedMessage/shared/z", "").await.0, 404);
    assert_eq!(device.refusal("GET", "/retainedMessage/other/b", "").await.0, 403);
    let (_, _, first) = device.ask("GET", "/retainedMessage?maxResults=2", "").await;
    let topics = |page: &Value| {
        let topics = page["retainedTopics"].as_array().expect("topics").iter();
        topics.map(|it| it["topic"].as_str().expect("a topic").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(
        (topics(&first), &first["retainedTopics"][0]["payloadSize"]),
        (vec!["shared/a".to_owned(), "shared/b".to_owned()], &json!(2))
    );
    let next = first["nextToken"].as_str().expect("more");
    let (_, _, second) = device.ask("GET", &format!("/retainedMessage?maxResults=2&nextToken={next}"), "").await;
    assert_eq!((topics(&second), &second["nextToken"]), (vec!["shared/c".to_owned()], &Value::Null));
}

#[tokio::test]
async fn nobody_and_no_other_device_gets_in() {
    let house = House::open().await;
    let device = Device::enrolled(&house, "acme", "gw-1").await;
    device.ask("POST", MINE, r#"{"state":{"reported":{"x":1}}}"#).await;
    let neighbour = Device::enrolled(&house, "acme", "gw-2").await;
    let namesake = Device::enrolled(&house, "beta", "gw-1").await;
    let nobody = Device::with(&house, Vec::new());
    let stranger = Device::with(&house, vec![CertificateDer::from(vec![0x30, 0x00])]);
    let names = "/api/things/shadow/ListNamedShadowsForThing/gw-1";
    for (method, path) in
        [("POST", "/topics/shared/x"), ("GET", "/retainedMessage"), ("GET", "/retainedMessage/shared/x")]
    {
        for door in [&nobody, &stranger] {
            let (status, kind, ..) = door.refusal(method, path, "x").await;
            assert_eq!((status, kind.as_str()), (401, "UnauthorizedException"), "{method} {path} by nobody");
        }
    }
    for (method, path) in [("GET", MINE), ("POST", MINE), ("DELETE", MINE), ("GET", names)] {
        let body = r#"{"state":{"reported":{"x":2}}}"#;
        let (status, kind, ..) = neighbour.refusal(method, path, body).await;
        assert_eq!((status, kind.as_str()), (403, "ForbiddenException"), "{method} {path} by a neighbour");
        for door in [&nobody, &stranger] {
            let (status, kind, ..) = door.refusal(method, path, body).await;
            assert_eq!((status, kind.as_str()), (401, "UnauthorizedException"), "{method} {path} by nobody");
        }
    }
    // Another tenant's device of the same name has a shadow of its own.
    assert_eq!(namesake.ask("GET", MINE, "").await.0, 404);
    assert_eq!(device.ask("GET", MINE, "").await.2["state"]["reported"]["x"], 1);
}

#[tokio::test]
async fn a_revoked_device_is_out_at_its_next_request() {
    let house = House::open().await;
    let device = Device::enrolled(&house, "acme", "gw-1").await;
    device.ask("POST", MINE, r#"{"state":{"reported":{"x":1}}}"#).await;
    let revoked = house.post("/v1/tenants/acme/devices/gw-1/revoke", &house.acme, &json!({})).await;
    assert_eq!(revoked.json["status"], "suspended");
    assert_eq!(device.ask("GET", MINE, "").await.0, 401);
    let certificates = house.get("/v1/tenants/acme/devices/gw-1/certificates", &house.acme).await;
    assert_eq!(certificates.json["items"][0]["status"], "revoked");
}

const OWN: [&str; 5] =
    ["/v1/attest/challenge", "/v1/attest/activate", "/v1/attest/activate/proof", "/v1/attest", "/v1/identity/anchors"];

#[tokio::test]
async fn what_a_device_says_of_itself_is_for_devices_only() {
    let house = House::open().await;
    let nobody = Device::with(&house, Vec::new());
    let stranger = Device::with(&house, vec![CertificateDer::from(vec![0x30, 0x00])]);
    for path in OWN {
        for door in [&nobody, &stranger] {
            let (status, _, body) = door.ask("POST", path, "{}").await;
            assert_eq!((status, &body["code"]), (401, &json!("unauthenticated")), "{path}");
        }
    }
    let device = Device::enrolled(&house, "acme", "gw-1").await;
    let revoked = house.post("/v1/tenants/acme/devices/gw-1/revoke", &house.acme, &json!({})).await;
    assert_eq!(revoked.json["status"], "suspended");
    for path in OWN {
        assert_eq!(device.ask("POST", path, "{}").await.0, 401, "{path}");
    }
}

#[tokio::test]
async fn attestation_answers_and_refuses_as_its_contract_says() {
    let house = House::open().await;
    let device = Device::enrolled(&house, "acme", "gw-1").await;
    let namesake = Device::enrolled(&house, "beta", "gw-1").await;
    let (status, headers, challenge) = device.ask("POST", "/v1/attest/challenge", "").await;
    assert_eq!((status, &challenge["ttl"], &challenge["pcrs"]), (200, &json!(120), &json!([0, 2, 4, 7])));
    assert_eq!(challenge["formats"], json!(["tpm2", "eat-cwt", "eat-jwt", "psa", "dice"]));
    assert_eq!(headers["cache-control"], "no-store");
    let token = json!({ "format": "eat-jwt", "evidence": "a.b.c" }).to_string();
    let (status, _, body) = namesake.ask("POST", "/v1/attest", token.clone()).await;
    assert_eq!((status, &body["code"]), (409, &json!("no-challenge")), "another tenant's challenge is not its own");
    let (status, _, body) = device.ask("POST", "/v1/attest", token).await;
    assert_eq!((status, &body["code"]), (422, &json!("malformed")));
    for (path, body) in [
        ("/v1/attest", r#"{"format":"rumour","evidence":"x"}"#),
        ("/v1/attest", r#"{"format":"psa","evidence":"%"}"#),
        ("/v1/attest/activate", r#"{"endorsement":"AAAA","attestation":"AAAA"}"#),
        ("/v1/attest/activate", r#"{"endorsement":"AAAA","attestation":"AAAA","more":1}"#),
    ] {
        let (status, _, problem) = device.ask("POST", path, body).await;
        assert_eq!((status, &problem["code"]), (422, &json!("invalid")), "{body}");
    }
    let (status, _, body) = device.ask("POST", "/v1/attest/activate/proof", r#"{"secret":"AAAA"}"#).await;
    assert_eq!((status, &body["code"]), (409, &json!("no-activation")));
    let huge = vec![b' '; fleetward_base::limits::ATTESTATION_BYTES + 1];
    assert_eq!(device.ask("POST", "/v1/attest", huge).await.0, 413);
    let found = house.get("/v1/tenants/acme/devices/gw-1/attestation", &house.acme).await;
    assert_eq!((&found.json["required"], &found.json["verdict"]), (&json!(false), &Value::Null));
}

/// Whoever has no certificate yet shows its TPM with the credential that it will enrol with, and gets no further.
#[tokio::test]
async fn a_newcomer_shows_its_tpm() {
    let house = House::open().await;
    let (app, ctx) = (&house.app, house.app.system("test"));
    let golden = |name: &str| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../attest/tests/it/golden").join(name);
        std::fs::read(path).expect("a golden file")
    };
    let ek = Public::parse(&golden("ek.pub")).expect("a public area");
    let value = fleetward_attest::tpm::endorsement::identity(&ek);
    let anchor = NewAnchor { kind: AnchorKind::EndorsementKey, name: "bench".to_owned(), value, root: None };
    add_anchor(app, &ctx, &tenant("acme"), anchor).await.expect("added");
    let token = async |home: &str, name: &str| {
        let id = name.parse().expect("a name");
        let made = create_enroll_token(app, &ctx, &tenant(home), id, Default::default(), None).await;
        BASE64_STANDARD.encode(format!("{name}:{}", made.expect("a token").token))
    };
    let door = Device::with(&house, Vec::new());
    let ask = async |path: &str, credential: &str, body: &Value| {
        let request = Request::builder().method("POST").uri(path).header("authorization", credential);
        let response = door.0.clone().oneshot(request.body(Body::from(body.to_string())).expect("a request")).await;
        let response = response.expect("infallible");
        let status = response.status().as_u16();
        let bytes = to_bytes(response.into_body(), 1 << 20).await.expect("a body");
        (status, serde_json::from_slice::<Value>(&bytes).unwrap_or_default())
    };
    let keys = json!({
        "endorsement": BASE64_STANDARD.encode(golden("ek.pub")), "attestation": BASE64_STANDARD.encode(golden("ak.pub")),
    });
    let own = format!("Basic {}", token("acme", "gw-1").await);
    let (status, made) = ask("/v1/attest/activate", &own, &keys).await;
    assert_eq!((status, &made["ttl"]), (200, &json!(120)), "{made}");
    assert!(made["credential"].is_string() && made["secret"].is_string());
    // A tenant that has no word on this TPM; the token of another device; none that counts; not this scheme.
    let theirs = format!("Basic {}", token("beta", "gw-1").await);
    assert_eq!(ask("/v1/attest/activate", &theirs, &keys).await.0, 422);
    let moved = ask("/v1/attest/activate?tenant=beta", &own, &keys).await;
    assert_eq!(moved.0, 401, "acme's token under beta's name");
    let guess = format!("Basic {}", BASE64_STANDARD.encode("gw-1:fwe_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"));
    for nobody in [guess.as_str(), "Basic !", "Bearer x"] {
        assert_eq!(ask("/v1/attest/activate", nobody, &keys).await.0, 401, "{nobody}");
    }
    // The rest of the conversation is for devices.
    for path in ["/v1/attest/challenge", "/v1/attest"] {
        assert_eq!(ask(path, &own, &json!({})).await.0, 401, "{path}");
    }
    let proof = "/v1/attest/activate/proof";
    let secret = BASE64_STANDARD.encode([7; 32]);
    let (status, refused) = ask(proof, &own, &json!({ "secret": secret })).await;
    assert_eq!((status, &refused["code"], &refused["field"]), (422, &json!("invalid"), &json!("certified")));
    let certified = json!({ "public": "", "attest": "", "signature": "" });
    let wrong = json!({ "secret": secret, "certified": certified });
    assert_eq!(ask(proof, &own, &wrong).await.1["code"], "activation", "a secret that nobody wrapped");
    assert_eq!(ask(proof, &own, &wrong).await.1["code"], "no-activation", "it is used up");
}

/// A certificate of a line below the factory's authority is a device's by what comes with it.
#[tokio::test]
async fn what_stands_above_a_factorys_certificate_comes_with_it() {
    let house = House::open().await;
    let maker = Maker::registered(&house, "acme").await;
    let chain = maker.by_a_line("sn-1");
    let alone = Device::with(&house, chain.iter().take(1).cloned().collect());
    let whole = Device::with(&house, chain);
    for (method, path) in [("GET", "/things/sn-1/shadow"), ("POST", "/v1/attest/challenge")] {
        assert_eq!(alone.ask(method, path, "").await.0, 401, "{path}");
        // A shadow that is not there yet is its own all the same.
        let known = if path.starts_with("/things") { 404 } else { 200 };
        assert_eq!(whole.ask(method, path, "").await.0, known, "{path}");
    }
}

/// A factory whose authority a tenant has registered.
struct Maker(CertifiedIssuer<'static, KeyPair>);

impl Maker {
    async fn registered(house: &House, home: &str) -> Self {
        let mut params = named("Maker");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let maker = Self(CertifiedIssuer::self_signed(params, key()).expect("signs"));
        let (app, ctx, home) = (&house.app, house.app.system("test"), tenant(home));
        let (code, _) = create_registration_code(app, &ctx, &home).await.expect("a code");
        let proof = named(&code).signed_by(&key(), &maker.0).expect("signs");
        let new = NewFactory {
            name: "Maker".to_owned(),
            certificate: pem::write(pem::CERTIFICATE, maker.0.der()),
            verification: pem::write(pem::CERTIFICATE, proof.der()),
            mode: Mode::Provision,
            template: None,
        };
        register_factory(app, &ctx, &home, new).await.expect("registered");
        maker
    }

    fn by_a_line(&self, name: &str) -> Vec<CertificateDer<'static>> {
        let mut params = named("Line 4");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        let line = CertifiedIssuer::signed_by(params, key(), &self.0).expect("signs");
        let leaf = named(name).signed_by(&key(), &line).expect("signs");
        vec![leaf.der().clone(), line.der().clone()]
    }
}

fn key() -> KeyPair {
    KeyPair::generate().expect("a key")
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.use_authority_key_identifier_extension = true;
    params
}

#[tokio::test]
async fn a_device_says_which_roots_it_holds() {
    let house = House::open().await;
    let device = Device::enrolled(&house, "acme", "gw-1").await;
    let path = "/v1/identity/anchors";
    let said = json!({ "anchors": ["0".repeat(64)] }).to_string();
    assert_eq!(device.ask("POST", path, said).await.0, 204, "nobody waits for any");
    let many: Vec<String> = (0..17).map(|number| format!("{number:064x}")).collect();
    for bad in [json!({ "anchors": [] }), json!({ "anchors": ["AB"] }), json!({ "anchors": many }), json!({})] {
        let (status, _, problem) = device.ask("POST", path, bad.to_string()).await;
        assert_eq!((status, &problem["code"]), (422, &json!("invalid")), "{bad}");
    }
}

#[tokio::test]
async fn a_device_that_goes_asks_where_to_and_says_that_it_has_wiped_itself() {
    let house = House::open().await;
    let device = Device::enrolled(&house, "acme", "gw-1").await;
    let namesake = Device::enrolled(&house, "beta", "gw-1").await;
    let (ask, said) = ("/v1/identity/transfer", "/v1/identity/transfer/wiped");
    assert_eq!(device.ask("POST", ask, "{}").await.0, 404, "it is to go nowhere");
    let body = json!({ "device": "gw-1", "to_tenant": "beta" });
    let made = house.post("/v1/tenants/acme/transfers", &house.acme, &body).await;
    let body = json!({ "code": made.json["code"], "name": "gw-2" });
    let accepted = house.post("/v1/tenants/beta/transfers/accept", &house.beta, &body).await;
    assert!(accepted.json["waits_until"].is_string(), "{}", accepted.json);
    let id = made.json["id"].as_str().expect("an id");
    let wiped = json!({ "transfer": id }).to_string();
    // The other tenant's device of the same name is somebody else.
    assert_eq!(namesake.ask("POST", ask, "{}").await.0, 404);
    assert_eq!(namesake.ask("POST", said, wiped.clone()).await.0, 404);
    assert_eq!(device.ask("POST", said, wiped.clone()).await.0, 404, "it was never told");
    let (status, headers, order) = device.ask("POST", ask, "{}").await;
    assert_eq!((status, &order["tenant"], &order["device"]), (200, &json!("beta"), &json!("gw-2")));
    assert_eq!(headers["cache-control"], "no-store");
    assert!(order["token"].as_str().is_some_and(|token| token.starts_with("fwe_")));
    assert_eq!(device.ask("POST", ask, "{}").await.0, 429);
    for bad in ["{}", r#"{"transfer":"x"}"#, r#"{"transfer":"01890000-0000-7000-8000-000000000000","more":1}"#] {
        assert_eq!(device.ask("POST", said, bad).await.0, 422, "{bad}");
    }
    let state = async || {
        let listed = house.get("/v1/tenants/acme/transfers", &house.acme).await;
        (listed.json["items"][0]["state"].clone(), listed.json["items"][0]["wiped"].clone())
    };
    assert_eq!(state().await, (json!("wiping"), Value::Null));
    assert_eq!(device.ask("POST", said, wiped.clone()).await.0, 204);
    assert_eq!(state().await, (json!("done"), json!("confirmed")));
    assert_eq!(device.ask("POST", said, wiped).await.0, 401, "it is nobody of acme's any more");
}

#[tokio::test]
async fn a_device_polls_its_commands_and_answers() {
    let house = House::open().await;
    let gw = Device::enrolled(&house, "acme", "gw-1").await;
    let (neighbour, abroad) =
        (Device::enrolled(&house, "acme", "gw-2").await, Device::enrolled(&house, "beta", "gw-1").await);
    let nobody = Device::with(&house, Vec::new());
    let body = json!({ "id": "c1", "op": "restart-app", "payload": { "name": "x" }, "ttl_s": 60 });
    house.post("/v1/tenants/acme/devices/gw-1/commands", &house.acme, &body).await;
    for other in [&neighbour, &abroad] {
        let (status, _, polled) = other.ask("GET", "/v1/commands", "").await;
        assert_eq!((status, &polled["commands"]), (200, &json!([])));
        let said = other.ask("POST", "/v1/commands/c1/response", r#"{"status":"succeeded"}"#).await;
        assert_eq!(said.0, 404);
    }
    assert_eq!(nobody.ask("GET", "/v1/commands", "").await.0, 401);
    assert_eq!(nobody.ask("POST", "/v1/commands/c1/response", r#"{"status":"succeeded"}"#).await.0, 401);

    let (status, _, polled) = gw.ask("GET", "/v1/commands", "").await;
    let todo = &polled["commands"][0];
    assert_eq!(
        (status, &todo["id"], &todo["op"], &todo["attempt"]),
        (200, &json!("c1"), &json!("restart-app"), &json!(1))
    );
    assert_eq!(todo["payload"], json!({ "name": "x" }));
    assert!(todo["expires_at"].as_str() > polled["now"].as_str());
    let answer = async |body: Value| gw.ask("POST", "/v1/commands/c1/response", body.to_string()).await;
    let (status, _, stands) = answer(json!({ "status": "running", "version": todo["version"] })).await;
    assert_eq!((status, &stands["status"]), (200, &json!("running")));
    let (status, _, stale) = answer(json!({ "status": "failed", "version": todo["version"] })).await;
    assert_eq!((status, &stale["code"]), (412, &json!("stale")), "somebody else was quicker");
    let end = json!({ "status": "succeeded", "result": { "pid": { "s": "7" }, "log": { "bin": "AQI=" } } });
    assert_eq!(answer(end.clone()).await.0, 200);
    assert_eq!(answer(end).await.0, 200, "the same twice");
    assert_eq!(answer(json!({ "status": "failed" })).await.2["code"], "command-ended");
    for (bad, status) in [
        (json!({ "status": "done" }), 422),
        (json!({ "status": "failed", "result": { "a": { "s": "x", "b": true } } }), 422),
        (json!({ "status": "failed", "reason": { "code": "no" } }), 422),
        (json!({ "status": "queued" }), 409),
    ] {
        assert_eq!(answer(bad.clone()).await.0, status, "{bad}");
    }
    let kept = house.get("/v1/tenants/acme/devices/gw-1/commands/c1", &house.acme).await.json;
    assert_eq!((&kept["status"], &kept["result"]["pid"]), (&json!("succeeded"), &json!({ "s": "7" })));
    let (_, _, polled) = gw.ask("GET", "/v1/commands", "").await;
    assert_eq!(polled["commands"], json!([]));
}
