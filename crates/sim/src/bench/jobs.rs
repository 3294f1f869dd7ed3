//! A job for every device of a fleet that is connected, on SQLite and on PostgreSQL.
//!
//! `executions_per_minute` is of the fan-out: the clock starts when the request that makes the job is sent and stops when the
//! last device was told what is next for it, with the document; each execution is a row and a row of the journal by then. Then
//! all devices begin it and say that they succeeded, each with the answers that a device SDK waits for: `worked_per_minute`,
//! until the job says of itself that it is completed.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use fleetward_base::{Clock as _, SystemClock};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::json;
use tokio::task::JoinSet;

use super::figures::{Figures, Latency};
use super::postgres::Postgres;
use super::stage::Stage;
use super::{Bench, BenchArgs, fleet, progress};
use crate::json as read;
use crate::mqtt::{Client, Options, Packet};
use crate::net::{Stream, source};
use crate::tls::ALPN_MQTT;

/// Connections that are opened at once.
const AT_ONCE: usize = 64;
/// A device that was told nothing by then never is.
const GIVE_UP: Duration = Duration::from_secs(300);
const JOB: &str = "bench";

/// A device with its session.
struct Worker {
    thing: String,
    client: Client<Stream>,
}

pub(crate) async fn run(args: &BenchArgs) -> anyhow::Result<Figures> {
    let count = args.devices.unwrap_or(5000);
    let mut figures = Figures::new(Bench::Jobs);
    figures.parameter("devices", count);
    let stage = Stage::raise(args, None).await?;
    measure(&stage, count, "sqlite_", &mut figures).await.context("SQLite")?;
    stage.close().await?;

    let spinner = progress::spinner("PostgreSQL cluster");
    let postgres = Postgres::start().await?;
    spinner.finish_and_clear();
    let stage = Stage::raise(args, Some(postgres.url.clone())).await?;
    measure(&stage, count, "postgres_", &mut figures).await.context("PostgreSQL")?;
    stage.close().await?;
    Ok(figures)
}

async fn measure(stage: &Stage, count: usize, engine: &str, figures: &mut Figures) -> anyhow::Result<()> {
    let workers = connect(stage, count).await?;
    let clock = Arc::new(SystemClock::new());
    let path = format!("/v1/tenants/{}/jobs", stage.tenant);
    let mut told = JoinSet::new();
    for worker in workers {
        let clock = Arc::clone(&clock);
        told.spawn(async move {
            let worker = tokio::time::timeout(GIVE_UP, worker.hear()).await.context("was not told")??;
            anyhow::Ok((worker, clock.monotonic()))
        });
    }
    let (mark, begun) = (stage.mark()?, clock.monotonic());
    let document = json!({ "operation": "reboot", "when": "now", "reason": "a benchmark of jobs" });
    stage.rest.post(&path, &json!({ "id": JOB, "document": document, "targets": [{}] })).await?;
    let (mut latency, mut last, mut workers) = (Latency::new(), begun, Vec::new());
    while let Some(done) = told.join_next().await {
        let (worker, at) = done??;
        latency.record(at.saturating_sub(begun));
        last = last.max(at);
        workers.push(worker);
    }
    let used = stage.since(mark)?;
    figures.set(format!("{engine}executions_per_minute"), per_minute(count, last.saturating_sub(begun)));
    figures.latency((&format!("{engine}told_"), ""), &latency);
    figures.stretch((engine, "executions", ""), latency.count(), &used);

    let (mark, begun) = (stage.mark()?, clock.monotonic());
    let mut working = JoinSet::new();
    for worker in workers {
        working.spawn(async move { tokio::time::timeout(GIVE_UP, worker.work()).await.context("no answer")? });
    }
    while let Some(done) = working.join_next().await {
        done??;
    }
    completed(stage, &format!("{path}/{JOB}")).await?;
    let spent = clock.monotonic().saturating_sub(begun);
    let used = stage.since(mark)?;
    figures.set(format!("{engine}worked_per_minute"), per_minute(count, spent));
    figures.stretch((engine, "worked", ""), latency.count(), &used);
    Ok(())
}

fn per_minute(count: usize, span: Duration) -> f64 {
    let count = f64::from(u32::try_from(count).unwrap_or(u32::MAX));
    count * 60.0 / span.as_secs_f64().max(f64::EPSILON)
}

async fn completed(stage: &Stage, path: &str) -> anyhow::Result<()> {
    let waiting = async {
        let mut tick = tokio::time::interval(Duration::from_millis(50));
        loop {
            tick.tick().await;
            let job = stage.rest.read(path).await?;
            if read::at(&job, "/status").as_str() == Some("completed") {
                let succeeded = read::count(&job, "/counts/succeeded");
                anyhow::ensure!(read::count(&job, "/counts/failed") == 0 && succeeded > 0, "not all succeeded: {job}");
                return Ok(());
            }
        }
    };
    tokio::time::timeout(GIVE_UP, waiting).await.context("the job was not completed")?
}

async fn connect(stage: &Stage, count: usize) -> anyhow::Result<Vec<Worker>> {
    let fleet = fleet::enroll(stage, "worker", count).await?;
    let door = stage.server.mqtt_door()?;
    let bar = progress::bar("connections", count);
    let workers = stream::iter(fleet.iter().enumerate())
        .map(|(place, device)| {
            let (bar, door) = (&bar, &door);
            async move {
                let tls = stage.server.trust.identified(device, &[ALPN_MQTT])?;
                let stream = door.open(&tls, Some(source(place))).await?;
                let mut client = Client::connect(stream, device.device.as_str(), &Options::default()).await?;
                let thing = format!("$aws/things/{}/jobs", device.device);
                client.subscribe_all(&[&format!("{thing}/notify-next")], |_| {}).await?;
                bar.inc(1);
                anyhow::Ok(Worker { thing, client })
            }
        })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await;
    bar.finish_and_clear();
    workers
}

impl Worker {
    /// Waits until it is told what is next.
    async fn hear(mut self) -> anyhow::Result<Self> {
        let told = self.message("notify-next").await?;
        anyhow::ensure!(read::at(&told, "/execution/jobId").as_str() == Some(JOB), "told of another: {told}");
        anyhow::ensure!(read::at(&told, "/execution/jobDocument").is_object(), "no document: {told}");
        Ok(self)
    }

    /// Begins the job and says that it is done.
    async fn work(mut self) -> anyhow::Result<()> {
        self.client.publish(&format!("{}/start-next", self.thing), b"{}");
        let started = self.message("start-next/accepted").await?;
        let version = read::count(&started, "/execution/versionNumber");
        let update = json!({ "status": "SUCCEEDED", "expectedVersion": version });
        self.client.publish(&format!("{}/{JOB}/update", self.thing), update.to_string().as_bytes());
        self.message("update/accepted").await?;
        Ok(self.client.disconnect().await?)
    }

    /// The next message whose topic ends so; others are acknowledged and passed over.
    async fn message(&mut self, end: &str) -> anyhow::Result<serde_json::Value> {
        loop {
            self.client.flush().await?;
            match self.client.next().await? {
                Packet::Publish(message) => {
                    if let Some(id) = message.id {
                        self.client.acknowledge(id);
                    }
                    anyhow::ensure!(!message.topic.ends_with("/rejected"), "rejected: {:?}", message.payload);
                    if message.topic.ends_with(end) {
                        self.client.flush().await?;
                        return Ok(serde_json::from_slice(&message.payload)?);
                    }
                }
                Packet::Puback { code: 0, .. } => {}
                other => anyhow::bail!("unexpected {other:?}"),
            }
        }
    }
}
