//! Commands through the operators' door.

use fleetward_core::access::Role;
use serde_json::json;

use crate::house::House;

const GW: &str = "/v1/tenants/acme/devices/gw-1/commands";
const ALL: &str = "/v1/tenants/acme/commands";

async fn prepared() -> House {
    let house = House::open().await;
    for name in ["gw-1", "gw-2"] {
        house.post("/v1/tenants/acme/devices", &house.acme, &json!({ "name": name })).await;
    }
    house
}

#[tokio::test]
async fn a_command_is_sent_shown_and_taken_back() {
    let house = prepared().await;
    let body = json!({ "id": "c1", "op": "restart-app", "payload": { "name": "x" }, "ttl_s": 3600 });
    let sent = house.post(GW, &house.acme, &body).await;
    assert_eq!((sent.status.as_u16(), &sent.json["status"]), (201, &json!("queued")));
    assert_eq!(house.post(GW, &house.acme, &body).await.json, sent.json, "the same command");
    let clash = json!({ "id": "c1", "op": "other" });
    assert_eq!(house.post(GW, &house.acme, &clash).await.refusal(), (409, "command-exists".into()));
    let shown = house.get(&format!("{GW}/c1"), &house.acme).await;
    assert_eq!((shown.etag().as_str(), &shown.json["payload"]), ("\"1\"", &json!({ "name": "x" })));
    assert_eq!(
        (&shown.json["op"], &shown.json["attempts"], &shown.json["reason"]),
        (&json!("restart-app"), &json!(0), &json!(null))
    );
    let canceled = house.post(&format!("{GW}/c1/cancel"), &house.acme, &json!({})).await;
    assert_eq!((&canceled.json["status"], &canceled.json["ended"]), (&json!("canceled"), &json!(true)));
    assert_eq!(house.get(&format!("{GW}/c2"), &house.acme).await.refusal(), (404, "not-found".into()));
    assert_eq!(house.get("/v1/tenants/acme/devices/gw-9/commands", &house.acme).await.status, 404);
}

#[tokio::test]
async fn bytes_come_back_as_they_went() {
    let house = prepared().await;
    let body = json!({ "id": "c1", "op": "x", "payload_base64": "AJ+S", "content_type": "application/octet-stream" });
    assert_eq!(house.post(GW, &house.acme, &body).await.status, 201);
    let shown = house.get(&format!("{GW}/c1"), &house.acme).await.json;
    assert_eq!((&shown["payload_base64"], &shown["payload_bytes"]), (&json!("AJ+S"), &json!(3)));
    for (bad, field) in [
        (json!({ "op": "x", "payload": 1, "payload_base64": "AA==" }), "payload"),
        (json!({ "op": "x", "payload_base64": "?" }), "payload_base64"),
        (json!({ "op": "a b" }), "op"),
        (json!({ "op": "x", "ttl_s": 0 }), "ttl_s"),
        (json!({ "op": "x", "on_expiry": "explode" }), "on_expiry"),
        (json!({ "op": "x", "lanes": "a" }), "lanes"),
    ] {
        let refused = house.post(GW, &house.acme, &bad).await;
        assert_eq!((refused.status.as_u16(), &refused.json["field"]), (422, &json!(field)), "{}", refused.json);
    }
}

#[tokio::test]
async fn many_devices_and_pages() {
    let house = prepared().await;
    let body = json!({ "to": { "devices": ["gw-1", "gw-2"] }, "command": { "id": "c1", "op": "x" } });
    let sent = house.post(ALL, &house.acme, &body).await;
    assert_eq!((sent.status.as_u16(), sent.json["items"].as_array().map(Vec::len)), (201, Some(2)));
    house.post(GW, &house.acme, &json!({ "id": "c2", "op": "x" })).await;
    let first = house.get(&format!("{ALL}?limit=2"), &house.acme).await.json;
    let next = first["next"].as_str().expect("more");
    let second = house.get(&format!("{ALL}?limit=2&cursor={next}"), &house.acme).await.json;
    let names = |page: &serde_json::Value| -> Vec<String> {
        let items = page["items"].as_array().expect("items").iter();
        items
            .map(|it| format!("{}/{}", it["id"].as_str().unwrap_or("?"), it["device"].as_str().unwrap_or("?")))
            .collect()
    };
    assert_eq!((names(&first), names(&second)), (vec!["c1/gw-1".into(), "c1/gw-2".into()], vec!["c2/gw-1".into()]));
    assert_eq!(names(&house.get(GW, &house.acme).await.json), ["c2/gw-1", "c1/gw-1"], "the newest first");
    let page = house.get(&format!("{GW}?limit=1"), &house.acme).await.json;
    let next = page["next"].as_str().expect("more");
    assert_eq!(names(&house.get(&format!("{GW}?limit=1&cursor={next}"), &house.acme).await.json), ["c1/gw-1"]);
    let canceled = house.post(&format!("{ALL}/c1/cancel"), &house.acme, &json!({ "force": true })).await;
    assert_eq!(canceled.json, json!({ "canceled": 2, "left": 0 }));
    assert_eq!(names(&house.get(&format!("{ALL}?status=queued"), &house.acme).await.json), ["c2/gw-1"]);
    let viewer = house.token("acme", Role::Viewer).await;
    assert_eq!(house.get(ALL, &viewer).await.status, 200);
    assert_eq!(house.post(GW, &viewer, &json!({ "op": "x" })).await.status, 403);
}

#[tokio::test]
async fn a_moment_is_as_rfc_3339_has_it() {
    let house = prepared().await;
    let wanted = |not_before: &str| json!({ "op": "x", "not_before": not_before });
    let made = house.post(GW, &house.acme, &json!({ "op": "now" })).await.json;
    let now: fleetward_base::Timestamp = made["created_at"].as_str().expect("a moment").parse().expect("a moment");
    let at = now.plus(std::time::Duration::from_secs(600)).to_string();
    let sent = house.post(GW, &house.acme, &wanted(&at)).await;
    assert_eq!((sent.status.as_u16(), &sent.json["not_before"]), (201, &json!(at)));
    for bad in ["tomorrow", "2026-11-28", "2026-11-28T03:00:00"] {
        assert_eq!(house.post(GW, &house.acme, &wanted(bad)).await.status, 422, "{bad}");
    }
    let both = json!({ "op": "x", "not_before": at, "wait_s": 1 });
    assert_eq!(house.post(GW, &house.acme, &both).await.status, 422);
}
