//! Keys: who signs, which public keys are good enough, and whether a signature holds.
//!
//! Signatures are checked with one table, that of the chain verification, so that a request cannot be signed in a way
//! that a certificate cannot. SHA-1 and MD5 are not in it. RSA keys below 2048 bits, above 4096 (a denial of service)
//! or with a public exponent below 65537 are refused, and so is every curve but P-256, P-384 and Ed25519.

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use base::Secret;
use const_oid::ObjectIdentifier;
use der::asn1::UintRef;
use der::{Decode, Encode, Reader, SliceReader};
use spki::{AlgorithmIdentifierRef, SubjectPublicKeyInfoRef};

use fleetward_base as base;

use crate::asn1;

const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
const RSA: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
const RSA_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.11");
const ECDSA_SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.4.3.2");
/// ecdsa-with-SHA1, and RSA with MD2, MD5 and SHA-1 (both names of the last).
const BROKEN_DIGESTS: [ObjectIdentifier; 5] = [
    ObjectIdentifier::new_unwrap("1.2.840.10045.4.1"),
    ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.2"),
    ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.4"),
    ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.5"),
    ObjectIdentifier::new_unwrap("1.3.14.3.2.29"),
];
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=4096;

/// What a [`Signer`] signs with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    EcdsaP256Sha256,
    Ed25519,
    RsaPkcs1Sha256,
}

impl Algorithm {
    /// Its AlgorithmIdentifier; the parameters are absent (RFC 5758 §3.2, RFC 8410 §3), with RSA a NULL (RFC 4055 §5).
    pub fn identifier(self) -> Vec<u8> {
        match self {
            Self::EcdsaP256Sha256 => asn1::sequence(&[&asn1::oid(ECDSA_SHA256)]),
            Self::Ed25519 => asn1::sequence(&[&asn1::oid(ED25519)]),
            Self::RsaPkcs1Sha256 => asn1::sequence(&[&asn1::oid(RSA_SHA256), &asn1::NULL]),
        }
    }
}

/// The key could not sign: its token is away, or the library failed.
#[derive(Debug, thiserror::Error)]
#[error("the key could not sign: {0}")]
pub struct SignError(pub String);

/// A private key that signs and is not shown.
pub trait Signer: Send + Sync {
    fn algorithm(&self) -> Algorithm;

    /// The public key as a DER SubjectPublicKeyInfo.
    fn public_spki(&self) -> &[u8];

    /// Signs the whole message (it is hashed here), giving what a certificate has in its signature.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError>;
}

/// A P-256 key in memory.
pub struct SoftKey {
    pair: EcdsaKeyPair,
    spki: Vec<u8>,
}

/// A private key that cannot be read or is of another kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a P-256 private key in PKCS#8")]
pub struct BadKey;

impl SoftKey {
    /// A new key and its PKCS#8, which the caller keeps where nobody else reads it.
    pub fn generate() -> (Self, Secret<Vec<u8>>) {
        let document = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &SystemRandom::new())
            .expect("the operating system has a random source");
        let key = Self::from_pkcs8(document.as_ref()).expect("the library reads what it wrote");
        (key, Secret::new(document.as_ref().to_vec()))
    }

    /// # Errors
    /// [`BadKey`] where it is not a P-256 key in PKCS#8 DER.
    pub fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, BadKey> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, pkcs8).map_err(|_| BadKey)?;
        let spki = pair.public_key().as_der().map_err(|_| BadKey)?.as_ref().to_vec();
        Ok(Self { pair, spki })
    }
}

impl Signer for SoftKey {
    fn algorithm(&self) -> Algorithm {
        Algorithm::EcdsaP256Sha256
    }

    fn public_spki(&self) -> &[u8] {
        &self.spki
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let signature = self.pair.sign(&SystemRandom::new(), message).map_err(|e| SignError(e.to_string()))?;
        Ok(signature.as_ref().to_vec())
    }
}

