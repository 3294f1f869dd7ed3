//! Many live sessions revoked at once.
//!
//! A tenth as many first, by a request for each device: the clock starts when the first request is sent and stops when the
//! last session has seen its end, so that `last_session_out_ms` covers the requests, their commits and the disconnections;
//! `worst_session_after_answer_ms` is, for a single session, from the answer to its own request, which is after its commit.
//!
//! Then all the others by one request that revokes the tenant. The server takes them page by page:
//! `order_last_session_out_ms` is from the answer to that request to the last end, and `order_last_out_after_commit_ms` from
//! the commit of the last page (the journal's time of it) to that same end.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use fleetward_base::{Clock as _, DeviceId, SystemClock};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use tokio::task::JoinSet;

use super::figures::{Figures, Latency, whole};
use super::stage::Stage;
use super::{Bench, BenchArgs, fleet, progress};
use crate::json;
use crate::mqtt::{Client, Failure, Options, Version};
use crate::net::{Stream, source};
use crate::tls::ALPN_MQTT;

/// Requests to revoke that are under way at once.
const AT_ONCE: usize = 64;
/// MQTT 5 §3.14.2.1: Administrative action.
const ADMINISTRATIVE_ACTION: u8 = 0x98;
/// A session that is not out by then never is.
const GIVE_UP: Duration = Duration::from_secs(120);

pub(crate) async fn run(args: &BenchArgs) -> anyhow::Result<Figures> {
    let count = args.connections.or(args.devices).unwrap_or(10_000);
    let singly = count.div_ceil(10);
    let stage = Stage::raise(args, None).await?;
    let mut sessions = connect(&stage, count + singly).await?;
    let clock = Arc::new(SystemClock::new());
    let (all, watched) = watch(&clock, sessions.split_off(singly));
    let (single, watched_singly) = watch(&clock, sessions);
    let mut figures = Figures::new(Bench::Revoke);
    figures.parameter("sessions", all.len());
    figures.parameter("sessions_revoked_singly", single.len());
    figures.parameter("at_once", AT_ONCE);
    one_by_one(&stage, &clock, &single, watched_singly, &mut figures).await?;
    by_one_order(&stage, &clock, watched, &mut figures).await?;
    figures.set("server_rss_bytes", whole(stage.server.memory()?.rss));
    stage.close().await?;
    Ok(figures)
}

fn millis(span: Duration) -> f64 {
    span.as_secs_f64() * 1000.0
}

async fn one_by_one(
    stage: &Stage,
    clock: &SystemClock,
    devices: &[DeviceId],
    watched: Watchers,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    let mark = stage.mark()?;
    let begun = clock.monotonic();
    let (asked, ended) = tokio::try_join!(revoke(stage, clock, devices), collect(watched))?;
    let used = stage.since(mark)?;
    let last = ended.values().max().context("no session ended")?;
    figures.set("last_session_out_ms", millis(last.saturating_sub(begun)));
    let mut latency = Latency::new();
    let mut worst_after_answer = Duration::ZERO;
    for (device, sent, answered) in &asked {
        let end = ended.get(device).context("a session without an end")?;
        latency.record(end.saturating_sub(*sent));
        worst_after_answer = worst_after_answer.max(end.saturating_sub(*answered));
    }
    figures.set("worst_session_ms", latency.quantile_ms(1.0));
    figures.set("worst_session_after_answer_ms", millis(worst_after_answer));
    figures.latency(("session_", ""), &latency);
    figures.stretch(("", "singly", ""), latency.count(), &used);
    Ok(())
}

async fn by_one_order(
    stage: &Stage,
    clock: &SystemClock,
    watched: Watchers,
    figures: &mut Figures,
) -> anyhow::Result<()> {
    let path = format!("/v1/tenants/{}/revocations", stage.tenant);
    let body = serde_json::json!({ "target": { "kind": "tenant" }, "reason": "key_compromise" });
    let mark = stage.mark()?;
    let order = async {
        let order = stage.rest.post(&path, &body).await?;
        anyhow::Ok((json::text(&order, "id")?, clock.monotonic()))
    };
    let ((id, answered), ended) = tokio::try_join!(order, collect(watched))?;
    let used = stage.since(mark)?;
    let last = *ended.values().max().context("no session ended")?;
    let taken = last.saturating_sub(answered);
    figures.set("order_last_session_out_ms", millis(taken));
    // The same moment by the clock on the wall, by which the server tells when its last page was done.
    let last_at = clock.now().minus(clock.monotonic().saturating_sub(last));
    let finished_at = finished(stage, &format!("{path}/{id}")).await?;
    let after_commit = of_the_day(&last_at.to_string()).zip(of_the_day(&finished_at)).context("no moment")?;
    figures.set("order_last_out_after_commit_ms", millis(after_commit.0.saturating_sub(after_commit.1)));
    let mut latency = Latency::new();
    ended.values().for_each(|end| latency.record(end.saturating_sub(answered)));
    figures.latency(("order_session_", ""), &latency);
    figures.stretch(("", "order", ""), latency.count(), &used);
    Ok(())
}

/// How far into its day a moment lies, of which only the difference to another counts.
fn of_the_day(moment: &str) -> Option<Duration> {
    let mut parts = moment.split_once('T')?.1.trim_end_matches('Z').split([':', '.']).map(str::parse::<u64>);
    let mut next = || parts.next()?.ok();
    let (hours, minutes, seconds, millis) = (next()?, next()?, next()?, next()?);
    Some(Duration::from_millis(((hours * 60 + minutes) * 60 + seconds) * 1000 + millis))
}

/// When the order was done with.
async fn finished(stage: &Stage, path: &str) -> anyhow::Result<String> {
    let waiting = async {
        let mut tick = tokio::time::interval(Duration::from_millis(50));
        loop {
            tick.tick().await;
            let order = stage.rest.read(path).await?;
            if let Some(at) = json::at(&order, "/finished_at").as_str() {
                return Ok(at.to_owned());
            }
        }
    };
    tokio::time::timeout(GIVE_UP, waiting).await.context("the order was not finished")?
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_of_a_day() {
        let of = |text| of_the_day(text).map(|span| span.as_millis());
        assert_eq!(of("2026-11-20T10:53:02.007Z"), Some(39_182_007));
        assert_eq!((of("2026-11-20"), of("2026-11-20T10:53Z")), (None, None));
    }
}
