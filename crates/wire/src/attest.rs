//! `$fleetward/things/{device}/attest/..`: the topics on which a device proves itself over MQTT.
//!
//! ```text
//! $fleetward/things/{device}/attest/challenge/{json|cbor}   what is to be in its evidence
//! $fleetward/things/{device}/attest/activate/{json|cbor}    whose TPM it has, and which key attests
//! $fleetward/things/{device}/attest/proof/{json|cbor}       what its TPM opened
//! $fleetward/things/{device}/attest/evidence/{json|cbor}    evidence, for a verdict
//! ```
//! Answers are told on the same topic with `/accepted` or `/rejected` behind it, in the format that its name ends with. What
//! the bodies hold is the affair of `fleetward_attest::messages`; how they are written is here ([`decode`], [`encode`]).
//! [`parse`] knows topic names, not filters. `parse` and `Display` are inverse.

use std::fmt;

use fleetward_base::limits;
use serde::de::DeserializeOwned;

pub use crate::aws::provisioning::{Format, Part, encode};

/// What every topic of ours begins with that is no customer's.
pub const PREFIX: &str = "$fleetward/things/";

/// What a device asks or says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    Challenge,
    Activate,
    Proof,
    Evidence,
}

impl Op {
    const ALL: [Self; 4] = [Self::Challenge, Self::Activate, Self::Proof, Self::Evidence];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Challenge => "challenge",
            Self::Activate => "activate",
            Self::Proof => "proof",
            Self::Evidence => "evidence",
        }
    }
}

/// A topic of attestation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Topic<'a> {
    pub device: &'a str,
    pub op: Op,
    pub format: Format,
    pub part: Part,
}

impl Topic<'_> {
    /// The device publishes to it; on all others the service does.
    pub fn is_request(&self) -> bool {
        self.part == Part::Request
    }

    /// The topic of the answer to this one.
    #[must_use]
    pub fn answer(self, part: Part) -> Self {
        Self { part, ..self }
    }
}

/// The topic of attestation that `topic` is, if it is one.
pub fn parse(topic: &str) -> Option<Topic<'_>> {
    let mut levels = topic.strip_prefix(PREFIX)?.split('/');
    let device = levels.next().filter(|device| !device.is_empty())?;
    if levels.next() != Some("attest") {
        return None;
    }
    let asked = levels.next()?;
    let op = Op::ALL.into_iter().find(|op| op.as_str() == asked)?;
    let format = match levels.next()? {
        "json" => Format::Json,
        "cbor" => Format::Cbor,
        _ => return None,
    };
    let part = match levels.next() {
        None => Part::Request,
        Some("accepted") => Part::Accepted,
        Some("rejected") => Part::Rejected,
        Some(_) => return None,
    };
    levels.next().is_none().then_some(Topic { device, op, format, part })
}

impl fmt::Display for Topic<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let format = match self.format {
            Format::Json => "json",
            Format::Cbor => "cbor",
        };
        write!(f, "{PREFIX}{}/attest/{}/{format}", self.device, self.op.as_str())?;
        f.write_str(match self.part {
            Part::Request => "",
            Part::Accepted => "/accepted",
            Part::Rejected => "/rejected",
        })
    }
}

/// How deep a body may nest: evidence in its envelope, and the lists and maps within.
const DEPTH: usize = 8;

/// A body that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadBody {
    #[error(
        "the payload is longer than {} bytes; send evidence with a longer log over HTTPS",
        limits::MQTT_PAYLOAD_BYTES
    )]
    TooLong,
    #[error("the payload is not JSON")]
    NotJson,
    #[error("the payload is not CBOR")]
    NotCbor,
    #[error("the payload is not what this topic takes")]
    Shape,
}

/// Reads a body, with nothing after it.
///
/// # Errors
/// [`BadBody`] says what is wrong with the bytes.
pub fn decode<T: DeserializeOwned>(format: Format, payload: &[u8]) -> Result<T, BadBody> {
    if payload.len() > limits::MQTT_PAYLOAD_BYTES {
        return Err(BadBody::TooLong);
    }
    match format {
        Format::Json => {
            let value: serde_json::Value = serde_json::from_slice(payload).map_err(|_| BadBody::NotJson)?;
            serde_json::from_value(value).map_err(|_| BadBody::Shape)
        }
        Format::Cbor => {
            let mut rest = payload;
            let value: ciborium::Value =
                ciborium::de::from_reader_with_recursion_limit(&mut rest, DEPTH).map_err(|_| BadBody::NotCbor)?;
            if !rest.is_empty() {
                return Err(BadBody::NotCbor);
            }
            value.deserialized().map_err(|_| BadBody::Shape)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn topics_are_read_as_they_are_written() {
        for op in Op::ALL {
            for format in [Format::Json, Format::Cbor] {
                for part in [Part::Request, Part::Accepted, Part::Rejected] {
                    let topic = Topic { device: "gw-1", op, format, part };
                    assert_eq!(parse(&topic.to_string()), Some(topic));
                    assert!(!topic.answer(Part::Accepted).is_request());
                }
            }
        }
        let known = parse("$fleetward/things/AA:BB/attest/proof/cbor/rejected").expect("a topic");
        assert_eq!((known.device, known.op, known.is_request()), ("AA:BB", Op::Proof, false));
    }

    #[test]
    fn what_is_none() {
        for none in [
            "",
            "$fleetward",
            "$fleetward/things/",
            "$fleetward/things//attest/challenge/json",
            "$fleetward/things/gw-1/attest/challenge",
            "$fleetward/things/gw-1/attest/challenge/xml",
            "$fleetward/things/gw-1/attest/challenge/json/",
            "$fleetward/things/gw-1/attest/challenge/json/accepted/x",
            "$fleetward/things/gw-1/attest/rumour/json",
            "$fleetward/things/gw-1/shadow/challenge/json",
            "$aws/things/gw-1/attest/challenge/json",
            "fleetward/things/gw-1/attest/challenge/json",
        ] {
            assert_eq!(parse(none), None, "{none}");
        }
    }

    #[test]
    fn bodies_are_read_whole_or_not_at_all() {
        let read = |format, payload: &[u8]| decode::<serde_json::Map<String, serde_json::Value>>(format, payload);
        let body = read(Format::Json, br#"{"a": 1}"#).expect("JSON");
        assert_eq!(read(Format::Cbor, &encode(Format::Cbor, &body)), Ok(body));
        assert_eq!(read(Format::Json, b""), Err(BadBody::NotJson));
        assert_eq!(read(Format::Json, b"{} {}"), Err(BadBody::NotJson));
        assert_eq!(read(Format::Json, b"[]"), Err(BadBody::Shape));
        assert_eq!(read(Format::Cbor, b""), Err(BadBody::NotCbor));
        assert_eq!(read(Format::Cbor, &[0xa0, 0xa0]), Err(BadBody::NotCbor));
        assert_eq!(read(Format::Cbor, &[0x81; 20]), Err(BadBody::NotCbor), "too deep");
        assert_eq!(read(Format::Cbor, &[0x01]), Err(BadBody::Shape));
        let long = vec![b' '; limits::MQTT_PAYLOAD_BYTES + 1];
        assert_eq!(read(Format::Json, &long), Err(BadBody::TooLong));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            decode::<serde_json::Value>(Format::Cbor, &bytes).ok();
            decode::<serde_json::Value>(Format::Json, &bytes).ok();
        }

        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,80}") {
            parse(&text);
            let below = format!("{PREFIX}{text}");
            if let Some(topic) = parse(&below) {
                prop_assert_eq!(topic.to_string(), below);
            }
        }
    }
}
