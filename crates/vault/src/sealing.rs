//! The seal: authenticated encryption under a key of its own for every seal.
//!
//! Layout: version (1) | key id (8) | seed (24) | commitment (16) | ciphertext and tag. The seed is random; with the key
//! of the purpose it gives by HKDF-SHA-256 a fresh AES-256-GCM key, a nonce and the commitment. So no key is used twice,
//! no random 96-bit nonce lives long enough to repeat (NIST SP 800-38D §8.3), and a seal opens under one key only. Bound
//! to it, and not within it: the purpose, and what the caller names (the tenant, the row). Version 1 was made under the
//! master key itself; version 2 is made under a key of the hierarchy, which the key id names.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use base::{Rng, Secret};

use fleetward_base as base;

use crate::mac::{Mac, MacPurpose};

const SEED_BYTES: usize = 24;
const COMMITMENT_BYTES: usize = 16;
pub(crate) const KEY_BYTES: usize = 32;
pub(crate) const KEY_ID_BYTES: usize = 8;
const HEADER_BYTES: usize = 1 + KEY_ID_BYTES + SEED_BYTES + COMMITMENT_BYTES;
/// AES-256 key, nonce, commitment.
const DERIVED_BYTES: usize = KEY_BYTES + 12 + COMMITMENT_BYTES;

pub(crate) type KeyId = [u8; KEY_ID_BYTES];

/// What was sealed under the master key itself.
pub(crate) const BY_MASTER: u8 = 1;
/// What is sealed under a key of the hierarchy.
pub(crate) const BY_HIERARCHY: u8 = 2;

/// Why a seal does not open under a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Made under another key.
    OtherKey(KeyId),
    Malformed,
    Broken,
}

/// The parts of a seal, borrowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Parts<'a> {
    pub(crate) version: u8,
    pub(crate) key_id: &'a KeyId,
    seed: &'a [u8; SEED_BYTES],
    commitment: &'a [u8; COMMITMENT_BYTES],
    body: &'a [u8],
}

impl<'a> Parts<'a> {
    /// `None` for what is no seal, or one of a version that this program does not know.
    pub(crate) fn of(sealed: &'a [u8]) -> Option<Self> {
        let (&version, rest) = sealed.split_first()?;
        let (key_id, rest) = rest.split_first_chunk::<KEY_ID_BYTES>()?;
        let (seed, rest) = rest.split_first_chunk::<SEED_BYTES>()?;
        let (commitment, body) = rest.split_first_chunk::<COMMITMENT_BYTES>()?;
        let known = matches!(version, BY_MASTER | BY_HIERARCHY);
        known.then_some(Self { version, key_id, seed, commitment, body })
    }
}

/// A key that seals, with the name that its seals carry. Shows nothing; wiped when it is dropped.
#[derive(Clone)]
pub(crate) struct SealingKey {
    root: Prk,
    id: KeyId,
    version: u8,
}

impl SealingKey {
    pub(crate) fn new(version: u8, key: &[u8; KEY_BYTES]) -> Self {
        // The key ids of the two versions differ for the same bytes, and so does all that is derived.
        let salt: &[u8] = if version == BY_MASTER { b"fleetward-vault-v1" } else { b"fleetward-vault-v2" };
        let root = Salt::new(HKDF_SHA256, salt).extract(key);
        let mut id = [0; KEY_ID_BYTES];
        expand(&root, &[b"key-id"], &mut id);
        Self { root, id, version }
    }

    pub(crate) fn id(&self) -> KeyId {
        self.id
    }

    pub(crate) fn seal(&self, rng: &dyn Rng, purpose: &str, bound_to: &[&str], plaintext: &[u8]) -> Vec<u8> {
        let mut seed = [0; SEED_BYTES];
        rng.fill(&mut seed);
        let derived = self.derive(purpose, &seed);
        let mut body = plaintext.to_vec();
        derived
            .key
            .seal_in_place_append_tag(derived.nonce, self.bound(purpose, bound_to), &mut body)
            .expect("what is sealed is far below the limit of AES-GCM");
        let mut out = Vec::with_capacity(HEADER_BYTES + body.len());
        out.push(self.version);
        out.extend_from_slice(&self.id);
        out.extend_from_slice(&seed);
        out.extend_from_slice(&derived.commitment);
        out.extend_from_slice(&body);
        out
    }

