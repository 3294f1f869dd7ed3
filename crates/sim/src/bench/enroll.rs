//! Durable EST enrolments.
//!
//! First enrolments (`simpleenroll` with a one-time token) on kept-alive connections, then renewals with a new key
//! (`simplereenroll`), each on a fresh mTLS connection as a device makes one. Keys, requests and TLS configurations are
//! made beforehand: the machine is shared and it is the server that is measured. What its cores can do of the cryptography
//! alone is measured right after, and the goal is three fifths of that, or of 2,000 a second where that is less.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use fleetward_base::{Clock as _, DeviceId, SystemClock};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use rustls::ClientConfig;
use tokio::task::JoinSet;

use super::figures::{Figures, Latency, whole};
use super::fleet::Claim;
use super::stage::Stage;
use super::{Bench, BenchArgs, crypto, fleet, progress};
use crate::est;
use crate::http::Connection;
use crate::identity::{DeviceKey, Identity};
use crate::net::{Door, source};
use crate::tls::ALPN_HTTP;

/// Fresh connections at once.
const AT_ONCE: usize = 48;
/// Connections that are kept, with a request under way on each: what waits for the disk together is written together.
const KEPT: usize = 128;
/// Renewals of one tenant that the server serves in a burst (its limit), with room.
const RENEWALS: usize = 4500;
/// What is asked of fresh connections where the machine allows more, and the share of the limit that is the goal.
const FRESH_AT_MOST: f64 = 2000.0;
const GOAL: f64 = 0.6;

/// A request that only has to be sent.
struct Prepared {
    device: DeviceId,
    key: DeviceKey,
    request: Vec<u8>,
}

/// A device that is to renew.
#[derive(Clone)]
struct Renewal {
    tls: Arc<ClientConfig>,
    request: Vec<u8>,
}

pub(crate) async fn run(args: &BenchArgs) -> anyhow::Result<Figures> {
    let count = args.devices.unwrap_or(6000);
    let stage = Stage::raise(args, None).await?;
    let claims = fleet::claims(&stage, "new", count).await?;
    // Started again, all that was written is in the database's file and can be weighed.
    let stage = stage.restart().await?;
    let disk_before = stage.disk_bytes()?;
    let mut figures = Figures::new(Bench::Enroll);
    figures.parameter("devices", count);
    figures.parameter("at_once", AT_ONCE);

    let prepared = prepare(claims.iter().map(|claim| claim.device.clone()))?;
    let connections = open(&stage, KEPT).await?;
    figures.parameter("kept_connections", connections.len());
    let mark = stage.mark()?;
    let (fleet, latency) = kept_alive(connections, claims, prepared).await?;
    figures.stretch(("", "kept_alive", ""), latency.count(), &stage.since(mark)?);
    figures.latency(("kept_alive_", ""), &latency);
    let stage = stage.restart().await?;
    let written = whole(stage.disk_bytes()?) - whole(disk_before);
    figures.set("disk_bytes_per_enrolment", written / whole(u64::try_from(count)?));

    let renewals = renewals(&stage, &fleet)?;
    let mark = stage.mark()?;
    let latency = fresh(&stage.server.device_door()?, &renewals).await?;
    figures.stretch(("", "fresh_mtls", ""), latency.count(), &stage.since(mark)?);
    figures.latency(("fresh_mtls_", ""), &latency);
    stage.close().await?;
    hold_against_the_machine(args, &mut figures).await?;
    Ok(figures)
}

/// The limit of the machine, and the goal that follows from it.
async fn hold_against_the_machine(args: &BenchArgs, figures: &mut Figures) -> anyhow::Result<()> {
    let spinner = progress::spinner("cryptography alone");
    let limit = crypto::limit(Duration::from_secs(args.seconds.min(3))).await?;
    let (signs, verifies) = crypto::openssl_p256().await?;
    spinner.finish_and_clear();
    figures.parameter("cores", limit.cores);
    figures.set("crypto_limit_per_second", limit.both_sides);
    figures.set("crypto_limit_server_side_per_second", limit.server_side);
    figures.set("openssl_p256_sign_per_second", signs);
    figures.set("openssl_p256_verify_per_second", verifies);
    let goal = limit.both_sides.min(FRESH_AT_MOST) * GOAL;
    figures.set("fresh_mtls_goal_per_second", goal);
    if let Some(reached) = figures.metric("fresh_mtls_per_second") {
        figures.set("fresh_mtls_share_of_goal", reached / goal);
    }
    Ok(())
}

