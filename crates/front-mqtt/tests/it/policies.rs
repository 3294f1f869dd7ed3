//! Topic policies at the door: what they give and take, and that a change reaches who is connected.

use fleetward_app::reconcile::{ends, topic_policies as follow};
use fleetward_app::registry::{amend_device, change_status, device};
use fleetward_app::topic_policies::{
    Because, Question, attach_topic_policy, create_topic_policy, detach_topic_policy, explain_topic,
    update_topic_policy,
};
use fleetward_app::{App, Ctx};
use fleetward_broker::Message;
use fleetward_core::lifecycle::Transition;
use fleetward_core::registry::{DeviceFields, Scalar};
use fleetward_core::topic_policy::{Act, Document, Target};
use fleetward_sim::mqtt::{Options, Version};
use serde_json::{Value, json};

use crate::house::{House, id, tenant, within};

fn document(statements: &Value) -> Document {
    serde_json::from_value(json!({ "statements": statements })).expect("a document")
}

fn plant() -> Document {
    document(&json!([
        { "effect": "allow", "actions": ["publish", "subscribe", "receive"], "topics": ["plants/${attribute:plant}/#"] },
        { "effect": "deny", "actions": ["publish", "subscribe"], "topics": ["plants/+/secret"] }
    ]))
}

async fn make(house: &House, home: &str, name: &str, document: Document, target: Target) {
    create_topic_policy(&house.app, &house.admin, &tenant(home), name, None, document).await.expect("made");
    attach_topic_policy(&house.app, &house.admin, &tenant(home), name, target).await.expect("attached");
}

async fn amend(house: &House, home: &str, name: &str, plant: &str) {
    amend_on(&house.app, &house.admin, home, name, plant).await;
}

async fn amend_on(app: &App, admin: &Ctx, home: &str, name: &str, plant: &str) {
    let home = tenant(home);
    let at = device(app, admin, &home, &id(name)).await.expect("a device").device.revision;
    let attributes = [("plant".to_owned(), Some(Scalar::Text(plant.to_owned())))].into();
    let fields = DeviceFields { attributes, ..DeviceFields::default() };
    amend_device(app, admin, &home, &id(name), at, fields).await.expect("amended");
}

