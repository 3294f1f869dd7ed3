//! How often one address may fail to sign in.
//!
//! A bucket of tokens per address: a failure takes one, time gives them back. An address with an empty bucket is refused
//! before its token is looked at, so that guessing costs the guesser and not the store. The table is bounded; when it is
//! full the address that has been quiet for longest makes room.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use fleetward_base::limits;
use parking_lot::Mutex;

/// Addresses that are remembered at once.
const ADDRESSES: usize = 10_000;

#[derive(Debug, Default)]
pub struct Failures(Mutex<HashMap<IpAddr, Bucket>>);

#[derive(Clone, Copy, Debug)]
struct Bucket {
    tokens: f64,
    at: Duration,
}

impl Bucket {
    const FULL: f64 = limits::AUTH_FAILURES_BURST as f64;
    const PER_SECOND: f64 = limits::AUTH_FAILURES_PER_MINUTE as f64 / 60.0;

    fn now(self, at: Duration) -> Self {
        let gained = at.saturating_sub(self.at).as_secs_f64() * Self::PER_SECOND;
        Self { tokens: (self.tokens + gained).min(Self::FULL), at }
    }
}

impl Failures {
    /// How long `address` has to wait before it may try again; absent when it may try now. `now` is monotonic.
    pub fn wait(&self, address: IpAddr, now: Duration) -> Option<Duration> {
        let bucket = self.0.lock().get(&network(address)).copied()?.now(now);
        (bucket.tokens < 1.0).then(|| Duration::from_secs_f64((1.0 - bucket.tokens) / Bucket::PER_SECOND))
    }

    /// Counts one failure.
    pub fn note(&self, address: IpAddr, now: Duration) {
        let mut buckets = self.0.lock();
        let key = network(address);
        if buckets.len() >= ADDRESSES && !buckets.contains_key(&key) {
            make_room(&mut buckets, now);
        }
        let bucket = buckets.entry(key).or_insert(Bucket { tokens: Bucket::FULL, at: now });
        *bucket = bucket.now(now);
        bucket.tokens = (bucket.tokens - 1.0).max(0.0);
    }
}

/// Those whose bucket is full again need no memory; failing that, the quietest goes.
fn make_room(buckets: &mut HashMap<IpAddr, Bucket>, now: Duration) {
    buckets.retain(|_, bucket| bucket.now(now).tokens < Bucket::FULL);
    if buckets.len() >= ADDRESSES
        && let Some(quietest) = buckets.iter().min_by_key(|(_, bucket)| bucket.at).map(|(address, _)| *address)
    {
        buckets.remove(&quietest);
    }
}

/// One subscriber usually holds a /64 of IPv6: its addresses count as one.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) & !u128::from(u64::MAX)).into()),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn the_burst_is_free_and_the_rest_waits() {
        let failures = Failures::default();
        let (here, start) = (ip("192.0.2.1"), Duration::from_secs(100));
        for _ in 0..limits::AUTH_FAILURES_BURST {
            assert_eq!(failures.wait(here, start), None);
            failures.note(here, start);
        }
        let wait = failures.wait(here, start).expect("an empty bucket");
        assert_eq!(failures.wait(here, start + wait + Duration::from_millis(1)), None);
        assert_eq!(failures.wait(ip("192.0.2.2"), start), None);
    }

    #[test]
    fn addresses_of_one_ipv6_network_count_together() {
        let failures = Failures::default();
        for host in 0..limits::AUTH_FAILURES_BURST {
            failures.note(ip(&format!("2001:db8::{host:x}")), Duration::ZERO);
        }
        assert!(failures.wait(ip("2001:db8::ffff"), Duration::ZERO).is_some());
        assert!(failures.wait(ip("2001:db8:0:1::1"), Duration::ZERO).is_none());
        failures.note(ip("::ffff:192.0.2.7"), Duration::ZERO);
        assert!(failures.0.lock().contains_key(&ip("192.0.2.7")));
    }

    #[test]
    fn the_table_is_bounded() {
        let failures = Failures::default();
        for n in 0..u32::try_from(ADDRESSES).expect("small") + 10 {
            failures.note(IpAddr::V4(n.into()), Duration::from_millis(n.into()));
        }
        assert!(failures.0.lock().len() <= ADDRESSES);
    }
}
