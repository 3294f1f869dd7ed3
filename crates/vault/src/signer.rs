//! Signing keys: made here, kept sealed, opened into a signer that shows nothing.

use base::{Rng, Secret};
use fleetward_pki::issue::key_id;
use fleetward_pki::{Signer, SoftKey};

use fleetward_base as base;

use crate::vault::{KeyError, NewKey, OpenError, Purpose, Vault};

/// Why a sealed key does not become a signer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignerError {
    #[error("the signing key does not open: {0}")]
    Sealed(OpenError),
    #[error("what was sealed as a signing key is none")]
    NotAKey,
}

/// A key that was just made.
pub struct NewSigningKey {
    pub key: SoftKey,
    /// What it is kept under: its kind, a dash and its mark.
    pub name: String,
    /// Eight hexadecimal digits of its key id. They tell keys of one kind apart, so that no later key, and none that
    /// another server makes at the same moment, is ever written over this one.
    pub mark: String,
    /// Its PKCS#8, sealed for the row (tenant, name).
    pub sealed: Vec<u8>,
}

impl Vault {
    /// A new P-256 key of `tenant`, or of the installation where that is empty.
    ///
    /// # Errors
    /// [`KeyError`]: the owner has no key to seal it under, or that is disabled.
    pub fn new_signing_key(&self, rng: &dyn Rng, tenant: &str, kind: &str) -> Result<NewSigningKey, KeyError> {
        let (key, name, mark, pkcs8) = make(kind);
        let sealed = self.seal(rng, Purpose::SigningKey, &[tenant, &name], pkcs8.expose())?;
        Ok(NewSigningKey { key, name, mark, sealed })
    }

    /// The signer of the key that was sealed for the row (`tenant`, `name`).
    ///
    /// # Errors
    /// [`SignerError`]: it does not open, or is no P-256 key.
    pub fn signer(&self, tenant: &str, name: &str, sealed: &[u8]) -> Result<SoftKey, SignerError> {
        let pkcs8 = self.open(Purpose::SigningKey, &[tenant, name], sealed).map_err(SignerError::Sealed)?;
        SoftKey::from_pkcs8(pkcs8.expose()).map_err(|_| SignerError::NotAKey)
    }
}

impl NewKey {
    /// A new P-256 key of the owner whose first key this is.
    pub fn new_signing_key(&self, rng: &dyn Rng, kind: &str) -> NewSigningKey {
        let (key, name, mark, pkcs8) = make(kind);
        let sealed = self.seal(rng, Purpose::SigningKey, &[&self.stored.owner, &name], pkcs8.expose());
        NewSigningKey { key, name, mark, sealed }
    }
}

fn make(kind: &str) -> (SoftKey, String, String, Secret<Vec<u8>>) {
    let (key, pkcs8) = SoftKey::generate();
    let id = key_id(key.public_spki()).expect("a key that was just made has a key id");
    let mark: String = id.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    (key, format!("{kind}-{mark}"), mark, pkcs8)
}
