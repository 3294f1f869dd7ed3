//! CONNECT: who gets in, what they are told, and who is out again.

use std::time::Duration;

use fleetward_base::limits;
use fleetward_broker::{Config, EndReason, MemoryStore, Message, Rate, Reason};
use mqtt_protocol_core::mqtt::packet::Property;

use crate::client::{Client, Hello, Said, hello, packet};
use crate::house::{House, Told, config, device, peer, tenant, within};

#[tokio::test]
async fn both_versions_are_spoken() {
    let house = House::new().await;
    for v5 in [false, true] {
        let mut client = Client::connect(&house, "acme/one", hello(v5, "one")).await;
        client.ping().await;
        client.leave().await;
        assert_eq!(house.rules.wait_gone("one").await, EndReason::ClientDisconnected);
        house.rules.told.lock().clear();
    }
    assert_eq!(house.broker.stats().connections, 0);
    assert_eq!(house.broker.stats().sessions, 0);
}

#[tokio::test]
async fn a_5_0_client_is_told_the_limits() {
    let house = House::new().await;
    let mut asked = hello(true, "");
    asked.keep_alive = 0;
    asked.expiry = Some(u32::MAX);
    let client = Client::connect(&house, "acme/one", asked).await;
    let mut told: Vec<String> = client
        .connack_properties
        .iter()
        .map(|p| match p {
            Property::SessionExpiryInterval(p) => format!("expiry {}", p.val()),
            Property::ReceiveMaximum(p) => format!("receive {}", p.val()),
            Property::TopicAliasMaximum(p) => format!("aliases {}", p.val()),
            Property::MaximumPacketSize(p) => format!("packet {}", p.val()),
            Property::AssignedClientIdentifier(p) => format!("id {}", p.val()),
            Property::ServerKeepAlive(p) => format!("keepalive {}", p.val()),
            other => panic!("{other:?}"),
        })
        .collect();
    told.sort();
    assert_eq!(told, ["aliases 16", "expiry 604800", "id one", "keepalive 1200", "packet 262144", "receive 100"]);
}

/// What an AWS SDK sends without being asked.
#[tokio::test]
async fn a_user_name_without_a_password_is_taken() {
    let house = House::new().await;
    let asked = Hello { username: Some("?SDK=PythonV2&Version=1".into()), keep_alive: 1200, ..hello(false, "one") };
    Client::connect(&house, "acme/one", asked).await.ping().await;
}

#[tokio::test]
async fn strangers_stay_outside() {
    let house = House::new().await;
    for (name, id, code, v3_code) in [
        ("", "one", 0x87, 5),
        ("nonsense", "one", 0x86, 4),
        ("acme/evil", "evil", 0x8A, 5),
        ("acme/one", "two", 0x85, 2),
        ("acme/one", "one/#", 0x85, 2),
    ] {
        for v5 in [false, true] {
            let (mut client, got) = Client::try_connect(&house, name, hello(v5, id)).await;
            assert_eq!(got, if v5 { code } else { v3_code }, "{name} {id}");
            client.expect(Said::Gone).await;
        }
    }
    assert_eq!(house.broker.stats().sessions, 0);
    assert_eq!(house.broker.stats().connects_refused, 10);
}

#[tokio::test]
async fn other_versions_are_refused_in_a_way_they_understand() {
    let house = House::new().await;
    for (body, answer) in [
        (&b"\x00\x06MQIsdp\x03\x02\x00\x3c\x00\x03one"[..], Said::Connack { session_present: false, code: 1 }),
        (&b"\x00\x04MQTT\x03\x02\x00\x3c\x00\x03one"[..], Said::Connack { session_present: false, code: 1 }),
    ] {
        let mut client = Client::new(house.dial("acme/one"), false);
        client.send(&packet(0x10, body)).await;
        client.expect(answer).await;
        client.expect(Said::Gone).await;
    }
    let mut client = Client::new(house.dial("acme/one"), true);
    client.send(&packet(0x10, b"\x00\x04MQTT\x06\x02\x00\x3c\x00\x00\x03one")).await;
    client.expect(Said::Connack { session_present: false, code: 0x84 }).await;
    client.expect(Said::Gone).await;
}

