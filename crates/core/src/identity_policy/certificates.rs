//! How long a device's certificate holds.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Invalid, within};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// The section `certificates`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CertificatesPolicy {
    /// How many days a certificate holds; never longer than that of its authority.
    pub leaf_days: u32,
    /// It begins this many minutes before it is made, for devices whose clock is behind.
    pub backdate_minutes: u32,
}

impl Default for CertificatesPolicy {
    fn default() -> Self {
        Self { leaf_days: 90, backdate_minutes: 5 }
    }
}

impl CertificatesPolicy {
    pub(super) fn check(&self) -> Result<(), Invalid> {
        within("certificates.leaf_days", &self.leaf_days, &(1..=3650))?;
        within("certificates.backdate_minutes", &self.backdate_minutes, &(0..=24 * 60))
    }

    pub fn life(&self) -> Duration {
        DAY * self.leaf_days
    }

    pub fn backdate(&self) -> Duration {
        Duration::from_secs(60 * u64::from(self.backdate_minutes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds() {
        let refused = |policy: CertificatesPolicy| policy.check().map_err(|invalid| invalid.to_string());
        assert_eq!(refused(CertificatesPolicy::default()), Ok(()));
        assert_eq!(
            refused(CertificatesPolicy { leaf_days: 0, ..CertificatesPolicy::default() }),
            Err("certificates.leaf_days: between 1 and 3650".to_owned())
        );
        assert_eq!(
            refused(CertificatesPolicy { backdate_minutes: 2000, ..CertificatesPolicy::default() }),
            Err("certificates.backdate_minutes: between 0 and 1440".to_owned())
        );
    }
}
