//! Signatures over tokens: three algorithms, each with its one kind of key.
//!
//! The algorithm is named by the token and must be in this list; the key must be of its kind. `none`, HMAC and RSA are not
//! in it, so a token cannot choose how little it proves.

use aws_lc_rs::signature::{self as lc, UnparsedPublicKey};
use const_oid::ObjectIdentifier;
use der::Decode;
use spki::SubjectPublicKeyInfoRef;

const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// How a token is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    Es256,
    Es384,
    EdDsa,
}

impl Algorithm {
    /// As JOSE names it.
    pub fn from_jose(name: &str) -> Option<Self> {
        match name {
            "ES256" => Some(Self::Es256),
            "ES384" => Some(Self::Es384),
            "EdDSA" => Some(Self::EdDsa),
            _ => None,
        }
    }
}

/// Whether `signature` (r and s one after the other, or Ed25519's) is one over `message` by the key in `spki`.
pub fn holds(algorithm: Algorithm, spki: &[u8], message: &[u8], signature: &[u8]) -> bool {
    let Ok(info) = SubjectPublicKeyInfoRef::from_der(spki) else { return false };
    let Some(key) = info.subject_public_key.as_bytes() else { return false };
    let kind = (info.algorithm.oid, info.algorithm.parameters_oid().ok());
    let scheme: &dyn lc::VerificationAlgorithm = match (algorithm, kind) {
        (Algorithm::Es256, (EC_PUBLIC_KEY, Some(P256))) => &lc::ECDSA_P256_SHA256_FIXED,
        (Algorithm::Es384, (EC_PUBLIC_KEY, Some(P384))) => &lc::ECDSA_P384_SHA384_FIXED,
        (Algorithm::EdDsa, (ED25519, None)) => &lc::ED25519,
        _ => return false,
    };
    UnparsedPublicKey::new(scheme, key).verify(message, signature).is_ok()
}