#[tokio::test]
async fn enhanced_authentication_is_refused() {
    let house = House::new().await;
    let mut client = Client::new(house.dial("acme/one"), true);
    client.send(&packet(0x10, b"\x00\x04MQTT\x05\x02\x00\x3c\x08\x15\x00\x05SCRAM\x00\x03one")).await;
    client.expect(Said::Connack { session_present: false, code: 0x8C }).await;
    client.expect(Said::Gone).await;
}

#[tokio::test]
async fn an_empty_client_id_needs_a_clean_session_in_3_1_1() {
    let house = House::new().await;
    let (_, code) = Client::try_connect(&house, "acme/one", Hello { clean: false, ..hello(false, "") }).await;
    assert_eq!(code, 2);
    Client::connect(&house, "acme/one", hello(false, "")).await.ping().await;
    assert!(house.broker.connected(&tenant("acme"), &device("one")));
}

#[tokio::test(start_paused = true)]
async fn who_says_nothing_is_out_at_the_deadline() {
    let house = House::new().await;
    for first in [&b""[..], &[0x10], &hello(true, "one").bytes()[..10]] {
        let mut client = Client::new(house.dial("acme/one"), true);
        client.send(first).await;
        client.expect(Said::Gone).await;
    }
}

#[tokio::test]
async fn the_second_takes_over_and_the_first_is_told() {
    let house = House::new().await;
    for v5 in [false, true] {
        let mut first = Client::connect(&house, "acme/one", hello(v5, "one")).await;
        let mut second = Client::connect(&house, "acme/one", hello(v5, "one")).await;
        first.expect_end(0x8E).await;
        second.ping().await;
        second.leave().await;
        house.rules.wait_gone("one").await;
        let told = std::mem::take(&mut *house.rules.told.lock());
        let connected = |took_over| Told::Connected { device: "one".into(), session_present: false, took_over };
        let gone = Told::Disconnected { device: "one".into(), reason: EndReason::ClientDisconnected };
        assert_eq!(told, [connected(false), connected(true), gone]);
    }
}

/// The same name in another tenant is another device.
#[tokio::test]
async fn tenants_do_not_take_over_from_each_other() {
    let house = House::new().await;
    let mut first = Client::connect(&house, "acme/one", hello(true, "one")).await;
    let mut second = Client::connect(&house, "umbra/one", hello(true, "one")).await;
    first.ping().await;
    second.ping().await;
    assert!(house.broker.kick(&tenant("umbra"), &device("one"), Reason::AdministrativeAction));
    second.expect_end(0x98).await;
    first.ping().await;
}

#[tokio::test]
async fn many_takeovers_leave_one() {
    let house = House::new().await;
    let mut clients = Vec::new();
    for _ in 0..50 {
        let mut client = Client::new(house.dial("acme/one"), true);
        client.send(&hello(true, "one").kept().bytes()).await;
        clients.push(client);
    }
    let mut alive = 0;
    for client in &mut clients {
        assert!(matches!(client.next().await, Said::Connack { code: 0, .. }));
    }
    for client in &mut clients {
        client.shout(&[0xC0, 0]).await;
        alive += usize::from(client.next().await == Said::Pingresp);
    }
    assert_eq!(alive, 1);
    assert_eq!(house.broker.stats().connections, 1);
    assert_eq!(house.broker.stats().sessions, 1);
}

#[tokio::test]
async fn connecting_too_often_is_refused() {
    let rate = Config { connects_per_client: Some(Rate { per_second: 1, burst: 3 }), ..config() };
    let house = House::with(rate, MemoryStore::default()).await;
    for _ in 0..3 {
        Client::connect(&house, "acme/one", hello(true, "one")).await;
    }
    assert_eq!(Client::try_connect(&house, "acme/one", hello(true, "one")).await.1, 0x9F);
    assert_eq!(Client::try_connect(&house, "acme/one", hello(false, "one")).await.1, 3);
    Client::connect(&house, "acme/two", hello(true, "two")).await;
    house.pass(Duration::from_secs(1));
    Client::connect(&house, "acme/one", hello(true, "one")).await;
}

