//! The device record (requirement R1) and what its fields may hold.
//!
//! The tenant is not a field: a record is only ever read inside its tenant. Presence is not a field either, since it
//! changes by the second and lives elsewhere ([`crate::presence`]). Changes go through [`Device::amend`], which refuses
//! what breaks a rule and says which field and why.

use std::collections::{BTreeMap, BTreeSet};

use fleetward_base::{DeviceId, Timestamp, limits};
use serde::{Deserialize, Serialize};

use crate::lifecycle::Status;
use crate::text::text_enum;

text_enum! {
    /// What a device can do, which decides what it can be asked for (requirement I15).
    pub enum Class("device class") {
        /// A constrained sensor.
        Sensor => "sensor",
        Gateway => "gateway",
        /// A full computer.
        Endpoint => "endpoint",
    }
}

/// The value of an attribute: no lists and no objects, so that it can be compared and indexed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Scalar {
    Bool(bool),
    Number(serde_json::Number),
    Text(String),
}

/// The attribute in which the name of a device's type stands.
pub const KIND: &str = "thing_type";

/// The certificate that a device uses now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateRef {
    /// Lower-case hex, no separators.
    pub serial: String,
    pub not_after: Timestamp,
}

/// One device of one tenant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    pub id: DeviceId,
    pub class: Class,
    /// The hardware revision: what decides which artifact fits, and the cohort in a rollout.
    pub hardware: String,
    /// The version that it runs, as it reported it last.
    pub firmware: Option<String>,
    pub status: Status,
    pub owner: Option<String>,
    pub environment: Option<String>,
    pub site: Option<String>,
    pub location: Option<String>,
    /// The gateway that it stands behind.
    pub parent: Option<DeviceId>,
    /// The broker that it is told to use, where that is not the default.
    pub endpoint: Option<String>,
    pub tags: BTreeSet<String>,
    pub attributes: BTreeMap<String, Scalar>,
    pub certificate: Option<CertificateRef>,
    /// How often it is expected to give a sign of life, in seconds; the default applies where it is absent.
    pub heartbeat_s: Option<u32>,
    /// Grows by one with every change of the record; the ETag.
    pub revision: u64,
    /// When its first certificate was issued.
    pub provisioned_at: Option<Timestamp>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// What a change does to an optional field.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub enum Patch<T> {
    #[default]
    Keep,
    Clear,
    Set(T),
}

impl<T> Patch<T> {
    fn apply(self, field: &mut Option<T>) {
        match self {
            Self::Keep => {}
            Self::Clear => *field = None,
            Self::Set(value) => *field = Some(value),
        }
    }
}

/// The fields that an operator may set or change. What is absent stays as it is.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct DeviceFields {
    pub class: Option<Class>,
    pub hardware: Option<String>,
    pub firmware: Patch<String>,
    pub owner: Patch<String>,
    pub environment: Patch<String>,
    pub site: Patch<String>,
    pub location: Patch<String>,
    pub parent: Patch<DeviceId>,
    pub endpoint: Patch<String>,
    /// The whole set of tags.
    pub tags: Option<BTreeSet<String>>,
    /// Key by key: `None` removes the attribute.
    pub attributes: BTreeMap<String, Option<Scalar>>,
    pub heartbeat_s: Patch<u32>,
}

/// A field that holds what it may not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why}")]
pub struct Invalid {
    pub field: &'static str,
    pub why: String,
}

/// The shortest and the longest heartbeat that can be asked for, in seconds.
pub const HEARTBEAT_SECS: std::ops::RangeInclusive<u32> = 5..=86_400;
/// The hardware revision of a device that was never told one.
pub const HARDWARE_UNKNOWN: &str = "unknown";

impl Device {
    /// A device that is claimed and has nothing else yet.
    pub fn new(id: DeviceId, now: Timestamp) -> Self {
        Self {
            id,
            class: Class::Endpoint,
            hardware: HARDWARE_UNKNOWN.to_owned(),
            firmware: None,
            status: Status::Claimed,
            owner: None,
            environment: None,
            site: None,
            location: None,
            parent: None,
            endpoint: None,
            tags: BTreeSet::new(),
            attributes: BTreeMap::new(),
            certificate: None,
            heartbeat_s: None,
            revision: 1,
            provisioned_at: None,
            created_at: now,
            updated_at: now,
        }
    }

    /// The name of its type, where it has one.
    pub fn kind(&self) -> Option<&str> {
        match self.attributes.get(KIND) {
            Some(Scalar::Text(kind)) => Some(kind),
            _ => None,
        }
    }

    /// The record with `fields` applied, one revision on; or the first field that may not be as asked. A change that
    /// changes nothing gives the record as it is.
    pub fn amend(&self, fields: DeviceFields, now: Timestamp) -> Result<Self, Invalid> {
        let mut next = self.clone();
        if let Some(class) = fields.class {
            next.class = class;
        }
        if let Some(hardware) = fields.hardware {
            next.hardware = hardware;
        }
        fields.firmware.apply(&mut next.firmware);
        fields.owner.apply(&mut next.owner);
        fields.environment.apply(&mut next.environment);
        fields.site.apply(&mut next.site);
        fields.location.apply(&mut next.location);
        fields.parent.apply(&mut next.parent);
        fields.endpoint.apply(&mut next.endpoint);
        fields.heartbeat_s.apply(&mut next.heartbeat_s);
        if let Some(tags) = fields.tags {
            next.tags = tags;
        }
        for (key, value) in fields.attributes {
            match value {
                Some(value) => next.attributes.insert(key, value),
                None => next.attributes.remove(&key),
            };
        }
        next.check()?;
        if next != *self {
            next.revision = self.revision.saturating_add(1);
            next.updated_at = now;
        }
        Ok(next)
    }

