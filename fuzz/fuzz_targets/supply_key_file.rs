//! Key files: any bytes are a key or refused, and a key writes and reads back the same.
#![no_main]

use fleetward_supply::{SigningKey, VerifyingKey};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(key) = VerifyingKey::from_pem(bytes) {
        assert_eq!(VerifyingKey::from_pem(key.to_pem().as_bytes()), Ok(key));
    }
    if let Ok(key) = SigningKey::from_pem(bytes) {
        let again = SigningKey::from_pem(key.to_pem().expose().as_bytes()).expect("our own file");
        assert_eq!(again.verifying_key(), key.verifying_key());
    }
});
