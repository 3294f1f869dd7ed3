//! Where reported does not do what desired asks, and is still asked to.

use serde_json::{Map, Value};

use super::Document;
use super::oscillation::{self, Watch};

/// The difference, with the metadata that desired has for it.
#[derive(Clone, Debug, PartialEq)]
pub struct Delta {
    pub state: Map<String, Value>,
    pub metadata: Map<String, Value>,
}

/// Every key of desired that reported lacks or has otherwise; `None` where there is none. Keys that only reported has never
/// appear, nor what oscillates.
pub(super) fn of(document: &Document) -> Option<Delta> {
    let desired = document.state.desired.as_ref()?;
    let empty = Map::new();
    let reported = document.state.reported.as_ref().unwrap_or(&empty);
    let stamps = document.metadata.desired.as_ref().unwrap_or(&empty);
    let (state, metadata) = objects(desired, reported, stamps, (&document.watch, &mut String::new()));
    (!state.is_empty()).then_some(Delta { state, metadata })
}

fn objects(
    desired: &Map<String, Value>,
    reported: &Map<String, Value>,
    stamps: &Map<String, Value>,
    (watch, path): (&Watch, &mut String),
) -> (Map<String, Value>, Map<String, Value>) {
    let (mut state, mut metadata) = (Map::new(), Map::new());
    for (key, want) in desired {
        let have = reported.get(key);
        if have == Some(want) {
            continue;
        }
        let stamp = stamps.get(key).cloned().unwrap_or_default();
        let length = path.len();
        oscillation::push(path, key);
        let differs = match (want, have) {
            (Value::Object(want), Some(Value::Object(have))) => {
                let none = Map::new();
                let (value, stamp) = objects(want, have, stamp.as_object().unwrap_or(&none), (watch, &mut *path));
                (!value.is_empty()).then(|| (value.into(), stamp.into()))
            }
            (want, _) => (!watch.oscillates(path)).then(|| (want.clone(), stamp)),
        };
        path.truncate(length);
        if let Some((value, stamp)) = differs {
            state.insert(key.clone(), value);
            metadata.insert(key.clone(), stamp);
        }
    }
    (state, metadata)
}
