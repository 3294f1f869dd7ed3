//! Renewals as they come: how fast they are served, how many fail, and what is counted of them.
//!
//! In memory and of this process only. A pace guards the signer and the store against a fleet that comes at once; nobody is
//! turned away for good, and whoever is told to come back is told when.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fleetward_base::{Rng, TenantId, limits};
use fleetward_core::rotation::pace::Pace;
use fleetward_core::rotation::rise::{Change, Renewals};
use parking_lot::Mutex;

use crate::error::{Error, Result};

/// What the process knows of renewals.
pub(crate) struct Traffic {
    all: Mutex<Paces>,
    renewals: Mutex<HashMap<TenantId, Renewals>>,
    issued: AtomicU64,
    renewed: AtomicU64,
    failed: Mutex<BTreeMap<&'static str, u64>>,
    expiring: [AtomicU64; 3],
}

struct Paces {
    installation: Pace,
    tenants: HashMap<TenantId, Pace>,
}

/// What the metrics page shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Certificates that were issued, renewals included.
    pub issued: u64,
    pub renewed: u64,
    /// Renewals that were not, by cause.
    pub failed: Vec<(&'static str, u64)>,
    /// Certificates in use that end within 7, 14 and 30 days.
    pub expiring: [u64; 3],
}

impl Default for Traffic {
    fn default() -> Self {
        let installation = Pace::new(limits::RENEWALS_PER_SECOND, limits::RENEWALS_BURST);
        Self {
            all: Mutex::new(Paces { installation, tenants: HashMap::new() }),
            renewals: Mutex::default(),
            issued: AtomicU64::new(0),
            renewed: AtomicU64::new(0),
            failed: Mutex::default(),
            expiring: Default::default(),
        }
    }
}

impl Traffic {
    /// Whether one more renewal of this tenant is served now.
    ///
    /// # Errors
    /// `TooMany` with the turn of whoever asked.
    pub(crate) fn admit(&self, tenant: &TenantId, now: Duration, rng: &dyn Rng) -> Result<()> {
        let mut paces = self.all.lock();
        let Paces { installation, tenants } = &mut *paces;
        let own = tenants
            .entry(tenant.clone())
            .or_insert_with(|| Pace::new(limits::RENEWALS_PER_TENANT_AND_SECOND, limits::RENEWALS_PER_TENANT_BURST));
        // A tenant whose own pace is kept waits for the others all the same.
        let full = match (own.has_room(now), installation.has_room(now)) {
            (true, true) => {
                own.take(now);
                installation.take(now);
                return Ok(());
            }
            (false, _) => own,
            (true, false) => installation,
        };
        // In whole seconds, as Retry-After has them: nobody is to come before its turn.
        let turn = full.turn(now, chance(rng));
        let retry_after = Duration::from_secs(turn.as_secs() + u64::from(turn.subsec_nanos() > 0));
        Err(Error::TooMany { what: "renewals at once", retry_after })
    }

    pub(crate) fn issued(&self) {
        self.issued.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts a renewal that ended; `cause` where it failed.
    pub(crate) fn renewal_ended(&self, tenant: Option<&TenantId>, now: Duration, cause: Option<&'static str>) {
        match cause {
            None => drop(self.renewed.fetch_add(1, Ordering::Relaxed)),
            Some(cause) => *self.failed.lock().entry(cause).or_default() += 1,
        }
        if let Some(tenant) = tenant {
            self.renewals.lock().entry(tenant.clone()).or_default().note(now, cause.is_some());
        }
    }

    /// Tenants whose renewals began to fail more often, or ceased to.
    pub(crate) fn changes(&self, now: Duration) -> Vec<(TenantId, Change)> {
        let mut renewals = self.renewals.lock();
        let mut changes = Vec::new();
        for (tenant, known) in renewals.iter_mut() {
            if let Some(change) = known.look(now) {
                changes.push((tenant.clone(), change));
            }
        }
        renewals.retain(|_, known| !known.is_idle());
        changes
    }

    pub(crate) fn note_expiring(&self, counts: [u64; 3]) {
        for (kept, count) in self.expiring.iter().zip(counts) {
            kept.store(count, Ordering::Relaxed);
        }
    }

    pub(crate) fn figures(&self) -> Figures {
        let [seven, fourteen, thirty] = &self.expiring;
        Figures {
            issued: self.issued.load(Ordering::Relaxed),
            renewed: self.renewed.load(Ordering::Relaxed),
            failed: self.failed.lock().iter().map(|(cause, count)| (*cause, *count)).collect(),
            expiring: [seven, fourteen, thirty].map(|count| count.load(Ordering::Relaxed)),
        }
    }
}

/// Between 0 and 1.
fn chance(rng: &dyn Rng) -> f64 {
    f64::from(u32::try_from(rng.next_u64() >> 32).unwrap_or(0)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use fleetward_base::SeededRng;

    use super::*;

    #[test]
    fn a_tenant_that_comes_at_once_does_not_shut_out_another() {
        let (traffic, rng) = (Traffic::default(), SeededRng::new(1));
        let (one, other) = ("acme".parse().expect("a name"), "zenith".parse().expect("a name"));
        let mut served = 0;
        let mut longest = Duration::ZERO;
        for _ in 0..2 * limits::RENEWALS_PER_TENANT_BURST {
            match traffic.admit(&one, Duration::ZERO, &rng) {
                Ok(()) => served += 1,
                Err(Error::TooMany { retry_after, .. }) => longest = longest.max(retry_after),
                Err(other) => panic!("{other:?}"),
            }
        }
        assert_eq!(served, limits::RENEWALS_PER_TENANT_BURST);
        assert!(longest > Duration::from_secs(10), "they are spread: {longest:?}");
        traffic.admit(&other, Duration::ZERO, &rng).expect("another tenant is served");
    }
}
