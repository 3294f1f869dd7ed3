//! Tokens, and evidence in JSON and CBOR: any bytes are read or refused.
#![no_main]

use fleetward_attest::{Evidence, Key, Known, cwt, jwt, verify};
use fleetward_base::Timestamp;
use fleetward_wire::attest::{Format, decode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    cwt::claims(bytes).ok();
    jwt::claims(bytes).ok();
    let (key, now) = (Key::new(Vec::new()), Timestamp::EPOCH);
    cwt::verify(bytes, cwt::Profile::Psa, std::slice::from_ref(&key), &[], now).ok();
    let in_cbor = decode::<Evidence>(Format::Cbor, bytes).ok();
    for evidence in serde_json::from_slice::<Evidence>(bytes).ok().into_iter().chain(in_cbor) {
        let (pcrs, keys) = (std::collections::BTreeSet::new(), std::slice::from_ref(&key));
        let known = Known { activated: None, pcrs: &pcrs, keys, dice_roots: &[], device_key: &[] };
        verify(&evidence, known, &[], now).ok();
    }
});
