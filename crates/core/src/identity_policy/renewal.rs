//! How certificates are renewed, and how one takes the place of another.

use std::time::Duration;

use fleetward_base::limits;
use serde::{Deserialize, Serialize};

use super::{Invalid, within};
use crate::attestation::Verdict;
use crate::rotation::Terms;
use crate::text::text_enum;

const DAY: Duration = Duration::from_secs(24 * 3600);
const HOUR: Duration = Duration::from_secs(3600);

text_enum! {
    /// Whether a device may ask for its next certificate with the key that it has.
    pub enum KeyReuse("rule on key reuse") {
        Allow => "allow",
        /// A new key each time.
        Forbid => "forbid",
        /// A new key each time, unless attestation showed that this one cannot leave its hardware.
        Hardware => "hardware",
    }
}

/// The section `renewal`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RenewalPolicy {
    /// `allow`, `forbid`, or `hardware`: only with a key that the device's hardware vouched for.
    pub key_reuse: KeyReuse,
    /// A renewal before this share of a certificate's life, in percent, is refused, unless the device was asked for it.
    pub earliest_percent: u32,
    /// A new certificate that is not used within these hours, beside one that works, is revoked by itself.
    pub proof_deadline_hours: u32,
    /// After the first use of a new certificate the old one counts for these days ...
    pub grace_days: u32,
    /// ... or until so many sessions stood with the new one.
    pub grace_sessions: u32,
    /// A device whose certificate ended at most so many days ago may still renew with it, and do nothing else. 0: not at all.
    pub expired_days: u32,
}

impl Default for RenewalPolicy {
    fn default() -> Self {
        Self {
            key_reuse: KeyReuse::Allow,
            earliest_percent: 0,
            proof_deadline_hours: 72,
            grace_days: 7,
            grace_sessions: 3,
            expired_days: 0,
        }
    }
}

impl RenewalPolicy {
    pub(super) fn check(&self) -> Result<(), Invalid> {
        let most = u32::try_from(limits::EXPIRED_ACCEPTED.as_secs() / DAY.as_secs()).unwrap_or(u32::MAX);
        within("renewal.earliest_percent", &self.earliest_percent, &(0..=90))?;
        within("renewal.proof_deadline_hours", &self.proof_deadline_hours, &(1..=90 * 24))?;
        within("renewal.grace_days", &self.grace_days, &(0..=365))?;
        within("renewal.grace_sessions", &self.grace_sessions, &(1..=1000))?;
        within("renewal.expired_days", &self.expired_days, &(0..=most))
    }

    /// As the ladder takes it.
    pub fn terms(&self) -> Terms {
        Terms {
            proof_deadline: HOUR * self.proof_deadline_hours,
            grace: DAY * self.grace_days,
            grace_sessions: self.grace_sessions,
        }
    }

    /// Whether a key that was certified before may be certified again. `evidence` is the verdict on the evidence in which
    /// the device's hardware vouched for this very key; none where it never did. What is said of the rest of the machine
    /// may leave a doubt ([`Verdict::Warning`]), since the key is where it is all the same.
    pub fn may_reuse(&self, evidence: Option<Verdict>) -> bool {
        match self.key_reuse {
            KeyReuse::Allow => true,
            KeyReuse::Forbid => false,
            KeyReuse::Hardware => matches!(evidence, Some(Verdict::Affirming | Verdict::Warning)),
        }
    }

    /// For how long after its end a certificate may still be renewed with.
    pub fn expired(&self) -> Duration {
        DAY * self.expired_days
    }

    /// Whether a certificate of this `life` may be renewed at this `age`.
    pub fn is_early(&self, age: Duration, life: Duration) -> bool {
        age * 100 < life * self.earliest_percent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn which_keys_may_be_certified_again() {
        let check = |key_reuse, expect: [bool; 4]| {
            let policy = RenewalPolicy { key_reuse, ..RenewalPolicy::default() };
            let evidence = [None, Some(Verdict::Affirming), Some(Verdict::Warning), Some(Verdict::Contraindicated)];
            assert_eq!(evidence.map(|verdict| policy.may_reuse(verdict)), expect, "{key_reuse}");
        };
        check(KeyReuse::Allow, [true, true, true, true]);
        check(KeyReuse::Forbid, [false, false, false, false]);
        check(KeyReuse::Hardware, [false, true, true, false]);
    }

    #[test]
    fn bounds() {
        let refused = |policy: RenewalPolicy| policy.check().map_err(|invalid| invalid.field);
        let policy = RenewalPolicy::default;
        assert_eq!(refused(policy()), Ok(()));
        assert_eq!(refused(RenewalPolicy { earliest_percent: 91, ..policy() }), Err("renewal.earliest_percent"));
        assert_eq!(refused(RenewalPolicy { proof_deadline_hours: 0, ..policy() }), Err("renewal.proof_deadline_hours"));
        assert_eq!(refused(RenewalPolicy { grace_days: 366, ..policy() }), Err("renewal.grace_days"));
        assert_eq!(refused(RenewalPolicy { grace_sessions: 0, ..policy() }), Err("renewal.grace_sessions"));
        assert_eq!(refused(RenewalPolicy { expired_days: 367, ..policy() }), Err("renewal.expired_days"));
        assert!(serde_json::from_str::<RenewalPolicy>(r#"{"key_reuse": "sometimes"}"#).is_err());
    }

    #[test]
    fn a_renewal_before_its_window() {
        let policy = RenewalPolicy { earliest_percent: 50, ..RenewalPolicy::default() };
        assert!(policy.is_early(DAY * 44, DAY * 90));
        assert!(!policy.is_early(DAY * 45, DAY * 90));
        assert!(!RenewalPolicy::default().is_early(Duration::ZERO, DAY * 90));
    }
}
