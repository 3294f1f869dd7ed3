//! Where the device's private keys live: in a file, in a TPM, in a PKCS#11 token.
//!
//! There are two places, as there are two certificates. Whatever holds the keys promises one thing to the key store
//! ([`crate::identity`]): when [`Keys::make`] has returned, the key is there after a power cut, and a cut before that leaves
//! either nothing or a whole key in that place, and never touches the other. A key in hardware does not leave it; what is
//! kept on the disk then is the certificate alone.

mod file;
#[cfg(feature = "pkcs11")]
pub mod pkcs11;
pub mod tpm;

use std::fmt;
use std::io;
use std::str::FromStr;
use std::sync::Arc;

use fleetward_pki::key::Signer;

use crate::record::Slot;
use crate::tpm::Place;

pub use file::FileKeys;

/// A key that is there.
pub type DeviceKey = Arc<dyn Signer>;

/// Why a key cannot be made, opened or taken away.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("cannot read or write keys: {0}")]
    Disk(#[from] io::Error),
    #[error("the private key cannot be used")]
    Unusable,
    #[error("the {holder} refuses: {reason}")]
    Holder { holder: &'static str, reason: String },
}

/// What holds the keys. Calls block; one of hardware takes up to some hundred milliseconds.
pub trait Keys: Send + Sync {
    /// Makes a new P-256 key in this place; what was there is gone.
    fn make(&self, place: Slot) -> Result<(), KeyError>;

    /// The key in this place; none where there is none.
    fn open(&self, place: Slot) -> Result<Option<DeviceKey>, KeyError>;

    /// Takes away what is in this place; nothing there is as good.
    fn remove(&self, place: Slot) -> Result<(), KeyError>;
}

/// Where keys are to live, as the command line says it: `file`, `tpm:PLACE` or `pkcs11:MODULE`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Whereabouts {
    /// Beside the certificates, in the data folder.
    #[default]
    File,
    Tpm(Place),
    /// The module's path.
    Pkcs11(String),
}

impl FromStr for Whereabouts {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "file" => Ok(Self::File),
            Some(("tpm", place)) => place.parse().map(Self::Tpm),
            Some(("pkcs11", module)) if module.starts_with('/') => Ok(Self::Pkcs11(module.to_owned())),
            _ => Err(String::from("file, tpm:/dev/tpmrm0 or pkcs11:/path/of/module.so")),
        }
    }
}

impl fmt::Display for Whereabouts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::File => "file",
            Self::Tpm(_) => "TPM",
            Self::Pkcs11(_) => "PKCS#11 token",
        })
    }
}

/// A P-256 signature of two numbers of 32 bytes as X.509 and TLS have it: ECDSA-Sig-Value in DER (RFC 3279 §2.2.3).
pub(crate) fn signature_der(fixed: &[u8]) -> Option<Vec<u8>> {
    let (r, s) = (fixed.get(..32)?, fixed.get(32..64)?);
    if fixed.len() != 64 {
        return None;
    }
    let integer = |number: &[u8]| {
        let zeros = number.iter().take_while(|byte| **byte == 0).count().min(31);
        let number = number.get(zeros..).unwrap_or_default();
        let sign = number.first().is_some_and(|first| *first >= 0x80);
        let mut out = vec![0x02, u8::try_from(number.len() + usize::from(sign)).unwrap_or(0)];
        if sign {
            out.push(0);
        }
        out.extend_from_slice(number);
        out
    };
    let content = [integer(r), integer(s)].concat();
    let mut out = vec![0x30, u8::try_from(content.len()).unwrap_or(0)];
    out.extend_from_slice(&content);
    Some(out)
}

/// The SubjectPublicKeyInfo of a P-256 key with this uncompressed point (RFC 5480 §2).
#[cfg(any(feature = "pkcs11", test))]
pub(crate) fn p256_spki(point: &[u8]) -> Option<Vec<u8>> {
    const HEAD: [u8; 26] = [
        0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48,
        0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
    ];
    (point.len() == 65 && point.first() == Some(&4)).then(|| [&HEAD[..], point].concat())
}

#[cfg(test)]
mod tests {
    use fleetward_pki::key::SoftKey;

    use super::*;

    #[test]
    fn whereabouts_are_read() {
        assert_eq!("file".parse(), Ok(Whereabouts::File));
        assert_eq!("tpm:/dev/tpmrm0".parse(), Ok(Whereabouts::Tpm(Place::Device("/dev/tpmrm0".into()))));
        assert_eq!("tpm:unix:/run/tpm".parse(), Ok(Whereabouts::Tpm(Place::Unix("/run/tpm".into()))));
        assert_eq!("pkcs11:/usr/lib/x.so".parse(), Ok(Whereabouts::Pkcs11("/usr/lib/x.so".into())));
        for bad in ["", "tpm", "tpm:", "pkcs11:", "pkcs11:x.so", "files"] {
            assert!(bad.parse::<Whereabouts>().is_err(), "{bad}");
        }
    }

    #[test]
    fn numbers_of_a_signature_are_as_short_as_they_can_be() {
        let mut fixed = [0; 64];
        fixed[31] = 1;
        fixed[32] = 0x80;
        let der = signature_der(&fixed).expect("64 bytes");
        assert_eq!(der[..5], [0x30, 38, 0x02, 1, 1]);
        assert_eq!(der[5..9], [0x02, 33, 0, 0x80]);
        assert_eq!(signature_der(&[0; 64]).expect("64 bytes"), [0x30, 6, 2, 1, 0, 2, 1, 0]);
        assert_eq!(signature_der(&[0; 63]), None);
        assert_eq!(signature_der(&[0; 65]), None);
    }

    #[test]
    fn a_point_makes_the_key_that_the_library_makes() {
        let (key, _pkcs8) = SoftKey::generate();
        let spki = key.public_spki();
        assert_eq!(p256_spki(&spki[26..]).as_deref(), Some(spki));
        assert_eq!(p256_spki(&[4; 64]), None);
    }
}
