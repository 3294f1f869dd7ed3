//! TPM 2.0: structures, what a verifier needs of them, and commands for who has one.
//!
//! A verifier reads [`Public`], [`Statement`] and [`Signature`], makes a [`credential`] and checks a [`quote`] or a
//! [`certified`] key. An agent gives [`Tpm`] a [`Transport`].

pub mod attest;
pub mod certified;
pub mod client;
pub mod credential;
pub mod endorsement;
pub mod hash;
pub mod log;
pub mod public;
pub mod quote;
pub mod signature;
pub mod wire;

pub use attest::{ClockInfo, Statement};
pub use client::{Handle, Made, Signed, Tpm, TpmError, Transport};
pub use credential::Credential;
pub use hash::Hash;
pub use public::{Public, attribute, template};
pub use signature::Signature;
pub use wire::Malformed;

/// Why a key does not count as an attestation key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no attestation key: it must be a restricted signing key, made in its TPM and never to leave it")]
pub struct NoAttestationKey;

/// Whether the TPM signs nothing with this key but what it says itself, and the key is nowhere else.
///
/// # Errors
/// [`NoAttestationKey`].
pub fn judge_attestation_key(key: &Public) -> Result<(), NoAttestationKey> {
    let wanted = attribute::BORN_AND_KEPT | attribute::RESTRICTED | attribute::SIGN;
    if key.has(wanted) && !key.has(attribute::DECRYPT) && key.scheme.is_some() { Ok(()) } else { Err(NoAttestationKey) }
}
