//! SUBSCRIBE, UNSUBSCRIBE, retained messages and what their options mean.

use std::time::Duration;

use fleetward_base::limits;
use fleetward_broker::{Config, MemoryStore};

use crate::client::{Client, Said, hello, packet, publish_with, subscribe, text, unsubscribe};
use crate::house::{House, Told, config, device, tenant};

#[tokio::test]
async fn what_may_not_be_subscribed_is_refused_and_the_session_stays() {
    let house = House::new().await;
    let filters = [
        ("ok", 1),
        ("forbidden/x", 1),
        ("a#", 0),
        ("", 0),
        ("$share/g/forbidden/x", 1),
        ("$aws/things/other/#", 1),
        ("$SYS/#", 0),
    ];
    for v5 in [false, true] {
        let mut client = Client::connect(&house, "acme/one", hello(v5, "one")).await;
        client.send(&subscribe(v5, 7, &filters)).await;
        let codes =
            if v5 { vec![1, 0x87, 0x8F, 0x8F, 0x87, 0x87, 0x87] } else { vec![1, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80] };
        client.expect(Said::Suback { packet_id: 7, codes }).await;
        client.ping().await;
        assert_eq!(house.broker.stats().subscriptions, 1);
        client.leave().await;
        house.rules.wait_gone("one").await;
        house.rules.told.lock().clear();
    }
}

#[tokio::test]
async fn a_session_has_so_many_subscriptions() {
    let house = House::new().await;
    let mut client = Client::connect(&house, "acme/one", hello(true, "one")).await;
    let names: Vec<String> = (0..=limits::MQTT_SUBSCRIPTIONS).map(|n| format!("t{n}")).collect();
    for name in &names[..limits::MQTT_SUBSCRIPTIONS] {
        client.subscribe(name, 1).await;
    }
    client.send(&subscribe(true, 1, &[(&names[limits::MQTT_SUBSCRIPTIONS], 1), ("t0", 0)])).await;
    client.expect(Said::Suback { packet_id: 1, codes: vec![0x97, 0] }).await;
    let many: Vec<(&str, u8)> =
        names.iter().take(limits::MQTT_FILTERS_PER_SUBSCRIBE + 1).map(|n| (n.as_str(), 0)).collect();
    client.send(&subscribe(true, 2, &many)).await;
    client.expect(Said::Suback { packet_id: 2, codes: vec![0x97; many.len()] }).await;
}

#[tokio::test]
async fn the_suback_waits_for_the_commit() {
    let house = House::new().await;
    let mut client = Client::connect(&house, "acme/one", hello(true, "one").kept()).await;
    house.store.hold();
    client.send(&subscribe(true, 1, &[("t", 1)])).await;
    client.ping().await;
    assert!(!house.rules.told.lock().iter().any(|t| matches!(t, Told::Subscribed { .. })));
    house.store.release();
    client.expect(Said::Suback { packet_id: 1, codes: vec![1] }).await;
    let subscribed = Told::Subscribed { device: "one".into(), filters: vec!["t".into()] };
    house.rules.wait_for(|t| *t == subscribed).await;
    let after = house.crash().await;
    assert_eq!(after.broker.stats().subscriptions, 1);
}

#[tokio::test]
async fn a_subscription_that_cannot_be_kept_is_not_made() {
    let house = House::new().await;
    let mut client = Client::connect(&house, "acme/one", hello(true, "one").kept()).await;
    client.subscribe("old", 1).await;
    house.store.fail();
    client.send(&subscribe(true, 1, &[("new", 1), ("old", 0), ("forbidden/x", 0)])).await;
    client.expect(Said::Suback { packet_id: 1, codes: vec![0x80, 0x80, 0x87] }).await;
    house.store.release();
    house.pass(Duration::from_secs(1));
    client.subscribe("other", 1).await;
    assert_eq!(house.broker.stats().subscriptions, 2);
    assert_eq!(house.crash().await.broker.stats().subscriptions, 2);
}

#[tokio::test]
async fn unsubscribed_is_silence_also_after_a_restart() {
    let house = House::new().await;
    for v5 in [false, true] {
        let mut client = Client::connect(&house, "acme/one", hello(v5, "one").kept()).await;
        client.subscribe("a", 1).await;
        client.subscribe("b/+", 1).await;
        client.send(&unsubscribe(v5, 3, &["a", "never"])).await;
        let codes = if v5 { vec![0, 0x11] } else { vec![] };
        client.expect(Said::Unsuback { packet_id: 3, codes }).await;
        let mut sender = Client::connect(&house, "acme/from", hello(true, "from")).await;
        sender.publish(1, "a", "x").await;
        sender.publish(2, "b/c", "y").await;
        assert_eq!(client.take().await.payload, b"y");
        client.ping().await;
        assert_eq!(house.crash().await.broker.stats().subscriptions, 1);
        house.broker.forget(&tenant("acme"), &device("one")).await.expect("forgotten");
        assert_eq!(house.broker.stats().subscriptions, 0);
    }
}

