//! QoS 1 over mTLS where nobody is there: each message is queued for a persistent session that is offline, and here it
//! is committed before its PUBACK.
//!
//! Mosquitto takes the same load from the same code in the same run, with unlimited queues in memory and no disk. Both
//! are asked for what they queued afterwards, and the run fails when a message that was acknowledged is not there.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use fleetward_base::{Clock as _, SystemClock};
use futures::{TryStreamExt as _, stream};
use rustls::ClientConfig;
use tokio_util::sync::CancellationToken;

use super::figures::{Figures, Latency};
use super::load::{self, Outcome, Pace, Publisher};
use super::mosquitto::Mosquitto;
use super::stage::{Stage, Used};
use super::{Bench, BenchArgs, fleet, progress};
use crate::mqtt::{Client, Failure, Options, Packet};
use crate::net::Door;
use crate::process::{self, Memory};
use crate::tls::ALPN_MQTT;

/// The two take turns, so that what else the machine does falls on both.
const ROUNDS: u32 = 2;
/// Bytes of a message.
const PAYLOAD: usize = 100;
/// In flight on one connection. The first has the metric's plain name.
const WINDOWS: [usize; 2] = [20, 1];
/// Of a queue's limit this much is used at the most, each message with its topic and head taken for [`QUEUED`] bytes.
const QUEUE_BYTES: u64 = 48 * 1024 * 1024;
const QUEUED: u64 = 160;
/// A session whose next message takes longer than this has no more.
const SILENCE: Duration = Duration::from_secs(3);

/// A broker under load: ours or the peer.
struct Target {
    door: Door,
    /// The server's process.
    pid: u32,
    publishers: Vec<Member>,
    archives: Vec<Archive>,
}

/// A connection of the load.
struct Member {
    client_id: String,
    tls: Arc<ClientConfig>,
}

impl Member {
    /// As a publisher to one of so many sessions.
    fn to(&self, place: usize, sessions: usize) -> Publisher {
        let topic = format!("shared/archive/{}/{place:05}", place % sessions);
        let (client_id, tls) = (self.client_id.clone(), Arc::clone(&self.tls));
        Publisher { client_id, tls, topic, payload: vec![b'x'; PAYLOAD] }
    }
}

/// A session that is offline while the messages come.
struct Archive {
    client_id: String,
    tls: Arc<ClientConfig>,
    filter: String,
}

pub(crate) async fn run(args: &BenchArgs) -> anyhow::Result<Figures> {
    let count = args.connections.or(args.devices).unwrap_or(200);
    let windows = args.window.map_or(WINDOWS.to_vec(), |window| vec![window]);
    let archives = windows.iter().map(|window| sessions(*window, args.seconds)).collect::<anyhow::Result<Vec<_>>>()?;
    let archives = archives.into_iter().max().unwrap_or(1);
    let stage = Stage::raise(args, None).await?;
    let ours = ours(&stage, count, archives).await?;
    let mosquitto = Mosquitto::start().await?;
    let peer = peer(&mosquitto, count, archives)?;
    let mut figures = Figures::new(Bench::Publish);
    figures.parameter("publishers", count);
    figures.parameter("payload_bytes", PAYLOAD);
    for window in windows {
        let sessions = sessions(window, args.seconds)?;
        let suffix = if window == WINDOWS[0] { String::new() } else { format!("_window_{window}") };
        figures.parameter(&format!("offline_sessions{suffix}"), sessions);
        let pace = Pace { window, length: Duration::from_secs(args.seconds) / ROUNDS };
        let mut sums = [Sum::new("", &ours), Sum::new("mosquitto_", &peer)];
        for _ in 0..ROUNDS {
            for sum in &mut sums {
                sum.add(pace, sessions).await.with_context(|| format!("{}window {window}", sum.prefix))?;
            }
        }
        for Sum { prefix, outcome, used, .. } in &sums {
            figures.stretch((prefix, "acked", &suffix), outcome.acked, used);
            figures.latency((prefix, &suffix), &outcome.latency);
        }
        let rate = |prefix: &str| figures.metric(&format!("{prefix}acked_per_server_cpu_second{suffix}"));
        if let (Some(ours), Some(theirs)) = (rate(""), rate("mosquitto_")) {
            figures.set(format!("ratio_to_mosquitto{suffix}"), ours / theirs);
        }
    }
    mosquitto.stop().await?;
    stage.close().await?;
    Ok(figures)
}

