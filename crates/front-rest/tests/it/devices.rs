//! The register through the door.

use reqwest::Method;
use serde_json::{Value, json};

use crate::house::{Answer, House, answer};

const DEVICES: &str = "/v1/tenants/acme/devices";

async fn patch(house: &House, path: &str, etag: &str, body: &Value) -> Answer {
    answer(house.request(Method::PATCH, path, &house.acme).header("if-match", etag).json(body)).await
}

#[tokio::test]
async fn a_device_is_registered_changed_and_shown() {
    let house = House::open().await;
    let body = json!({
        "name": "gw-1", "class": "gateway", "hardware": "rev-b", "tags": ["eu", "beta"],
        "attributes": { "rack": 7, "spare": true, "note": "x" },
    });
    let made = house.post(DEVICES, &house.acme, &body).await;
    assert_eq!((made.status.as_u16(), made.etag().as_str()), (201, "\"1\""));
    let path = format!("{DEVICES}/gw-1");
    let change = json!({ "owner": "ops", "attributes": { "rack": null, "floor": 2 } });
    let changed = patch(&house, &path, "\"1\"", &change).await;
    assert_eq!((changed.status.as_u16(), changed.etag().as_str()), (200, "\"2\""));
    let shown = house.get(&path, &house.acme).await;
    assert_eq!(shown.json, changed.json);
    insta::assert_json_snapshot!(shown.json);
    let cleared = patch(&house, &path, "\"2\"", &json!({ "owner": null })).await;
    assert_eq!(cleared.json["owner"], Value::Null);
}

#[tokio::test]
async fn a_change_says_what_it_has_seen() {
    let house = House::open().await;
    house.post(DEVICES, &house.acme, &json!({ "name": "gw-1" })).await;
    let path = format!("{DEVICES}/gw-1");
    let body = json!({ "owner": "ops" });
    let blind = answer(house.request(Method::PATCH, &path, &house.acme).json(&body)).await;
    assert_eq!(blind.refusal(), (428, "precondition-required".into()));
    let stale = patch(&house, &path, "\"7\"", &body).await;
    assert_eq!(stale.refusal(), (412, "stale".into()));
    assert_eq!(stale.json["why"], json!({ "expected": 7, "found": 1 }));
    assert_eq!(patch(&house, &path, "W/\"1\"", &body).await.refusal(), (400, "malformed".into()));
    assert_eq!(patch(&house, &path, "*", &body).await.status, 200);
    let absent = format!("{DEVICES}/gw-2");
    assert_eq!(patch(&house, &absent, "*", &body).await.refusal(), (404, "not-found".into()));
    assert_eq!(patch(&house, &absent, "\"1\"", &body).await.refusal(), (404, "not-found".into()));
}

#[tokio::test]
async fn of_many_changes_at_once_one_is_made() {
    let house = House::open().await;
    house.post(DEVICES, &house.acme, &json!({ "name": "gw-1" })).await;
    let path = format!("{DEVICES}/gw-1");
    let bodies: Vec<Value> = (0..8).map(|number| json!({ "owner": format!("team-{number}") })).collect();
    let all = futures::future::join_all(bodies.iter().map(|body| patch(&house, &path, "\"1\"", body))).await;
    let mut statuses: Vec<u16> = all.iter().map(|answer| answer.status.as_u16()).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 412, 412, 412, 412, 412, 412, 412]);
    assert_eq!(house.get(&path, &house.acme).await.etag(), "\"2\"");
}

#[tokio::test]
async fn a_life_goes_by_the_rules() {
    let house = House::open().await;
    house.post(DEVICES, &house.acme, &json!({ "name": "gw-1" })).await;
    let step = async |transition: &str| {
        house.post(&format!("{DEVICES}/gw-1/status"), &house.acme, &json!({ "transition": transition })).await
    };
    assert_eq!(step("quarantine").await.refusal(), (409, "life-cycle".into()));
    assert_eq!(step("suspend").await.json["status"], "suspended");
    assert_eq!(step("reinstate").await.json["status"], "claimed");
    assert_eq!(step("enroll").await.refusal(), (422, "invalid".into()));
    assert_eq!(step("fly").await.refusal(), (422, "invalid".into()));
    let path = format!("{DEVICES}/gw-1");
    let delete = async || answer(house.request(Method::DELETE, &path, &house.acme).header("if-match", "*")).await;
    assert_eq!(delete().await.refusal(), (409, "life-cycle".into()));
    assert_eq!(step("decommission").await.json["status"], "decommissioned");
    assert_eq!(delete().await.status, 204);
    assert_eq!(house.get(&path, &house.acme).await.status, 404);
    let history = house.get("/v1/tenants/acme/events?device=gw-1", &house.acme).await.json;
    let actions: Vec<&str> =
        history["items"].as_array().expect("rows").iter().filter_map(|row| row["action"].as_str()).collect();
    let decommissioned = ["device.decommissioned"; 2];
    assert_eq!(actions[..2], decommissioned);
    assert_eq!(actions.last(), Some(&"device.created"));
}

