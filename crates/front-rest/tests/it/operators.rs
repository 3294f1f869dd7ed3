//! What operators do beside devices: messages, labels, certificates, groups by question, statistics, commands that are
//! written down, jobs in a device's place.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use fleetward_app::topic_messages::Beside;
use fleetward_app::{DeviceLinks, EndReason, PublishRefused, Retained, TopicMessage, reconcile};
use fleetward_base::{DeviceId, TenantId, Timestamp};
use fleetward_core::job::queue::Change;
use fleetward_pki::{SoftKey, csr, name, pem};
use parking_lot::Mutex;
use reqwest::Method;
use serde_json::{Value, json};

use crate::house::{House, answer};

/// A broker that remembers what it was given, and has one message retained.
#[derive(Default)]
struct Heard(Mutex<Vec<TopicMessage>>);

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
    async fn queue_changed(&self, _: &TenantId, _: &[(DeviceId, Change)]) {}

    async fn publish_to_topic(&self, _: &TenantId, message: TopicMessage) -> Result<usize, PublishRefused> {
        self.0.lock().push(message);
        Ok(3)
    }

    fn retained(&self, tenant: &TenantId, topic: &str) -> Option<Retained> {
        self.all_retained(tenant, "", 1).into_iter().find(|it| it.topic == topic)
    }

    fn all_retained(&self, tenant: &TenantId, after: &str, _: usize) -> Vec<Retained> {
        if tenant.as_str() != "acme" || after >= "site/mode" {
            return Vec::new();
        }
        vec![Retained {
            topic: "site/mode".to_owned(),
            payload: Bytes::from_static(b"\xffnight"),
            qos: 1,
            stored_at: Timestamp::from_secs(7),
            expires_at: None,
            beside: Beside { content_type: Some("a/b".to_owned()), ..Beside::default() },
        }]
    }
}

async fn patch(house: &House, path: &str, body: &Value) -> crate::house::Answer {
    answer(house.request(Method::PATCH, path, &house.acme).header("if-match", "*").json(body)).await
}

async fn delete(house: &House, path: &str) -> u16 {
    answer(house.request(Method::DELETE, path, &house.acme).header("if-match", "*")).await.status.as_u16()
}

#[tokio::test]
async fn a_message_is_published_once_for_one_key() {
    let house = House::open().await;
    let messages = "/v1/tenants/acme/messages";
    let body = json!({
        "topic": "site/mode", "payload_base64": "/w==", "retain": true, "ttl_s": 60, "content_type": "a/b",
        "properties": [{ "name": "a", "value": "1" }, { "name": "a", "value": "2" }],
    });
    assert_eq!(house.post(messages, &house.acme, &body).await.status, 503, "there is no broker yet");
    let heard = Arc::new(Heard::default());
    house.app.connect_links(Arc::clone(&heard) as Arc<dyn DeviceLinks>);
    for _ in 0..2 {
        let request = house.request(Method::POST, messages, &house.acme).header("idempotency-key", "k").json(&body);
        let sent = answer(request).await;
        assert_eq!((sent.status.as_u16(), &sent.json), (200, &json!({ "sessions": 3 })));
    }
    let said = std::mem::take(&mut *heard.0.lock());
    assert_eq!(said.len(), 1, "the same key is the same message");
    assert_eq!(
        (said[0].topic.as_str(), &said[0].payload[..], said[0].qos, said[0].retain),
        ("site/mode", b"\xff".as_slice(), 1, true)
    );
    for (bad, field) in [
        (json!({ "topic": "a/+" }), "topic"),
        (json!({ "topic": "$aws/things/x/shadow/update" }), "topic"),
        (json!({ "topic": "a", "qos": 3 }), "qos"),
        (json!({ "topic": "a", "ttl_s": 0 }), "ttl_s"),
        (json!({ "topic": "a", "payload": "x", "payload_base64": "" }), "payload"),
        (json!({ "topic": "a", "payload_base64": "/w==", "utf8": true }), "utf8"),
        (json!({ "topic": "a", "properties": [{ "name": "a", "value": "x".repeat(300) }] }), "properties"),
    ] {
        let refused = house.post(messages, &house.acme, &bad).await;
        assert_eq!(
            (refused.status.as_u16(), refused.json["field"].as_str()),
            (422, Some(field)),
            "{bad}: {}",
            refused.json
        );
    }
    let large = json!({ "topic": "a", "payload": "x".repeat(128 * 1024 + 1) });
    assert_eq!(house.post(messages, &house.acme, &large).await.status, 413);
    assert!(heard.0.lock().is_empty());

    let kept = "/v1/tenants/acme/retained-messages";
    let listed = house.get(kept, &house.acme).await.json;
    assert_eq!(listed["items"][0]["payload_bytes"], 6);
    let shown = house.get(&format!("{kept}/site%2Fmode"), &house.acme).await.json;
    assert_eq!((&shown["payload"], &shown["payload_base64"]), (&Value::Null, &json!("/25pZ2h0")));
    assert_eq!(house.get(&format!("{kept}/other"), &house.acme).await.status, 404);
    assert_eq!(house.get(&format!("{kept}/site%2Fmode"), &house.beta).await.status, 404);
    assert_eq!(delete(&house, &format!("{kept}/other")).await, 204, "nothing is there");
    assert_eq!(delete(&house, &format!("{kept}/site%2Fmode")).await, 204);
    let said = heard.0.lock();
    assert_eq!((said.len(), said[0].retain, said[0].payload.is_empty()), (1, true, true));
}

