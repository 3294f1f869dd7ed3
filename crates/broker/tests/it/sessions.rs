//! Sessions that outlive their connection, and wills.

use std::time::Duration;

use fleetward_broker::{EndReason, Reason};

use crate::client::{Client, HelloWill, Said, hello, packet, publish};
use crate::house::{House, device, tenant, within};

#[tokio::test]
async fn what_came_while_away_comes_in_order() {
    let house = House::new().await;
    for v5 in [false, true] {
        let mut keeper = Client::connect(&house, "acme/keeper", hello(v5, "keeper").kept()).await;
        keeper.subscribe("t/#", 1).await;
        keeper.leave().await;
        let mut sender = Client::connect(&house, "acme/from", hello(true, "from")).await;
        for n in 1..=300u16 {
            sender.publish(n, &format!("t/{}", n % 3), &n.to_string()).await;
        }
        sender.send(&publish(true, 0, "t/0", b"qos 0 is not kept")).await;
        sender.ping().await;
        for house in [&house.crash().await, &house] {
            let (mut keeper, present) = Client::resume(house, "acme/keeper", hello(v5, "keeper").kept()).await;
            assert!(present);
            for n in 1..=300u16 {
                assert_eq!(keeper.take().await.payload, n.to_string().into_bytes());
            }
            keeper.ping().await;
            assert_eq!(house.broker.stats().queued_bytes, 0);
            // And it is gone for good.
            house.pass(Duration::from_secs(1));
            keeper.leave().await;
            let (mut keeper, _) = Client::resume(house, "acme/keeper", hello(v5, "keeper").kept()).await;
            keeper.ping().await;
        }
        house.broker.forget(&tenant("acme"), &device("keeper")).await.expect("forgotten");
        assert_eq!(house.store.queued(&tenant("acme"), &device("keeper")), (0, 0));
    }
}

#[tokio::test]
async fn unacknowledged_is_sent_again_with_its_identifier() {
    let house = House::new().await;
    let mut keeper = Client::connect(&house, "acme/keeper", hello(true, "keeper").kept()).await;
    keeper.subscribe("t", 1).await;
    let mut sender = Client::connect(&house, "acme/from", hello(true, "from")).await;
    for n in 1..=5 {
        sender.publish(n, "t", &n.to_string()).await;
    }
    let mut first = Vec::new();
    for _ in 0..5 {
        first.push(keeper.expect_publish().await);
    }
    assert!(first.iter().all(|got| !got.dup));
    keeper.ack(first[0].packet_id).await;
    keeper.ack(first[2].packet_id).await; // settles nothing until the second is
    keeper.ping().await;
    house.pass(Duration::from_secs(1));
    sender.publish(6, "elsewhere", "").await;
    drop(keeper);
    house.rules.wait_gone("keeper").await;
    for house in [&house.crash().await, &house] {
        let (mut keeper, _) = Client::resume(house, "acme/keeper", hello(true, "keeper").kept()).await;
        for before in &first[1..] {
            let again = keeper.expect_publish().await;
            assert!(again.dup);
            assert_eq!((again.packet_id, &again.payload), (before.packet_id, &before.payload));
        }
        keeper.ping().await;
    }
}

#[tokio::test]
async fn a_clean_start_forgets() {
    let house = House::new().await;
    for v5 in [false, true] {
        let mut keeper = Client::connect(&house, "acme/keeper", hello(v5, "keeper").kept()).await;
        keeper.subscribe("t", 1).await;
        keeper.leave().await;
        let mut sender = Client::connect(&house, "acme/from", hello(true, "from")).await;
        sender.publish(1, "t", "old").await;
        let (mut clean, present) = Client::resume(&house, "acme/keeper", hello(v5, "keeper")).await;
        assert!(!present);
        sender.publish(2, "t", "not subscribed any more").await;
        clean.ping().await;
        clean.leave().await;
        house.rules.wait_gone("keeper").await;
        let after = house.crash().await;
        assert_eq!(after.broker.stats().sessions, 0);
        assert!(!Client::resume(&after, "acme/keeper", hello(v5, "keeper").kept()).await.1);
        house.rules.told.lock().clear();
    }
}

