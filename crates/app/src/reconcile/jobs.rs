//! The turn of jobs: each that has something to do hands out, ends or finishes, and what ran out of time is ended.
//!
//! One transaction for a page of devices: read, plan, write with the journal rows, and only then are the devices told. Timers
//! are rows, so they fire after a restart as if there had been none.

use std::collections::{BTreeMap, BTreeSet};

use fleetward_base::{DeviceId, JobId, TenantId, Timestamp, limits};
use fleetward_core::job::queue::{Change, Place};
use fleetward_core::job::{
    Candidates, Cursor, Ends, Execution, Job, Milestone, Plan, Selection, Standing, State, Status, allowance,
    execution, plan,
};
use fleetward_core::journal::{Action, Entry, Severity};
use fleetward_core::lifecycle;
use fleetward_core::selector::Selector;
use fleetward_store::{DeviceSelector, JobExecutionKey, TenantTx};
use serde_json::json;

use crate::error::{Error, Result};
use crate::jobs::queue::tell;
use crate::jobs::read::standing;
use crate::jobs::settle::{by_jobs, place, settle, told};
use crate::jobs::{control, rows};
use crate::journal::record;
use crate::rollouts::observe;
use crate::{App, journal, labels};

const PAGE: u32 = limits::JOB_EXECUTIONS_PER_TRANSACTION;

/// What one turn did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JobsStatus {
    pub handed: usize,
    pub ended: usize,
    pub timed_out: usize,
    /// Jobs that could not be worked on; the next turn finds them again.
    pub failed: usize,
}

impl JobsStatus {
    fn add(&mut self, other: Self) {
        self.handed += other.handed;
        self.ended += other.ended;
        self.timed_out += other.timed_out;
        self.failed += other.failed;
    }
}

/// One turn.
///
/// # Errors
/// Where the store does not answer.
pub async fn tick(app: &App) -> Result<JobsStatus> {
    let mut status = time_out(app).await?;
    // Those of which an execution ended, though their time has not come.
    let mut waiting: BTreeSet<(TenantId, JobId)> = app.signals().take_jobs();
    let (now, mut after) = (app.now(), None::<(TenantId, JobId)>);
    loop {
        let from = after.take();
        let due = app
            .store()
            .system_read("due jobs", move |tx| {
                Box::pin(async move {
                    let after = from.as_ref().map(|(tenant, id)| (tenant, id));
                    Ok::<_, Error>(tx.due_jobs(now, after, limits::JOBS_PER_PAGE).await?)
                })
            })
            .await?;
        let full = u32::try_from(due.len()).is_ok_and(|found| found >= limits::JOBS_PER_PAGE);
        for of in due {
            let Some(tenant) = of.tenant else { continue };
            waiting.remove(&(tenant.clone(), of.row.id.clone()));
            status.add(worked(app, &tenant, &of.row.id).await);
            after = Some((tenant, of.row.id));
        }
        if !full {
            break;
        }
    }
    for (tenant, id) in waiting {
        status.add(worked(app, &tenant, &id).await);
    }
    Ok(status)
}

async fn worked(app: &App, tenant: &TenantId, id: &JobId) -> JobsStatus {
    match go_on(app, tenant, id).await {
        Ok(status) => status,
        Err(error) => {
            tracing::warn!(%tenant, job = %id, %error, "a job could not be worked on");
            JobsStatus { failed: 1, ..JobsStatus::default() }
        }
    }
}

/// What one transaction did.
#[derive(Debug, Default)]
struct Step {
    changes: Vec<(DeviceId, Change)>,
    handed: usize,
    ended: usize,
    /// There is more to do now.
    again: bool,
    /// A continuous job begins to look who came: those who went are looked for too.
    swept: Option<Box<Job>>,
    /// A window opened: devices are told what had been hidden.
    opened: bool,
    standing: Option<Standing>,
}

/// Page after page, so far that other jobs have their turn.
async fn go_on(app: &App, tenant: &TenantId, id: &JobId) -> Result<JobsStatus> {
    let (mut status, mut known) = (JobsStatus::default(), None);
    for _ in 0..limits::JOB_PAGES_PER_TICK {
        let (now, id_in) = (app.now(), id.clone());
        let step = app
            .write(tenant, "job turn", move |tx| Box::pin(async move { step(tx, &id_in, known, now).await }))
            .await?;
        status.handed += step.handed;
        status.ended += step.ended;
        known = step.standing;
        tell(app, tenant, &step.changes).await;
        if step.opened {
            show(app, tenant, id).await?;
        }
        if let Some(job) = step.swept {
            status.ended += remove_leavers(app, tenant, &job).await?;
        }
        if !step.again {
            return Ok(status);
        }
    }
    app.wake_jobs();
    Ok(status)
}