#[tokio::test]
async fn labels_are_written_key_by_key() {
    let house = House::open().await;
    house.post("/v1/tenants/acme/device-groups", &house.acme, &json!({ "name": "hall" })).await;
    let path = "/v1/tenants/acme/labels/group/hall";
    let written = patch(&house, path, &json!({ "labels": { "a": "1", "b": "2" } })).await;
    assert_eq!(written.json, json!({ "labels": { "a": "1", "b": "2" } }));
    patch(&house, path, &json!({ "labels": { "a": null, "c": "" } })).await;
    assert_eq!(house.get(path, &house.acme).await.json, json!({ "labels": { "b": "2", "c": "" } }));
    for absent in ["group/none", "type/hall", "job/hall", "nothing/hall", "command/hall"] {
        assert_eq!(house.get(&format!("/v1/tenants/acme/labels/{absent}"), &house.acme).await.status, 404, "{absent}");
    }
    assert_eq!(patch(&house, path, &json!({ "labels": { "": "x" } })).await.status, 422);
}

#[tokio::test]
async fn a_certificate_waits_for_its_device() {
    let house = House::open().await;
    let (key, _) = SoftKey::generate();
    let request =
        pem::write("CERTIFICATE REQUEST", &csr::write(&name::write(None, "x"), &[], &key).expect("a request"));
    let all = "/v1/tenants/acme/certificates";
    let made = house.post(all, &house.acme, &json!({ "csr": request })).await;
    assert_eq!((made.status.as_u16(), &made.json["state"]), (201, &json!("inactive")));
    assert_eq!(made.json["private_key"], Value::Null);
    let one = format!("{all}/{}", made.json["id"].as_str().expect("an id"));
    house.post("/v1/tenants/acme/devices", &house.acme, &json!({ "name": "gw-1" })).await;
    let attach = house.request(Method::PUT, &format!("{one}/device/gw-1"), &house.acme);
    assert_eq!(answer(attach).await.refusal(), (409, "certificate-inactive".into()));
    let state = format!("{one}/state");
    assert_eq!(house.post(&state, &house.acme, &json!({ "state": "active" })).await.json["state"], "active");
    let attach = house.request(Method::PUT, &format!("{one}/device/gw-1"), &house.acme);
    assert_eq!(answer(attach).await.status, 204);
    assert_eq!(house.get(&one, &house.acme).await.json["device"], "gw-1");
    assert_eq!(house.get(all, &house.acme).await.json["items"].as_array().expect("items").len(), 1);
    assert_eq!(house.get(&one, &house.beta).await.status, 404);
    assert_eq!(delete(&house, &one).await, 409, "it is active");
    // Who was denied for another reason would count again when it is attached again.
    let serial = house.get(&one, &house.acme).await.json["serial"].as_str().expect("a serial").to_owned();
    let list = "/v1/tenants/acme/deny-list";
    let stolen = json!({ "kind": "serial", "value": serial, "reason": "key stolen" });
    assert!(house.post(list, &house.acme, &stolen).await.status.is_success());
    assert_eq!(delete(&house, &format!("{one}/device/gw-1")).await, 409);
    assert_eq!(delete(&house, &format!("{list}/serial/{serial}")).await, 204);
    assert_eq!(delete(&house, &format!("{one}/device/gw-1")).await, 204);
    let detached = house.get(&one, &house.acme).await.json;
    assert_eq!((&detached["device"], &detached["bound_to"]), (&Value::Null, &json!("gw-1")));
    assert_eq!(delete(&house, &one).await, 204);
    assert_eq!(house.get(&one, &house.acme).await.status, 404);
    let keyless = house.post(all, &house.acme, &json!({})).await;
    assert_eq!(keyless.refusal(), (409, "server-keys-off".into()));
}

