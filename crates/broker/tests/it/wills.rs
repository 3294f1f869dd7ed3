//! Wills of connections that ended because the server did.

use std::time::Duration;

use fleetward_base::{Rng, SeededRng};
use fleetward_broker::SessionStore;

use crate::client::{Client, Hello, HelloWill, Said, hello, packet};
use crate::house::House;

fn dying(delay: Option<u32>, retain: bool) -> Hello {
    let will = HelloWill { topic: "will".into(), payload: b"x".to_vec(), qos: 1, retain, delay };
    Hello { will: Some(will), ..hello(true, "dying") }
}

async fn watcher(house: &House) -> Client {
    let (mut watcher, present) = Client::resume(house, "acme/watcher", hello(true, "watcher").kept()).await;
    if !present {
        watcher.subscribe("will", 1).await;
    }
    watcher
}

#[tokio::test]
async fn a_will_is_published_when_the_server_is_back() {
    for kept in [false, true] {
        let house = House::new().await;
        drop(watcher(&house).await);
        let mut asked = dying(None, false);
        if kept {
            asked = asked.kept();
        }
        let _lives = Client::connect(&house, "acme/dying", asked).await;
        let house = house.crash().await;
        house.pass(Duration::from_secs(1));
        let mut watching = watcher(&house).await;
        assert_eq!(watching.take().await.payload, b"x");
        watching.ping().await;
        // And once: a server that dies again has nothing more to say of it.
        house.pass(Duration::from_secs(1));
        watching.ping().await;
        let house = house.crash().await;
        house.pass(Duration::from_secs(1));
        watcher(&house).await.ping().await;
    }
}

#[tokio::test]
async fn its_delay_goes_on_and_who_is_back_has_none() {
    let house = House::new().await;
    drop(watcher(&house).await);
    let _lives = Client::connect(&house, "acme/dying", dying(Some(30), false).kept()).await;
    let house = house.crash().await;
    house.pass(Duration::from_secs(20));
    let (back, present) = Client::resume(&house, "acme/dying", dying(Some(30), false).kept()).await;
    assert!(present);
    house.pass(Duration::from_secs(60));
    watcher(&house).await.ping().await;
    // This time nobody comes.
    drop(back);
    house.rules.wait_gone("dying").await;
    let house = house.crash().await;
    house.pass(Duration::from_secs(29));
    watcher(&house).await.ping().await;
    house.pass(Duration::from_secs(2));
    assert_eq!(watcher(&house).await.take().await.payload, b"x");
}

#[tokio::test]
async fn who_said_good_bye_leaves_none() {
    let house = House::new().await;
    drop(watcher(&house).await);
    let mut client = Client::connect(&house, "acme/dying", dying(None, true).kept()).await;
    client.leave().await;
    house.rules.wait_gone("dying").await;
    // What was committed before this has the good-bye in it.
    Client::connect(&house, "acme/other", hello(true, "other").kept()).await;
    let house = house.crash().await;
    house.pass(Duration::from_secs(1));
    watcher(&house).await.ping().await;
    assert_eq!(house.broker.stats().retained, 0);
}

#[tokio::test]
async fn a_will_whose_right_has_gone_is_not_published() {
    let house = House::new().await;
    let mut watching = watcher(&house).await;
    let client = Client::connect(&house, "acme/dying", dying(None, true)).await;
    house.rules.denied.lock().push("will".into());
    drop(client);
    house.rules.wait_gone("dying").await;
    house.rules.denied.lock().clear();
    watching.ping().await;
    assert_eq!(house.broker.stats().retained, 0);
}

#[tokio::test]
async fn a_will_whose_right_went_while_no_server_ran_is_not_published() {
    let house = House::new().await;
    drop(watcher(&house).await);
    let will = dying(None, true).will;
    let _lives = Client::connect(&house, "acme/barred", Hello { will, ..hello(true, "barred") }).await;
    let house = house.crash().await;
    house.pass(Duration::from_secs(1));
    watcher(&house).await.ping().await;
    assert_eq!(house.broker.stats().retained, 0);
    // A commit later its row is gone.
    Client::connect(&house, "acme/other", hello(true, "other").kept()).await;
    assert!(house.store.load_wills().await.expect("rows").is_empty());
}

#[tokio::test]
async fn a_will_whose_owner_cannot_be_asked_after_is_kept() {
    let house = House::new().await;
    let will = dying(None, true).will;
    let _lives = Client::connect(&house, "acme/unasked", Hello { will, ..hello(true, "unasked") }).await;
    let house = house.crash().await;
    house.pass(Duration::from_secs(1));
    Client::connect(&house, "acme/other", hello(true, "other").kept()).await;
    assert_eq!(house.broker.stats().retained, 0);
    assert_eq!(house.store.load_wills().await.expect("rows").len(), 1);
}

/// What a server that is gone left, as another one takes it over: the broker itself knows nothing of the two.
async fn left_by_another(hello: Hello) -> Vec<fleetward_broker::StoredWill> {
    let gone = House::new().await;
    let _lives = Client::connect(&gone, "acme/dying", hello).await;
    gone.store.load_wills().await.expect("rows")
}

