//! A client's bytes: the broker's decoder reads or refuses any of them, and agrees with a second one on each PUBLISH.
//! The first byte says the version.
#![no_main]

use fleetward_broker::codec::exam;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Some((first, rest)) = bytes.split_first() {
        exam::read_all(rest, first & 1 == 1);
    }
});
