//! RSA keys of our own: those of registration authorities, which SCEP has keys transported to (RFC 8894 §2.1.2).
//!
//! A wrapped key is always unwrapped to something. Whether its padding was right, its length, or the ciphertext itself:
//! what does not unwrap gives a key that is made of the ciphertext and a secret of this key, the same one each time, so
//! that whoever sends altered messages learns nothing from the answer, nor from asking twice (Bleichenbacher's attack;
//! implicit rejection). Signatures are RSA PKCS#1 v1.5 with SHA-256, which every client of SCEP checks.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::hmac;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{
    KeySize, OAEP_SHA256_MGF1SHA256, OAEP_SHA384_MGF1SHA384, OAEP_SHA512_MGF1SHA512, OaepPrivateDecryptingKey,
    Pkcs1PrivateDecryptingKey, Pkcs1PublicEncryptingKey, PrivateDecryptingKey, PublicEncryptingKey,
};
use aws_lc_rs::signature::{KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use base::Secret;

use fleetward_base as base;

use crate::key::{Algorithm, KeyKind, SignError, Signer, judge};

/// How long a new key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RsaSize {
    Bits2048,
    Bits3072,
}

/// How a content key was wrapped for an RSA key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// RSAES-PKCS1-v1_5 (RFC 3370 §4.2.1): what the deployed clients send.
    Pkcs1,
    /// RSAES-OAEP with this hash in both places (RFC 3560).
    Oaep(OaepHash),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OaepHash {
    Sha256,
    Sha384,
    Sha512,
}

/// An RSA key in memory.
pub struct RsaKey {
    pair: RsaKeyPair,
    pkcs1: Pkcs1PrivateDecryptingKey,
    oaep: OaepPrivateDecryptingKey,
    spki: Vec<u8>,
    rejection: hmac::Key,
}

/// A private key that cannot be read or is of another kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an RSA private key of 2048 bits or more in PKCS#8")]
pub struct BadRsaKey;

impl RsaKey {
    /// A new key and its PKCS#8, which the caller keeps where nobody else reads it. Takes some tenths of a second.
    pub fn generate(size: RsaSize) -> (Self, Secret<Vec<u8>>) {
        let size = match size {
            RsaSize::Bits2048 => KeySize::Rsa2048,
            RsaSize::Bits3072 => KeySize::Rsa3072,
        };
        let made = PrivateDecryptingKey::generate(size).expect("the operating system has a random source");
        let document = made.as_der().expect("the library writes what it made");
        let pkcs8 = Secret::new(document.as_ref().to_vec());
        (Self::from_pkcs8(pkcs8.expose()).expect("the library reads what it wrote"), pkcs8)
    }

    /// # Errors
    /// [`BadRsaKey`] where it is not an RSA key in PKCS#8 DER, or too short.
    pub fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, BadRsaKey> {
        let pair = RsaKeyPair::from_pkcs8(pkcs8).map_err(|_| BadRsaKey)?;
        let key = PrivateDecryptingKey::from_pkcs8(pkcs8).map_err(|_| BadRsaKey)?;
        let spki = pair.public_key().as_der().map_err(|_| BadRsaKey)?.as_ref().to_vec();
        // Of the private key and nothing else, so that it is the same after each start.
        let secret = Secret::new(digest(&SHA256, pkcs8).as_ref().to_vec());
        Ok(Self {
            pair,
            pkcs1: Pkcs1PrivateDecryptingKey::new(key.clone()).map_err(|_| BadRsaKey)?,
            oaep: OaepPrivateDecryptingKey::new(key).map_err(|_| BadRsaKey)?,
            spki,
            rejection: hmac::Key::new(hmac::HMAC_SHA256, secret.expose()),
        })
    }

    /// The key of `length` bytes (32 at most) in `wrapped`, or one that nobody knows; see the head of this module.
    pub(crate) fn unwrap(&self, transport: Transport, wrapped: &[u8], length: usize) -> Secret<Vec<u8>> {
        let mut room = Secret::new(vec![0; self.pkcs1.min_output_size()]);
        let unwrapped = match transport {
            Transport::Pkcs1 => self.pkcs1.decrypt(wrapped, room.expose_mut()),
            Transport::Oaep(OaepHash::Sha256) => {
                self.oaep.decrypt(&OAEP_SHA256_MGF1SHA256, wrapped, room.expose_mut(), None)
            }
            Transport::Oaep(OaepHash::Sha384) => {
                self.oaep.decrypt(&OAEP_SHA384_MGF1SHA384, wrapped, room.expose_mut(), None)
            }
            Transport::Oaep(OaepHash::Sha512) => {
                self.oaep.decrypt(&OAEP_SHA512_MGF1SHA512, wrapped, room.expose_mut(), None)
            }
        };
        let found = unwrapped.map_or(0, |key| key.len());
        let instead = hmac::sign(&self.rejection, wrapped);
        let mask: u8 = if found == length { 0xff } else { 0 };
        // Both are always there and always read; only the mask says which one it is.
        let bytes = room.expose().iter().zip(instead.as_ref());
        Secret::new(bytes.take(length).map(|(real, other)| (real & mask) | (other & !mask)).collect())
    }
}

