//! Many live sessions revoked at once.
//!
//! The first half one by one: the clock starts when the first request to revoke is sent and stops when the last session has
//! seen its end, so that `last_session_out_ms` covers the requests, their commits and the disconnections;
//! `worst_session_ms` is, for a single session, from its own request to its end. The other half by one request that revokes
//! the tenant: `many_last_session_out_ms` is from that request to the last end, and `many_devices_per_second` what the
//! server gets through.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use fleetward_base::{Clock as _, DeviceId, SystemClock};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use tokio::task::JoinSet;

use super::figures::{Figures, Latency, whole};
use super::stage::Stage;
use super::{Bench, BenchArgs, fleet, progress};
use crate::mqtt::{Client, Failure, Options, Version};
use crate::net::{Stream, source};
use crate::tls::ALPN_MQTT;

/// Requests to revoke that are under way at once.
const AT_ONCE: usize = 64;
/// MQTT 5 §3.14.2.1: Administrative action.
const ADMINISTRATIVE_ACTION: u8 = 0x98;
/// A session that is not out by then never is.
const GIVE_UP: Duration = Duration::from_secs(30);

pub(crate) async fn run(args: &BenchArgs) -> anyhow::Result<Figures> {
    let count = args.connections.or(args.devices).unwrap_or(10_000);
    let stage = Stage::raise(args, None).await?;
    let sessions = connect(&stage, count).await?;
    let clock = Arc::new(SystemClock::new());
    let mut sessions = sessions;
    let rest = sessions.split_off(sessions.len() / 2);
    let (devices, watchers) = watch(&clock, sessions);
    let (others, other_watchers) = watch(&clock, rest);
    let mark = stage.mark()?;
    let begun = clock.monotonic();
    let asked = revoke(&stage, &clock, &devices);
    let (asked, ended) = tokio::try_join!(asked, collect(watchers))?;
    let many_begun = clock.monotonic();
    let path = format!("/v1/tenants/{}/revocations", stage.tenant);
    let body = serde_json::json!({ "target": { "kind": "tenant" }, "reason": "key_compromise" });
    let ((), many_ended) =
        tokio::try_join!(async { stage.rest.post(&path, &body).await.map(drop) }, collect(other_watchers))?;
    let used = stage.since(mark)?;

    let mut figures = Figures::new(Bench::Revoke);
    figures.parameter("sessions", count);
    figures.parameter("at_once", AT_ONCE);
    let millis = |span: Duration| span.as_secs_f64() * 1000.0;
    let last = ended.values().max().context("no session ended")?;
    figures.set("last_session_out_ms", millis(last.saturating_sub(begun)));
    let mut latency = Latency::new();
    let mut worst_after_commit = Duration::ZERO;
    for (device, sent, answered) in &asked {
        let end = ended.get(device).context("a session without an end")?;
        latency.record(end.saturating_sub(*sent));
        worst_after_commit = worst_after_commit.max(end.saturating_sub(*answered));
    }
    let last_answer = asked.iter().map(|(_, _, answered)| *answered).max().unwrap_or(begun);
    figures.set("last_answer_ms", millis(last_answer.saturating_sub(begun)));
    figures.set("worst_session_ms", latency.quantile_ms(1.0));
    figures.set("worst_session_after_answer_ms", millis(worst_after_commit));
    figures.latency(("session_", ""), &latency);
    let many_last = many_ended.values().max().context("no session ended")?.saturating_sub(many_begun);
    figures.set("many_last_session_out_ms", millis(many_last));
    figures.set("many_devices_per_second", whole(others.len() as u64) / many_last.as_secs_f64());
    figures.set("server_cpu_seconds", used.cpu.as_secs_f64());
    figures.set("server_rss_bytes", whole(used.memory.rss));
    stage.close().await?;
    Ok(figures)
}

type Watchers = JoinSet<anyhow::Result<(DeviceId, Duration)>>;

/// Waits for the end of each session, in the background.
fn watch(clock: &Arc<SystemClock>, sessions: Vec<(DeviceId, Client<Stream>)>) -> (Vec<DeviceId>, Watchers) {
    let (mut devices, mut watchers) = (Vec::with_capacity(sessions.len()), JoinSet::new());
    for (device, client) in sessions {
        devices.push(device.clone());
        let clock = Arc::clone(clock);
        watchers.spawn(async move {
            let ended = outlive(client).await.with_context(|| device.to_string());
            ended.map(|()| (device, clock.monotonic()))
        });
    }
    (devices, watchers)
}

async fn connect(stage: &Stage, count: usize) -> anyhow::Result<Vec<(DeviceId, Client<Stream>)>> {
    let fleet = fleet::enroll(stage, "revoked", count).await?;
    let door = stage.server.mqtt_door()?;
    let bar = progress::bar("connections", count);
    let options = Options { version: Version::V5, ..Options::default() };
    let sessions = stream::iter(fleet.iter().enumerate())
        .map(|(place, device)| {
            let (bar, door, options) = (&bar, &door, &options);
            async move {
                let tls = stage.server.trust.identified(device, &[ALPN_MQTT])?;
                let stream = door.open(&tls, Some(source(place))).await?;
                let client = Client::connect(stream, device.device.as_str(), options).await?;
                bar.inc(1);
                anyhow::Ok((device.device.clone(), client))
            }
        })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await;
    bar.finish_and_clear();
    sessions
}

/// Waits for the end of a session and insists that it is the one that revocation has.
async fn outlive(mut client: Client<Stream>) -> anyhow::Result<()> {
    match tokio::time::timeout(GIVE_UP, client.next()).await.context("the session is still there")? {
        Err(Failure::Disconnected { code: ADMINISTRATIVE_ACTION }) => Ok(()),
        Err(other) => Err(other.into()),
        Ok(packet) => anyhow::bail!("unexpected {packet:?}"),
    }
}

/// Asks for all of them; when each was asked for and answered.
async fn revoke(
    stage: &Stage,
    clock: &SystemClock,
    devices: &[DeviceId],
) -> anyhow::Result<Vec<(DeviceId, Duration, Duration)>> {
    stream::iter(devices)
        .map(|device| async move {
            let sent = clock.monotonic();
            stage.rest.revoke(&stage.tenant, device).await?;
            anyhow::Ok((device.clone(), sent, clock.monotonic()))
        })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}

async fn collect(mut watchers: Watchers) -> anyhow::Result<std::collections::BTreeMap<DeviceId, Duration>> {
    let mut ended = std::collections::BTreeMap::new();
    while let Some(done) = watchers.join_next().await {
        let (device, at) = done??;
        ended.insert(device, at);
    }
    Ok(ended)
}
