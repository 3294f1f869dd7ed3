//! Documents of jobs that are lists of steps: any JSON is read or refused, and what was read is kept as it is.
#![no_main]

use fleetward_wire::aws::steps::Document;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(value) = serde_json::from_slice(bytes) else { return };
    if let Ok(document) = Document::parse(&value) {
        let kept = serde_json::to_vec(&document).expect("JSON");
        assert_eq!(serde_json::from_slice::<Document>(&kept).expect("own output"), document);
    }
});
