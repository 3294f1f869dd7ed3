//! Configuration, and what becomes of a device that is revoked.

use std::sync::Arc;
use std::time::Duration;

use fleetward_agent::disk::Folder;
use fleetward_agent::est::{Proof, Service};
use fleetward_agent::identity::{KeyStore, Step};
use fleetward_agent::jobs::Jobs;
use fleetward_agent::mqtt::{Session, Target};
use fleetward_agent::tls::{Anchors, Server};
use fleetward_base::{Clock, SystemClock};
use serde_json::json;

use crate::stage::{Stage, wait_for};

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

#[tokio::test]
async fn a_renewed_certificate_is_proven_before_it_is_used_and_the_old_one_counts_until_then() {
    let stage = Stage::new().await;
    let device = stage.device("gw-1").await;
    let path = "/v1/tenants/acme/devices/gw-1";
    let agent = device.start();
    // The server counts it as online a moment before it has adopted its first certificate.
    wait_for("the first certificate", || device.data().join("identity/current").exists().then_some(())).await;
    drop(agent);

    let folder = Folder::open(&device.data()).expect("the agent's folder");
    let store = KeyStore::new(&folder, "gw-1");
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let later = clock.now().plus(Duration::from_secs(61 * 24 * 3600));
    let anchors = Anchors::from_pem(&std::fs::read(device.ca()).expect("reads")).expect("anchors");
    let server = Server { host: "localhost".into(), anchors };
    let target =
        Target { server: server.clone(), port: device.ports.1, device: "gw-1".into(), clock: Arc::clone(&clock) };
    let old = store.current().expect("reads").expect("a credential");
    let Step::MakeKey(place) = store.next_step(later, 0.5).expect("a step") else { panic!("it is time to renew") };
    store.make_key(place).expect("a key");
    let Step::Renew { place, request } = store.next_step(later, 0.5).expect("a step") else { panic!("a key is there") };
    let service = Service { server, port: device.ports.0, label: None };
    let first = service.request("gw-1", Proof::Certificate(&old), &request).await.expect("renewed");
    let again = service.request("gw-1", Proof::Certificate(&old), &request).await.expect("renewed");
    assert_eq!(first, again, "the same request has the same answer, should the first one be lost");
    store.keep_certificate(place, &again, clock.now()).expect("ours");
    let Step::Prove(new) = store.next_step(later, 0.5).expect("a step") else { panic!("a certificate is there") };
    let filters = Jobs::filters("gw-1");
    Session::open(&target, &old, &filters).await.expect("the old one still counts").close().await;
    Session::open(&target, &new, &filters).await.expect("the new one counts").close().await;
    store.adopt(new.place).expect("switched");

    let _agent = device.start();
    let serial = json!(new.certificate.serial.to_string());
    stage.until(path, |d| (d["presence"] == "online" && d["certificate"]["serial"] == serial).then_some(())).await;
    assert_ne!(new.certificate.serial, old.certificate.serial);
}
