//! Memory of the server for each idle connection.
//!
//! The fleet enrols first; then the server is started again, so that what it is charged with is what connections cost
//! and memory left over from enrolment does not hide any of it. Each connection is a device's: mTLS, an MQTT session
//! with its subscriptions, one ping answered. Then nothing, and the resident set is read.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use fleetward_base::Clock as _;
use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::figures::{Figures, whole};
use super::stage::Stage;
use super::{Bench, BenchArgs, fleet, progress};
use crate::identity::Identity;
use crate::mqtt::{Client, Options, Packet};
use crate::net::{Door, Stream, source};
use crate::tls::{ALPN_MQTT, Trust};

/// Connections that are being opened at once.
const AT_ONCE: usize = 64;
/// Open files beyond the connections: store, listeners, runtime.
const OTHER_FILES: u64 = 200;
/// What passes between the last ping and the reading, so that the server has nothing under way.
const SETTLE: Duration = Duration::from_secs(3);

pub(crate) async fn run(args: &BenchArgs) -> anyhow::Result<Figures> {
    let count = args.connections.or(args.devices).unwrap_or(15_000);
    let files = crate::net::raise_open_files();
    let needed = u64::try_from(count)? + OTHER_FILES;
    anyhow::ensure!(files >= needed, "{count} connections need {needed} open files and the limit is {files}");
    let stage = Stage::raise(args, None).await?;
    let devices = fleet::enroll(&stage, "idle", count).await?;
    let stage = stage.restart().await?;
    warm_up(&stage, &devices).await?;

    let before = stage.server.memory()?;
    let mark = stage.mark()?;
    let held = connect(&stage, &devices).await?;
    let connected = stage.since(mark)?;
    let held = ping(held).await?;
    settle().await;
    let after = stage.server.memory()?;
    let quiet = stage.mark()?;
    settle().await;
    let idle = stage.since(quiet)?;
    // Still there, all of them: what was measured was held.
    let held = ping(held).await?;

    let mut figures = Figures::new(Bench::Idle);
    let connections = u64::try_from(held.len())?;
    figures.parameter("connections", held.len());
    figures.parameter("subscriptions_per_connection", 2);
    let each = |after: u64, before: u64| (whole(after) - whole(before)) / whole(connections);
    figures.set("server_rss_bytes_per_connection", each(after.rss, before.rss));
    figures.set("server_pss_bytes_per_connection", each(after.pss, before.pss));
    figures.set("server_rss_bytes_before", whole(before.rss));
    figures.set("server_rss_bytes", whole(after.rss));
    figures.set("connects_per_second", super::figures::per_second(connections, connected.wall));
    figures.set("connect_server_cpu_seconds", connected.cpu.as_secs_f64());
    figures.set("idle_server_cpu_share", idle.cpu.as_secs_f64() / idle.wall.as_secs_f64());
    drop(held);
    stage.close().await?;
    Ok(figures)
}

/// One device comes and goes: what the server sets up once is not charged to the connections.
async fn warm_up(stage: &Stage, devices: &[Arc<Identity>]) -> anyhow::Result<()> {
    let device = devices.first().context("at least one connection")?;
    let client = open(&stage.server.mqtt_door()?, &stage.server.trust, device, 0).await?;
    client.disconnect().await?;
    Ok(())
}

async fn connect(stage: &Stage, devices: &[Arc<Identity>]) -> anyhow::Result<Vec<Client<Stream>>> {
    let bar = progress::bar("connections", devices.len());
    let door = stage.server.mqtt_door()?;
    let trust = &stage.server.trust;
    let held = stream::iter(devices.iter().enumerate())
        .map(|(place, device)| {
            let (bar, door) = (&bar, &door);
            async move {
                let client = open(door, trust, device, place).await?;
                bar.inc(1);
                anyhow::Ok(client)
            }
        })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await;
    bar.finish_and_clear();
    held
}

async fn open(door: &Door, trust: &Trust, device: &Identity, place: usize) -> anyhow::Result<Client<Stream>> {
    let tls = trust.identified(device, &[ALPN_MQTT])?;
    let stream = door.open(&tls, Some(source(place))).await?;
    let mut client = Client::connect(stream, device.device.as_str(), &Options::default()).await?;
    let things = format!("$aws/things/{}", device.device);
    let filters = [format!("{things}/shadow/update/delta"), format!("{things}/jobs/notify-next")];
    client.subscribe_all(&filters.each_ref().map(String::as_str), |_| {}).await?;
    client.rest();
    Ok(client)
}

async fn ping(held: Vec<Client<Stream>>) -> anyhow::Result<Vec<Client<Stream>>> {
    stream::iter(held)
        .map(|mut client| async move {
            client.ping();
            client.flush().await?;
            let answer = client.next().await?;
            anyhow::ensure!(answer == Packet::Pingresp, "unexpected {answer:?}");
            client.rest();
            Ok(client)
        })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}

pub(crate) async fn settle() {
    let clock = fleetward_base::SystemClock::new();
    let mut tick = tokio::time::interval(Duration::from_millis(100));
    while clock.monotonic() < SETTLE {
        tick.tick().await;
    }
}
