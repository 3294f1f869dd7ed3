//! Tokens and evidence in JSON: any bytes are read or refused.
#![no_main]

use fleetward_attest::{Evidence, Key, Known, cwt, jwt, verify};
use fleetward_base::Timestamp;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    cwt::claims(bytes).ok();
    jwt::claims(bytes).ok();
    let (key, now) = (Key::new(Vec::new()), Timestamp::EPOCH);
    cwt::verify(bytes, cwt::Profile::Psa, std::slice::from_ref(&key), &[], now).ok();
    if let Ok(evidence) = serde_json::from_slice::<Evidence>(bytes) {
        let pcrs = std::collections::BTreeSet::new();
        let known = Known { activated: None, pcrs: &pcrs, keys: &[key], dice_roots: &[], device_key: &[] };
        verify(&evidence, known, &[], now).ok();
    }
});
