//! What is in the store, and whether it may be so.

use std::collections::BTreeMap;

use fleetward_app::journal::{self, JournalFilter};
use fleetward_app::reconcile::seals;
use fleetward_app::{App, rollouts};
use fleetward_base::{DeviceId, RolloutId, TenantId};
use fleetward_core::deployment::{Deployment, Kind};
use fleetward_core::invariants as inv;
use fleetward_core::journal::Action;
use fleetward_core::rollout::{Rollout, State};

/// The rollouts of a tenant with their deployments.
#[derive(Clone, Default)]
pub(super) struct Look {
    pub(super) rollouts: BTreeMap<RolloutId, (Rollout, Vec<Deployment>)>,
}

type Key = (RolloutId, DeviceId, Kind);

impl Look {
    pub(super) async fn at(app: &App, tenant: &TenantId) -> Self {
        let ctx = app.system("simulation");
        let mut look = Self::default();
        for view in rollouts::rollouts(app, &ctx, tenant, None, None, 100).await.expect("the store is there") {
            let id = view.rollout.id;
            let deployments = rollouts::deployments(app, &ctx, tenant, id, None, None, 1000).await.expect("there");
            look.rollouts.insert(id, (view.rollout, deployments));
        }
        look
    }

    fn deployments(&self) -> Vec<Deployment> {
        self.rollouts.values().flat_map(|(_, deployments)| deployments.clone()).collect()
    }

    fn by_key(&self) -> BTreeMap<Key, Deployment> {
        self.deployments().into_iter().map(|d| ((d.rollout, d.device.clone(), d.kind), d)).collect()
    }

    /// Everything that must hold of what is, and of the way from `before` to it.
    pub(super) fn check(&self, before: &Self) -> Result<(), inv::Broken> {
        let all = self.deployments();
        inv::one_open_deployment(&all)?;
        inv::rollbacks_are_earned(&all)?;
        for (rollout, deployments) in self.rollouts.values() {
            inv::quota_is_kept(rollout, deployments)?;
            if let Some((earlier, _)) = before.rollouts.get(&rollout.id) {
                inv::rollout_moved_forward(earlier, rollout)?;
            }
        }
        let (now, earlier) = (self.by_key(), before.by_key());
        for (key, was) in &earlier {
            match now.get(key) {
                Some(is) => inv::deployment_moved_forward(was, is)?,
                None => return Err(format!("the deployment of {} is gone", key.1)),
            }
        }
        for (key, deployment) in now.iter().filter(|(key, _)| !earlier.contains_key(*key)) {
            // Only one step lies between two looks, so who stood still before it assigned nothing in it.
            let state = before.rollouts.get(&key.0).map(|(rollout, _)| rollout.state);
            let may = match deployment.kind {
                Kind::Update => matches!(state, None | Some(State::Running)),
                Kind::Rollback => state == Some(State::RollingBack),
            };
            if !may {
                return Err(format!("{} was assigned while {state:?}", deployment.id()));
            }
        }
        Ok(())
    }

    pub(super) fn all_ended(&self) -> bool {
        self.rollouts.values().all(|(rollout, deployments)| {
            rollout.state.is_terminal() && deployments.iter().all(|deployment| deployment.status.is_terminal())
        })
    }
}

/// The journal tells of each deployment exactly once that it was queued, and once how it ended; and its chain holds.
pub(super) async fn check_journal(app: &App, tenant: &TenantId, look: &Look) -> Result<(), inv::Broken> {
    let ctx = app.system("simulation");
    let (mut before, mut queued, mut ended) = (None, 0, 0);
    loop {
        let filter = JournalFilter { action: Some("deployment.".to_owned()), ..JournalFilter::default() };
        let page = journal::events(app, &ctx, tenant, filter, before, 1000).await.expect("events");
        let Some(last) = page.last() else { break };
        before = Some(last.id);
        for event in &page {
            match event.entry.action {
                Action::DeploymentQueued => queued += 1,
                Action::DeploymentStarted | Action::DeploymentProgressed => {}
                _ => ended += 1,
            }
        }
    }
    let all = look.deployments();
    let terminal = all.iter().filter(|deployment| deployment.status.is_terminal()).count();
    if (queued, ended) != (all.len(), terminal) {
        return Err(format!("{queued} queued and {ended} ended in the journal, {} and {terminal} are", all.len()));
    }
    while seals::seal(app).await.expect("sealed") > 0 {}
    match journal::verify_journal(app, &ctx, tenant).await.expect("walked").broken_at {
        None => Ok(()),
        Some(at) => Err(format!("the chain is broken at {at}")),
    }
}