#[tokio::test]
async fn silence_ends_it_after_one_and_a_half_keep_alives() {
    let house = House::new().await;
    for v5 in [false, true] {
        let mut client = Client::connect(&house, "acme/one", Hello { keep_alive: 10, ..hello(v5, "one") }).await;
        for _ in 0..3 {
            house.pass(Duration::from_millis(14_750));
            client.ping().await;
        }
        house.pass(Duration::from_secs(15));
        client.expect_end(0x8D).await;
        assert_eq!(house.rules.wait_gone("one").await, EndReason::Server(Reason::KeepAliveTimeout));
        house.rules.told.lock().clear();
    }
}

/// Those that come together after a restart do not go on pinging together.
#[tokio::test]
async fn after_a_start_keep_alives_are_spread() {
    let spread = Config { keep_alive_spread: Duration::from_secs(60), ..config() };
    let house = House::with(spread, MemoryStore::default()).await;
    let given = async |name: &str, v5: bool| {
        let asked = Hello { keep_alive: 1000, ..hello(v5, name) };
        let client = Client::connect(&house, &format!("acme/{name}"), asked).await;
        client
            .connack_properties
            .iter()
            .find_map(|it| if let Property::ServerKeepAlive(it) = it { Some(it.val()) } else { None })
    };
    let mut seen = Vec::new();
    for n in 0..20 {
        let name = format!("gw-{n}");
        let secs = given(&name, true).await;
        assert!((900..=1000).contains(&secs.unwrap_or(1000)), "{secs:?}");
        assert_eq!(given(&name, true).await, secs, "the same each time");
        assert_eq!(given(&name, false).await, None, "3.1.1 cannot be told");
        seen.push(secs);
    }
    seen.sort_unstable();
    seen.dedup();
    assert!(seen.len() > 10, "{seen:?}");
    house.pass(Duration::from_secs(61));
    for n in 0..20 {
        assert_eq!(given(&format!("gw-{n}"), true).await, None, "the storm is over");
    }
}

/// A huge or absent keep-alive does not hold a socket for ever (CVE-2020-13849).
#[tokio::test]
async fn the_keep_alive_has_a_cap() {
    let house = House::new().await;
    for keep_alive in [0, u16::MAX] {
        let mut client = Client::connect(&house, "acme/one", Hello { keep_alive, ..hello(true, "one") }).await;
        house.pass(Duration::from_secs(u64::from(limits::MQTT_KEEP_ALIVE_SECS) * 3 / 2));
        client.expect_end(0x8D).await;
    }
}

/// Bytes that never become a packet do not keep a connection alive.
#[tokio::test]
async fn a_trickle_is_silence() {
    let house = House::new().await;
    let mut client = Client::connect(&house, "acme/one", Hello { keep_alive: 10, ..hello(true, "one") }).await;
    let long = crate::client::publish(true, 0, "t", &[0; 1000]);
    for byte in &long[..15] {
        client.send(&[*byte]).await;
        house.pass(Duration::from_millis(990));
    }
    house.pass(Duration::from_secs(1));
    client.expect_end(0x8D).await;
}

#[tokio::test]
async fn the_end_of_the_certificate_is_the_end_of_the_connection() {
    let house = House::new().await;
    *house.rules.valid_until.lock() = Some(house.now().plus(Duration::from_secs(30)));
    let mut client = Client::connect(&house, "acme/one", hello(true, "one")).await;
    house.pass(Duration::from_secs(29));
    client.ping().await;
    house.pass(Duration::from_secs(1));
    client.expect_end(0xA0).await;
}

