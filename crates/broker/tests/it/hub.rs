//! What Azure's messages need: properties in a topic, telling whoever listens, and a say in what is retained.

use fleetward_base::limits;
use fleetward_broker::{Config, MemoryStore, Message, PublishError};

use crate::client::{Client, Said, hello, publish, publish_with};
use crate::house::{House, config, device, tenant};

#[tokio::test]
async fn a_topic_with_properties_may_be_longer_than_others() {
    let config = Config { properties_in_topic: |topic| topic.starts_with("p/"), ..config() };
    let house = House::with(config, MemoryStore::default()).await;
    let mut receiver = Client::connect(&house, "acme/to", hello(true, "to")).await;
    receiver.subscribe("p/#", 1).await;
    let long = format!("p/{}", "x".repeat(limits::MQTT_PROPERTIES_TOPIC_BYTES - 2));
    for v5 in [false, true] {
        let mut sender = Client::connect(&house, "acme/from", hello(v5, "from")).await;
        sender.send(&publish(v5, 1, &long, b"x")).await;
        sender.expect(Said::Puback { packet_id: 1, code: 0 }).await;
        assert_eq!(receiver.take().await.topic, long);
        sender.send(&publish(v5, 2, &format!("{long}x"), b"x")).await;
        if v5 {
            sender.expect_end(0x90).await;
        } else {
            sender.expect(Said::Gone).await;
        }
    }
    let mut other = Client::connect(&house, "acme/from", hello(true, "from")).await;
    other.send(&publish(true, 1, &format!("q{long}"), b"x")).await;
    other.expect_end(0x90).await;
    house.broker.publish(&tenant("acme"), Message::new(&long, b"y")).expect("published").forget();
    assert_eq!(receiver.take().await.payload, b"y");
    let refused = house.broker.publish(&tenant("acme"), Message::new(&format!("q{long}"), b"y"));
    assert_eq!(refused.err(), Some(PublishError::TopicInvalid));
}

#[tokio::test]
async fn whoever_is_there_and_listens_is_told() {
    let house = House::new().await;
    let tell = |topic: &'static str| {
        let told = house.broker.tell(&tenant("acme"), &device("gw"), Message::new(topic, b"x"));
        told.expect("a good message").matched()
    };
    assert_eq!(tell("a/b"), 0, "nobody");
    let mut gw = Client::connect(&house, "acme/gw", hello(true, "gw").kept()).await;
    assert_eq!(tell("a/b"), 0, "it does not listen");
    gw.subscribe("a/#", 1).await;
    let mut neighbour = Client::connect(&house, "acme/other", hello(true, "other")).await;
    neighbour.subscribe("a/#", 1).await;
    assert_eq!((tell("a/b"), tell("b")), (1, 0));
    assert_eq!(house.broker.listens(&tenant("acme"), &device("gw"), "a/b"), Some(true));
    assert_eq!(gw.take().await.topic, "a/b");
    neighbour.ping().await;
    // What it may no longer have it does not get.
    house.rules.denied.lock().push("a/c".to_owned());
    tell("a/c");
    gw.ping().await;
    gw.leave().await;
    house.rules.wait_gone("gw").await;
    assert_eq!(tell("a/b"), 0, "nothing waits for it");
    let listens = |topic: &str| house.broker.listens(&tenant("acme"), &device("gw"), topic);
    assert_eq!((listens("a/b"), listens("b")), (Some(false), None), "it is away and comes back for it");
}

#[tokio::test]
async fn a_service_may_have_what_is_to_be_retained() {
    let house = House::new().await;
    for (v5, name) in [(false, "one"), (true, "two")] {
        let mut client = Client::connect(&house, &format!("acme/{name}"), hello(v5, name)).await;
        client.send(&publish_with(v5, 0x33, 1, "kept/x", &[], name.as_bytes())).await;
        client.expect(Said::Puback { packet_id: 1, code: 0 }).await;
        assert_eq!(client.take().await.topic, "kept/x/accepted");
        client.send(&publish(v5, 2, "kept/x", b"plain")).await;
        client.expect(Said::Puback { packet_id: 2, code: 0 }).await;
    }
    assert_eq!(*house.rules.served.lock(), ["one", "two"], "what is not to be retained is an ordinary message");
    assert_eq!(house.broker.stats().retained, 0);
}
