//! What waits to be said through an external broker. It outlives a connection, and is bounded: a message counts until the broker
//! has acknowledged it. What does not fit is lost, the newest first, and said so in the log, since the store has it and a device
//! asks when it is back.

use std::collections::VecDeque;

use bytes::Bytes;
use fleetward_base::{TenantId, limits};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::Standing;

/// A message on its way out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) topic: String,
    pub(crate) payload: Bytes,
}

impl Said {
    fn weight(&self) -> usize {
        self.topic.len() + self.payload.len()
    }
}

#[derive(Default)]
struct Waiting {
    said: VecDeque<Said>,
    /// Of these, and of what a connection has taken and the broker has not acknowledged.
    bytes: usize,
    /// Messages that were lost since there was room the last time.
    lost: u64,
}

/// The queue to the broker of a tenant.
pub(crate) struct Outlet {
    tenant: TenantId,
    waiting: Mutex<Waiting>,
    news: Notify,
    standing: Mutex<Standing>,
}

impl Outlet {
    pub(crate) fn new(tenant: TenantId) -> Self {
        let standing = Mutex::new(Standing::Away("it has not been connected yet".to_owned()));
        Self { tenant, waiting: Mutex::default(), news: Notify::new(), standing }
    }

    pub(crate) fn is_for(&self, tenant: &TenantId) -> bool {
        self.tenant == *tenant
    }

    /// False where there is no room: the message is lost.
    pub(crate) fn push(&self, topic: &str, payload: &[u8]) -> bool {
        let said = Said { topic: topic.to_owned(), payload: Bytes::copy_from_slice(payload) };
        let mut waiting = self.waiting.lock();
        let bytes = waiting.bytes.saturating_add(said.weight());
        if bytes > limits::EXTERNAL_BROKER_BYTES {
            waiting.lost += 1;
            let first = waiting.lost == 1;
            drop(waiting);
            if first {
                tracing::warn!(tenant = %self.tenant, "the queue to the external broker is full: messages are lost");
            }
            return false;
        }
        let lost = std::mem::take(&mut waiting.lost);
        waiting.bytes = bytes;
        waiting.said.push_back(said);
        drop(waiting);
        if lost > 0 {
            tracing::warn!(tenant = %self.tenant, lost, "the queue to the external broker has room again");
        }
        self.news.notify_one();
        true
    }

    /// The next one. It counts until it is [`done`](Self::done).
    pub(crate) fn pop(&self) -> Option<Said> {
        self.waiting.lock().said.pop_front()
    }

    /// The broker has it.
    pub(crate) fn done(&self, said: &Said) {
        let mut waiting = self.waiting.lock();
        waiting.bytes = waiting.bytes.saturating_sub(said.weight());
    }

    /// What a connection took and the broker has not acknowledged comes first in the next one, in its order.
    pub(crate) fn put_back(&self, said: impl DoubleEndedIterator<Item = Said>) {
        let mut waiting = self.waiting.lock();
        said.rev().for_each(|one| waiting.said.push_front(one));
    }

    /// Waits until something was pushed since the last time.
    pub(crate) async fn news(&self) {
        self.news.notified().await;
    }

    pub(crate) fn note(&self, standing: Standing) {
        *self.standing.lock() = standing;
    }

    pub(crate) fn standing(&self) -> Standing {
        self.standing.lock().clone()
    }
}

#[cfg(test)]
impl Outlet {
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.lock().said.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_stays_and_so_does_the_bound() {
        let outlet = Outlet::new("acme".parse().expect("a name"));
        for topic in ["a", "b", "c"] {
            outlet.push(topic, b"x");
        }
        let taken = [outlet.pop(), outlet.pop()].map(|said| said.expect("it waits"));
        outlet.put_back(taken.into_iter());
        let said: Vec<Said> = std::iter::from_fn(|| outlet.pop()).collect();
        assert_eq!(said.iter().map(|said| said.topic.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
        said.iter().for_each(|said| outlet.done(said));
        let half = vec![0; limits::EXTERNAL_BROKER_BYTES / 2 - 1];
        let pushed = ["a", "b", "c"].map(|topic| outlet.push(topic, &half));
        assert_eq!(pushed, [true, true, false]);
        let first = outlet.pop().expect("it waits");
        assert_eq!((first.topic.as_str(), outlet.push("d", b"x")), ("a", false), "it counts while it is on its way");
        outlet.done(&first);
        assert!(outlet.push("d", b"x"));
        assert_eq!(std::iter::from_fn(|| outlet.pop()).map(|said| said.topic).collect::<Vec<_>>(), ["b", "d"]);
    }
}