    fn check(&self) -> Result<(), Invalid> {
        text("hardware", &self.hardware)?;
        for (field, value) in [
            ("firmware", &self.firmware),
            ("owner", &self.owner),
            ("environment", &self.environment),
            ("site", &self.site),
            ("location", &self.location),
            ("endpoint", &self.endpoint),
        ] {
            if let Some(value) = value {
                text(field, value)?;
            }
        }
        if self.parent.as_ref() == Some(&self.id) {
            return Err(Invalid { field: "parent", why: "a device does not stand behind itself".to_owned() });
        }
        if self.heartbeat_s.is_some_and(|secs| !HEARTBEAT_SECS.contains(&secs)) {
            let why = format!("between {} and {} seconds", HEARTBEAT_SECS.start(), HEARTBEAT_SECS.end());
            return Err(Invalid { field: "heartbeat_s", why });
        }
        at_most("tags", self.tags.len(), limits::DEVICE_TAGS)?;
        at_most("attributes", self.attributes.len(), limits::DEVICE_ATTRIBUTES)?;
        self.tags.iter().try_for_each(|tag| text("tags", tag))?;
        for (key, value) in &self.attributes {
            text("attributes", key)?;
            if let Scalar::Text(value) = value
                && value.len() > limits::DEVICE_FIELD_BYTES
            {
                return Err(too_long("attributes"));
            }
        }
        Ok(())
    }
}

/// A text that people and queries can use: not empty, not long, no control characters, no blanks around it.
fn text(field: &'static str, value: &str) -> Result<(), Invalid> {
    if value.is_empty() {
        return Err(Invalid { field, why: "must not be empty".to_owned() });
    }
    if value.len() > limits::DEVICE_FIELD_BYTES {
        return Err(too_long(field));
    }
    if value.chars().any(char::is_control) {
        return Err(Invalid { field, why: "must not hold control characters".to_owned() });
    }
    if value.trim() != value {
        return Err(Invalid { field, why: "must not begin or end with a blank".to_owned() });
    }
    Ok(())
}

fn too_long(field: &'static str) -> Invalid {
    Invalid { field, why: format!("longer than {} bytes", limits::DEVICE_FIELD_BYTES) }
}

fn at_most(field: &'static str, found: usize, limit: usize) -> Result<(), Invalid> {
    if found > limit {
        return Err(Invalid { field, why: format!("more than {limit}") });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device() -> Device {
        Device::new("gw-1".parse().expect("a name"), Timestamp::from_secs(1))
    }

    fn check(fields: DeviceFields, expect: Result<u64, &str>) {
        let found = device().amend(fields, Timestamp::from_secs(2)).map(|d| d.revision).map_err(|e| e.to_string());
        assert_eq!(found, expect.map_err(str::to_owned));
    }

    #[test]
    fn amendments() {
        let some = |text: &str| Patch::Set(text.to_owned());
        check(DeviceFields::default(), Ok(1));
        check(DeviceFields { owner: Patch::Clear, ..Default::default() }, Ok(1));
        check(DeviceFields { owner: some("ops"), ..Default::default() }, Ok(2));
        check(DeviceFields { hardware: Some(String::new()), ..Default::default() }, Err("hardware: must not be empty"));
        check(DeviceFields { site: some("a\nb"), ..Default::default() }, Err("site: must not hold control characters"));
        check(DeviceFields { site: some(" a"), ..Default::default() }, Err("site: must not begin or end with a blank"));
        check(
            DeviceFields { owner: some(&"x".repeat(257)), ..Default::default() },
            Err("owner: longer than 256 bytes"),
        );
        check(
            DeviceFields { heartbeat_s: Patch::Set(1), ..Default::default() },
            Err("heartbeat_s: between 5 and 86400 seconds"),
        );
        check(
            DeviceFields { parent: Patch::Set("gw-1".parse().expect("a name")), ..Default::default() },
            Err("parent: a device does not stand behind itself"),
        );
        let tags = (0..65).map(|n| format!("t{n}")).collect();
        check(DeviceFields { tags: Some(tags), ..Default::default() }, Err("tags: more than 64"));
    }

    #[test]
    fn attributes_change_key_by_key() {
        let set = |key: &str, value| DeviceFields {
            attributes: BTreeMap::from([(key.to_owned(), value)]),
            ..DeviceFields::default()
        };
        let now = Timestamp::from_secs(2);
        let one = device().amend(set("a", Some(Scalar::Bool(true))), now).expect("good");
        let two = one.amend(set("b", Some(Scalar::Text("x".to_owned()))), now).expect("good");
        let three = two.amend(set("a", None), now).expect("good");
        assert_eq!((two.attributes.len(), three.attributes.len(), three.revision), (2, 1, 4));
    }
}
