//! The manifest reader: any bytes are read or refused, and what is read writes and reads back the same.
#![no_main]

use fleetward_supply::Manifest;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(manifest) = Manifest::parse(bytes) {
        let canonical = manifest.canonical();
        let again = Manifest::parse(&canonical).expect("the canonical form is a manifest");
        assert_eq!(again.canonical(), canonical);
    }
});
