//! OCSP requests: any bytes are read or refused, and what is read keeps to the limits.
#![no_main]

use fleetward_base::limits;
use fleetward_pki::ocsp::Request;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(request) = Request::parse(bytes) {
        assert!((1..=limits::OCSP_CERTIFICATES).contains(&request.certificates.len()));
        assert!(request.nonce.is_none_or(|nonce| (1..=32).contains(&nonce.len())));
    }
});
