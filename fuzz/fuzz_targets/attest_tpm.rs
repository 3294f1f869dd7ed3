//! Structures of TPMs, their answers and event logs: any bytes are read or refused.
#![no_main]

use fleetward_attest::tpm::{Public, Signature, Statement, client, log};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(public) = Public::parse(bytes) {
        assert_eq!(public.bytes(), bytes);
        public.name();
        public.spki();
    }
    Statement::parse(bytes).ok();
    Signature::parse(bytes).ok();
    client::parse_response(0, bytes, 1).ok();
    if let Ok(log) = log::parse(bytes) {
        log.replay();
    }
});
