//! Whether a certificate is issued for a key, where policy wants to know first which hardware has it (requirement I15).
//!
//! Attestation says so after the fact; for a class that must stand on a TPM with a certified key that is too late, since
//! the certificate is there by then. Such a device shows its TPM before it asks, and gets a certificate for the key that
//! the TPM vouched for and for no other.

use super::RootOfTrust;
use crate::identity_policy::{AttestationPolicy, ClassRule};

impl ClassRule {
    /// Whether a device of the class gets a certificate only for a key that its TPM vouched for: it must stand on a TPM, and
    /// on nothing else that could not vouch for a key, and its key must be certified.
    pub fn certifies_first(&self) -> bool {
        let tpm = !self.root_of_trust.is_empty() && self.root_of_trust.iter().all(|root| *root == RootOfTrust::Tpm2);
        self.certified_key && tpm
    }
}

impl AttestationPolicy {
    /// Whether that holds for devices of any class.
    pub fn certifies_first(&self) -> bool {
        self.classes.values().any(ClassRule::certifies_first)
    }
}

/// What is known of the key that a request is about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// A TPM vouched for a key of this device a short while ago.
    pub certified: bool,
    /// It is the key of the request.
    pub same_key: bool,
    /// Another device has this TPM.
    pub elsewhere: bool,
    /// The device attested with another TPM since it enrolled; only asked of one that renews.
    pub other_hardware: bool,
}

/// Why no certificate is issued.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotIssued {
    #[error(
        "a device of its class gets a certificate for a key that its TPM vouched for: POST /v1/attest/activate first"
    )]
    NotCertified,
    #[error("the TPM of this device vouched for another key than that of the request")]
    OtherKey,
    #[error("another device has this TPM")]
    Elsewhere,
    #[error("the device attested with another TPM than the one that vouches for this key")]
    OtherHardware,
}

impl NotIssued {
    /// The cause in one word, for the journal.
    pub const fn code(self) -> &'static str {
        match self {
            Self::NotCertified => "key-not-certified",
            Self::OtherKey => "other-key-certified",
            Self::Elsewhere => "hardware-elsewhere",
            Self::OtherHardware => "other-hardware",
        }
    }
}

/// Whether a certificate may be issued for the key of a request.
///
/// # Errors
/// [`NotIssued`].
pub fn may_issue(rule: &ClassRule, shown: Shown) -> Result<(), NotIssued> {
    if !rule.certifies_first() {
        return Ok(());
    }
    let Shown { certified, same_key, elsewhere, other_hardware } = shown;
    let stops = [
        (!certified, NotIssued::NotCertified),
        (!same_key, NotIssued::OtherKey),
        (elsewhere, NotIssued::Elsewhere),
        (other_hardware, NotIssued::OtherHardware),
    ];
    stops.into_iter().find(|(holds, _)| *holds).map_or(Ok(()), |(_, no)| Err(no))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn rule(certified_key: bool, roots: &[RootOfTrust]) -> ClassRule {
        ClassRule {
            certified_key,
            root_of_trust: roots.iter().copied().collect::<BTreeSet<_>>(),
            ..ClassRule::default()
        }
    }

    #[test]
    fn whose_key_is_certified_first() {
        use RootOfTrust::{SecureElement, Tee, Tpm2};
        assert!(rule(true, &[Tpm2]).certifies_first());
        // Whoever may stand on something else attests afterwards, since it has nothing to certify with.
        for rule in [rule(true, &[]), rule(true, &[Tpm2, SecureElement]), rule(true, &[Tee]), rule(false, &[Tpm2])] {
            assert!(!rule.certifies_first(), "{rule:?}");
            assert_eq!(may_issue(&rule, Shown::default()), Ok(()));
        }
    }

    #[test]
    fn what_stands_against_it() {
        let good = Shown { certified: true, same_key: true, elsewhere: false, other_hardware: false };
        let judge = |shown| may_issue(&rule(true, &[RootOfTrust::Tpm2]), shown);
        assert_eq!(judge(good), Ok(()));
        assert_eq!(judge(Shown::default()), Err(NotIssued::NotCertified));
        assert_eq!(judge(Shown { same_key: false, ..good }), Err(NotIssued::OtherKey));
        assert_eq!(judge(Shown { elsewhere: true, ..good }), Err(NotIssued::Elsewhere));
        assert_eq!(judge(Shown { other_hardware: true, ..good }), Err(NotIssued::OtherHardware));
    }
}