#[tokio::test]
async fn kicks() {
    let house = House::new().await;
    let (acme, one) = (tenant("acme"), device("one"));
    assert!(!house.broker.kick(&acme, &one, Reason::AdministrativeAction));
    for v5 in [false, true] {
        let mut client = Client::connect(&house, "acme/one", hello(v5, "one").kept()).await;
        assert!(!house.broker.kick_serial(&acme, &one, "02", Reason::NotAuthorized));
        client.ping().await;
        assert!(house.broker.kick_serial(&acme, &one, "01", Reason::NotAuthorized));
        client.expect_end(0x87).await;
        house.rules.wait_gone("one").await;
        assert!(!house.broker.connected(&acme, &one));
        assert!(!house.broker.kick(&acme, &one, Reason::AdministrativeAction));
    }
}

#[tokio::test]
async fn a_thousand_are_out_in_a_moment() {
    let house = House::new().await;
    let mut clients = Vec::new();
    for n in 0..1000 {
        let name = format!("d{n}");
        clients.push(Client::connect(&house, &format!("acme/{name}"), hello(true, &name)).await);
    }
    assert_eq!(house.broker.kick_all(&tenant("acme"), Reason::AdministrativeAction), 1000);
    within("all to be gone", async {
        for client in &mut clients {
            client.expect_end(0x98).await;
        }
    })
    .await;
}

#[tokio::test]
async fn drain_tells_everybody_and_commits() {
    let house = House::new().await;
    let mut keeper = Client::connect(&house, "acme/keeper", hello(true, "keeper").kept()).await;
    keeper.subscribe("t", 1).await;
    let mut waiting = Client::new(house.dial("acme/late"), true);
    house.tracker.spawn({
        let broker = house.broker.clone();
        async move { broker.drain().await }
    });
    keeper.expect_end(0x8B).await;
    waiting.expect(Said::Gone).await;
    house.tracker.close();
    within("the drain", house.tracker.wait()).await;
    let again = house.crash().await;
    assert!(Client::resume(&again, "acme/keeper", hello(true, "keeper").kept()).await.1);
}

/// A request over HTTP that is answered while the server stops has something to say too.
#[tokio::test]
async fn what_is_published_after_the_connections_ended_waits_for_their_sessions() {
    let house = House::new().await;
    let mut keeper = Client::connect(&house, "acme/keeper", hello(true, "keeper").kept()).await;
    keeper.subscribe("t", 1).await;
    house.tracker.spawn({
        let broker = house.broker.clone();
        async move { broker.end_connections().await }
    });
    keeper.expect_end(0x8B).await;
    house.tracker.close();
    within("the end of the connections", house.tracker.wait()).await;
    house.broker.publish(&tenant("acme"), Message::new("t", b"last")).expect("taken").durable().await.expect("kept");
    within("the drain", house.broker.drain()).await;
    let again = house.crash().await;
    let (mut keeper, present) = Client::resume(&again, "acme/keeper", hello(true, "keeper").kept()).await;
    assert!(present);
    assert_eq!(keeper.expect_publish().await.payload, b"last");
}

