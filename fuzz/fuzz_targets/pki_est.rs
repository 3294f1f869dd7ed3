//! EST bodies: any bytes are base64 of something or refused, and what is read is written and read the same.
#![no_main]

use fleetward_pki::est::{self, Layout};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(der) = est::decode(bytes) {
        for layout in [Layout::OneLine, Layout::Lines] {
            assert_eq!(est::decode(est::encode(&der, layout).as_bytes()), Ok(der.clone()));
        }
    }
});
