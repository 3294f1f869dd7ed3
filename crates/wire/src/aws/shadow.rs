//! Bodies of the device shadow, as the service sends them and as a device reads them.
//!
//! `V` is how a JSON value is held: borrowed where the service writes, owned where a device reads. Requests are read by
//! `core::shadow`, since what they may hold is a rule and not a spelling.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// `.../update/accepted`, `.../update/delta`, and `.../get/accepted`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct State<V = Value> {
    pub state: V,
    pub metadata: V,
    pub version: u64,
    pub timestamp: i64,
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    pub client_token: Option<String>,
}

/// `.../update/documents`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Documents<V = Value> {
    /// Absent where the update made the shadow.
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    pub previous: Option<Revision<V>>,
    pub current: Revision<V>,
    pub timestamp: i64,
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    pub client_token: Option<String>,
}

/// A document before or after an update.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Revision<V = Value> {
    pub state: V,
    pub metadata: V,
    pub version: u64,
}

/// `.../delete/accepted`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Deleted {
    pub version: u64,
    pub timestamp: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_token: Option<String>,
}

/// `.../rejected` of any request; also the body of a refused HTTP request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rejected {
    pub code: u16,
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_token: Option<String>,
}

/// An update as a device sends it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Update {
    pub state: UpdateState,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_token: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct UpdateState {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desired: Option<Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reported: Option<Value>,
}

/// What `#[serde(default)]` would be, without asking `V` for a default of its own.
fn none<T>() -> Option<T> {
    None
}

/// The bytes of a body. Every body here has only text keys and finite numbers, so it always has some.
pub fn encode(body: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(body).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn bodies_have_the_fields_of_the_contract_and_no_others() {
        let state = json!({"reported": {"a": null}});
        let metadata = json!({"reported": {"a": {"timestamp": 5}}});
        let body = State { state: &state, metadata: &metadata, version: 3, timestamp: 5, client_token: None };
        assert_eq!(
            String::from_utf8(encode(&body)).expect("UTF-8"),
            r#"{"state":{"reported":{"a":null}},"metadata":{"reported":{"a":{"timestamp":5}}},"version":3,"timestamp":5}"#
        );
        let rejected = Rejected {
            code: 409,
            message: "Version conflict".into(),
            timestamp: Some(5),
            client_token: Some("t".into()),
        };
        assert_eq!(
            String::from_utf8(encode(&rejected)).expect("UTF-8"),
            r#"{"code":409,"message":"Version conflict","timestamp":5,"clientToken":"t"}"#
        );
        let empty = json!({});
        let current = Revision { state: &empty, metadata: &empty, version: 1 };
        let documents = Documents { previous: None, current, timestamp: 5, client_token: None };
        assert_eq!(
            String::from_utf8(encode(&documents)).expect("UTF-8"),
            r#"{"current":{"state":{},"metadata":{},"version":1},"timestamp":5}"#
        );
    }

    proptest! {
        #[test]
        fn parsing_inverts_formatting(version: u64, timestamp: i64, token in prop::option::of(".{0,16}"), key in ".{0,8}", value: i32) {
            let state = json!({ key: value });
            let body = State { state: state.clone(), metadata: state, version, timestamp, client_token: token };
            prop_assert_eq!(serde_json::from_slice::<State>(&encode(&body)).expect("own output"), body);
        }
    }
}
