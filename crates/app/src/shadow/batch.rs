//! Updates of many shadows of a tenant in one transaction.
//!
//! Whoever comes while a transaction is under way waits for the next one, and all who wait go into it together: nobody waits
//! for company, and under load one commit and a handful of statements stand for up to `SHADOW_BATCH` updates. An update that
//! is refused does not touch the others. Where a whole transaction fails by a fault that one of them may have brought, each
//! is tried alone.
//!
//! What was committed is told from here and not by its caller, who may have hung up: each update by itself, in its turn, and
//! then the caller has its answer.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use fleetward_base::{TenantId, Timestamp, limits};
use fleetward_core::identity_policy::ShadowPolicy;
use fleetward_core::journal::{Action, Severity};
use fleetward_core::shadow::{self as rules, Applied, Document, Refused, UpdateRequest, Watch};
use fleetward_store::{JournalEntry, ShadowEventRow, ShadowRow, TenantTx};
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use tokio::sync::{OwnedMutexGuard, oneshot};

use super::{
    Result, ShadowError, ShadowKey, Via, firmware, grace, history, known, room_for_name, rows, sections, tell,
};
use crate::deployments::note_firmware;
use crate::error::Error;
use crate::identity_policy::identity_policy;
use crate::journal::row_of;
use crate::{App, Ctx, Principal};

/// An update that is asked for.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) ctx: Ctx,
    pub(super) key: ShadowKey,
    pub(super) request: UpdateRequest,
    pub(super) via: Via,
    /// By a device that has just connected.
    pub(super) at_start: bool,
    pub(super) now: Timestamp,
}

type Turn = OwnedMutexGuard<()>;

struct Waiting {
    work: Arc<Work>,
    turn: Turn,
    answer: oneshot::Sender<Result<Applied>>,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    /// Transactions under way.
    running: usize,
}

/// Who waits in each tenant.
#[derive(Default)]
pub(crate) struct Batches {
    queues: Mutex<HashMap<TenantId, Queue>>,
}

impl std::fmt::Debug for Batches {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Batches").field("tenants", &self.queues.lock().len()).finish()
    }
}

/// Has the update done, and waits until it is committed and told. The turn is kept until then.
pub(super) async fn submit(app: &App, tenant: &TenantId, work: Work, turn: Turn) -> Result<Applied> {
    let (answer, done) = oneshot::channel();
    let starts = {
        let mut queues = app.shadows().batches.queues.lock();
        let queue = queues.entry(tenant.clone()).or_default();
        queue.waiting.push_back(Waiting { work: Arc::new(work), turn, answer });
        let starts = queue.running < limits::SHADOW_BATCHES;
        queue.running = queue.running.saturating_add(usize::from(starts));
        starts
    };
    if starts {
        app.set_off(work_off(app.clone(), tenant.clone()));
    }
    done.await.unwrap_or_else(|_| Err(Error::Unavailable { what: "the server" }.into()))
}

/// The next ones; none ends this lane.
fn take(app: &App, tenant: &TenantId) -> Vec<Waiting> {
    let mut queues = app.shadows().batches.queues.lock();
    let Some(queue) = queues.get_mut(tenant) else { return Vec::new() };
    let count = queue.waiting.len().min(limits::SHADOW_BATCH);
    let taken: Vec<_> = queue.waiting.drain(..count).collect();
    if taken.is_empty() {
        queue.running = queue.running.saturating_sub(1);
        if queue.running == 0 {
            queues.remove(tenant);
        }
    }
    taken
}

/// A lane that breaks off in the middle makes room for another one.
struct Lane {
    app: App,
    tenant: TenantId,
    done: bool,
}

impl Drop for Lane {
    fn drop(&mut self) {
        if !self.done
            && let Some(queue) = self.app.shadows().batches.queues.lock().get_mut(&self.tenant)
        {
            queue.running = queue.running.saturating_sub(1);
        }
    }
}

