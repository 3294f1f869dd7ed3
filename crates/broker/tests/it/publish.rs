//! PUBLISH: where it goes, what is answered, and when.

use std::time::Duration;

use fleetward_base::limits;
use fleetward_broker::{Config, EndReason, MemoryStore, Message, Nack, Overload, PublishError, Qos, Rate, Reason};

use crate::client::{Client, Got, Said, hello, publish, publish_with, subscribe};
use crate::house::{House, Told, config, device, tenant, within};

#[tokio::test]
async fn from_each_version_to_each() {
    let house = House::new().await;
    for from in [false, true] {
        for to in [false, true] {
            let mut receiver = Client::connect(&house, "acme/to", hello(to, "to")).await;
            receiver.send(&subscribe(to, 9, &[("q0", 0), ("q1", 1), ("q2", 2)])).await;
            receiver.expect(Said::Suback { packet_id: 9, codes: vec![0, 1, 2] }).await;
            let mut sender = Client::connect(&house, "acme/from", hello(from, "from")).await;
            for (packet_id, topic, qos) in [(0, "q0", 0), (1, "q0", 0), (0, "q1", 0), (2, "q1", 1), (3, "q2", 1)] {
                sender.send(&publish(from, packet_id, topic, topic.as_bytes())).await;
                if packet_id != 0 {
                    sender.expect(Said::Puback { packet_id, code: 0 }).await;
                }
                let got = receiver.take().await;
                let expected =
                    Got { topic: topic.into(), payload: topic.into(), qos, packet_id: got.packet_id, ..Got::default() };
                assert_eq!(got, expected);
                assert_eq!(got.packet_id == 0, qos == 0);
            }
            sender.leave().await;
            receiver.leave().await;
        }
    }
}

#[tokio::test]
async fn tenants_hear_nothing_of_each_other() {
    let house = House::new().await;
    let mut here = Client::connect(&house, "acme/one", hello(true, "one")).await;
    let mut there = Client::connect(&house, "umbra/one", hello(true, "one")).await;
    for client in [&mut here, &mut there] {
        client.subscribe("#", 1).await;
    }
    here.send(&publish_with(true, 0x33, 1, "t", &[], b"x")).await;
    assert!(matches!(here.next().await, Said::Puback { .. } | Said::Publish(_)));
    assert!(matches!(here.next().await, Said::Puback { .. } | Said::Publish(_)));
    there.ping().await;
    // Nor of what is retained.
    there.subscribe("+", 1).await;
    there.ping().await;
    house.broker.publish(&tenant("umbra"), Message::new("t", b"y")).expect("routed").forget();
    assert_eq!(there.take().await.payload, b"y");
    here.ping().await;
}

#[tokio::test]
async fn the_puback_waits_for_the_commit() {
    let house = House::new().await;
    for v5 in [false, true] {
        let mut keeper = Client::connect(&house, "acme/keeper", hello(v5, "keeper").kept()).await;
        keeper.subscribe("t", 1).await;
        keeper.leave().await;
        let mut sender = Client::connect(&house, "acme/from", hello(v5, "from")).await;
        house.store.hold();
        for packet_id in 1..=3 {
            sender.send(&publish(v5, packet_id, "t", b"x")).await;
        }
        // A message that nobody keeps would be answered at once, but not before those that came first.
        sender.send(&publish(v5, 4, "nobody", b"x")).await;
        sender.ping().await;
        house.store.release();
        for packet_id in 1..=4 {
            sender.expect(Said::Puback { packet_id, code: 0 }).await;
        }
        let (mut keeper, present) = Client::resume(&house, "acme/keeper", hello(v5, "keeper").kept()).await;
        assert!(present);
        for _ in 0..3 {
            assert_eq!(keeper.take().await.payload, b"x");
        }
        keeper.ping().await;
        house.broker.forget(&tenant("acme"), &device("keeper")).await.expect("forgotten");
    }
}