/// How many persistent sessions the messages are queued for: one, and more where it would be full before the round ends.
fn sessions(window: usize, seconds: u64) -> anyhow::Result<usize> {
    // More a second than this takes a faster machine than is about.
    let rate: u64 = if window > 1 { 1_200_000 } else { 120_000 };
    let messages = rate.saturating_mul(seconds).div_ceil(ROUNDS.into());
    Ok(usize::try_from(messages.saturating_mul(QUEUED).div_ceil(QUEUE_BYTES).max(1))?)
}

/// What a target did over all rounds.
struct Sum<'a> {
    prefix: &'static str,
    target: &'a Target,
    outcome: Outcome,
    used: Used,
}

impl<'a> Sum<'a> {
    fn new(prefix: &'static str, target: &'a Target) -> Self {
        let used =
            Used { wall: Duration::ZERO, cpu: Duration::ZERO, load: Duration::ZERO, memory: Memory { rss: 0, pss: 0 } };
        Self { prefix, target, outcome: Outcome { acked: 0, latency: Latency::new() }, used }
    }

    /// One more round, and what it queued is there.
    async fn add(&mut self, pace: Pace, sessions: usize) -> anyhow::Result<()> {
        let (outcome, used) = measure(self.target, pace, sessions).await?;
        let found = drain(self.target, sessions, outcome.acked).await?;
        anyhow::ensure!(found >= outcome.acked, "{} acknowledged and only {found} queued", outcome.acked);
        self.outcome.acked += outcome.acked;
        self.outcome.latency.merge(&outcome.latency);
        self.used.wall += used.wall;
        self.used.cpu += used.cpu;
        self.used.load += used.load;
        self.used.memory = used.memory;
        Ok(())
    }
}

async fn ours(stage: &Stage, count: usize, archives: usize) -> anyhow::Result<Target> {
    let devices = fleet::enroll(stage, "pub", count).await?;
    let sessions = fleet::enroll(stage, "archive", archives).await?;
    let trust = &stage.server.trust;
    let tls = |identity: &_| trust.identified(identity, &[ALPN_MQTT]);
    let publishers =
        devices.iter().map(|device| anyhow::Ok(Member { client_id: device.device.to_string(), tls: tls(device)? }));
    let archives = sessions
        .iter()
        .enumerate()
        .map(|(place, device)| anyhow::Ok(archive(device.device.to_string(), tls(device)?, place)));
    Ok(Target {
        door: stage.server.mqtt_door()?,
        pid: stage.server.pid(),
        publishers: publishers.collect::<Result<_, _>>()?,
        archives: archives.collect::<Result<_, _>>()?,
    })
}

fn peer(mosquitto: &Mosquitto, count: usize, archives: usize) -> anyhow::Result<Target> {
    let publishers = (0..count).map(|place| {
        let name = format!("pub-{place:05}");
        let tls = mosquitto.client(&name)?;
        anyhow::Ok(Member { client_id: name, tls })
    });
    let archives = (0..archives).map(|place| {
        let name = format!("archive-{place:05}");
        let tls = mosquitto.client(&name)?;
        anyhow::Ok(archive(name, tls, place))
    });
    Ok(Target {
        door: mosquitto.door.clone(),
        pid: mosquitto.pid,
        publishers: publishers.collect::<Result<_, _>>()?,
        archives: archives.collect::<Result<_, _>>()?,
    })
}

fn archive(client_id: String, tls: Arc<ClientConfig>, place: usize) -> Archive {
    Archive { client_id, tls, filter: format!("shared/archive/{place}/#") }
}

