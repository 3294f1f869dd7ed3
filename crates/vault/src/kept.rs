//! A signing key that lies sealed in a file, away from any server: that of a root that is kept offline.
//!
//! Sealed under a master key, which comes from a passphrase, and bound to a name, so that none is taken for another. It is
//! sealed under a purpose of its own: what opens an installation opens no such key.

use base::Rng;
use fleetward_pki::SoftKey;

use fleetward_base as base;

use crate::master::MasterKey;
use crate::sealing::{BY_HIERARCHY, Fault, SealingKey};

const PURPOSE: &str = "kept-key";

/// Why a kept key does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeptKeyError {
    #[error("it was sealed under another passphrase")]
    OtherKey,
    #[error("it was changed, or is no sealed key")]
    Broken,
}

impl MasterKey {
    /// A new P-256 key, and itself sealed.
    pub fn new_kept_key(&self, rng: &dyn Rng, name: &str) -> (SoftKey, Vec<u8>) {
        let (key, pkcs8) = SoftKey::generate();
        (key, self.sealing().seal(rng, PURPOSE, &[name], pkcs8.expose()))
    }

    /// The key that was sealed under this name.
    ///
    /// # Errors
    /// [`KeptKeyError`].
    pub fn kept_key(&self, name: &str, sealed: &[u8]) -> Result<SoftKey, KeptKeyError> {
        let pkcs8 = self.sealing().open(PURPOSE, &[name], sealed).map_err(|fault| match fault {
            Fault::OtherKey(_) => KeptKeyError::OtherKey,
            Fault::Malformed | Fault::Broken => KeptKeyError::Broken,
        })?;
        SoftKey::from_pkcs8(pkcs8.expose()).map_err(|_| KeptKeyError::Broken)
    }

    fn sealing(&self) -> SealingKey {
        SealingKey::new(BY_HIERARCHY, self.0.expose())
    }
}

#[cfg(test)]
mod tests {
    use base::SeededRng;
    use fleetward_pki::Signer;

    use super::*;

    #[test]
    fn a_kept_key_opens_under_its_name_and_master_key_alone() {
        let rng = SeededRng::new(1);
        let (master, other) = (MasterKey::random(&rng), MasterKey::random(&rng));
        let (key, sealed) = master.new_kept_key(&rng, "root");
        assert_eq!(master.kept_key("root", &sealed).expect("opens").public_spki(), key.public_spki());
        assert_eq!(master.kept_key("other", &sealed).map(drop), Err(KeptKeyError::Broken));
        assert_eq!(other.kept_key("root", &sealed).map(drop), Err(KeptKeyError::OtherKey));
        for at in [0, 10, sealed.len() - 1] {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(master.kept_key("root", &changed).is_err(), "{at}");
        }
        for cut in [0, 5, sealed.len() - 1] {
            assert!(master.kept_key("root", &sealed[..cut]).is_err(), "{cut}");
        }
    }
}
