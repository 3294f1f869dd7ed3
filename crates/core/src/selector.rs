//! Which devices something is meant for.
//!
//! Every condition that is given must hold; an empty selector means every device. The query language of requirement R2
//! will compile to the same question, so nothing else should look into the fields.

use std::collections::BTreeSet;

use fleetward_base::DeviceId;
use serde::{Deserialize, Serialize};

use crate::registry::Device;

/// A choice of devices. Stored as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Selector {
    /// One of these hardware revisions.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub hardware: BTreeSet<String>,
    /// All of these tags.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub tags: BTreeSet<String>,
    /// One of these devices.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub devices: BTreeSet<DeviceId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub environment: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
}

impl Selector {
    pub fn matches(&self, device: &Device) -> bool {
        (self.hardware.is_empty() || self.hardware.contains(&device.hardware))
            && self.tags.is_subset(&device.tags)
            && (self.devices.is_empty() || self.devices.contains(&device.id))
            && (self.environment.is_none() || self.environment == device.environment)
            && (self.site.is_none() || self.site == device.site)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleetward_base::Timestamp;

    fn check(selector: &str, expect: bool) {
        let mut device = Device::new("gw-1".parse().expect("a name"), Timestamp::EPOCH);
        device.hardware = "rev-b".to_owned();
        device.tags = ["eu", "beta"].map(str::to_owned).into();
        device.site = Some("berlin".to_owned());
        let parsed: Selector = serde_json::from_str(selector).expect("a selector");
        assert_eq!(parsed.matches(&device), expect, "{selector}");
    }

    #[test]
    fn selections() {
        check("{}", true);
        check(r#"{"hardware":["rev-a","rev-b"]}"#, true);
        check(r#"{"hardware":["rev-a"]}"#, false);
        check(r#"{"tags":["eu"]}"#, true);
        check(r#"{"tags":["eu","us"]}"#, false);
        check(r#"{"devices":["gw-1"],"site":"berlin"}"#, true);
        check(r#"{"devices":["gw-2"]}"#, false);
        check(r#"{"environment":"prod"}"#, false);
    }

    #[test]
    fn a_misspelt_condition_is_not_everybody() {
        assert!(serde_json::from_str::<Selector>(r#"{"hardwares":["rev-a"]}"#).is_err());
    }
}