async fn measure(target: &Target, pace: Pace, sessions: usize) -> anyhow::Result<(Outcome, Used)> {
    for archive in target.archives.iter().take(sessions) {
        let mut client = attend(&target.door, archive).await?;
        client.subscribe_all(&[&archive.filter], |_| {}).await?;
        client.depart().await?;
    }
    let clock = SystemClock::new();
    let mut begun = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
    let spinner = progress::spinner("publishing");
    let publishers: Vec<Publisher> =
        target.publishers.iter().enumerate().map(|(place, one)| one.to(place, sessions)).collect();
    let outcome = load::publish(&target.door, &publishers, pace, || {
        begun = (clock.monotonic(), process::cpu_time(target.pid)?, process::cpu_time(std::process::id())?);
        Ok(())
    })
    .await?;
    spinner.finish_and_clear();
    let used = Used {
        wall: clock.monotonic().saturating_sub(begun.0),
        cpu: process::cpu_time(target.pid)?.saturating_sub(begun.1),
        load: process::cpu_time(std::process::id())?.saturating_sub(begun.2),
        memory: process::memory(target.pid)?,
    };
    Ok((outcome, used))
}

/// Takes the queued messages of every session until all that are expected were there; returns how many there were.
async fn drain(target: &Target, sessions: usize, expected: u64) -> anyhow::Result<u64> {
    let spinner = progress::spinner("counting what was queued");
    let tally = Tally { found: AtomicU64::new(0), expected, complete: CancellationToken::new() };
    let archives = stream::iter(target.archives.iter().take(sessions).map(anyhow::Ok));
    archives.try_for_each_concurrent(None, |archive| drain_one(&target.door, archive, &tally)).await?;
    spinner.finish_and_clear();
    Ok(tally.found.into_inner())
}

/// What the sessions have been given together.
struct Tally {
    found: AtomicU64,
    expected: u64,
    complete: CancellationToken,
}

async fn drain_one(door: &Door, archive: &Archive, tally: &Tally) -> anyhow::Result<()> {
    let mut client = attend(door, archive).await?;
    anyhow::ensure!(client.session_present(), "the session of {} is gone", archive.client_id);
    loop {
        let next = tokio::time::timeout(SILENCE, client.next());
        let Some(Ok(first)) = tally.complete.run_until_cancelled(next).await else { break };
        let mut next = Some(first?);
        let mut count = 0;
        while let Some(packet) = next {
            if let Packet::Publish(message) = packet {
                // A duplicate was counted when it came first.
                count += u64::from(!message.duplicate);
                client.acknowledge(message.id.context("a queued message lost its QoS")?);
            }
            next = client.buffered()?;
        }
        client.flush().await?;
        if tally.found.fetch_add(count, Ordering::Relaxed) + count >= tally.expected {
            tally.complete.cancel();
        }
    }
    client.depart().await?;
    Ok(())
}

async fn attend(door: &Door, archive: &Archive) -> anyhow::Result<Client<crate::net::Stream>> {
    let stream = door.open(&archive.tls, None).await?;
    let options = Options { clean: false, ..Options::default() };
    Client::connect(stream, &archive.client_id, &options).await.map_err(|cause: Failure| cause.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sessions_by_what_they_must_hold() {
        let of = |window, seconds| sessions(window, seconds).expect("a number");
        assert_eq!((of(1, 5), of(20, 5), of(1, 1), of(1, 20)), (1, 10, 1, 4));
    }

    /// The load and its count hold against a broker that is not ours.
    #[tokio::test(flavor = "multi_thread")]
    async fn what_mosquitto_acknowledges_is_queued() {
        let mosquitto = Mosquitto::start().await.expect("mosquitto runs");
        let peer = peer(&mosquitto, 8, 3).expect("certificates");
        for window in [1, 20] {
            let pace = Pace { window, length: Duration::from_millis(200) };
            let (outcome, used) = measure(&peer, pace, 3).await.expect("the load runs");
            assert!(outcome.acked > 0);
            assert!(used.wall >= pace.length);
            assert_eq!(drain(&peer, 3, outcome.acked).await.expect("the sessions are there"), outcome.acked);
        }
        mosquitto.stop().await.expect("stopped");
    }
}
