//! The shadow over MQTT.

use std::collections::BTreeMap;

use fleetward_app::shadow::{self, ShadowKey, Via};
use fleetward_sim::mqtt::Version;
use serde_json::json;

use crate::house::{House, id, tenant};

const P: &str = "$aws/things/gw-1/shadow";

fn topic(end: &str) -> String {
    format!("{P}/{end}")
}

#[tokio::test]
async fn an_aws_client_gets_updates_and_deletes() {
    let house = House::new().await;
    let gw = house.enroll("acme", "gw-1", "rev-a").await;
    for version in [Version::V311, Version::V5] {
        let mut link = house.connect(&gw, version).await;
        link.subscribe(&[&topic("get/+"), &topic("delete/+"), &topic("update/accepted"), &topic("update/rejected")])
            .await;
        link.publish(&topic("get"), r#"{"clientToken":"t0"}"#).await;
        let now = house.app.now().secs();
        let missing =
            json!({"code":404,"message":"No shadow exists with name: gw-1","timestamp":now,"clientToken":"t0"});
        assert_eq!(link.expect("get/rejected").await, missing);
        link.publish(&topic("update"), r#"{"state":{"reported":{"a":1}},"clientToken":"t1"}"#).await;
        let accepted = link.expect("update/accepted").await;
        assert_eq!((&accepted["state"], &accepted["clientToken"]), (&json!({"reported":{"a":1}}), &json!("t1")));
        link.publish(&topic("update"), r#"{"state":{"reported":{"a":2}},"version":99,"clientToken":"t2"}"#).await;
        let conflict = json!({"code":409,"message":"Version conflict","timestamp":now,"clientToken":"t2"});
        assert_eq!(link.expect("update/rejected").await, conflict);
        link.publish(&topic("update"), r#"{"state":{"reported":{"a":2},"clientToken":"t3""#).await;
        let broken = json!({"code":400,"message":"Invalid JSON","timestamp":now,"clientToken":"t3"});
        assert_eq!(link.expect("update/rejected").await, broken);
        link.publish(&topic("get"), "").await;
        let body = link.expect("get/accepted").await;
        let stamp = json!({ "timestamp": now });
        let expected = json!({"state":{"reported":{"a":1}},"metadata":{"reported":{"a":stamp}},
            "version":accepted["version"],"timestamp":now});
        assert_eq!(body, expected);
        link.publish(&topic("delete"), "whatever").await;
        let deleted = link.expect("delete/accepted").await;
        assert_eq!(deleted, json!({"version":accepted["version"],"timestamp":now}));
        link.expect_nothing().await;
    }
}

#[tokio::test]
async fn the_delta_comes_before_accepted_and_again_to_whoever_subscribes() {
    let house = House::new().await;
    let gw = house.enroll("acme", "gw-1", "rev-a").await;
    let mut link = house.connect(&gw, Version::V311).await;
    link.subscribe(&[&topic("update/#")]).await;
    link.publish(&topic("update"), r#"{"state":{"desired":{"a":1,"b":2},"reported":{"b":2}}}"#).await;
    let delta = link.expect("update/delta").await;
    let accepted = link.expect("update/accepted").await;
    let documents = link.expect("update/documents").await;
    assert_eq!(delta["state"], json!({"a":1}));
    assert_eq!((&delta["version"], &accepted["version"]), (&json!(1), &json!(1)));
    assert!(documents.get("previous").is_none());

    // An operator changes it through another door; the device hears of it, without `accepted`.
    let key = ShadowKey::classic(id("gw-1"));
    let payload = br#"{"state":{"desired":{"c":3}}}"#;
    shadow::update(&house.app, &house.admin, &tenant("acme"), &key, payload, Via::Call).await.expect("accepted");
    assert_eq!(link.expect("update/delta").await["state"], json!({"a":1,"c":3}));
    link.expect("update/documents").await;
    drop(link);

    // After a restart the device is told what it has missed, before it reports anything (requirement S4).
    let mut link = house.connect(&gw, Version::V5).await;
    link.subscribe(&[&topic("update/delta")]).await;
    let again = link.expect("update/delta").await;
    assert_eq!((&again["state"], &again["version"]), (&json!({"a":1,"c":3}), &json!(2)));
    link.expect_nothing().await;
}

#[tokio::test]
async fn named_shadows_are_apart_from_the_classic_one() {
    let house = House::new().await;
    let gw = house.enroll("acme", "gw-1", "rev-a").await;
    let mut link = house.connect(&gw, Version::V5).await;
    link.subscribe(&[&format!("{P}/#")]).await;
    link.publish(&topic("name/config/update"), r#"{"state":{"reported":{"a":1}}}"#).await;
    link.expect("shadow/name/config/update/accepted").await;
    link.expect("shadow/name/config/update/documents").await;
    link.publish(&topic("get"), "").await;
    link.expect("shadow/get/rejected").await;
    link.publish(&topic("name/config/get"), "").await;
    assert_eq!(link.expect("shadow/name/config/get/accepted").await["state"], json!({"reported":{"a":1}}));
}

#[tokio::test]
async fn every_request_of_a_burst_is_answered_and_acknowledged() {
    let house = House::new().await;
    let gw = house.enroll("acme", "gw-1", "rev-a").await;
    let mut link = house.connect(&gw, Version::V5).await;
    link.subscribe(&[&topic("update/accepted"), &topic("update/rejected")]).await;
    let payloads: Vec<String> =
        (0..60).map(|n| format!(r#"{{"state":{{"reported":{{"n":{n}}}}},"clientToken":"{n}"}}"#)).collect();
    link.publish_all(&topic("update"), &payloads).await;
    let (mut versions, mut codes) = (Vec::new(), BTreeMap::new());
    for _ in &payloads {
        let (topic, body) = link.next().await;
        match body["code"].as_u64() {
            None => versions.push(body["version"].as_u64().expect("a version")),
            Some(code) => *codes.entry(code).or_insert(0) += 1,
        }
        assert_eq!(topic.ends_with("accepted"), body["code"].is_null());
    }
    assert!(versions.is_sorted(), "{versions:?}");
    assert_eq!(versions.len() + codes.get(&429).copied().unwrap_or(0), payloads.len(), "{codes:?}");
}
