//! Who has to prove what, how often, and what becomes of those that do not.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Invalid, within};
use crate::attestation::RootOfTrust;
use crate::attestation::endorsement::EndorsedBy;
use crate::registry::Class;
use crate::text::text_enum;

text_enum! {
    /// What becomes of a device of which the evidence speaks against it.
    pub enum OnFailure("reaction to failed attestation") {
        /// An event, and nothing else.
        Warn => "warn",
        /// Held back until it attests well.
        Restrict => "restrict",
        /// Held back until somebody looked at it.
        Quarantine => "quarantine",
    }
}

/// What is asked of the devices of one class.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClassRule {
    /// Held back until it attested.
    pub required: bool,
    /// What its identity must stand on; anything where the list is empty.
    pub root_of_trust: BTreeSet<RootOfTrust>,
    /// The key of its certificate must be vouched for by its TPM: at attestation, and where it must stand on a TPM and on
    /// nothing else before the certificate is issued.
    pub certified_key: bool,
    /// A quote without an event log is not enough.
    pub event_log: bool,
    /// Evidence of which nothing is known (no reference values) is enough.
    pub accept_warning: bool,
}

/// The section `attestation`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AttestationPolicy {
    /// By class; a class that is not here is asked for nothing.
    pub classes: BTreeMap<Class, ClassRule>,
    /// Hours after which a device is to attest again; 0: once is enough.
    pub every_hours: u32,
    /// How many hours later it is held back.
    pub grace_hours: u32,
    pub on_failure: OnFailure,
    /// What has to vouch for the endorsement key of a TPM.
    pub endorsement: EndorsedBy,
    /// The PCRs that devices are asked for.
    pub pcrs: BTreeSet<u8>,
}

impl Default for AttestationPolicy {
    fn default() -> Self {
        Self {
            classes: BTreeMap::new(),
            every_hours: 24,
            grace_hours: 24,
            on_failure: OnFailure::Quarantine,
            endorsement: EndorsedBy::Either,
            // Firmware, option ROMs, boot loader, secure boot.
            pcrs: BTreeSet::from([0, 2, 4, 7]),
        }
    }
}

impl AttestationPolicy {
    pub(super) fn check(&self) -> Result<(), Invalid> {
        within("attestation.every_hours", &self.every_hours, &(0..=24 * 366))?;
        within("attestation.grace_hours", &self.grace_hours, &(0..=24 * 366))?;
        within("attestation.pcrs", &self.pcrs.len(), &(1..=24))?;
        within("attestation.pcrs", &self.pcrs.last().copied().unwrap_or_default(), &(0..=23))
    }

    /// What is asked of this class.
    pub fn rule(&self, class: Class) -> ClassRule {
        self.classes.get(&class).cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_read_and_held_to_its_bounds() {
        let text = r#"{"classes": {"gateway": {"required": true, "root_of_trust": ["tpm2"]}}, "pcrs": [0, 7]}"#;
        let policy: AttestationPolicy = serde_json::from_str(text).expect("a policy");
        assert_eq!(policy.check(), Ok(()));
        assert!(policy.rule(Class::Gateway).required && !policy.rule(Class::Sensor).required);
        let wrong = |text: &str| serde_json::from_str::<AttestationPolicy>(text).map(|policy| policy.check());
        assert!(matches!(wrong(r#"{"pcrs": []}"#), Ok(Err(_))));
        assert!(matches!(wrong(r#"{"pcrs": [24]}"#), Ok(Err(_))));
        assert!(wrong(r#"{"classes": {"toaster": {}}}"#).is_err());
        assert!(wrong(r#"{"on_failure": "explode"}"#).is_err());
        assert!(wrong(r#"{"endorsement": "hearsay"}"#).is_err());
    }
}
