//! The topic space of one tenant: its sessions, its subscriptions, its retained messages. Spaces do not touch.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use fleetward_base::{DeviceId, TenantId};
use parking_lot::{Mutex, RwLock};

use crate::Rate;
use crate::retained::RetainedSet;
use crate::router::Router;
use crate::session::Session;

pub(crate) struct Space {
    pub(crate) tenant: TenantId,
    pub(crate) sessions: Mutex<HashMap<DeviceId, Arc<Session>>>,
    pub(crate) router: RwLock<Router>,
    pub(crate) retained: RwLock<RetainedSet>,
    /// Clients that have connected lately.
    connects: Mutex<HashMap<DeviceId, Bucket>>,
}

impl Space {
    pub(crate) fn new(tenant: TenantId) -> Self {
        Self {
            tenant,
            sessions: Mutex::default(),
            router: RwLock::default(),
            retained: RwLock::default(),
            connects: Mutex::default(),
        }
    }

    pub(crate) fn session(&self, client: &DeviceId) -> Option<Arc<Session>> {
        self.sessions.lock().get(client).cloned()
    }

    /// Whether this client may connect once more now.
    pub(crate) fn may_connect(&self, client: &DeviceId, rate: Option<Rate>, now: Duration) -> bool {
        let Some(rate) = rate else { return true };
        let mut connects = self.connects.lock();
        connects.entry(client.clone()).or_insert_with(|| Bucket::full(rate, now)).take_if_there(rate, now)
    }

    /// Forgets the clients whose bucket is full again.
    pub(crate) fn forget_connects(&self, rate: Option<Rate>, now: Duration) {
        let Some(rate) = rate else { return };
        let mut connects = self.connects.lock();
        connects.retain(|_, bucket| !bucket.is_full(rate, now));
        if connects.is_empty() {
            *connects = HashMap::new();
        }
    }
}

/// A token bucket, in thousandths so that slow rates are exact.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    milli_tokens: i64,
    at: Duration,
}

impl Bucket {
    pub(crate) fn full(rate: Rate, now: Duration) -> Self {
        Self { milli_tokens: i64::from(rate.burst) * 1000, at: now }
    }

    fn refill(&mut self, rate: Rate, now: Duration) {
        let elapsed = i64::try_from(now.saturating_sub(self.at).as_millis()).unwrap_or(i64::MAX);
        if elapsed > 0 {
            let gained = elapsed.saturating_mul(i64::from(rate.per_second));
            self.milli_tokens = self.milli_tokens.saturating_add(gained).min(i64::from(rate.burst) * 1000);
            self.at = now;
        }
    }

    /// Takes one if there is one.
    pub(crate) fn take_if_there(&mut self, rate: Rate, now: Duration) -> bool {
        self.refill(rate, now);
        let there = self.milli_tokens >= 1000;
        if there {
            self.milli_tokens -= 1000;
        }
        there
    }

    /// Takes `n`, going into debt if need be.
    pub(crate) fn take(&mut self, n: u64) {
        let milli = i64::try_from(n).unwrap_or(i64::MAX / 1000).saturating_mul(1000);
        self.milli_tokens = self.milli_tokens.saturating_sub(milli);
    }

    /// Whether there is no debt.
    pub(crate) fn open(&mut self, rate: Rate, now: Duration) -> bool {
        self.refill(rate, now);
        self.milli_tokens > 0
    }

    fn is_full(&mut self, rate: Rate, now: Duration) -> bool {
        self.refill(rate, now);
        self.milli_tokens >= i64::from(rate.burst) * 1000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_its_rate() {
        let rate = Rate { per_second: 2, burst: 3 };
        let second = Duration::from_secs(1);
        let mut bucket = Bucket::full(rate, Duration::ZERO);
        let taken = (0..10).filter(|_| bucket.take_if_there(rate, Duration::ZERO)).count();
        assert_eq!(taken, 3);
        assert!(!bucket.take_if_there(rate, second / 4));
        assert!(bucket.take_if_there(rate, second / 2));
        bucket.take(5);
        assert!(!bucket.open(rate, second));
        assert!(bucket.open(rate, 4 * second));
        assert!(bucket.is_full(rate, 60 * second));
    }
}
