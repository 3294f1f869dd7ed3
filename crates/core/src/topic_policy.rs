//! Which topics a tenant gives its devices beyond the built-in ones, or takes from them.
//!
//! A [`Document`] is a list of statements. Each allows or denies some [`Act`]s on topics that are written as
//! [templates](template): text with wildcards and with variables that stand for what the registry knows of a device. When a
//! connection opens, the documents that are attached to its device are [compiled](Compiled) with its facts into something
//! that is asked with every message, without a clock, a store or an allocation.
//!
//! What holds:
//! - A deny wins, whatever allows. What neither a statement nor a built-in rule allows is denied.
//! - No statement allows a topic that begins with `$`, but to hear of the fleet's events ([`EVENTS`]), and none to speak for the
//!   server to a device (`devices/{other}/identity/...`, `devices/{other}/messages/...`, `devices/{any}/config/...`). A deny
//!   reaches those too, where it names them.
//! - A value that is put in for a variable is text, never a wildcard, and never more than one level. An allow whose value is
//!   missing or is no such text allows nothing; a deny then holds for every value.
//! - What is asked with every message is bounded ([`Weight`]): what is attached to one device, certificate or tenant when it is
//!   attached, and what holds for a device once more when it is compiled. Above that it may do nothing.
//! - A filter is allowed where everything that it can match is allowed by one template, and denied where anything that it
//!   can match is.

mod compiled;
pub mod pattern;
pub mod template;
#[cfg(test)]
mod tests;
mod weight;

use std::collections::BTreeSet;

use fleetward_base::{DeviceId, limits};
use serde::{Deserialize, Serialize};

pub use compiled::{
    Attached, CertificateFacts, Compiled, Explained, Facts, Judged, LeftOut, Origin, Verdict, spoken_on,
};
pub use template::Template;
pub use weight::{TooMuch, Weight};

use crate::selector::Selector;
use crate::text::text_enum;

/// What the server tells of all devices of a tenant: for those clients that a statement lets hear it, by its name.
pub const EVENTS: &str = "$aws/events/";

text_enum! {
    pub enum Effect("effect") {
        Allow => "allow",
        Deny => "deny",
    }
}

text_enum! {
    /// What a device does, as statements name it.
    pub enum Act("action") {
        /// Come in at all. Whoever proves itself may, so only a deny says something.
        Connect => "connect",
        Publish => "publish",
        /// Publish what is kept for those who subscribe later; needs [`Act::Publish`] too.
        Retain => "retain",
        Subscribe => "subscribe",
        /// Have a message, whichever of its filters asked for it.
        Receive => "receive",
    }
}

/// What a tenant writes down under a name. Stored as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    pub statements: Vec<Statement>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    pub effect: Effect,
    pub actions: BTreeSet<Act>,
    /// Empty only where `connect` is all that it speaks of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub topics: Vec<Template>,
}

/// A document that may not be. `field` is a path such as `statements[2].topics[0]`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why}")]
pub struct Invalid {
    pub field: String,
    pub why: String,
}

impl Document {
    /// # Errors
    /// [`Invalid`] names the first field that holds what it may not.
    pub fn check(&self) -> Result<(), Invalid> {
        let invalid = |field: String, why: String| Err(Invalid { field, why });
        if !(1..=limits::TOPIC_POLICY_STATEMENTS).contains(&self.statements.len()) {
            return invalid("statements".to_owned(), format!("1 to {}", limits::TOPIC_POLICY_STATEMENTS));
        }
        for (at, statement) in self.statements.iter().enumerate() {
            if statement.actions.is_empty() {
                return invalid(format!("statements[{at}].actions"), "at least one".to_owned());
            }
            let alone = statement.actions.iter().all(|act| *act == Act::Connect);
            if alone != statement.topics.is_empty() {
                let why = if alone { "connect speaks of no topic" } else { "at least one" };
                return invalid(format!("statements[{at}].topics"), why.to_owned());
            }
            if statement.topics.len() > limits::TOPIC_POLICY_TEMPLATES {
                return invalid(
                    format!("statements[{at}].topics"),
                    format!("more than {}", limits::TOPIC_POLICY_TEMPLATES),
                );
            }
            for (nth, template) in statement.topics.iter().enumerate() {
                let heard = template.as_str().starts_with(EVENTS)
                    && statement.actions.iter().all(|act| matches!(act, Act::Subscribe | Act::Receive));
                if statement.effect == Effect::Allow
                    && template.as_str().starts_with('$')
                    && !template.begins_with_value()
                    && !heard
                {
                    let why = "topics that begin with $ are given by the built-in rules, to whom they belong and to nobody else; \
                               only $aws/events/ may be subscribed to and received by a statement";
                    return invalid(format!("statements[{at}].topics[{nth}]"), why.to_owned());
                }
            }
        }
        Ok(())
    }

    /// What it comes to at most, whichever device it is compiled for.
    pub fn weight(&self) -> Weight {
        let mut weight = Weight::default();
        for template in self.statements.iter().flat_map(|statement| &statement.topics) {
            weight.add(template.heaviest());
        }
        weight
    }

    /// Whether compiling it needs to know the certificate of the connection.
    pub fn asks_for_certificate(&self) -> bool {
        self.statements.iter().flat_map(|statement| &statement.topics).any(Template::asks_for_certificate)
    }
}

text_enum! {
    /// The kinds of [`Target`].
    pub enum TargetKind("target") {
        Tenant => "tenant",
        Selector => "selector",
        Device => "device",
        Certificate => "certificate",
    }
}

/// Whom a document is attached to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// Every device of the tenant.
    Tenant,
    /// The devices that it selects, also those that will match later.
    Selector(Box<Selector>),
    Device(DeviceId),
    /// Connections with the certificate of this serial number.
    Certificate(String),
}

impl Target {
    pub const fn kind(&self) -> TargetKind {
        match self {
            Self::Tenant => TargetKind::Tenant,
            Self::Selector(_) => TargetKind::Selector,
            Self::Device(_) => TargetKind::Device,
            Self::Certificate(_) => TargetKind::Certificate,
        }
    }

    /// The text that it is stored under: one for each target of a kind.
    pub fn key(&self) -> String {
        match self {
            Self::Tenant => String::new(),
            Self::Selector(selector) => serde_json::to_string(selector).unwrap_or_default(),
            Self::Device(device) => device.to_string(),
            Self::Certificate(serial) => serial.clone(),
        }
    }

    /// The other way; `None` for what [`Self::key`] did not write.
    pub fn of(kind: &str, key: &str) -> Option<Self> {
        match kind.parse().ok()? {
            TargetKind::Tenant => key.is_empty().then_some(Self::Tenant),
            TargetKind::Selector => serde_json::from_str(key).ok().map(Box::new).map(Self::Selector),
            TargetKind::Device => key.parse().ok().map(Self::Device),
            TargetKind::Certificate => Some(Self::Certificate(key.to_owned())),
        }
    }
}
