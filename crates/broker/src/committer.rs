//! Group commit: whatever waits is committed together, and whoever waits for it is woken together.
//!
//! Batches are numbered. Who changes a session notes before the change the first batch that is not done (`since`), and after
//! it the one that is open (`ticket`). The change is in one of those: in the open one, or in the one that was closed before and
//! whose sessions are still being drained. It is durable once `ticket` is committed and no batch since `since` has failed.
//!
//! Under load those whom a commit answers come again at once. The next commit waits a moment for them: what a commit costs
//! is then shared by all of them, not by the half that happened to come while the last one was at the disk. Who is alone
//! waits for nobody.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use fleetward_base::{DeviceId, TenantId};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use crate::CommitFailed;
use crate::link::Link;
use crate::session::{Session, Taken};
use crate::store::{Op, SessionStore};

#[derive(Default)]
struct Batch {
    dirty: Vec<Arc<Session>>,
    /// Retained messages set and cleared.
    retained: Vec<Op>,
    waiters: Vec<Arc<Link>>,
    /// As many as wait now are worth waiting for: those whom the last commit answered, and who did not fit into it.
    expected: usize,
    /// Somebody waits, or it is time.
    wanted: bool,
}

/// Fewer than this are not worth waiting for.
const COMPANY: usize = 8;

impl Batch {
    /// Everybody who is expected is there.
    fn complete(&self) -> bool {
        self.expected < COMPANY || self.waiters.len() >= self.expected
    }
}

pub(crate) struct Committer {
    batch: Mutex<Batch>,
    open: AtomicU64,
    committed: watch::Sender<u64>,
    done: AtomicU64,
    last_failed: AtomicU64,
    pending_bytes: AtomicUsize,
    /// Sessions that have ended and that the store may still have, with the first batch that may say so.
    endings: Mutex<HashMap<(TenantId, DeviceId), u64>>,
    stopping: AtomicBool,
    stopped: AtomicBool,
    wake: Notify,
    /// All that are expected are there.
    complete: Notify,
    pub(crate) commits: AtomicU64,
    pub(crate) failures: AtomicU64,
}