#[tokio::test]
async fn what_is_not_committed_is_not_acknowledged() {
    let house = House::new().await;
    let mut keeper = Client::connect(&house, "acme/keeper", hello(true, "keeper").kept()).await;
    keeper.subscribe("t", 1).await;
    keeper.leave().await;
    house.rules.wait_gone("keeper").await;
    house.pass(Duration::from_secs(1));
    let mut new = Client::connect(&house, "acme/new", hello(true, "new")).await;
    let mut old = Client::connect(&house, "acme/old", hello(false, "old")).await;
    house.store.fail();
    new.send(&publish(true, 1, "t", b"lost")).await;
    new.expect(Said::Puback { packet_id: 1, code: 0x83 }).await;
    old.send(&publish(false, 1, "t", b"lost")).await;
    old.expect(Said::Gone).await;
    house.store.release();
    new.publish(2, "t", "kept").await;
    let after = house.crash().await;
    let (mut keeper, present) = Client::resume(&after, "acme/keeper", hello(true, "keeper").kept()).await;
    assert!(present);
    assert_eq!(keeper.take().await.payload, b"kept");
    keeper.ping().await;
}

#[tokio::test]
async fn a_failed_commit_leaves_a_hole_that_nobody_falls_into() {
    let house = House::new().await;
    let mut keeper = Client::connect(&house, "acme/keeper", hello(true, "keeper").kept()).await;
    keeper.subscribe("t", 1).await;
    keeper.leave().await;
    house.rules.wait_gone("keeper").await;
    let mut sender = Client::connect(&house, "acme/from", hello(true, "from")).await;
    for (packet_id, fails) in [(1, false), (2, true), (3, false), (4, true)] {
        if fails {
            house.store.fail()
        } else {
            house.store.release()
        }
        sender.send(&publish(true, packet_id, "t", &[packet_id as u8])).await;
        let code = if fails { 0x83 } else { 0 };
        sender.expect(Said::Puback { packet_id, code }).await;
    }
    house.store.release();
    let (mut keeper, _) = Client::resume(&house, "acme/keeper", hello(true, "keeper").kept()).await;
    assert_eq!(keeper.take().await.payload, [1]);
    assert_eq!(keeper.take().await.payload, [3]);
    sender.publish(5, "t", "5").await;
    assert_eq!(keeper.take().await.payload, b"5");
    keeper.ping().await;
    assert_eq!(house.broker.stats().queued_bytes, 0);
}

#[tokio::test]
async fn without_the_right_nothing_is_published() {
    let house = House::new().await;
    let mut watcher = Client::connect(&house, "acme/watcher", hello(true, "watcher")).await;
    watcher.subscribe("#", 1).await;
    let mut new = Client::connect(&house, "acme/new", hello(true, "new")).await;
    for topic in ["forbidden/x", "$SYS/x", "$aws/things/other/shadow/get", "$aws/things/new"] {
        new.send(&publish(true, 1, topic, b"x")).await;
        new.expect(Said::Puback { packet_id: 1, code: 0x87 }).await;
        new.send(&publish(true, 0, topic, b"x")).await;
        new.ping().await;
        let mut old = Client::connect(&house, "acme/old", hello(false, "old")).await;
        old.send(&publish(false, 1, topic, b"x")).await;
        old.expect(Said::Gone).await;
    }
    // No retained message on reserved topics.
    new.send(&publish_with(true, 0x33, 1, "$aws/things/new/echo", &[], b"x")).await;
    new.expect(Said::Puback { packet_id: 1, code: 0x87 }).await;
    watcher.ping().await;
}

#[tokio::test]
async fn properties_go_along() {
    let house = House::new().await;
    let mut receiver = Client::connect(&house, "acme/to", hello(true, "to")).await;
    let mut old = Client::connect(&house, "acme/old", hello(false, "old")).await;
    receiver.subscribe("t", 1).await;
    old.subscribe("t", 1).await;
    let mut sender = Client::connect(&house, "acme/from", hello(true, "from")).await;
    let mut properties = vec![0x02, 0, 0, 0, 60, 0x03, 0, 4];
    properties.extend(b"text");
    sender.send(&publish_with(true, 0x32, 1, "t", &properties, b"x")).await;
    sender.expect(Said::Puback { packet_id: 1, code: 0 }).await;
    let got = receiver.take().await;
    assert_eq!((got.expiry, got.content_type.as_deref(), got.payload.as_slice()), (Some(60), Some("text"), &b"x"[..]));
    assert_eq!(old.take().await.payload, b"x");
}