/// The new session's messages are not deleted with the old session.
#[tokio::test]
async fn a_clean_start_does_not_take_the_new_messages_along() {
    let house = House::new().await;
    let mut sender = Client::connect(&house, "acme/from", hello(true, "from")).await;
    for round in 0..10u16 {
        let mut fresh = hello(true, "keeper").kept();
        fresh.clean = true;
        let (mut keeper, present) = Client::resume(&house, "acme/keeper", fresh).await;
        assert!(!present);
        keeper.subscribe("t", 1).await;
        drop(keeper);
        sender.publish(round + 1, "t", &round.to_string()).await;
        let (mut keeper, present) =
            Client::resume(&house.crash().await, "acme/keeper", hello(true, "keeper").kept()).await;
        assert!(present);
        assert_eq!(keeper.expect_publish().await.payload, round.to_string().into_bytes());
        keeper.ping().await;
    }
}

#[tokio::test]
async fn a_session_ends_when_it_expires() {
    let house = House::new().await;
    let mut asked = hello(true, "keeper").kept();
    asked.expiry = Some(60);
    let mut keeper = Client::connect(&house, "acme/keeper", asked.clone()).await;
    keeper.subscribe("t", 1).await;
    keeper.leave().await;
    house.rules.wait_gone("keeper").await;
    house.rules.told.lock().clear();
    house.pass(Duration::from_secs(59));
    assert!(Client::resume(&house, "acme/keeper", asked.clone()).await.1);
    house.rules.wait_gone("keeper").await;
    house.pass(Duration::from_secs(59));
    let after = house.crash().await;
    house.pass(Duration::from_secs(2));
    assert_eq!((house.broker.stats().sessions, house.broker.stats().subscriptions), (0, 0));
    // A broker that was down meanwhile sees it too.
    after.broker.tick();
    assert!(!Client::resume(&after, "acme/keeper", asked).await.1);
}

#[tokio::test]
async fn a_connected_session_does_not_expire() {
    let house = House::new().await;
    let mut asked = hello(true, "keeper").kept();
    asked.expiry = Some(10);
    let mut keeper = Client::connect(&house, "acme/keeper", asked.clone()).await;
    keeper.leave().await;
    house.rules.wait_gone("keeper").await;
    house.pass(Duration::from_secs(5));
    let (mut keeper, present) = Client::resume(&house, "acme/keeper", asked.clone()).await;
    assert!(present);
    for _ in 0..20 {
        house.pass(Duration::from_secs(5));
        keeper.ping().await;
    }
    house.store.copy();
    // After a crash the clock starts anew.
    house.pass(Duration::from_secs(1));
    let after = house.crash().await;
    assert!(Client::resume(&after, "acme/keeper", asked).await.1);
}

#[tokio::test]
async fn disconnect_may_change_the_expiry_but_not_from_none() {
    let house = House::new().await;
    let mut keeper = Client::connect(&house, "acme/keeper", hello(true, "keeper").kept()).await;
    keeper.send(&packet(0xE0, &[0, 5, 0x11, 0, 0, 0, 0])).await;
    keeper.expect(Said::Gone).await;
    house.rules.wait_gone("keeper").await;
    assert_eq!(house.broker.stats().sessions, 0);
    let mut brief = Client::connect(&house, "acme/brief", hello(true, "brief")).await;
    brief.send(&packet(0xE0, &[0, 5, 0x11, 0, 0, 0, 9])).await;
    brief.expect_end(0x82).await;
}

