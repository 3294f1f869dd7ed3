//! Durable EST enrolments.
//!
//! First enrolments (`simpleenroll` with a one-time token) on kept-alive connections, then renewals with a new key
//! (`simplereenroll`), each on a fresh mTLS connection as a device makes one. Keys and requests are made beforehand: the
//! machine is shared and it is the server that is measured.

use std::sync::Arc;

use fleetward_base::{Clock as _, DeviceId};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use tokio::sync::Mutex;

use super::figures::{Figures, Latency};
use super::fleet::Claim;
use super::stage::Stage;
use super::{Bench, BenchArgs, fleet, progress};
use crate::est;
use crate::http::Connection;
use crate::identity::{DeviceKey, Identity};
use crate::net::{Door, source};
use crate::tls::ALPN_HTTP;

/// Requests under way at once.
const AT_ONCE: usize = 48;

/// A request that only has to be sent.
struct Prepared {
    device: DeviceId,
    key: DeviceKey,
    request: Vec<u8>,
}

pub(crate) async fn run(args: &BenchArgs) -> anyhow::Result<Figures> {
    let count = args.devices.unwrap_or(6000);
    let stage = Stage::raise(args, None).await?;
    let claims = fleet::claims(&stage, "new", count).await?;
    let mut figures = Figures::new(Bench::Enroll);
    figures.parameter("devices", count);
    figures.parameter("at_once", AT_ONCE);

    let prepared = prepare(claims.iter().map(|claim| claim.device.clone()))?;
    let connections = open(&stage, AT_ONCE).await?;
    figures.parameter("kept_connections", connections.len());
    let mark = stage.mark()?;
    let (fleet, latency) = kept_alive(&stage, &connections, &claims, prepared).await?;
    figures.stretch(("", "kept_alive", ""), latency.count(), &stage.since(mark)?);
    figures.latency(("kept_alive_", ""), &latency);
    drop(connections);

    let renewing: Vec<_> = fleet.into_iter().take(count.div_ceil(2)).collect();
    let prepared = prepare(renewing.iter().map(|identity| identity.device.clone()))?;
    let mark = stage.mark()?;
    let latency = fresh(&stage, &renewing, prepared).await?;
    figures.stretch(("", "fresh_mtls", ""), latency.count(), &stage.since(mark)?);
    figures.latency(("fresh_mtls_", ""), &latency);
    stage.close().await?;
    Ok(figures)
}

fn prepare(devices: impl Iterator<Item = DeviceId>) -> anyhow::Result<Vec<Prepared>> {
    devices
        .map(|device| {
            let key = DeviceKey::generate()?;
            let request = key.request(&device)?;
            Ok(Prepared { device, key, request })
        })
        .collect()
}

async fn open(stage: &Stage, count: usize) -> anyhow::Result<Vec<Mutex<Connection>>> {
    let door = stage.server.device_door()?;
    let tls = stage.server.trust.anonymous(&[ALPN_HTTP])?;
    stream::iter(0..count)
        .map(|place| {
            let (door, tls) = (&door, &tls);
            async move { Ok(Mutex::new(Connection::open(door, tls, Some(source(place))).await?)) }
        })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}

async fn kept_alive(
    stage: &Stage,
    connections: &[Mutex<Connection>],
    claims: &[Claim],
    prepared: Vec<Prepared>,
) -> anyhow::Result<(Vec<Arc<Identity>>, Latency)> {
    let bar = progress::bar("enrolments, kept alive", claims.len());
    let work = claims.iter().zip(prepared).zip(connections.iter().cycle());
    let answers: Vec<_> = stream::iter(work)
        .map(|((claim, prepared), connection)| {
            let bar = &bar;
            async move {
                let mut connection = connection.lock().await;
                let begun = stage.clock.monotonic();
                let certificate =
                    est::post_enroll(&mut connection, &claim.device, &claim.token, &prepared.request).await?;
                let took = stage.clock.monotonic().saturating_sub(begun);
                bar.inc(1);
                anyhow::Ok((Arc::new(prepared.key.certified(prepared.device, certificate)), took))
            }
        })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    bar.finish_and_clear();
    let mut latency = Latency::new();
    let fleet = answers.into_iter().map(|(identity, took)| {
        latency.record(took);
        identity
    });
    Ok((fleet.collect(), latency))
}

async fn fresh(stage: &Stage, fleet: &[Arc<Identity>], prepared: Vec<Prepared>) -> anyhow::Result<Latency> {
    let bar = progress::bar("renewals, fresh mTLS", fleet.len());
    let door = stage.server.device_door()?;
    let times: Vec<_> = stream::iter(fleet.iter().zip(prepared).enumerate())
        .map(|(place, (identity, prepared))| {
            let (bar, door) = (&bar, &door);
            async move {
                let begun = stage.clock.monotonic();
                renew(stage, door, place, identity, &prepared.request).await?;
                bar.inc(1);
                anyhow::Ok(stage.clock.monotonic().saturating_sub(begun))
            }
        })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    bar.finish_and_clear();
    let mut latency = Latency::new();
    times.into_iter().for_each(|took| latency.record(took));
    Ok(latency)
}

async fn renew(stage: &Stage, door: &Door, place: usize, identity: &Identity, request: &[u8]) -> anyhow::Result<()> {
    let tls = stage.server.trust.identified(identity, &[ALPN_HTTP])?;
    let mut connection = Connection::open(door, &tls, Some(source(place))).await?;
    est::reenroll(&mut connection, request).await?;
    Ok(())
}
