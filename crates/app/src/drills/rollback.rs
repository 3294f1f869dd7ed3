//! Updates taken back: which rollouts, which devices, from where, and how long it takes at their pace.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use fleetward_base::{RolloutId, TenantId, limits};
use fleetward_core::deployment::{Kind, Status};
use fleetward_core::drill::{Back, Pace, Prospect, Terms, Why, back, is_silent};
use fleetward_core::rollout::{Rollout, control};
use fleetward_store::{TenantTx, WayBackRow};
use fleetward_supply::select;

use super::{Report, RolloutEffect, within_reach};
use crate::error::{Error, Result};
use crate::rollouts::{observe, rows};
use crate::{App, reconcile};

/// Releases of one version that are looked through for an image.
const RELEASES: u32 = 20;

pub(super) async fn run(
    app: &App,
    tenant: &TenantId,
    asked: &BTreeSet<RolloutId>,
    terms: &Terms,
    mut report: Report,
) -> Result<Report> {
    let mut images = HashMap::new();
    for rollout in found(app, tenant, asked, terms, &mut report).await? {
        let (app_in, terms_in) = (app.clone(), *terms);
        let (next, known) = app
            .read(tenant, "drill rollout", move |tx| {
                Box::pin(async move { one(&app_in, tx, &rollout, &terms_in, report, images).await })
            })
            .await?;
        (report, images) = (next, known);
    }
    // Rollouts go back side by side.
    report.takes = report.rollouts.iter().filter_map(|it| it.takes).max();
    if report.takes.is_some() {
        report.pace = "the deployments of these rollouts";
    }
    Ok(report)
}

/// Those that are asked for; of all, those that can be taken back now.
async fn found(
    app: &App,
    tenant: &TenantId,
    asked: &BTreeSet<RolloutId>,
    terms: &Terms,
    report: &mut Report,
) -> Result<Vec<Rollout>> {
    let (started, ids, now) = (app.clock().monotonic(), asked.clone(), terms.now);
    let app_in = app.clone();
    let rollouts = app
        .read(tenant, "drill rollouts", move |tx| {
            Box::pin(async move {
                if !ids.is_empty() {
                    let mut rollouts = Vec::new();
                    for id in ids {
                        let row = tx.rollout(id).await?.ok_or(Error::NotFound { what: "rollout" })?;
                        rollouts.push(rows::rollout_of(row)?);
                    }
                    return Ok(rollouts);
                }
                every(&app_in, tx, now).await
            })
        })
        .await?;
    let took = app.clock().monotonic().saturating_sub(started);
    report.step("rollouts met", u64::try_from(rollouts.len()).unwrap_or(0), took);
    Ok(rollouts)
}

/// Rollouts that can be taken back and have something to take back.
async fn every(app: &App, tx: &mut TenantTx, now: fleetward_base::Timestamp) -> Result<Vec<Rollout>> {
    let (mut rollouts, mut after) = (Vec::new(), None);
    loop {
        let page = tx.rollouts(None, after, limits::PAGE_ROWS).await?;
        let full = u32::try_from(page.len()).is_ok_and(|found| found >= limits::PAGE_ROWS);
        for row in page {
            after = Some(row.id);
            let rollout = rows::rollout_of(row)?;
            let can = matches!(control::roll_back(now, &rollout), Ok(Some(_)));
            if can
                && (tx.count_to_roll_back(rollout.id).await? > 0
                    || observe::standing(app, tx, &rollout, now).await?.total().open() > 0)
            {
                rollouts.push(rollout);
            }
        }
        if !full {
            return Ok(rollouts);
        }
    }
}

/// Whether there is a release of a version for a hardware revision.
type Images = HashMap<(String, String), bool>;

async fn one(
    app: &App,
    tx: &mut TenantTx,
    rollout: &Rollout,
    terms: &Terms,
    mut report: Report,
    mut images: Images,
) -> Result<(Report, Images)> {
    let clock = app.clock();
    let mut effect = RolloutEffect {
        rollout: rollout.id,
        name: rollout.name.clone(),
        state: rollout.state.as_str(),
        refused: None,
        already: false,
        devices: 0,
        other_slot: 0,
        full_image: 0,
        offline: 0,
        canceled: 0,
        under_way: 0,
        mean: None,
        takes: None,
    };
    // The decision of the command itself.
    match control::roll_back(terms.now, rollout) {
        Ok(Some(_)) => {}
        Ok(None) => effect.already = true,
        Err(refused) => effect.refused = Some(refused.to_string()),
    }
    if effect.refused.is_none() {
        within_reach(tx.count_to_roll_back(rollout.id).await?)?;
        let release = tx.release(rollout.release).await?.ok_or(Error::NotFound { what: "release" })?;
        let started = clock.monotonic();
        let mut after = String::new();
        loop {
            let page = tx.ways_back(rollout.id, &after, limits::PAGE_ROWS).await?;
            let full = u32::try_from(page.len()).is_ok_and(|found| found >= limits::PAGE_ROWS);
            for row in page {
                after = row.device.as_str().to_owned();
                let image = image(tx, &mut images, &row).await?;
                count(&row, image, &release.version, terms, &mut effect, &mut report);
            }
            if !full {
                break;
            }
        }
        report.step("devices that go back", effect.devices, clock.monotonic().saturating_sub(started));
        canceled(app, tx, rollout, terms, &mut effect, &mut report).await?;
        pace(tx, rollout, &mut effect).await?;
    }
    report.rollouts.push(effect);
    Ok((report, images))
}

