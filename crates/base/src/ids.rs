//! Ids with a type of their own, so that one cannot stand where another belongs.
//!
//! A tenant, a device and a job are known by their names, which never change: they stand in topics, certificates and paths.
//! All else has a version 7 UUID made from the given clock and chance.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Clock, Rng};

/// A text that is not an id of the wanted kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a {kind}: {rule}")]
pub struct BadId {
    pub kind: &'static str,
    /// What such an id looks like, in words.
    pub rule: &'static str,
}

macro_rules! name_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $rule:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl FromStr for $name {
            type Err = BadId;
            fn from_str(text: &str) -> Result<Self, BadId> {
                let check: fn(&str) -> bool = $check;
                if check(text) { Ok(Self(text.into())) } else { Err(BadId { kind: $kind, rule: $rule }) }
            }
        }
        impl TryFrom<String> for $name {
            type Error = BadId;
            fn try_from(text: String) -> Result<Self, BadId> {
                text.parse()
            }
        }
        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0.as_ref().to_owned()
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }
    };
}

name_id!(
    /// A tenant: its short name, fixed at creation. It stands in certificates, EST labels and paths.
    TenantId,
    "tenant name",
    "1 to 40 of a-z, 0-9 and -, beginning and ending with a letter or digit",
    |text| {
        let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        (1..=40).contains(&text.len())
            && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
            && ends(text.chars().next())
            && ends(text.chars().next_back())
    }
);

name_id!(
    /// A device within its tenant: its name, fixed at registration; also its AWS thing name and its MQTT client id.
    DeviceId,
    "device name",
    "1 to 128 of a-z, A-Z, 0-9, :, _ and -",
    |text| {
        (1..=128).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b':' | b'_' | b'-'))
    }
);

name_id!(
    /// A job within its tenant: the name that whoever makes it gives to it; also its AWS job id.
    JobId,
    "job id",
    "1 to 64 of a-z, A-Z, 0-9, _ and -",
    |text| {
        (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
    }
);

macro_rules! uuid_id {
    ($($(#[$doc:meta])* $name:ident, $kind:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A new id; ids made later sort later.
            pub fn generate(clock: &dyn Clock, rng: &dyn Rng) -> Self {
                let mut random = [0; 10];
                rng.fill(&mut random);
                let millis = u64::try_from(clock.now().millis()).unwrap_or(0);
                Self(uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
            }
        }
        impl FromStr for $name {
            type Err = BadId;
            fn from_str(text: &str) -> Result<Self, BadId> {
                Uuid::try_parse(text).map(Self).map_err(|_| BadId { kind: $kind, rule: "a UUID" })
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }
    )*};
}

uuid_id! {
    /// A signed release of one tenant.
    ReleaseId, "release id";
    /// A rollout of one release.
    RolloutId, "rollout id";
    /// An API or enrolment token; not the token itself.
    TokenId, "token id";
    /// An offer to hand a device over to another tenant; not its code.
    TransferId, "transfer id";
    /// A public key that a tenant accepts releases from.
    SignerId, "signer id";
    /// A revocation, or an ordered replacement, of many certificates.
    RevocationId, "revocation id";
    /// One request through any door; it ties logs, journal and answers together.
    RequestId, "request id";
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ManualClock, SeededRng, Timestamp};

    #[test]
    fn names_hold_to_their_rule() {
        for good in ["a", "acme", "a-1", &"x".repeat(40)] {
            assert!(good.parse::<TenantId>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "a-", "A", "a_b", "a/b", "a+", "ä", &"x".repeat(41)] {
            assert!(bad.parse::<TenantId>().is_err(), "{bad}");
        }
        for good in ["gw-1", "AA:BB_cc", &"x".repeat(128)] {
            assert!(good.parse::<DeviceId>().is_ok(), "{good}");
        }
        for bad in ["", "a/b", "a+b", "#", "a b", "$aws", &"x".repeat(129)] {
            assert!(bad.parse::<DeviceId>().is_err(), "{bad}");
        }
        assert!("Reboot_2026-11".parse::<JobId>().is_ok());
        for bad in ["", "$next", "a:b", "a/b", &"x".repeat(65)] {
            assert!(bad.parse::<JobId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn names_are_checked_when_they_are_read() {
        assert!(serde_json::from_str::<TenantId>("\"acme\"").is_ok());
        assert!(serde_json::from_str::<TenantId>("\"../etc\"").is_err());
    }

    #[test]
    fn later_ids_sort_later() {
        let (clock, rng) = (ManualClock::at(Timestamp::from_secs(1)), SeededRng::new(1));
        let first = RolloutId::generate(&clock, &rng);
        clock.advance(std::time::Duration::from_millis(1));
        let second = RolloutId::generate(&clock, &rng);
        assert!(first < second);
        assert_eq!(first.to_string().parse(), Ok(first));
    }
}