async fn work_off(app: App, tenant: TenantId) {
    let mut lane = Lane { app: app.clone(), tenant: tenant.clone(), done: false };
    loop {
        let taken = take(&app, &tenant);
        if taken.is_empty() {
            lane.done = true;
            return;
        }
        let works: Vec<_> = taken.iter().map(|waiting| Arc::clone(&waiting.work)).collect();
        let outcomes = write(&app, &tenant, works).await;
        for (waiting, outcome) in taken.into_iter().zip(outcomes) {
            app.set_off(conclude(app.clone(), tenant.clone(), waiting, outcome));
        }
    }
}

/// What follows from a commit: whoever listens is told, and whoever asked is answered, if it is still there.
async fn conclude(app: App, tenant: TenantId, waiting: Waiting, outcome: Result<Applied>) {
    let Waiting { work, turn, answer } = waiting;
    if let Ok(applied) = &outcome {
        let held = grace::holds(&app, &tenant, &work, applied);
        tell::updated(&app, &tenant, &work.key, applied, work.via, held).await;
        if !applied.patch.is_empty() {
            history::grew(&app, &tenant, &work.key, applied.document.changes);
        }
    }
    drop(turn);
    answer.send(outcome).ok();
}

/// One transaction for all, or one for each where that failed and another might not.
async fn write(app: &App, tenant: &TenantId, works: Vec<Arc<Work>>) -> Vec<Result<Applied>> {
    let policy = match identity_policy(app, tenant).await {
        Ok(policy) => policy.shadow.clone(),
        Err(error) => return failed(error.into(), works.len()),
    };
    let error = match transact(app, tenant, works.clone(), policy.clone()).await {
        Ok(outcomes) => return outcomes,
        Err(error) if works.len() == 1 || matches!(error, ShadowError::App(Error::Unavailable { .. })) => error,
        Err(_) => {
            let mut outcomes = Vec::with_capacity(works.len());
            for work in works {
                let alone = transact(app, tenant, vec![work], policy.clone()).await;
                outcomes.push(alone.and_then(|mut one| one.pop().unwrap_or(Err(Refused::Internal.into()))));
            }
            return outcomes;
        }
    };
    failed(error, works.len())
}

/// The first hears the cause, which is logged once; to the others it is the same thing.
fn failed(error: ShadowError, count: usize) -> Vec<Result<Applied>> {
    let mut outcomes: Vec<Result<Applied>> =
        (1..count).map(|_| Err(Error::Unavailable { what: "the database" }.into())).collect();
    outcomes.insert(0, Err(error));
    outcomes
}

async fn transact(
    app: &App,
    tenant: &TenantId,
    works: Vec<Arc<Work>>,
    policy: ShadowPolicy,
) -> Result<Vec<Result<Applied>>> {
    app.store()
        .write(tenant, "update shadows", move |tx| Box::pin(async move { apply_all(tx, &works, &policy).await }))
        .await
}

/// What a transaction writes at its end, in one statement for each kind.
#[derive(Default)]
struct Written {
    shadows: Vec<(ShadowRow, u64)>,
    events: Vec<ShadowEventRow>,
    entries: Vec<JournalEntry>,
}

async fn apply_all(tx: &mut TenantTx, works: &[Arc<Work>], policy: &ShadowPolicy) -> Result<Vec<Result<Applied>>> {
    let keys: Vec<_> = works.iter().map(|work| (&work.key.device, work.key.name.as_str())).collect();
    let mut current = HashMap::with_capacity(works.len());
    for row in tx.shadows_for_update(&keys).await? {
        let key = ShadowKey { device: row.device.clone(), name: row.name.clone() };
        current.insert(key, rows::document_of(row)?);
    }
    let mut written = Written::default();
    let mut outcomes = Vec::with_capacity(works.len());
    for work in works {
        outcomes.push(apply(tx, work, current.get(&work.key), policy, &mut written).await);
    }
    let count = u64::try_from(written.shadows.len()).unwrap_or(u64::MAX);
    if tx.update_shadows(&written.shadows).await? != count {
        // They were locked, so this is a row that went away: nothing of this transaction is kept.
        return Err(Refused::VersionConflict.into());
    }
    tx.add_shadow_events(&written.events).await?;
    tx.journal_all(&written.entries).await?;
    Ok(outcomes)
}

