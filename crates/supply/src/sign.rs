//! Ed25519 keys of people who release, their files, and their signatures over manifests.
//!
//! A signature covers a context and then the exact manifest bytes: `"fleetward-release-v1\0" || manifest`. The context keeps
//! a signature from being worth anything elsewhere, and changes with the meaning of the manifest. Private keys stay with
//! the tool that signs; server and agent know public ones only (architecture, invariant 3). Key files are PEM: PKCS#8
//! `PRIVATE KEY` and SPKI `PUBLIC KEY` (RFC 8410), the same that `openssl genpkey -algorithm ed25519` writes.

use std::fmt;
use std::str::FromStr;

use aws_lc_rs::encoding::{AsBigEndian, Curve25519SeedBin};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use der::pem::{LineEnding, decode_vec, encode_string};
use fleetward_base::{Rng, Secret};
use zeroize::Zeroizing;

use crate::digest::{Sha256, read_hex, write_hex};

/// What is signed before the manifest.
pub const CONTEXT: &[u8] = b"fleetward-release-v1\0";
/// Bytes of a key file; ours have 120, and nobody's need more.
pub const KEY_FILE_BYTES: usize = 16 * 1024;

/// RFC 8410 §7: PrivateKeyInfo of version 0 up to the 32-byte seed.
const PKCS8_HEAD: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
/// RFC 8410 §4: SubjectPublicKeyInfo up to the 32-byte key.
const SPKI_HEAD: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// Why a file is not the key that it should be. Nothing of the file is shown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    #[error("not a PEM file")]
    NotPem,
    #[error("PEM of a `{found}` where `{wanted}` is wanted")]
    Label { wanted: &'static str, found: String },
    #[error("not an Ed25519 key")]
    NotEd25519,
    #[error("an Ed25519 key that anybody can sign for")]
    Weak,
}

/// Sixteen bytes of the SHA-256 of the raw public key, written as 32 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; 16]);

/// A text that is not a key id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a key id: 32 lower-case hexadecimal digits")]
pub struct BadKeyId;

impl FromStr for KeyId {
    type Err = BadKeyId;
    fn from_str(text: &str) -> Result<Self, BadKeyId> {
        read_hex(text).map(Self).ok_or(BadKeyId)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_hex(f, &self.0)
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// An Ed25519 signature.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Signature([u8; 64]);

impl Signature {
    /// The signature in these bytes, where there are 64 of them.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    pub const fn as_bytes(&self) -> &[u8; 64] {
        &self.0
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signature(")?;
        write_hex(f, &self.0)?;
        f.write_str(")")
    }
}

/// A public key that releases may be signed for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VerifyingKey([u8; 32]);

impl VerifyingKey {
    /// The key with these raw bytes.
    ///
    /// # Errors
    /// [`BadKey::Weak`] for the points of small order, for which anyone can make signatures.
    pub fn from_bytes(bytes: [u8; 32]) -> Result<Self, BadKey> {
        if is_small_order(&bytes) { Err(BadKey::Weak) } else { Ok(Self(bytes)) }
    }

    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    pub fn key_id(&self) -> KeyId {
        let hash = Sha256::of(&self.0);
        KeyId(*hash.as_bytes().first_chunk().expect("a SHA-256 hash is longer than 16 bytes"))
    }

    /// Whether the signature is this key's over exactly these manifest bytes.
    pub fn verifies(&self, manifest: &[u8], signature: &Signature) -> bool {
        UnparsedPublicKey::new(&ED25519, &self.0).verify(&with_context(manifest), &signature.0).is_ok()
    }

    /// Reads a `PUBLIC KEY` file.
    ///
    /// # Errors
    /// Where it is not PEM, not a public key, or not an Ed25519 one.
    pub fn from_pem(file: &[u8]) -> Result<Self, BadKey> {
        let spki = read_pem(file, "PUBLIC KEY")?;
        let key = spki.strip_prefix(SPKI_HEAD.as_slice()).and_then(|key| key.try_into().ok());
        Self::from_bytes(key.ok_or(BadKey::NotEd25519)?)
    }

    pub fn to_pem(&self) -> String {
        let spki = [SPKI_HEAD.as_slice(), &self.0].concat();
        encode_string("PUBLIC KEY", LineEnding::LF, &spki).expect("44 bytes fit into PEM")
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VerifyingKey({})", self.key_id())
    }
}

/// A private key. It shows nothing of itself but its public half.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    seed: Secret<[u8; 32]>,
}

impl SigningKey {
    /// A new key out of the given chance, which must be the operating system's outside of tests.
    pub fn generate(rng: &dyn Rng) -> Self {
        let mut seed = Zeroizing::new([0; 32]);
        rng.fill(seed.as_mut());
        Self::from_seed(Secret::new(*seed))
    }