    pub(crate) fn open(&self, purpose: &str, bound_to: &[&str], sealed: &[u8]) -> Result<Secret<Vec<u8>>, Fault> {
        let parts = Parts::of(sealed).filter(|parts| parts.version == self.version).ok_or(Fault::Malformed)?;
        if *parts.key_id != self.id {
            return Err(Fault::OtherKey(*parts.key_id));
        }
        let derived = self.derive(purpose, parts.seed);
        verify_slices_are_equal(&derived.commitment, parts.commitment).map_err(|_| Fault::Broken)?;
        let mut body = Secret::new(parts.body.to_vec());
        let bound = self.bound(purpose, bound_to);
        let opened = derived.key.open_in_place(derived.nonce, bound, body.expose_mut()).map_err(|_| Fault::Broken)?;
        let length = opened.len();
        body.expose_mut().truncate(length);
        Ok(body)
    }

    /// Opens what is a key itself.
    pub(crate) fn open_key(&self, purpose: &str, bound_to: &[&str], sealed: &[u8]) -> Result<RawKey, Fault> {
        let plain = self.open(purpose, bound_to, sealed)?;
        plain.expose().as_slice().try_into().map(Secret::new).map_err(|_| Fault::Broken)
    }

    pub(crate) fn mac(&self, purpose: MacPurpose) -> Mac {
        let mut key = Secret::new([0; 32]);
        expand(&self.root, &[b"mac ", purpose.as_str().as_bytes()], key.expose_mut());
        Mac::new(key)
    }

    fn derive(&self, purpose: &str, seed: &[u8; SEED_BYTES]) -> Derived {
        let (mut of_purpose, mut of_seal) = (Secret::new([0; 32]), Secret::new([0; DERIVED_BYTES]));
        expand(&self.root, &[b"seal ", purpose.as_bytes()], of_purpose.expose_mut());
        expand(&Salt::new(HKDF_SHA256, seed).extract(of_purpose.expose()), &[b"seal"], of_seal.expose_mut());
        let (key, rest) = of_seal.expose().split_first_chunk::<KEY_BYTES>().expect("60 bytes");
        let (nonce, commitment) = rest.split_first_chunk::<12>().expect("28 bytes are left");
        Derived {
            key: LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("32 bytes are a key")),
            nonce: Nonce::assume_unique_for_key(*nonce),
            commitment: commitment.try_into().expect("16 bytes are left"),
        }
    }

    /// Header, purpose and fields, each with its length before it, so that no two lists give the same bytes.
    fn bound(&self, purpose: &str, fields: &[&str]) -> Aad<Vec<u8>> {
        let mut out = vec![self.version];
        out.extend_from_slice(&self.id);
        for field in std::iter::once(&purpose).chain(fields) {
            out.extend_from_slice(&(field.len() as u64).to_be_bytes());
            out.extend_from_slice(field.as_bytes());
        }
        Aad::from(out)
    }
}

impl std::fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SealingKey({})", hex(&self.id))
    }
}

/// The bytes of a key, on their way from or into a seal.
pub(crate) type RawKey = Secret<[u8; KEY_BYTES]>;

pub(crate) fn random_key(rng: &dyn Rng) -> RawKey {
    let mut key = Secret::new([0; KEY_BYTES]);
    rng.fill(key.expose_mut());
    key
}

struct Derived {
    key: LessSafeKey,
    nonce: Nonce,
    commitment: [u8; COMMITMENT_BYTES],
}

struct Bytes(usize);

impl KeyType for Bytes {
    fn len(&self) -> usize {
        self.0
    }
}

fn expand(prk: &Prk, info: &[&[u8]], out: &mut [u8]) {
    prk.expand(info, Bytes(out.len()))
        .and_then(|okm| okm.fill(out))
        .expect("HKDF-SHA-256 gives up to 8160 bytes and less is asked for");
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
