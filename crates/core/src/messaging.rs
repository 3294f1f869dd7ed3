//! How a tenant's devices are spoken to over MQTT: by which profile, and how much of the server is theirs.
//!
//! One value with defaults, stored as JSON; a field that is misspelt is refused.

use serde::{Deserialize, Serialize};

use crate::identity_policy::{Invalid, within};
use crate::text::text_enum;

text_enum! {
    /// Whose rules hold where they differ and a client can tell.
    pub enum Profile("profile") {
        /// Those of the standard.
        Standard => "standard",
        /// Those of AWS IoT Core, for clients that were written against it.
        Aws => "aws",
    }
}

#[expect(clippy::derivable_impls, reason = "text_enum! derives, and knows of no default")]
impl Default for Profile {
    fn default() -> Self {
        Self::Standard
    }
}

/// A token bucket: `per_second` on average, `burst` at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    pub per_second: u32,
    pub burst: u32,
}

/// What all devices of a tenant may do together. What is not said is what the installation gives each tenant.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TenantRates {
    /// CONNECTs; above it they are refused (0x9F, or 3 on MQTT 3.1.1).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub connects: Option<Rate>,
    /// Messages; above it no connection of the tenant is read from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub messages: Option<Rate>,
    /// Bytes of packets; above it no connection of the tenant is read from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<Rate>,
}

impl TenantRates {
    /// What is said here, and the rest from `others`.
    #[must_use]
    pub fn or(self, others: Self) -> Self {
        Self {
            connects: self.connects.or(others.connects),
            messages: self.messages.or(others.messages),
            bytes: self.bytes.or(others.bytes),
        }
    }
}

/// What a tenant has decided on its messaging.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Messaging {
    pub profile: Profile,
    pub rates: TenantRates,
}

impl Messaging {
    /// # Errors
    /// [`Invalid`] names the first field that holds what it may not.
    pub fn check(&self) -> Result<(), Invalid> {
        let TenantRates { connects, messages, bytes } = self.rates;
        for (field, rate, most) in [
            ("rates.connects", connects, 100_000),
            ("rates.messages", messages, 10_000_000),
            // A packet of the largest size must pass at once.
            ("rates.bytes", bytes, u32::MAX),
        ] {
            if let Some(Rate { per_second, burst }) = rate {
                within(field, &per_second, &(1..=most))?;
                within(field, &burst, &(per_second..=u32::MAX))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_is_the_standard_and_a_misspelling_is_refused() {
        assert_eq!(serde_json::from_str::<Messaging>("{}").expect("complete"), Messaging::default());
        assert!(serde_json::from_str::<Messaging>(r#"{"profil":"aws"}"#).is_err());
        assert!(serde_json::from_str::<Messaging>(r#"{"rates":{"message":null}}"#).is_err());
    }

    #[test]
    fn rates_have_bounds() {
        let check = |text: &str| {
            let messaging: Messaging = serde_json::from_str(text).expect("it reads");
            messaging.check().map_err(|invalid| invalid.field)
        };
        assert_eq!(check(r#"{"rates":{"messages":{"per_second":10,"burst":10}}}"#), Ok(()));
        assert_eq!(check(r#"{"rates":{"messages":{"per_second":10,"burst":9}}}"#), Err("rates.messages"));
        assert_eq!(check(r#"{"rates":{"connects":{"per_second":0,"burst":9}}}"#), Err("rates.connects"));
        let ours = TenantRates { bytes: Some(Rate { per_second: 1, burst: 1 }), ..TenantRates::default() };
        let given = TenantRates { messages: Some(Rate { per_second: 2, burst: 2 }), ..ours };
        assert_eq!(ours.or(given), given);
    }
}
