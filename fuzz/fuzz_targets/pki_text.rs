//! What people hand around as text: PEM, and the signed heads of a log. Any text is read or refused, and PEM is written and
//! read the same.
#![no_main]

use fleetward_pki::checkpoint::LogVerifier;
use fleetward_pki::pem;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    for label in [pem::CERTIFICATE, pem::CERTIFICATE_REQUEST] {
        if let Ok(blocks) = pem::read(label, text) {
            let written: String = blocks.iter().map(|der| pem::write(label, der)).collect();
            assert_eq!(pem::read(label, &written), Ok(blocks));
        }
    }
    // The first line is a key, the rest a note.
    let (key, note) = text.split_once('\n').unwrap_or((text, ""));
    if let Ok(verifier) = key.parse::<LogVerifier>() {
        assert_eq!(verifier.to_string().parse(), Ok(verifier.clone()));
        drop(verifier.open(note));
    }
});
