//! Results by verdict and reason, of this process, for the metrics page.

use std::collections::BTreeMap;

use parking_lot::Mutex;

/// How often each result came about.
#[derive(Debug, Default)]
pub struct Results {
    counts: Mutex<BTreeMap<(&'static str, &'static str), u64>>,
}

impl Results {
    /// Counts a result. Both words come from closed lists, so the map has an end.
    pub(super) fn count(&self, verdict: &'static str, reason: &'static str) {
        *self.counts.lock().entry((verdict, reason)).or_default() += 1;
    }

    /// Verdict, reason and how often; `refused` stands in the place of a verdict where evidence proved nothing.
    pub fn all(&self) -> Vec<(&'static str, &'static str, u64)> {
        self.counts.lock().iter().map(|((verdict, reason), count)| (*verdict, *reason, *count)).collect()
    }
}