impl Committer {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            batch: Mutex::default(),
            open: AtomicU64::new(1),
            committed: watch::Sender::new(0),
            done: AtomicU64::new(0),
            last_failed: AtomicU64::new(0),
            pending_bytes: AtomicUsize::new(0),
            endings: Mutex::default(),
            stopping: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            wake: Notify::new(),
            complete: Notify::new(),
            commits: AtomicU64::new(0),
            failures: AtomicU64::new(0),
        })
    }

    /// The batch that is filled now.
    pub(crate) fn open(&self) -> u64 {
        self.open.load(Ordering::Acquire)
    }

    /// The first batch that a change may be in that is made now.
    pub(crate) fn since(&self) -> u64 {
        self.done.load(Ordering::Acquire) + 1
    }

    /// The batch that may be under way, or else the one that is filled now: the `since` of a change that was noted before.
    pub(crate) fn under_way(&self) -> u64 {
        self.open().saturating_sub(1).max(1)
    }

    /// Adds a session to the open batch; its state is locked by the caller, who has found it not dirty.
    pub(crate) fn register(&self, session: &Arc<Session>) {
        self.batch.lock().dirty.push(session.clone());
    }

    /// A session has ended; `since` is the first batch that this may be in.
    pub(crate) fn ending(&self, session: &Session, since: u64) {
        self.endings.lock().insert((session.tenant.clone(), session.client.clone()), since);
    }

    /// Whether a crash now would bring an ended session of this client back.
    pub(crate) fn may_come_back(&self, session: &Session) -> bool {
        let endings = self.endings.lock();
        !endings.is_empty() && endings.contains_key(&(session.tenant.clone(), session.client.clone()))
    }

    fn ended(&self, taken: &[Taken], number: u64) {
        let mut endings = self.endings.lock();
        for session in taken.iter().filter_map(Taken::ended) {
            let key = (session.tenant.clone(), session.client.clone());
            if endings.get(&key).is_some_and(|since| *since <= number) {
                endings.remove(&key);
            }
        }
    }

    pub(crate) fn retain(&self, op: Op) {
        self.add_bytes(retained_bytes(&op));
        self.batch.lock().retained.push(op);
    }

    pub(crate) fn add_bytes(&self, bytes: usize) {
        self.pending_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn sub_bytes(&self, bytes: usize) {
        self.pending_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(crate) fn pending_bytes(&self) -> usize {
        self.pending_bytes.load(Ordering::Relaxed)
    }

    /// Asks for a commit, and for the link to be woken by the one that holds what is open now.
    pub(crate) fn want(&self, link: Option<&Arc<Link>>) {
        let mut batch = self.batch.lock();
        if let Some(link) = link.filter(|link| link.waits_for(self.open())) {
            batch.waiters.push(link.clone());
        }
        let first = !std::mem::replace(&mut batch.wanted, true);
        let complete = batch.complete();
        drop(batch);
        if first {
            self.wake.notify_one();
        } else if complete {
            self.complete.notify_one();
        }
    }

    /// Asks for a commit of what nobody waits for, if there is any.
    pub(crate) fn flush(&self) {
        let mut batch = self.batch.lock();
        let work = !batch.dirty.is_empty() || !batch.retained.is_empty();
        if work && !batch.wanted {
            batch.wanted = true;
            drop(batch);
            self.wake.notify_one();
        }
    }

    /// What became of a change; None while it is not known.
    pub(crate) fn outcome(&self, since: u64, ticket: u64) -> Option<Result<(), CommitFailed>> {
        if self.done.load(Ordering::Acquire) < ticket {
            return self.stopped.load(Ordering::Acquire).then_some(Err(CommitFailed));
        }
        let failed = self.last_failed.load(Ordering::Acquire) >= since;
        Some(if failed { Err(CommitFailed) } else { Ok(()) })
    }

    pub(crate) async fn wait(&self, since: u64, ticket: u64) -> Result<(), CommitFailed> {
        let mut committed = self.committed.subscribe();
        loop {
            committed.mark_unchanged();
            if let Some(outcome) = self.outcome(since, ticket) {
                return outcome;
            }
            if committed.changed().await.is_err() {
                return Err(CommitFailed);
            }
        }
    }

    /// Commits until [`Committer::stop`], and what is left then.
    pub(crate) async fn run(self: Arc<Self>, store: Arc<dyn SessionStore>, linger: Duration) {
        loop {
            self.wake.notified().await;
            let stopping = self.stopping.load(Ordering::Acquire);
            loop {
                if !stopping {
                    self.linger(linger).await;
                }
                if !self.commit_once(&*store, stopping).await {
                    break;
                }
            }
            if stopping {
                self.stopped.store(true, Ordering::Release);
                self.committed.send_modify(|_| {});
                return;
            }
        }
    }

    /// Waits a moment for those who are about to come, if they are worth it.
    async fn linger(&self, longest: Duration) {
        let ready = || {
            let batch = self.batch.lock();
            !batch.wanted || batch.complete()
        };
        if longest.is_zero() || ready() {
            return;
        }
        let all = async {
            while !ready() {
                self.complete.notified().await;
            }
        };
        if tokio::time::timeout(longest, all).await.is_err() {
            tracing::trace!("a commit without some of those who were expected");
        }
    }

    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.wake.notify_one();
    }

    /// Whether there was anything to do.
    async fn commit_once(&self, store: &dyn SessionStore, all: bool) -> bool {
        let (batch, number) = {
            let mut open = self.batch.lock();
            let work = !open.dirty.is_empty() || !open.retained.is_empty();
            if !(open.wanted || all && work) {
                return false;
            }
            let batch = std::mem::take(&mut *open);
            (batch, self.open.fetch_add(1, Ordering::AcqRel))
        };
        let mut ops = Vec::with_capacity(batch.dirty.len() + batch.retained.len());
        let taken: Vec<Taken> = batch.dirty.into_iter().filter_map(|s| s.drain(&mut ops)).collect();
        let bytes: usize = taken.iter().map(|t| t.bytes).chain(batch.retained.iter().map(retained_bytes)).sum();
        ops.extend(batch.retained.iter().cloned());
        let mut stored = true;
        if !ops.is_empty() {
            self.commits.fetch_add(1, Ordering::Relaxed);
            if let Err(failure) = store.commit(ops).await {
                tracing::warn!(error = %failure, cause = %failure.source, "MQTT sessions were not committed");
                self.failures.fetch_add(1, Ordering::Relaxed);
                self.last_failed.store(number, Ordering::Release);
                stored = false;
            }
        }
        self.sub_bytes(bytes);
        if stored {
            self.ended(&taken, number);
        }
        let again: Vec<_> = taken.into_iter().filter_map(|t| t.settle(stored)).collect();
        if !stored {
            self.put_back(again, batch.retained);
        }
        self.done.store(number, Ordering::Release);
        self.committed.send_replace(number);
        {
            let mut open = self.batch.lock();
            open.expected = open.waiters.len() + batch.waiters.len();
        }
        for link in batch.waiters {
            link.wake();
        }
        // When it stops, what has failed is not tried for ever.
        stored || !all
    }

    /// Before everything that has come since, so that order is kept.
    fn put_back(&self, mut dirty: Vec<Arc<Session>>, mut retained: Vec<Op>) {
        let mut open = self.batch.lock();
        dirty.append(&mut open.dirty);
        open.dirty = dirty;
        let before: usize = open.retained.iter().map(retained_bytes).sum();
        retained.append(&mut open.retained);
        // Only the last word on a topic counts, so that a store that is away does not let this grow.
        let mut topics = HashSet::new();
        retained.reverse();
        retained.retain(|op| topics.insert(retained_key(op)));
        retained.reverse();
        self.sub_bytes(before);
        self.add_bytes(retained.iter().map(retained_bytes).sum());
        open.retained = retained;
    }
}

fn retained_bytes(op: &Op) -> usize {
    match op {
        Op::Retain { retained, .. } => retained.payload.len() + retained.properties.len() + retained.topic.len(),
        _ => 0,
    }
}

fn retained_key(op: &Op) -> (TenantId, String) {
    let topic = match op {
        Op::Retain { retained, .. } => retained.topic.clone(),
        Op::ClearRetained { topic, .. } => topic.clone(),
        _ => String::new(),
    };
    (op.tenant().clone(), topic)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A session that is drained late takes what comes meanwhile into a batch that is closed already.
    #[test]
    fn what_comes_before_a_closed_batch_is_drained_fails_with_it() {
        let committer = Committer::new();
        let closed = committer.open.fetch_add(1, Ordering::AcqRel);
        let (since, ticket) = (committer.since(), committer.open());
        committer.last_failed.store(closed, Ordering::Release);
        committer.done.store(closed, Ordering::Release);
        let later = committer.since();
        assert!(committer.outcome(since, ticket).is_none(), "the other batch that it may be in is not done");
        committer.done.store(ticket, Ordering::Release);
        assert!(matches!(committer.outcome(since, ticket), Some(Err(CommitFailed))));
        assert!(matches!(committer.outcome(later, ticket), Some(Ok(()))), "what came after the failure is kept");
    }
}
