//! Keys as files: `identity/a/key.pem` and `identity/b/key.pem`, PKCS#8, for the agent's user only.

use std::sync::Arc;

use der::pem::{LineEnding, decode_vec, encode_string};
use fleetward_base::Secret;
use fleetward_pki::key::SoftKey;

use super::{DeviceKey, KeyError, Keys};
use crate::disk::{self, Disk};
use crate::record::Slot;

/// The files of a data folder.
#[derive(Clone, Copy)]
pub struct FileKeys<'a>(pub &'a dyn Disk);

fn path(place: Slot) -> String {
    format!("identity/{place}/key.pem")
}

impl Keys for FileKeys<'_> {
    fn make(&self, place: Slot) -> Result<(), KeyError> {
        let (_key, pkcs8) = SoftKey::generate();
        let pem =
            encode_string("PRIVATE KEY", LineEnding::LF, pkcs8.expose()).map_err(|_too_long| KeyError::Unusable)?;
        let pem = Secret::new(pem);
        self.0.make_folder(&format!("identity/{place}"))?;
        Ok(disk::replace(self.0, &path(place), pem.expose().as_bytes())?)
    }

    fn open(&self, place: Slot) -> Result<Option<DeviceKey>, KeyError> {
        let Some(pem) = self.0.read(&path(place))?.map(Secret::new) else { return Ok(None) };
        let (label, pkcs8) = decode_vec(pem.expose()).map_err(|_bad| KeyError::Unusable)?;
        let pkcs8 = Secret::new(pkcs8);
        if label != "PRIVATE KEY" {
            return Err(KeyError::Unusable);
        }
        Ok(Some(Arc::new(SoftKey::from_pkcs8(pkcs8.expose()).map_err(|_bad| KeyError::Unusable)?)))
    }

    fn remove(&self, place: Slot) -> Result<(), KeyError> {
        let folder = format!("identity/{place}");
        if self.0.list(&folder)?.is_empty() {
            return Ok(());
        }
        self.0.remove(&path(place))?;
        // And one that a power cut left half made.
        self.0.remove(&format!("{}.new", path(place)))?;
        Ok(self.0.sync_folder(&folder)?)
    }
}
