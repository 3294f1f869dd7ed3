//! Shadow updates, one payload a line: each is refused or applied, and what is stored keeps its invariants.
#![no_main]

use fleetward_base::{Timestamp, limits};
use fleetward_core::invariants::{shadow_metadata_fits, shadow_version_grew};
use fleetward_core::shadow::{Document, UpdateRequest, update};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let mut current: Option<Document> = None;
    for (secs, payload) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
        let Ok(request) = UpdateRequest::parse(payload) else { continue };
        let Ok(applied) = update(current.as_ref(), &request, Timestamp::from_secs(secs)) else { continue };
        shadow_version_grew(current.as_ref(), &applied.document).expect("versions grow");
        shadow_metadata_fits(&applied.document).expect("metadata fits");
        assert!(applied.document.state.to_value().to_string().len() <= limits::SHADOW_STATE_BYTES + 32);
        current = Some(applied.document);
    }
});
