//! Certificates: any bytes are read or refused, by the reader and by whoever asks whose it is.
#![no_main]

use fleetward_base::Timestamp;
use fleetward_pki::{Certificate, TrustIndex};
use libfuzzer_sys::fuzz_target;
use rustls_pki_types::CertificateDer;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(certificate) = Certificate::parse(bytes) {
        assert_eq!(certificate.der, bytes);
        certificate.identity();
    }
    let nobody = TrustIndex::default();
    assert!(nobody.verify(&CertificateDer::from(bytes), &[], Timestamp::from_secs(1_795_171_980)).is_err());
});
