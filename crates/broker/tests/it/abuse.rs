//! What no honest client sends. Each class of broker vulnerabilities that has had a number has a test here or is named
//! beside the rule that covers it.

use std::time::Duration;

use fleetward_base::limits;
use fleetward_broker::{EndReason, Reason};

use crate::client::{Client, Said, hello, packet, publish, publish_with, subscribe, text, unsubscribe, varint};
use crate::house::{House, within};

/// Before CONNECT nothing but a CONNECT of 4 KiB is listened to (CVE-2023-0809, CVE-2017-7651, CVE-2026-25627): the header
/// alone is enough to end it.
#[tokio::test(start_paused = true)]
async fn before_connect() {
    let house = House::new().await;
    let mut too_long = vec![0x10];
    varint(&mut too_long, limits::MQTT_CONNECT_BYTES);
    let five_bytes = vec![0x10, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F];
    let largest = vec![0x10, 0xFF, 0xFF, 0xFF, 0x7F];
    let reserved_bit = packet(0x10, b"\x00\x04MQTT\x04\x03\x00\x3c\x00\x03one");
    let will_qos_3 = packet(0x10, b"\x00\x04MQTT\x04\x1e\x00\x3c\x00\x03one\x00\x01t\x00\x00");
    let qos_without_will = packet(0x10, b"\x00\x04MQTT\x04\x0a\x00\x3c\x00\x03one");
    let mut longer_than_said = hello(false, "one").bytes();
    let last = longer_than_said.len() - 3 - 1;
    longer_than_said[last] = 2;
    for bytes in [
        &too_long,
        &five_bytes,
        &largest,
        &reserved_bit,
        &will_qos_3,
        &qos_without_will,
        &longer_than_said,
        &publish(false, 1, "t", b"x"),
        &subscribe(false, 1, &[("#", 1)]),
        &vec![0xC0, 0],
        &vec![0x11],
        &vec![0x00],
        &packet(0x10, b""),
        &packet(0x10, b"\x00\x04HTTP\x04\x02\x00\x3c\x00\x03one"),
        &b"GET / HTTP/1.1\r\n\r\n".to_vec(),
    ] {
        let mut client = Client::new(house.dial("acme/one"), false);
        client.shout(bytes).await;
        // At once, and not at the deadline.
        assert_eq!(client.until_quiet().await, [Said::Gone], "{bytes:?}");
    }
    assert_eq!(house.broker.stats().sessions, 0);
}

