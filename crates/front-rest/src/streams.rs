//! How many event streams are open, by tenant. A stream holds its [`Seat`] as long as it lives.

use std::collections::HashMap;
use std::sync::Arc;

use fleetward_base::{TenantId, limits};
use parking_lot::Mutex;

#[derive(Clone, Debug, Default)]
pub struct Streams(Arc<Mutex<HashMap<TenantId, usize>>>);

/// The right to one open stream; given back when it is dropped.
#[derive(Debug)]
pub struct Seat {
    streams: Streams,
    tenant: TenantId,
}

impl Streams {
    /// A seat, if the tenant has one left.
    pub fn take(&self, tenant: &TenantId) -> Option<Seat> {
        let mut open = self.0.lock();
        let count = open.entry(tenant.clone()).or_default();
        if *count >= limits::EVENT_STREAMS_PER_TENANT {
            return None;
        }
        *count += 1;
        Some(Seat { streams: self.clone(), tenant: tenant.clone() })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut open = self.streams.0.lock();
        if let Some(count) = open.get_mut(&self.tenant) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                open.remove(&self.tenant);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seats_are_bounded_and_come_back() {
        let streams = Streams::default();
        let (acme, beta): (TenantId, TenantId) = ("acme".parse().expect("a name"), "beta".parse().expect("a name"));
        let mut seats: Vec<Seat> =
            (0..limits::EVENT_STREAMS_PER_TENANT).map(|_| streams.take(&acme).expect("a seat")).collect();
        assert!(streams.take(&acme).is_none());
        assert!(streams.take(&beta).is_some());
        seats.pop();
        assert!(streams.take(&acme).is_some());
        seats.clear();
        assert!(streams.0.lock().is_empty());
    }
}
