//! How a device of the tenant goes to another one.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Invalid, within};
use crate::transfer::Wipe;

/// The section `transfer`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TransferPolicy {
    /// `required`, `attempted` or `none`: whether the device must say first that it has wiped itself.
    pub wipe: Wipe,
    /// For how long it is waited for.
    pub wipe_hours: u32,
}

impl Default for TransferPolicy {
    fn default() -> Self {
        Self { wipe: Wipe::Attempted, wipe_hours: 24 }
    }
}

impl TransferPolicy {
    pub(super) fn check(&self) -> Result<(), Invalid> {
        within("transfer.wipe_hours", &self.wipe_hours, &(1..=30 * 24))
    }

    /// For how long the device is waited for.
    pub fn patience(&self) -> Duration {
        Duration::from_secs(3600) * self.wipe_hours
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds() {
        let check = |wipe_hours| TransferPolicy { wipe_hours, ..TransferPolicy::default() }.check();
        assert_eq!(check(24), Ok(()));
        for bad in [0, 721] {
            assert_eq!(check(bad).map_err(|invalid| invalid.field), Err("transfer.wipe_hours"));
        }
        assert!(serde_json::from_str::<TransferPolicy>(r#"{"wipe": "perhaps"}"#).is_err());
    }
}
