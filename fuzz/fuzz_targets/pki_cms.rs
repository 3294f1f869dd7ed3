//! certs-only messages: any bytes are read or refused, and what is read is written and read the same.
#![no_main]

use fleetward_pki::cms;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(certificates) = cms::certificates(bytes) {
        let list: Vec<&[u8]> = certificates.iter().map(Vec::as_slice).collect();
        assert_eq!(cms::certificates(&cms::certs_only(&list)), Ok(certificates.clone()));
    }
});
