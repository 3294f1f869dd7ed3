//! What a rollout would do: the planner is asked, nothing is written.

use fleetward_base::{DeviceId, RolloutId, TenantId};
use fleetward_core::access::Permission;
use fleetward_core::rollout::{Observed, Phase, plan};
use fleetward_store::DeviceSelector;

use super::create::{NewRollout, check, draft};
use super::observe;
use crate::error::Result;
use crate::{App, Ctx};

/// What creating a rollout would do.
#[derive(Clone, Debug)]
pub struct DryRun {
    /// Devices that are meant, that the release fits and that do not run it.
    pub target_count: u32,
    /// Devices that are meant and that the release has no artifact for.
    pub without_artifact: u32,
    /// Those that would be updated, by hardware revision.
    pub hardware: Vec<(String, u32)>,
    /// Each phase with the devices that it would have reached by its end.
    pub phases: Vec<(Phase, u32)>,
    /// The devices that the first phase would begin with.
    pub first: Vec<DeviceId>,
}

/// Devices that a dry run names.
const FIRST: usize = 100;

/// Asks the planner what `new` would do now.
///
/// # Errors
/// As for creating it, except that a rollout with nothing to update is an answer here.
pub async fn plan_rollout(app: &App, ctx: &Ctx, tenant: &TenantId, new: NewRollout) -> Result<DryRun> {
    ctx.allow(tenant, Permission::RolloutRead)?;
    check(&new)?;
    let now = app.now();
    let id = RolloutId::generate(app.clock().as_ref(), app.rng().as_ref());
    let (app_in, tenant_in) = (app.clone(), tenant.clone());
    app.read(tenant, "plan rollout", move |tx| {
        Box::pin(async move {
            let (rollout, manifest) = draft(tx, id, &new, String::new(), now).await?;
            let (candidates, more) = observe::candidates(&app_in, tx, &tenant_in, &rollout, &manifest).await?;
            let observed = Observed { more_candidates: more, ..Observed::default() };
            let planned = plan(now, &rollout, &observed, &candidates);

            let mut hardware = Vec::new();
            let eligible = observe::eligible(&rollout.selector, &manifest);
            if let Some(selector) = &eligible {
                // Nothing is assigned in a rollout that is not there, so these are all.
                let cohorts = tx.unassigned_cohorts(rollout.id, selector).await?;
                hardware.extend(cohorts.into_iter().map(|cohort| (cohort.hardware, short(cohort.count))));
            }
            let meant = tx.count_selected(&observe::meant(&rollout.selector)).await?;
            let mut fits = 0;
            if let Some(selector) = eligible {
                fits = tx.count_selected(&DeviceSelector { not_firmware: None, ..selector }).await?;
            }
            let quotas = (0..).map(|phase| rollout.policy.quota(phase, rollout.target_count));
            Ok(DryRun {
                target_count: rollout.target_count,
                without_artifact: short(meant.saturating_sub(fits)),
                hardware,
                phases: rollout.policy.phases.iter().cloned().zip(quotas).collect(),
                first: planned.assign.into_iter().map(|assignment| assignment.device).take(FIRST).collect(),
            })
        })
    })
    .await
}

fn short(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
