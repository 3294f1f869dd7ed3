//! What the fuzz target was given, given again: its corpus on the stable toolchain.

use std::path::Path;

use fleetward_base::Timestamp;
use fleetward_core::invariants::{shadow_metadata_fits, shadow_version_grew};
use fleetward_core::shadow::{Document, UpdateRequest, update};

#[test]
fn shadows_keep_their_invariants() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/core_shadow");
    for file in std::fs::read_dir(folder).expect("a corpus") {
        let bytes = std::fs::read(file.expect("a file").path()).expect("bytes");
        let mut current: Option<Document> = None;
        for (secs, payload) in (1..).zip(bytes.split(|byte| *byte == b'\n')) {
            let Ok(request) = UpdateRequest::parse(payload) else { continue };
            let Ok(applied) = update(current.as_ref(), &request, Timestamp::from_secs(secs)) else { continue };
            shadow_version_grew(current.as_ref(), &applied.document).expect("versions grow");
            shadow_metadata_fits(&applied.document).expect("metadata fits");
            current = Some(applied.document);
        }
    }
}
