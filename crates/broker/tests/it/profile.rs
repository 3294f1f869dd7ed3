//! What AWS does otherwise and a client can tell.

use fleetward_broker::{Message, Profile};
use mqtt_protocol_core::mqtt::packet::Property;

use crate::client::{Client, HelloWill, Said, hello, packet, publish, publish_with, subscribe, text, varint};
use crate::house::{House, tenant};

async fn aws() -> House {
    let house = House::new().await;
    *house.rules.profile.lock() = Profile::Aws;
    house
}

#[tokio::test]
async fn a_5_0_client_is_told_what_there_is_not() {
    let house = aws().await;
    let mut asked = hello(true, "one");
    asked.keep_alive = 10;
    let client = Client::connect(&house, "acme/one", asked).await;
    let told = |wanted: fn(&Property) -> Option<u32>| client.connack_properties.iter().find_map(wanted);
    assert_eq!(told(|p| if let Property::MaximumQos(p) = p { Some(p.val().into()) } else { None }), Some(1));
    let identifiers = |p: &Property| {
        if let Property::SubscriptionIdentifierAvailable(p) = p { Some(p.val().into()) } else { None }
    };
    assert_eq!(told(identifiers), Some(0));
    assert_eq!(told(|p| if let Property::ServerKeepAlive(p) = p { Some(p.val().into()) } else { None }), Some(30));
    assert_eq!(told(|p| if let Property::TopicAliasMaximum(p) = p { Some(p.val().into()) } else { None }), Some(8));
}

#[tokio::test]
async fn qos_2_is_refused() {
    let house = aws().await;
    for v5 in [false, true] {
        let mut client = Client::connect(&house, "acme/one", hello(v5, "one")).await;
        // A subscription gets less than it asked for [MQTT-3.8.4-7].
        client.send(&subscribe(v5, 1, &[("t", 2)])).await;
        client.expect(Said::Suback { packet_id: 1, codes: vec![1] }).await;
        client.send(&publish_with(v5, 0x34, 7, "t", &[], b"x")).await;
        client.expect_end(0x9B).await;
        let mut asked = hello(v5, "two").will("t", "x");
        asked.will = asked.will.map(|will| HelloWill { qos: 2, ..will });
        let (_, code) = Client::try_connect(&house, "acme/two", asked).await;
        assert_eq!(code, if v5 { 0x9B } else { 5 });
    }
}

#[tokio::test]
async fn filters_are_few_and_shallow_and_have_no_identifiers() {
    let house = aws().await;
    let mut client = Client::connect(&house, "acme/one", hello(true, "one")).await;
    let names: Vec<String> = (0..9).map(|n| format!("t/{n}")).collect();
    let filters: Vec<(&str, u8)> = names.iter().map(|name| (name.as_str(), 1)).collect();
    client.send(&subscribe(true, 1, &filters)).await;
    client.expect(Said::Suback { packet_id: 1, codes: vec![0x97; 9] }).await;
    client.send(&subscribe(true, 2, &filters[..8])).await;
    client.expect(Said::Suback { packet_id: 2, codes: vec![1; 8] }).await;
    client.send(&subscribe(true, 3, &[("1/2/3/4/5/6/7/8", 1), ("1/2/3/4/5/6/7/8/9", 1)])).await;
    client.expect(Said::Suback { packet_id: 3, codes: vec![1, 0x8F] }).await;
    client.send(&publish(true, 4, "1/2/3/4/5/6/7/8/9", b"x")).await;
    client.expect_end(0x90).await;
    let mut client = Client::connect(&house, "acme/one", hello(true, "one")).await;
    let mut body = vec![0, 1];
    varint(&mut body, 2);
    body.extend([0x0B, 7]);
    text(&mut body, b"t");
    body.push(1);
    client.send(&packet(0x82, &body)).await;
    client.expect_end(0xA1).await;
}

#[tokio::test]
async fn a_session_holds_fifty_subscriptions() {
    let house = aws().await;
    let mut client = Client::connect(&house, "acme/one", hello(true, "one")).await;
    for n in 0..50 {
        client.subscribe(&format!("t/{n}"), 1).await;
    }
    client.send(&subscribe(true, 1, &[("t/50", 1), ("t/1", 0)])).await;
    client.expect(Said::Suback { packet_id: 1, codes: vec![0x97, 0] }).await;
}

#[tokio::test]
async fn wildcards_bring_nothing_retained_and_no_parent() {
    let house = aws().await;
    for topic in ["a", "a/b"] {
        let message = Message { retain: true, ..Message::new(topic, b"kept") };
        house.broker.publish(&tenant("acme"), message).expect("sent").durable().await.expect("kept");
    }
    let mut client = Client::connect(&house, "acme/one", hello(true, "one").kept()).await;
    client.subscribe("a/#", 1).await;
    client.subscribe("+/b", 1).await;
    client.ping().await;
    client.subscribe("a/b", 1).await;
    assert_eq!(client.take().await.topic, "a/b", "a filter without wildcards does");
    for topic in ["a", "a/c"] {
        house.broker.publish(&tenant("acme"), Message::new(topic, b"now")).expect("sent").forget();
    }
    assert_eq!(client.take().await.topic, "a/c");
    client.ping().await;
    // It stands in the session, also across a restart.
    let house = house.crash().await;
    *house.rules.profile.lock() = Profile::Aws;
    let (mut client, present) = Client::resume(&house, "acme/one", hello(true, "one").kept()).await;
    assert!(present);
    for topic in ["a", "a/d"] {
        house.broker.publish(&tenant("acme"), Message::new(topic, b"now")).expect("sent").forget();
    }
    // What it had acknowledged may come once more: that was not committed.
    let mut came = client.take().await;
    if came.dup {
        came = client.take().await;
    }
    assert_eq!(came.topic, "a/d");
    // By the standard the level above is matched.
    *house.rules.profile.lock() = Profile::Standard;
    let mut other = Client::connect(&house, "acme/two", hello(true, "two")).await;
    other.subscribe("a/#", 1).await;
    assert_eq!((other.take().await.topic, other.take().await.topic), ("a".to_owned(), "a/b".to_owned()));
    house.broker.publish(&tenant("acme"), Message::new("a", b"now")).expect("sent").forget();
    assert_eq!(other.take().await.payload, b"now");
}

#[tokio::test]
async fn a_session_of_3_1_1_lasts_an_hour() {
    let house = aws().await;
    drop(Client::connect(&house, "acme/one", hello(false, "one").kept()).await);
    house.rules.wait_gone("one").await;
    house.pass(std::time::Duration::from_secs(3599));
    assert_eq!(house.broker.stats().sessions, 1);
    house.pass(std::time::Duration::from_secs(2));
    assert_eq!(house.broker.stats().sessions, 0);
}
