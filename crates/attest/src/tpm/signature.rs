//! TPMT_SIGNATURE (TPM 2.0 Part 2 §11.3.4), and whether it holds.
//!
//! RSASSA, RSAPSS and ECDSA with SHA-256 or SHA-384; a curve goes with the digest of its size. SHA-1 is refused.

use aws_lc_rs::signature as lc;

use super::hash::Hash;
use super::public::{Curve, ECDSA, Key, Public, RSAPSS, RSASSA};
use super::wire::{Malformed, Reader};

/// A signature that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    pub scheme: u16,
    pub hash: Hash,
    /// Of ECDSA: r and s as they came.
    parts: Vec<Vec<u8>>,
}

/// The signature is not one of this key over this message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not fit the key")]
pub struct Wrong;

impl Signature {
    /// # Errors
    /// [`Malformed`] where it is no TPMT_SIGNATURE of a kind that counts, with nothing after it.
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new("TPMT_SIGNATURE with SHA-256 or SHA-384", bytes);
        let scheme = reader.u16()?;
        let hash = Hash::from_id(reader.u16()?).ok_or_else(|| reader.fail())?;
        let parts = match scheme {
            RSASSA | RSAPSS => vec![reader.sized()?.to_vec()],
            ECDSA => vec![reader.sized()?.to_vec(), reader.sized()?.to_vec()],
            _ => return Err(reader.fail()),
        };
        reader.finish()?;
        Ok(Self { scheme, hash, parts })
    }

    /// # Errors
    /// [`Wrong`].
    pub fn verify(&self, key: &Public, message: &[u8]) -> Result<(), Wrong> {
        if key.scheme.is_some_and(|bound| bound != (self.scheme, self.hash)) {
            return Err(Wrong);
        }
        let algorithm: &dyn lc::VerificationAlgorithm = match (&key.key, self.scheme, self.hash) {
            (Key::Rsa { .. }, RSASSA, Hash::Sha256) => &lc::RSA_PKCS1_2048_8192_SHA256,
            (Key::Rsa { .. }, RSASSA, Hash::Sha384) => &lc::RSA_PKCS1_2048_8192_SHA384,
            (Key::Rsa { .. }, RSAPSS, Hash::Sha256) => &lc::RSA_PSS_2048_8192_SHA256,
            (Key::Rsa { .. }, RSAPSS, Hash::Sha384) => &lc::RSA_PSS_2048_8192_SHA384,
            (Key::Ecc { curve: Curve::P256, .. }, ECDSA, Hash::Sha256) => &lc::ECDSA_P256_SHA256_FIXED,
            (Key::Ecc { curve: Curve::P384, .. }, ECDSA, Hash::Sha384) => &lc::ECDSA_P384_SHA384_FIXED,
            _ => return Err(Wrong),
        };
        let signature = match &key.key {
            Key::Rsa { .. } => self.parts.concat(),
            Key::Ecc { curve, .. } => self.fixed(curve.size()).ok_or(Wrong)?,
        };
        lc::UnparsedPublicKey::new(algorithm, key.raw_key()).verify(message, &signature).map_err(|_| Wrong)
    }

    /// r and s with `size` bytes each; RSA's is one part.
    pub fn fixed(&self, size: usize) -> Option<Vec<u8>> {
        let mut out = Vec::with_capacity(size * 2);
        for part in &self.parts {
            out.resize(out.len() + size.checked_sub(part.len())?, 0);
            out.extend_from_slice(part);
        }
        Some(out)
    }
}