async fn step(tx: &mut TenantTx, id: &JobId, known: Option<Standing>, now: Timestamp) -> Result<Step> {
    let Some(row) = tx.job_for_update(id).await? else { return Ok(Step::default()) };
    let before = rows::job_of(row)?;
    if before.state == State::Deleting {
        return take_away(tx, &before, now).await;
    }
    let standing = match known {
        Some(known) => known,
        None => standing(tx, id).await?,
    };
    let mut job = before.clone();
    let sweeps = job.selection == Selection::Continuous
        && job.is_gone_through()
        && job.state == State::InProgress
        && job.look_at.is_some_and(|at| at <= now);
    if sweeps {
        job.cursor = Cursor::default();
    }
    // Under a rate a second has one turn, whatever is due in it.
    let most = if job.policy.rate.is_some() { limits::JOB_EXECUTIONS_PER_SECOND } else { PAGE };
    let allowed = allowance(now, &job, &standing).min(most);
    let candidates = gather(tx, &job, allowed, now).await?;
    let plan = plan(now, &job, &standing, &candidates);
    let mut step = carry_out(tx, &before, &plan, now).await?;
    let mut standing = standing;
    standing.add(Status::Queued, u64::try_from(step.handed).unwrap_or(u64::MAX));
    // What was ended is counted anew.
    step.standing = plan.end.is_none().then_some(standing);
    step.swept = sweeps.then(|| Box::new(plan.after));
    Ok(step)
}

/// Who could be next, target after target.
async fn gather(tx: &mut TenantTx, job: &Job, allowed: u32, now: Timestamp) -> Result<Candidates> {
    let mut found = Candidates { devices: Vec::new(), cursor: job.cursor.clone() };
    if allowed == 0 {
        return Ok(found);
    }
    // A snapshot is of those who were there when it began.
    let there = (job.selection == Selection::Snapshot).then(|| job.started_at.unwrap_or(now));
    let mut left = allowed;
    let targets = job.targets.iter().skip(usize::try_from(job.cursor.target).unwrap_or(usize::MAX));
    for target in targets {
        let rows = tx.job_candidates(&job.id, &meant(target), &found.cursor.device, there, left).await?;
        let count = u32::try_from(rows.len()).unwrap_or(u32::MAX);
        for row in rows {
            found.cursor.device = row.device.to_string();
            // It may be meant twice, by targets of one page.
            if !found.devices.iter().any(|(device, _)| *device == row.device) {
                found.devices.push((row.device, row.last.saturating_add(1)));
            }
        }
        if count >= left {
            return Ok(found);
        }
        left -= count;
        found.cursor = Cursor { target: found.cursor.target.saturating_add(1), device: String::new() };
    }
    Ok(found)
}

/// Everybody whom a target means and who may still come, whether they came yet or not.
fn meant(target: &Selector) -> DeviceSelector {
    let gone = [lifecycle::Status::Decommissioned, lifecycle::Status::Manufactured];
    let statuses = lifecycle::Status::ALL.iter().filter(|status| !gone.contains(status));
    DeviceSelector { statuses: statuses.map(ToString::to_string).collect(), ..observe::meant(target) }
}

/// Writes what the plan says.
async fn carry_out(tx: &mut TenantTx, before: &Job, plan: &Plan, now: Timestamp) -> Result<Step> {
    let mut step = Step { opened: plan.opened, ..Step::default() };
    if plan.after != *before {
        control::write(tx, &plan.after, before.revision).await?;
    }
    let entries: Vec<_> = milestones(plan, now).iter().map(journal::row_of).collect();
    tx.journal_all(&entries).await?;
    if let Some(ends) = plan.end {
        step.changes = end_page(tx, &plan.after, ends, now).await?;
        step.ended = step.changes.len();
        step.again = step.ended > 0;
        return Ok(step);
    }
    step.changes = assign(tx, &plan.after, &plan.assign, now).await?;
    step.handed = step.changes.len();
    step.again = !plan.assign.is_empty() && plan.after.look_at.is_some_and(|at| at <= now);
    Ok(step)
}

fn milestones(plan: &Plan, now: Timestamp) -> Vec<Entry> {
    let entry = |milestone: &Milestone| {
        let (action, severity, detail) = match milestone {
            Milestone::Started => (Action::JobStarted, Severity::Info, json!({})),
            Milestone::Aborted(failure) => {
                (Action::JobAborted, Severity::Critical, json!({ "failure": failure.as_str() }))
            }
            Milestone::Ended(at_end) => (Action::JobUpdated, Severity::Info, json!({ "at_end": at_end.as_str() })),
            Milestone::Completed => (Action::JobCompleted, Severity::Notice, json!({})),
            Milestone::CancelDone => (Action::JobCancelDone, Severity::Info, json!({})),
        };
        Entry::done(now, by_jobs(), action).subject(&plan.after.id).severity(severity).detail(detail)
    };
    plan.milestones.iter().map(entry).collect()
}