#[tokio::test]
async fn what_has_expired_is_not_delivered() {
    let house = House::new().await;
    let mut keeper = Client::connect(&house, "acme/keeper", hello(true, "keeper").kept()).await;
    keeper.subscribe("t", 1).await;
    keeper.leave().await;
    let mut sender = Client::connect(&house, "acme/from", hello(true, "from")).await;
    for (packet_id, secs) in [(1, 10), (2, 100)] {
        sender.send(&publish_with(true, 0x32, packet_id, "t", &[0x02, 0, 0, 0, secs], b"x")).await;
        sender.expect(Said::Puback { packet_id, code: 0 }).await;
    }
    house.pass(Duration::from_secs(30));
    let (mut keeper, _) = Client::resume(&house, "acme/keeper", hello(true, "keeper").kept()).await;
    assert_eq!(keeper.take().await.expiry, Some(70));
    keeper.ping().await;
    assert_eq!(house.broker.stats().discarded, 1);
}

/// CVE-2018-12546, CVE-2021-34434: rights that have gone since.
#[tokio::test]
async fn rights_are_asked_again_at_delivery() {
    let house = House::new().await;
    let mut keeper = Client::connect(&house, "acme/keeper", hello(true, "keeper").kept()).await;
    keeper.subscribe("#", 1).await;
    keeper.leave().await;
    let mut sender = Client::connect(&house, "acme/from", hello(true, "from")).await;
    for (packet_id, topic) in [(1, "secret/a"), (2, "open")] {
        sender.publish(packet_id, topic, "x").await;
    }
    house.rules.denied.lock().push("secret/".into());
    let (mut keeper, _) = Client::resume(&house, "acme/keeper", hello(true, "keeper").kept()).await;
    assert_eq!(keeper.take().await.topic, "open");
    keeper.ping().await;
}

#[tokio::test]
async fn a_full_queue_refuses_and_says_so() {
    let small = Config { queue_bytes: 1000, ..config() };
    let house = House::with(small, MemoryStore::default()).await;
    let mut keeper = Client::connect(&house, "acme/keeper", hello(true, "keeper").kept()).await;
    keeper.subscribe("t", 1).await;
    keeper.leave().await;
    let mut other = Client::connect(&house, "acme/other", hello(true, "other")).await;
    let mut new = Client::connect(&house, "acme/new", hello(true, "new")).await;
    let mut sent = 0;
    loop {
        sent += 1;
        new.send(&publish(true, sent, "t", &[0; 100])).await;
        match new.next().await {
            Said::Puback { code: 0, .. } => assert!(sent < 100),
            Said::Puback { code: 0x97, .. } => break,
            said => panic!("{said:?}"),
        }
    }
    house.rules.wait_for(|t| *t == Told::QueueFull { device: "keeper".into() }).await;
    let refused = house.broker.publish(&tenant("acme"), Message::new("t", &[0; 100])).map(|r| r.matched());
    assert_eq!(refused, Err(PublishError::QueueFull));
    let mut old = Client::connect(&house, "acme/old", hello(false, "old")).await;
    old.send(&publish(false, 1, "t", &[0; 100])).await;
    old.expect(Said::Gone).await;
    // With more than one receiver nobody has it, so that it can be sent again.
    other.subscribe("t", 1).await;
    new.send(&publish(true, 99, "t", &[0; 100])).await;
    new.expect(Said::Puback { packet_id: 99, code: 0x97 }).await;
    other.ping().await;
    // What was accepted is there, and then there is room again.
    let (mut keeper, _) = Client::resume(&house, "acme/keeper", hello(true, "keeper").kept()).await;
    for _ in 1..sent {
        keeper.take().await;
    }
    keeper.ping().await;
    new.publish(100, "t", "room").await;
    assert_eq!(keeper.take().await.payload, b"room");
    assert_eq!(house.broker.stats().refused_full, 4);
}