#[tokio::test]
async fn a_listing_filters_and_goes_on_where_it_stopped() {
    let house = House::open().await;
    for number in 0..7 {
        let tag = if number % 2 == 0 { "even" } else { "odd" };
        let body = json!({ "name": format!("gw-{number}"), "hardware": "rev-a", "tags": [tag] });
        assert_eq!(house.post(DEVICES, &house.acme, &body).await.status, 201);
    }
    let mut names = Vec::new();
    let mut path = format!("{DEVICES}?tag=even&limit=3");
    loop {
        let page = house.get(&path, &house.acme).await;
        for row in page.json["items"].as_array().expect("rows") {
            names.push(row["name"].as_str().expect("a name").to_owned());
        }
        let Some(cursor) = page.json["next"].as_str() else { break };
        let link = page.header("link");
        assert!(link.starts_with(&format!("<{DEVICES}?tag=even&limit=3&cursor=")), "{link}");
        assert!(link.ends_with(">; rel=\"next\""), "{link}");
        path = format!("{DEVICES}?limit=3&cursor={cursor}&tag=even");
    }
    assert_eq!(names, ["gw-0", "gw-2", "gw-4", "gw-6"]);

    let page = house.get(&format!("{DEVICES}?limit=2"), &house.acme).await;
    let cursor = page.json["next"].as_str().expect("more");
    for elsewhere in [
        format!("{DEVICES}?cursor={cursor}&tag=odd"),
        format!("/v1/tenants/acme/enroll-tokens?cursor={cursor}"),
        format!("{DEVICES}?cursor={cursor}x"),
    ] {
        assert_eq!(house.get(&elsewhere, &house.acme).await.refusal(), (400, "bad-cursor".into()), "{elsewhere}");
    }
    let theirs = format!("/v1/tenants/beta/devices?cursor={cursor}");
    assert_eq!(house.get(&theirs, &house.beta).await.refusal(), (400, "bad-cursor".into()));
    for bad in ["tags=even", "status=alive", "presence=away", "limit=0", "limit=1001", "limit=x"] {
        assert_eq!(house.get(&format!("{DEVICES}?{bad}"), &house.acme).await.status, 422, "{bad}");
    }
}

#[tokio::test]
async fn an_enrolment_token_is_shown_once() {
    let house = House::open().await;
    let path = "/v1/tenants/acme/enroll-tokens";
    let made = house.post(path, &house.acme, &json!({ "device": "gw-9", "hardware": "rev-b", "ttl_s": 60 })).await;
    assert_eq!(made.status, 201);
    assert!(made.json["token"].as_str().is_some_and(|token| token.starts_with("fwe_")));
    assert_eq!(house.get(&format!("{DEVICES}/gw-9"), &house.acme).await.json["hardware"], "rev-b");
    let listed = house.get(path, &house.acme).await;
    assert_eq!(listed.json["items"][0]["state"], "open");
    assert!(!listed.json.to_string().contains("fwe_"));
    house.post(path, &house.acme, &json!({ "device": "gw-8" })).await;
    for (device, count) in [("gw-9", 1), ("gw-8", 1), ("gw-7", 0)] {
        let page = house.get(&format!("{path}?device={device}"), &house.acme).await;
        let items = page.json["items"].as_array().expect("rows");
        assert_eq!(items.len(), count, "{device}");
        assert!(items.iter().all(|item| item["device"] == device));
    }
    assert_eq!(house.get(&format!("{path}?device=a/b"), &house.acme).await.status, 422);
    assert_eq!(house.get(&format!("{path}?devise=gw-9"), &house.acme).await.status, 422);
    house.clock.advance(std::time::Duration::from_secs(61));
    let expired = house.get(&format!("{path}?device=gw-9"), &house.acme).await;
    assert_eq!(expired.json["items"][0]["state"], "expired");
    for bad in
        [json!({ "device": "a/b" }), json!({ "device": "gw-9", "ttl_s": 0 }), json!({}), json!({ "devise": "x" })]
    {
        assert_eq!(house.post(path, &house.acme, &bad).await.refusal(), (422, "invalid".into()), "{bad}");
    }
}
