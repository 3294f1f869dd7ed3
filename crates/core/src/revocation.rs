//! What a revocation of many is aimed at, and how far one has come.
//!
//! The aim is kept as JSON with the job, so that a server that takes the job over aims at the same. Which devices and
//! certificates it meets is asked of the store, page by page; what becomes of a device is [`crate::lifecycle`]'s to say.

use fleetward_base::DeviceId;
use serde::{Deserialize, Serialize};

use crate::enrolment::Way;
use crate::lifecycle::{self, Transition};
use crate::selector::Selector;
use crate::text::text_enum;

/// What is to lose its certificates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Target {
    /// One certificate. Its device stays what it is and may enrol again.
    Certificate { serial: String },
    /// One device: all its certificates, its unused tokens, and its right to connect.
    Device { device: DeviceId },
    /// Every device that the selector chooses. An empty selector would be the tenant, and has to say so.
    Group { selector: Selector },
    /// Every device that ever got a certificate by this claim, template, token or factory; `way` narrows it.
    Claim { source: String, way: Option<Way> },
    /// Every certificate of an issuing authority, which then issues no more.
    Authority { fingerprint: String },
    /// Every device of the tenant.
    Tenant,
}

/// An aim that is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {why}")]
pub struct BadTarget {
    pub field: &'static str,
    pub why: &'static str,
}

impl Target {
    /// # Errors
    /// [`BadTarget`] where it would meet everything by saying nothing, or nothing at all.
    pub fn check(&self) -> Result<(), BadTarget> {
        let hex = |text: &str, most: usize| {
            (1..=most).contains(&text.len()) && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
        };
        match self {
            Self::Certificate { serial } if !hex(serial, 40) => {
                Err(BadTarget { field: "target.serial", why: "lower-case hexadecimal digits, 40 at most" })
            }
            Self::Authority { fingerprint } if !hex(fingerprint, 64) || fingerprint.len() != 64 => {
                Err(BadTarget { field: "target.fingerprint", why: "64 lower-case hexadecimal digits" })
            }
            Self::Group { selector } if *selector == Selector::default() => {
                Err(BadTarget { field: "target.selector", why: "an empty selector is everybody; say tenant" })
            }
            Self::Claim { source, .. } if source.is_empty() || source.len() > 256 => {
                Err(BadTarget { field: "target.source", why: "1 to 256 bytes" })
            }
            _ => Ok(()),
        }
    }

    /// Whether it reaches beyond what one operator looks after: it then needs whoever may change the tenant itself.
    pub const fn is_everything(&self) -> bool {
        matches!(self, Self::Authority { .. } | Self::Tenant)
    }

    /// Whether single certificates lose their standing and the devices keep theirs.
    pub const fn is_of_certificates(&self) -> bool {
        matches!(self, Self::Authority { .. } | Self::Certificate { .. })
    }

    /// In a few words, for people.
    pub fn words(&self) -> String {
        match self {
            Self::Certificate { serial } => format!("certificate {serial}"),
            Self::Device { device } => format!("device {device}"),
            Self::Group { .. } => "group".to_owned(),
            Self::Claim { source, .. } => format!("claim {source}"),
            Self::Authority { fingerprint } => format!("authority {}", fingerprint.get(..16).unwrap_or(fingerprint)),
            Self::Tenant => "tenant".to_owned(),
        }
    }
}

/// Where a device that is revoked goes from `status`; none where it stays, since it is there already or at its end and has
/// nothing left to lose.
pub fn suspended(status: lifecycle::Status) -> Option<lifecycle::Status> {
    lifecycle::decide(status, Transition::Suspend).ok().filter(|to| *to != status)
}

text_enum! {
    /// What is done to what is met.
    pub enum Kind("kind of revocation") {
        /// Revoked at once.
        Revoke => "revoke",
        /// To be replaced by a moment; what is not replaced then is revoked.
        Replace => "replace",
    }
}

text_enum! {
    /// How far one has come.
    pub enum Status("status of a revocation") {
        /// Page after page.
        Running => "running",
        /// All devices know; the moment has not come.
        Waiting => "waiting",
        Finished => "finished",
        /// Called off before its moment.
        Canceled => "canceled",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: Result<&str, &str>) {
        let read = serde_json::from_str::<Target>(text).map_err(|error| error.to_string());
        let found = read.and_then(|target| target.check().map(|()| target.words()).map_err(|bad| bad.to_string()));
        match (found, expect) {
            (Ok(words), Ok(expected)) => assert_eq!(words, expected, "{text}"),
            (Err(why), Err(expected)) => assert!(why.contains(expected), "{text}: {why}"),
            (found, _) => panic!("{text}: {found:?}"),
        }
    }

    #[test]
    fn aims() {
        check(r#"{"kind":"device","device":"gw-1"}"#, Ok("device gw-1"));
        check(r#"{"kind":"certificate","serial":"41a3"}"#, Ok("certificate 41a3"));
        check(r#"{"kind":"certificate","serial":"41A3"}"#, Err("lower-case"));
        check(r#"{"kind":"group","selector":{"tags":["eu"]}}"#, Ok("group"));
        check(r#"{"kind":"group","selector":{}}"#, Err("say tenant"));
        check(r#"{"kind":"group","selector":{"tag":["eu"]}}"#, Err("unknown field"));
        check(r#"{"kind":"claim","source":"line-7","way":"claim"}"#, Ok("claim line-7"));
        check(r#"{"kind":"claim","source":""}"#, Err("1 to 256"));
        check(r#"{"kind":"authority","fingerprint":"ab"}"#, Err("64"));
        check(r#"{"kind":"tenant"}"#, Ok("tenant"));
        check(r#"{"kind":"everybody"}"#, Err("unknown variant"));
    }
}
