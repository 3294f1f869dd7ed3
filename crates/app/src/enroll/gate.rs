//! How often somebody may be refused, and how much of it is journaled.
//!
//! In memory and of this process only: it guards against floods, not against guessing, which 256 bits do. An allowance
//! refills with time (GCRA: one moment per key says all). Keys without debts are forgotten.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use fleetward_base::{TenantId, limits};
use parking_lot::Mutex;

use crate::error::{Error, Result};

/// What the process remembers of refusals.
pub(crate) struct Gate {
    addresses: Mutex<Allowances<IpAddr>>,
    journal: Mutex<Allowances<Option<TenantId>>>,
    /// Refusals that were not journaled, by tenant; told in the next one that is.
    unsaid: Mutex<HashMap<Option<TenantId>, u64>>,
}

impl Default for Gate {
    fn default() -> Self {
        let a_second = Duration::from_secs(1) / limits::ENROLL_PER_ADDRESS_PER_SECOND;
        let a_minute = Duration::from_secs(60) / limits::REFUSALS_JOURNALED_PER_MINUTE;
        Self {
            addresses: Mutex::new(Allowances::new(
                a_second,
                limits::ENROLL_PER_ADDRESS_BURST,
                limits::ENROLL_ADDRESSES,
            )),
            journal: Mutex::new(Allowances::new(a_minute, limits::REFUSALS_JOURNALED_BURST, limits::PACES)),
            unsaid: Mutex::default(),
        }
    }
}

impl Gate {
    /// Whether the address still has an allowance.
    ///
    /// # Errors
    /// `TooMany` where it was refused too often of late.
    pub(crate) fn check(&self, address: IpAddr, now: Duration) -> Result<()> {
        match self.addresses.lock().wait(&network(address), now) {
            Duration::ZERO => Ok(()),
            wait => Err(Error::TooMany { what: "refused enrolments from this address", retry_after: round_up(wait) }),
        }
    }

    /// Counts a refusal against the address.
    pub(crate) fn debit(&self, address: IpAddr, now: Duration) {
        self.addresses.lock().take(network(address), now);
    }

    /// Whether a refusal in this tenant (none: unknown whose) is to be journaled, and how many before it were not.
    pub(crate) fn journals(&self, tenant: Option<&TenantId>, now: Duration) -> Option<u64> {
        let key = tenant.cloned();
        let mut unsaid = self.unsaid.lock();
        if self.journal.lock().take(key.clone(), now) {
            return Some(unsaid.remove(&key).unwrap_or(0));
        }
        *unsaid.entry(key).or_default() += 1;
        None
    }
}

/// IPv6 hands out networks of 64 bits: whoever has one has all its addresses.
fn network(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(mapped) => IpAddr::V4(mapped),
            None => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        },
        v4 @ IpAddr::V4(_) => v4,
    }
}

fn round_up(wait: Duration) -> Duration {
    Duration::from_secs(wait.as_secs() + u64::from(wait.subsec_nanos() > 0))
}

/// Allowances by key.
pub(crate) struct Allowances<K> {
    /// One more becomes free each time this has passed.
    interval: Duration,
    /// What a burst may be ahead of that.
    slack: Duration,
    keys: usize,
    /// When each would have had all its refusals at the steady pace. The key `None` stands for all beyond `keys`.
    paid_until: HashMap<Option<K>, Duration>,
}

impl<K: Eq + Hash + Clone> Allowances<K> {
    pub(crate) fn new(interval: Duration, burst: u32, keys: usize) -> Self {
        Self { interval, slack: interval * burst.saturating_sub(1), keys, paid_until: HashMap::new() }
    }

    /// How long until there is an allowance; zero where there is one.
    fn wait(&self, key: &K, now: Duration) -> Duration {
        let own = self.paid_until.get(&Some(key.clone()));
        let shared = if self.paid_until.len() > self.keys { self.paid_until.get(&None) } else { None };
        let ahead = own.or(shared).map_or(Duration::ZERO, |until| until.saturating_sub(now));
        ahead.saturating_sub(self.slack)
    }

    /// Uses one up; `false`, and nothing used, where there is none.
    pub(crate) fn take(&mut self, key: K, now: Duration) -> bool {
        if self.wait(&key, now) > Duration::ZERO {
            return false;
        }
        let mut key = Some(key);
        if self.paid_until.len() >= self.keys && !self.paid_until.contains_key(&key) {
            self.paid_until.retain(|_, until| *until > now);
            if self.paid_until.len() >= self.keys {
                key = None;
            }
        }
        let until = self.paid_until.entry(key).or_default();
        *until = (*until).max(now) + self.interval;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_burst_and_then_a_steady_pace() {
        let mut allowances = Allowances::new(SECOND, 3, 10);
        let mut at = |millis: u64| allowances.take("a", Duration::from_millis(millis));
        assert_eq!([at(0), at(0), at(0), at(0)], [true, true, true, false]);
        assert_eq!([at(999), at(1000), at(1000)], [false, true, false]);
        assert_eq!([at(60_000), at(60_000), at(60_000), at(60_000)], [true, true, true, false]);
    }

    #[test]
    fn keys_are_counted_apart_until_there_are_too_many() {
        let mut allowances = Allowances::new(SECOND, 1, 2);
        assert!(allowances.take(1, Duration::ZERO));
        assert!(allowances.take(2, Duration::ZERO));
        assert!(!allowances.take(1, Duration::ZERO));
        assert!(allowances.take(3, Duration::ZERO), "the first beyond takes the shared allowance");
        assert!(!allowances.take(4, Duration::ZERO), "which is used up");
        assert!(allowances.take(5, SECOND * 9), "debts that are paid make room");
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let parse = |text: &str| network(text.parse().expect("an address"));
        assert_eq!(parse("2001:db8::1"), parse("2001:db8::ffff:2"));
        assert_ne!(parse("2001:db8::1"), parse("2001:db8:0:1::1"));
        assert_eq!(parse("::ffff:10.0.0.1"), parse("10.0.0.1"));
        assert_ne!(parse("10.0.0.1"), parse("10.0.0.2"));
    }

    #[test]
    fn what_was_not_journaled_is_counted_in_the_next_that_is() {
        let (gate, tenant) = (Gate::default(), "acme".parse().ok());
        for _ in 0..limits::REFUSALS_JOURNALED_BURST {
            assert_eq!(gate.journals(tenant.as_ref(), Duration::ZERO), Some(0));
        }
        assert_eq!(gate.journals(tenant.as_ref(), Duration::ZERO), None);
        assert_eq!(gate.journals(tenant.as_ref(), Duration::ZERO), None);
        assert_eq!(gate.journals(None, Duration::ZERO), Some(0), "another journal");
        assert_eq!(gate.journals(tenant.as_ref(), SECOND * 60), Some(2));
        assert_eq!(gate.journals(tenant.as_ref(), SECOND * 60), Some(0));
    }
}
