//! Durable shadow updates over MQTT, counted when `update/accepted` has come back, on each database.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use fleetward_base::{Clock as _, SystemClock};
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::figures::{Figures, Latency};
use super::postgres::Postgres;
use super::stage::{Stage, Used};
use super::{Bench, BenchArgs, fleet, progress};
use crate::identity::Identity;
use crate::mqtt::{Client, Options, Packet};
use crate::net::{Door, Stream};
use crate::tls::{ALPN_MQTT, Trust};

/// Updates of one device under way at once; the server allows ten.
const WINDOW: usize = 2;

pub(crate) async fn run(args: &BenchArgs) -> anyhow::Result<Figures> {
    let count = args.devices.unwrap_or(100);
    let mut figures = Figures::new(Bench::Shadow);
    figures.parameter("devices", count);
    figures.parameter("window", WINDOW);

    let stage = Stage::raise(args, None).await?;
    let (latency, used) = measure(&stage, count, args.seconds).await.context("SQLite")?;
    figures.stretch(("sqlite_", "updates", ""), latency.count(), &used);
    figures.latency(("sqlite_", ""), &latency);
    figures.latency(("", ""), &latency);
    stage.close().await?;

    let spinner = progress::spinner("PostgreSQL cluster");
    let postgres = Postgres::start().await?;
    spinner.finish_and_clear();
    let stage = Stage::raise(args, Some(postgres.url.clone())).await?;
    let (latency, used) = measure(&stage, count, args.seconds).await.context("PostgreSQL")?;
    figures.stretch(("postgres_", "updates", ""), latency.count(), &used);
    figures.latency(("postgres_", ""), &latency);
    stage.close().await?;
    Ok(figures)
}

async fn measure(stage: &Stage, count: usize, seconds: u64) -> anyhow::Result<(Latency, Used)> {
    let devices = fleet::enroll(stage, "shadow", count).await?;
    let spinner = progress::spinner("shadow updates");
    let go = Arc::new(Barrier::new(devices.len() + 1));
    let mut tasks = JoinSet::new();
    for device in devices {
        let (door, trust, go) = (stage.server.mqtt_door()?, stage.server.trust.clone(), Arc::clone(&go));
        tasks.spawn(async move {
            let client = open(&door, &trust, &device).await;
            go.wait().await;
            drive(client?, &device, Duration::from_secs(seconds)).await.with_context(|| device.device.to_string())
        });
    }
    go.wait().await;
    let mark = stage.mark()?;
    let mut all = Latency::new();
    while let Some(done) = tasks.join_next().await {
        all.merge(&done??);
    }
    spinner.finish_and_clear();
    Ok((all, stage.since(mark)?))
}

async fn open(door: &Door, trust: &Trust, device: &Identity) -> anyhow::Result<Client<Stream>> {
    let stream = door.open(&trust.identified(device, &[ALPN_MQTT])?, None).await?;
    let mut client = Client::connect(stream, device.device.as_str(), &Options::default()).await?;
    let filters = ["accepted", "rejected"].map(|end| format!("$aws/things/{}/shadow/update/{end}", device.device));
    client.subscribe_all(&filters.each_ref().map(String::as_str), |_| {}).await?;
    Ok(client)
}

async fn drive(mut client: Client<Stream>, device: &Identity, length: Duration) -> anyhow::Result<Latency> {
    let clock = SystemClock::new();
    let topic = format!("$aws/things/{}/shadow/update", device.device);
    let mut latency = Latency::new();
    let mut flying: VecDeque<Duration> = VecDeque::with_capacity(WINDOW);
    let mut reading: u32 = 0;
    loop {
        let now = clock.monotonic();
        if now < length {
            while flying.len() < WINDOW {
                reading = reading.wrapping_add(1);
                let body =
                    format!(r#"{{"state":{{"reported":{{"temperature":{},"uptime":{reading}}}}}}}"#, 20 + reading % 7);
                client.publish(&topic, body.as_bytes());
                flying.push_back(now);
            }
        } else if flying.is_empty() {
            client.disconnect().await?;
            return Ok(latency);
        }
        client.flush().await?;
        let mut next = Some(client.next().await?);
        let now = clock.monotonic();
        while let Some(packet) = next {
            match packet {
                Packet::Publish(message) => {
                    anyhow::ensure!(message.topic.ends_with("/accepted"), "rejected: {:?}", message.payload);
                    if let Some(id) = message.id {
                        client.acknowledge(id);
                    }
                    // Updates of one connection are answered in their order.
                    let sent = flying.pop_front().context("accepted twice")?;
                    latency.record(now.saturating_sub(sent));
                }
                Packet::Puback { code: 0, .. } => {}
                other => anyhow::bail!("unexpected {other:?}"),
            }
            next = client.buffered()?;
        }
    }
}
