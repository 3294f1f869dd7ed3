//! Tokens, their claims, and sets of keys: any bytes are read or refused, and what nobody signed is not believed.
#![no_main]

use fleetward_pki::jwt::{Algorithm, Claims, KeySet, Token};
use libfuzzer_sys::fuzz_target;

const KEYS: &[u8] = include_bytes!("../corpus/pki_jwt/keys.json");

fuzz_target!(|bytes: &[u8]| {
    drop(KeySet::parse(bytes));
    drop(Claims::parse(bytes));
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(token) = Token::parse(text) else { return };
    token.unverified_issuer();
    let keys = KeySet::parse(KEYS).expect("keys");
    let all = [Algorithm::Es256, Algorithm::Es384, Algorithm::EdDsa, Algorithm::Rs256];
    if token.verified(&keys, &all).is_ok() {
        assert!(text.starts_with("eyJhbGciOiJFUzI1NiJ9."), "only the example of the standard is signed by these");
    }
});