/// Each is an answer with a code where the version has one, and the end.
#[tokio::test]
async fn after_connect() {
    let house = House::new().await;
    let large = {
        let mut header = vec![0x30];
        varint(&mut header, limits::MQTT_PACKET_BYTES);
        header
    };
    let wide = publish(true, 0, "t", &vec![0; limits::MQTT_PAYLOAD_BYTES + 1]);
    let deep = "/".repeat(limits::MQTT_TOPIC_LEVELS);
    let long = "x".repeat(limits::MQTT_TOPIC_BYTES + 1);
    let mut bad_topic = vec![0, 2, 0xC3, 0x28];
    bad_topic.push(0);
    let many_properties: Vec<u8> = (0..3000).flat_map(|_| [0x26, 0, 1, b'a', 0, 1, b'b']).collect();
    for (bytes, code) in [
        // The five-byte length (CVE-2026-21888) and the one that is too long for us.
        (vec![0x30, 0xFF, 0xFF, 0xFF, 0xFF, 0x01], 0x81),
        (large, 0x95),
        (wide, 0x95),
        // Packets that only servers send (CVE-2021-28166), and types and flags that do not exist.
        (vec![0x20, 2, 0, 0], 0x82),
        (vec![0x90, 3, 0, 1, 0], 0x82),
        (vec![0xB0, 2, 0, 1], 0x82),
        (vec![0xD0, 0], 0x82),
        (vec![0x00, 0], 0x81),
        (vec![0xC1, 0], 0x81),
        (vec![0xC0, 1, 0], 0x81),
        (vec![0x36, 0], 0x81),
        (packet(0x80, &[0, 1]), 0x81),
        // A second CONNECT.
        (hello(true, "one").bytes(), 0x82),
        // QoS 2 with flags and identifiers that do not exist.
        (packet(0x60, &[0, 1]), 0x81),
        (packet(0x62, &[0, 0]), 0x81),
        (packet(0x50, &[0]), 0x81),
        (packet(0x71, &[0, 1]), 0x81),
        (packet(0x34, &[0, 1, b't', 0, 0, 0]), 0x81),
        // Topics: empty (CVE-2021-34432), wild, with NUL, not UTF-8, too deep, too long.
        (publish(true, 0, "", b"x"), 0x82),
        (publish(true, 0, "a/+", b"x"), 0x90),
        (publish(true, 0, "#", b"x"), 0x90),
        (publish(true, 0, "a\0b", b"x"), 0x90),
        (publish(true, 0, &deep, b"x"), 0x90),
        (publish(true, 0, &long, b"x"), 0x90),
        (packet(0x30, &bad_topic), 0x81),
        (packet(0x30, &[0, 9, b'a']), 0x81),
        (packet(0x30, &[0]), 0x81),
        (packet(0x30, &[]), 0x81),
        // Identifiers.
        (packet(0x32, &[0, 1, b't', 0, 0, 0]), 0x81),
        (packet(0x32, &[0, 1, b't', 0]), 0x81),
        (packet(0x40, &[0, 0]), 0x81),
        (packet(0x40, &[0]), 0x81),
        // Properties: an alias above the limit, of nothing, 0, twice, unknown, for others, too short, too many.
        (publish_with(true, 0x30, 0, "t", &[0x23, 0, 17], b"x"), 0x94),
        (publish_with(true, 0x30, 0, "", &[0x23, 0, 1], b"x"), 0x82),
        (publish_with(true, 0x30, 0, "t", &[0x23, 0, 0], b"x"), 0x94),
        (publish_with(true, 0x30, 0, "a/+", &[0x23, 0, 1], b"x"), 0x90),
        (publish_with(true, 0x30, 0, "t", &[0x01, 0, 0x01, 0], b"x"), 0x82),
        (publish_with(true, 0x30, 0, "t", &[0x01, 2], b"x"), 0x82),
        (publish_with(true, 0x30, 0, "t", &[0x0B, 1], b"x"), 0x82),
        (publish_with(true, 0x30, 0, "t", &[0x11, 0, 0, 0, 0], b"x"), 0x81),
        (publish_with(true, 0x30, 0, "t", &[0x02, 0], b"x"), 0x81),
        (publish_with(true, 0x30, 0, "t", &many_properties, b"x"), 0x95),
        // SUBSCRIBE and UNSUBSCRIBE without filters, with bad options, with NUL.
        (packet(0x82, &[0, 1, 0]), 0x82),
        (packet(0x82, &[0, 1, 0, 0, 1, b't', 0xC0]), 0x81),
        (packet(0x82, &[0, 1, 0, 0, 1, b't', 3]), 0x81),
        (packet(0x82, &[0, 1, 0, 0, 1, b't']), 0x81),
        (packet(0x82, &[0, 0, 0, 0, 1, b't', 0]), 0x81),
        (subscribe(true, 1, &[("a\0", 0)]), 0x81),
        (packet(0xA2, &[0, 1, 0]), 0x82),
        (unsubscribe(true, 0, &["t"]), 0x81),
        (packet(0x82, &[0; limits::MQTT_PACKET_BYTES / 2]), 0x95),
        // AUTH without a method; a DISCONNECT that is none.
        (packet(0xF0, &[]), 0x82),
        (packet(0xE0, &[0x33]), 0x81),
        (packet(0xE0, &[0, 9]), 0x81),
    ] {
        let mut client = Client::connect(&house, "acme/one", hello(true, "one")).await;
        client.shout(&bytes).await;
        let said = client.next().await;
        assert_eq!(said, Said::Disconnect { code }, "{:?}", &bytes[..bytes.len().min(20)]);
        client.expect(Said::Gone).await;
        let reason = house.rules.wait_gone("one").await;
        assert!(matches!(reason, EndReason::Server(r) if r.code() == code));
        house.rules.told.lock().clear();
    }
}

