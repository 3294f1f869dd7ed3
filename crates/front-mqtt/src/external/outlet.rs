//! What waits to be said through an external broker. It outlives a connection, and is bounded: what does not fit is lost, and
//! said so in the log, since the store has it and a device asks when it is back.

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
    bytes: usize,
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

    pub(crate) fn push(&self, topic: &str, payload: &[u8]) {
        let said = Said { topic: topic.to_owned(), payload: Bytes::copy_from_slice(payload) };
        let mut waiting = self.waiting.lock();
        let bytes = waiting.bytes.saturating_add(said.weight());
        if bytes > limits::EXTERNAL_BROKER_BYTES {
            drop(waiting);
            tracing::warn!(tenant = %self.tenant, "the queue to the external broker is full: a message is lost");
            return;
        }
        waiting.bytes = bytes;
        waiting.said.push_back(said);
        drop(waiting);
        self.news.notify_one();
    }

    pub(crate) fn pop(&self) -> Option<Said> {
        let mut waiting = self.waiting.lock();
        let said = waiting.said.pop_front()?;
        waiting.bytes -= said.weight();
        Some(said)
    }

    /// What a connection took and the broker has not acknowledged comes first in the next one, in its order.
    pub(crate) fn put_back(&self, said: impl DoubleEndedIterator<Item = Said>) {
        let mut waiting = self.waiting.lock();
        for one in said.rev() {
            waiting.bytes += one.weight();
            waiting.said.push_front(one);
        }
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
        let topics: Vec<String> = std::iter::from_fn(|| outlet.pop()).map(|said| said.topic).collect();
        assert_eq!(topics, ["a", "b", "c"]);
        let half = vec![0; limits::EXTERNAL_BROKER_BYTES / 2];
        for topic in ["a", "b", "c"] {
            outlet.push(topic, &half);
        }
        assert_eq!(outlet.pop().map(|said| said.topic), Some("a".to_owned()));
        outlet.push("d", b"x");
        assert_eq!(std::iter::from_fn(|| outlet.pop()).map(|said| said.topic).collect::<Vec<_>>(), ["d"]);
    }
}
