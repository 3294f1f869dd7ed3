//! What a device and a tenant may take of the server.

use std::time::Duration;

use fleetward_broker::{Config, MemoryStore, Message, Rate, TenantRates};

use crate::client::{Client, Said, hello, publish};
use crate::house::{House, config, tenant};

fn messages(per_second: u32, burst: u32) -> TenantRates {
    TenantRates { messages: Some(Rate { per_second, burst }), ..TenantRates::default() }
}

#[tokio::test]
async fn a_tenant_that_floods_slows_itself_and_nobody_else() {
    let house = House::new().await;
    *house.rules.rates.lock() = messages(10, 20);
    let mut loud = Client::connect(&house, "acme/loud", hello(true, "loud")).await;
    let mut quiet = Client::connect(&house, "acme/quiet", hello(true, "quiet")).await;
    let mut other = Client::connect(&house, "umbrella/other", hello(true, "other")).await;
    loud.send(&(1..=50).flat_map(|n| publish(true, n, "t", b"x")).collect::<Vec<_>>()).await;
    for packet_id in 1..=50 {
        loud.expect(Said::Puback { packet_id, code: 0 }).await;
    }
    // The tenant is in debt: none of its devices is read from.
    quiet.send(&publish(true, 1, "t", b"x")).await;
    for packet_id in 1..=200 {
        other.publish(packet_id, "t", "x").await;
    }
    assert_eq!(house.broker.stats().received, 250);
    for _ in 0..14 {
        house.pass(Duration::from_millis(250));
        tokio::task::yield_now().await;
    }
    quiet.expect(Said::Puback { packet_id: 1, code: 0 }).await;
}

#[tokio::test]
async fn a_rate_can_be_changed_while_devices_are_connected() {
    let house = House::new().await;
    *house.rules.rates.lock() = messages(1, 1);
    let mut one = Client::connect(&house, "acme/one", hello(true, "one")).await;
    one.send(&(1..=9).flat_map(|n| publish(true, n, "t", b"x")).collect::<Vec<_>>()).await;
    for packet_id in 1..=9 {
        one.expect(Said::Puback { packet_id, code: 0 }).await;
    }
    one.send(&publish(true, 10, "t", b"x")).await;
    house.pass(Duration::from_millis(250));
    tokio::task::yield_now().await;
    assert_eq!(house.broker.stats().received, 9);
    house.broker.limit(&tenant("acme"), messages(1000, 1000));
    house.pass(Duration::from_millis(250));
    one.expect(Said::Puback { packet_id: 10, code: 0 }).await;
}

#[tokio::test]
async fn to_come_again_does_not_fill_a_devices_bucket() {
    let slow = Config { publish_messages: Some(Rate { per_second: 1, burst: 10 }), ..config() };
    let house = House::with(slow, MemoryStore::default()).await;
    let mut first = Client::connect(&house, "acme/one", hello(true, "one")).await;
    let twenty = (1..=20).flat_map(|n| publish(true, n, "t", b"x")).collect::<Vec<_>>();
    first.send(&twenty).await;
    for packet_id in 1..=20 {
        first.expect(Said::Puback { packet_id, code: 0 }).await;
    }
    // It is in debt for the next ten seconds, whichever connection it uses.
    let mut second = Client::connect(&house, "acme/one", hello(true, "one")).await;
    first.expect_end(0x8E).await;
    second.send(&twenty).await;
    house.pass(Duration::from_millis(250));
    tokio::task::yield_now().await;
    assert_eq!(house.broker.stats().received, 20, "the second connection was not read from");
    for _ in 0..11 {
        house.pass(Duration::from_secs(1));
        tokio::task::yield_now().await;
    }
    second.expect(Said::Puback { packet_id: 1, code: 0 }).await;
}

#[tokio::test]
async fn a_tenant_may_connect_so_often() {
    let house = House::new().await;
    let connects = Some(Rate { per_second: 1, burst: 3 });
    *house.rules.rates.lock() = TenantRates { connects, ..TenantRates::default() };
    for n in 0..5 {
        let name = format!("d{n}");
        for v5 in [true, false] {
            let (_, code) = Client::try_connect(&house, &format!("acme/{name}"), hello(v5, &name)).await;
            let refused = if v5 { 0x9F } else { 3 };
            assert_eq!(code, if n * 2 + i32::from(!v5) < 3 { 0 } else { refused }, "{name} {v5}");
        }
    }
    assert_eq!(Client::try_connect(&house, "umbrella/d", hello(true, "d")).await.1, 0);
    house.pass(Duration::from_secs(1));
    assert_eq!(Client::try_connect(&house, "acme/d", hello(true, "d")).await.1, 0);
}

#[tokio::test]
async fn above_the_ceiling_of_memory_nobody_comes_in() {
    let small = Config { memory_bytes: 10_000, ..config() };
    let house = House::with(small, MemoryStore::default()).await;
    let mut deaf = Client::new(house.dial_with("acme/deaf", 256), true);
    deaf.send(&hello(true, "deaf").bytes()).await;
    deaf.expect(Said::Connack { session_present: false, code: 0 }).await;
    deaf.subscribe("t", 0).await;
    house.pass(Duration::from_secs(1));
    assert_eq!(Client::try_connect(&house, "acme/two", hello(true, "two")).await.1, 0);
    for _ in 0..2000 {
        house.broker.publish(&tenant("acme"), Message::new("t", &[0; 200])).expect("sent").forget();
    }
    house.pass(Duration::from_secs(1));
    assert!(house.broker.stats().held_bytes > 10_000);
    assert_eq!(Client::try_connect(&house, "acme/three", hello(true, "three")).await.1, 0x97);
    assert_eq!(Client::try_connect(&house, "acme/three", hello(false, "three")).await.1, 3);
    // With the one who does not read, what waits for it is gone.
    drop(deaf);
    house.rules.wait_gone("deaf").await;
    house.pass(Duration::from_secs(1));
    assert_eq!(Client::try_connect(&house, "acme/three", hello(true, "three")).await.1, 0);
}
