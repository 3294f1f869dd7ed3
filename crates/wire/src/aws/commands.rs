//! AWS IoT commands: the topics below `$aws/commands/`, and what devices answer there.
//!
//! ```text
//! $aws/commands/{things|clients}/{name}/executions/{id}/request/{json|cbor}    what to do; other payloads without the last
//! $aws/commands/{things|clients}/{name}/executions/{id}/response/{json|cbor}   what came of it, by the device
//! ../response/accepted/{json|cbor}, ../response/rejected/{json|cbor}           whether that was taken
//! ```
//! The payload of a request is the sender's own. There is no client token: topics tie an answer to what it answers. [`parse`]
//! knows topic names, not filters. `parse` and `Display` are inverse.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use fleetward_base::limits;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::jobs::RejectCode;
pub use super::provisioning::{Format, encode};

/// What every topic of commands begins with.
pub const PREFIX: &str = "$aws/commands/";
/// How deep an answer may nest.
const DEPTH: usize = 8;

/// What a device is called by: its registration or its connection. Here they have one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Things,
    Clients,
}

impl Kind {
    pub const ALL: [Self; 2] = [Self::Things, Self::Clients];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Things => "things",
            Self::Clients => "clients",
        }
    }
}

/// The end of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Part {
    /// With a payload of this format; of another, where there is none.
    Request(Option<Format>),
    Response(Format),
    Accepted(Format),
    Rejected(Format),
}

/// A topic of one execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Topic<'a> {
    pub kind: Kind,
    pub device: &'a str,
    pub execution: &'a str,
    pub part: Part,
}

impl<'a> Topic<'a> {
    /// The topic on which a payload of this media type is sent.
    pub fn request(kind: Kind, device: &'a str, execution: &'a str, content_type: &str) -> Self {
        let media = content_type.split(';').next().unwrap_or_default().trim();
        let format = match media {
            "application/json" => Some(Format::Json),
            "application/cbor" => Some(Format::Cbor),
            _ => None,
        };
        Self { kind, device, execution, part: Part::Request(format) }
    }

    /// The format of an answer, on the topics that devices publish to.
    pub fn response(&self) -> Option<Format> {
        match self.part {
            Part::Response(format) => Some(format),
            Part::Request(_) | Part::Accepted(_) | Part::Rejected(_) => None,
        }
    }

    /// Another topic of the same execution.
    #[must_use]
    pub fn part(self, part: Part) -> Self {
        Self { part, ..self }
    }
}

/// The topic of commands that `topic` is, if it is one.
pub fn parse(topic: &str) -> Option<Topic<'_>> {
    let levels: Vec<&str> = topic.strip_prefix(PREFIX)?.split('/').take(8).collect();
    let [kind, device, "executions", execution, end @ ..] = levels.as_slice() else { return None };
    let kind = Kind::ALL.into_iter().find(|it| it.as_str() == *kind)?;
    let part = match end {
        ["request"] => Part::Request(None),
        ["request", format] => Part::Request(Some(format_of(format)?)),
        ["response", format] => Part::Response(format_of(format)?),
        ["response", "accepted", format] => Part::Accepted(format_of(format)?),
        ["response", "rejected", format] => Part::Rejected(format_of(format)?),
        _ => return None,
    };
    let good = is_name(device, 128, b":_-") && is_name(execution, 64, b"_-");
    good.then_some(Topic { kind, device, execution, part })
}

fn format_of(text: &str) -> Option<Format> {
    match text {
        "json" => Some(Format::Json),
        "cbor" => Some(Format::Cbor),
        _ => None,
    }
}

fn is_name(text: &str, longest: usize, also: &[u8]) -> bool {
    (1..=longest).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || also.contains(&b))
}

impl fmt::Display for Topic<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, device, execution, part } = self;
        write!(f, "{PREFIX}{}/{device}/executions/{execution}/", kind.as_str())?;
        let (end, format) = match part {
            Part::Request(format) => ("request", *format),
            Part::Response(format) => ("response", Some(*format)),
            Part::Accepted(format) => ("response/accepted", Some(*format)),
            Part::Rejected(format) => ("response/rejected", Some(*format)),
        };
        f.write_str(end)?;
        match format {
            Some(Format::Json) => f.write_str("/json"),
            Some(Format::Cbor) => f.write_str("/cbor"),
            None => Ok(()),
        }
    }
}

/// What a device says of an execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    InProgress,
    Succeeded,
    Failed,
    Rejected,
    TimedOut,
}

