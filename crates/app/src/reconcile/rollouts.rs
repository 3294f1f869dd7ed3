//! The rollout tick: every rollout that is under way takes its next step.
//!
//! One transaction a rollout: read, plan, write what the plan says with its journal rows. Only then are the devices told;
//! if the server dies in between they find the same when they ask. A rollout that has nothing to do is only read.

use std::collections::BTreeMap;

use fleetward_base::{DeviceId, RolloutId, TenantId, Timestamp, limits};
use fleetward_core::deployment::{self, Deployment, Kind, Status};
use fleetward_core::job::queue::Change;
use fleetward_core::journal::{Action, Actor, Entry, Severity};
use fleetward_core::rollout::{Assignment, Plan, Rollout, State, plan};
use fleetward_store::{DeploymentKey, TenantTx};
use serde_json::{Value, json};

use crate::error::{Error, Result};
use crate::jobs::queue;
use crate::rollouts::control::{cancel_queued, ended, tell, update};
use crate::rollouts::{observe, rows};
use crate::{App, journal, presence};

/// What one tick did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RolloutTickStatus {
    pub considered: usize,
    pub assigned: usize,
    pub canceled: usize,
    pub timed_out: usize,
    pub halted: usize,
    pub finished: usize,
    /// Rollouts that could not be worked on; the next tick finds them again.
    pub failed: usize,
}

impl RolloutTickStatus {
    /// Something was done.
    pub fn is_worth_a_line(&self) -> bool {
        *self != Self { considered: self.considered, ..Self::default() }
    }
}

/// What a step did to the devices, who are to be told.
#[derive(Debug, Default)]
struct Step {
    assigned: Vec<(DeviceId, Change)>,
    canceled: Vec<DeviceId>,
    timed_out: Vec<DeviceId>,
    halted: bool,
    finished: bool,
}

/// One step of every rollout that is running or rolling back.
pub async fn tick(app: &App) -> Result<RolloutTickStatus> {
    // So that what the database counts as offline is what memory knows.
    presence::flush_transitions(app).await?;
    let mut status = RolloutTickStatus::default();
    let mut after: Option<(TenantId, RolloutId)> = None;
    loop {
        let from = after.take();
        let due = app
            .store()
            .system_read("due rollouts", move |tx| {
                Box::pin(async move {
                    let after = from.as_ref().map(|(tenant, id)| (tenant, *id));
                    Ok::<_, Error>(tx.due_rollouts(after, limits::ROLLOUTS_PER_TICK).await?)
                })
            })
            .await?;
        let full = u32::try_from(due.len()).is_ok_and(|found| found >= limits::ROLLOUTS_PER_TICK);
        for of in due {
            let Some(tenant) = of.tenant else { continue };
            after = Some((tenant.clone(), of.row.id));
            status.considered += 1;
            match step(app, &tenant, of.row.id).await {
                Ok(done) => {
                    status.assigned += done.assigned.len();
                    status.canceled += done.canceled.len();
                    status.timed_out += done.timed_out.len();
                    status.halted += usize::from(done.halted);
                    status.finished += usize::from(done.finished);
                }
                Err(error) => {
                    status.failed += 1;
                    tracing::warn!(%tenant, rollout = %of.row.id, %error, "a rollout could not be worked on");
                }
            }
        }
        if !full {
            return Ok(status);
        }
    }
}

async fn step(app: &App, tenant: &TenantId, id: RolloutId) -> Result<Step> {
    let now = app.now();
    // Most ticks find nothing to do. They only read, and keep no writer waiting.
    let (app_in, tenant_in) = (app.clone(), tenant.clone());
    let idle = app.read(tenant, "rollout look", move |tx| {
        Box::pin(async move {
            let Some(row) = tx.rollout(id).await? else { return Ok(true) };
            let (plan, _) = look(&app_in, tx, &tenant_in, &rows::rollout_of(row)?, now).await?;
            Ok(plan.is_empty())
        })
    });
    if idle.await? {
        return Ok(Step::default());
    }
    let (app_in, tenant_in) = (app.clone(), tenant.clone());
    let done = app
        .write(tenant, "rollout tick", move |tx| {
            Box::pin(async move {
                let Some(row) = tx.rollout_for_update(id).await? else { return Ok(Step::default()) };
                let rollout = rows::rollout_of(row)?;
                let (plan, version) = look(&app_in, tx, &tenant_in, &rollout, now).await?;
                carry_out(tx, &rollout, &plan, &version, now).await
            })
        })
        .await?;
    queue::tell(app, tenant, &done.assigned).await;
    for devices in [&done.canceled, &done.timed_out] {
        tell(app, tenant, devices).await;
    }
    Ok(done)
}

/// What is to be done, and the version that the rollout brings.
async fn look(
    app: &App,
    tx: &mut TenantTx,
    tenant: &TenantId,
    rollout: &Rollout,
    now: Timestamp,
) -> Result<(Plan, String)> {
    let release = tx.release(rollout.release).await?.ok_or(Error::NotFound { what: "release" })?;
    let mut observed = observe::observe(app, tx, rollout, now).await?;
    let mut candidates = Vec::new();
    if rollout.state == State::Running && observed.assigned() < rollout.target_count {
        let manifest = observe::manifest_of(&release)?;
        (candidates, observed.more_candidates) = observe::candidates(app, tx, tenant, rollout, &manifest).await?;
    }
    Ok((plan(now, rollout, &observed, &candidates), release.version))
}

