//! Certificate requests: any bytes are read or refused, and what is read is bound to one key, subject and tenant.
#![no_main]

use fleetward_pki::csr;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(request) = csr::parse(bytes) {
        let (tenant, device) = ("acme".parse().expect("a name"), "gw-1".parse().expect("a name"));
        request.check_identity(&tenant, &device).ok();
        assert_eq!(request.request_hash(&tenant), csr::parse(bytes).expect("the same bytes").request_hash(&tenant));
    }
});
