//! Who may come in at all: what must be known of a device, and by which ways a person lets it in.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Invalid, within};
use crate::enrolment::Way;
use crate::inventory::RootOfTrust;
use crate::registry::Class;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// The section `enrolment`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EnrolmentPolicy {
    /// Ways in by which a device waits until a person lets it in.
    pub approval: BTreeSet<Way>,
    /// How many days such a device may wait.
    pub approval_days: u32,
    /// After how many seconds it is told to ask again.
    pub approval_retry_seconds: u32,
    /// Every device must be in the manufacturing database.
    pub require_inventory: bool,
    /// Devices of these classes must be.
    pub require_inventory_of: BTreeSet<Class>,
    /// A row of the database counts only if its maker's statement was verified.
    pub require_attested_inventory: bool,
    /// The roots of trust that a device of a class may have, by its row in the database.
    pub root_of_trust: BTreeMap<Class, BTreeSet<RootOfTrust>>,
}

impl Default for EnrolmentPolicy {
    fn default() -> Self {
        Self {
            approval: BTreeSet::new(),
            approval_days: 7,
            approval_retry_seconds: 30,
            require_inventory: false,
            require_inventory_of: BTreeSet::new(),
            require_attested_inventory: false,
            root_of_trust: BTreeMap::new(),
        }
    }
}

/// What the manufacturing database says of a device, as far as policy looks at it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Provenance {
    /// Its maker's statement was verified.
    pub attested: bool,
    pub root_of_trust: Option<RootOfTrust>,
}

/// Why a device is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAdmitted {
    #[error("the device is not in the manufacturing database")]
    NotInInventory,
    #[error("the device's row in the manufacturing database is not signed by its maker")]
    NotAttested,
    #[error("a device of its class must have another root of trust")]
    RootOfTrust,
}

impl NotAdmitted {
    /// The cause in one word, for the journal.
    pub const fn code(self) -> &'static str {
        match self {
            Self::NotInInventory => "not-in-inventory",
            Self::NotAttested => "inventory-not-attested",
            Self::RootOfTrust => "root-of-trust",
        }
    }
}

impl EnrolmentPolicy {
    pub(super) fn check(&self) -> Result<(), Invalid> {
        within("enrolment.approval_days", &self.approval_days, &(1..=90))?;
        within("enrolment.approval_retry_seconds", &self.approval_retry_seconds, &(1..=24 * 3600))?;
        if self.approval.contains(&Way::Renewal) {
            let why = "a device that renews was let in before".to_owned();
            return Err(Invalid { field: "enrolment.approval", why });
        }
        if self.root_of_trust.values().any(BTreeSet::is_empty) {
            let why = "a class without any root of trust would let nobody in".to_owned();
            return Err(Invalid { field: "enrolment.root_of_trust", why });
        }
        Ok(())
    }

    pub fn approval_life(&self) -> Duration {
        DAY * self.approval_days
    }

    pub fn approval_retry(&self) -> Duration {
        Duration::from_secs(u64::from(self.approval_retry_seconds))
    }

    /// Whether anything depends on the manufacturing database at all.
    pub fn asks_inventory(&self) -> bool {
        self.require_inventory
            || self.require_attested_inventory
            || !self.require_inventory_of.is_empty()
            || !self.root_of_trust.is_empty()
    }

    /// Whether a device of `class` may come in by what the manufacturing database says of it, which may be nothing.
    ///
    /// # Errors
    /// [`NotAdmitted`].
    pub fn admit(&self, class: Class, row: Option<Provenance>) -> Result<(), NotAdmitted> {
        let roots = self.root_of_trust.get(&class);
        let needed = self.require_inventory
            || self.require_attested_inventory
            || self.require_inventory_of.contains(&class)
            || roots.is_some();
        let Some(row) = row else {
            return if needed { Err(NotAdmitted::NotInInventory) } else { Ok(()) };
        };
        if self.require_attested_inventory && !row.attested {
            return Err(NotAdmitted::NotAttested);
        }
        let fits = roots.is_none_or(|roots| row.root_of_trust.is_some_and(|root| roots.contains(&root)));
        if fits { Ok(()) } else { Err(NotAdmitted::RootOfTrust) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(text: &str) -> EnrolmentPolicy {
        serde_json::from_str(text).expect("a section")
    }

    fn row(attested: bool, root: &str) -> Option<Provenance> {
        Some(Provenance { attested, root_of_trust: root.parse().ok() })
    }

    #[test]
    fn the_default_asks_for_nothing() {
        assert_eq!(EnrolmentPolicy::default(), policy("{}"));
        for class in Class::ALL {
            assert_eq!(EnrolmentPolicy::default().admit(*class, None), Ok(()));
        }
    }

    #[test]
    fn what_a_class_must_have() {
        use Class::{Gateway, Sensor};
        use NotAdmitted::{NotAttested, NotInInventory, RootOfTrust};
        let all = policy(r#"{"require_inventory": true}"#);
        assert_eq!((all.admit(Sensor, None), all.admit(Sensor, row(false, ""))), (Err(NotInInventory), Ok(())));
        let gateways = policy(r#"{"require_inventory_of": ["gateway"]}"#);
        assert_eq!((gateways.admit(Gateway, None), gateways.admit(Sensor, None)), (Err(NotInInventory), Ok(())));
        let signed = policy(r#"{"require_attested_inventory": true}"#);
        assert_eq!(signed.admit(Sensor, row(false, "")), Err(NotAttested));
        assert_eq!((signed.admit(Sensor, row(true, "")), signed.admit(Sensor, None)), (Ok(()), Err(NotInInventory)));
        let rooted = policy(r#"{"root_of_trust": {"gateway": ["tpm2", "secure-element"]}}"#);
        assert_eq!(rooted.admit(Gateway, row(false, "tpm2")), Ok(()));
        assert_eq!(rooted.admit(Gateway, row(false, "software")), Err(RootOfTrust));
        assert_eq!(rooted.admit(Gateway, row(true, "")), Err(RootOfTrust));
        assert_eq!((rooted.admit(Gateway, None), rooted.admit(Sensor, None)), (Err(NotInInventory), Ok(())));
    }

    #[test]
    fn bounds() {
        let refused = |text: &str| policy(text).check().map_err(|invalid| invalid.field);
        assert_eq!(refused(r#"{"approval": ["token", "symmetric_key"]}"#), Ok(()));
        assert_eq!(refused(r#"{"approval": ["renewal"]}"#), Err("enrolment.approval"));
        assert_eq!(refused(r#"{"approval_days": 0}"#), Err("enrolment.approval_days"));
        assert_eq!(refused(r#"{"approval_retry_seconds": 0}"#), Err("enrolment.approval_retry_seconds"));
        assert_eq!(refused(r#"{"root_of_trust": {"sensor": []}}"#), Err("enrolment.root_of_trust"));
        assert!(serde_json::from_str::<EnrolmentPolicy>(r#"{"approval": ["guess"]}"#).is_err());
    }
}
