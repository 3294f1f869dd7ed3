//! A shadow update as it was asked for, checked for form.

use fleetward_base::limits;
use serde_json::{Map, Value};

use super::refused::Refused;

/// What an update does to a section.
#[derive(Clone, Debug, PartialEq, Default)]
pub enum SectionPatch {
    /// It was not named.
    #[default]
    Keep,
    /// `null`: the section goes.
    Clear,
    Merge(Map<String, Value>),
    /// The section is this and nothing else, which only the light mode asks for.
    Replace(Map<String, Value>),
}

/// A well-formed update request.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct UpdateRequest {
    /// `"state": null`: the document is emptied.
    pub clear: bool,
    pub desired: SectionPatch,
    pub reported: SectionPatch,
    /// The version that the caller believes to change.
    pub version: Option<u64>,
    pub client_token: Option<String>,
}

impl UpdateRequest {
    /// Reads the payload of an update.
    pub fn parse(payload: &[u8]) -> Result<Self, Refused> {
        if payload.len() > limits::MQTT_PAYLOAD_BYTES {
            return Err(Refused::TooLarge);
        }
        let text = std::str::from_utf8(payload).map_err(|_| Refused::NotUtf8)?;
        // Counted before it is parsed: the parser has a limit of its own, with another message.
        if nesting(payload) > limits::SHADOW_DEPTH {
            return Err(Refused::TooDeep);
        }
        let value: Value = serde_json::from_str(text).map_err(|_| Refused::InvalidJson)?;
        Self::from_value(value)
    }

    /// Reads what a device publishes in the light mode: the whole of what it reports, or nothing, which takes it back.
    pub fn reported(payload: &[u8]) -> Result<Self, Refused> {
        if payload.is_empty() {
            return Ok(Self { reported: SectionPatch::Clear, ..Self::default() });
        }
        if payload.len() > limits::MQTT_PAYLOAD_BYTES {
            return Err(Refused::TooLarge);
        }
        let text = std::str::from_utf8(payload).map_err(|_| Refused::NotUtf8)?;
        // As deep as within `state` and `reported`.
        if nesting(payload).saturating_add(2) > limits::SHADOW_DEPTH {
            return Err(Refused::TooDeep);
        }
        let value: Value = serde_json::from_str(text).map_err(|_| Refused::InvalidJson)?;
        if !value.is_object() {
            return Err(Refused::ReportedNotObject);
        }
        let reported = match patch(value, Refused::ReportedNotObject)? {
            SectionPatch::Merge(section) => SectionPatch::Replace(section),
            other => other,
        };
        Ok(Self { reported, ..Self::default() })
    }

    /// Whether it asks for something, rather than telling what is.
    pub fn touches_desired(&self) -> bool {
        self.clear || self.desired != SectionPatch::Keep
    }

    /// Checks a request that was parsed already, except for its nesting.
    fn from_value(value: Value) -> Result<Self, Refused> {
        let Value::Object(mut root) = value else { return Err(Refused::MissingState) };
        let client_token = match root.remove("clientToken") {
            None => None,
            Some(Value::String(token)) if token.len() <= limits::CLIENT_TOKEN_BYTES => Some(token),
            Some(_) => return Err(Refused::InvalidClientToken),
        };
        let version = match root.remove("version") {
            None | Some(Value::Null) => None,
            Some(version) => Some(version.as_u64().ok_or(Refused::InvalidVersion)?),
        };
        let mut request = Self { client_token, version, ..Self::default() };
        match root.remove("state") {
            None => return Err(Refused::MissingState),
            Some(Value::Null) => request.clear = true,
            Some(Value::Object(state)) => {
                for (name, section) in state {
                    match name.as_str() {
                        "desired" => request.desired = patch(section, Refused::DesiredNotObject)?,
                        "reported" => request.reported = patch(section, Refused::ReportedNotObject)?,
                        _ => return Err(Refused::InvalidNode),
                    }
                }
            }
            Some(_) => return Err(Refused::StateNotObject),
        }
        Ok(request)
    }
}

fn patch(section: Value, otherwise: Refused) -> Result<SectionPatch, Refused> {
    match section {
        Value::Null => Ok(SectionPatch::Clear),
        Value::Object(map) if map.values().any(holds_null_in_array) => Err(Refused::InvalidNode),
        Value::Object(map) => Ok(SectionPatch::Merge(map)),
        _ => Err(otherwise),
    }
}

/// An array is one opaque value: nothing in it can be deleted, so nothing in it can be null.
fn holds_null_in_array(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().any(holds_null),
        Value::Object(map) => map.values().any(holds_null_in_array),
        _ => false,
    }
}

fn holds_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.iter().any(holds_null),
        Value::Object(map) => map.values().any(holds_null),
        _ => false,
    }
}

/// The deepest nesting of objects and arrays, by brackets outside strings; for text that is no JSON, a guess.
fn nesting(text: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for byte in text {
        match (in_string, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => in_string = !in_string,
            (false, b'{' | b'[') => {
                depth = depth.saturating_add(1);
                deepest = deepest.max(depth);
            }
            (false, b'}' | b']') => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}
