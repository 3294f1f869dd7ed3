//! Moments that sessions without a connection wait for: a delayed will, the end of the session.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::session::Session;

#[derive(Default)]
struct Queue {
    next: u64,
    by_tick: BTreeMap<(u32, u64), (Weak<Session>, u64)>,
}

/// What waits for its tick. Entries whose session has moved on are found to be stale when they come up.
#[derive(Default)]
pub(crate) struct Timers(Mutex<Queue>);

impl Timers {
    /// Looks at the session of this epoch at `tick`.
    pub(crate) fn add(&self, tick: u32, session: &Arc<Session>, epoch: u64) {
        let mut queue = self.0.lock();
        queue.next += 1;
        let key = (tick, queue.next);
        queue.by_tick.insert(key, (Arc::downgrade(session), epoch));
    }

    /// Takes what is due, `limit` at most.
    pub(crate) fn due(&self, now: u32, limit: usize) -> Vec<(Arc<Session>, u64)> {
        let mut queue = self.0.lock();
        let mut due = Vec::new();
        while due.len() < limit {
            let Some(first) = queue.by_tick.first_entry().filter(|e| e.key().0 <= now) else { break };
            let (session, epoch) = first.remove();
            due.extend(session.upgrade().map(|s| (s, epoch)));
        }
        due
    }
}