#[tokio::test]
async fn options_of_5_0() {
    let house = House::new().await;
    let mut one = Client::connect(&house, "acme/one", hello(true, "one")).await;
    let mut two = Client::connect(&house, "acme/two", hello(true, "two")).await;
    // No local for one, retain as published for two.
    one.send(&subscribe(true, 1, &[("t", 0x05)])).await;
    one.expect(Said::Suback { packet_id: 1, codes: vec![1] }).await;
    two.send(&subscribe(true, 1, &[("t", 0x09)])).await;
    two.expect(Said::Suback { packet_id: 1, codes: vec![1] }).await;
    one.send(&publish_with(true, 0x33, 5, "t", &[], b"x")).await;
    one.expect(Said::Puback { packet_id: 5, code: 0 }).await;
    one.ping().await;
    assert!(two.take().await.retain);
}

#[tokio::test]
async fn overlapping_filters_bring_one_copy_at_the_higher_qos() {
    let house = House::new().await;
    let mut one = Client::connect(&house, "acme/one", hello(true, "one")).await;
    one.send(&subscribe(true, 1, &[("a/b", 0), ("a/+", 1), ("#", 0)])).await;
    one.expect(Said::Suback { packet_id: 1, codes: vec![0, 1, 0] }).await;
    let mut sender = Client::connect(&house, "acme/from", hello(true, "from")).await;
    sender.publish(1, "a/b", "x").await;
    assert_eq!(one.take().await.qos, 1);
    one.ping().await;
}

#[tokio::test]
async fn retained_messages_are_durable_and_can_be_cleared() {
    let house = House::new().await;
    let mut sender = Client::connect(&house, "acme/from", hello(true, "from")).await;
    house.store.hold();
    sender.send(&publish_with(true, 0x33, 1, "a/x", &[], b"1")).await;
    sender.ping().await;
    house.store.release();
    sender.expect(Said::Puback { packet_id: 1, code: 0 }).await;
    for (id, topic, payload) in [(2, "a/y", "2"), (3, "b", "3"), (4, "a/x", "1b"), (5, "b", "")] {
        sender.send(&publish_with(true, 0x33, id, topic, &[], payload.as_bytes())).await;
        sender.expect(Said::Puback { packet_id: id, code: 0 }).await;
    }
    for house in [&house, &house.crash().await] {
        assert_eq!(house.broker.stats().retained, 2);
        let mut one = Client::connect(house, "acme/one", hello(true, "one")).await;
        one.subscribe("#", 1).await;
        let got = [one.take().await, one.take().await];
        assert_eq!(
            got.each_ref().map(|g| (g.topic.as_str(), g.payload.as_slice(), g.retain)),
            [("a/x", &b"1b"[..], true), ("a/y", b"2", true)]
        );
        one.ping().await;
        // Once subscribed, the flag is gone.
        let mut again = Client::connect(house, "acme/again", hello(true, "again")).await;
        again.send(&publish_with(true, 0x33, 1, "a/x", &[], b"1b")).await;
        assert!(!one.take().await.retain);
    }
}

#[tokio::test]
async fn retain_handling() {
    let house = House::new().await;
    let mut sender = Client::connect(&house, "acme/from", hello(true, "from")).await;
    sender.send(&publish_with(true, 0x31, 0, "t", &[], b"x")).await;
    sender.ping().await;
    let mut one = Client::connect(&house, "acme/one", hello(true, "one")).await;
    for (handling, comes) in [(0x10, true), (0x10, false), (0x20, false), (0x00, true)] {
        one.send(&subscribe(true, 1, &[("t", handling)])).await;
        one.expect(Said::Suback { packet_id: 1, codes: vec![0] }).await;
        if comes {
            assert_eq!(one.take().await.payload, b"x");
        }
        one.ping().await;
    }
}

