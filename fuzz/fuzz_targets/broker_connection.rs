//! A stream of a client, given to a real connection in memory: whole, byte by byte and in pieces that the first byte
//! chooses. The same comes of it each time, it ends, and the session is good for an honest client afterwards.
#![no_main]
#![expect(dead_code, reason = "the tests use more of it")]

#[path = "../../crates/broker/tests/it/client.rs"]
mod client;
#[path = "../../crates/broker/tests/it/crash_point.rs"]
mod crash_point;
#[path = "../../crates/broker/tests/it/differential.rs"]
mod differential;
#[path = "../../crates/broker/tests/it/house.rs"]
mod house;
#[path = "../../crates/broker/tests/it/stream.rs"]
mod stream;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| stream::input(bytes));
