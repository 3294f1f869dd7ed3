//! Shadow updates, one payload a line, in AWS's form or that of the light mode: each is refused or applied, what is stored keeps
//! its invariants, and the history gives the document.
#![no_main]

use fleetward_base::{Timestamp, limits};
use fleetward_core::invariants::{shadow_metadata_fits, shadow_version_grew};
use fleetward_core::shadow::history::apply;
use fleetward_core::shadow::{Document, UpdateRequest, update};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let (mut current, mut played) = (None::<Document>, serde_json::Map::new());
    for (secs, payload) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
        let Ok(request) = UpdateRequest::parse(payload).or_else(|_| UpdateRequest::reported(payload)) else { continue };
        let Ok(applied) = update(current.as_ref(), &request, Timestamp::from_secs(secs)) else { continue };
        shadow_version_grew(current.as_ref(), &applied.document).expect("versions grow");
        shadow_metadata_fits(&applied.document).expect("metadata fits");
        assert!(applied.document.state.to_value().to_string().len() <= limits::SHADOW_STATE_BYTES + 32);
        apply(&mut played, &applied.patch);
        assert_eq!(serde_json::Value::Object(played.clone()), applied.document.state.to_value());
        current = Some(applied.document);
    }
});