fn renewals(stage: &Stage, fleet: &[Arc<Identity>]) -> anyhow::Result<Vec<Renewal>> {
    let renewing = fleet.iter().take(RENEWALS);
    renewing
        .map(|identity| {
            let tls = stage.server.trust.identified(identity, &[ALPN_HTTP])?;
            Ok(Renewal { tls, request: DeviceKey::generate()?.request(&identity.device)? })
        })
        .collect()
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

async fn open(stage: &Stage, count: usize) -> anyhow::Result<Vec<Connection>> {
    let door = stage.server.device_door()?;
    let tls = stage.server.trust.anonymous(&[ALPN_HTTP])?;
    stream::iter(0..count)
        .map(|place| {
            let (door, tls) = (&door, &tls);
            async move { Connection::open(door, tls, Some(source(place))).await }
        })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}

/// One after the other on each connection, all connections at once.
async fn kept_alive(
    connections: Vec<Connection>,
    claims: Vec<Claim>,
    prepared: Vec<Prepared>,
) -> anyhow::Result<(Vec<Arc<Identity>>, Latency)> {
    let bar = progress::bar("enrolments, kept alive", claims.len());
    let mut shares: Vec<Vec<(Claim, Prepared)>> = connections.iter().map(|_| Vec::new()).collect();
    for (place, work) in claims.into_iter().zip(prepared).enumerate() {
        let at = place % shares.len().max(1);
        shares.get_mut(at).context("a share for each connection")?.push(work);
    }
    let mut tasks = JoinSet::new();
    for (mut connection, share) in connections.into_iter().zip(shares) {
        let bar = bar.clone();
        tasks.spawn(async move {
            let (clock, mut latency, mut made) = (SystemClock::new(), Latency::new(), Vec::with_capacity(share.len()));
            for (claim, prepared) in share {
                let begun = clock.monotonic();
                let certificate =
                    est::post_enroll(&mut connection, &claim.device, &claim.token, &prepared.request).await?;
                latency.record(clock.monotonic().saturating_sub(begun));
                bar.inc(1);
                made.push(Arc::new(prepared.key.certified(prepared.device, certificate)));
            }
            anyhow::Ok((made, latency))
        });
    }
    let (mut fleet, mut all) = (Vec::new(), Latency::new());
    while let Some(done) = tasks.join_next().await {
        let (made, latency) = done??;
        fleet.extend(made);
        all.merge(&latency);
    }
    bar.finish_and_clear();
    Ok((fleet, all))
}

/// Each on a connection of its own, so many at once.
async fn fresh(door: &Door, renewals: &[Renewal]) -> anyhow::Result<Latency> {
    let bar = progress::bar("renewals, fresh mTLS", renewals.len());
    let mut tasks = JoinSet::new();
    for (first, share) in renewals.chunks(renewals.len().div_ceil(AT_ONCE).max(1)).enumerate() {
        let (bar, door, share) = (bar.clone(), door.clone(), share.to_vec());
        tasks.spawn(async move {
            let (clock, mut latency) = (SystemClock::new(), Latency::new());
            for (place, renewal) in share.iter().enumerate() {
                let begun = clock.monotonic();
                renew(&door, first + place * AT_ONCE, renewal).await?;
                latency.record(clock.monotonic().saturating_sub(begun));
                bar.inc(1);
            }
            anyhow::Ok(latency)
        });
    }
    let mut all = Latency::new();
    while let Some(done) = tasks.join_next().await {
        all.merge(&done??);
    }
    bar.finish_and_clear();
    Ok(all)
}

async fn renew(door: &Door, place: usize, renewal: &Renewal) -> anyhow::Result<()> {
    let mut connection = Connection::open(door, &renewal.tls, Some(source(place))).await?;
    est::reenroll(&mut connection, &renewal.request).await?;
    Ok(())
}