#[tokio::test]
async fn a_question_decides_who_is_in_a_group() {
    let house = House::open().await;
    for (name, site) in [("gw-1", "berlin"), ("gw-2", "rome")] {
        house.post("/v1/tenants/acme/devices", &house.acme, &json!({ "name": name, "site": site })).await;
    }
    let groups = "/v1/tenants/acme/device-groups";
    let made = house.post(groups, &house.acme, &json!({ "name": "berlin", "query": "site:berlin" })).await;
    assert_eq!((made.status.as_u16(), &made.json["settled"]), (201, &json!(false)));
    reconcile::groups::tick(&house.app).await.expect("a turn");
    assert_eq!(house.get("/v1/tenants/acme/devices/gw-1", &house.acme).await.json["tags"], json!(["berlin"]));
    let one = format!("{groups}/berlin");
    assert_eq!(house.get(&one, &house.acme).await.json["settled"], true);
    let put = answer(house.request(Method::PUT, &format!("{one}/devices/gw-2"), &house.acme)).await;
    assert_eq!(put.refusal(), (409, "group-dynamic".into()));
    let amended = patch(&house, &one, &json!({ "description": "d" })).await.json;
    assert_eq!((&amended["query"], &amended["settled"]), (&json!("site:berlin"), &json!(true)), "the question stays");
    let bad = house.post(groups, &house.acme, &json!({ "name": "x", "query": "online:true" })).await;
    assert_eq!((bad.status.as_u16(), &bad.json["field"]), (422, &json!("query")));

    let stats = "/v1/tenants/acme/device-statistics";
    let found = house.get(&format!("{stats}?field=site&q=*"), &house.acme).await.json;
    assert_eq!((&found["count"], &found["distinct"], &found["numbers"]), (&json!(2), &json!(2), &Value::Null));
    assert_eq!(found["values"], json!([{ "value": "berlin", "count": 1 }, { "value": "rome", "count": 1 }]));
    assert_eq!(house.get(&format!("{stats}?field=nothing"), &house.acme).await.json["field"], "field");
}

#[tokio::test]
async fn a_command_is_written_down_sent_and_forgotten() {
    let house = House::open().await;
    house.post("/v1/tenants/acme/devices", &house.acme, &json!({ "name": "gw-1" })).await;
    let all = "/v1/tenants/acme/command-templates";
    let body = json!({ "name": "blink", "payload": { "times": 2 }, "title": "Blink" });
    assert_eq!(house.post(all, &house.acme, &body).await.status, 201);
    assert_eq!(house.post(all, &house.acme, &body).await.status, 201, "the same again");
    let other = house.post(all, &house.acme, &json!({ "name": "blink" })).await;
    assert_eq!(other.refusal(), (409, "command-template-exists".into()));
    let sent = house.post(&format!("{all}/blink/send"), &house.acme, &json!({ "device": "gw-1", "id": "c-1" })).await;
    assert_eq!((sent.status.as_u16(), &sent.json["op"]), (201, &json!("blink")));
    let command = "/v1/tenants/acme/devices/gw-1/commands/c-1";
    assert_eq!(house.get(command, &house.acme).await.json["payload"], json!({ "times": 2 }));
    let open = answer(house.request(Method::DELETE, command, &house.acme)).await;
    assert_eq!(open.refusal(), (409, "command-open".into()));
    house.post(&format!("{command}/cancel"), &house.acme, &json!({})).await;
    assert_eq!(delete(&house, command).await, 204);
    assert_eq!(house.get(command, &house.acme).await.status, 404);
    let one = format!("{all}/blink");
    assert_eq!(patch(&house, &one, &json!({ "deprecated": true })).await.json["revision"], 2);
    let late = house.post(&format!("{one}/send"), &house.acme, &json!({ "device": "gw-1" })).await;
    assert_eq!(late.refusal(), (409, "command-template-deprecated".into()));
    assert_eq!(delete(&house, &one).await, 204);
    assert_eq!(house.get(&one, &house.acme).await.status, 404);
    assert_eq!(house.post(all, &house.acme, &json!({ "name": "a b" })).await.json["field"], "name");
}

#[tokio::test]
async fn a_job_is_worked_on_in_a_devices_place() {
    let house = House::open().await;
    house.post("/v1/tenants/acme/devices", &house.acme, &json!({ "name": "gw-1" })).await;
    let pending = "/v1/tenants/acme/devices/gw-1/pending-jobs";
    let none = house.post(&format!("{pending}/start-next"), &house.acme, &json!({})).await.json;
    assert_eq!(none, json!({ "execution": null, "document": null }));
    let job = json!({ "id": "oil", "document": { "do": "oil" }, "targets": [{ "devices": ["gw-1"] }] });
    assert_eq!(house.post("/v1/tenants/acme/jobs", &house.acme, &job).await.status, 201);
    reconcile::jobs::tick(&house.app).await.expect("a turn");
    let queue = house.get(pending, &house.acme).await.json;
    assert_eq!((&queue["items"][0]["job"], &queue["items"][0]["status"]), (&json!("oil"), &json!("queued")));
    let begun = house.post(&format!("{pending}/start-next"), &house.acme, &json!({ "detail": { "by": "eve" } })).await;
    assert_eq!(
        (&begun.json["execution"]["status"], &begun.json["document"]),
        (&json!("in_progress"), &json!({ "do": "oil" }))
    );
    let report = "/v1/tenants/acme/jobs/oil/executions/gw-1/report";
    let stale = house.post(report, &house.acme, &json!({ "status": "failed", "expected_version": 9 })).await;
    assert_eq!(stale.status, 412);
    let done = house.post(report, &house.acme, &json!({ "status": "succeeded" })).await;
    assert_eq!((done.status.as_u16(), &done.json["status"]), (200, &json!("succeeded")));
    let late = house.post(report, &house.acme, &json!({ "status": "failed" })).await;
    assert_eq!(late.refusal(), (409, "execution-state".into()));
}
