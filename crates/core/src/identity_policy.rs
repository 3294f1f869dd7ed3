//! What a tenant has decided on the identities of its devices.
//!
//! One value with a section for each topic; each section has its defaults, so that a policy that says nothing is complete,
//! and a rule of its own in [`IdentityPolicy::check`]. Unknown fields are refused: a rule that is misspelt must not be a
//! rule that does not hold.
//!
//! To add a section: a struct in a file of its own with `Default` and `check`, a field here, a line in `check`.

mod attestation;
mod certificates;
mod commands;
mod detection;
pub mod enrolment;
mod est;
mod jobs;
mod provisioning;
mod renewal;
mod revocation;
mod scep;
mod shadow;
mod tokens;
mod transfer;

use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use attestation::{AttestationPolicy, ClassRule, OnFailure};
pub use certificates::CertificatesPolicy;
pub use commands::CommandsPolicy;
pub use detection::{DetectionPolicy, Reaction};
pub use enrolment::EnrolmentPolicy;
pub use est::{ChallengePassword, EstPolicy, Layout};
pub use jobs::JobsPolicy;
pub use provisioning::ProvisioningPolicy;
pub use renewal::{KeyReuse, RenewalPolicy};
pub use revocation::RevocationPolicy;
pub use scep::ScepPolicy;
pub use shadow::ShadowPolicy;
pub use tokens::TokensPolicy;
pub use transfer::TransferPolicy;

pub(crate) const DAY: Duration = Duration::from_secs(24 * 3600);

/// The policy of a tenant.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IdentityPolicy {
    pub attestation: AttestationPolicy,
    pub certificates: CertificatesPolicy,
    pub commands: CommandsPolicy,
    pub detection: DetectionPolicy,
    pub enrolment: EnrolmentPolicy,
    pub jobs: JobsPolicy,
    pub provisioning: ProvisioningPolicy,
    pub renewal: RenewalPolicy,
    pub est: EstPolicy,
    pub scep: ScepPolicy,
    pub revocation: RevocationPolicy,
    pub shadow: ShadowPolicy,
    pub tokens: TokensPolicy,
    pub transfer: TransferPolicy,
}

/// A field that holds what it may not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why}")]
pub struct Invalid {
    /// Section and field: `certificates.leaf_days`.
    pub field: &'static str,
    pub why: String,
}

impl IdentityPolicy {
    /// # Errors
    /// [`Invalid`] names the first field that holds what it may not.
    pub fn check(&self) -> Result<(), Invalid> {
        self.attestation.check()?;
        self.certificates.check()?;
        self.commands.check()?;
        self.detection.check()?;
        self.enrolment.check()?;
        self.jobs.check()?;
        self.renewal.check()?;
        self.revocation.check()?;
        self.shadow.check()?;
        self.transfer.check()?;
        self.est.check()
    }
}

/// Holds a number to its range.
pub(crate) fn within<T: PartialOrd + std::fmt::Display>(
    field: &'static str,
    value: &T,
    range: &std::ops::RangeInclusive<T>,
) -> Result<(), Invalid> {
    if range.contains(value) {
        return Ok(());
    }
    Err(Invalid { field, why: format!("between {} and {}", range.start(), range.end()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_a_policy_and_a_misspelling_is_not() {
        let silent: IdentityPolicy = serde_json::from_str("{}").expect("complete");
        assert_eq!(silent, IdentityPolicy::default());
        assert_eq!(silent.check(), Ok(()));
        assert!(serde_json::from_str::<IdentityPolicy>(r#"{"certificate": {}}"#).is_err());
        assert!(serde_json::from_str::<IdentityPolicy>(r#"{"certificates": {"leaf_day": 1}}"#).is_err());
    }

    #[test]
    fn what_is_kept_has_its_range() {
        for (text, field) in [
            (r#"{"jobs": {"retention_days": 0}}"#, "jobs.retention_days"),
            (r#"{"jobs": {"kept": 100001}}"#, "jobs.kept"),
            (r#"{"commands": {"retention_days": 3651}}"#, "commands.retention_days"),
            (r#"{"commands": {"kept_per_device": 0}}"#, "commands.kept_per_device"),
        ] {
            let policy: IdentityPolicy = serde_json::from_str(text).expect("a policy");
            assert_eq!(policy.check().map_err(|invalid| invalid.field), Err(field));
        }
        let silent = IdentityPolicy::default();
        assert_eq!((silent.jobs.retention(), silent.commands.retention()), (DAY * 90, DAY * 180));
        assert!(!silent.jobs.events && !silent.commands.events);
    }

    #[test]
    fn what_is_written_reads_the_same() {
        let text = r#"{"certificates": {"leaf_days": 30}}"#;
        let policy: IdentityPolicy = serde_json::from_str(text).expect("a policy");
        let again = serde_json::to_string(&policy).expect("it has a text");
        assert_eq!(serde_json::from_str::<IdentityPolicy>(&again).expect("its own text"), policy);
    }
}
