//! Shadows through the operators' door: AWS's bodies, our refusals.

use reqwest::Method;
use serde_json::json;

use crate::house::{House, answer};

const SHADOW: &str = "/v1/tenants/acme/devices/gw-1/shadow";

#[tokio::test]
async fn a_shadow_is_written_read_and_deleted() {
    let house = House::open().await;
    house.post("/v1/tenants/acme/devices", &house.acme, &json!({ "name": "gw-1" })).await;
    assert_eq!(house.get(SHADOW, &house.acme).await.refusal(), (404, "not-found".into()));
    let body = json!({ "state": { "desired": { "interval_s": 30, "led": { "on": true } } }, "clientToken": "t" });
    let accepted = house.post(SHADOW, &house.acme, &body).await;
    assert_eq!((accepted.status.as_u16(), accepted.etag().as_str()), (200, "\"1\""));
    insta::assert_json_snapshot!("accepted", accepted.json);
    let found = house.get(SHADOW, &house.acme).await;
    insta::assert_json_snapshot!("shadow", found.json);
    let conflict = house.post(SHADOW, &house.acme, &json!({ "state": { "desired": {} }, "version": 7 })).await;
    assert_eq!(conflict.refusal(), (409, "version-conflict".into()));
    let named = format!("{SHADOW}?name=config");
    assert_eq!(house.post(&named, &house.acme, &body).await.json["version"], 1);
    assert_eq!(house.get(&format!("{SHADOW}?name=a/b"), &house.acme).await.refusal(), (422, "invalid".into()));
    let deleted = answer(house.request(Method::DELETE, SHADOW, &house.acme)).await;
    assert_eq!((deleted.status.as_u16(), &deleted.json["version"]), (200, &json!(1)));
    assert_eq!(house.get(SHADOW, &house.acme).await.status, 404);
    assert_eq!(house.get(&named, &house.acme).await.status, 200);
}

#[tokio::test]
async fn what_is_no_update_is_refused_in_words() {
    let house = House::open().await;
    house.post("/v1/tenants/acme/devices", &house.acme, &json!({ "name": "gw-1" })).await;
    let deep = json!({ "state": { "desired": { "a": { "b": { "c": { "d": { "e": { "f": { "g": 1 } } } } } } } } });
    let long = json!({ "state": { "desired": { "a": "x".repeat(9000) } } });
    for (body, status, detail) in [
        (json!({}), 422, "Missing required node: state"),
        (json!({ "state": { "wanted": {} } }), 422, "State contains an invalid node"),
        (json!({ "state": { "desired": [] } }), 422, "Desired node must be an object"),
        (deep, 422, "JSON contains too many levels of nesting; maximum is 6"),
        (long, 413, "the shadow is larger than 8192 bytes"),
    ] {
        let refused = house.post(SHADOW, &house.acme, &body).await;
        assert_eq!((refused.status.as_u16(), refused.json["detail"].as_str()), (status, Some(detail)));
    }
    let broken = house.request(Method::POST, SHADOW, &house.acme).body("{");
    assert_eq!(answer(broken).await.json["detail"], "Invalid JSON");
    let nobody = "/v1/tenants/acme/devices/gw-2/shadow";
    assert_eq!(house.post(nobody, &house.acme, &json!({ "state": {} })).await.status, 404);
}

#[tokio::test]
async fn a_history_is_paged_and_named() {
    let house = House::open().await;
    house.post("/v1/tenants/acme/devices", &house.acme, &json!({ "name": "gw-1" })).await;
    for n in 1..=3 {
        house.post(SHADOW, &house.acme, &json!({ "state": { "desired": { "n": n } } })).await;
    }
    house.post(&format!("{SHADOW}?name=config"), &house.acme, &json!({ "state": { "desired": { "x": 1 } } })).await;
    let first = house.get(&format!("{SHADOW}/history?limit=2"), &house.acme).await;
    let items = first.json["items"].as_array().expect("items");
    let numbers: Vec<_> = items.iter().map(|item| (&item["number"], &item["patch"])).collect();
    assert_eq!(numbers, [(&json!(3), &json!({"desired": {"n": 3}})), (&json!(2), &json!({"desired": {"n": 2}}))]);
    assert_eq!(items[0]["actor"]["kind"], "token");
    let cursor = first.json["next"].as_str().expect("more");
    let second = house.get(&format!("{SHADOW}/history?limit=2&cursor={cursor}"), &house.acme).await;
    assert_eq!((&second.json["items"][0]["number"], &second.json["next"]), (&json!(1), &json!(null)));
    let named = house.get(&format!("{SHADOW}/history?name=config"), &house.acme).await;
    assert_eq!(named.json["items"][0]["patch"], json!({"desired": {"x": 1}}));
    // Another tenant's list is its own, and this one is not there to it.
    assert_eq!(house.get(&format!("{SHADOW}/history"), &house.beta).await.status, 404);
    let reasserted = house.post(&format!("{SHADOW}/reassert"), &house.acme, &json!({})).await;
    assert_eq!((reasserted.status.as_u16(), &reasserted.json), (200, &json!({"paths": []})));
    let nobody = "/v1/tenants/acme/devices/gw-2/shadow/reassert";
    assert_eq!(house.post(nobody, &house.acme, &json!({})).await.status, 404);
}