/// Writes what the plan says. Who is to be told afterwards is in the result.
async fn carry_out(tx: &mut TenantTx, rollout: &Rollout, plan: &Plan, version: &str, now: Timestamp) -> Result<Step> {
    if plan.is_empty() {
        return Ok(Step::default());
    }
    let mut step = Step { halted: plan.pause.is_some(), finished: plan.finish.is_some(), ..Step::default() };
    if plan.after != *rollout {
        update(tx, rollout, &plan.after).await?;
    }
    let entries: Vec<_> = milestones(rollout, plan, now).iter().map(journal::row_of).collect();
    tx.journal_all(&entries).await?;
    step.timed_out = time_out(tx, rollout.id, &plan.time_out, now).await?;
    if plan.cancel_queued {
        step.canceled = cancel_queued(tx, rollout.id, now).await?;
    }
    step.assigned = assign(tx, rollout, version, &plan.assign, now).await?;
    Ok(step)
}

async fn time_out(
    tx: &mut TenantTx,
    id: RolloutId,
    overdue: &[(DeviceId, Kind)],
    now: Timestamp,
) -> Result<Vec<DeviceId>> {
    let (mut done, mut entries) = (Vec::new(), Vec::new());
    for (device, kind) in overdue {
        let key = DeploymentKey { rollout: id, device: device.clone(), kind: kind.to_string() };
        let Some(row) = tx.deployment_for_update(&key).await? else { continue };
        let before = rows::deployment_of(row)?;
        let Some(after) = deployment::end(&before, Status::TimedOut, now) else { continue };
        if tx.update_deployment(&rows::deployment_row(&after)?, before.version).await? {
            entries.push(journal::row_of(&ended(&after, Action::DeploymentTimedOut, Severity::Warning, now)));
            done.push(device.clone());
        }
    }
    tx.journal_all(&entries).await?;
    Ok(done)
}

/// Queues what the plan assigns. A device that another rollout was faster with is passed over; the next tick sees it.
async fn assign(
    tx: &mut TenantTx,
    rollout: &Rollout,
    version: &str,
    assignments: &[Assignment],
    now: Timestamp,
) -> Result<Vec<(DeviceId, Change)>> {
    if assignments.is_empty() {
        return Ok(Vec::new());
    }
    let mut changes = Vec::with_capacity(assignments.len());
    let mut queued = Vec::with_capacity(assignments.len());
    for assignment in assignments {
        let from_version = match assignment.kind {
            Kind::Update => tx.device(&assignment.device).await?.and_then(|row| row.firmware),
            Kind::Rollback => Some(version.to_owned()),
        };
        let deployment = Deployment {
            rollout: rollout.id,
            device: assignment.device.clone(),
            kind: assignment.kind,
            phase: assignment.phase,
            status: Status::Queued,
            step: None,
            hardware: assignment.hardware.clone(),
            from_version,
            detail: BTreeMap::new(),
            version: 1,
            queued_at: now,
            started_at: None,
            updated_at: now,
            finished_at: None,
        };
        let change = Change { after: queue::place_of(&deployment), ..Change::default() };
        changes.push((assignment.device.clone(), change));
        queued.push(rows::deployment_row(&deployment)?);
    }
    let devices = tx.insert_deployments(&queued).await?;
    let taken: std::collections::BTreeSet<&DeviceId> = devices.iter().collect();
    let entries: Vec<_> = assignments
        .iter()
        .filter(|assignment| taken.contains(&assignment.device))
        .map(|assignment| {
            let detail = json!({ "kind": assignment.kind.as_str(), "phase": assignment.phase, "version": version });
            let entry = Entry::done(now, Actor::system("rollouts"), Action::DeploymentQueued);
            journal::row_of(&entry.device(&assignment.device).subject(rollout.id).detail(detail))
        })
        .collect();
    tx.journal_all(&entries).await?;
    changes.retain(|(device, _)| taken.contains(device));
    Ok(changes)
}

/// The rows of what the rollout itself went through.
fn milestones(rollout: &Rollout, plan: &Plan, now: Timestamp) -> Vec<Entry> {
    let entry = |action, severity, detail: Value| {
        Entry::done(now, Actor::system("rollouts"), action).subject(rollout.id).severity(severity).detail(detail)
    };
    let mut entries = Vec::new();
    for phase in &plan.entered {
        let quota = rollout.policy.quota(*phase, rollout.target_count);
        let detail = json!({ "phase": phase, "quota": quota });
        entries.push(entry(Action::RolloutPhaseStarted, Severity::Info, detail));
    }
    match plan.gate_met {
        Some(true) => entries.push(entry(Action::RolloutGateMet, Severity::Info, json!({ "phase": plan.after.phase }))),
        Some(false) => {
            entries.push(entry(Action::RolloutGateLost, Severity::Notice, json!({ "phase": plan.after.phase })));
        }
        None => {}
    }
    if let Some(reason) = &plan.pause {
        let detail = json!({ "phase": plan.after.phase, "reason": reason.to_string(), "cohorts": reason.cohorts() });
        entries.push(entry(Action::RolloutPaused, Severity::Critical, detail));
    }
    match plan.finish {
        Some(State::RolledBack) => entries.push(entry(Action::RolloutRolledBack, Severity::Notice, json!({}))),
        Some(_) => entries.push(entry(Action::RolloutFinished, Severity::Notice, json!({}))),
        None => {}
    }
    entries
}