#[tokio::test]
async fn rights_are_asked_again_when_a_session_resumes() {
    let house = House::new().await;
    let mut keeper = Client::connect(&house, "acme/keeper", hello(true, "keeper").kept()).await;
    keeper.subscribe("secret/+", 1).await;
    keeper.subscribe("open", 1).await;
    keeper.leave().await;
    house.rules.denied.lock().push("secret/".into());
    let (mut keeper, present) = Client::resume(&house, "acme/keeper", hello(true, "keeper").kept()).await;
    assert!(present);
    keeper.ping().await;
    assert_eq!(house.broker.stats().subscriptions, 1);
    house.rules.denied.lock().clear();
    let mut sender = Client::connect(&house, "acme/from", hello(true, "from")).await;
    sender.publish(1, "secret/a", "x").await;
    keeper.ping().await;
}

#[tokio::test]
async fn a_will_is_published_when_the_connection_is_lost() {
    let house = House::new().await;
    for v5 in [false, true] {
        let mut watcher = Client::connect(&house, "acme/watcher", hello(true, "watcher")).await;
        watcher.subscribe("will", 1).await;
        // Lost.
        let dying = Client::connect(&house, "acme/dying", hello(v5, "dying").will("will", "lost")).await;
        drop(dying);
        assert_eq!(watcher.take().await.payload, b"lost");
        // Said good-bye.
        let mut dying = Client::connect(&house, "acme/dying", hello(v5, "dying").will("will", "no")).await;
        dying.leave().await;
        // Kicked.
        let mut dying = Client::connect(&house, "acme/dying", hello(v5, "dying").will("will", "kicked")).await;
        assert!(house.broker.kick(&tenant("acme"), &device("dying"), Reason::AdministrativeAction));
        dying.expect_end(0x98).await;
        assert_eq!(watcher.take().await.payload, b"kicked");
        // Malformed.
        let mut dying = Client::connect(&house, "acme/dying", hello(v5, "dying").will("will", "broken")).await;
        dying.send(&[0x00, 0x00]).await;
        dying.expect_end(0x81).await;
        assert_eq!(watcher.take().await.payload, b"broken");
        // Taken over: once, by whoever takes over.
        let mut old = Client::connect(&house, "acme/dying", hello(v5, "dying").will("will", "old")).await;
        let mut new = Client::connect(&house, "acme/dying", hello(v5, "dying").will("will", "new")).await;
        old.expect_end(0x8E).await;
        assert_eq!(watcher.take().await.payload, b"old");
        new.leave().await;
        watcher.ping().await;
    }
}

#[tokio::test]
async fn a_5_0_client_can_leave_with_its_will() {
    let house = House::new().await;
    let mut watcher = Client::connect(&house, "acme/watcher", hello(true, "watcher")).await;
    watcher.subscribe("will", 1).await;
    let mut dying = Client::connect(&house, "acme/dying", hello(true, "dying").will("will", "x")).await;
    dying.send(&packet(0xE0, &[4])).await;
    dying.expect(Said::Gone).await;
    assert_eq!(watcher.take().await.payload, b"x");
}

#[tokio::test]
async fn a_will_can_wait() {
    let house = House::new().await;
    let mut watcher = Client::connect(&house, "acme/watcher", hello(true, "watcher")).await;
    watcher.subscribe("will", 1).await;
    let delayed = |delay, expiry| {
        let mut asked = hello(true, "dying").kept();
        asked.expiry = Some(expiry);
        asked.will = Some(HelloWill {
            topic: "will".into(),
            payload: b"x".to_vec(),
            delay: Some(delay),
            ..HelloWill::default()
        });
        asked
    };
    // Back in time: no will.
    drop(Client::connect(&house, "acme/dying", delayed(30, 100)).await);
    house.rules.wait_gone("dying").await;
    house.pass(Duration::from_secs(29));
    let (back, present) = Client::resume(&house, "acme/dying", delayed(30, 100)).await;
    assert!(present);
    house.pass(Duration::from_secs(20));
    watcher.ping().await;
    house.rules.told.lock().clear();
    // Not back in time.
    drop(back);
    house.rules.wait_gone("dying").await;
    house.pass(Duration::from_secs(30));
    assert_eq!(watcher.take().await.payload, b"x");
    // The end of the session is the latest moment.
    house.rules.told.lock().clear();
    drop(Client::connect(&house, "acme/dying", delayed(1000, 10)).await);
    house.rules.wait_gone("dying").await;
    house.pass(Duration::from_secs(10));
    assert_eq!(watcher.take().await.payload, b"x");
    assert_eq!(house.broker.stats().sessions, 1);
    // A clean start ends the session, and the will is due.
    house.rules.told.lock().clear();
    drop(Client::connect(&house, "acme/dying", delayed(30, 100)).await);
    house.rules.wait_gone("dying").await;
    Client::connect(&house, "acme/dying", hello(true, "dying")).await;
    assert_eq!(watcher.take().await.payload, b"x");
}

