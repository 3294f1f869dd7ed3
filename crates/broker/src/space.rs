//! The topic space of one tenant: its sessions, its subscriptions, its retained messages. Spaces do not touch.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use fleetward_base::{DeviceId, TenantId};
use parking_lot::{Mutex, RwLock};

use crate::retained::RetainedSet;
use crate::router::Router;
use crate::session::Session;
use crate::{Config, Rate, TenantRates};

pub(crate) struct Space {
    pub(crate) tenant: TenantId,
    pub(crate) sessions: Mutex<HashMap<DeviceId, Arc<Session>>>,
    pub(crate) router: RwLock<Router>,
    pub(crate) retained: RwLock<RetainedSet>,
    /// Clients that have connected lately.
    connects: Mutex<HashMap<DeviceId, Bucket>>,
    /// What is left to each device, also while it is away: to come again does not fill its buckets.
    meters: Mutex<HashMap<DeviceId, Arc<Meter>>>,
    shared: Mutex<Shared>,
}

/// What of a device's messages and bytes is left.
#[derive(Debug)]
pub(crate) struct Meter(Mutex<(Option<Bucket>, Option<Bucket>)>);

impl Meter {
    fn full(config: &Config, now: Duration) -> Arc<Self> {
        let full = |rate: Option<Rate>| rate.map(|rate| Bucket::full(rate, now));
        Arc::new(Self(Mutex::new((full(config.publish_messages), full(config.publish_bytes)))))
    }

    /// Whether the device may be read from.
    pub(crate) fn is_open(&self, config: &Config, now: Duration) -> bool {
        let (messages, bytes) = &mut *self.0.lock();
        is_open(messages, config.publish_messages, now) && is_open(bytes, config.publish_bytes, now)
    }

    pub(crate) fn pay(&self, messages: u64, bytes: u64) {
        let (of_messages, of_bytes) = &mut *self.0.lock();
        if let Some(bucket) = of_messages {
            bucket.take(messages);
        }
        if let Some(bucket) = of_bytes {
            bucket.take(bytes);
        }
    }

    fn is_full(&self, config: &Config, now: Duration) -> bool {
        let (messages, bytes) = &mut *self.0.lock();
        is_full(messages, config.publish_messages, now) && is_full(bytes, config.publish_bytes, now)
    }
}

fn is_open(bucket: &mut Option<Bucket>, rate: Option<Rate>, now: Duration) -> bool {
    match (bucket, rate) {
        (Some(bucket), Some(rate)) => bucket.open(rate, now),
        _ => true,
    }
}

fn is_full(bucket: &mut Option<Bucket>, rate: Option<Rate>, now: Duration) -> bool {
    match (bucket, rate) {
        (Some(bucket), Some(rate)) => bucket.is_full(rate, now),
        _ => true,
    }
}

/// What all connections of the tenant may still do.
#[derive(Default)]
struct Shared {
    rates: TenantRates,
    connects: Option<Bucket>,
    messages: Option<Bucket>,
    bytes: Option<Bucket>,
}

impl Space {
    pub(crate) fn new(tenant: TenantId) -> Self {
        Self {
            tenant,
            sessions: Mutex::default(),
            router: RwLock::default(),
            retained: RwLock::default(),
            connects: Mutex::default(),
            meters: Mutex::default(),
            shared: Mutex::default(),
        }
    }

    /// What all connections of the tenant may do from now on.
    pub(crate) fn limit(&self, rates: TenantRates, now: Duration) {
        let mut shared = self.shared.lock();
        if shared.rates != rates {
            let full = |rate: Option<Rate>| rate.map(|rate| Bucket::full(rate, now));
            let (connects, messages, bytes) = (full(rates.connects), full(rates.messages), full(rates.bytes));
            *shared = Shared { rates, connects, messages, bytes };
        }
    }

    /// Whether any client of the tenant may connect now.
    pub(crate) fn may_any_connect(&self, now: Duration) -> bool {
        let mut shared = self.shared.lock();
        let rate = shared.rates.connects;
        match (&mut shared.connects, rate) {
            (Some(bucket), Some(rate)) => bucket.take_if_there(rate, now),
            _ => true,
        }
    }

    /// Whether the tenant's connections may be read from.
    pub(crate) fn is_open(&self, now: Duration) -> bool {
        let mut shared = self.shared.lock();
        let Shared { rates, messages, bytes, .. } = &mut *shared;
        is_open(messages, rates.messages, now) && is_open(bytes, rates.bytes, now)
    }

    pub(crate) fn pay(&self, messages: u64, bytes: u64) {
        let mut shared = self.shared.lock();
        if let Some(bucket) = &mut shared.messages {
            bucket.take(messages);
        }
        if let Some(bucket) = &mut shared.bytes {
            bucket.take(bytes);
        }
    }

    /// What is left to a device; none where nothing is counted.
    pub(crate) fn meter(&self, client: &DeviceId, config: &Config, now: Duration) -> Option<Arc<Meter>> {
        if config.publish_messages.is_none() && config.publish_bytes.is_none() {
            return None;
        }
        let mut meters = self.meters.lock();
        Some(Arc::clone(meters.entry(client.clone()).or_insert_with(|| Meter::full(config, now))))
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

    /// Forgets the clients that are away and whose buckets are full again.
    pub(crate) fn forget_full(&self, config: &Config, now: Duration) {
        self.forget_connects(config.connects_per_client, now);
        let mut meters = self.meters.lock();
        meters.retain(|_, meter| Arc::strong_count(meter) > 1 || !meter.is_full(config, now));
        if meters.is_empty() {
            *meters = HashMap::new();
        }
    }

    fn forget_connects(&self, rate: Option<Rate>, now: Duration) {
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
