//! How long a device waits for what an operator wants of it: deltas at a steady thousand a second, on SQLite and on PostgreSQL.
//!
//! Changes are asked for when their time has come, whether or not those before are answered, and each wait is counted from that
//! time until the device has the message: a server that falls behind shows it.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use fleetward_base::{Clock as _, SystemClock};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::json;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use super::figures::{Figures, Latency};
use super::postgres::Postgres;
use super::stage::Stage;
use super::{Bench, BenchArgs, fleet, progress};
use crate::identity::Identity;
use crate::json as read;
use crate::mqtt::{Client, Options, Packet};
use crate::net::{Stream, source};
use crate::rest::Rest;
use crate::tls::ALPN_MQTT;

/// Between two changes.
const EVERY: Duration = Duration::from_millis(1);
/// Connections that are opened at once.
const AT_ONCE: usize = 64;
/// A device that was told nothing for so long never is.
const GIVE_UP: Duration = Duration::from_secs(60);

pub(crate) async fn run(args: &BenchArgs) -> anyhow::Result<Figures> {
    let count = args.devices.unwrap_or(1000);
    let mut figures = Figures::new(Bench::Delta);
    figures.parameter("devices", count);
    figures.parameter("changes_per_second", 1000);

    let stage = Stage::raise(args, None).await?;
    measure(&stage, count, args.seconds, "sqlite_", &mut figures).await.context("SQLite")?;
    stage.close().await?;

    let spinner = progress::spinner("PostgreSQL cluster");
    let postgres = Postgres::start().await?;
    spinner.finish_and_clear();
    let stage = Stage::raise(args, Some(postgres.url.clone())).await?;
    measure(&stage, count, args.seconds, "postgres_", &mut figures).await.context("PostgreSQL")?;
    stage.close().await?;
    Ok(figures)
}

async fn measure(stage: &Stage, count: usize, seconds: u64, engine: &str, figures: &mut Figures) -> anyhow::Result<()> {
    let fleet = fleet::enroll(stage, "delta", count).await?;
    let clients = connect(stage, &fleet).await?;
    // Whole rounds, so that each device hears as often as any other.
    let rounds = usize::try_from(seconds * 1000)?.div_ceil(count).max(1);
    let spinner = progress::spinner("deltas");
    let rest = Arc::new(stage.server.rest(stage.token())?);
    let mark = stage.mark()?;
    let clock = Arc::new(SystemClock::new());
    let begun = clock.monotonic();
    let mut hearing = JoinSet::new();
    for (place, client) in clients.into_iter().enumerate() {
        hearing.spawn(hear(client, (place, count, rounds), Arc::clone(&clock), begun));
    }
    let asked = ask(&rest, stage, &fleet, rounds);
    let heard = async {
        let mut latency = Latency::new();
        while let Some(done) = hearing.join_next().await {
            latency.merge(&done??);
        }
        anyhow::Ok(latency)
    };
    let ((), latency) = futures::try_join!(asked, heard)?;
    let used = stage.since(mark)?;
    spinner.finish_and_clear();
    figures.stretch((engine, "deltas", ""), latency.count(), &used);
    figures.latency((&format!("{engine}delta_"), ""), &latency);
    Ok(())
}

async fn connect(stage: &Stage, fleet: &[Arc<Identity>]) -> anyhow::Result<Vec<Client<Stream>>> {
    let door = stage.server.mqtt_door()?;
    stream::iter(fleet.iter().enumerate())
        .map(|(place, device)| {
            let door = &door;
            async move {
                let tls = stage.server.trust.identified(device, &[ALPN_MQTT])?;
                let stream = door.open(&tls, Some(source(place))).await?;
                let mut client = Client::connect(stream, device.device.as_str(), &Options::default()).await?;
                let topic = format!("$aws/things/{}/shadow/update/delta", device.device);
                client.subscribe_all(&[&topic], |_| {}).await?;
                anyhow::Ok(client)
            }
        })
        .buffered(AT_ONCE)
        .try_collect()
        .await
}

/// When the change with this number is due.
fn due(begun: Duration, number: usize) -> anyhow::Result<Duration> {
    Ok(begun + EVERY * u32::try_from(number + 1)?)
}

/// Asks for the changes, device by device, round by round.
async fn ask(rest: &Arc<Rest>, stage: &Stage, fleet: &[Arc<Identity>], rounds: usize) -> anyhow::Result<()> {
    let mut timer = tokio::time::interval(EVERY);
    timer.set_missed_tick_behavior(MissedTickBehavior::Burst);
    // The first is at once.
    timer.tick().await;
    let mut asking = JoinSet::new();
    for round in 0..rounds {
        for device in fleet {
            timer.tick().await;
            let path = format!("/v1/tenants/{}/devices/{}/shadow", stage.tenant, device.device);
            let rest = Arc::clone(rest);
            asking.spawn(async move {
                rest.post(&path, &json!({ "state": { "desired": { "interval_s": round + 1 } } })).await
            });
            while let Some(done) = asking.try_join_next() {
                done??;
            }
        }
    }
    while let Some(done) = asking.join_next().await {
        done??;
    }
    Ok(())
}

/// Waits for each change of one device, in their order.
async fn hear(
    mut client: Client<Stream>,
    (place, count, rounds): (usize, usize, usize),
    clock: Arc<SystemClock>,
    begun: Duration,
) -> anyhow::Result<Latency> {
    let mut latency = Latency::new();
    for round in 0..rounds {
        let message = loop {
            let packet = tokio::time::timeout(GIVE_UP, client.next()).await.context("a delta is missing")??;
            if let Packet::Publish(message) = packet {
                break message;
            }
        };
        latency.record(clock.monotonic().saturating_sub(due(begun, round * count + place)?));
        if let Some(id) = message.id {
            client.acknowledge(id);
            client.flush().await?;
        }
        let told: serde_json::Value = serde_json::from_slice(&message.payload)?;
        let wanted = u64::try_from(round + 1)?;
        anyhow::ensure!(read::count(&told, "/state/interval_s") == wanted, "not the delta of change {wanted}: {told}");
    }
    client.disconnect().await?;
    Ok(latency)
}
