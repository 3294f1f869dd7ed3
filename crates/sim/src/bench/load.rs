//! The publishing load: many connections, each with a window of QoS 1 messages in flight. The same code drives us and
//! our peer.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use fleetward_base::{Clock, SystemClock};
use rustls::ClientConfig;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::figures::Latency;
use crate::mqtt::{Client, Options, Packet};
use crate::net::{Door, Stream};

/// One connection of the load.
#[derive(Clone, Debug)]
pub(crate) struct Publisher {
    pub(crate) client_id: String,
    pub(crate) tls: Arc<ClientConfig>,
    /// Topic and payload of every message that it sends.
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
}

/// How a load is driven.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// Messages of one connection that are sent and not yet acknowledged.
    pub(crate) window: usize,
    pub(crate) length: Duration,
}

/// What was acknowledged.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) acked: u64,
    /// From handing a message to the socket to its PUBACK.
    pub(crate) latency: Latency,
}

/// Connects every publisher, calls `begin`, publishes for the given time and waits for the last acknowledgement.
/// `begin` runs after all are connected and before the first message.
pub(crate) async fn publish(
    door: &Door,
    publishers: &[Publisher],
    pace: Pace,
    begin: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<Outcome> {
    let clock = Arc::new(SystemClock::new());
    let ready = Arc::new(Barrier::new(publishers.len() + 1));
    let go = Arc::new(Barrier::new(publishers.len() + 1));
    let mut tasks = JoinSet::new();
    for publisher in publishers {
        let (publisher, door) = (publisher.clone(), door.clone());
        let (ready, go, clock) = (Arc::clone(&ready), Arc::clone(&go), Arc::clone(&clock));
        tasks.spawn(async move {
            let stream = door.open(&publisher.tls, None).await;
            let client = match stream {
                Ok(stream) => {
                    Client::connect(stream, &publisher.client_id, &Options::default()).await.map_err(Into::into)
                }
                Err(cause) => Err(cause),
            };
            // Both barriers are passed in any case: one that failed must not leave the others waiting.
            ready.wait().await;
            go.wait().await;
            drive(client?, &publisher, pace, &clock).await.with_context(|| publisher.client_id.clone())
        });
    }
    ready.wait().await;
    let begun = begin();
    go.wait().await;
    let mut outcome = Outcome { acked: 0, latency: Latency::new() };
    while let Some(done) = tasks.join_next().await {
        let latency = done??;
        outcome.acked += latency.count();
        outcome.latency.merge(&latency);
    }
    begun?;
    Ok(outcome)
}

async fn drive(
    mut client: Client<Stream>,
    publisher: &Publisher,
    pace: Pace,
    clock: &SystemClock,
) -> anyhow::Result<Latency> {
    let mut latency = Latency::new();
    let mut flying: VecDeque<(u16, Duration)> = VecDeque::with_capacity(pace.window);
    let end = clock.monotonic() + pace.length;
    loop {
        let now = clock.monotonic();
        if now < end {
            while flying.len() < pace.window {
                flying.push_back((client.publish(&publisher.topic, &publisher.payload), now));
            }
            client.flush().await?;
        } else if flying.is_empty() {
            client.disconnect().await?;
            return Ok(latency);
        }
        let first = client.next().await?;
        let now = clock.monotonic();
        let mut next = Some(first);
        while let Some(packet) = next {
            let Packet::Puback { id, code } = packet else { anyhow::bail!("unexpected {packet:?}") };
            // 0x10 says that nobody is subscribed: then the load does not measure what it should.
            anyhow::ensure!(code == 0, "message refused with reason {code:#04x}");
            let place = flying.iter().position(|(flying, _)| *flying == id).context("acknowledged twice")?;
            let (_, sent) = flying.remove(place).context("the place was just found")?;
            latency.record(now.saturating_sub(sent));
            next = client.buffered()?;
        }
    }
}