/// Until a change has reached the session, which happens right behind its commit.
async fn until(mut done: impl FnMut() -> bool) {
    within(async {
        let mut ticks = tokio::time::interval(std::time::Duration::from_millis(2));
        while !done() {
            ticks.tick().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_policy_gives_and_takes_by_what_the_registry_knows() {
    let house = House::new().await;
    let (berlin, paris) = (house.enroll("acme", "gw-1", "rev-a").await, house.enroll("acme", "gw-2", "rev-a").await);
    let abroad = house.enroll("zenith", "gw-1", "rev-a").await;
    for (home, name, plant) in [("acme", "gw-1", "berlin"), ("acme", "gw-2", "paris"), ("zenith", "gw-1", "berlin")] {
        amend(&house, home, name, plant).await;
    }
    make(&house, "acme", "plant", plant(), Target::Tenant).await;
    let mut link = house.connect(&berlin, Version::V5).await;
    assert_eq!(
        link.try_subscribe(&["plants/berlin/x", "plants/paris/x", "plants/#", "plants/berlin/#"]).await,
        [1, 0x87, 0x87, 0x87]
    );
    assert_eq!(link.publish("plants/berlin/x", "1").await, 0);
    assert_eq!(link.next().await.0, "plants/berlin/x");
    for denied in ["plants/paris/x", "plants/berlin/secret", "$aws/things/gw-2/shadow/get"] {
        assert_eq!(link.publish(denied, "1").await, 0x87, "{denied}");
    }
    let mut other = house.connect(&paris, Version::V5).await;
    assert_eq!(other.publish("plants/berlin/x", "1").await, 0x87);
    assert_eq!(other.publish("plants/paris/x", "1").await, 0);
    // It holds in its own tenant, where nobody else hears of it.
    let mut abroad = house.connect(&abroad, Version::V5).await;
    assert_eq!(abroad.publish("plants/berlin/x", "1").await, 0x87);
    link.expect_nothing().await;
}

#[tokio::test]
async fn a_change_reaches_who_is_connected() {
    let house = House::new().await;
    let device = house.enroll("acme", "gw-1", "rev-a").await;
    amend(&house, "acme", "gw-1", "berlin").await;
    let mut link = house.connect(&device, Version::V5).await;
    assert_eq!(link.try_subscribe(&["plants/berlin/x"]).await, [0x87]);
    make(&house, "acme", "plant", plant(), Target::Device(id("gw-1"))).await;
    let home = tenant("acme");
    let told = |house: &House| house.broker.principal(&home, &id("gw-1")).and_then(|it| it.topics.read()).is_some();
    until(|| told(&house)).await;
    assert_eq!(link.try_subscribe(&["plants/berlin/x"]).await, [1], "the connection goes on, with more");
    // A device that is moved holds a subscription that is not its own any more.
    amend(&house, "acme", "gw-1", "paris").await;
    assert_eq!(link.ended().await, Some(0x87));
    // Kept in its session, it is not given back.
    let mut link = house.connect(&device, Version::V5).await;
    house.broker.publish(&home, Message::new("plants/berlin/x", b"1")).expect("sent").forget();
    link.expect_nothing().await;
    // What is taken without anything being held ends nothing.
    assert_eq!(link.publish("plants/paris/x", "1").await, 0);
    let (app, admin) = (&house.app, &house.admin);
    detach_topic_policy(app, admin, &home, "plant", &Target::Device(id("gw-1"))).await.expect("detached");
    until(|| !told(&house)).await;
    assert_eq!(link.publish("plants/paris/x", "1").await, 0x87);
}

#[tokio::test]
async fn what_waits_is_held_against_the_rights_of_the_moment() {
    let house = House::new().await;
    let device = house.enroll("acme", "gw-1", "rev-a").await;
    let home = tenant("acme");
    let wide = json!([{ "effect": "allow", "actions": ["subscribe", "receive"], "topics": ["news/#"] }]);
    make(&house, "acme", "news", document(&wide), Target::Tenant).await;
    let options = Options { version: Version::V5, clean: false, session_expiry_secs: 3600, ..Options::default() };
    let mut link = house.connect_as(Some(&device), "gw-1", &options).await;
    link.subscribe(&["news/#"]).await;
    drop(link);
    until(|| !house.broker.connected(&home, &id("gw-1"))).await;
    for topic in ["news/a", "news/secret", "news/b"] {
        house.broker.publish(&home, Message::new(topic, b"1")).expect("sent").durable().await.expect("kept");
    }
    let narrow = json!([
        { "effect": "allow", "actions": ["subscribe", "receive"], "topics": ["news/#"] },
        { "effect": "deny", "actions": ["receive"], "topics": ["news/secret"] }
    ]);
    update_topic_policy(&house.app, &house.admin, &home, "news", document(&narrow), false).await.expect("updated");
    let mut link = house.connect_as(Some(&device), "gw-1", &options).await;
    assert_eq!((link.next().await.0, link.next().await.0), ("news/a".to_owned(), "news/b".to_owned()));
    link.expect_nothing().await;
}

#[tokio::test]
async fn a_policy_keeps_devices_out() {
    let house = House::new().await;
    let device = house.enroll("acme", "gw-1", "rev-a").await;
    let link = house.connect(&device, Version::V5).await;
    let out = document(&json!([{ "effect": "deny", "actions": ["connect"] }]));
    make(&house, "acme", "out", out, Target::Selector(Box::default())).await;
    assert_eq!(link.ended().await, Some(0x87));
    assert_eq!(house.refused(Some(&device), "gw-1", Version::V5).await, 0x87);
    assert_eq!(house.refused(Some(&device), "gw-1", Version::V311).await, 5);
}

#[tokio::test]
async fn what_another_server_changes_is_followed() {
    let (house, other) = House::with_another_server().await;
    let device = house.enroll("acme", "gw-1", "rev-a").await;
    let link = house.connect(&device, Version::V5).await;
    follow::tick(&house.app).await.expect("a store");
    let out = document(&json!([{ "effect": "deny", "actions": ["connect"] }]));
    let admin = other.system("test");
    create_topic_policy(&other, &admin, &tenant("acme"), "out", None, out).await.expect("made");
    attach_topic_policy(&other, &admin, &tenant("acme"), "out", Target::Tenant).await.expect("attached");
    assert_eq!(follow::tick(&house.app).await.expect("a store"), 1);
    assert_eq!(link.ended().await, Some(0x87));
    assert_eq!(follow::tick(&house.app).await.expect("a store"), 0);
}

/// Two servers on one database: the record is changed on the one that the device is not connected to.
#[tokio::test]
async fn a_record_that_another_server_changes_is_followed() {
    let (house, other) = House::with_another_server().await;
    let (gw, neighbour) = (house.enroll("acme", "gw-1", "rev-a").await, house.enroll("acme", "gw-2", "rev-a").await);
    for name in ["gw-1", "gw-2"] {
        amend(&house, "acme", name, "berlin").await;
    }
    make(&house, "acme", "plant", plant(), Target::Tenant).await;
    ends::begin(&house.app).await.expect("it listens");
    let (mut link, mut stays) = (house.connect(&gw, Version::V5).await, house.connect(&neighbour, Version::V5).await);
    assert_eq!(link.publish("plants/berlin/x", "1").await, 0);
    stays.subscribe(&["plants/berlin/y"]).await;
    amend_on(&other, &house.admin, "acme", "gw-1", "paris").await;
    within(async {
        loop {
            ends::tick(&house.app).await.expect("a look");
            if link.publish("plants/paris/x", "1").await == 0 {
                return;
            }
        }
    })
    .await;
    assert_eq!(link.publish("plants/berlin/x", "1").await, 0x87, "the connection goes on, with what holds now");
    assert_eq!(stays.publish("plants/berlin/y", "1").await, 0, "nobody else is touched");
    assert_eq!(stays.next().await.0, "plants/berlin/y");
    // A device that is suspended over there is out here.
    change_status(&other, &house.admin, &tenant("acme"), &id("gw-1"), Transition::Suspend).await.expect("suspended");
    let looking = async {
        loop {
            ends::tick(&house.app).await.expect("a look");
            tokio::task::yield_now().await;
        }
    };
    let ended = tokio::select! { ended = link.ended() => ended, () = looking => unreachable!("it looks for ever") };
    assert_eq!(ended, Some(0x98));
}

#[tokio::test]
async fn what_is_explained_is_what_happens() {
    let house = House::new().await;
    let device = house.enroll("acme", "gw-1", "rev-a").await;
    amend(&house, "acme", "gw-1", "berlin").await;
    make(&house, "acme", "plant", plant(), Target::Device(id("gw-1"))).await;
    let mut link = house.connect(&device, Version::V5).await;
    for (act, topic, because) in [
        (Act::Publish, "devices/gw-1/x", "built-in"),
        (Act::Publish, "plants/berlin/x", "plant 0"),
        (Act::Publish, "plants/berlin/secret", "plant 1"),
        (Act::Publish, "plants/paris/x", "nothing"),
        (Act::Publish, "$aws/things/gw-2/shadow/get", "nothing"),
        (Act::Subscribe, "plants/berlin/#", "plant 1"),
        (Act::Subscribe, "plants/berlin/x", "plant 0"),
        (Act::Subscribe, "$share/g/plants/berlin/y", "plant 0"),
        (Act::Subscribe, "fleet/#", "built-in"),
        (Act::Subscribe, "#", "plant 1"),
    ] {
        let question = Question { device: id("gw-1"), act, topic: topic.to_owned(), serial: None };
        let answer = explain_topic(&house.app, &house.admin, &tenant("acme"), question).await.expect("an answer");
        let told = match &answer.because {
            Because::Statement(by) => format!("{} {}", by.policy, by.statement),
            Because::BuiltIn => "built-in".to_owned(),
            Because::Nothing => "nothing".to_owned(),
            Because::NotAdmitted => "not admitted".to_owned(),
        };
        assert_eq!(told, because, "{act} {topic}");
        let happens = match act {
            Act::Subscribe => link.try_subscribe(&[topic]).await[0] < 0x80,
            _ => link.publish(topic, "1").await < 0x80,
        };
        assert_eq!(answer.allowed, happens, "{act} {topic}");
    }
}
