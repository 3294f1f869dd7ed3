//! Configuration, and what becomes of a device that is revoked.

use serde_json::json;

use crate::stage::Stage;

#[tokio::test]
async fn configuration_is_applied_by_handlers_before_it_is_reported() {
    let stage = Stage::new().await;
    let device = stage.device("gw-1").await;
    device.handler("led", r#"cat > led.new && mv led.new led"#);
    device.handler("broken", "echo no such radio >&2; exit 4");
    let shadow = "/v1/tenants/acme/devices/gw-1/shadow";
    let wanted = json!({ "led": { "on": true }, "broken": 1, "absent": 2, "../../bin/sh": 3, "firmware": "9" });
    stage.rest.post(shadow, &json!({ "state": { "desired": wanted } })).await;
    let _agent = device.start();
    let reported =
        stage.until(shadow, |s| Some(s["state"]["reported"].clone()).filter(|r| !r["_errors"].is_null())).await;
    assert_eq!(reported["led"], json!({ "on": true }));
    assert_eq!(std::fs::read_to_string(device.data().join("led")).expect("the handler wrote it"), r#"{"on":true}"#);
    let errors = &reported["_errors"];
    assert_eq!(errors["broken"], "its handler failed with exit status: 4: no such radio");
    assert_eq!(errors["absent"], "there is no handler for it");
    assert_eq!(errors["../../bin/sh"], "its name cannot be that of a handler");
    assert_eq!((&errors["firmware"], &reported["firmware"]), (&json!("this key is the agent's own"), &json!("1.0")));
    assert!(reported["_meta"]["applied_version"].is_u64() && reported["_meta"]["boot_id"].is_string());

    stage.rest.post(shadow, &json!({ "state": { "desired": { "led": { "on": false } } } })).await;
    stage.until(shadow, |s| (s["state"]["reported"]["led"]["on"] == false).then_some(())).await;
}

#[tokio::test]
async fn a_revoked_device_comes_back_with_a_new_token_and_not_before() {
    let stage = Stage::new().await;
    let device = stage.device("gw-1").await;
    let mut agent = device.start();
    let path = "/v1/tenants/acme/devices/gw-1";
    let serial = stage.until(path, |d| (d["presence"] == "online").then(|| d["certificate"]["serial"].clone())).await;
    stage.rest.post(&format!("{path}/revoke"), &json!({ "reason": "stolen" })).await;
    stage.until(path, |d| (d["presence"] == "offline" && d["status"] == "suspended").then_some(())).await;
    assert!(!agent.ended(), "it waits to be wanted again");
    stage.give_token(&device).await;
    let renewed = stage
        .until(path, |d| {
            (d["presence"] == "online" && d["status"] == "active").then(|| d["certificate"]["serial"].clone())
        })
        .await;
    assert_ne!(renewed, serial, "with another certificate");
}
