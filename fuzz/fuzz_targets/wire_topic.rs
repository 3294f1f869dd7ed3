//! Reserved topics: any text is one or is not, and one that is reads the same when it is written.
#![no_main]

use fleetward_wire::attest;
use fleetward_wire::aws::topic;
use fleetward_wire::light;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Some(topic) = topic::parse(text) {
        assert_eq!(topic.to_string(), text);
    }
    if let Some(topic) = attest::parse(text) {
        assert_eq!(topic.to_string(), text);
    }
    if let Some((device, section)) = light::parse(text) {
        assert_eq!(light::topic(device, section), text);
    }
});