#[tokio::test]
async fn services_answer_and_are_acknowledged_in_order() {
    let house = House::new().await;
    for v5 in [false, true] {
        let mut client = Client::connect(&house, "acme/one", hello(v5, "one")).await;
        client.send(&publish(v5, 1, "$aws/things/one/slow", b"1")).await;
        client.send(&publish(v5, 2, "$aws/things/one/echo", b"2")).await;
        client.send(&publish(v5, 3, "nobody", b"3")).await;
        assert_eq!(client.take().await.topic, "$aws/things/one/echo/accepted");
        client.ping().await;
        house.rules.slow.add_permits(1);
        let mut said = vec![client.next().await, client.next().await, client.next().await, client.next().await];
        said.retain(|s| !matches!(s, Said::Publish(got) if got.topic == "$aws/things/one/slow/accepted"));
        assert_eq!(said, [1, 2, 3].map(|packet_id| Said::Puback { packet_id, code: 0 }));
        client.shout(&[0xE0, 0]).await;
    }
}

#[tokio::test]
async fn a_service_that_cannot_is_not_acknowledged() {
    let house = House::new().await;
    let mut new = Client::connect(&house, "acme/new", hello(true, "new")).await;
    new.send(&publish(true, 1, "$aws/things/new/broken", b"")).await;
    new.expect(Said::Puback { packet_id: 1, code: 0x83 }).await;
    let mut old = Client::connect(&house, "acme/old", hello(false, "old")).await;
    old.send(&publish(false, 1, "$aws/things/old/broken", b"")).await;
    old.expect(Said::Gone).await;
}