/// `../response/{json|cbor}`. What is not known is passed over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Response {
    pub status: Status,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status_reason: Option<StatusReason>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result: Option<BTreeMap<String, ResultValue>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StatusReason {
    pub reason_code: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason_description: Option<String>,
}

/// One value of a result: `{"s": text}`, `{"b": truth}` or `{"bin": bytes}`, bytes being base64 in JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResultValue {
    Text(String),
    Truth(bool),
    Bytes(Vec<u8>),
}

/// A value as it is written.
#[derive(Default, Serialize, Deserialize)]
struct Written {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    s: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    b: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bin: Option<Binary>,
}

/// Bytes: CBOR has them, JSON has base64. Bytes are tried first, since bytes that are UTF-8 would pass for text.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Binary {
    Bytes(#[serde(with = "bytes")] Vec<u8>),
    Text(String),
}

mod bytes {
    use super::{Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(bytes)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        struct Bytes;
        impl serde::de::Visitor<'_> for Bytes {
            type Value = Vec<u8>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
                Ok(bytes.to_vec())
            }
        }
        from.deserialize_bytes(Bytes)
    }
}

impl Serialize for ResultValue {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let written = match self {
            Self::Text(text) => Written { s: Some(text.clone()), ..Written::default() },
            Self::Truth(truth) => Written { b: Some(*truth), ..Written::default() },
            Self::Bytes(bytes) if to.is_human_readable() => {
                Written { bin: Some(Binary::Text(BASE64_STANDARD.encode(bytes))), ..Written::default() }
            }
            Self::Bytes(bytes) => Written { bin: Some(Binary::Bytes(bytes.clone())), ..Written::default() },
        };
        written.serialize(to)
    }
}

impl<'de> Deserialize<'de> for ResultValue {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let one = |what| serde::de::Error::custom(what);
        match Written::deserialize(from)? {
            Written { s: Some(text), b: None, bin: None } => Ok(Self::Text(text)),
            Written { s: None, b: Some(truth), bin: None } => Ok(Self::Truth(truth)),
            Written { s: None, b: None, bin: Some(Binary::Bytes(bytes)) } => Ok(Self::Bytes(bytes)),
            Written { s: None, b: None, bin: Some(Binary::Text(text)) } => {
                BASE64_STANDARD.decode(text).map(Self::Bytes).map_err(|_| one("bin is base64"))
            }
            _ => Err(one("a value is one of s, b and bin")),
        }
    }
}

impl Response {
    /// Reads an answer.
    ///
    /// # Errors
    /// What is wrong with one that is none.
    pub fn parse(format: Format, payload: &[u8]) -> Result<Self, RejectCode> {
        if payload.len() > limits::MQTT_PAYLOAD_BYTES {
            return Err(RejectCode::InvalidRequest);
        }
        match format {
            Format::Json => {
                let value: serde_json::Value = serde_json::from_slice(payload).map_err(|_| RejectCode::InvalidJson)?;
                serde_json::from_value(value).map_err(|_| RejectCode::InvalidRequest)
            }
            Format::Cbor => {
                let mut rest = payload;
                let value: ciborium::Value = ciborium::de::from_reader_with_recursion_limit(&mut rest, DEPTH)
                    .map_err(|_| RejectCode::InvalidRequest)?;
                if !rest.is_empty() {
                    return Err(RejectCode::InvalidRequest);
                }
                value.deserialized().map_err(|_| RejectCode::InvalidRequest)
            }
        }
    }
}

/// `../response/accepted/..`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Accepted {
    pub execution_id: String,
}

