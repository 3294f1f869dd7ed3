//! Tells clients that watch over a fleet what became of jobs, executions and commands, as AWS does (`wire::aws::events`).
//!
//! Follows the journals of tenants that want it (policies `jobs.events` and `commands.events`), which say everything in the
//! order of commits: so an event is never of something that did not happen, each server on the same database tells those who
//! are connected to it, and an event that two of them tell has the same id. Follows from when the tenant wanted it, or the
//! server began, on. Who may hear events is the topic policies' to say; devices do not, unless one names `$aws/events/`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use fleetward_base::{JobId, TenantId, Timestamp, limits};
use fleetward_core::job::{Job, Standing};
use fleetward_core::journal::{Action, Entry};
use fleetward_store::TenantTx;
use fleetward_wire::aws::events::{
    CommandExecutionEvent, JobEvent, JobExecutionEvent, JobProcessDetails, StatusReason, arn, event_id, topic,
};
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::Value;

use super::for_each_tenant;
use crate::App;
use crate::error::Result;
use crate::identity_policy::identity_policy;
use crate::jobs::read::standing;
use crate::jobs::rows;
use crate::journal::{Event, event_of};

/// Turns between two looks at which tenants want it; a change on this server is looked at on the next turn.
const LOOK_EVERY: u32 = 40;
/// Pages of one tenant in one turn.
const PAGES: u32 = 20;

/// Whose journals are followed, and how far each was read.
#[derive(Debug, Default)]
pub(crate) struct Followed {
    places: Mutex<BTreeMap<TenantId, i64>>,
    turns: AtomicU32,
}

impl Followed {
    /// A policy was changed.
    pub(crate) fn look_again(&self) {
        self.turns.store(0, Ordering::SeqCst);
    }
}

/// What is told, and where.
struct Told {
    topic: String,
    payload: Bytes,
}

/// One turn; how many events were told.
///
/// # Errors
/// Where the store does not answer; the next turn begins at the same place.
pub async fn tick(app: &App) -> Result<u64> {
    if app.links().is_none() {
        return Ok(0);
    }
    if app.followed().turns.fetch_add(1, Ordering::SeqCst).is_multiple_of(LOOK_EVERY) {
        for_each_tenant(app, "events", |app, tenant| async move { look(&app, &tenant).await }).await?;
    }
    let places = app.followed().places.lock().clone();
    let mut told = 0_u64;
    for (tenant, place) in places {
        let followed = follow(app, &tenant, place).await;
        told = told.saturating_add(super::or_later(app, "events", Some(&tenant), followed));
    }
    Ok(told)
}

/// Whether a tenant wants it, and from where on.
async fn look(app: &App, tenant: &TenantId) -> Result<u64> {
    let policy = identity_policy(app, tenant).await?;
    if !policy.jobs.events && !policy.commands.events {
        app.followed().places.lock().remove(tenant);
        return Ok(0);
    }
    if !app.followed().places.lock().contains_key(tenant) {
        let head = app.read(tenant, "head of events", |tx| Box::pin(async move { Ok(tx.journal_head().await?) }));
        let head = head.await?;
        app.followed().places.lock().entry(tenant.clone()).or_insert(head);
    }
    Ok(0)
}

async fn follow(app: &App, tenant: &TenantId, mut place: i64) -> Result<u64> {
    let policy = identity_policy(app, tenant).await?;
    let (jobs, commands) = (policy.jobs.events, policy.commands.events);
    let mut count = 0;
    for _ in 0..PAGES {
        let of = tenant.clone();
        let (told, last, full) = app
            .read(tenant, "what is told as events", move |tx| {
                Box::pin(async move {
                    let rows = tx.journal_tail(place, limits::PAGE_ROWS).await?;
                    let full = u32::try_from(rows.len()).is_ok_and(|found| found >= limits::PAGE_ROWS);
                    let (mut told, mut last) = (Vec::new(), place);
                    for row in rows {
                        let event = event_of(row)?;
                        last = event.id;
                        if let Some(one) = said(tx, &of, &event, (jobs, commands)).await? {
                            told.push(one);
                        }
                    }
                    Ok((told, last, full))
                })
            })
            .await?;
        count += u64::try_from(told.len()).unwrap_or(u64::MAX);
        if let Some(links) = app.links() {
            for Told { topic, payload } in told {
                links.publish(tenant, topic, payload).await;
            }
        }
        place = last;
        if let Some(kept) = app.followed().places.lock().get_mut(tenant) {
            *kept = place;
        }
        if !full {
            break;
        }
    }
    Ok(count)
}

/// What of a row of the journal is told.
async fn said(
    tx: &mut TenantTx,
    tenant: &TenantId,
    event: &Event,
    (jobs, commands): (bool, bool),
) -> Result<Option<Told>> {
    let action = event.entry.action;
    if let Some(operation) = of_job(action).filter(|_| jobs) {
        return job_event(tx, tenant, event, operation).await;
    }
    if let Some(operation) = of_execution(action).filter(|_| jobs) {
        return Ok(execution_event(tenant, event, operation));
    }
    Ok(of_command(&event.entry).filter(|_| commands).and_then(|status| command_event(tenant, event, status)))
}

/// The word that AWS has for what happened to a job.
const fn of_job(action: Action) -> Option<&'static str> {
    match action {
        Action::JobCompleted => Some("completed"),
        Action::JobCanceled | Action::JobAborted => Some("cancellation_in_progress"),
        Action::JobCancelDone => Some("canceled"),
        Action::JobDeleted => Some("deletion_in_progress"),
        Action::JobGone => Some("deleted"),
        _ => None,
    }
}

