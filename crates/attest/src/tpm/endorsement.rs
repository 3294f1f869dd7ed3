//! Whose TPM it is: the certificate of an endorsement key, from a maker whose root is configured; or no certificate, and
//! a key that somebody put on a list.
//!
//! Nothing is fetched: intermediates come from the device, roots from the configuration. Endorsement certificates have a
//! critical subjectAltName that holds a directoryName (TCG EK Credential Profile 2.5 §3.1.9) and often the algorithm
//! RSAES-OAEP for their key; both are in order here. What they must have is the usage 2.23.133.8.1.

use const_oid::ObjectIdentifier;
use der::{Decode, Encode};
use fleetward_base::Timestamp;
use fleetward_pki::Certificate;
use rustls_pki_types::{CertificateDer, UnixTime};
use spki::SubjectPublicKeyInfoRef;
use webpki::{EndEntityCert, KeyUsage};
use x509_cert::ext::pkix::ExtendedKeyUsage;

use super::hash::Hash;
use super::public::{Key, Public};

/// tcg-kp-EKCertificate, 2.23.133.8.1, without tag and length.
const EK_CERTIFICATE: &[u8] = &[0x67, 0x81, 0x05, 0x08, 0x01];
const RSA: [ObjectIdentifier; 2] = [
    ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1"),
    // RSAES-OAEP, as some makers have it.
    ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.7"),
];

/// Why a certificate says nothing of an endorsement key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadEndorsement {
    #[error("the certificate of the endorsement key cannot be read")]
    Malformed,
    #[error("the certificate is about another key")]
    OtherKey,
    #[error("the certificate is not one for endorsement keys")]
    Usage,
    #[error("the certificate does not come from a configured root: {0}")]
    Chain(String),
}

/// What identifies the TPM: SHA-256 of its endorsement key as a SubjectPublicKeyInfo.
pub fn identity(key: &Public) -> Vec<u8> {
    Hash::Sha256.digest(&[&key.spki()])
}

/// Checks that `certificate` is about `key` and comes from one of `roots`; the fingerprint of that root.
///
/// # Errors
/// [`BadEndorsement`].
pub fn verify(
    key: &Public,
    certificate: &[u8],
    intermediates: &[Vec<u8>],
    roots: &[Vec<u8>],
    now: Timestamp,
) -> Result<String, BadEndorsement> {
    let certificate = trimmed(certificate);
    let read = Certificate::parse(certificate).map_err(|_| BadEndorsement::Malformed)?;
    if !same_key(&read.spki, key) {
        return Err(BadEndorsement::OtherKey);
    }
    if !names_a_usage(certificate) {
        return Err(BadEndorsement::Usage);
    }
    // Where a certificate of the path names usages, it must be among them; most makers' intermediates name none.
    let usage = KeyUsage::required_if_present(EK_CERTIFICATE);
    chain(certificate, intermediates, roots, now, usage).map_err(BadEndorsement::Chain)
}

fn names_a_usage(certificate: &[u8]) -> bool {
    let read = x509_cert::Certificate::from_der(certificate);
    read.is_ok_and(|read| read.tbs_certificate.get::<ExtendedKeyUsage>().is_ok_and(|usage| usage.is_some()))
}

/// What an index of NV memory holds may go on after the certificate.
fn trimmed(certificate: &[u8]) -> &[u8] {
    let length = match certificate {
        [0x30, 0x82, high, low, ..] => usize::from(*high) << 8 | usize::from(*low),
        _ => return certificate,
    };
    certificate.get(..length + 4).unwrap_or(certificate)
}

fn same_key(spki: &[u8], key: &Public) -> bool {
    let Ok(info) = SubjectPublicKeyInfoRef::from_der(spki) else { return false };
    match &key.key {
        Key::Rsa { .. } => {
            RSA.contains(&info.algorithm.oid)
                && info.subject_public_key.as_bytes().is_some_and(|bits| bits == key.raw_key())
        }
        Key::Ecc { .. } => info.to_der().is_ok_and(|der| der == key.spki()),
    }
}

/// Builds a path from `leaf` to one of `roots`; the fingerprint of the root that it ends in, or why there is none.
pub(crate) fn chain(
    leaf: &[u8],
    intermediates: &[Vec<u8>],
    roots: &[Vec<u8>],
    now: Timestamp,
    usage: KeyUsage,
) -> Result<String, String> {
    let leaf = CertificateDer::from(leaf);
    let leaf = EndEntityCert::try_from(&leaf).map_err(|error| error.to_string())?;
    let intermediates: Vec<CertificateDer<'_>> =
        intermediates.iter().map(|der| CertificateDer::from(der.as_slice())).collect();
    let seconds = u64::try_from(now.secs()).unwrap_or_default();
    let time = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
    let mut reason = String::from("no root is configured");
    for root in roots {
        let root_der = CertificateDer::from(root.as_slice());
        let Ok(anchor) = webpki::anchor_from_trusted_cert(&root_der) else { continue };
        let anchors = [anchor];
        let algorithms = webpki::ALL_VERIFICATION_ALGS;
        match leaf.verify_for_usage(algorithms, &anchors, &intermediates, time, usage, None, None) {
            Ok(_) => return Ok(fleetward_pki::certificate::fingerprint(root)),
            Err(error) => reason = error.to_string(),
        }
    }
    Err(reason)
}
