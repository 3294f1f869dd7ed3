//! What the planner is shown: how deployments stand, and who could be next.

use std::time::Duration;

use fleetward_base::{TenantId, Timestamp, limits};
use fleetward_core::deployment::Kind;
use fleetward_core::lifecycle::Status;
use fleetward_core::rollout::{Candidate, Observed, Rollout, State, Tally};
use fleetward_core::selector::Selector;
use fleetward_store::{DeviceSelector, ReleaseRow, TenantTx};
use fleetward_supply::Manifest;

use crate::App;
use crate::error::{Error, Result};

/// The manifest of a stored release. It was verified when it was stored.
pub(crate) fn manifest_of(row: &ReleaseRow) -> Result<Manifest> {
    Manifest::parse(&row.manifest).map_err(Error::internal)
}

/// The devices that a rollout of `manifest` is for, as the store selects them: active ones that the selector means, of a
/// hardware revision that the release has an artifact for, and not on its version yet. `None`: nobody can be.
pub(crate) fn eligible(selector: &Selector, manifest: &Manifest) -> Option<DeviceSelector> {
    let hardware: Vec<String> = manifest
        .hardware()
        .into_iter()
        .filter(|hardware| selector.hardware.is_empty() || selector.hardware.contains(*hardware))
        .map(str::to_owned)
        .collect();
    if hardware.is_empty() {
        return None;
    }
    Some(DeviceSelector { hardware, not_firmware: Some(manifest.version().to_owned()), ..meant(selector) })
}

/// The devices that a selector means, whatever they run and are, as long as they are active.
pub(crate) fn meant(selector: &Selector) -> DeviceSelector {
    DeviceSelector {
        devices: selector.devices.iter().cloned().collect(),
        hardware: selector.hardware.iter().cloned().collect(),
        statuses: vec![Status::Active.to_string()],
        tags: selector.tags.iter().cloned().collect(),
        class: None,
        environment: selector.environment.clone(),
        site: selector.site.clone(),
        not_firmware: None,
    }
}

/// Everything that the planner wants to know of a rollout's deployments.
pub(crate) async fn observe(app: &App, tx: &mut TenantTx, rollout: &Rollout, now: Timestamp) -> Result<Observed> {
    let mut observed = standing(app, tx, rollout, now).await?;
    let page = limits::ASSIGNMENTS_PER_TICK;
    for key in tx.overdue_deployments(rollout.id, now.minus(rollout.policy.timeout()), page).await? {
        observed.overdue.push((key.device, key.kind.parse().map_err(Error::internal)?));
    }
    if rollout.state == State::RollingBack {
        let rows = tx.rollback_candidates(rollout.id, page).await?;
        let tenant = tx.tenant().cloned();
        let online = |row: &fleetward_store::DeploymentRow| {
            tenant.as_ref().is_some_and(|tenant| app.presence().of(tenant, &row.device).online)
        };
        let found = u64::try_from(rows.len()).unwrap_or(u64::MAX);
        observed.to_roll_back = rows
            .into_iter()
            .map(|row| Candidate { online: online(&row), device: row.device, hardware: row.hardware })
            .collect();
        observed.more_to_roll_back = tx.count_to_roll_back(rollout.id).await? > found;
    }
    Ok(observed)
}

/// The counts alone, for people.
pub(crate) async fn standing(app: &App, tx: &mut TenantTx, rollout: &Rollout, now: Timestamp) -> Result<Observed> {
    let silent_before = silent_before(app, now, rollout.policy.silent_after());
    let mut observed = Observed::default();
    for row in tx.deployment_standing(rollout.id, silent_before).await? {
        let count = u32::try_from(row.count).unwrap_or(u32::MAX);
        let status = row.status.parse().map_err(Error::internal)?;
        let tally: &mut Tally = match row.kind.parse().map_err(Error::internal)? {
            Kind::Update => observed.updates.entry((row.phase, row.hardware)).or_default(),
            Kind::Rollback => &mut observed.rollbacks,
        };
        tally.add(status, row.offline, row.silent, count);
    }
    Ok(observed)
}

/// Devices last heard of then or earlier are silent. Nobody is for a while after the server began to listen.
fn silent_before(app: &App, now: Timestamp, silent_after: Duration) -> Timestamp {
    let before = now.minus(silent_after);
    if before < app.presence().watching_since() { Timestamp::from_millis(i64::MIN) } else { before }
}

/// A page of candidates, the same share for each hardware revision, so that a small phase can meet them all. Also says
/// whether there are others.
pub(crate) async fn candidates(
    app: &App,
    tx: &mut TenantTx,
    tenant: &TenantId,
    rollout: &Rollout,
    manifest: &Manifest,
) -> Result<(Vec<Candidate>, bool)> {
    let Some(selector) = eligible(&rollout.selector, manifest) else { return Ok((Vec::new(), false)) };
    let cohorts = tx.unassigned_cohorts(rollout.id, &selector).await?;
    let share = limits::ASSIGNMENTS_PER_TICK.div_ceil(u32::try_from(cohorts.len()).unwrap_or(u32::MAX).max(1));
    let total: u64 = cohorts.iter().map(|cohort| cohort.count).sum();
    let mut found = Vec::new();
    for cohort in cohorts {
        let selector = DeviceSelector { hardware: vec![cohort.hardware], ..selector.clone() };
        for row in tx.candidates(rollout.id, &selector, None, share).await? {
            let online = app.presence().of(tenant, &row.id).online;
            found.push(Candidate { device: row.id, hardware: row.hardware, online });
        }
    }
    let more = total > u64::try_from(found.len()).unwrap_or(u64::MAX);
    Ok((found, more))
}