const fn of_execution(action: Action) -> Option<&'static str> {
    match action {
        Action::JobExecutionSucceeded => Some("succeeded"),
        Action::JobExecutionFailed => Some("failed"),
        Action::JobExecutionRejected => Some("rejected"),
        Action::JobExecutionCanceled => Some("canceled"),
        Action::JobExecutionRemoved => Some("removed"),
        Action::JobExecutionTimedOut => Some("timed_out"),
        Action::JobExecutionDeleted => Some("deleted"),
        _ => None,
    }
}

/// A command that waits again is not told as a new one. What expires, AWS calls timed out.
fn of_command(entry: &Entry) -> Option<&'static str> {
    match entry.action {
        Action::CommandQueued => (entry.detail.get("version").and_then(Value::as_u64) == Some(1)).then_some("CREATED"),
        Action::CommandStarted => Some("IN_PROGRESS"),
        Action::CommandSucceeded => Some("SUCCEEDED"),
        Action::CommandFailed => Some("FAILED"),
        Action::CommandRejected => Some("REJECTED"),
        Action::CommandTimedOut | Action::CommandExpired => Some("TIMED_OUT"),
        _ => None,
    }
}

async fn job_event(tx: &mut TenantTx, tenant: &TenantId, event: &Event, operation: &str) -> Result<Option<Told>> {
    let Some(id) = event.entry.subject.as_deref().and_then(|subject| subject.parse::<JobId>().ok()) else {
        return Ok(None);
    };
    let job = tx.job(&id).await?.map(rows::job_of).transpose()?;
    let counts = match operation {
        "completed" => Some(details(&standing(tx, &id).await?)),
        _ => None,
    };
    let said = |key: &str| event.entry.detail.get(key);
    let of_row = |field: fn(&Job) -> Option<i64>, key: &str| {
        job.as_ref().map_or_else(|| said(key).and_then(Value::as_i64), field)
    };
    let selection =
        job.as_ref().map(|job| job.selection.as_str()).or_else(|| said("selection").and_then(Value::as_str));
    let description = || said("description").and_then(Value::as_str).map(str::to_owned);
    let body = JobEvent {
        event_type: "JOB".to_owned(),
        event_id: event_id(tenant, event.id),
        timestamp: event.entry.at.secs(),
        operation: operation.to_owned(),
        job_id: id.to_string(),
        status: operation.to_ascii_uppercase(),
        target_selection: selection.map(str::to_ascii_uppercase),
        targets: job.as_ref().map(|job| targets(tenant, job)).unwrap_or_default(),
        description: job.as_ref().map_or_else(description, |job| job.description.clone()),
        completed_at: of_row(|job| job.completed_at.map(Timestamp::millis), "completed_at_ms"),
        created_at: of_row(|job| Some(job.created_at.millis()), "created_at_ms"),
        last_updated_at: of_row(|job| Some(job.updated_at.millis()), "updated_at_ms"),
        comment: job.as_ref().and_then(|job| job.comment.clone()),
        job_process_details: counts,
    };
    Ok(Some(told(topic("job", id.as_str(), operation), &body)))
}

fn details(standing: &Standing) -> JobProcessDetails {
    JobProcessDetails {
        number_of_canceled_things: standing.canceled,
        number_of_rejected_things: standing.rejected,
        number_of_failed_things: standing.failed,
        number_of_removed_things: standing.removed,
        number_of_succeeded_things: standing.succeeded,
        number_of_timed_out_things: standing.timed_out,
    }
}

/// Devices that are named, and tags, which are AWS's groups; a selector of anything else has no name there.
fn targets(tenant: &TenantId, job: &Job) -> Vec<String> {
    let of = |selector: &fleetward_core::selector::Selector| {
        let things: Vec<String> = selector.devices.iter().map(|device| arn(tenant, "thing", device.as_str())).collect();
        let groups = selector.tags.iter().map(|tag| arn(tenant, "thinggroup", tag));
        things.into_iter().chain(groups).collect::<Vec<_>>()
    };
    job.targets.iter().flat_map(of).take(limits::JOB_TARGETS).collect()
}

fn execution_event(tenant: &TenantId, event: &Event, operation: &str) -> Option<Told> {
    let entry = &event.entry;
    let job = entry.subject.as_deref()?;
    let said = entry.detail.get("device_says").cloned().unwrap_or_default();
    let body = JobExecutionEvent {
        event_type: "JOB_EXECUTION".to_owned(),
        event_id: event_id(tenant, event.id),
        timestamp: entry.at.secs(),
        operation: operation.to_owned(),
        job_id: job.to_owned(),
        thing_arn: arn(tenant, "thing", entry.device.as_ref()?.as_str()),
        status: operation.to_ascii_uppercase(),
        status_details: serde_json::from_value(said).unwrap_or_default(),
    };
    Some(told(topic("jobExecution", job, operation), &body))
}

/// What AWS calls a command is what it asks for: our operation. Its execution is our command.
fn command_event(tenant: &TenantId, event: &Event, status: &str) -> Option<Told> {
    let entry = &event.entry;
    let op = entry.detail.get("op").and_then(Value::as_str)?;
    let reason = entry.detail.get("reason").and_then(Value::as_str);
    let body = CommandExecutionEvent {
        execution_id: entry.subject.clone()?,
        status: status.to_owned(),
        status_reason: reason
            .map(|code| StatusReason { reason_code: code.to_owned(), reason_description: String::new() }),
        event_type: "COMMAND_EXECUTION".to_owned(),
        command_arn: arn(tenant, "command", op),
        target_arn: arn(tenant, "thing", entry.device.as_ref()?.as_str()),
        timestamp: entry.at.millis(),
    };
    Some(told(topic("commandExecution", op, status), &body))
}

fn told(topic: String, body: &impl Serialize) -> Told {
    Told { topic, payload: Bytes::from(serde_json::to_vec(body).unwrap_or_default()) }
}