/// A public key of a kind that may be certified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    P256,
    P384,
    Ed25519,
    Rsa { bits: usize },
}

/// Why a public key is not certified.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WeakKey {
    #[error("the public key cannot be read")]
    Malformed,
    #[error("keys of this kind are not accepted; use P-256, P-384, Ed25519 or RSA of 2048 to 4096 bits")]
    Kind,
    #[error("RSA keys of {bits} bits are not accepted; 2048 to 4096 are")]
    RsaBits { bits: usize },
    #[error("the RSA key is not sound: the exponent must be odd and at least 65537, the modulus odd")]
    RsaNumbers,
}

/// Decides whether a SubjectPublicKeyInfo may be certified. That a point is on its curve is found out by the signature
/// check, which every request goes through.
///
/// # Errors
/// [`WeakKey`] says what is wrong with it.
pub fn judge(spki_der: &[u8]) -> Result<KeyKind, WeakKey> {
    let spki = SubjectPublicKeyInfoRef::from_der(spki_der).map_err(|_| WeakKey::Malformed)?;
    let key = spki.subject_public_key.as_bytes().ok_or(WeakKey::Malformed)?;
    match spki.algorithm.oid {
        EC_PUBLIC_KEY => match spki.algorithm.parameters_oid().map_err(|_| WeakKey::Kind)? {
            P256 if key.len() == 65 && key.first() == Some(&4) => Ok(KeyKind::P256),
            P384 if key.len() == 97 && key.first() == Some(&4) => Ok(KeyKind::P384),
            P256 | P384 => Err(WeakKey::Malformed),
            _ => Err(WeakKey::Kind),
        },
        ED25519 if key.len() == 32 => Ok(KeyKind::Ed25519),
        RSA => judge_rsa(key),
        _ => Err(WeakKey::Kind),
    }
}

fn judge_rsa(key: &[u8]) -> Result<KeyKind, WeakKey> {
    let (modulus, exponent) = rsa_numbers(key).map_err(|_| WeakKey::Malformed)?;
    let bits = modulus.first().map_or(0, |first| modulus.len() * 8 - first.leading_zeros() as usize);
    if !RSA_BITS.contains(&bits) {
        return Err(WeakKey::RsaBits { bits });
    }
    let odd = |number: &[u8]| number.last().is_some_and(|last| last & 1 == 1);
    // At least 65537, and at most 32 bits: a long exponent makes each check of a signature dear.
    let large_enough = (3..=4).contains(&exponent.len());
    if odd(modulus) && odd(exponent) && large_enough { Ok(KeyKind::Rsa { bits }) } else { Err(WeakKey::RsaNumbers) }
}

fn rsa_numbers(key: &[u8]) -> der::Result<(&[u8], &[u8])> {
    let mut reader = SliceReader::new(key)?;
    let numbers = reader.sequence(|inner| Ok((UintRef::decode(inner)?.as_bytes(), UintRef::decode(inner)?.as_bytes())));
    let numbers = numbers?;
    reader.finish(numbers)
}

/// Why a signature is not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSignature {
    #[error("signatures with SHA-1 or MD5 are not accepted")]
    BrokenDigest,
    #[error("signatures with this algorithm are not accepted")]
    Algorithm,
    #[error("the signature does not fit the public key")]
    Wrong,
}

/// Checks `signature` over `message` under the key in `spki_der`.
///
/// # Errors
/// [`BadSignature`]: of a kind that is not accepted, or wrong.
pub fn check_signature(
    spki_der: &[u8],
    algorithm: &AlgorithmIdentifierRef<'_>,
    message: &[u8],
    signature: &[u8],
) -> Result<(), BadSignature> {
    if BROKEN_DIGESTS.contains(&algorithm.oid) {
        return Err(BadSignature::BrokenDigest);
    }
    let spki = SubjectPublicKeyInfoRef::from_der(spki_der).map_err(|_| BadSignature::Algorithm)?;
    let key = spki.subject_public_key.as_bytes().ok_or(BadSignature::Algorithm)?;
    let (key_id, signature_id) = (content(&spki.algorithm)?, content(algorithm)?);
    let mut known = webpki::ALL_VERIFICATION_ALGS.iter().filter(|candidate| {
        candidate.public_key_alg_id().as_ref() == key_id && candidate.signature_alg_id().as_ref() == signature_id
    });
    let scheme = known.next().ok_or(BadSignature::Algorithm)?;
    scheme.verify_signature(key, message, signature).map_err(|_| BadSignature::Wrong)
}