/// The same for 3.1.1, where the end is all there is to say.
#[tokio::test]
async fn after_connect_in_3_1_1() {
    let house = House::new().await;
    for bytes in [
        vec![0x30, 0xFF, 0xFF, 0xFF, 0xFF, 0x01],
        packet(0x60, &[0, 1]),
        publish(false, 0, "", b"x"),
        publish(false, 0, "a/#", b"x"),
        packet(0x32, &[0, 1, b't', 0, 0]),
        packet(0x40, &[0, 1, 0]),
        packet(0x82, &[0, 1]),
        packet(0x82, &[0, 1, 0, 1, b't', 0x04]),
        packet(0xE0, &[0]),
        packet(0xF0, &[]),
        vec![0x20, 2, 0, 0],
        hello(false, "one").bytes(),
    ] {
        let mut client = Client::connect(&house, "acme/one", hello(false, "one")).await;
        client.shout(&bytes).await;
        client.expect(Said::Gone).await;
        assert!(matches!(house.rules.wait_gone("one").await, EndReason::Server(_)), "{bytes:?}");
        house.rules.told.lock().clear();
    }
}

/// A client id or name with wildcards must not widen a right (CVE-2017-7650): it is no device's name at all.
#[tokio::test]
async fn wildcards_in_names_give_nothing() {
    let house = House::new().await;
    for id in ["+", "#", "$aws", "one/two", "o\0ne"] {
        let (_, code) = Client::try_connect(&house, "acme/one", hello(true, id)).await;
        assert_eq!(code, 0x85, "{id:?}");
    }
}

/// A will's properties are checked like any (CVE-2023-3592).
#[tokio::test]
async fn a_will_with_foreign_properties() {
    let house = House::new().await;
    let mut body = b"\x00\x04MQTT\x05\x06\x00\x3c\x00\x00\x03one".to_vec();
    body.extend([3, 0x23, 0, 1]);
    text(&mut body, b"t");
    text(&mut body, b"x");
    let mut client = Client::new(house.dial("acme/one"), true);
    client.send(&packet(0x10, &body)).await;
    client.expect(Said::Connack { session_present: false, code: 0x82 }).await;
    client.expect(Said::Gone).await;
}

/// A receiver has to end its connection for a NUL in a text ([MQTT-1.5.4-2]), and whoever answers to a response topic with
/// wildcards is put out ([MQTT-3.3.2-14]): a message or a will with such would be a weapon, a retained one again and again.
#[tokio::test]
async fn what_puts_its_receivers_out_is_refused() {
    let house = House::new().await;
    let property = |id: u8, texts: &[&[u8]]| {
        let mut property = vec![id];
        texts.iter().for_each(|of| text(&mut property, of));
        property
    };
    for (property, code) in [
        (property(0x03, &[b"a\0"]), 0x81),
        (property(0x08, &[b"a\0"]), 0x81),
        (property(0x08, &[b"a/+"]), 0x82),
        (property(0x08, &[b"#"]), 0x82),
        (property(0x26, &[b"a\0", b"b"]), 0x81),
        (property(0x26, &[b"a", b"\0"]), 0x81),
    ] {
        let mut client = Client::connect(&house, "acme/one", hello(true, "one")).await;
        client.send(&publish_with(true, 0x31, 0, "t", &property, b"x")).await;
        client.expect_end(code).await;
        let mut body = b"\x00\x04MQTT\x05\x06\x00\x3c\x00\x00\x03one".to_vec();
        varint(&mut body, property.len());
        body.extend(&property);
        text(&mut body, b"t");
        text(&mut body, b"x");
        let mut client = Client::new(house.dial("acme/one"), true);
        client.send(&packet(0x10, &body)).await;
        client.expect(Said::Connack { session_present: false, code }).await;
        client.expect(Said::Gone).await;
    }
    assert_eq!(house.broker.stats().retained, 0);
}

/// After a refusal the socket is closed and not left behind (CVE-2025-56352), even if the peer does not read.
#[tokio::test(start_paused = true)]
async fn a_refused_peer_that_does_not_read() {
    let house = House::new().await;
    let mut stream = house.dial_with("acme/evil", 1);
    let bytes = hello(true, "evil").bytes();
    tokio::io::AsyncWriteExt::write_all(&mut stream, &bytes).await.expect("open");
    house.tracker.close();
    within("the end", house.tracker.wait()).await;
}

