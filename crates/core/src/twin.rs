//! The twin of a device, as Azure's IoT Hub has it: its classic shadow under other rules of speech.
//!
//! There is one document, and one version of it. A twin shows that version, plus one, in both of its sections: a hub's twin
//! is there from the beginning at version 1, and clients take 0 for "not seen yet". So `$version` of a section grows with the
//! other section too, which clients take for a change that they have already.

use serde_json::{Map, Value, json};

use crate::shadow::{Applied, Document, Refused};

/// What no name of a property holds: a hub keeps these for itself.
const RESERVED: [char; 3] = ['$', '.', ' '];
/// The longest name of a property.
const NAME_BYTES: usize = 1024;

/// What both sections show.
pub fn version(document: Option<&Document>) -> u64 {
    document.map_or(0, |document| document.version).saturating_add(1)
}

/// The whole twin, as it is answered to a get.
pub fn view(document: Option<&Document>) -> Value {
    let version = version(document);
    let present = document.filter(|document| document.deleted_at.is_none());
    let section = |section: Option<&Map<String, Value>>| with_version(section.cloned().unwrap_or_default(), version);
    json!({
        "desired": section(present.and_then(|document| document.state.desired.as_ref())),
        "reported": section(present.and_then(|document| document.state.reported.as_ref())),
    })
}

/// A device's patch of its reported properties, as the update of the shadow that it is.
///
/// # Errors
/// What is no object, or has a name that a hub would not take.
pub fn reported(payload: &[u8]) -> Result<Vec<u8>, Refused> {
    let text = std::str::from_utf8(payload).map_err(|_| Refused::NotUtf8)?;
    let patch: Value = serde_json::from_str(text).map_err(|_| Refused::InvalidJson)?;
    if !patch.is_object() {
        return Err(Refused::ReportedNotObject);
    }
    if !named_well(&patch) {
        return Err(Refused::InvalidNode);
    }
    serde_json::to_vec(&json!({ "state": { "reported": patch } })).map_err(|_| Refused::Internal)
}

/// What a device is told of an update: the change of the desired properties as it was submitted, its nulls included; where all
/// of them went, each is null. None where the update was about something else.
pub fn desired_change(applied: &Applied) -> Option<Value> {
    let submitted = match &applied.accepted.state {
        Value::Object(sections) => sections.get("desired")?,
        _ => &Value::Null,
    };
    let patch = match submitted {
        Value::Object(patch) => patch.clone(),
        _ => {
            let before = applied.previous.as_ref().and_then(|document| document.state.desired.as_ref())?;
            before.keys().map(|name| (name.clone(), Value::Null)).collect()
        }
    };
    Some(with_version(patch, version(Some(&applied.document))))
}

/// An operator may have a property of the name: the version stands in its place.
fn with_version(mut section: Map<String, Value>, version: u64) -> Value {
    section.insert("$version".to_owned(), version.into());
    Value::Object(section)
}

/// The parser has held the nesting to a limit.
fn named_well(value: &Value) -> bool {
    match value {
        Value::Object(fields) => fields.iter().all(|(name, value)| {
            let good = |c: char| !c.is_control() && !RESERVED.contains(&c);
            (1..=NAME_BYTES).contains(&name.len()) && name.chars().all(good) && named_well(value)
        }),
        Value::Array(items) => items.iter().all(named_well),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use fleetward_base::Timestamp;

    use super::*;
    use crate::shadow::{UpdateRequest, delete, update};

    fn apply(current: Option<&Document>, body: Value) -> Applied {
        let request = UpdateRequest::parse(&serde_json::to_vec(&body).expect("JSON")).expect("a request");
        update(current, &request, Timestamp::from_secs(5)).expect("accepted")
    }

    #[test]
    fn a_twin_is_there_from_the_beginning() {
        assert_eq!(view(None), json!({ "desired": { "$version": 1 }, "reported": { "$version": 1 } }));
        let made = apply(None, json!({ "state": { "desired": { "a": 1 }, "reported": { "b": { "c": 2 } } } }));
        let wanted = json!({ "desired": { "a": 1, "$version": 2 }, "reported": { "b": { "c": 2 }, "$version": 2 } });
        assert_eq!(view(Some(&made.document)), wanted);
        let gone = delete(Some(&made.document), "x", Timestamp::from_secs(6)).expect("deleted");
        assert_eq!(view(Some(&gone)), json!({ "desired": { "$version": 2 }, "reported": { "$version": 2 } }));
    }

    #[test]
    fn what_a_device_is_told() {
        let first = apply(None, json!({ "state": { "desired": { "a": 1, "b": { "c": 2 } } } }));
        assert_eq!(desired_change(&first), Some(json!({ "a": 1, "b": { "c": 2 }, "$version": 2 })));
        let second = apply(Some(&first.document), json!({ "state": { "desired": { "a": null, "b": { "d": 3 } } } }));
        assert_eq!(desired_change(&second), Some(json!({ "a": null, "b": { "d": 3 }, "$version": 3 })));
        let reported = apply(Some(&second.document), json!({ "state": { "reported": { "a": 1 } } }));
        assert_eq!(desired_change(&reported), None);
        for all in [json!({ "state": { "desired": null } }), json!({ "state": null })] {
            let cleared = apply(Some(&reported.document), all);
            assert_eq!(desired_change(&cleared), Some(json!({ "b": null, "$version": 5 })));
        }
        assert_eq!(desired_change(&apply(None, json!({ "state": { "desired": null } }))), None, "there was none");
    }

    #[test]
    fn what_a_device_reports() {
        let body = reported(br#"{"fan": {"rpm": 900, "old": null}, "list": [1, {"a": 2}]}"#).expect("good");
        let value: Value = serde_json::from_slice(&body).expect("JSON");
        let wanted = json!({ "fan": { "rpm": 900, "old": null }, "list": [1, { "a": 2 }] });
        assert_eq!(value, json!({ "state": { "reported": wanted } }));
        assert!(reported(b"{}").is_ok());
        for (bad, why) in [
            (&b"{"[..], Refused::InvalidJson),
            (b"", Refused::InvalidJson),
            (b"null", Refused::ReportedNotObject),
            (b"[1]", Refused::ReportedNotObject),
            (b"\xff", Refused::NotUtf8),
            (br#"{"$version": 1}"#, Refused::InvalidNode),
            (br#"{"a": {"b.c": 1}}"#, Refused::InvalidNode),
            (br#"{"a": [{"b c": 1}]}"#, Refused::InvalidNode),
            (br#"{"": 1}"#, Refused::InvalidNode),
            (br#"{"a\u0007": 1}"#, Refused::InvalidNode),
            // A payload that closes its section does not get out of it.
            (br#"{}},"desired":{"a":1}"#, Refused::InvalidJson),
        ] {
            assert_eq!(reported(bad), Err(why), "{}", String::from_utf8_lossy(bad));
        }
    }
}
