//! OCSP answers that are kept, and those that are to be signed before they are asked for.
//!
//! Whatever is revoked empties the memory of its tenant, here at once and on other servers as they hear of it; what was
//! asked for is due again then. What is kept and what is due of an authority have a bound: whoever asks after a whole fleet
//! pushes out what nobody asks for, and not what everybody does. What finds no place is signed when it is asked for.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fleetward_base::{TenantId, Timestamp, limits};
use parking_lot::Mutex;

use super::Ca;

/// An answer that was signed.
#[derive(Clone)]
pub(super) struct Kept {
    pub(super) der: Arc<[u8]>,
    pub(super) from: Timestamp,
    pub(super) until: Timestamp,
    /// From here on another is signed.
    pub(super) stale_at: Timestamp,
    /// Whether another one is to follow it: somebody had it, or is expected to ask.
    pub(super) wanted: bool,
}

/// What is kept of one authority: of late, and of before that somebody may yet ask for.
#[derive(Default)]
struct Shelf {
    recent: HashMap<Vec<u8>, Kept>,
    earlier: HashMap<Vec<u8>, Kept>,
}

impl Shelf {
    fn find(&mut self, id: &[u8]) -> Option<Kept> {
        if let Some(kept) = self.recent.get_mut(id) {
            kept.wanted = true;
            return Some(kept.clone());
        }
        let (id, mut kept) = self.earlier.remove_entry(id)?;
        kept.wanted = true;
        self.keep(id, kept.clone());
        Some(kept)
    }

    fn keep(&mut self, id: Vec<u8>, kept: Kept) {
        if self.recent.len() >= limits::OCSP_ANSWERS_KEPT / 2 {
            self.earlier = std::mem::take(&mut self.recent);
        }
        self.recent.insert(id, kept);
    }

    fn len(&self) -> usize {
        self.recent.len() + self.earlier.len()
    }

    /// Those that are wanted, and are stale by then.
    fn wanted_and_stale(&self, by: Timestamp) -> impl Iterator<Item = &Vec<u8>> {
        self.recent
            .iter()
            .chain(&self.earlier)
            .filter(move |(_, kept)| kept.wanted && kept.stale_at <= by)
            .map(|(id, _)| id)
    }
}

/// Ids of one authority that are to be signed, and whether another answer is to follow that one where nobody asks. No more
/// than half a shelf, so that they are all there at once.
type Due = BTreeMap<Vec<u8>, bool>;

/// A CertID in DER, and whether another answer is to follow the one that is due.
pub(super) type DueAnswer = (Vec<u8>, bool);

fn put(due: &mut Due, id: Vec<u8>, wanted: bool) {
    if due.len() < limits::OCSP_ANSWERS_KEPT / 2 || due.contains_key(&id) {
        *due.entry(id).or_default() |= wanted;
    }
}

/// By the fingerprint of the authority.
#[derive(Default)]
struct Shelves {
    kept: HashMap<String, Shelf>,
    due: HashMap<String, Due>,
}

/// Answers that are kept, those that are due, and the allowance of those that are neither.
#[derive(Default)]
pub(crate) struct Answers {
    shelves: Mutex<Shelves>,
    /// Grows when something is revoked: an answer that was on its way then is not kept.
    epoch: AtomicU64,
    allowance: Mutex<Duration>,
}

impl Answers {
    /// Something of this tenant was revoked, or without one an authority below the installation's own.
    pub(crate) fn forget(&self, authorities: impl Iterator<Item = Arc<Ca>>, tenant: Option<&TenantId>) {
        self.epoch.fetch_add(1, Ordering::SeqCst);
        let mut shelves = self.shelves.lock();
        for ca in authorities.filter(|ca| ca.tenant.as_ref() == tenant) {
            let Some(shelf) = shelves.kept.remove(&ca.fingerprint) else { continue };
            let due = shelves.due.entry(ca.fingerprint.clone()).or_default();
            let wanted = shelf.recent.into_iter().chain(shelf.earlier).filter(|(_, kept)| kept.wanted);
            wanted.for_each(|(id, _)| put(due, id, true));
        }
    }

