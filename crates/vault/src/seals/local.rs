//! A master key that the machine holds: from a file, a passphrase, a variable of the environment or a systemd credential.

use async_trait::async_trait;
use base::SystemRng;

use fleetward_base as base;

use crate::master::MasterKey;
use crate::root::{RootKey, RootSeal, RootSealError, SealKind};
use crate::sealing::{BY_HIERARCHY, Fault, SealingKey, hex};

const PURPOSE: &str = "root-key";

/// Seals the root key under a master key.
pub struct LocalSeal {
    master: MasterKey,
    sealing: SealingKey,
    place: String,
}

impl LocalSeal {
    /// `place` says for people where the master key came from: `file:/etc/fleetward/master.key`.
    pub fn new(master: MasterKey, place: impl Into<String>) -> Self {
        let sealing = SealingKey::new(BY_HIERARCHY, master.0.expose());
        Self { master, sealing, place: place.into() }
    }
}

#[async_trait]
impl RootSeal for LocalSeal {
    fn kind(&self) -> SealKind {
        SealKind::Master
    }

    fn describe(&self) -> String {
        self.place.clone()
    }

    async fn wrap(&self, key: &RootKey) -> Result<Vec<u8>, RootSealError> {
        Ok(self.sealing.seal(&SystemRng, PURPOSE, &[], key.expose()))
    }

    async fn unwrap(&self, body: &[u8]) -> Result<RootKey, RootSealError> {
        let broken = |reason: &str| RootSealError::Broken { seal: self.describe(), reason: reason.to_owned() };
        match self.sealing.open_key(PURPOSE, &[], body) {
            Ok(key) => Ok(RootKey(key)),
            Err(Fault::OtherKey(other)) => {
                Err(RootSealError::WrongKey { sealed_under: hex(&other), in_use: hex(&self.sealing.id()) })
            }
            Err(Fault::Malformed) => Err(RootSealError::Malformed),
            Err(Fault::Broken) => Err(broken("it was changed")),
        }
    }

    fn master(&self) -> Option<&MasterKey> {
        Some(&self.master)
    }
}
