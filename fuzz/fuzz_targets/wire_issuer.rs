//! Answers of other authorities, keys of provisioners, and the request to renew: any bytes are read or refused.
#![no_main]

use fleetward_wire::issuer::{cfssl, step, vault};
use fleetward_wire::renew::RenewRequest;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    drop((cfssl::certificate(bytes), step::certificate(bytes), step::certificates(bytes), vault::certificate(bytes)));
    // What they say when they refuse goes into our log and journal.
    for said in [cfssl::refusal(bytes), step::refusal(bytes), vault::refusal(bytes)].into_iter().flatten() {
        assert!(said.chars().count() <= 300 && !said.chars().any(char::is_control));
    }
    if let Ok(login) = vault::login(bytes) {
        assert_ne!(login.seconds, Some(0));
    }
    if let Some(request) = RenewRequest::parse(bytes) {
        assert_eq!(RenewRequest::parse(&request.to_bytes()), Some(request));
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(key) = step::jwk(text) {
        assert_eq!((key.public.len(), key.private.expose().len()), (65, 32));
    }
    vault::revoke_body(text);
});