#[tokio::test]
async fn retained_messages_expire_and_are_bounded() {
    let small = Config { retained_bytes: 100, ..config() };
    let house = House::with(small, MemoryStore::default()).await;
    let mut sender = Client::connect(&house, "acme/from", hello(true, "from")).await;
    sender.send(&publish_with(true, 0x33, 1, "t", &[0x02, 0, 0, 0, 10], &[0; 90])).await;
    sender.expect(Said::Puback { packet_id: 1, code: 0 }).await;
    sender.send(&publish_with(true, 0x33, 2, "u", &[], &[0; 90])).await;
    sender.expect(Said::Puback { packet_id: 2, code: 0x97 }).await;
    house.pass(Duration::from_secs(11));
    assert_eq!(house.broker.stats().retained, 0);
    sender.send(&publish_with(true, 0x33, 3, "u", &[], &[0; 90])).await;
    sender.expect(Said::Puback { packet_id: 3, code: 0 }).await;
    let mut one = Client::connect(&house, "acme/one", hello(true, "one")).await;
    one.subscribe("#", 0).await;
    assert_eq!(one.take().await.topic, "u");
    one.ping().await;
}

/// CVE-2018-12546: retained by somebody, wanted by one who has lost the right.
#[tokio::test]
async fn a_retained_message_needs_the_right_of_now() {
    let house = House::new().await;
    let mut sender = Client::connect(&house, "acme/from", hello(true, "from")).await;
    sender.send(&publish_with(true, 0x31, 0, "secret/a", &[], b"x")).await;
    sender.ping().await;
    house.rules.denied.lock().push("secret/".into());
    let mut one = Client::connect(&house, "acme/one", hello(true, "one")).await;
    one.subscribe("#", 1).await;
    one.ping().await;
}

#[tokio::test]
async fn a_kept_session_brings_retained_messages_durably() {
    let house = House::new().await;
    let mut sender = Client::connect(&house, "acme/from", hello(true, "from")).await;
    sender.send(&publish_with(true, 0x33, 1, "t", &[], b"x")).await;
    sender.expect(Said::Puback { packet_id: 1, code: 0 }).await;
    let mut one = Client::connect(&house, "acme/one", hello(true, "one").kept()).await;
    one.subscribe("t", 1).await;
    let first = one.expect_publish().await;
    assert!(first.retain);
    house.pass(Duration::from_secs(1));
    sender.publish(2, "other", "x").await;
    let (mut one, _) = Client::resume(&house, "acme/one", hello(true, "one").kept()).await;
    let again = one.take().await;
    assert_eq!((again.packet_id, again.dup, again.retain), (first.packet_id, true, true));
}

fn subscribe_as(identifier: u8, filter: &str, options: u8) -> Vec<u8> {
    let mut body = vec![0, 1, 2, 0x0B, identifier];
    text(&mut body, filter.as_bytes());
    body.push(options);
    packet(0x82, &body)
}

#[tokio::test]
async fn a_message_carries_the_identifier_of_its_subscription() {
    let house = House::new().await;
    let mut one = Client::connect(&house, "acme/one", hello(true, "one").kept()).await;
    for (identifier, filter) in [(5, "t"), (6, "t"), (7, "+"), (9, "kept/#")] {
        one.send(&subscribe_as(identifier, filter, 1)).await;
        one.expect(Said::Suback { packet_id: 1, codes: vec![1] }).await;
    }
    let mut sender = Client::connect(&house, "acme/from", hello(true, "from")).await;
    sender.publish(1, "t", "x").await;
    // Two subscriptions that overlap: a copy for each, with its own. The newer identifier of a filter counts.
    let mut seen = [one.take().await, one.take().await].map(|got| got.identifier);
    seen.sort();
    assert_eq!(seen, [Some(6), Some(7)]);
    // Also after the session waited in the store, and with what is retained.
    one.leave().await;
    house.rules.wait_gone("one").await;
    sender.publish(2, "kept/x", "away").await;
    let after = house.crash().await;
    let (mut one, present) = Client::resume(&after, "acme/one", hello(true, "one").kept()).await;
    assert!(present);
    let got = one.take().await;
    assert_eq!((got.payload, got.identifier), (b"away".to_vec(), Some(9)));
    let mut sender = Client::connect(&after, "acme/from", hello(true, "from")).await;
    sender.send(&publish_with(true, 0x33, 1, "still", &[], b"here")).await;
    sender.expect(Said::Puback { packet_id: 1, code: 0 }).await;
    assert_eq!(one.take().await.identifier, Some(7));
    one.send(&subscribe_as(4, "still", 1)).await;
    one.expect(Said::Suback { packet_id: 1, codes: vec![1] }).await;
    let got = one.take().await;
    assert_eq!((got.retain, got.identifier), (true, Some(4)));
}