/// `../response/rejected/..`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Rejected {
    pub error: RejectCode,
    pub error_message: String,
    pub execution_id: String,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(rest: &str, part: Option<Part>) {
        let topic = format!("{PREFIX}{rest}");
        let parsed = parse(&topic);
        assert_eq!(parsed.map(|it| it.part), part, "{topic}");
        if let Some(parsed) = parsed {
            assert_eq!(parsed.to_string(), topic);
        }
    }

    #[test]
    fn topics() {
        check("things/gw-1/executions/e_1/request/json", Some(Part::Request(Some(Format::Json))));
        check("clients/gw:1/executions/e-1/request", Some(Part::Request(None)));
        check("things/gw-1/executions/e/response/cbor", Some(Part::Response(Format::Cbor)));
        check("things/gw-1/executions/e/response/accepted/json", Some(Part::Accepted(Format::Json)));
        check("things/gw-1/executions/e/response/rejected/cbor", Some(Part::Rejected(Format::Cbor)));
        for bad in [
            "",
            "things",
            "things/gw-1/executions/+/request/json",
            "things/gw-1/executions/e",
            "things/gw-1/executions/e/response",
            "things/gw-1/executions/e/response/accepted",
            "things/gw-1/executions/e/response/xml",
            "things/gw-1/executions/e/request/json/x",
            "things/gw-1/executions//request",
            "things//executions/e/request",
            "groups/gw-1/executions/e/request",
            "things/gw-1/jobs/e/request",
        ] {
            check(bad, None);
        }
        let on = |content_type| Topic::request(Kind::Things, "a", "e", content_type).to_string();
        assert_eq!(on("application/json; charset=utf-8"), "$aws/commands/things/a/executions/e/request/json");
        assert_eq!(on("application/cbor"), "$aws/commands/things/a/executions/e/request/cbor");
        assert_eq!(on("text/plain"), "$aws/commands/things/a/executions/e/request");
    }

    #[test]
    fn answers() {
        let read = |payload: &str| Response::parse(Format::Json, payload.as_bytes());
        let good = read(
            r#"{"status":"FAILED","statusReason":{"reasonCode":"NO_DISK","reasonDescription":"full"},
                "result":{"a":{"s":"x"},"b":{"b":true},"c":{"bin":"AQI="}},"unknown":1}"#,
        )
        .expect("an answer");
        assert_eq!(good.status, Status::Failed);
        let result = good.result.clone().expect("a result");
        assert_eq!(result.get("c"), Some(&ResultValue::Bytes(vec![1, 2])));
        assert_eq!(
            serde_json::to_string(&result).expect("JSON"),
            r#"{"a":{"s":"x"},"b":{"b":true},"c":{"bin":"AQI="}}"#
        );
        assert_eq!(Response::parse(Format::Cbor, &encode(Format::Cbor, &good)), Ok(good));
        for (bad, code) in [
            ("", RejectCode::InvalidJson),
            ("{", RejectCode::InvalidJson),
            ("{}", RejectCode::InvalidRequest),
            (r#"{"status":"CREATED"}"#, RejectCode::InvalidRequest),
            (r#"{"status":"FAILED","statusReason":{}}"#, RejectCode::InvalidRequest),
            (r#"{"status":"FAILED","result":{"a":"x"}}"#, RejectCode::InvalidRequest),
            (r#"{"status":"FAILED","result":{"a":{"s":"x","b":true}}}"#, RejectCode::InvalidRequest),
            (r#"{"status":"FAILED","result":{"a":{"bin":"?"}}}"#, RejectCode::InvalidRequest),
        ] {
            assert_eq!(read(bad), Err(code), "{bad}");
        }
        let rejected = Rejected {
            error: RejectCode::TerminalStateReached,
            error_message: "it is over".into(),
            execution_id: "e".into(),
        };
        assert_eq!(
            serde_json::to_string(&rejected).expect("JSON"),
            r#"{"error":"TerminalStateReached","errorMessage":"it is over","executionId":"e"}"#
        );
    }

    fn values() -> impl Strategy<Value = ResultValue> {
        prop_oneof![
            ".{0,8}".prop_map(ResultValue::Text),
            any::<bool>().prop_map(ResultValue::Truth),
            prop::collection::vec(any::<u8>(), 0..8).prop_map(ResultValue::Bytes),
        ]
    }

    proptest! {
        #[test]
        fn answers_read_as_they_were_written(result in prop::option::of(prop::collection::btree_map(".{0,4}", values(), 0..4)),
                                             reason in prop::option::of(prop::option::of(".{0,8}"))) {
            let status_reason = reason.map(|reason_description| StatusReason { reason_code: "A".into(), reason_description });
            let response = Response { status: Status::Succeeded, status_reason, result };
            for format in [Format::Json, Format::Cbor] {
                prop_assert_eq!(Response::parse(format, &encode(format, &response)), Ok(response.clone()));
            }
        }

        #[test]
        fn any_bytes_are_taken(bytes in prop::collection::vec(any::<u8>(), 0..200), text in ".{0,80}") {
            drop((Response::parse(Format::Json, &bytes), Response::parse(Format::Cbor, &bytes)));
            let topic = format!("{PREFIX}{text}");
            if let Some(parsed) = parse(&topic) {
                prop_assert_eq!(parsed.to_string(), topic.clone());
            }
        }
    }
}