impl Signer for RsaKey {
    fn algorithm(&self) -> Algorithm {
        Algorithm::RsaPkcs1Sha256
    }

    fn public_spki(&self) -> &[u8] {
        &self.spki
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature)
            .map_err(|e| SignError(e.to_string()))?;
        Ok(signature)
    }
}

/// A key that nothing can be wrapped for: it is not RSA, or not one that would be certified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("only to an RSA key of 2048 to 4096 bits can an answer be encrypted")]
pub struct NotRsa;

/// Wraps `key` for the RSA key in `spki`, with PKCS#1 v1.5, which all clients open.
pub(crate) fn wrap(spki: &[u8], key: &[u8]) -> Result<Vec<u8>, NotRsa> {
    let public = Pkcs1PublicEncryptingKey::new(public_key(spki)?).map_err(|_| NotRsa)?;
    let mut room = vec![0; public.ciphertext_size()];
    let length = public.encrypt(key, &mut room).map_err(|_| NotRsa)?.len();
    room.truncate(length);
    Ok(room)
}

/// Whether [`wrap`] would wrap for this key.
pub(crate) fn wraps(spki: &[u8]) -> bool {
    public_key(spki).is_ok()
}

fn public_key(spki: &[u8]) -> Result<PublicEncryptingKey, NotRsa> {
    match judge(spki) {
        Ok(KeyKind::Rsa { .. }) => PublicEncryptingKey::from_der(spki).map_err(|_| NotRsa),
        _ => Err(NotRsa),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use spki::AlgorithmIdentifierRef;

    use super::*;
    use crate::key::{BadSignature, check_signature};
    use der::Decode;

    static KEY: LazyLock<RsaKey> = LazyLock::new(|| RsaKey::generate(RsaSize::Bits2048).0);

    #[test]
    fn a_key_signs_what_its_public_half_accepts() {
        let signature = KEY.sign(b"message").expect("signs");
        let identifier = KEY.algorithm().identifier();
        let algorithm = AlgorithmIdentifierRef::from_der(&identifier).expect("an identifier");
        assert_eq!(check_signature(KEY.public_spki(), &algorithm, b"message", &signature), Ok(()));
        assert_eq!(check_signature(KEY.public_spki(), &algorithm, b"massage", &signature), Err(BadSignature::Wrong));
        assert_eq!(judge(KEY.public_spki()), Ok(KeyKind::Rsa { bits: 2048 }));
    }

    #[test]
    fn a_wrapped_key_is_unwrapped() {
        for key in [&[7; 16][..], &[9; 32]] {
            let wrapped = wrap(KEY.public_spki(), key).expect("wraps");
            assert_eq!(KEY.unwrap(Transport::Pkcs1, &wrapped, key.len()).expose(), key);
        }
    }

    #[test]
    fn what_does_not_unwrap_gives_a_key_that_stays_the_same() {
        let wrapped = wrap(KEY.public_spki(), &[7; 16]).expect("wraps");
        let mut changed = wrapped.clone();
        changed[100] ^= 1;
        let (zero, short, other) = (vec![0; 256], vec![1; 10], wrap(KEY.public_spki(), &[7; 24]).expect("wraps"));
        let mut seen = Vec::new();
        for wrong in [&changed, &zero, &short, &other, &Vec::new()] {
            for transport in [Transport::Pkcs1, Transport::Oaep(OaepHash::Sha256)] {
                let once = KEY.unwrap(transport, wrong, 16);
                assert_eq!(once.expose().len(), 16);
                assert_ne!(once.expose().as_slice(), &[7; 16]);
                assert_eq!(once.expose(), KEY.unwrap(transport, wrong, 16).expose(), "asking twice tells nothing");
                seen.push(once.expose().clone());
            }
        }
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 5, "one for each ciphertext");
        let again = RsaKey::generate(RsaSize::Bits2048).0;
        assert_ne!(
            again.unwrap(Transport::Pkcs1, &zero, 16).expose(),
            KEY.unwrap(Transport::Pkcs1, &zero, 16).expose()
        );
    }

    #[test]
    fn other_keys_are_not_rsa() {
        assert_eq!(RsaKey::from_pkcs8(b"").err(), Some(BadRsaKey));
        let (p256, pkcs8) = crate::SoftKey::generate();
        assert_eq!(RsaKey::from_pkcs8(pkcs8.expose()).err(), Some(BadRsaKey));
        assert_eq!(wrap(p256.public_spki(), &[7; 16]), Err(NotRsa));
    }
}
