//! A whole fleet connects at once to a server that has just started: how long until all are in, what it costs, and what a
//! connection weighs when it is quiet again. Who is turned away comes again, as devices do. Mosquitto has the same from the
//! same code.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use fleetward_base::{Clock as _, SystemClock};
use tokio::task::JoinSet;

use super::figures::{Figures, Latency, per_second, whole};
use super::idle::settle;
use super::mosquitto::Mosquitto;
use super::stage::{Stage, Used};
use super::target::{Member, Target};
use super::{Bench, BenchArgs, progress};
use crate::mqtt::{Client, Options};
use crate::net::{Door, Stream};
use crate::process;

/// Between two tries of one device.
const AGAIN: Duration = Duration::from_millis(500);
const TRIES: u32 = 240;
/// A try that takes longer is given up.
const TRY: Duration = Duration::from_secs(30);
/// Open files beyond the connections: store, listeners, runtime.
const OTHER_FILES: u64 = 200;

pub(crate) async fn run(args: &BenchArgs) -> anyhow::Result<Figures> {
    let count = args.connections.or(args.devices).unwrap_or(15_000);
    let files = crate::net::raise_open_files();
    let needed = u64::try_from(count)? + OTHER_FILES;
    anyhow::ensure!(files >= needed, "{count} connections need {needed} open files and the limit is {files}");
    let stage = Stage::raise(args, None).await?;
    let Target { members, .. } = Target::ours(&stage, count).await?;
    let stage = stage.restart().await?;
    let ours = Target { prefix: "", door: stage.server.mqtt_door()?, pid: stage.server.pid(), members };
    let mut figures = Figures::new(Bench::Storm);
    figures.parameter("devices", count);
    measure(&ours, &mut figures).await?;
    stage.close().await?;
    let mosquitto = Mosquitto::start().await?;
    measure(&Target::peer(&mosquitto, count)?, &mut figures).await?;
    mosquitto.stop().await?;
    let seconds = |prefix: &str| figures.metric(&format!("{prefix}connected_server_cpu_seconds"));
    if let (Some(ours), Some(theirs)) = (seconds(""), seconds("mosquitto_")) {
        figures.set("ratio_to_mosquitto", theirs / ours);
    }
    Ok(figures)
}

async fn measure(target: &Target, figures: &mut Figures) -> anyhow::Result<()> {
    let prefix = target.prefix;
    // One comes and goes: what is set up once is not charged to the connections.
    let first = target.members.first().context("at least one device")?;
    first.open(&target.door, &Options::default()).await?.depart().await?;
    let before = process::memory(target.pid)?;
    let mark = target.mark()?;
    let (held, latency, again) = storm(target).await?;
    let used: Used = target.since(&mark)?;
    settle().await;
    let after = process::memory(target.pid)?;
    let count = u64::try_from(held.len())?;
    figures.stretch((prefix, "connected", ""), count, &used);
    figures.set(format!("{prefix}all_in_seconds"), used.wall.as_secs_f64());
    figures.set(format!("{prefix}tries_again"), whole(again));
    figures.set(format!("{prefix}tries_again_per_second"), per_second(again, used.wall));
    let each = (whole(after.rss) - whole(before.rss)) / whole(count);
    figures.set(format!("{prefix}rss_bytes_per_idle_connection"), each);
    figures.latency((&format!("{prefix}device_"), ""), &latency);
    drop(held);
    Ok(())
}

async fn storm(target: &Target) -> anyhow::Result<(Vec<Client<Stream>>, Latency, u64)> {
    let bar = progress::bar("connections", target.members.len());
    let again = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    for member in &target.members {
        let (member, door, again) = (member.clone(), target.door.clone(), Arc::clone(&again));
        tasks.spawn(async move {
            let clock = SystemClock::new();
            let client = get_in(&member, &door, &again).await?;
            anyhow::Ok((client, clock.monotonic()))
        });
    }
    let mut held = Vec::with_capacity(target.members.len());
    let mut latency = Latency::new();
    while let Some(done) = tasks.join_next().await {
        let (client, span) = done??;
        latency.record(span);
        held.push(client);
        bar.inc(1);
    }
    bar.finish_and_clear();
    Ok((held, latency, again.load(Ordering::Relaxed)))
}

async fn get_in(member: &Member, door: &Door, again: &AtomicU64) -> anyhow::Result<Client<Stream>> {
    let mut last = None;
    let mut ticks = tokio::time::interval(AGAIN);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for _ in 0..TRIES {
        ticks.tick().await;
        match tokio::time::timeout(TRY, member.open(door, &Options::default())).await {
            Ok(Ok(mut client)) => {
                client.rest();
                return Ok(client);
            }
            Ok(Err(cause)) => last = Some(cause),
            Err(late) => last = Some(late.into()),
        }
        again.fetch_add(1, Ordering::Relaxed);
    }
    Err(last.unwrap_or_else(|| anyhow::anyhow!("never tried"))).with_context(|| member.client_id.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The load holds against a broker that is not ours.
    #[tokio::test(flavor = "multi_thread")]
    async fn all_get_in() {
        let mosquitto = Mosquitto::start().await.expect("mosquitto runs");
        let target = Target::peer(&mosquitto, 20).expect("certificates");
        let (held, latency, _) = storm(&target).await.expect("the load runs");
        assert_eq!((held.len(), latency.count()), (20, 20));
        mosquitto.stop().await.expect("stopped");
    }
}
