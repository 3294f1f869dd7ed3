//! A device goes from one tenant to another by itself: it wipes itself, says so, and enrols where it is expected.

use serde_json::{Value, json};

use crate::stage::{Device, Stage, wait_for};

const TRANSFERS: &str = "/v1/tenants/acme/transfers";

/// Offered by acme and accepted by zenith under this name; the transfer's id.
async fn hand_over(stage: &Stage, device: &str, name: &str) -> String {
    let made = stage.rest.post(TRANSFERS, &json!({ "device": device, "to_tenant": "zenith" })).await;
    let body = json!({ "code": made.get("code"), "name": name });
    let accepted = stage.rest.post("/v1/tenants/zenith/transfers/accept", &body).await;
    assert!(
        accepted.get("waits_until").is_some_and(Value::is_string),
        "the device is to wipe itself first: {accepted}"
    );
    made.get("id").and_then(Value::as_str).expect("an id").to_owned()
}

async fn online(stage: &Stage, tenant: &str, device: &str) -> Value {
    let path = format!("/v1/tenants/{tenant}/devices/{device}");
    stage.until(&path, |found| (found["presence"] == "online").then(|| found.clone())).await
}

async fn state(stage: &Stage, id: &str, wanted: &str) -> Value {
    stage
        .until(TRANSFERS, |page| {
            let mut items = page["items"].as_array().cloned().unwrap_or_default().into_iter();
            items.find(|item| item["id"] == id && item["state"] == wanted)
        })
        .await
}

/// A device of acme's with configuration, of which its handlers have left something.
async fn configured(stage: &Stage, wipe: &str) -> Device {
    stage.rest.post("/v1/tenants", &json!({ "name": "zenith" })).await;
    let device = stage.device("gw-1").await;
    device.handler("led", "cat > led");
    device.handler("wipe", wipe);
    let shadow = "/v1/tenants/acme/devices/gw-1/shadow";
    stage.rest.post(shadow, &json!({ "state": { "desired": { "led": "acme's" } } })).await;
    device
}

#[tokio::test]
async fn a_device_wipes_itself_and_enrols_with_the_other_tenant() {
    let stage = Stage::new().await;
    let device = configured(&stage, "date > ../wiped; echo no > leftover").await;
    let mut agent = device.start();
    let shadow = "/v1/tenants/acme/devices/gw-1/shadow";
    stage.until(shadow, |s| (s["state"]["reported"]["led"] == "acme's").then_some(())).await;
    assert!(device.data().join("led").exists());
    let old = std::fs::read(device.data().join("identity/a/key.pem")).expect("acme's key");

    let id = hand_over(&stage, "gw-1", "gw-2").await;
    let found = online(&stage, "zenith", "gw-2").await;
    assert_eq!((&found["status"], &found["hardware"]), (&json!("active"), &json!("r1")));
    assert!(!agent.ended(), "the same process, begun anew");
    let done = state(&stage, &id, "done").await;
    assert_eq!((&done["wiped"], done["told_at"].is_string()), (&json!("confirmed"), true));
    let gone = stage.rest.get("/v1/tenants/acme/devices/gw-1").await;
    assert_eq!((&gone["status"], &gone["certificate"]), (&json!("decommissioned"), &Value::Null));
    let events = stage.rest.get("/v1/tenants/acme/events?device=gw-1").await;
    assert!(!events.to_string().contains("gw-2"), "its name there is zenith's affair");

    assert!(device.folder.join("wiped").exists(), "the owner's handler ran");
    for path in ["led", "leftover"] {
        assert!(!device.data().join(path).exists(), "{path}");
    }
    let places = ["identity/a/key.pem", "identity/b/key.pem"].map(|path| std::fs::read(device.data().join(path)).ok());
    assert!(places.iter().flatten().all(|key| *key != old), "acme's key is gone");
    let handover = || std::fs::read_to_string(device.data().join("handover")).unwrap_or_default();
    wait_for("the end of its token", || handover().contains(r#""phase":"settled""#).then_some(())).await;
    assert!(!handover().contains("fwe_"), "the token is gone too");
    assert!(stage.logs().contains("they count no more"), "nobody of acme's signs for it now");
    let reported = "/v1/tenants/zenith/devices/gw-2/shadow";
    stage.until(reported, |s| (s["state"]["reported"]["firmware"] == "1.0").then_some(())).await;
    assert!(stage.rest.get(reported).await["state"]["reported"]["led"].is_null(), "what acme wanted is forgotten");

    // Another start with the same command line, which names acme's device: it is where it went.
    drop(agent);
    let path = "/v1/tenants/zenith/devices/gw-2";
    stage.until(path, |found| (found["presence"] == "offline").then_some(())).await;
    let _agent = device.start();
    online(&stage, "zenith", "gw-2").await;
}

#[tokio::test]
async fn a_device_that_cannot_wipe_itself_stays_until_it_can_or_is_called_off() {
    let stage = Stage::new().await;
    let device = configured(&stage, "exit 7").await;
    let agent = device.start();
    online(&stage, "acme", "gw-1").await;
    let id = hand_over(&stage, "gw-1", "gw-2").await;
    wait_for("its refusal", || stage.logs().contains("its handler failed with exit status: 7").then_some(())).await;
    let waiting = state(&stage, &id, "wiping").await;
    assert!(waiting["told_at"].is_string() && waiting["wiped"].is_null());
    assert_eq!(stage.rest.get("/v1/tenants/acme/devices/gw-1").await["status"], "active");

    stage.rest.delete(&format!("{TRANSFERS}/{id}")).await;
    device.handler("wipe", "true");
    drop(agent);
    let _agent = device.start();
    online(&stage, "acme", "gw-1").await;
    let shadow = "/v1/tenants/acme/devices/gw-1/shadow";
    stage.until(shadow, |s| (s["state"]["reported"]["led"] == "acme's").then_some(())).await;
    assert!(!device.data().join("handover").exists());
}
