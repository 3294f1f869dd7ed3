//! QoS 2, in both directions: each message once, whatever is sent again and whoever dies in between.

use std::collections::BTreeSet;
use std::time::Duration;

use fleetward_base::{Rng, SeededRng, limits};

use crate::client::{Client, Got, Said, hello, packet, publish_with};
use crate::house::{House, device, tenant, within};

fn publish2(v5: bool, packet_id: u16, dup: bool, topic: &str, payload: &[u8]) -> Vec<u8> {
    publish_with(v5, if dup { 0x3C } else { 0x34 }, packet_id, topic, &[], payload)
}

impl Client {
    async fn pubrec(&mut self, packet_id: u16) {
        self.send(&packet(0x50, &packet_id.to_be_bytes())).await;
    }

    async fn pubrel(&mut self, packet_id: u16) {
        self.send(&packet(0x62, &packet_id.to_be_bytes())).await;
    }

    async fn pubcomp(&mut self, packet_id: u16) {
        self.send(&packet(0x70, &packet_id.to_be_bytes())).await;
    }

    /// Publishes with QoS 2 to the end of it.
    async fn publish_once(&mut self, packet_id: u16, topic: &str, payload: &str) {
        self.send(&publish2(self.v5, packet_id, false, topic, payload.as_bytes())).await;
        self.expect(Said::Pubrec { packet_id, code: 0 }).await;
        self.pubrel(packet_id).await;
        self.expect(Said::Pubcomp { packet_id, code: 0 }).await;
    }

    /// What is not answered now waits for something: the first answer may be in one batch with what came before it.
    async fn pings(&mut self) {
        self.ping().await;
        self.ping().await;
    }

    /// Receives with QoS 2 to the end of it.
    async fn take_once(&mut self) -> Got {
        let got = self.expect_publish().await;
        assert_eq!(got.qos, 2);
        self.pubrec(got.packet_id).await;
        self.expect(Said::Pubrel { packet_id: got.packet_id, code: 0 }).await;
        self.pubcomp(got.packet_id).await;
        got
    }
}

#[tokio::test]
async fn both_directions_both_versions() {
    let house = House::new().await;
    for v5 in [false, true] {
        let mut keeper = Client::connect(&house, "acme/keeper", hello(v5, "keeper").kept()).await;
        keeper.subscribe("t", 2).await;
        let mut sender = Client::connect(&house, "acme/from", hello(v5, "from").kept()).await;
        for n in 1..=3 {
            sender.publish_once(7, "t", &n.to_string()).await;
            let got = keeper.take_once().await;
            assert_eq!((got.payload, got.dup), (n.to_string().into_bytes(), false));
        }
        // The lower of the two counts.
        sender.publish(8, "t", "one").await;
        assert_eq!(keeper.take().await.qos, 1);
        keeper.subscribe("t", 1).await;
        sender.publish_once(9, "t", "one").await;
        assert_eq!(keeper.take().await.qos, 1);
        keeper.ping().await;
        house.pass(Duration::from_secs(1));
        for name in ["keeper", "from"] {
            house.broker.forget(&tenant("acme"), &device(name)).await.expect("forgotten");
        }
    }
}

#[tokio::test]
async fn what_is_sent_again_is_not_passed_on_again() {
    let house = House::new().await;
    let mut keeper = Client::connect(&house, "acme/keeper", hello(true, "keeper")).await;
    keeper.subscribe("t", 0).await;
    let mut sender = Client::connect(&house, "acme/from", hello(true, "from").kept()).await;
    for dup in [false, true] {
        sender.send(&publish2(true, 1, dup, "t", b"x")).await;
        sender.expect(Said::Pubrec { packet_id: 1, code: 0 }).await;
    }
    let after = house.crash().await;
    let mut keeper_after = Client::connect(&after, "acme/keeper", hello(true, "keeper")).await;
    keeper_after.subscribe("t", 0).await;
    let (mut sender, present) = Client::resume(&after, "acme/from", hello(true, "from").kept()).await;
    assert!(present);
    sender.send(&publish2(true, 1, true, "t", b"x")).await;
    sender.expect(Said::Pubrec { packet_id: 1, code: 0 }).await;
    sender.pubrel(1).await;
    sender.expect(Said::Pubcomp { packet_id: 1, code: 0 }).await;
    sender.pubrel(1).await;
    sender.expect(Said::Pubcomp { packet_id: 1, code: 0x92 }).await;
    assert_eq!(keeper.expect_publish().await.payload, b"x");
    keeper.ping().await;
    keeper_after.ping().await;
    // Released, the identifier stands for another message, also after the next crash.
    let last = after.crash().await;
    let (mut sender, _) = Client::resume(&last, "acme/from", hello(true, "from").kept()).await;
    let mut keeper = Client::connect(&last, "acme/keeper", hello(true, "keeper")).await;
    keeper.subscribe("t", 0).await;
    sender.publish_once(1, "t", "y").await;
    assert_eq!(keeper.expect_publish().await.payload, b"y");
}