#[tokio::test]
async fn wills_of_a_server_that_is_gone_are_published_here() {
    let house = House::new().await;
    let mut watching = watcher(&house).await;
    house.broker.adopt_wills(left_by_another(dying(None, false)).await).await;
    house.pass(Duration::from_secs(1));
    assert_eq!(watching.take().await.payload, b"x");
    // With its delay, and not at all where its session goes on here.
    house.broker.adopt_wills(left_by_another(dying(Some(30), false)).await).await;
    house.pass(Duration::from_secs(29));
    watching.ping().await;
    house.pass(Duration::from_secs(2));
    assert_eq!(watching.take().await.payload, b"x");
    let lives = Client::connect(&house, "acme/dying", hello(false, "dying").kept()).await;
    house.broker.adopt_wills(left_by_another(dying(Some(30), false)).await).await;
    house.pass(Duration::from_secs(60));
    watching.ping().await;
    house.broker.adopt_wills(left_by_another(dying(None, false)).await).await;
    assert_eq!(watching.take().await.payload, b"x", "its connection ended, whatever came after");
    drop(lives);
}

#[tokio::test]
async fn wills_that_another_server_took_are_kept_again() {
    let house = House::new().await;
    let _lives = Client::connect(&house, "acme/dying", dying(None, false)).await;
    let kept = house.store.load_wills().await.expect("rows");
    let drop = kept.iter().map(|will| {
        let (tenant, client, will) = (will.tenant.clone(), will.client.clone(), will.will.clone());
        fleetward_broker::Op::DropWill { tenant, client, will }
    });
    house.store.commit(drop.collect()).await.expect("taken");
    house.broker.keep_wills();
    Client::connect(&house, "acme/other", hello(true, "other").kept()).await;
    assert_eq!(house.store.load_wills().await.expect("rows"), kept);
}

#[tokio::test]
async fn a_will_on_a_topic_of_a_service_goes_to_the_service() {
    let house = House::new().await;
    let mut watching = watcher(&house).await;
    let will = HelloWill { topic: "kept/x".into(), payload: b"gone".to_vec(), qos: 1, retain: true, delay: None };
    let dying = Hello { will: Some(will), ..hello(true, "dying") };
    drop(Client::connect(&house, "acme/dying", dying.clone()).await);
    house.rules.wait_served("gone").await;
    watching.ping().await;
    assert_eq!(house.broker.stats().retained, 0, "what is retained there the service says");
    // As after a crash.
    let lives = Client::connect(&house, "acme/dying", dying).await;
    let house = house.crash().await;
    house.pass(Duration::from_secs(1));
    house.rules.wait_served("gone").await;
    Client::connect(&house, "acme/other", hello(true, "other").kept()).await;
    assert!(house.store.load_wills().await.expect("rows").is_empty());
    std::mem::drop(lives);
}

/// Whatever happens before the server dies: of each connection that had its CONNACK and did not say good-bye, the will has
/// come, or the connection that took its place has one of its own.
#[tokio::test]
async fn no_will_is_lost_whenever_the_server_dies() {
    for seed in 0..60 {
        let rng = SeededRng::new(seed);
        let mut house = House::new().await;
        drop(watcher(&house).await);
        let mut live: Option<(u64, Client)> = None;
        let mut owed = Vec::new();
        for n in 0..12 {
            match rng.next_u64() % 5 {
                0 | 1 => {
                    let mut asked = dying(None, false);
                    if rng.next_u64().is_multiple_of(2) {
                        asked = asked.kept();
                    }
                    asked.will = asked.will.map(|will| HelloWill { payload: n.to_string().into_bytes(), ..will });
                    owed.extend(live.take().map(|(old, _)| old));
                    live = Some((n, Client::connect(&house, "acme/dying", asked).await));
                }
                2 => owed.extend(live.take().map(|(old, _)| old)),
                3 => {
                    if let Some((_, mut client)) = live.take() {
                        client.send(&packet(0xE0, &[])).await;
                        client.expect(Said::Gone).await;
                    }
                }
                _ => {
                    owed.extend(live.take().map(|(old, _)| old));
                    house = house.crash().await;
                    house.pass(Duration::from_secs(1));
                }
            }
        }
        owed.extend(live.take().map(|(old, _)| old));
        let house = house.crash().await;
        house.pass(Duration::from_secs(1));
        let mut watching = watcher(&house).await;
        watching.send(&[0xC0, 0]).await;
        let mut seen = Vec::new();
        loop {
            match watching.next().await {
                Said::Publish(got) => seen.push(String::from_utf8(got.payload).expect("a number")),
                Said::Pingresp => break,
                said => panic!("{said:?}"),
            }
        }
        for n in owed {
            assert!(seen.contains(&n.to_string()), "seed {seed}: the will of {n} is lost; {seen:?}");
        }
    }
}