    /// The key that belongs to a seed.
    pub fn from_seed(seed: Secret<[u8; 32]>) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed.expose()).expect("any 32 bytes are an Ed25519 seed");
        Self { pair, seed }
    }

    pub fn verifying_key(&self) -> VerifyingKey {
        VerifyingKey(self.pair.public_key().as_ref().try_into().expect("an Ed25519 public key is 32 bytes long"))
    }

    /// Signs exactly these manifest bytes.
    pub fn sign(&self, manifest: &[u8]) -> Signature {
        let signature = self.pair.sign(&with_context(manifest));
        Signature(signature.as_ref().try_into().expect("an Ed25519 signature is 64 bytes long"))
    }

    /// Reads a `PRIVATE KEY` file, of either PKCS#8 version.
    ///
    /// # Errors
    /// Where it is not PEM, not a private key (an encrypted one counts as none), or not an Ed25519 one.
    pub fn from_pem(file: &[u8]) -> Result<Self, BadKey> {
        let pkcs8 = Zeroizing::new(read_pem(file, "PRIVATE KEY")?);
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&pkcs8).map_err(|_rejected| BadKey::NotEd25519)?;
        let seed: Curve25519SeedBin<'_> =
            pair.seed().and_then(|seed| seed.as_be_bytes()).map_err(|_unspecified| BadKey::NotEd25519)?;
        let seed: [u8; 32] = seed.as_ref().try_into().map_err(|_length| BadKey::NotEd25519)?;
        Ok(Self { pair, seed: Secret::new(seed) })
    }

    /// The `PRIVATE KEY` file; whoever writes it gives it mode 0600.
    pub fn to_pem(&self) -> Secret<String> {
        let pkcs8 = Zeroizing::new([PKCS8_HEAD.as_slice(), self.seed.expose()].concat());
        Secret::new(encode_string("PRIVATE KEY", LineEnding::LF, &pkcs8).expect("48 bytes fit into PEM"))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({})", self.verifying_key().key_id())
    }
}

fn with_context(manifest: &[u8]) -> Vec<u8> {
    [CONTEXT, manifest].concat()
}

fn read_pem(file: &[u8], wanted: &'static str) -> Result<Vec<u8>, BadKey> {
    if file.len() > KEY_FILE_BYTES {
        return Err(BadKey::NotPem);
    }
    let (label, body) = decode_vec(file.trim_ascii()).map_err(|_error| BadKey::NotPem)?;
    if label == wanted { Ok(body) } else { Err(BadKey::Label { wanted, found: label.to_owned() }) }
}

/// The encodings of the eight points whose order divides eight, the two that are not reduced included, for either sign bit.
fn is_small_order(key: &[u8; 32]) -> bool {
    const ORDER_8_A: [u8; 32] = [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf,
        0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ];
    const ORDER_8_B: [u8; 32] = [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67, 0x0f, 0x2a, 0x20,
        0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac, 0x03, 0x7a,
    ];
    let small = |low: u8| std::array::from_fn(|i| if i == 0 { low } else { 0 });
    let near_p = |low: u8| {
        std::array::from_fn(|i| {
            if i == 0 {
                low
            } else if i == 31 {
                0x7f
            } else {
                0xff
            }
        })
    };
    let mut unsigned = *key;
    unsigned[31] &= 0x7f;
    [small(0), small(1), near_p(0xec), near_p(0xed), near_p(0xee), ORDER_8_A, ORDER_8_B].contains(&unsigned)
}

#[cfg(test)]
mod tests {
    use fleetward_base::SeededRng;
    use proptest::prelude::*;

    use super::*;

    fn key(seed: u64) -> SigningKey {
        SigningKey::generate(&SeededRng::new(seed))
    }

