//! What others are told of revoked certificates. No door of ours depends on any of it: they ask the registry.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Invalid, within};

/// The section `revocation`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RevocationPolicy {
    /// Certificates say where the list, the OCSP responder and the authority are, if the server knows its URL for that
    /// (`--pki-url`).
    pub urls_in_certificates: bool,
    /// How long a list counts. One is made anew with each revocation, and at the latest after a seventh of this.
    pub crl_hours: u32,
    /// How long an OCSP answer counts.
    pub ocsp_minutes: u32,
}

impl Default for RevocationPolicy {
    fn default() -> Self {
        Self { urls_in_certificates: true, crl_hours: 168, ocsp_minutes: 60 }
    }
}

impl RevocationPolicy {
    pub(super) fn check(&self) -> Result<(), Invalid> {
        within("revocation.crl_hours", &self.crl_hours, &(1..=24 * 366))?;
        within("revocation.ocsp_minutes", &self.ocsp_minutes, &(1..=7 * 24 * 60))
    }

    pub fn crl_life(&self) -> Duration {
        Duration::from_secs(3600 * u64::from(self.crl_hours))
    }

    pub fn ocsp_life(&self) -> Duration {
        Duration::from_secs(60 * u64::from(self.ocsp_minutes))
    }
}
