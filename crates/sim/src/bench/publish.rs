//! QoS 1 over mTLS where nobody is there: each message is queued for a persistent session that is offline, and here it
//! is committed before its PUBACK.
//!
//! Mosquitto takes the same load from the same code in the same run, with unlimited queues in memory and no disk. Both
//! are asked for what they queued afterwards, and the run fails when a message that was acknowledged is not there.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use fleetward_base::{Clock as _, SystemClock};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use rustls::ClientConfig;

use super::figures::Figures;
use super::load::{self, Outcome, Pace, Publisher};
use super::mosquitto::Mosquitto;
use super::stage::{Stage, Used};
use super::{Bench, BenchArgs, fleet, progress};
use crate::mqtt::{Client, Failure, Options, Packet};
use crate::net::Door;
use crate::process;
use crate::tls::ALPN_MQTT;

/// Bytes of a message.
const PAYLOAD: usize = 100;
/// Persistent sessions that the messages are queued for; each takes a part of the publishers.
const ARCHIVES: usize = 8;
/// In flight on one connection, and the end of the metric's name.
const WINDOWS: [(usize, &str); 2] = [(20, ""), (1, "_window_1")];
/// A session whose next message takes longer than this has no more.
const SILENCE: Duration = Duration::from_secs(3);

/// A broker under load: ours or the peer.
struct Target {
    door: Door,
    /// The server's process.
    pid: u32,
    publishers: Vec<Publisher>,
    archives: Vec<Archive>,
}

/// A session that is offline while the messages come.
struct Archive {
    client_id: String,
    tls: Arc<ClientConfig>,
    filter: String,
}

pub(crate) async fn run(args: &BenchArgs) -> anyhow::Result<Figures> {
    let count = args.connections.or(args.devices).unwrap_or(100);
    let stage = Stage::raise(args, None).await?;
    let ours = ours(&stage, count).await?;
    let mosquitto = Mosquitto::start().await?;
    let peer = peer(&mosquitto, count)?;
    let mut figures = Figures::new(Bench::Publish);
    figures.parameter("publishers", count);
    figures.parameter("offline_sessions", ARCHIVES);
    figures.parameter("payload_bytes", PAYLOAD);
    for (window, suffix) in WINDOWS {
        let pace = Pace { window, length: Duration::from_secs(args.seconds) };
        for (prefix, target) in [("", &ours), ("mosquitto_", &peer)] {
            let (outcome, used) = measure(target, pace).await.with_context(|| format!("{prefix}window {window}"))?;
            figures.stretch((prefix, "acked", suffix), outcome.acked, &used);
            figures.latency((prefix, suffix), &outcome.latency);
            let found = drain(target).await?;
            anyhow::ensure!(
                found >= outcome.acked,
                "{prefix}window {window}: {} acknowledged and only {found} queued",
                outcome.acked
            );
        }
    }
    for window in ["", "_window_1"] {
        let of = |prefix: &str| figures.metric(&format!("{prefix}acked_per_server_cpu_second{window}")).unwrap_or(0.0);
        let ratio = of("") / of("mosquitto_").max(1.0);
        figures.set(format!("ratio_to_mosquitto{window}"), ratio);
    }
    mosquitto.stop().await?;
    stage.close().await?;
    Ok(figures)
}

