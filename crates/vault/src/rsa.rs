//! RSA keys of registration authorities: made here, kept sealed as signing keys are.

use base::Rng;
use fleetward_pki::Signer;
use fleetward_pki::issue::key_id;
use fleetward_pki::rsa::{RsaKey, RsaSize};

use fleetward_base as base;

use crate::signer::SignerError;
use crate::vault::{KeyError, Purpose, Vault};

/// An RSA key that was just made.
pub struct NewRsaKey {
    pub key: RsaKey,
    /// What it is kept under: its kind, a dash and its mark.
    pub name: String,
    /// As that of a signing key.
    pub mark: String,
    /// Its PKCS#8, sealed for the row (tenant, name).
    pub sealed: Vec<u8>,
}

impl Vault {
    /// A new key of 3072 bits of `tenant`. Takes up to a second: not in the middle of anything that others wait for.
    ///
    /// # Errors
    /// [`KeyError`]: the tenant has no key to seal it under, or that is disabled.
    pub fn new_rsa_key(&self, rng: &dyn Rng, tenant: &str, kind: &str) -> Result<NewRsaKey, KeyError> {
        let (key, pkcs8) = RsaKey::generate(RsaSize::Bits3072);
        let id = key_id(key.public_spki()).expect("a key that was just made has a key id");
        let mark: String = id.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
        let name = format!("{kind}-{mark}");
        let sealed = self.seal(rng, Purpose::SigningKey, &[tenant, &name], pkcs8.expose())?;
        Ok(NewRsaKey { key, name, mark, sealed })
    }

    /// The key that was sealed for the row (`tenant`, `name`).
    ///
    /// # Errors
    /// [`SignerError`]: it does not open, or is no RSA key.
    pub fn rsa_key(&self, tenant: &str, name: &str, sealed: &[u8]) -> Result<RsaKey, SignerError> {
        let pkcs8 = self.open(Purpose::SigningKey, &[tenant, name], sealed).map_err(SignerError::Sealed)?;
        RsaKey::from_pkcs8(pkcs8.expose()).map_err(|_| SignerError::NotAKey)
    }
}

#[cfg(test)]
mod tests {
    use base::SeededRng;

    use super::*;
    use crate::{MasterKey, OpenError};

    #[tokio::test]
    async fn a_sealed_key_opens_where_it_was_sealed_and_as_what_it_is() {
        let rng = SeededRng::new(1);
        let vault = Vault::new(&MasterKey::random(&rng));
        let (root, key) = vault.new_root(&rng, 1).await.expect("a root key");
        let mut rows = vec![root, Vault::first_anchor(&rng, &key)];
        rows.extend(["acme", "zenith"].map(|owner| Vault::first_owner_key(&rng, &key, owner).stored));
        vault.load(&rows).await.expect("loads");
        let made = vault.new_rsa_key(&rng, "acme", "scep-ra").expect("seals");
        assert!(made.name.starts_with("scep-ra-"));
        let opened = vault.rsa_key("acme", &made.name, &made.sealed).expect("opens");
        assert_eq!(opened.public_spki(), made.key.public_spki());
        let moved = vault.rsa_key("zenith", &made.name, &made.sealed).err();
        assert!(matches!(moved, Some(SignerError::Sealed(OpenError::WrongKey { .. }))), "{moved:?}");
        assert_eq!(vault.signer("acme", &made.name, &made.sealed).err(), Some(SignerError::NotAKey));
        let p256 = vault.new_signing_key(&rng, "acme", "issuing").expect("seals");
        assert_eq!(vault.rsa_key("acme", &p256.name, &p256.sealed).err(), Some(SignerError::NotAKey));
    }
}