/// Whatever the network does to the stream, the packets are the same.
#[tokio::test]
async fn cut_at_every_position() {
    let house = House::new().await;
    for v5 in [false, true] {
        let mut bytes = hello(v5, "one").bytes();
        bytes.extend(subscribe(v5, 1, &[("t/#", 1)]));
        bytes.extend(publish(v5, 2, "t/a", &[7; 200]));
        bytes.extend([0xC0, 0]);
        let last = bytes.len();
        for cut in 1..last {
            let mut client = Client::new(house.dial("acme/one"), v5);
            client.send(&bytes[..cut]).await;
            // Let the broker see the first part alone.
            for _ in 0..5 {
                tokio::task::yield_now().await;
            }
            client.send(&bytes[cut..]).await;
            let mut said = Vec::new();
            for _ in 0..5 {
                said.push(match client.next().await {
                    Said::Connack { code: 0, .. } => "connack",
                    Said::Suback { .. } => "suback",
                    Said::Puback { .. } => "puback",
                    Said::Publish(got) if got.payload == [7; 200] => "publish",
                    Said::Pingresp => "pingresp",
                    other => panic!("cut at {cut}: {other:?}"),
                });
            }
            said.sort_unstable();
            assert_eq!(said, ["connack", "pingresp", "puback", "publish", "suback"], "cut at {cut}");
        }
    }
}

#[tokio::test]
async fn byte_by_byte() {
    let house = House::new().await;
    let mut client = Client::new(house.dial_with("acme/one", 1), true);
    let mut bytes = hello(true, "one").bytes();
    bytes.extend(publish(true, 2, "t/a", &[7; 300]));
    let writer = async {
        let mut stream = client.stream;
        tokio::io::AsyncWriteExt::write_all(&mut stream, &bytes).await.expect("open");
        stream
    };
    client = Client::new(within("the server to read", writer).await, true);
    client.expect(Said::Connack { session_present: false, code: 0 }).await;
    client.expect(Said::Puback { packet_id: 2, code: 0 }).await;
}

/// Random bytes after a good CONNECT end the connection or are understood; the broker goes on.
#[tokio::test]
async fn noise() {
    use fleetward_base::Rng;
    let house = House::new().await;
    let rng = fleetward_base::SeededRng::new(7);
    for round in 0..300 {
        let v5 = round % 2 == 0;
        let mut client = Client::connect(&house, "acme/one", hello(v5, "one")).await;
        let mut bytes = vec![0; 200];
        rng.fill(&mut bytes);
        // Half of them begin like a packet of the right length.
        if round % 4 < 2 {
            bytes[1] = 100;
        }
        client.shout(&bytes).await;
        client.shout(&[0xE0, 0]).await;
        drop(client);
        house.rules.wait_gone("one").await;
        house.rules.told.lock().clear();
    }
    Client::connect(&house, "acme/two", hello(true, "two")).await.ping().await;
    assert_eq!(house.broker.stats().connections, 1);
}

/// Deep topics and filters neither crash nor cost (the class of CVE-2018-12543): both are limited, and nothing recurses.
#[tokio::test]
async fn the_deepest_topics_there_are() {
    let house = House::new().await;
    let mut client = Client::connect(&house, "acme/one", hello(true, "one")).await;
    let depth = limits::MQTT_TOPIC_LEVELS;
    let wild = vec!["+"; depth].join("/");
    client.subscribe(&wild, 1).await;
    client.subscribe(&format!("{}/#", vec!["+"; depth - 1].join("/")), 1).await;
    client.send(&subscribe(true, 1, &[(&format!("{wild}/#"), 1)])).await;
    client.expect(Said::Suback { packet_id: 1, codes: vec![0x8F] }).await;
    let mut sender = Client::connect(&house, "acme/from", hello(true, "from")).await;
    sender.publish(1, &vec!["x"; depth].join("/"), "deep").await;
    assert_eq!(client.take().await.payload, b"deep");
    client.ping().await;
}

/// A device that connects and leaves without end leaves nothing behind.
#[tokio::test]
async fn coming_and_going_leaves_nothing() {
    let house = House::new().await;
    for _ in 0..200 {
        let mut client = Client::connect(&house, "acme/one", hello(true, "one").will("will", "x")).await;
        client.subscribe("a/+", 1).await;
        drop(client);
        house.rules.wait_gone("one").await;
        house.rules.told.lock().clear();
    }
    house.pass(Duration::from_secs(20));
    let stats = house.broker.stats();
    assert_eq!((stats.sessions, stats.subscriptions, stats.connections), (0, 0, 0));
    let mut probe = Client::connect(&house, "acme/two", hello(true, "two")).await;
    probe.send(&hello(true, "two").bytes()).await;
    probe.expect_end(Reason::ProtocolError.code()).await;
}
