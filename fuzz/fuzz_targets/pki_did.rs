//! Decentralised identifiers, their documents, and signed statements: any text is read or refused.
#![no_main]

use fleetward_pki::did::{Did, document};
use fleetward_pki::jws::{Jws, VerifyingKey};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    drop(document::authentication("did:web:example.com", bytes));
    drop(VerifyingKey::from_spki(bytes));
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(Did::Web { url, .. }) = Did::parse(text) {
        assert!(url.starts_with("https://"));
    }
    drop(Jws::parse(text));
});
