//! What a template made of a device, and what that means for the device's record.
//!
//! A thing's name is the device's name. Its type is the attribute `thing_type`, and the class where it reads as one; its
//! groups are tags; its billing group is the attribute `billing_group`. Attributes keep their names, but for those that a
//! record has a field for.

use std::collections::{BTreeMap, BTreeSet};

use fleetward_base::DeviceId;

use super::{Configuration, TemplateError};
use crate::registry::{Device, DeviceFields, KIND, Patch, Scalar};

/// What to do where the device is known already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Override {
    DoNothing,
    Replace,
    Fail,
    /// The template's beside those that are there.
    Merge,
}

/// What to do with each part of a device that is known already. Where a template says nothing, nothing is done: a device
/// that comes with a claim does not rewrite what somebody else wrote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    pub attributes: Option<Override>,
    pub kind: Option<Override>,
    pub groups: Option<Override>,
}

/// A template evaluated for one device.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    pub device: DeviceId,
    pub attributes: BTreeMap<String, String>,
    /// The thing's type.
    pub kind: Option<String>,
    pub groups: BTreeSet<String>,
    pub billing_group: Option<String>,
    /// Whether its certificate may be used at once, or waits for somebody.
    pub active: bool,
    /// Policies that the template names; kept in the journal and nowhere else.
    pub policies: Vec<String>,
    pub overrides: Overrides,
    /// What the device is told.
    pub configuration: Configuration,
}

/// The attribute that holds a thing's billing group.
const BILLING_GROUP: &str = "billing_group";

impl Plan {
    /// The changes to the record of the device, of which `known` is what is there already.
    ///
    /// # Errors
    /// [`TemplateError`] where the template says `FAIL` for a part that differs.
    pub fn fields(&self, known: Option<&Device>) -> Result<DeviceFields, TemplateError> {
        let mut fields = DeviceFields::default();
        self.attributes(known, &mut fields)?;
        self.kind(known, &mut fields)?;
        self.groups(known, &mut fields)?;
        Ok(fields)
    }

    fn attributes(&self, known: Option<&Device>, fields: &mut DeviceFields) -> Result<(), TemplateError> {
        let Some(action) = action("AttributePayload", known, self.overrides.attributes, |device| self.agrees(device))?
        else {
            return Ok(());
        };
        if let (Override::Replace, Some(device)) = (action, known) {
            fields
                .attributes
                .extend(device.attributes.keys().filter(|key| *key != KIND).map(|key| (key.clone(), None)));
        }
        for (key, value) in &self.attributes {
            match key.as_str() {
                "hardware" => fields.hardware = Some(value.clone()),
                "site" => fields.site = Patch::Set(value.clone()),
                "location" => fields.location = Patch::Set(value.clone()),
                "environment" => fields.environment = Patch::Set(value.clone()),
                "owner" => fields.owner = Patch::Set(value.clone()),
                _ => drop(fields.attributes.insert(key.clone(), Some(Scalar::Text(value.clone())))),
            }
        }
        if let Some(group) = &self.billing_group {
            fields.attributes.insert(BILLING_GROUP.to_owned(), Some(Scalar::Text(group.clone())));
        }
        Ok(())
    }

    /// Whether the record says what the template says.
    fn agrees(&self, device: &Device) -> bool {
        self.attributes.iter().all(|(key, value)| match key.as_str() {
            "hardware" => device.hardware == *value,
            "site" => device.site.as_ref() == Some(value),
            "location" => device.location.as_ref() == Some(value),
            "environment" => device.environment.as_ref() == Some(value),
            "owner" => device.owner.as_ref() == Some(value),
            _ => matches!(device.attributes.get(key), Some(Scalar::Text(text)) if text == value),
        })
    }

    fn kind(&self, known: Option<&Device>, fields: &mut DeviceFields) -> Result<(), TemplateError> {
        let Some(kind) = &self.kind else { return Ok(()) };
        let same = |device: &Device| matches!(device.attributes.get(KIND), Some(Scalar::Text(text)) if text == kind);
        if action("ThingTypeName", known, self.overrides.kind, same)?.is_some() {
            fields.attributes.insert(KIND.to_owned(), Some(Scalar::Text(kind.clone())));
            fields.class = kind.to_ascii_lowercase().parse().ok();
        }
        Ok(())
    }

    fn groups(&self, known: Option<&Device>, fields: &mut DeviceFields) -> Result<(), TemplateError> {
        if self.groups.is_empty() {
            return Ok(());
        }
        let same = |device: &Device| self.groups.is_subset(&device.tags);
        match action("ThingGroups", known, self.overrides.groups, same)? {
            None => {}
            Some(Override::Merge) => {
                let there = known.map(|device| device.tags.clone()).unwrap_or_default();
                fields.tags = Some(&there | &self.groups);
            }
            Some(_) => fields.tags = Some(self.groups.clone()),
        }
        Ok(())
    }
}

/// What is to be done: nothing where that is `None`. A device that is not known gets all that the template says.
fn action(
    property: &str,
    known: Option<&Device>,
    setting: Option<Override>,
    same: impl Fn(&Device) -> bool,
) -> Result<Option<Override>, TemplateError> {
    let Some(device) = known else { return Ok(Some(Override::Replace)) };
    match setting.unwrap_or(Override::DoNothing) {
        Override::DoNothing => Ok(None),
        Override::Fail if same(device) => Ok(None),
        Override::Fail => {
            let why = format!("the device {} is known with other values", device.id);
            Err(TemplateError::new(format!("Resources.thing.Properties.{property}"), why))
        }
        action => Ok(Some(action)),
    }
}