/// What was asked is done, though the asker has gone.
#[tokio::test]
async fn a_request_outlives_its_connection() {
    let house = House::new().await;
    let mut client = Client::connect(&house, "acme/one", hello(true, "one")).await;
    client.send(&publish(true, 0, "$aws/things/one/slow", b"last wish")).await;
    client.leave().await;
    house.rules.wait_gone("one").await;
    house.rules.slow.add_permits(1);
    within("the wish", async {
        while house.rules.served.lock().is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    within("the drain", house.broker.drain()).await;
}

#[tokio::test]
async fn too_many_requests_wait_or_are_answered() {
    let house = House::new().await;
    let many = u16::try_from(limits::SERVICE_REQUESTS_IN_FLIGHT).expect("few");
    let mut client = Client::connect(&house, "acme/one", hello(true, "one")).await;
    let requests: Vec<u8> =
        (1..=many + 5).flat_map(|n| publish(true, n, "$aws/things/one/slow", &n.to_be_bytes())).collect();
    client.send(&requests).await;
    client.send(&[0xC0, 0]).await;
    // The ping waits behind the requests that wait.
    house.rules.slow.add_permits(usize::from(many) + 5);
    let (mut acks, mut pings) = (0, 0);
    while acks < many + 5 || pings == 0 {
        match client.next().await {
            Said::Puback { packet_id, code: 0 } => {
                acks += 1;
                assert_eq!(packet_id, acks);
            }
            Said::Publish(got) => client.ack(got.packet_id).await,
            Said::Pingresp => pings += 1,
            said => panic!("{said:?}"),
        }
    }
    for (answer, code) in [(Overload::Answered, 0), (Overload::Refuse(Nack::Quota), 0x97)] {
        *house.rules.overload.lock() = answer;
        client.send(&requests).await;
        client.ping_among_others().await;
        house.rules.slow.add_permits(usize::from(many));
        let mut codes = Vec::new();
        while codes.len() < usize::from(many) + 5 {
            match client.next().await {
                Said::Puback { code, .. } => codes.push(code),
                Said::Publish(got) => client.ack(got.packet_id).await,
                said => panic!("{said:?}"),
            }
        }
        let mut expected = vec![0; usize::from(many)];
        expected.extend([code; 5]);
        assert_eq!(codes, expected);
    }
}

#[tokio::test]
async fn the_server_publishes() {
    let house = House::new().await;
    let acme = tenant("acme");
    let mut keeper = Client::connect(&house, "acme/keeper", hello(true, "keeper").kept()).await;
    keeper.subscribe("t", 1).await;
    keeper.leave().await;
    house.rules.wait_gone("keeper").await;
    let mut live = Client::connect(&house, "acme/live", hello(false, "live")).await;
    live.subscribe("t", 0).await;
    house.store.hold();
    let receipt = house.broker.publish(&acme, Message::new("t", b"1")).expect("routed");
    assert_eq!(receipt.matched(), 2);
    assert_eq!(live.take().await.payload, b"1");
    house.store.release();
    within("the commit", receipt.durable()).await.expect("durable");
    house.broker.publish(&acme, Message::new("t", b"2").qos(Qos::AtMostOnce)).expect("routed").forget();
    assert_eq!(live.take().await.payload, b"2");
    // To one, subscribed or not, and not asked whether it may.
    let to = |name: &str, text: &'static [u8]| {
        house.broker.publish_to(&acme, &device(name), Message::new("$aws/things/live/x", text)).expect("sent")
    };
    to("live", b"3").forget();
    let got = live.take().await;
    assert_eq!((got.topic.as_str(), got.qos), ("$aws/things/live/x", 1));
    within("the commit", to("keeper", b"4").durable()).await.expect("durable");
    assert_eq!(to("nobody", b"5").matched(), 0);
    let after = house.crash().await;
    let (mut keeper, _) = Client::resume(&after, "acme/keeper", hello(true, "keeper").kept()).await;
    assert_eq!(keeper.take().await.payload, b"1");
    assert_eq!(keeper.take().await.payload, b"4");
    keeper.ping().await;
    let bad = |message| after.broker.publish(&acme, message).map(|r| r.matched());
    assert_eq!(bad(Message::new("a/+", b"")), Err(PublishError::TopicInvalid));
    assert_eq!(bad(Message::new("a", &vec![0; limits::MQTT_PAYLOAD_BYTES + 1])), Err(PublishError::TooLarge));
}

#[tokio::test]
async fn no_more_in_flight_than_the_client_takes() {
    let house = House::new().await;
    let mut slow = hello(true, "slow");
    slow.receive_maximum = Some(3);
    let mut slow = Client::connect(&house, "acme/slow", slow).await;
    slow.subscribe("t", 1).await;
    let mut sender = Client::connect(&house, "acme/from", hello(true, "from")).await;
    for n in 1..=10 {
        sender.publish(n, "t", &n.to_string()).await;
    }
    let first: Vec<_> = [slow.expect_publish().await, slow.expect_publish().await, slow.expect_publish().await].into();
    slow.ping().await;
    // Out of order: the window opens all the same.
    slow.ack(first[2].packet_id).await;
    slow.ack(first[1].packet_id).await;
    slow.ping().await;
    slow.ack(first[0].packet_id).await;
    for n in 4..=10 {
        assert_eq!(slow.take().await.payload, n.to_string().into_bytes());
    }
    slow.ping().await;
}

#[tokio::test]
async fn too_large_for_the_client_is_as_if_sent() {
    let house = House::new().await;
    let mut small = hello(true, "small");
    small.max_packet = Some(100);
    let mut small = Client::connect(&house, "acme/small", small).await;
    small.subscribe("t", 1).await;
    let mut sender = Client::connect(&house, "acme/from", hello(true, "from")).await;
    sender.publish(1, "t", &"x".repeat(100)).await;
    sender.publish(2, "t", "small").await;
    assert_eq!(small.take().await.payload, b"small");
}

#[tokio::test]
async fn more_than_the_receive_maximum_ends_it() {
    let house = House::new().await;
    let mut keeper = Client::connect(&house, "acme/keeper", hello(true, "keeper").kept()).await;
    keeper.subscribe("t", 1).await;
    let mut sender = Client::connect(&house, "acme/from", hello(true, "from")).await;
    house.store.hold();
    for n in 1..=limits::MQTT_IN_FLIGHT + 1 {
        sender.send(&publish(true, n, "t", b"x")).await;
    }
    sender.expect_end(0x93).await;
    house.store.release();
    // 3.1.1 knows no such limit: reading pauses instead.
    let mut old = Client::connect(&house, "acme/old", hello(false, "old")).await;
    house.store.hold();
    for n in 1..=1000 {
        old.send(&publish(false, n, "t", b"x")).await;
    }
    house.store.release();
    for packet_id in 1..=1000 {
        old.expect(Said::Puback { packet_id, code: 0 }).await;
    }
}

#[tokio::test]
async fn the_publish_rate_is_held_by_not_reading() {
    let slow = Config { publish_messages: Some(Rate { per_second: 10, burst: 20 }), ..config() };
    let house = House::with(slow, MemoryStore::default()).await;
    let mut client = Client::connect(&house, "acme/one", hello(true, "one")).await;
    // One batch may go into debt.
    client.send(&(1..=50).flat_map(|n| publish(true, n, "t", b"x")).collect::<Vec<_>>()).await;
    for packet_id in 1..=50 {
        client.expect(Said::Puback { packet_id, code: 0 }).await;
    }
    client.send(&publish(true, 51, "t", b"x")).await;
    for _ in 0..12 {
        assert_eq!(house.broker.stats().received, 50);
        house.pass(Duration::from_millis(250));
        tokio::task::yield_now().await;
    }
    house.pass(Duration::from_millis(250));
    client.expect(Said::Puback { packet_id: 51, code: 0 }).await;
}

#[tokio::test]
async fn who_does_not_read_loses_qos_0_and_then_the_connection() {
    let small = Config { outbound_bytes: 10_000, write_stall: Duration::from_secs(10), ..config() };
    let house = House::with(small, MemoryStore::default()).await;
    let mut deaf = Client::new(house.dial_with("acme/deaf", 256), true);
    deaf.send(&hello(true, "deaf").bytes()).await;
    deaf.expect(Said::Connack { session_present: false, code: 0 }).await;
    deaf.subscribe("t", 1).await;
    let mut sender = Client::connect(&house, "acme/from", hello(true, "from")).await;
    for _ in 0..2000 {
        sender.send(&publish(true, 0, "t", &[0; 100])).await;
    }
    sender.ping().await;
    assert!(house.broker.stats().dropped_qos0 > 0);
    // QoS 1 is not dropped: the session has no store, so the connection ends.
    sender.publish(1, "t", &"x".repeat(200)).await;
    assert_eq!(house.rules.wait_gone("deaf").await, EndReason::SlowReader);
    assert_eq!(house.broker.stats().slow_readers, 1);
}

#[tokio::test]
async fn who_takes_nothing_is_out_after_the_stall() {
    let stall = Config { write_stall: Duration::from_secs(10), ..config() };
    let house = House::with(stall, MemoryStore::default()).await;
    let mut deaf = Client::new(house.dial_with("acme/deaf", 256), true);
    deaf.send(&hello(true, "deaf").kept().bytes()).await;
    deaf.expect(Said::Connack { session_present: false, code: 0 }).await;
    deaf.subscribe("t", 1).await;
    let mut sender = Client::connect(&house, "acme/from", hello(true, "from")).await;
    sender.publish(1, "t", &"x".repeat(1000)).await;
    for _ in 0..9 {
        house.pass(Duration::from_secs(1));
        sender.ping().await;
    }
    assert!(house.broker.connected(&tenant("acme"), &device("deaf")));
    house.pass(Duration::from_secs(1));
    assert_eq!(house.rules.wait_gone("deaf").await, EndReason::SlowReader);
    // The message is not lost.
    let (mut deaf, present) = Client::resume(&house, "acme/deaf", hello(true, "deaf").kept()).await;
    assert!(present);
    let got = deaf.take().await;
    assert_eq!((got.payload.len(), got.dup), (1000, true));
}

/// A slow reader with a store is served from it when memory is full.
#[tokio::test]
async fn memory_is_bounded_and_the_store_goes_on() {
    let small = Config { outbound_bytes: 2000, ..config() };
    let house = House::with(small, MemoryStore::default()).await;
    let mut keeper = Client::new(house.dial_with("acme/keeper", 512), true);
    keeper.send(&hello(true, "keeper").kept().bytes()).await;
    keeper.expect(Said::Connack { session_present: false, code: 0 }).await;
    keeper.subscribe("t", 1).await;
    let mut sender = Client::connect(&house, "acme/from", hello(true, "from")).await;
    for n in 1..=507u16 {
        sender.publish(n, "t", &format!("{n:0>100}")).await;
    }
    for n in 1..=507 {
        assert_eq!(keeper.take().await.payload, format!("{n:0>100}").into_bytes());
    }
    keeper.ping().await;
    house.pass(Duration::from_secs(1));
    assert_eq!(house.broker.stats().queued_bytes, 0);
    assert!(house.broker.kick(&tenant("acme"), &device("keeper"), Reason::AdministrativeAction));
}
