//! Wrapped root keys, seals and URIs of keys: any bytes are one or refused, and what is read is written and read the same.
#![no_main]

use fleetward_vault::{Envelope, KeyUri, sealed_under};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(envelope) = Envelope::parse(bytes) {
        assert_eq!(envelope.format(), bytes);
    }
    let _ = sealed_under(bytes);
    if let Some(uri) = std::str::from_utf8(bytes).ok().and_then(|text| text.parse::<KeyUri>().ok()) {
        if let Ok(again) = uri.to_string().parse::<KeyUri>() {
            assert_eq!(again, uri);
        }
    }
});