/// Queues what the plan assigns.
async fn assign(
    tx: &mut TenantTx,
    job: &Job,
    devices: &[(DeviceId, u64)],
    now: Timestamp,
) -> Result<Vec<(DeviceId, Change)>> {
    let again: Vec<DeviceId> =
        devices.iter().filter(|(_, number)| *number > 1).map(|(device, _)| device.clone()).collect();
    if !again.is_empty() {
        tx.supersede_job_executions(&job.id, &again).await?;
        for (device, number) in devices {
            trim(tx, &job.id, device, *number).await?;
        }
    }
    let queued: Vec<Execution> =
        devices.iter().map(|(device, number)| Execution::queued(&job.id, device.clone(), *number, now)).collect();
    let rows = queued.iter().map(|execution| rows::execution_row(execution, true)).collect::<Result<Vec<_>>>()?;
    let taken: BTreeSet<DeviceId> = tx.insert_job_executions(&rows).await?.into_iter().collect();
    let (mut entries, mut changes) = (Vec::new(), Vec::new());
    for execution in queued.iter().filter(|execution| taken.contains(&execution.device)) {
        let entry = Entry::done(now, by_jobs(), Action::JobExecutionQueued);
        entries.push(journal::row_of(&told(entry, execution)));
        changes.push((execution.device.clone(), Change { after: place(execution), ..Change::default() }));
    }
    tx.journal_all(&entries).await?;
    Ok(changes)
}

/// Of a device that comes again and again, the tries before the last ones are forgotten.
async fn trim(tx: &mut TenantTx, job: &JobId, device: &DeviceId, number: u64) -> Result<()> {
    if let Some(oldest) = number.checked_sub(limits::JOB_TRIES_KEPT - 1).filter(|oldest| *oldest > 1) {
        tx.trim_tries(&JobExecutionKey { job: job.clone(), device: device.clone(), number: oldest }).await?;
    }
    Ok(())
}

/// Cancels a page of what the end of the job takes with it.
async fn end_page(tx: &mut TenantTx, job: &Job, ends: Ends, now: Timestamp) -> Result<Vec<(DeviceId, Change)>> {
    let rows = tx.live_job_executions(&job.id, ends == Ends::Queued, "", PAGE).await?;
    finish(tx, job, rows.into_iter().map(rows::execution_of).collect::<Result<_>>()?, Status::Canceled, now).await
}

async fn finish(
    tx: &mut TenantTx,
    job: &Job,
    executions: Vec<Execution>,
    status: Status,
    now: Timestamp,
) -> Result<Vec<(DeviceId, Change)>> {
    let steps = executions
        .into_iter()
        .filter_map(|before| execution::end(&before, status, now).map(|after| (before, after)))
        .collect();
    settle(tx, job, steps, now, |action| Entry::done(now, by_jobs(), action)).await
}

/// A job that goes: a page of its executions, and after the last one the job itself.
async fn take_away(tx: &mut TenantTx, job: &Job, now: Timestamp) -> Result<Step> {
    let rows = tx.delete_job_executions(&job.id, PAGE).await?;
    if rows.is_empty() {
        tx.delete_job(&job.id).await?;
        tx.remove_labels(labels::Kind::Job.as_str(), job.id.as_str()).await?;
        record(tx, &gone(job, now)).await?;
        return Ok(Step::default());
    }
    let mut step = Step { ended: rows.len(), again: true, ..Step::default() };
    for row in rows {
        let gone = rows::execution_of(row)?;
        let before: Vec<Place> = place(&gone);
        if !before.is_empty() {
            step.changes.push((gone.device, Change { before, ..Change::default() }));
        }
    }
    Ok(step)
}

/// The last that the journal says of a job, with what is shown of it elsewhere.
pub(crate) fn gone(job: &Job, now: Timestamp) -> Entry {
    let detail = json!({
        "selection": job.selection.as_str(),
        "targets": job.targets.len(),
        "description": job.description,
        "created_at_ms": job.created_at.millis(),
        "completed_at_ms": job.completed_at.map(Timestamp::millis),
    });
    Entry::done(now, by_jobs(), Action::JobGone).subject(&job.id).severity(Severity::Info).detail(detail)
}

