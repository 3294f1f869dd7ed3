//! A key that an attestation key vouches for: TPM2_Certify over the key of a certificate (or of a request for one).

use super::attest::{Attested, Statement};
use super::public::{Public, attribute};
use super::signature::Signature;
use super::wire::Malformed;
use crate::tpm::hash::Hash;

/// What a device sends of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certified {
    /// TPMT_PUBLIC of the key.
    pub public: Vec<u8>,
    /// TPMS_ATTEST.
    pub statement: Vec<u8>,
    /// TPMT_SIGNATURE.
    pub signature: Vec<u8>,
}

/// Why a key is not vouched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotCertified {
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("the certification is not signed by the attestation key")]
    Signature,
    #[error("the certification is not about this challenge and key")]
    Nonce,
    #[error("the certification is about another key")]
    OtherKey,
    #[error("the key is not one that was made in the TPM and never leaves it")]
    Attributes,
}

/// What goes into the certification, so that it is about this challenge and this key: SHA-256 of both.
pub fn qualifying_data(nonce: &[u8], spki: &[u8]) -> Vec<u8> {
    Hash::Sha256.digest(&[nonce, spki])
}

/// Checks that `attestation` vouches, for this challenge, for the key in `spki`.
///
/// # Errors
/// [`NotCertified`].
pub fn verify(attestation: &Public, nonce: &[u8], spki: &[u8], certified: &Certified) -> Result<(), NotCertified> {
    let signature = Signature::parse(&certified.signature)?;
    signature.verify(attestation, &certified.statement).map_err(|_| NotCertified::Signature)?;
    let statement = Statement::parse(&certified.statement)?;
    if statement.extra != qualifying_data(nonce, spki) {
        return Err(NotCertified::Nonce);
    }
    let key = Public::parse(&certified.public)?;
    let Attested::Certify { name } = statement.attested else { return Err(NotCertified::OtherKey) };
    if name != key.name() || key.spki() != spki {
        return Err(NotCertified::OtherKey);
    }
    if key.has(attribute::BORN_AND_KEPT | attribute::SIGN) { Ok(()) } else { Err(NotCertified::Attributes) }
}
