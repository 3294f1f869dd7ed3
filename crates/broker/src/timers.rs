//! Moments that sessions without a connection wait for: a delayed will, the end of the session. One for each session.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::session::{Session, State};

/// The tick, and a number that tells those of one tick apart.
pub(crate) type TimerKey = (u32, u64);

#[derive(Default)]
struct Queue {
    next: u64,
    by_tick: BTreeMap<TimerKey, Weak<Session>>,
}

/// What waits for its tick.
#[derive(Default)]
pub(crate) struct Timers(Mutex<Queue>);

impl Timers {
    /// Looks at the session at `tick`, and no more at the tick it had before. `state` is the session's.
    pub(crate) fn set(&self, session: &Arc<Session>, state: &mut State, tick: u32) {
        let mut queue = self.0.lock();
        if let Some(old) = state.timer.take() {
            queue.by_tick.remove(&old);
        }
        queue.next += 1;
        let key = (tick, queue.next);
        queue.by_tick.insert(key, Arc::downgrade(session));
        state.timer = Some(key);
    }

    pub(crate) fn clear(&self, state: &mut State) {
        if let Some(old) = state.timer.take() {
            self.0.lock().by_tick.remove(&old);
        }
    }

    /// Takes what is due, `limit` at most.
    pub(crate) fn due(&self, now: u32, limit: usize) -> Vec<Arc<Session>> {
        let mut queue = self.0.lock();
        let mut due = Vec::new();
        while due.len() < limit {
            let Some(first) = queue.by_tick.first_entry().filter(|e| e.key().0 <= now) else { break };
            due.extend(first.remove().upgrade());
        }
        due
    }
}
