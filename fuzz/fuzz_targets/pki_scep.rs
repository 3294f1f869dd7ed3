//! SCEP messages: any bytes are read or refused; what is read is checked and opened, or refused.
#![no_main]

use std::sync::LazyLock;

use fleetward_pki::cms::Holder;
use fleetward_pki::rsa::{RsaKey, RsaSize};
use fleetward_pki::scep::Message;
use libfuzzer_sys::fuzz_target;

static KEY: LazyLock<RsaKey> = LazyLock::new(|| RsaKey::generate(RsaSize::Bits2048).0);

fuzz_target!(|bytes: &[u8]| {
    let Ok(message) = Message::read(bytes) else { return };
    let signer: Holder = message.signer().clone();
    if let Ok(genuine) = message.check() {
        genuine.is_for(&signer);
        genuine.open(&signer, &KEY).ok();
    }
});