async fn ours(stage: &Stage, count: usize) -> anyhow::Result<Target> {
    let devices = fleet::enroll(stage, "pub", count).await?;
    let sessions = fleet::enroll(stage, "archive", ARCHIVES).await?;
    let trust = &stage.server.trust;
    let tls = |identity: &_| trust.identified(identity, &[ALPN_MQTT]);
    let publishers = devices
        .iter()
        .enumerate()
        .map(|(place, device)| anyhow::Ok(publisher(device.device.to_string(), tls(device)?, place)));
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

fn peer(mosquitto: &Mosquitto, count: usize) -> anyhow::Result<Target> {
    let publishers = (0..count).map(|place| {
        let name = format!("pub-{place:05}");
        let tls = mosquitto.client(&name)?;
        anyhow::Ok(publisher(name, tls, place))
    });
    let archives = (0..ARCHIVES).map(|place| {
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

fn publisher(client_id: String, tls: Arc<ClientConfig>, place: usize) -> Publisher {
    let topic = format!("shared/archive/{}/{place:05}", place % ARCHIVES);
    Publisher { client_id, tls, topic, payload: vec![b'x'; PAYLOAD] }
}

fn archive(client_id: String, tls: Arc<ClientConfig>, place: usize) -> Archive {
    Archive { client_id, tls, filter: format!("shared/archive/{place}/#") }
}

async fn measure(target: &Target, pace: Pace) -> anyhow::Result<(Outcome, Used)> {
    for archive in &target.archives {
        let mut client = attend(&target.door, archive).await?;
        client.subscribe_all(&[&archive.filter], |_| {}).await?;
        client.disconnect().await?;
    }
    let clock = SystemClock::new();
    let mut begun = (Duration::ZERO, Duration::ZERO);
    let spinner = progress::spinner("publishing");
    let outcome = load::publish(&target.door, &target.publishers, pace, || {
        begun = (clock.monotonic(), process::cpu_time(target.pid)?);
        Ok(())
    })
    .await?;
    spinner.finish_and_clear();
    let used = Used {
        wall: clock.monotonic().saturating_sub(begun.0),
        cpu: process::cpu_time(target.pid)?.saturating_sub(begun.1),
        memory: process::memory(target.pid)?,
    };
    Ok((outcome, used))
}

/// Takes every queued message of every session; returns how many there were.
async fn drain(target: &Target) -> anyhow::Result<u64> {
    let spinner = progress::spinner("counting what was queued");
    let counts: Vec<u64> = stream::iter(&target.archives)
        .map(|archive| drain_one(&target.door, archive))
        .buffer_unordered(ARCHIVES)
        .try_collect()
        .await?;
    spinner.finish_and_clear();
    Ok(counts.iter().sum())
}

async fn drain_one(door: &Door, archive: &Archive) -> anyhow::Result<u64> {
    let mut client = attend(door, archive).await?;
    anyhow::ensure!(client.session_present(), "the session of {} is gone", archive.client_id);
    let mut count = 0;
    loop {
        let Ok(first) = tokio::time::timeout(SILENCE, client.next()).await else { break };
        let mut next = Some(first?);
        while let Some(packet) = next {
            if let Packet::Publish(message) = packet {
                // A duplicate was counted when it came first.
                count += u64::from(!message.duplicate);
                client.acknowledge(message.id.context("a queued message lost its QoS")?);
            }
            next = client.buffered()?;
        }
        client.flush().await?;
    }
    client.disconnect().await?;
    Ok(count)
}

async fn attend(door: &Door, archive: &Archive) -> anyhow::Result<Client<crate::net::Stream>> {
    let stream = door.open(&archive.tls, None).await?;
    let options = Options { clean: false, ..Options::default() };
    Client::connect(stream, &archive.client_id, &options).await.map_err(|cause: Failure| cause.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The load and its count hold against a broker that is not ours.
    #[tokio::test(flavor = "multi_thread")]
    async fn what_mosquitto_acknowledges_is_queued() {
        let mosquitto = Mosquitto::start().await.expect("mosquitto runs");
        let peer = peer(&mosquitto, ARCHIVES).expect("certificates");
        for window in [1, 20] {
            let pace = Pace { window, length: Duration::from_millis(200) };
            let (outcome, used) = measure(&peer, pace).await.expect("the load runs");
            assert!(outcome.acked > 0);
            assert!(used.wall >= pace.length);
            assert_eq!(drain(&peer).await.expect("the sessions are there"), outcome.acked);
        }
        mosquitto.stop().await.expect("stopped");
    }
}
