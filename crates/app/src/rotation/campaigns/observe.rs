//! What a campaign's planner is shown.

use fleetward_base::{TenantId, limits};
use fleetward_core::rollout::{Candidate, Observed};
use fleetward_core::rotation::campaign::{Campaign, Status};
use fleetward_store::{DeviceSelector, TenantTx};

use crate::App;
use crate::error::{Error, Result};
use crate::rollouts::observe::meant;

/// How its devices stand.
pub(crate) async fn standing(tx: &mut TenantTx, campaign: &Campaign) -> Result<Observed> {
    let mut observed = Observed::default();
    for row in tx.campaign_standing(campaign.id).await? {
        let count = u32::try_from(row.count).unwrap_or(u32::MAX);
        let status: Status = row.status.parse().map_err(Error::internal)?;
        let tally = observed.updates.entry((row.phase, row.hardware)).or_default();
        tally.add(status.counts_as(), row.offline, row.silent, count);
    }
    Ok(observed)
}

/// A page of the devices that could be next, the same share for each hardware revision, and whether there are others.
pub(crate) async fn candidates(
    app: &App,
    tx: &mut TenantTx,
    tenant: &TenantId,
    campaign: &Campaign,
) -> Result<(Vec<Candidate>, bool)> {
    let selector = meant(&campaign.selector);
    let cohorts = tx.uncovered_cohorts(campaign.id, &selector).await?;
    let share = limits::ASSIGNMENTS_PER_TICK.div_ceil(u32::try_from(cohorts.len()).unwrap_or(u32::MAX).max(1));
    let total: u64 = cohorts.iter().map(|cohort| cohort.count).sum();
    let mut found = Vec::new();
    for cohort in cohorts {
        let selector = DeviceSelector { hardware: vec![cohort.hardware.clone()], ..selector.clone() };
        for device in tx.campaign_candidates(campaign.id, &selector, share).await? {
            let online = app.presence().of(tenant, &device).online;
            found.push(Candidate { device, hardware: cohort.hardware.clone(), online });
        }
    }
    let more = total > u64::try_from(found.len()).unwrap_or(u64::MAX);
    Ok((found, more))
}
