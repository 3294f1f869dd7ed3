//! The seal: authenticated encryption under a key of its own for every seal.
//!
//! Layout: version (1) | master key id (8) | seed (24) | commitment (16) | ciphertext and tag. The seed is random; with
//! the key of the purpose it gives by HKDF-SHA-256 a fresh AES-256-GCM key, a nonce and the commitment. So no key is used
//! twice, no random 96-bit nonce lives long enough to repeat (NIST SP 800-38D §8.3), and a seal opens under one key
//! only. Bound to it, and not within it: the purpose, and what the caller names (the tenant, the row).

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk, Salt};
use base::{Rng, Secret};

use fleetward_base as base;

use crate::mac::{Mac, MacPurpose};
use crate::master::MasterKey;

const VERSION: u8 = 1;
const KEY_ID_BYTES: usize = 8;
const SEED_BYTES: usize = 24;
const COMMITMENT_BYTES: usize = 16;
const HEADER_BYTES: usize = 1 + KEY_ID_BYTES + SEED_BYTES + COMMITMENT_BYTES;
/// AES-256 key, nonce, commitment.
const DERIVED_BYTES: usize = 32 + 12 + COMMITMENT_BYTES;

/// What something is sealed for. A seal of one purpose does not open under another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A private key, in PKCS#8.
    SigningKey,
    /// An answer that is kept to be given again (it may hold a token).
    Response,
    /// A secret of a tenant or of the installation.
    Secret,
}

impl Purpose {
    fn as_str(self) -> &'static str {
        match self {
            Self::SigningKey => "signing-key",
            Self::Response => "response",
            Self::Secret => "secret",
        }
    }
}

/// Why a seal does not open.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    #[error(
        "sealed under the master key {sealed_under}, but the one in use is {in_use}: give the right key file, passphrase or variable"
    )]
    WrongKey { sealed_under: String, in_use: String },
    #[error("not a seal, or of a version that this program does not know")]
    Malformed,
    #[error("the seal is broken: it was changed, or moved from where it was made")]
    Broken,
}

/// An opened installation: seals, opens and authenticates.
pub struct Vault {
    root: Prk,
    key_id: [u8; KEY_ID_BYTES],
}

impl Vault {
    pub fn new(master: &MasterKey) -> Self {
        let root = Salt::new(HKDF_SHA256, b"fleetward-vault-v1").extract(master.0.expose());
        let mut key_id = [0; KEY_ID_BYTES];
        expand(&root, &[b"key-id"], &mut key_id);
        Self { root, key_id }
    }

    /// Names the master key without telling anything of it; shown in errors and kept with the installation.
    pub fn key_id(&self) -> String {
        hex(&self.key_id)
    }

    /// Seals `plaintext` for `purpose`, bound to the fields in `bound_to`, most often the tenant and the row's name.
    pub fn seal(&self, rng: &dyn Rng, purpose: Purpose, bound_to: &[&str], plaintext: &[u8]) -> Vec<u8> {
        let mut seed = [0; SEED_BYTES];
        rng.fill(&mut seed);
        let derived = self.derive(purpose, &seed);
        let mut body = plaintext.to_vec();
        derived
            .key
            .seal_in_place_append_tag(derived.nonce, self.bound(purpose, bound_to), &mut body)
            .expect("what is sealed is far below the limit of AES-GCM");
        let mut out = Vec::with_capacity(HEADER_BYTES + body.len());
        out.push(VERSION);
        out.extend_from_slice(&self.key_id);
        out.extend_from_slice(&seed);
        out.extend_from_slice(&derived.commitment);
        out.extend_from_slice(&body);
        out
    }

    /// Opens what [`Self::seal`] made with the same purpose and fields.
    ///
    /// # Errors
    /// [`OpenError`]: another master key, not a seal, or changed or moved.
    pub fn open(&self, purpose: Purpose, bound_to: &[&str], sealed: &[u8]) -> Result<Secret<Vec<u8>>, OpenError> {
        let (version, rest) = sealed.split_first().ok_or(OpenError::Malformed)?;
        if *version != VERSION {
            return Err(OpenError::Malformed);
        }
        let (key_id, rest) = rest.split_first_chunk::<KEY_ID_BYTES>().ok_or(OpenError::Malformed)?;
        let (seed, rest) = rest.split_first_chunk::<SEED_BYTES>().ok_or(OpenError::Malformed)?;
        let (commitment, body) = rest.split_first_chunk::<COMMITMENT_BYTES>().ok_or(OpenError::Malformed)?;
        if *key_id != self.key_id {
            return Err(OpenError::WrongKey { sealed_under: hex(key_id), in_use: self.key_id() });
        }
        let derived = self.derive(purpose, seed);
        verify_slices_are_equal(&derived.commitment, commitment).map_err(|_| OpenError::Broken)?;
        let mut body = body.to_vec();
        let length = derived
            .key
            .open_in_place(derived.nonce, self.bound(purpose, bound_to), &mut body)
            .map_err(|_| OpenError::Broken)?
            .len();
        body.truncate(length);
        Ok(Secret::new(body))
    }

    /// The key that authenticates texts of one purpose.
    pub fn mac(&self, purpose: MacPurpose) -> Mac {
        let mut key = [0; 32];
        expand(&self.root, &[b"mac ", purpose.as_str().as_bytes()], &mut key);
        Mac::new(Secret::new(key))
    }

    fn derive(&self, purpose: Purpose, seed: &[u8; SEED_BYTES]) -> Derived {
        let (mut of_purpose, mut of_seal) = (Secret::new([0; 32]), Secret::new([0; DERIVED_BYTES]));
        expand(&self.root, &[b"seal ", purpose.as_str().as_bytes()], of_purpose.expose_mut());
        expand(&Salt::new(HKDF_SHA256, seed).extract(of_purpose.expose()), &[b"seal"], of_seal.expose_mut());
        let (key, rest) = of_seal.expose().split_first_chunk::<32>().expect("60 bytes");
        let (nonce, commitment) = rest.split_first_chunk::<12>().expect("28 bytes are left");
        Derived {
            key: LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key).expect("32 bytes are a key")),
            nonce: Nonce::assume_unique_for_key(*nonce),
            commitment: commitment.try_into().expect("16 bytes are left"),
        }
    }

    /// Header, purpose and fields, each with its length before it, so that no two lists give the same bytes.
    fn bound(&self, purpose: Purpose, fields: &[&str]) -> Aad<Vec<u8>> {
        let mut out = vec![VERSION];
        out.extend_from_slice(&self.key_id);
        for field in std::iter::once(&purpose.as_str()).chain(fields) {
            out.extend_from_slice(&(field.len() as u64).to_be_bytes());
            out.extend_from_slice(field.as_bytes());
        }
        Aad::from(out)
    }
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

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
