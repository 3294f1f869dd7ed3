//! A server with a million certificates, and what they weigh.
//!
//! The server is started and stopped around [`fill`], comes up again to give each certificate its place in the log, and
//! is started once more: what is then read is the memory of a process that has done nothing, with the fleet and without.

use std::time::Duration;

use anyhow::Context as _;
use fleetward_base::Clock as _;

use super::figures::{Figures, per_second, whole};
use super::fill::{Filled, Plan, fill};
use super::idle::settle;
use super::stage::Stage;
use super::{BenchArgs, progress};
use crate::json;

/// Certificates, where nothing else was asked for.
pub(crate) const MILLION: usize = 1_000_000;
/// How long the log may take to take them all in.
const CATCH_UP: Duration = Duration::from_secs(900);
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Raises the stage, fills it and measures what that costs. `prepare` is done before there are that many.
pub(crate) async fn raise(args: &BenchArgs, plan: Plan, figures: &mut Figures) -> anyhow::Result<(Stage, Filled)> {
    let stage = Stage::raise_with_pki(args).await?;
    raise_on(stage, plan, figures).await
}

/// As [`raise`], on a stage that is there.
pub(crate) async fn raise_on(stage: Stage, plan: Plan, figures: &mut Figures) -> anyhow::Result<(Stage, Filled)> {
    let stage = stage.restart().await?;
    settle().await;
    let (before, disk_before) = (stage.server.memory()?, stage.disk_bytes()?);
    let tenant = stage.tenant.clone();
    let begun = stage.clock.monotonic();
    let (stage, filled) = stage.between(async |folder| fill(folder, &tenant, plan).await).await?;
    let filling = stage.clock.monotonic().saturating_sub(begun);

    let mark = stage.mark()?;
    catch_up(&stage, plan.certificates).await?;
    let logged = stage.since(mark)?;
    // What follows a restart is not charged with what filling left in memory.
    let begun = stage.clock.monotonic();
    let stage = stage.restart().await?;
    let starting = stage.clock.monotonic().saturating_sub(begun);
    settle().await;
    let (after, disk_after) = (stage.server.memory()?, stage.disk_bytes()?);

    let count = u64::try_from(plan.certificates)?;
    figures.parameter("certificates", plan.certificates);
    figures.parameter("revoked_before", filled.revoked());
    figures.parameter("denied_keys", plan.denied);
    figures.set("fill_seconds", filling.as_secs_f64());
    figures.set("log_certificates_per_second", per_second(count, logged.wall));
    figures.set("log_certificates_per_server_cpu_second", per_second(count, logged.cpu));
    figures.set("restart_seconds", starting.as_secs_f64());
    let scale = whole(u64::try_from(MILLION)?) / whole(count);
    figures.set("rss_bytes_per_million", (whole(after.rss) - whole(before.rss)) * scale);
    figures.set("rss_bytes_empty", whole(before.rss));
    figures.set("rss_bytes_filled", whole(after.rss));
    figures.set("disk_bytes_per_million", (whole(disk_after) - whole(disk_before)) * scale);
    Ok((stage, filled))
}

/// Waits until every certificate has its place in the log.
async fn catch_up(stage: &Stage, count: usize) -> anyhow::Result<()> {
    let bar = progress::bar("transparency log", count);
    let wanted = u64::try_from(count)?;
    let path = format!("/v1/tenants/{}/transparency", stage.tenant);
    let waiting = async {
        let mut tick = tokio::time::interval(LOOK_EVERY);
        loop {
            tick.tick().await;
            // Before the first certificate has its place there is no log.
            let size =
                stage.rest.read(&path).await.ok().and_then(|head| json::at(&head, "/size").as_u64()).unwrap_or(0);
            bar.set_position(size);
            if size >= wanted {
                return;
            }
        }
    };
    tokio::time::timeout(CATCH_UP, waiting).await.context("the log did not catch up")?;
    bar.finish_and_clear();
    Ok(())
}
