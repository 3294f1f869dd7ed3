//! How a fragment goes into a section, and what metadata it leaves.

use serde_json::{Map, Value, json};

use super::request::{SectionPatch, UpdateRequest};
use super::{Fragment, Sections};

/// Applies `patch` to a section and its metadata; every leaf that is touched is stamped with `seconds`.
pub(super) fn section(
    state: &mut Option<Map<String, Value>>,
    metadata: &mut Option<Map<String, Value>>,
    patch: &SectionPatch,
    seconds: i64,
) {
    match patch {
        SectionPatch::Keep => {}
        SectionPatch::Clear => (*state, *metadata) = (None, None),
        SectionPatch::Replace(whole) => {
            let whole = without_nulls(&Value::Object(whole.clone()));
            let stamps = stamped(&whole, seconds);
            (*state, *metadata) = match (whole, stamps) {
                (Value::Object(whole), Value::Object(stamps)) if !whole.is_empty() => (Some(whole), Some(stamps)),
                _ => (None, None),
            };
        }
        SectionPatch::Merge(fragment) => {
            let (mut into, mut stamps) = (state.take().unwrap_or_default(), metadata.take().unwrap_or_default());
            objects(&mut into, &mut stamps, fragment, seconds);
            if !into.is_empty() {
                (*state, *metadata) = (Some(into), Some(stamps));
            }
        }
    }
}

fn objects(into: &mut Map<String, Value>, stamps: &mut Map<String, Value>, from: &Map<String, Value>, seconds: i64) {
    for (key, value) in from {
        match (value, into.get_mut(key)) {
            (Value::Null, _) => {
                into.remove(key);
                stamps.remove(key);
            }
            (Value::Object(fragment), Some(Value::Object(inner))) => {
                let entry = stamps.entry(key).or_insert_with(|| json!({}));
                if !entry.is_object() {
                    *entry = json!({});
                }
                if let Value::Object(inner_stamps) = entry {
                    objects(inner, inner_stamps, fragment, seconds);
                }
            }
            _ => {
                let value = without_nulls(value);
                stamps.insert(key.clone(), stamped(&value, seconds));
                into.insert(key.clone(), value);
            }
        }
    }
}

/// What is stored of a value that replaces another: there is nothing for its nulls to delete.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.map(|(key, value)| (key.clone(), without_nulls(value))).collect())
        }
        other => other.clone(),
    }
}

/// Metadata of the shape of `value`: a time stamp for each leaf, and for each element of an array.
fn stamped(value: &Value, seconds: i64) -> Value {
    match value {
        Value::Object(map) => {
            Value::Object(map.iter().map(|(key, value)| (key.clone(), stamped(value, seconds))).collect())
        }
        Value::Array(items) => items.iter().map(|item| stamped(item, seconds)).collect(),
        _ => json!({ "timestamp": seconds }),
    }
}

/// The answer to an accepted update: the fragment as submitted, and metadata of its shape.
pub(super) fn accepted(request: &UpdateRequest, seconds: i64) -> Fragment {
    if request.clear {
        return Fragment { state: Value::Null, metadata: json!({ "timestamp": seconds }) };
    }
    let mut state = Map::new();
    for (name, patch) in [("desired", &request.desired), ("reported", &request.reported)] {
        match patch {
            SectionPatch::Keep => {}
            SectionPatch::Clear => drop(state.insert(name.to_owned(), Value::Null)),
            SectionPatch::Merge(fragment) | SectionPatch::Replace(fragment) => {
                state.insert(name.to_owned(), fragment.clone().into());
            }
        }
    }
    let state = Value::Object(state);
    Fragment { metadata: stamped(&state, seconds), state }
}

/// Metadata has the shape of the state: the predicate of [`crate::invariants`].
pub(crate) fn same_shape(state: &Sections, metadata: &Sections) -> bool {
    fn shape(state: &Value, stamps: &Value) -> bool {
        match (state, stamps) {
            (Value::Object(state), Value::Object(stamps)) => {
                state.len() == stamps.len()
                    && state.iter().all(|(key, value)| stamps.get(key).is_some_and(|stamp| shape(value, stamp)))
            }
            (Value::Array(items), Value::Array(stamps)) => {
                items.len() == stamps.len() && items.iter().zip(stamps).all(|(item, stamp)| shape(item, stamp))
            }
            (Value::Object(_) | Value::Array(_), _) => false,
            (_, stamps) => stamps.get("timestamp").is_some_and(Value::is_i64),
        }
    }
    shape(&state.to_value(), &metadata.to_value())
}