#[tokio::test]
async fn nothing_is_said_before_it_is_durable() {
    let house = House::new().await;
    let mut keeper = Client::connect(&house, "acme/keeper", hello(true, "keeper").kept()).await;
    keeper.subscribe("t", 2).await;
    let mut sender = Client::connect(&house, "acme/from", hello(true, "from").kept()).await;
    house.store.hold();
    sender.send(&publish2(true, 1, false, "t", b"x")).await;
    sender.pings().await;
    house.store.release();
    sender.expect(Said::Pubrec { packet_id: 1, code: 0 }).await;
    house.store.hold();
    sender.pubrel(1).await;
    sender.pings().await;
    let got = keeper.expect_publish().await;
    keeper.pubrec(got.packet_id).await;
    keeper.pings().await;
    house.store.release();
    sender.expect(Said::Pubcomp { packet_id: 1, code: 0 }).await;
    keeper.expect(Said::Pubrel { packet_id: got.packet_id, code: 0 }).await;
}

#[tokio::test]
async fn a_client_that_has_it_is_told_to_release_it_and_not_sent_it_again() {
    let house = House::new().await;
    let mut keeper = Client::connect(&house, "acme/keeper", hello(true, "keeper").kept()).await;
    keeper.subscribe("t", 2).await;
    let mut sender = Client::connect(&house, "acme/from", hello(true, "from")).await;
    for n in 1..=3 {
        sender.publish_once(n, "t", &n.to_string()).await;
    }
    let ids = [keeper.expect_publish().await, keeper.expect_publish().await, keeper.expect_publish().await];
    let ids = ids.map(|got| got.packet_id);
    for id in &ids[1..] {
        keeper.pubrec(*id).await;
        keeper.expect(Said::Pubrel { packet_id: *id, code: 0 }).await;
    }
    keeper.pubcomp(ids[1]).await;
    keeper.ping().await;
    house.pass(Duration::from_secs(1));
    let after = house.crash().await;
    let (mut keeper, present) = Client::resume(&after, "acme/keeper", hello(true, "keeper").kept()).await;
    assert!(present);
    let again = keeper.expect_publish().await;
    assert_eq!((again.packet_id, again.dup, again.payload), (ids[0], true, b"1".to_vec()));
    for id in &ids[1..] {
        keeper.expect(Said::Pubrel { packet_id: *id, code: 0 }).await;
        keeper.pubcomp(*id).await;
    }
    keeper.pubrec(ids[0]).await;
    keeper.expect(Said::Pubrel { packet_id: ids[0], code: 0 }).await;
    keeper.pubcomp(ids[0]).await;
    keeper.ping().await;
    after.pass(Duration::from_secs(1));
    let mut sender = Client::connect(&after, "acme/from", hello(true, "from")).await;
    sender.publish_once(1, "t", "4").await;
    assert_eq!(keeper.take_once().await.payload, b"4");
    keeper.ping().await;
    assert_eq!(after.store.queued(&tenant("acme"), &device("keeper")).1, 1, "what is done with has left the store");
}

/// Its number is free again after a crash: another message would have its identifier, and be taken for it.
#[tokio::test(start_paused = true)]
async fn a_message_goes_to_a_kept_session_when_it_is_stored() {
    let house = House::new().await;
    let mut keeper = Client::connect(&house, "acme/keeper", hello(true, "keeper").kept()).await;
    keeper.subscribe("t", 2).await;
    let mut sender = Client::connect(&house, "acme/from", hello(true, "from")).await;
    house.store.hold();
    sender.send(&publish2(true, 1, false, "t", b"never stored")).await;
    sender.pings().await;
    assert_eq!(keeper.until_quiet().await, []);
    let after = house.crash().await;
    let (mut keeper, present) = Client::resume(&after, "acme/keeper", hello(true, "keeper").kept()).await;
    assert!(present);
    let mut sender = Client::connect(&after, "acme/from", hello(true, "from")).await;
    sender.publish_once(1, "t", "another").await;
    assert_eq!(keeper.take_once().await.payload, b"another");
    // What a commit that fails was to hold is not sent, and what follows is.
    after.store.fail();
    sender.send(&publish2(true, 2, false, "t", b"refused")).await;
    sender.expect(Said::Pubrec { packet_id: 2, code: 0x83 }).await;
    after.store.release();
    sender.publish_once(3, "t", "last").await;
    assert_eq!(keeper.take_once().await.payload, b"last");
}