    /// Somebody will ask for these (CertIDs in DER).
    pub(crate) fn expect(&self, ca: &Ca, ids: impl Iterator<Item = Vec<u8>>) {
        let mut shelves = self.shelves.lock();
        let due = shelves.due.entry(ca.fingerprint.clone()).or_default();
        ids.for_each(|id| put(due, id, true));
    }

    /// Takes what is due or stale by then, at most `limits::OCSP_AHEAD_PER_LOOK` and an equal part of it of each authority.
    pub(super) fn due(&self, authorities: &[Arc<Ca>], by: Timestamp) -> Vec<(Arc<Ca>, Vec<DueAnswer>)> {
        let mut shelves = self.shelves.lock();
        let Shelves { kept, due } = &mut *shelves;
        due.retain(|of, ids| !ids.is_empty() && authorities.iter().any(|ca| ca.fingerprint == *of));
        for (of, shelf) in kept {
            let mut stale = shelf.wanted_and_stale(by).peekable();
            if stale.peek().is_some() {
                let due = due.entry(of.clone()).or_default();
                stale.for_each(|id| put(due, id.clone(), false));
            }
        }
        let part = limits::OCSP_AHEAD_PER_LOOK.checked_div(due.len()).unwrap_or_default().max(1);
        let take = |ca: &Arc<Ca>| {
            let ids = due.get_mut(&ca.fingerprint)?;
            let taken: Vec<_> = std::iter::from_fn(|| ids.pop_first()).take(part).collect();
            (!taken.is_empty()).then(|| (Arc::clone(ca), taken))
        };
        authorities.iter().filter_map(take).take(limits::OCSP_AHEAD_PER_LOOK).collect()
    }

    /// How many of this tenant's are kept.
    pub(crate) fn kept(&self, authorities: impl Iterator<Item = Arc<Ca>>, tenant: &TenantId) -> usize {
        let shelves = self.shelves.lock();
        let own = authorities.filter(|ca| ca.tenant.as_ref() == Some(tenant));
        own.filter_map(|ca| shelves.kept.get(&ca.fingerprint)).map(Shelf::len).sum()
    }

    pub(super) fn all_kept(&self) -> usize {
        self.shelves.lock().kept.values().map(Shelf::len).sum()
    }

    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::SeqCst)
    }

    pub(super) fn find(&self, ca: &Ca, id: &[u8], now: Timestamp) -> Option<Kept> {
        let mut shelves = self.shelves.lock();
        shelves.kept.get_mut(&ca.fingerprint)?.find(id).filter(|kept| kept.from <= now && now < kept.stale_at)
    }

    pub(super) fn keep(&self, ca: &Ca, id: Vec<u8>, answer: Kept, epoch: u64) {
        let mut shelves = self.shelves.lock();
        if self.epoch() == epoch {
            shelves.kept.entry(ca.fingerprint.clone()).or_default().keep(id, answer);
        }
    }

    /// Takes from the allowance of live signatures (one moment says all, as in the enrolment gate).
    pub(super) fn may_sign(&self, now: Duration) -> bool {
        let cost = Duration::from_secs(1) / limits::OCSP_LIVE_PER_SECOND;
        let mut until = self.allowance.lock();
        let free = Duration::max(*until, now) + cost;
        let within = free <= now + Duration::from_secs(1);
        if within {
            *until = free;
        }
        within
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_stays_while_a_fleet_goes_by() {
        let moment = Timestamp::from_secs(1_900_000_000);
        let der = Arc::from([1_u8].as_slice());
        let kept = Kept { der, from: moment, until: moment, stale_at: moment, wanted: false };
        let mut shelf = Shelf::default();
        shelf.keep(b"asked for".to_vec(), kept.clone());
        for number in 0..3 * limits::OCSP_ANSWERS_KEPT {
            shelf.keep(number.to_be_bytes().to_vec(), kept.clone());
            assert!(shelf.len() <= limits::OCSP_ANSWERS_KEPT);
            if number % 1000 == 0 {
                assert!(shelf.find(b"asked for").is_some(), "after {number}");
            }
        }
        assert!(shelf.find(&0_usize.to_be_bytes()).is_none());
        assert_eq!(shelf.wanted_and_stale(moment).count(), 1, "only that one is signed again by itself");
    }
}
