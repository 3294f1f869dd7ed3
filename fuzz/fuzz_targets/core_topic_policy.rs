//! Topic policies: any text is read or refused, and what is read answers each question within its bounds: what it covers it
//! meets, and nothing that begins with $ is covered by a wildcard.
#![no_main]

use fleetward_core::topic_policy::Document;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let Ok(document) = serde_json::from_str::<Document>(text) else { return };
    if document.check().is_err() {
        return;
    }
    for template in document.statements.iter().flat_map(|statement| &statement.topics) {
        let pattern = template.fill_any();
        for filter in ["a", "a/b", "a/+/c", "a/#", "+/b", "#", "devices/gw-1/#"] {
            assert!(!pattern.covers(filter) || pattern.meets(filter), "{template} {filter}");
        }
        assert!(template.as_str().starts_with('$') || !pattern.matches("$aws/x"), "{template}");
    }
});