#[tokio::test]
async fn what_is_refused_is_not_remembered() {
    let house = House::new().await;
    let mut keeper = Client::connect(&house, "acme/keeper", hello(true, "keeper").kept()).await;
    keeper.subscribe("t", 2).await;
    let mut new = Client::connect(&house, "acme/new", hello(true, "new").kept()).await;
    new.send(&publish2(true, 1, false, "forbidden/x", b"x")).await;
    new.expect(Said::Pubrec { packet_id: 1, code: 0x87 }).await;
    let mut old = Client::connect(&house, "acme/old", hello(false, "old").kept()).await;
    house.store.fail();
    new.send(&publish2(true, 1, false, "t", b"lost")).await;
    new.expect(Said::Pubrec { packet_id: 1, code: 0x83 }).await;
    old.send(&publish2(false, 1, false, "t", b"lost")).await;
    old.expect(Said::Gone).await;
    house.store.release();
    house.rules.wait_gone("old").await;
    let (mut old, _) = Client::resume(&house, "acme/old", hello(false, "old").kept()).await;
    for (client, payload) in [(&mut new, "new"), (&mut old, "old")] {
        client.publish_once(1, "t", payload).await;
    }
    let after = house.crash().await;
    let (mut keeper, _) = Client::resume(&after, "acme/keeper", hello(true, "keeper").kept()).await;
    let (first, second) = (keeper.expect_publish().await, keeper.expect_publish().await);
    assert_eq!((first.payload, second.payload), (b"new".to_vec(), b"old".to_vec()));
    keeper.ping().await;
}

/// The connection is gone when the commit fails: nobody is there to hear that the message was refused.
#[tokio::test]
async fn what_was_lost_with_its_connection_is_new_when_it_comes_again() {
    let house = House::new().await;
    let mut keeper = Client::connect(&house, "acme/keeper", hello(true, "keeper").kept()).await;
    keeper.subscribe("t", 1).await;
    keeper.leave().await;
    house.rules.wait_gone("keeper").await;
    let mut sender = Client::connect(&house, "acme/from", hello(true, "from").kept()).await;
    house.store.hold();
    sender.send(&publish2(true, 1, false, "t", b"x")).await;
    sender.ping().await;
    drop(sender);
    house.rules.wait_gone("from").await;
    let failures = house.broker.stats().commit_failures;
    house.store.fail();
    within("the commit to fail", async {
        while house.broker.stats().commit_failures == failures {
            tokio::task::yield_now().await;
        }
    })
    .await;
    house.store.release();
    let (mut sender, _) = Client::resume(&house, "acme/from", hello(true, "from").kept()).await;
    sender.send(&publish2(true, 1, true, "t", b"x")).await;
    sender.expect(Said::Pubrec { packet_id: 1, code: 0 }).await;
    let after = house.crash().await;
    let (mut keeper, _) = Client::resume(&after, "acme/keeper", hello(true, "keeper").kept()).await;
    assert_eq!(keeper.take().await.payload, b"x");
}

#[tokio::test]
async fn a_service_is_asked_once() {
    let house = House::new().await;
    let mut client = Client::connect(&house, "acme/one", hello(true, "one").kept()).await;
    let topic = "$aws/things/one/x";
    client.send(&publish2(true, 1, false, topic, b"do")).await;
    let mut said = [client.next().await, client.next().await];
    said.sort_by_key(|said| matches!(said, Said::Pubrec { .. }));
    assert!(matches!(&said[0], Said::Publish(got) if got.topic == "$aws/things/one/x/accepted"), "{said:?}");
    assert_eq!(said[1], Said::Pubrec { packet_id: 1, code: 0 });
    client.send(&publish2(true, 1, true, topic, b"do")).await;
    client.expect(Said::Pubrec { packet_id: 1, code: 0 }).await;
    assert_eq!(*house.rules.served.lock(), ["do"]);
    client.send(&publish2(true, 2, false, "$aws/things/one/broken", b"x")).await;
    client.expect(Said::Pubrec { packet_id: 2, code: 0x83 }).await;
}

