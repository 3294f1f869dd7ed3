//! What a device says about itself and proves: evidence of TPMs, EAT and PSA tokens, DICE chains.
//!
//! Pure: bytes and values in, facts or a reason out. Each verifier says what its evidence proves ([`Facts`]); whether that
//! is good enough is decided in `core::attestation`. Nothing is fetched, nothing is believed because it was sent: a fact
//! stands on a signature whose key is vouched for. What a TPM's owner needs to make such evidence is in [`tpm`] too, so
//! that both ends have one set of bytes.
//!
//! Another kind of evidence is a module with a `verify`, a variant of [`Evidence`], and a fuzz target with its corpus.

pub mod claims;
pub mod cwt;
pub mod dice;
pub mod evidence;
pub mod facts;
pub mod jwt;
pub mod messages;
pub mod signed;
pub mod tpm;
pub mod verify;

pub use evidence::Evidence;
pub use facts::{Facts, Measurement};
pub use verify::{Activated, Known, Unproven, verify};

/// A public key that tokens are signed with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// SubjectPublicKeyInfo in DER.
    pub spki: Vec<u8>,
    /// SHA-256 of it, lower-case hex; what a key is called.
    pub fingerprint: String,
}

impl Key {
    pub fn new(spki: Vec<u8>) -> Self {
        let fingerprint = facts::hex(&tpm::Hash::Sha256.digest(&[&spki]));
        Self { spki, fingerprint }
    }

    /// Whether a token means this key: by its fingerprint, in bytes or in hex.
    fn is_named(&self, id: &[u8]) -> bool {
        id == self.fingerprint.as_bytes() || evidence::unhex(&self.fingerprint).is_some_and(|bytes| bytes == id)
    }
}

/// The keys that a token is tried with: the one that it names, where that is one of ours, else all, within a bound.
fn candidates<'a>(keys: &'a [Key], id: &'a [u8]) -> impl Iterator<Item = &'a Key> {
    let named = keys.iter().any(|key| key.is_named(id));
    keys.iter().filter(move |key| !named || key.is_named(id)).take(fleetward_base::limits::ATTESTATION_KEYS_TRIED)
}