fn count(row: &WayBackRow, image: bool, version: &str, terms: &Terms, effect: &mut RolloutEffect, report: &mut Report) {
    let runs_it = row.firmware.as_deref().is_none_or(|firmware| firmware == version);
    let prospect = Prospect { runs_it, overwritten: row.overwritten, image };
    effect.devices += 1;
    effect.offline += u64::from(!row.online);
    report.devices.push(row.device.as_str());
    report.online += u64::from(row.online);
    let way = back(&prospect);
    let fate = match way {
        Back::OtherSlot => {
            effect.other_slot += 1;
            "other_slot"
        }
        Back::FullImage => {
            effect.full_image += 1;
            "full_image"
        }
        Back::Stranded => "stranded:no_image",
    };
    let silent = is_silent(terms, row.online, row.last_seen);
    let fate = if silent && way != Back::Stranded { "stranded:silent" } else { fate };
    *report.fates.entry(fate.to_owned()).or_default() += 1;
    if way == Back::Stranded {
        report.stranded.push(row.device.clone(), Why::NoImage, row.last_seen);
    } else if silent {
        report.stranded.push(row.device.clone(), Why::Silent, row.last_seen);
    }
}

/// Whether a release has what the device ran before.
async fn image(tx: &mut TenantTx, known: &mut Images, row: &WayBackRow) -> Result<bool> {
    let Some(version) = &row.from_version else { return Ok(false) };
    let key = (version.clone(), row.hardware.clone());
    if let Some(found) = known.get(&key) {
        return Ok(*found);
    }
    let mut found = false;
    for release in tx.releases_of_version(version, RELEASES).await? {
        found |= select(&observe::manifest_of(&release)?, &row.hardware).is_ok();
    }
    known.insert(key, found);
    Ok(found)
}

/// Updates that wait, which the command cancels, and those under way, which it lets end.
async fn canceled(
    app: &App,
    tx: &mut TenantTx,
    rollout: &Rollout,
    terms: &Terms,
    effect: &mut RolloutEffect,
    report: &mut Report,
) -> Result<()> {
    let started = app.clock().monotonic();
    effect.under_way = observe::standing(app, tx, rollout, terms.now).await?.total().in_progress.into();
    let mut after: Option<(fleetward_base::DeviceId, String)> = None;
    loop {
        let from = after.as_ref().map(|(device, kind)| (device, kind.as_str()));
        let page = tx.deployments(rollout.id, Some(Status::Queued.as_str()), from, limits::PAGE_ROWS).await?;
        let full = u32::try_from(page.len()).is_ok_and(|found| found >= limits::PAGE_ROWS);
        for row in page {
            if row.kind == Kind::Update.as_str() {
                effect.canceled += 1;
                report.canceled.push(row.device.as_str());
            }
            after = Some((row.device, row.kind));
        }
        if !full {
            break;
        }
    }
    report.step("updates that are canceled", effect.canceled, app.clock().monotonic().saturating_sub(started));
    Ok(())
}

/// How long a device took so far, on its way back where one was seen, else on its way there.
async fn pace(tx: &mut TenantTx, rollout: &Rollout, effect: &mut RolloutEffect) -> Result<()> {
    for kind in [Kind::Rollback, Kind::Update] {
        let took = tx.deployments_took(rollout.id, kind.as_str()).await?;
        if let Some(pace) = Pace::of([(took.count, Duration::from_millis(took.millis))]) {
            effect.mean = Some(pace.takes(1));
            break;
        }
    }
    // They are handed out in pages, and then work side by side.
    let pages = u32::try_from(effect.devices.div_ceil(u64::from(limits::ASSIGNMENTS_PER_TICK))).unwrap_or(u32::MAX);
    effect.takes = effect.mean.map(|mean| mean + reconcile::ROLLOUTS_EVERY.saturating_mul(pages));
    Ok(())
}
