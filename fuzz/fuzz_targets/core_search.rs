//! The language in which people ask for devices: any text is read or refused, and what is read can be asked.
#![no_main]

use fleetward_base::Timestamp;
use fleetward_core::registry::Device;
use fleetward_core::search::{Query, Subject};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(query) = Query::parse(text) else { return };
    let device = Device::new("gw-1".parse().expect("a name"), Timestamp::from_secs(1));
    let met = query.matches(Subject { device: &device, online: false });
    let narrowed = query.narrowed();
    // What is narrowed down never leaves out what is met.
    let within = narrowed.prefix.is_none_or(|prefix| "gw-1".starts_with(&prefix)) && narrowed.tags.is_empty();
    assert!(!met || within);
});
