//! What an offline root is asked for, and what comes back: any bytes are read or refused, and nothing is taken that the root
//! did not sign.
#![no_main]

use fleetward_base::Timestamp;
use fleetward_pki::offline::{self, Asks, Wanted};
use libfuzzer_sys::fuzz_target;

const ROOT: &[u8] = include_bytes!("../corpus/pki_offline/root.der");

fuzz_target!(|bytes: &[u8]| {
    let root = offline::read_root(ROOT).expect("a root");
    let request = offline::read(bytes, &root);
    let (subject, spki) = match &request {
        Ok(request) => (request.subject.as_slice(), request.spki.as_slice()),
        Err(_) => (root.subject.as_slice(), root.spki.as_slice()),
    };
    let wanted = Wanted { root: &root, asks: Asks::Cross, subject, spki, key_id: None };
    let taken = offline::check(bytes, &wanted, Timestamp::from_secs(1_795_171_980));
    // Of what there is, only the root itself was signed by it, and that is never asked for.
    assert!(taken.is_err() || bytes == ROOT);
});
