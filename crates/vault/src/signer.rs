//! Signing keys: made here, kept sealed, opened into a signer that shows nothing.

use base::Rng;
use fleetward_pki::SoftKey;

use fleetward_base as base;

use crate::seal::{OpenError, Purpose, Vault};

/// Why a sealed key does not become a signer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignerError {
    #[error("the signing key does not open: {0}")]
    Sealed(OpenError),
    #[error("what was sealed as a signing key is none")]
    NotAKey,
}

/// A new P-256 key, with its PKCS#8 sealed for the row (`tenant`, `name`).
pub fn new_signing_key(vault: &Vault, rng: &dyn Rng, tenant: &str, name: &str) -> (SoftKey, Vec<u8>) {
    let (key, pkcs8) = SoftKey::generate();
    let sealed = vault.seal(rng, Purpose::SigningKey, &[tenant, name], pkcs8.expose());
    (key, sealed)
}

impl Vault {
    /// The signer of the key that was sealed for the row (`tenant`, `name`).
    ///
    /// # Errors
    /// [`SignerError`]: it does not open, or is no P-256 key.
    pub fn signer(&self, tenant: &str, name: &str, sealed: &[u8]) -> Result<SoftKey, SignerError> {
        let pkcs8 = self.open(Purpose::SigningKey, &[tenant, name], sealed).map_err(SignerError::Sealed)?;
        SoftKey::from_pkcs8(pkcs8.expose()).map_err(|_| SignerError::NotAKey)
    }
}
