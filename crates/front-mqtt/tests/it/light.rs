//! The light mode over MQTT, and messages that a device publishes by HTTPS under the same rules.

use fleetward_app::shadow::{self, ShadowKey, Via};
use fleetward_app::{DeviceMessage, Principal, PublishRefused};
use fleetward_broker::Message;
use fleetward_core::access::DeviceRights;
use fleetward_sim::mqtt::Version;
use serde_json::{Value, json};

use crate::house::{House, id, tenant, within};

const DESIRED: &str = "devices/gw-1/config/desired";
const REPORTED: &str = "devices/gw-1/config/reported";

fn config() -> ShadowKey {
    ShadowKey { device: id("gw-1"), name: "config".to_owned() }
}

async fn want(house: &House, desired: Value) {
    let payload = json!({ "state": { "desired": desired } }).to_string();
    let (acme, key) = (tenant("acme"), config());
    let done = shadow::update(&house.app, &house.admin, &acme, &key, payload.as_bytes(), Via::Call);
    done.await.expect("accepted");
}

async fn state(house: &House) -> Value {
    let view = shadow::get(&house.app, &house.admin, &tenant("acme"), &config()).await.expect("there");
    view.document.state.to_value()
}

#[tokio::test]
async fn a_client_that_knows_mqtt_keeps_its_configuration() {
    let house = House::new().await;
    let gw = house.enroll("acme", "gw-1", "rev-a").await;
    want(&house, json!({"interval": 60})).await;
    for version in [Version::V311, Version::V5] {
        let mut link = house.connect(&gw, version).await;
        link.subscribe(&[DESIRED, "devices/gw-1/config/rejected"]).await;
        assert_eq!(link.next().await, (DESIRED.to_owned(), json!({"interval": 60})), "it waits for it");
        want(&house, json!({"interval": 30})).await;
        assert_eq!(link.next().await, (DESIRED.to_owned(), json!({"interval": 30})));

        assert_eq!(link.publish(REPORTED, r#"{"interval":30,"note":"x"}"#).await, 0);
        let both = json!({"desired": {"interval": 30}, "reported": {"interval": 30, "note": "x"}});
        assert_eq!(state(&house).await, both, "acknowledged means kept");
        assert_eq!(link.publish(REPORTED, "{nonsense").await, 0);
        let refused = link.expect("config/rejected").await;
        assert_eq!((&refused["code"], &refused["message"]), (&json!(400), &json!("Invalid JSON")));
        assert_eq!(state(&house).await, both);
        link.expect_nothing().await;
        drop(link);
        want(&house, json!({"interval": 60})).await;
    }
    // What it reports is retained too, for whoever looks.
    let mut link = house.connect(&gw, Version::V5).await;
    link.subscribe(&["devices/gw-1/config/#"]).await;
    let mut both = [link.next().await, link.next().await];
    both.sort_by(|one, other| one.0.cmp(&other.0));
    assert_eq!(both[0], (DESIRED.to_owned(), json!({"interval": 60})));
    assert_eq!(both[1], (REPORTED.to_owned(), json!({"interval": 30, "note": "x"})));
}

/// A will is published in the name of its device, and goes the way of what the device publishes.
#[tokio::test]
async fn a_will_on_what_is_reported_is_a_report() {
    let house = House::new().await;
    let gw = house.enroll("acme", "gw-1", "rev-a").await;
    want(&house, json!({"interval": 60})).await;
    let link = house.connect_with_will(&gw, REPORTED, r#"{"online":false}"#, true).await;
    drop(link);
    let both = json!({"desired": {"interval": 60}, "reported": {"online": false}});
    within(async {
        while state(&house).await != both {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let mut link = house.connect(&gw, Version::V5).await;
    link.subscribe(&[REPORTED]).await;
    assert_eq!(link.next().await, (REPORTED.to_owned(), json!({"online": false})), "the server retains it");
}

#[tokio::test]
async fn what_is_wanted_is_not_the_devices_to_say() {
    let house = House::new().await;
    let (gw, neighbour) = (house.enroll("acme", "gw-1", "rev-a").await, house.enroll("acme", "gw-2", "rev-a").await);
    let namesake = house.enroll("zenith", "gw-1", "rev-a").await;
    want(&house, json!({"interval": 60})).await;
    let mut link = house.connect(&gw, Version::V5).await;
    assert_eq!(link.publish(DESIRED, r#"{"interval":1}"#).await, 0x87);
    assert_eq!(link.publish("devices/gw-1/config/rejected", "{}").await, 0x87);
    let mut link = house.connect(&neighbour, Version::V5).await;
    assert_eq!(link.publish(REPORTED, "{}").await, 0x87);
    assert_eq!(link.try_subscribe(&[DESIRED]).await, [0x87]);
    // A device of that name elsewhere has another shadow.
    let mut link = house.connect(&namesake, Version::V5).await;
    link.subscribe(&["devices/gw-1/config/#"]).await;
    assert_eq!(link.publish(REPORTED, r#"{"x":1}"#).await, 0);
    assert_eq!(link.next().await, (REPORTED.to_owned(), json!({"x": 1})));
    link.expect_nothing().await;
    assert_eq!(state(&house).await, json!({"desired": {"interval": 60}}));
}

#[tokio::test]
async fn what_is_retained_is_held_against_the_database() {
    let house = House::new().await;
    let gw = house.enroll("acme", "gw-1", "rev-a").await;
    want(&house, json!({"interval": 60})).await;
    let stale = Message { retain: true, ..Message::new(DESIRED, br#"{"interval":1}"#) };
    house.broker.publish(&tenant("acme"), stale).expect("published").forget();
    let mut link = house.connect(&gw, Version::V5).await;
    link.subscribe(&[DESIRED]).await;
    assert_eq!(link.next().await.1, json!({"interval": 1}));
    assert_eq!(link.next().await.1, json!({"interval": 60}), "the database has the last word");
}

#[tokio::test]
async fn a_message_by_https_has_the_rules_of_a_message_by_mqtt() {
    let house = House::new().await;
    let gw = house.enroll("acme", "gw-1", "rev-a").await;
    let links = house.app.links().expect("the broker runs");
    let device = Principal::Device {
        tenant: tenant("acme"),
        device: id("gw-1"),
        serial: "00".to_owned(),
        rights: DeviceRights::Full,
    };
    let message = |topic: &str, payload: &'static str, retain| DeviceMessage {
        topic: topic.to_owned(),
        payload: payload.into(),
        qos: 1,
        retain,
    };
    let mut link = house.connect(&gw, Version::V5).await;
    link.subscribe(&["shared/#", "$aws/things/gw-1/shadow/update/accepted"]).await;
    links.publish_as(&device, message("shared/x", r#"{"a":1}"#, false)).await.expect("published");
    assert_eq!(link.next().await, ("shared/x".to_owned(), json!({"a": 1})));
    // A service hears it, and answers where it always does.
    let update = message("$aws/things/gw-1/shadow/update", r#"{"state":{"reported":{"a":1}}}"#, false);
    links.publish_as(&device, update).await.expect("taken");
    assert_eq!(link.expect("update/accepted").await["version"], json!(1));
    links.publish_as(&device, message(REPORTED, r#"{"b":2}"#, true)).await.expect("taken");
    assert_eq!(state(&house).await, json!({"reported": {"b": 2}}));

    for (topic, retain, refused) in [
        ("devices/gw-2/x", false, PublishRefused::NotAuthorized),
        ("fleet/x", false, PublishRefused::NotAuthorized),
        (DESIRED, false, PublishRefused::NotAuthorized),
        ("$aws/things/gw-2/shadow/update", false, PublishRefused::NotAuthorized),
        ("$aws/things/gw-1/shadow/update/accepted", false, PublishRefused::NotAuthorized),
        ("$aws/things/gw-1/shadow/update", true, PublishRefused::NotAuthorized),
        ("$SYS/x", false, PublishRefused::NotAuthorized),
        ("shared/+", false, PublishRefused::TopicInvalid),
    ] {
        assert_eq!(links.publish_as(&device, message(topic, "{}", retain)).await, Err(refused), "{topic}");
    }
    let operator = house.admin.principal.clone();
    let found = links.publish_as(&operator, message("shared/x", "{}", false)).await;
    assert_eq!(found, Err(PublishRefused::NotAuthorized));

    // What is retained is read under the same rules, and by its own tenant.
    links.publish_as(&device, message("shared/kept", "1", true)).await.expect("published");
    links.publish_as(&device, message("devices/gw-1/kept", "2", true)).await.expect("published");
    let topics = async |device: &Principal| {
        links.retained_for(device, "", 10).await.into_iter().map(|it| it.topic).collect::<Vec<_>>()
    };
    assert_eq!(topics(&device).await, [REPORTED, "devices/gw-1/kept", "shared/kept"]);
    let other = |home: &str| Principal::Device {
        tenant: tenant(home),
        device: id("gw-2"),
        serial: "00".to_owned(),
        rights: DeviceRights::Full,
    };
    assert_eq!(topics(&other("acme")).await, ["shared/kept"]);
    assert!(topics(&other("zenith")).await.is_empty());
    assert!(!links.may_receive(&other("acme"), "devices/gw-1/kept").await);
}