/// CVE-2023-28366: identifiers that are never released.
#[tokio::test]
async fn messages_that_are_never_released_are_bounded() {
    let house = House::new().await;
    let mut new = Client::connect(&house, "acme/new", hello(true, "new")).await;
    for n in 1..=limits::MQTT_IN_FLIGHT {
        new.send(&publish2(true, n, false, "t", b"")).await;
        new.expect(Said::Pubrec { packet_id: n, code: 0 }).await;
    }
    new.send(&publish2(true, 1, true, "t", b"")).await;
    new.expect(Said::Pubrec { packet_id: 1, code: 0 }).await;
    new.send(&publish2(true, limits::MQTT_IN_FLIGHT + 1, false, "t", b"")).await;
    new.expect_end(0x93).await;
    let mut old = Client::connect(&house, "acme/old", hello(false, "old")).await;
    let most = u16::try_from(limits::MQTT_UNRELEASED).expect("fits");
    for n in 1..=most {
        old.send(&publish2(false, n, false, "t", b"")).await;
        old.expect(Said::Pubrec { packet_id: n, code: 0 }).await;
    }
    old.send(&publish2(false, most + 1, false, "t", b"")).await;
    old.expect(Said::Gone).await;
}

#[tokio::test]
async fn identifiers_that_nobody_knows() {
    let house = House::new().await;
    let mut new = Client::connect(&house, "acme/new", hello(true, "new")).await;
    new.pubrec(77).await;
    new.expect(Said::Pubrel { packet_id: 77, code: 0x92 }).await;
    new.pubcomp(77).await;
    new.pubrel(78).await;
    new.expect(Said::Pubcomp { packet_id: 78, code: 0x92 }).await;
    new.ping().await;
    // An error of the client ends it.
    new.subscribe("t", 2).await;
    let mut sender = Client::connect(&house, "acme/from", hello(true, "from")).await;
    sender.publish_once(1, "t", "x").await;
    let got = new.expect_publish().await;
    new.send(&packet(0x50, &[got.packet_id.to_be_bytes().as_slice(), &[0x80]].concat())).await;
    new.pubcomp(got.packet_id).await;
    new.ping().await;
}

#[tokio::test]
async fn aliases_stand_for_topics() {
    let house = House::new().await;
    let mut keeper = Client::connect(&house, "acme/keeper", hello(true, "keeper")).await;
    keeper.subscribe("#", 0).await;
    let mut new = Client::connect(&house, "acme/new", hello(true, "new")).await;
    for (topic, alias, meant) in
        [("a", 1, "a"), ("", 1, "a"), ("b", 16, "b"), ("c", 1, "c"), ("", 1, "c"), ("", 16, "b")]
    {
        new.send(&publish_with(true, 0x30, 0, topic, &[0x23, 0, alias], b"x")).await;
        assert_eq!(keeper.expect_publish().await.topic, meant);
    }
    // An alias is no way around the rules, and ends with its connection.
    new.send(&publish_with(true, 0x34, 1, "forbidden/x", &[0x23, 0, 2], b"x")).await;
    new.expect(Said::Pubrec { packet_id: 1, code: 0x87 }).await;
    new.send(&publish_with(true, 0x34, 1, "", &[0x23, 0, 2], b"x")).await;
    new.expect(Said::Pubrec { packet_id: 1, code: 0x87 }).await;
    new.leave().await;
    house.rules.wait_gone("new").await;
    let mut new = Client::connect(&house, "acme/new", hello(true, "new")).await;
    new.send(&publish_with(true, 0x30, 0, "", &[0x23, 0, 1], b"x")).await;
    new.expect_end(0x82).await;
}

/// A publisher and a receiver that keep their halves of QoS 2 on disk, as the standard has it.
struct Story {
    rng: SeededRng,
    house: House,
    sender: Option<Client>,
    keeper: Option<Client>,
    v5: bool,
    next: u16,
    /// The publisher's: sent without a PUBREC, and released without a PUBCOMP.
    sent: BTreeSet<u16>,
    releasing: BTreeSet<u16>,
    /// The receiver's: identifiers whose messages it has, and what it has, in order.
    held: BTreeSet<u16>,
    received: Vec<u16>,
}

impl Story {
    fn chance(&self, of: u64) -> bool {
        self.rng.next_u64().is_multiple_of(of)
    }

    async fn sender(&mut self) -> Client {
        if let Some(client) = self.sender.take() {
            return client;
        }
        let (mut client, present) = Client::resume(&self.house, "acme/from", hello(self.v5, "from").kept()).await;
        assert!(present);
        for n in &self.sent {
            client.send(&publish2(self.v5, *n, true, "t", &n.to_be_bytes())).await;
        }
        for n in &self.releasing {
            client.pubrel(*n).await;
        }
        client
    }