#[tokio::test]
async fn an_identifier_of_nothing_is_an_error() {
    let house = House::new().await;
    for properties in [&[2, 0x0B, 0][..], &[4, 0x0B, 1, 0x0B, 2]] {
        let mut client = Client::connect(&house, "acme/one", hello(true, "one")).await;
        let mut body = vec![0, 1];
        body.extend(properties);
        text(&mut body, b"t");
        body.push(0);
        client.send(&packet(0x82, &body)).await;
        client.expect_end(0x82).await;
        house.rules.wait_gone("one").await;
    }
}

#[tokio::test]
async fn a_shared_subscription_gives_each_message_to_one() {
    let house = House::new().await;
    let mut members = Vec::new();
    for (name, v5) in [("one", true), ("two", false), ("three", true)] {
        let mut member = Client::connect(&house, &format!("acme/{name}"), hello(v5, name)).await;
        member.subscribe("$share/g/t/+", 1).await;
        members.push(member);
    }
    let mut alone = Client::connect(&house, "acme/alone", hello(true, "alone")).await;
    alone.subscribe("$share/other/t/#", 1).await;
    alone.subscribe("t/x", 1).await;
    let mut sender = Client::connect(&house, "acme/from", hello(true, "from")).await;
    for n in 1..=9 {
        sender.publish(n, "t/x", &n.to_string()).await;
    }
    for member in &mut members {
        for _ in 0..3 {
            member.take().await;
        }
        member.ping().await;
    }
    // For its group and for itself.
    for _ in 0..18 {
        alone.take().await;
    }
    alone.ping().await;
}

#[tokio::test]
async fn who_is_away_gets_no_share_while_another_is_there() {
    let house = House::new().await;
    let mut away = Client::connect(&house, "acme/away", hello(true, "away").kept()).await;
    let mut here = Client::connect(&house, "acme/here", hello(true, "here").kept()).await;
    away.subscribe("$share/g/t", 1).await;
    here.subscribe("$share/g/t", 1).await;
    away.leave().await;
    house.rules.wait_gone("away").await;
    let mut sender = Client::connect(&house, "acme/from", hello(true, "from")).await;
    for n in 1..=4 {
        sender.publish(n, "t", "x").await;
        here.take().await;
    }
    here.leave().await;
    house.rules.wait_gone("here").await;
    // Nobody is there: it waits for one of them, also through a crash.
    sender.publish(5, "t", "kept").await;
    let after = house.crash().await;
    let (mut away, _) = Client::resume(&after, "acme/away", hello(true, "away").kept()).await;
    let (mut here, _) = Client::resume(&after, "acme/here", hello(true, "here").kept()).await;
    let mut sender = Client::connect(&after, "acme/from", hello(true, "from")).await;
    sender.publish(6, "t", "last").await;
    let mut seen = 0;
    for member in [&mut away, &mut here] {
        member.send(&[0xC0, 0]).await;
        loop {
            match member.next().await {
                Said::Publish(got) => {
                    member.ack(got.packet_id).await;
                    seen += 1;
                }
                Said::Pingresp => break,
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(seen, 2);
    away.send(&unsubscribe(true, 3, &["$share/g/t", "$share/h/t"])).await;
    away.expect(Said::Unsuback { packet_id: 3, codes: vec![0, 0x11] }).await;
    assert_eq!(after.broker.stats().subscriptions, 1);
}

/// `$share` does not lead around the rules: what it shares is what counts, also when the right goes later.
#[tokio::test]
async fn to_share_is_no_right() {
    let house = House::new().await;
    let mut client = Client::connect(&house, "acme/one", hello(true, "one").kept()).await;
    let filters = [("$share/g/forbidden/x", 0), ("$share/g/a#", 0), ("$share/g/t", 1)];
    client.send(&subscribe(true, 1, &filters)).await;
    client.expect(Said::Suback { packet_id: 1, codes: vec![0x87, 0x8F, 1] }).await;
    // Nothing that is retained comes by it.
    client.send(&publish_with(true, 0x31, 0, "t", &[], b"kept")).await;
    assert_eq!(client.take().await.payload, b"kept");
    client.subscribe("$share/g/t", 1).await;
    client.ping().await;
    client.leave().await;
    house.rules.wait_gone("one").await;
    house.rules.denied.lock().push("t".into());
    Client::resume(&house, "acme/one", hello(true, "one").kept()).await;
    assert_eq!(house.broker.stats().subscriptions, 0);
    // [MQTT-3.8.3-4].
    let mut client = Client::connect(&house, "acme/two", hello(true, "two")).await;
    client.send(&subscribe(true, 1, &[("$share/g/a", 0x05)])).await;
    client.expect_end(0x82).await;
}
