//! A client's bytes, read by the broker's decoder and by another one: the same meaning, or a difference that is known.
//! The first byte says the version (bit 0) and whether the stream begins with a CONNECT (bit 1).
#![no_main]
#![expect(dead_code, reason = "the tests use more of it")]

#[path = "../../crates/broker/tests/it/differential.rs"]
mod differential;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| differential::input(bytes));