async fn apply(
    tx: &mut TenantTx,
    work: &Work,
    current: Option<&Document>,
    policy: &ShadowPolicy,
    written: &mut Written,
) -> Result<Applied> {
    known(tx, &work.ctx, &work.key.device, policy, current.is_none()).await?;
    if current.is_none() {
        room_for_name(tx, &work.key).await?;
    }
    let mut applied = rules::update_at(current, &work.request, work.now, work.at_start)?;
    if !policy.oscillation && !applied.document.watch.is_empty() {
        applied.document.watch = Watch::default();
        applied.oscillates.clear();
        applied.stale = false;
        applied.delta = rules::delta(&applied.document);
    }
    let row = rows::row_of(&work.key, &applied.document)?;
    // Before anything of this update is written down: where it fails, the others of the transaction go on without it.
    if let Some(version) = firmware(&work.ctx, &work.key, &work.request) {
        note_firmware(tx, &work.key.device, version, work.now).await?;
    }
    match current {
        Some(before) => written.shadows.push((row, before.version)),
        // Only where another server made the shadow in between: the caller tries again, as after any conflict.
        None if !tx.insert_shadow(&row).await? => return Err(Refused::VersionConflict.into()),
        None => {}
    }
    if !applied.patch.is_empty() {
        written.events.push(event(&work.ctx, &work.key, &applied.document, &applied.patch));
    }
    journal(work, &applied, policy, &mut written.entries);
    Ok(applied)
}

/// The row of the history for a change.
pub(super) fn event(ctx: &Ctx, key: &ShadowKey, document: &Document, patch: &Map<String, Value>) -> ShadowEventRow {
    let actor = ctx.principal.actor();
    ShadowEventRow {
        device: key.device.clone(),
        name: key.name.clone(),
        number: document.changes,
        version: document.version,
        at: document.updated_at,
        actor_kind: actor.kind.to_string(),
        actor: actor.name,
        patch: serde_json::to_string(patch).unwrap_or_default(),
    }
}

/// What somebody wants of a device is journaled, and that a shadow was made; what a device says of itself stands in the
/// history, which is part of the same transaction, unless the tenant wants it here too (ADR 0022).
fn journal(work: &Work, applied: &Applied, policy: &ShadowPolicy, entries: &mut Vec<JournalEntry>) {
    let reports = matches!(work.ctx.principal, Principal::Device { .. }) && !work.request.touches_desired();
    if !reports || applied.previous.is_none() || policy.journal_reports {
        let detail = json!({
            "version": applied.document.version,
            "sections": sections(&work.request),
            "name": work.key.wire_name(),
            "delta": applied.delta.is_some(),
        });
        let entry = work.ctx.done(work.now, Action::ShadowUpdated).device(&work.key.device).detail(detail);
        entries.push(row_of(&entry));
    }
    if let Some(stale) = applied.document.watch.stale().filter(|_| applied.stale) {
        let detail = json!({ "name": work.key.wire_name(), "applied": stale.applied, "known": stale.known });
        let entry = work.ctx.done(work.now, Action::ShadowStaleReport).device(&work.key.device);
        entries.push(row_of(&entry.severity(Severity::Notice).detail(detail)));
    }
    let found = applied.document.watch.found();
    for (path, oscillation) in applied.oscillates.iter().filter_map(|path| Some((path, found.get(path)?))) {
        let detail = json!({
            "name": work.key.wire_name(),
            "path": path,
            "explanation": oscillation.explanation(),
            "hint": oscillation.hint(),
        });
        let entry = work.ctx.done(work.now, Action::ShadowOscillating).device(&work.key.device);
        entries.push(row_of(&entry.severity(Severity::Warning).detail(detail)));
    }
}
