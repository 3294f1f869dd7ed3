//! What holds for every operation: bodies, idempotency, header fields, problems.

use fleetward_base::limits;
use reqwest::Method;
use serde_json::json;

use crate::house::{Answer, House, answer};

const DEVICES: &str = "/v1/tenants/acme/devices";

async fn send(house: &House, content_type: &str, body: impl Into<reqwest::Body>) -> Answer {
    answer(house.request(Method::POST, DEVICES, &house.acme).header("content-type", content_type).body(body)).await
}

#[tokio::test]
async fn bodies_that_cannot_be_read() {
    let house = House::open().await;
    let json = "application/json";
    let deep = format!("{{\"attributes\":{}{}}}", "[".repeat(40), "]".repeat(40));
    for (content_type, body, status, code) in [
        (json, "{", 400, "malformed"),
        (json, "not json", 400, "malformed"),
        (json, deep.as_str(), 400, "malformed"),
        (json, "[]", 422, "invalid"),
        (json, "{\"name\":1}", 422, "invalid"),
        (json, "{\"name\":\"a\",\"name\":\"b\"}", 422, "invalid"),
        (json, "{\"name\":\"a\",\"extra\":1}", 422, "invalid"),
        ("text/plain", "{\"name\":\"a\"}", 415, "unsupported-media-type"),
    ] {
        assert_eq!(send(&house, content_type, body.to_owned()).await.refusal(), (status, code.into()), "{body}");
    }
    let long = format!("{{\"name\":\"{}\"}}", "x".repeat(limits::REST_BODY_BYTES));
    assert_eq!(send(&house, json, long).await.refusal(), (413, "too-large".into()));
    let wrong = send(&house, json, "{\"name\":\"a\",\"tags\":[\"x\",7]}").await;
    assert_eq!(wrong.json["field"], "tags[1]");
    assert_eq!(wrong.json["detail"], "invalid type, expected a string");
}

#[tokio::test]
async fn a_body_without_a_length_is_counted() {
    let house = House::open().await;
    let chunks = (0..1024).map(|_| Ok::<_, std::io::Error>(vec![b' '; 4096]));
    let body = reqwest::Body::wrap_stream(futures::stream::iter(chunks));
    assert_eq!(send(&house, "application/json", body).await.refusal(), (413, "too-large".into()));
}

#[tokio::test]
async fn the_same_key_is_the_same_request() {
    let house = House::open().await;
    let path = "/v1/tenants/acme/enroll-tokens";
    let post = async |key: &str, token: &str, device: &str| {
        let request = house.request(Method::POST, path, token).header("idempotency-key", key);
        answer(request.json(&json!({ "device": device }))).await
    };
    let first = post("k1", &house.acme, "gw-1").await;
    let again = post("k1", &house.acme, "gw-1").await;
    assert_eq!((first.status.as_u16(), &first.json), (201, &again.json), "the lost answer comes again, secret and all");
    assert_eq!(post("k1", &house.acme, "gw-2").await.refusal(), (409, "idempotency-key-reused".into()));
    assert_ne!(post("k2", &house.acme, "gw-1").await.json["token"], first.json["token"]);
    // Another caller's keys are their own.
    assert_ne!(post("k1", &house.admin, "gw-1").await.json["token"], first.json["token"]);
    assert_eq!(post(&"k".repeat(256), &house.acme, "gw-1").await.refusal(), (400, "malformed".into()));
}

#[tokio::test]
async fn one_key_at_once_from_many_sides_is_one_request() {
    let house = House::open().await;
    let post = async || {
        let request = house.request(Method::POST, "/v1/tenants/acme/enroll-tokens", &house.acme);
        answer(request.header("idempotency-key", "k").json(&json!({ "device": "gw-1" }))).await
    };
    let all = futures::future::join_all((0..6).map(|_| post())).await;
    for one in &all {
        assert_eq!((one.status.as_u16(), &one.json["token"]), (201, &all[0].json["token"]));
    }
    let listed = house.get("/v1/tenants/acme/enroll-tokens", &house.acme).await;
    assert_eq!(listed.json["items"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn a_device_made_twice_under_one_key_is_made_once() {
    let house = House::open().await;
    let post = async |key: &str| {
        let request = house.request(Method::POST, DEVICES, &house.acme).header("idempotency-key", key);
        answer(request.json(&json!({ "name": "gw-1" }))).await
    };
    assert_eq!(post("k").await.status, 201);
    assert_eq!(post("k").await.status, 201);
    assert_eq!(post("other").await.refusal(), (409, "device-exists".into()));
}

#[tokio::test]
async fn every_answer_names_its_request_and_guards_itself() {
    let house = House::open().await;
    for path in ["/v1/whoami", "/v1/tenants/nope", "/nowhere", "/healthz", "/v1/openapi.json"] {
        let found = house.get(path, &house.acme).await;
        assert_eq!(found.header("x-request-id").len(), 36, "{path}");
        assert_eq!(found.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(found.header("cache-control"), "no-store", "{path}");
        assert!(found.header("content-security-policy").contains("default-src 'none'"), "{path}");
    }
    let refused = house.get("/v1/tenants/nope", &house.acme).await;
    assert_eq!(refused.header("content-type"), "application/problem+json");
    assert_eq!(refused.json["request_id"], refused.header("x-request-id"));
    assert_eq!(refused.json["type"], "https://fleetward.dev/problems/not-found");
    let wrong = answer(house.request(Method::PUT, "/v1/whoami", &house.acme)).await;
    assert_eq!((wrong.refusal(), wrong.header("allow")), ((405, "method-not-allowed".into()), "GET,HEAD".into()));
}

#[tokio::test]
async fn a_tag_of_the_record_hides_no_news() {
    let house = House::open().await;
    house.post(DEVICES, &house.acme, &json!({ "name": "gw-1" })).await;
    let request = house.request(Method::GET, &format!("{DEVICES}/gw-1"), &house.acme);
    let found = answer(request.header("if-none-match", "\"1\"")).await;
    // Presence changes under the same revision, so there is no 304.
    assert_eq!((found.status.as_u16(), &found.json["presence"]), (200, &json!("offline")));
}

#[tokio::test]
async fn health_and_description_need_no_token() {
    let house = House::open().await;
    for path in ["/healthz", "/readyz"] {
        assert_eq!(house.get(path, "").await.status, 200, "{path}");
    }
    let api = house.get("/v1/openapi.json", "").await;
    assert_eq!(api.json["openapi"], "3.1.0");
    house.app.store().close().await;
    assert_eq!(house.get("/healthz", "").await.status, 200);
    assert_eq!(house.get("/readyz", "").await.status, 503);
    for _ in 0..limits::AUTH_FAILURES_BURST + 1 {
        // A store that is gone is no fault of the caller and does not count as one.
        let refused = house.get(DEVICES, &house.acme).await;
        assert_eq!((refused.refusal(), refused.header("retry-after")), ((503, "unavailable".into()), "2".into()));
    }
}