#[tokio::test]
async fn a_will_needs_the_right_to_be_said() {
    let house = House::new().await;
    for (topic, code, v3_code) in
        [("forbidden/x", 0x87, 5), ("$aws/things/dying/shadow/get", 0x87, 5), ("a/+", 0x90, 5), ("", 0x90, 5)]
    {
        for v5 in [false, true] {
            let asked = hello(v5, "dying").will(topic, "x");
            let (mut client, got) = Client::try_connect(&house, "acme/dying", asked).await;
            assert_eq!(got, if v5 { code } else { v3_code }, "{topic}");
            client.expect(Said::Gone).await;
        }
    }
}

#[tokio::test]
async fn a_retained_will_is_retained() {
    let house = House::new().await;
    let mut asked = hello(true, "dying").will("will", "x");
    asked.will = asked.will.map(|w| HelloWill { retain: true, qos: 1, ..w });
    drop(Client::connect(&house, "acme/dying", asked).await);
    house.rules.wait_gone("dying").await;
    house.pass(Duration::from_secs(1));
    let mut watcher = Client::connect(&house, "acme/watcher", hello(true, "watcher").kept()).await;
    watcher.subscribe("will", 1).await;
    assert!(watcher.take().await.retain);
    assert_eq!(house.crash().await.broker.stats().retained, 1);
}

/// What a session gets while it is being taken over reaches one of the two, and nothing is lost.
#[tokio::test]
async fn nothing_is_lost_in_a_takeover() {
    let house = House::new().await;
    let mut keeper = Client::connect(&house, "acme/keeper", hello(true, "keeper").kept()).await;
    keeper.subscribe("t", 1).await;
    let mut sender = Client::connect(&house, "acme/from", hello(true, "from")).await;
    let mut seen = std::collections::BTreeSet::new();
    let mut keepers = vec![keeper];
    for n in 1..=200u16 {
        sender.publish(n, "t", &n.to_string()).await;
        if n % 10 == 0 {
            keepers.push(Client::resume(&house, "acme/keeper", hello(true, "keeper").kept()).await.0);
        }
    }
    let last = keepers.len() - 1;
    for (at, mut keeper) in keepers.into_iter().enumerate() {
        loop {
            if at == last && seen.len() == 200 {
                break;
            }
            match keeper.next().await {
                Said::Publish(got) => {
                    keeper.shout(&packet(0x40, &got.packet_id.to_be_bytes())).await;
                    seen.insert(String::from_utf8(got.payload).expect("a number"));
                }
                Said::Disconnect { code: 0x8E } => {}
                Said::Gone => break,
                said => panic!("{said:?}"),
            }
        }
    }
    assert_eq!(seen.len(), 200);
}

#[tokio::test]
async fn forgetting_ends_connection_and_session() {
    let house = House::new().await;
    let mut keeper = Client::connect(&house, "acme/keeper", hello(true, "keeper").kept()).await;
    keeper.subscribe("t", 1).await;
    within("forgetting", house.broker.forget(&tenant("acme"), &device("keeper"))).await.expect("forgotten");
    keeper.expect_end(0x98).await;
    assert_eq!(house.rules.wait_gone("keeper").await, EndReason::Server(Reason::AdministrativeAction));
    assert_eq!(house.broker.stats().sessions, 0);
    assert_eq!(house.crash().await.broker.stats().sessions, 0);
}
