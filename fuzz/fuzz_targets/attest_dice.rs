//! DICE: the extension and the chain. Any bytes are read or refused.
#![no_main]

use fleetward_attest::dice::{self, Chain};
use fleetward_base::Timestamp;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    dice::tcb_info(bytes).ok();
    let chain = Chain { certificates: vec![bytes.to_vec()], signature: Vec::new() };
    dice::verify(&chain, &[bytes.to_vec()], &[], Timestamp::EPOCH).ok();
});