/// Whatever ends a connection's task, the session is free again.
#[tokio::test]
async fn a_task_that_is_dropped_gives_its_session_back() {
    let house = House::new().await;
    let (ours, theirs) = tokio::io::duplex(1024);
    let task = house.tracker.spawn(house.broker.serve(theirs, peer("acme/one")));
    let mut client = Client::new(ours, true);
    client.send(&hello(true, "one").bytes()).await;
    client.expect(Said::Connack { session_present: false, code: 0 }).await;
    task.abort();
    assert_eq!(house.rules.wait_gone("one").await, EndReason::ConnectionLost);
    assert_eq!((house.broker.stats().sessions, house.broker.stats().connections), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_connect_that_cannot_be_committed_in_time_leaves_nothing() {
    let house = House::new().await;
    house.store.hold();
    let mut client = Client::new(house.dial("acme/one"), true);
    client.send(&hello(true, "one").kept().bytes()).await;
    client.expect(Said::Gone).await;
    assert!(!house.broker.connected(&tenant("acme"), &device("one")));
    house.store.fail();
    let (_, code) = Client::try_connect(&house, "acme/two", hello(true, "two").kept()).await;
    assert_eq!(code, 0x88);
    assert!(!house.broker.connected(&tenant("acme"), &device("two")));
}

/// A client that comes and goes has one timer and no more.
#[tokio::test]
async fn coming_and_going_moves_the_end_of_the_session() {
    let house = House::new().await;
    for _ in 0..20 {
        drop(Client::connect(&house, "acme/one", hello(true, "one").kept()).await);
        house.rules.wait_gone("one").await;
        house.rules.told.lock().clear();
        house.pass(Duration::from_secs(3000));
        assert_eq!(house.broker.stats().sessions, 1);
    }
    house.pass(Duration::from_secs(601));
    assert_eq!(house.broker.stats().sessions, 0);
}

/// If the whole process has slept, what has arrived meanwhile is read before anybody is called silent.
#[tokio::test]
async fn a_pause_of_the_server_is_no_silence_of_the_client() {
    let house = House::new().await;
    let mut client = Client::connect(&house, "acme/one", Hello { keep_alive: 10, ..hello(true, "one") }).await;
    client.send(&[0xC0, 0]).await;
    house.pass(Duration::from_secs(60));
    client.expect(Said::Pingresp).await;
    client.ping().await;
}

/// What an earlier attempt has left in memory is no session yet, and what it has ended not gone yet.
#[tokio::test(start_paused = true)]
async fn a_session_is_there_when_it_is_stored_and_gone_when_that_is() {
    let house = House::new().await;
    house.store.fail();
    for _ in 0..2 {
        let (_, code) = Client::try_connect(&house, "acme/new", hello(true, "new").kept()).await;
        assert_eq!(code, 0x88, "also the second time");
    }
    house.store.release();
    house.pass(Duration::from_secs(1));
    crate::stream::quiet().await;
    let mut old = Client::connect(&house, "acme/old", hello(true, "old").kept()).await;
    old.subscribe("t", 1).await;
    drop(old);
    house.rules.wait_gone("old").await;
    house.store.fail();
    for _ in 0..2 {
        let (_, code) = Client::try_connect(&house, "acme/old", hello(true, "old")).await;
        assert_eq!(code, 0x88, "a crash would bring the old session back");
    }
    house.store.release();
    house.pass(Duration::from_secs(1));
    crate::stream::quiet().await;
    Client::connect(&house, "acme/old", hello(true, "old")).await.leave().await;
    let after = house.crash().await;
    let (_, present) = Client::resume(&after, "acme/old", hello(true, "old").kept()).await;
    assert!(!present);
}

/// §3.1.2.9: 5.0 allows a password without a user name; 3.1.1 does not.
#[tokio::test]
async fn a_password_without_a_name() {
    let house = House::new().await;
    let with_will =
        b"\x00\x04MQTT\x05\x46\x00\x3c\x00\x00\x03one\x05\x26\x00\x00\x00\x00\x00\x01t\x00\x01x\x00\x03jwt".to_vec();
    for body in [b"\x00\x04MQTT\x05\x42\x00\x3c\x00\x00\x03one\x00\x03jwt".to_vec(), with_will] {
        let mut client = Client::new(house.dial("acme/one"), true);
        client.send(&packet(0x10, &body)).await;
        client.expect(Said::Connack { session_present: false, code: 0 }).await;
    }
    for (body, v5) in [
        (&b"\x00\x04MQTT\x04\x42\x00\x3c\x00\x03one\x00\x03jwt"[..], false),
        (b"\x00\x04MQTT\x05\x42\x00\x3c\x00\x00\x03one\x00\x04jwt", true),
        (b"\x00\x04MQTT\x05\x42\x00\x3c\x00\x00\x03one", true),
        (b"\x00\x04MQTT\x05\x42\x00\x3c\x07\x00\x03one", true),
    ] {
        let mut client = Client::new(house.dial("acme/one"), v5);
        client.send(&packet(0x10, body)).await;
        let said = client.next().await;
        assert!(matches!(said, Said::Gone | Said::Connack { code: 0x81..=0x86, .. }), "{said:?}");
    }
}
