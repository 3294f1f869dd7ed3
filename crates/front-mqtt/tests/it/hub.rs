//! A device that speaks as one of Azure's IoT Hub.

use std::collections::BTreeMap;
use std::time::Duration;

use fleetward_app::Error;
use fleetward_app::hub::{NewCall, NewMessage, Outcome, call_method, send_message};
use fleetward_app::journal::{JournalFilter, events};
use fleetward_app::shadow::{self, ShadowKey, Via};
use fleetward_base::limits;
use fleetward_sim::mqtt::{Options, Version};
use serde_json::{Value, json};

use crate::house::{Device, House, Link, id, tenant, within};

const TWIN: &str = "$iothub/twin/res/#";
const CHANGES: &str = "$iothub/twin/PATCH/properties/desired/#";
const METHODS: &str = "$iothub/methods/POST/#";
const MESSAGES: &str = "devices/gw-1/messages/devicebound/#";

fn as_hub(device: &str) -> Options {
    let username = Some(format!("localhost/{device}/?api-version=2019-10-01&DeviceClientType=test%2F1"));
    // As Azure's SDK: it wants its session kept.
    Options { version: Version::V311, clean: false, username, ..Options::default() }
}

async fn connect(house: &House, device: &Device) -> Link {
    house.connect_as(Some(device), &device.name, &as_hub(&device.name)).await
}

async fn desired(house: &House, home: &str, patch: &Value) {
    let key = ShadowKey::classic(id("gw-1"));
    let payload = json!({ "state": { "desired": patch } }).to_string();
    shadow::update(&house.app, &house.admin, &tenant(home), &key, payload.as_bytes(), Via::Call)
        .await
        .expect("updated");
}