    #[test]
    fn a_signature_holds_for_its_key_and_bytes_only() {
        let (mine, other) = (key(1), key(2));
        let signature = mine.sign(b"manifest");
        assert!(mine.verifying_key().verifies(b"manifest", &signature));
        assert!(!mine.verifying_key().verifies(b"manifesT", &signature));
        assert!(!mine.verifying_key().verifies(b"", &signature));
        assert!(!other.verifying_key().verifies(b"manifest", &signature));
        let mut bent = *signature.as_bytes();
        bent[5] ^= 1;
        assert!(!mine.verifying_key().verifies(b"manifest", &Signature(bent)));
        assert_eq!(Signature::from_bytes(&[0; 63]), None);
    }

    #[test]
    fn a_signature_without_our_context_is_worth_nothing() {
        let mine = key(1);
        let bare = Signature::from_bytes(mine.pair.sign(b"manifest").as_ref()).unwrap();
        assert!(!mine.verifying_key().verifies(b"manifest", &bare));
    }

    #[test]
    fn key_files_read_back() {
        let mine = key(3);
        let (private, public) = (mine.to_pem(), mine.verifying_key().to_pem());
        let read = SigningKey::from_pem(private.expose().as_bytes()).unwrap();
        assert_eq!(read.verifying_key(), mine.verifying_key());
        assert_eq!(read.to_pem().expose(), private.expose());
        assert_eq!(VerifyingKey::from_pem(public.as_bytes()), Ok(mine.verifying_key()));
        let second_version = mine.pair.to_pkcs8().unwrap();
        let file = encode_string("PRIVATE KEY", LineEnding::LF, second_version.as_ref()).unwrap();
        assert_eq!(SigningKey::from_pem(file.as_bytes()).unwrap().verifying_key(), mine.verifying_key());
    }

    #[test]
    fn key_files_that_are_refused() {
        let mine = key(4);
        let (private, public) = (mine.to_pem(), mine.verifying_key().to_pem());
        assert_eq!(VerifyingKey::from_pem(b"junk"), Err(BadKey::NotPem));
        assert_eq!(VerifyingKey::from_pem(&[b' '; KEY_FILE_BYTES + 1]), Err(BadKey::NotPem));
        let swapped = VerifyingKey::from_pem(private.expose().as_bytes());
        assert_eq!(swapped, Err(BadKey::Label { wanted: "PUBLIC KEY", found: "PRIVATE KEY".into() }));
        assert!(SigningKey::from_pem(public.as_bytes()).is_err());
        let other = encode_string("PUBLIC KEY", LineEnding::LF, &[0x30, 0x59, 1, 2, 3]).unwrap();
        assert_eq!(VerifyingKey::from_pem(other.as_bytes()), Err(BadKey::NotEd25519));
        let other = encode_string("PRIVATE KEY", LineEnding::LF, &[0x30, 0x59, 1, 2, 3]).unwrap();
        assert_eq!(SigningKey::from_pem(other.as_bytes()).err(), Some(BadKey::NotEd25519));
    }

    #[test]
    fn keys_that_anybody_can_sign_for_are_refused() {
        let mut identity = [0; 32];
        identity[0] = 1;
        assert_eq!(VerifyingKey::from_bytes(identity), Err(BadKey::Weak));
        identity[31] = 0x80;
        assert_eq!(VerifyingKey::from_bytes(identity), Err(BadKey::Weak));
        assert_eq!(VerifyingKey::from_bytes([0; 32]), Err(BadKey::Weak));
        assert!(VerifyingKey::from_bytes(*key(9).verifying_key().as_bytes()).is_ok());
    }

    #[test]
    fn debug_shows_the_key_id_only() {
        let mine = key(5);
        assert_eq!(format!("{mine:?}"), format!("SigningKey({})", mine.verifying_key().key_id()));
    }

    proptest! {
        #[test]
        fn any_change_of_the_manifest_breaks_the_signature(
            manifest in prop::collection::vec(any::<u8>(), 1..200), at in any::<prop::sample::Index>(), bit in 0..8_u32,
        ) {
            let mine = key(6);
            let signature = mine.sign(&manifest);
            prop_assert!(mine.verifying_key().verifies(&manifest, &signature));
            let mut bent = manifest.clone();
            bent[at.index(manifest.len())] ^= 1 << bit;
            prop_assert!(!mine.verifying_key().verifies(&bent, &signature));
        }
    }
}
