//! When the agent attests: after each start, when the server says that it is due again, and after a failure a little later.

use std::sync::Arc;
use std::time::Duration;

use fleetward_base::Clock as _;

use super::{Agent, Done, chance};
use crate::attest::{AttestError, Attester, Verdict};

/// Waits after failures: the first, and the longest.
const FIRST_WAIT: Duration = Duration::from_secs(5);
const LONGEST_WAIT: Duration = Duration::from_secs(15 * 60);
/// A device that is held back asks again this often: its references may be there by then.
const RESTRICTED_WAIT: Duration = Duration::from_secs(60);

/// What the agent keeps of it.
pub(super) struct Attestation {
    attester: Option<Attester>,
    /// An attempt is under way.
    asking: bool,
    /// Nothing is done before this moment of the monotonic clock; none where nothing is due.
    next: Option<Duration>,
    failures: u32,
    /// The first attempt since the start ended, whichever way.
    tried: bool,
}

impl Attestation {
    pub(super) fn new(attester: Option<Attester>) -> Self {
        Self { attester, asking: false, next: Some(Duration::ZERO), failures: 0, tried: false }
    }

    /// What shows the TPM, where there is one.
    pub(super) fn attester(&self) -> Option<Attester> {
        self.attester.clone()
    }

    /// Whether a session would begin with fewer rights than it will have in a moment.
    pub(super) const fn is_first(&self) -> bool {
        self.attester.is_some() && !self.tried
    }
}

impl Agent {
    /// Begins to attest where it is time, with the credential that connections are made with.
    pub(super) fn look_after_attestation(&mut self) {
        let due = self.attestation.next.is_some_and(|next| self.clock.monotonic() >= next);
        if self.attestation.asking || !due || self.going.is_on_its_way() {
            return;
        }
        let (Some(attester), Some(credential)) =
            (self.attestation.attester.clone(), self.certificates.to_connect_with())
        else {
            return;
        };
        self.attestation.asking = true;
        self.work.spawn(async move { Done::Attested(attester.attest(&Arc::clone(&credential)).await) });
    }

    pub(super) fn attested(&mut self, result: Result<Verdict, AttestError>) {
        let now = self.clock.monotonic();
        (self.attestation.asking, self.attestation.tried) = (false, true);
        match result {
            Ok(verdict) => {
                let reasons = verdict.reasons.join(" ");
                tracing::info!(verdict = %verdict.verdict, %reasons, restricted = verdict.restricted, "attested");
                self.attestation.failures = 0;
                let due =
                    if verdict.restricted { Some(RESTRICTED_WAIT) } else { verdict.due_in.map(Duration::from_secs) };
                self.attestation.next = due.map(|wait| now + wait);
            }
            Err(error) => {
                let wait = (FIRST_WAIT * 2_u32.saturating_pow(self.attestation.failures.min(16))).min(LONGEST_WAIT);
                let wait = wait.mul_f64(0.5 + 0.5 * chance(self.rng.as_ref()));
                self.attestation.failures = self.attestation.failures.saturating_add(1);
                self.attestation.next = Some(now + wait);
                tracing::warn!(%error, seconds = wait.as_secs_f64(), "not attested");
            }
        }
    }
}