#[tokio::test]
async fn the_twin_is_the_shadow() {
    let house = House::new().await;
    let gw = house.enroll("acme", "gw-1", "rev-a").await;
    let mut link = connect(&house, &gw).await;
    link.subscribe(&[TWIN]).await;
    link.publish("$iothub/twin/GET/?$rid=1", " ").await;
    let (topic, twin) = link.next().await;
    assert_eq!(topic, "$iothub/twin/res/200/?$rid=1");
    assert_eq!(twin, json!({ "desired": { "$version": 1 }, "reported": { "$version": 1 } }));
    link.publish("$iothub/twin/PATCH/properties/reported/?$rid=2", r#"{"fan":{"rpm":900},"old":1}"#).await;
    assert_eq!(link.next().await.0, "$iothub/twin/res/204/?$rid=2&$version=2");
    link.publish("$iothub/twin/PATCH/properties/reported/?$rid=3", r#"{"old":null}"#).await;
    assert_eq!(link.next().await.0, "$iothub/twin/res/204/?$rid=3&$version=3");
    // Nothing was said of changes before this: it did not listen.
    desired(&house, "acme", &json!({ "interval": 5 })).await;
    link.subscribe(&[CHANGES]).await;
    desired(&house, "acme", &json!({ "interval": null, "mode": "eco" })).await;
    let (topic, change) = link.next().await;
    assert_eq!(topic, "$iothub/twin/PATCH/properties/desired/?$version=5");
    assert_eq!(change, json!({ "interval": null, "mode": "eco", "$version": 5 }));
    link.publish("$iothub/twin/GET/?$rid=4", "").await;
    let wanted =
        json!({ "desired": { "mode": "eco", "$version": 5 }, "reported": { "fan": { "rpm": 900 }, "$version": 5 } });
    assert_eq!(link.next().await.1, wanted);
    for (bad, code) in [("{", 400), ("[]", 400), (r#"{"$version":1}"#, 400), (r#"{"a":[null]}"#, 400)] {
        link.publish("$iothub/twin/PATCH/properties/reported/?$rid=x", bad).await;
        assert_eq!(link.next().await.0, format!("$iothub/twin/res/{code}/?$rid=x"), "{bad}");
    }
    let big = json!({ "a": "x".repeat(limits::SHADOW_STATE_BYTES) }).to_string();
    link.publish("$iothub/twin/PATCH/properties/reported/?$rid=y", &big).await;
    assert_eq!(link.next().await.0, "$iothub/twin/res/400/?$rid=y");
    link.expect_nothing().await;
}

#[tokio::test]
async fn a_burst_of_requests_is_answered() {
    let house = House::new().await;
    let gw = house.enroll("acme", "gw-1", "rev-a").await;
    let mut link = connect(&house, &gw).await;
    link.subscribe(&[TWIN]).await;
    link.publish_all("$iothub/twin/GET/?$rid=1", &vec![String::new(); 60]).await;
    for _ in 0..60 {
        let (topic, _) = link.next().await;
        assert!(["$iothub/twin/res/200/?$rid=1", "$iothub/twin/res/429/?$rid=1"].contains(&topic.as_str()), "{topic}");
    }
}

#[tokio::test]
async fn who_is_in_and_as_whom() {
    let house = House::new().await;
    let gw = house.enroll("acme", "gw-1", "rev-a").await;
    for name in ["localhost/gw-2/?api-version=1", "localhost/gw-1/module/?api-version=1"] {
        let options = Options { username: Some(name.to_owned()), ..as_hub("gw-1") };
        assert_eq!(house.refused_as(Some(&gw), "gw-1", &options).await, 5, "{name}");
    }
    // A shared access signature lets nobody in, however good it may be.
    let password = Some("SharedAccessSignature sr=localhost%2Fdevices%2Fgw-1&sig=YQ%3D%3D&se=1995171980".to_owned());
    let options = Options { password, ..as_hub("gw-1") };
    assert_eq!(house.refused_as(None, "gw-1", &options).await, 5);
    house.connect_as(Some(&gw), "gw-1", &options).await;
}

#[tokio::test]
async fn a_message_that_is_to_be_retained_says_so_and_is_not() {
    let house = House::new().await;
    let gw = house.enroll("acme", "gw-1", "rev-a").await;
    for version in [Version::V311, Version::V5] {
        let mut link = house.connect(&gw, version).await;
        link.subscribe(&["devices/gw-1/messages/events/#"]).await;
        link.publish("devices/gw-1/messages/events/a=1", "{}").await;
        assert_eq!(link.next().await.0, "devices/gw-1/messages/events/a=1");
        link.retain("devices/gw-1/messages/events/%24.ct=a%2Fb", "{}").await;
        assert_eq!(link.next().await.0, "devices/gw-1/messages/events/%24.ct=a%2Fb&mqtt-retain=true");
        let long = format!("devices/gw-1/messages/events/a={}", "x".repeat(2000));
        link.publish(&long, "{}").await;
        assert_eq!(link.next().await.0, long);
    }
    assert_eq!(house.broker.stats().retained, 0);
}

fn call(name: &str) -> NewCall {
    NewCall { name: name.to_owned(), payload: json!({ "delay": 5 }), deadline: Some(Duration::from_secs(1)) }
}

#[tokio::test]
async fn a_device_is_called_and_answers() {
    let house = House::new().await;
    let (app, admin, acme, gw_1) = (&house.app, &house.admin, tenant("acme"), id("gw-1"));
    let gw = house.enroll("acme", "gw-1", "rev-a").await;
    let absent = call_method(app, admin, &acme, &gw_1, call("reboot")).await;
    assert!(matches!(absent, Err(Error::NotFound { .. })), "{absent:?}");
    let mut link = connect(&house, &gw).await;
    let deaf = call_method(app, admin, &acme, &gw_1, call("reboot")).await;
    assert!(matches!(deaf, Err(Error::NotFound { .. })), "{deaf:?}");
    link.subscribe(&[METHODS]).await;
    let calling = call_method(app, admin, &acme, &gw_1, call("reboot"));
    let answering = async {
        let (topic, body) = link.next().await;
        assert_eq!(body, json!({ "delay": 5 }));
        let rid = topic.strip_prefix("$iothub/methods/POST/reboot/?$rid=").expect("a call").to_owned();
        // What is not the answer to this call is passed over.
        link.publish("$iothub/methods/res/500/?$rid=other", "{}").await;
        link.publish(&format!("$iothub/methods/res/202/?$rid={rid}"), r#"{"in":5}"#).await;
        link.publish(&format!("$iothub/methods/res/500/?$rid={rid}"), r#"{"late":1}"#).await;
    };
    let (outcome, ()) = tokio::join!(calling, answering);
    assert_eq!(outcome.expect("called"), Outcome::Answered { status: 202, payload: r#"{"in":5}"#.into() });
    // One that says nothing.
    let silent = within(call_method(app, admin, &acme, &gw_1, call("sleep"))).await;
    assert_eq!(silent.expect("called"), Outcome::Silent);
    link.next().await;
    for bad in [call("a b"), NewCall { deadline: Some(Duration::from_secs(301)), ..call("x") }] {
        let refused = call_method(app, admin, &acme, &gw_1, bad).await;
        assert!(matches!(refused, Err(Error::Invalid { .. })), "{refused:?}");
    }
    let seen = methods_in_journal(&house).await;
    assert_eq!(seen, ["method.called", "method.answered answered", "method.called", "method.answered silent"]);
}

/// What the journal says of methods.
async fn methods_in_journal(house: &House) -> Vec<String> {
    let filter = JournalFilter { action: Some("method.".to_owned()), ..JournalFilter::default() };
    let rows = events(&house.app, &house.admin, &tenant("acme"), filter, None, 1000).await.expect("a page");
    rows.into_iter()
        .rev()
        .map(|event| event.entry)
        .map(|entry| match entry.detail.get("outcome").and_then(Value::as_str) {
            Some(outcome) => format!("{} {outcome}", entry.action),
            None => entry.action.to_string(),
        })
        .collect()
}

#[tokio::test]
async fn a_message_waits_for_its_device() {
    let house = House::new().await;
    let (app, admin, acme, gw_1) = (&house.app, &house.admin, tenant("acme"), id("gw-1"));
    let gw = house.enroll("acme", "gw-1", "rev-a").await;
    let message = |text: &str| NewMessage {
        payload: text.to_owned().into(),
        properties: BTreeMap::from([("level".to_owned(), "a&b=c".to_owned())]),
        message_id: Some("m-1".to_owned()),
        ttl: Some(Duration::from_secs(60)),
        ..NewMessage::default()
    };
    let refused = send_message(app, admin, &acme, &gw_1, message("early")).await;
    assert!(matches!(refused, Err(Error::Conflict { code: "nobody-listens", .. })), "{refused:?}");
    let mut link = connect(&house, &gw).await;
    link.subscribe(&[MESSAGES]).await;
    assert!(send_message(app, admin, &acme, &gw_1, message("{}")).await.expect("sent").connected);
    let (topic, _) = link.next().await;
    let until = house.app.now().plus(Duration::from_secs(60)).to_string().replace(':', "%3A");
    let wanted = format!(
        "devices/gw-1/messages/devicebound/%24.mid=m-1&%24.to=%2Fdevices%2Fgw-1%2Fmessages%2Fdevicebound&%24.exp={until}&level=a%26b%3Dc"
    );
    assert_eq!(topic, wanted);
    drop(link);
    house.gone("acme", "gw-1").await;
    for text in ["1", "2"] {
        assert!(!send_message(app, admin, &acme, &gw_1, message(text)).await.expect("sent").connected);
    }
    let mut link = connect(&house, &gw).await;
    assert_eq!((link.next().await.1, link.next().await.1), (json!(1), json!(2)));
    for (name, bad) in [
        ("ttl", NewMessage { ttl: Some(limits::HUB_MESSAGE_TTL * 2), ..message("x") }),
        ("reserved", NewMessage { properties: BTreeMap::from([("$.mid".to_owned(), String::new())]), ..message("x") }),
        ("control", NewMessage { content_type: Some("a\nb".to_owned()), ..message("x") }),
    ] {
        let refused = send_message(app, admin, &acme, &gw_1, bad).await;
        assert!(matches!(refused, Err(Error::Invalid { .. })), "{name}: {refused:?}");
    }
    let big = NewMessage { payload: vec![b'x'; limits::HUB_MESSAGE_BYTES + 1].into(), ..message("x") };
    assert!(matches!(send_message(app, admin, &acme, &gw_1, big).await, Err(Error::TooLarge { .. })));
    link.expect_nothing().await;
}

#[tokio::test]
async fn another_tenants_device_hears_nothing() {
    let house = House::new().await;
    let (here, abroad) = (house.enroll("acme", "gw-1", "rev-a").await, house.enroll("zenith", "gw-1", "rev-a").await);
    let (mut here, mut abroad) = (connect(&house, &here).await, connect(&house, &abroad).await);
    for link in [&mut here, &mut abroad] {
        link.subscribe(&[TWIN, CHANGES, METHODS, MESSAGES]).await;
    }
    let (app, admin, acme) = (&house.app, &house.admin, tenant("acme"));
    desired(&house, "acme", &json!({ "a": 1 })).await;
    assert!(here.next().await.0.starts_with("$iothub/twin/PATCH/"));
    let message = NewMessage { payload: "{}".into(), ..NewMessage::default() };
    send_message(app, admin, &acme, &id("gw-1"), message).await.expect("sent");
    assert!(here.next().await.0.starts_with("devices/gw-1/messages/devicebound/"));
    let gw_1 = id("gw-1");
    let calling = call_method(app, admin, &acme, &gw_1, call("reboot"));
    let answering = async {
        let (topic, _) = here.next().await;
        let rid = topic.rsplit('=').next().expect("a number").to_owned();
        // Its namesake abroad knows the number, and is not asked.
        abroad.publish(&format!("$iothub/methods/res/200/?$rid={rid}"), "{}").await;
        abroad.expect_nothing().await;
    };
    let (outcome, ()) = tokio::join!(calling, answering);
    assert_eq!(outcome.expect("called"), Outcome::Silent);
    abroad.publish("$iothub/twin/GET/?$rid=1", "").await;
    assert_eq!(abroad.next().await.1["desired"], json!({ "$version": 1 }));
    here.expect_nothing().await;
}