/// Tells devices of what a closed window had hidden.
async fn show(app: &App, tenant: &TenantId, id: &JobId) -> Result<()> {
    let mut after = String::new();
    loop {
        let (id, from) = (id.clone(), after.clone());
        let rows = app
            .read(tenant, "hidden executions", move |tx| {
                Box::pin(async move { Ok(tx.live_job_executions(&id, true, &from, PAGE).await?) })
            })
            .await?;
        let Some(last) = rows.last() else { return Ok(()) };
        after = last.device.to_string();
        let changes = rows.into_iter().map(|row| {
            let execution = rows::execution_of(row)?;
            Ok((execution.device.clone(), Change { after: place(&execution), ..Change::default() }))
        });
        tell(app, tenant, &changes.collect::<Result<Vec<_>>>()?).await;
    }
}

/// Takes from devices that no target means any more what they have not begun.
async fn remove_leavers(app: &App, tenant: &TenantId, job: &Job) -> Result<usize> {
    let (mut removed, mut after) = (0, String::new());
    loop {
        let (job_in, from) = (job.clone(), after.clone());
        let page = app.read(tenant, "who went", move |tx| {
            Box::pin(async move {
                let rows = tx.live_job_executions(&job_in.id, true, &from, PAGE).await?;
                let devices: BTreeSet<DeviceId> = rows.into_iter().map(|row| row.device).collect();
                let Some(last) = devices.last().cloned() else { return Ok(None) };
                let mut left = devices.clone();
                for target in &job_in.targets {
                    let named: Vec<DeviceId> = match target.devices.is_empty() {
                        true => left.iter().cloned().collect(),
                        false => left.intersection(&target.devices).cloned().collect(),
                    };
                    if named.is_empty() {
                        continue;
                    }
                    let selector = DeviceSelector { devices: named, ..meant(target) };
                    for row in tx.selected_devices(&selector, "", PAGE).await? {
                        left.remove(&row.device);
                    }
                }
                Ok(Some((last, left)))
            })
        });
        let Some((last, leavers)) = page.await? else { return Ok(removed) };
        after = last.to_string();
        if leavers.is_empty() {
            continue;
        }
        let (job_in, now) = (job.clone(), app.now());
        let changes = app
            .write(tenant, "remove from job", move |tx| {
                Box::pin(async move {
                    let mut gone = Vec::new();
                    for device in leavers {
                        let row = tx.job_execution_for_update(&job_in.id, &device, None).await?;
                        let execution = row.map(rows::execution_of).transpose()?;
                        gone.extend(execution.filter(|execution| execution.status == Status::Queued));
                    }
                    finish(tx, &job_in, gone, Status::Removed, now).await
                })
            })
            .await?;
        removed += changes.len();
        tell(app, tenant, &changes).await;
    }
}

/// Ends what is over its time, the longest first.
async fn time_out(app: &App) -> Result<JobsStatus> {
    let mut status = JobsStatus::default();
    loop {
        let now = app.now();
        let due = app
            .store()
            .system_read("due job executions", move |tx| {
                Box::pin(async move { Ok::<_, Error>(tx.due_job_executions(now, limits::JOB_TIMERS_PER_PAGE).await?) })
            })
            .await?;
        let full = u32::try_from(due.len()).is_ok_and(|found| found >= limits::JOB_TIMERS_PER_PAGE);
        let mut jobs: BTreeMap<(TenantId, JobId), Vec<JobExecutionKey>> = BTreeMap::new();
        for of in due {
            let Some(tenant) = of.tenant else { continue };
            jobs.entry((tenant, of.row.job.clone())).or_default().push(of.row);
        }
        let before = status.timed_out;
        for ((tenant, id), keys) in jobs {
            match time_out_of(app, &tenant, &id, keys, now).await {
                Ok(count) => status.timed_out += count,
                Err(error) => {
                    status.failed += 1;
                    tracing::warn!(%tenant, job = %id, %error, "executions that are over their time could not be ended");
                }
            }
        }
        if !full || status.timed_out == before {
            return Ok(status);
        }
    }
}

async fn time_out_of(
    app: &App,
    tenant: &TenantId,
    id: &JobId,
    keys: Vec<JobExecutionKey>,
    now: Timestamp,
) -> Result<usize> {
    let id_in = id.clone();
    let changes = app
        .write(tenant, "time out job executions", move |tx| {
            Box::pin(async move {
                let Some(row) = tx.job(&id_in).await? else { return Ok(Vec::new()) };
                let job = rows::job_of(row)?;
                let mut over = Vec::new();
                for key in keys {
                    let row = tx.job_execution_for_update(&key.job, &key.device, Some(key.number)).await?;
                    let execution = row.map(rows::execution_of).transpose()?;
                    over.extend(execution.filter(|execution| execution.due_at().is_some_and(|due| due <= now)));
                }
                finish(tx, &job, over, Status::TimedOut, now).await
            })
        })
        .await?;
    app.signals().note_job(tenant, id);
    tell(app, tenant, &changes).await;
    Ok(changes.len())
}
