//! Where reported does not do what desired asks.

use serde_json::{Map, Value};

use super::Document;

/// The difference, with the metadata that desired has for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Delta {
    pub state: Map<String, Value>,
    pub metadata: Map<String, Value>,
}

/// Every key of desired that reported lacks or has otherwise; `None` where there is none. Keys that only reported has never
/// appear.
pub(super) fn of(document: &Document) -> Option<Delta> {
    let desired = document.state.desired.as_ref()?;
    let empty = Map::new();
    let reported = document.state.reported.as_ref().unwrap_or(&empty);
    let stamps = document.metadata.desired.as_ref().unwrap_or(&empty);
    let (state, metadata) = objects(desired, reported, stamps);
    (!state.is_empty()).then_some(Delta { state, metadata })
}

fn objects(
    desired: &Map<String, Value>,
    reported: &Map<String, Value>,
    stamps: &Map<String, Value>,
) -> (Map<String, Value>, Map<String, Value>) {
    let (mut state, mut metadata) = (Map::new(), Map::new());
    for (key, want) in desired {
        let stamp = stamps.get(key).cloned().unwrap_or_default();
        let (value, stamp) = match (want, reported.get(key)) {
            (Value::Object(want), Some(Value::Object(have))) => {
                let none = Map::new();
                let (value, stamp) = objects(want, have, stamp.as_object().unwrap_or(&none));
                if value.is_empty() {
                    continue;
                }
                (value.into(), stamp.into())
            }
            (want, Some(have)) if want == have => continue,
            (want, _) => (want.clone(), stamp),
        };
        state.insert(key.clone(), value);
        metadata.insert(key.clone(), stamp);
    }
    (state, metadata)
}