/// The content of an AlgorithmIdentifier, without the tag and length of its SEQUENCE: how the table has them.
fn content(algorithm: &AlgorithmIdentifierRef<'_>) -> Result<Vec<u8>, BadSignature> {
    let mut out = algorithm.oid.to_der().map_err(|_| BadSignature::Algorithm)?;
    if let Some(parameters) = &algorithm.parameters {
        parameters.encode_to_vec(&mut out).map_err(|_| BadSignature::Algorithm)?;
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_signs_what_its_public_half_accepts() {
        let (key, pkcs8) = SoftKey::generate();
        let again = SoftKey::from_pkcs8(pkcs8.expose()).expect("its own PKCS#8");
        assert_eq!(key.public_spki(), again.public_spki());
        assert_eq!(judge(key.public_spki()), Ok(KeyKind::P256));
        let signature = key.sign(b"message").expect("signs");
        let identifier = key.algorithm().identifier();
        let algorithm = AlgorithmIdentifierRef::from_der(&identifier).expect("an identifier");
        assert_eq!(check_signature(again.public_spki(), &algorithm, b"message", &signature), Ok(()));
        assert_eq!(check_signature(again.public_spki(), &algorithm, b"massage", &signature), Err(BadSignature::Wrong));
    }

    #[test]
    fn other_keys_are_not_read_as_p256() {
        assert_eq!(SoftKey::from_pkcs8(b"").err(), Some(BadKey));
        let ed25519 = aws_lc_rs::signature::Ed25519KeyPair::generate().expect("random source");
        assert_eq!(SoftKey::from_pkcs8(ed25519.to_pkcs8().expect("PKCS#8").as_ref()).err(), Some(BadKey));
    }

    #[test]
    fn rsa_numbers_are_held_to_their_rule() {
        let spki = |modulus: &[u8], exponent: &[u8]| {
            let key = asn1::sequence(&[&asn1::unsigned(modulus), &asn1::unsigned(exponent)]);
            let algorithm = asn1::sequence(&[&asn1::oid(RSA), &[5, 0]]);
            asn1::sequence(&[&algorithm, &asn1::bits(&key)])
        };
        let modulus = [0xff; 256];
        assert_eq!(judge(&spki(&modulus, &[1, 0, 1])), Ok(KeyKind::Rsa { bits: 2048 }));
        assert_eq!(judge(&spki(&[0xff; 512], &[1, 0, 1])), Ok(KeyKind::Rsa { bits: 4096 }));
        assert_eq!(judge(&spki(&[0xff; 128], &[1, 0, 1])), Err(WeakKey::RsaBits { bits: 1024 }));
        assert_eq!(judge(&spki(&[0x7f; 256], &[1, 0, 1])), Err(WeakKey::RsaBits { bits: 2047 }));
        assert_eq!(judge(&spki(&[0xff; 1024], &[1, 0, 1])), Err(WeakKey::RsaBits { bits: 8192 }));
        for exponent in [&[3][..], &[0xff, 0xff], &[1, 0, 0], &[1, 0, 0, 0, 1]] {
            assert_eq!(judge(&spki(&modulus, exponent)), Err(WeakKey::RsaNumbers), "{exponent:?}");
        }
        let mut even = modulus;
        even[255] = 0xfe;
        assert_eq!(judge(&spki(&even, &[1, 0, 1])), Err(WeakKey::RsaNumbers));
    }
}
