//! Provisioning templates: any text is read or refused, and what is read is evaluated within its bounds.
#![no_main]

use std::collections::BTreeMap;

use fleetward_core::provisioning::Template;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(template) = Template::parse(text) {
        let given = BTreeMap::from([("SerialNumber".to_owned(), "1".to_owned())]);
        let certificate = BTreeMap::from([("AWS::IoT::Certificate::CommonName", "gw-1".to_owned())]);
        if let Ok(plan) = template.evaluate(&given, &certificate) {
            assert!(plan.attributes.values().map(String::len).sum::<usize>() <= 64 * 1024);
        }
    }
});