    async fn send_some(&mut self) {
        let mut client = self.sender().await;
        let room = 30usize.saturating_sub(self.sent.len() + self.releasing.len());
        for _ in 0..(self.rng.next_u64() % 5).min(room as u64) {
            let n = self.next;
            self.next += 1;
            self.sent.insert(n);
            client.send(&publish2(self.v5, n, false, "t", &n.to_be_bytes())).await;
        }
        let hears = self.rng.next_u64() % 12;
        client.shout(&[0xC0, 0]).await;
        for _ in 0..hears {
            if !self.hear(&mut client).await {
                return;
            }
        }
        if !self.chance(3) {
            self.sender = Some(client);
        }
    }

    /// One word of the server to the publisher; false if there are no more.
    async fn hear(&mut self, client: &mut Client) -> bool {
        match client.next().await {
            Said::Pubrec { packet_id, code: 0 } => {
                self.sent.remove(&packet_id);
                self.releasing.insert(packet_id);
                client.shout(&packet(0x62, &packet_id.to_be_bytes())).await;
            }
            Said::Pubcomp { packet_id, .. } => {
                self.releasing.remove(&packet_id);
            }
            Said::Pingresp => return false,
            said => panic!("{said:?}"),
        }
        true
    }

    async fn receive_some(&mut self) {
        let mut client = match self.keeper.take() {
            Some(client) => client,
            None => Client::resume(&self.house, "acme/keeper", hello(self.v5, "keeper").kept()).await.0,
        };
        client.shout(&[0xC0, 0]).await;
        for _ in 0..self.rng.next_u64() % 20 {
            match client.next().await {
                Said::Publish(got) => {
                    let n = u16::from_be_bytes([got.payload[0], got.payload[1]]);
                    if self.held.insert(got.packet_id) {
                        self.received.push(n);
                    }
                    client.shout(&packet(0x50, &got.packet_id.to_be_bytes())).await;
                }
                Said::Pubrel { packet_id, .. } => {
                    self.held.remove(&packet_id);
                    client.shout(&packet(0x70, &packet_id.to_be_bytes())).await;
                }
                Said::Pingresp => break,
                Said::Disconnect { .. } | Said::Gone => return,
                said => panic!("{said:?}"),
            }
        }
    }

    async fn crash(&mut self) {
        (self.sender, self.keeper) = (None, None);
        self.house = self.house.crash().await;
    }

    /// Until nobody has anything to say any more.
    async fn finish(mut self, seed: u64) {
        self.crash().await;
        let mut sender = self.sender().await;
        while !(self.sent.is_empty() && self.releasing.is_empty()) {
            assert!(self.hear(&mut sender).await, "seed {seed}");
        }
        // What is for the receiver is in its queue now; the last message is the end of it.
        sender.send(&publish2(self.v5, u16::MAX, false, "t", &u16::MAX.to_be_bytes())).await;
        for _ in 0..1000 {
            if self.received.last() == Some(&u16::MAX) {
                break;
            }
            self.receive_some().await;
        }
        assert_eq!(self.received.pop(), Some(u16::MAX), "seed {seed}: the last message never came");
        let once: BTreeSet<u16> = self.received.iter().copied().collect();
        assert_eq!(once.len(), self.received.len(), "seed {seed}: twice: {:?}", self.received);
        assert_eq!(self.received, (1..self.next).collect::<Vec<_>>(), "seed {seed}");
    }
}

#[tokio::test]
async fn each_message_comes_once_though_all_die_again_and_again() {
    for seed in 0..100u64 {
        let house = House::new().await;
        let v5 = seed.is_multiple_of(2);
        let mut keeper = Client::connect(&house, "acme/keeper", hello(v5, "keeper").kept()).await;
        keeper.subscribe("t", 2).await;
        Client::connect(&house, "acme/from", hello(v5, "from").kept()).await.leave().await;
        house.rules.wait_gone("from").await;
        let mut story = Story {
            rng: SeededRng::new(seed),
            house,
            sender: None,
            keeper: Some(keeper),
            v5,
            next: 1,
            sent: BTreeSet::new(),
            releasing: BTreeSet::new(),
            held: BTreeSet::new(),
            received: Vec::new(),
        };
        for _ in 0..50 {
            match story.rng.next_u64() % 10 {
                0..4 => story.send_some().await,
                4..8 => story.receive_some().await,
                8 => story.house.pass(Duration::from_millis(500)),
                _ => story.crash().await,
            }
        }
        story.finish(seed).await;
    }
}
