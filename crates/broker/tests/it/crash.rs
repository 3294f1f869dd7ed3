//! Whatever has been acknowledged is delivered, though the broker dies again and again.
//!
//! A publisher and a receiver do random things, the store is slow or fails at times, and the process dies at random
//! moments. At the end everything that had its PUBACK has been received, in the order in which it was first sent.

use std::collections::BTreeSet;

use fleetward_base::{Rng, SeededRng};

use crate::client::{Client, Got, Said, hello, packet, publish};
use crate::house::House;

struct Story {
    rng: SeededRng,
    house: House,
    sender: Option<Client>,
    keeper: Option<Client>,
    next: u16,
    /// Acknowledged to the publisher.
    acked: Vec<u16>,
    /// Received, in that order.
    received: Vec<u16>,
    /// Acknowledged by the receiver; the rest it may have lost with its connection.
    taken: BTreeSet<u16>,
    v5: bool,
}

fn number(message: &Got) -> u16 {
    u16::from_be_bytes([message.payload[0], message.payload[1]])
}

impl Story {
    fn chance(&self, of: u64) -> bool {
        self.rng.next_u64().is_multiple_of(of)
    }

    async fn sender(&mut self) -> &mut Client {
        if self.sender.is_none() {
            self.sender = Some(Client::connect(&self.house, "acme/from", hello(true, "from")).await);
        }
        self.sender.as_mut().expect("just made")
    }

    async fn keeper(&mut self) -> &mut Client {
        if self.keeper.is_none() {
            let (client, present) = Client::resume(&self.house, "acme/keeper", hello(self.v5, "keeper").kept()).await;
            assert!(present);
            self.keeper = Some(client);
        }
        self.keeper.as_mut().expect("just made")
    }

    /// Sends some, and waits for the answers of none, some or all of them.
    async fn send_some(&mut self) {
        let first = self.next;
        let count = self.rng.next_u64() % 6 + 1;
        self.next += count as u16;
        let wait = !self.chance(3);
        let last = self.next;
        let sender = self.sender().await;
        let bytes: Vec<u8> = (first..last).flat_map(|n| publish(true, n, "t", &n.to_be_bytes())).collect();
        sender.send(&bytes).await;
        if !wait {
            self.sender = None;
            return;
        }
        let mut acked = Vec::new();
        for packet_id in first..last {
            match sender.next().await {
                Said::Puback { packet_id: id, code: 0 } if id == packet_id => acked.push(id),
                Said::Puback { packet_id: id, code: 0x83 } if id == packet_id => {}
                said => panic!("{said:?}"),
            }
        }
        self.acked.extend(acked);
    }

    /// Receives what there is, up to some number, and acknowledges all, some or none.
    async fn receive_some(&mut self) {
        let limit = self.rng.next_u64() % 10;
        let silent = self.chance(4);
        let keeper = self.keeper().await;
        keeper.send(&[0xC0, 0]).await;
        let mut got = Vec::new();
        loop {
            match keeper.next().await {
                Said::Publish(message) => got.push(message),
                Said::Pingresp => break,
                said => panic!("{said:?}"),
            }
        }
        let mut taken = Vec::new();
        for (at, message) in got.iter().enumerate() {
            if !silent && (at as u64) < limit {
                keeper.send(&packet(0x40, &message.packet_id.to_be_bytes())).await;
                taken.push(number(message));
            }
        }
        self.taken.extend(taken);
        self.received.extend(got.iter().map(number));
        if self.chance(2) {
            self.keeper = None;
        }
    }

    async fn step(&mut self) {
        match self.rng.next_u64() % 12 {
            0..5 => self.send_some().await,
            5..9 => self.receive_some().await,
            9 => {
                self.house.store.fail();
                self.send_some().await;
                self.house.store.release();
            }
            10 => self.house.pass(std::time::Duration::from_millis(500)),
            _ => {
                self.house = self.house.crash().await;
                (self.sender, self.keeper) = (None, None);
            }
        }
    }

    async fn finish(mut self, seed: u64) {
        self.house = self.house.crash().await;
        self.keeper = None;
        let keeper = self.keeper().await;
        keeper.send(&publish(keeper.v5, 1, "t", &u16::MAX.to_be_bytes())).await;
        let mut last = Vec::new();
        loop {
            match keeper.next().await {
                Said::Publish(message) => {
                    keeper.ack(message.packet_id).await;
                    let n = number(&message);
                    if n == u16::MAX {
                        break;
                    }
                    last.push(n);
                }
                Said::Puback { .. } => {}
                said => panic!("{said:?}"),
            }
        }
        self.taken.extend(&last);
        self.received.extend(last);
        let mut seen = BTreeSet::new();
        let mut newest = 0;
        for n in &self.received {
            if seen.insert(*n) {
                assert!(*n > newest, "seed {seed}: {n} came after {newest}");
                newest = *n;
            }
        }
        for n in &self.acked {
            assert!(self.taken.contains(n), "seed {seed}: {n} was acknowledged and is lost");
        }
    }
}

async fn tell(seed: u64) {
    let house = House::new().await;
    let v5 = seed.is_multiple_of(2);
    let mut keeper = Client::connect(&house, "acme/keeper", hello(v5, "keeper").kept()).await;
    keeper.subscribe("t", 1).await;
    let mut story = Story {
        rng: SeededRng::new(seed),
        house,
        sender: None,
        keeper: Some(keeper),
        next: 1,
        acked: Vec::new(),
        received: Vec::new(),
        taken: BTreeSet::new(),
        v5,
    };
    for _ in 0..60 {
        story.step().await;
    }
    assert!(!story.acked.is_empty() && !story.received.is_empty());
    story.finish(seed).await;
}

#[tokio::test]
async fn nothing_acknowledged_is_lost() {
    for seed in 0..150 {
        tell(seed).await;
    }
}
