//! What AWS's data plane says beside a message: MQTT 5 user properties, in a header field and in an answer.
//!
//! Both are base64 over a JSON array of objects of texts, `[{"a":"1"},{"a":"2"}]`: a name may come more than once, and the
//! order is kept.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Not such a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not base64 over a JSON array of objects of texts")]
pub struct BadUserProperties;

/// One object of the array, its members in their order.
struct Members(Vec<(String, String)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;

        impl<'de> Visitor<'de> for Read {
            type Value = Members;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object of texts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Read)
    }
}

/// The properties in their order.
///
/// # Errors
/// [`BadUserProperties`].
pub fn parse_user_properties(text: &str) -> Result<Vec<(String, String)>, BadUserProperties> {
    let json = BASE64_STANDARD.decode(text.trim()).map_err(|_| BadUserProperties)?;
    let objects: Vec<Members> = serde_json::from_slice(&json).map_err(|_| BadUserProperties)?;
    Ok(objects.into_iter().flat_map(|members| members.0).collect())
}

/// The text that says them.
pub fn format_user_properties(properties: &[(String, String)]) -> String {
    let objects: serde_json::Value =
        properties.iter().map(|(name, value)| serde_json::json!({ name.as_str(): value })).collect();
    BASE64_STANDARD.encode(objects.to_string())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn as_botocore_sends_them() {
        // `[{"deviceName": "alpha"}, {"deviceCnt": "45"}]`
        let text = "W3siZGV2aWNlTmFtZSI6ICJhbHBoYSJ9LCB7ImRldmljZUNudCI6ICI0NSJ9XQ==";
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(parse_user_properties(text), Ok(vec![pair("deviceName", "alpha"), pair("deviceCnt", "45")]));
        for bad in ["", "x", "e30=", "WzFd", "W3siYSI6MX1d", "W10"] {
            assert_eq!(parse_user_properties(bad), Err(BadUserProperties), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn what_is_said_is_read(properties: Vec<(String, String)>) {
            prop_assert_eq!(parse_user_properties(&format_user_properties(&properties)), Ok(properties));
        }

        #[test]
        fn anything_can_be_asked_for(text: String) {
            drop(parse_user_properties(&text));
        }
    }
}
