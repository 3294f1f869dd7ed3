//! The device goes to another tenant: what it must still know of that after a power cut, and what it takes away of itself.
//!
//! ```text
//! wiping -> wiped -> moved -> enrolling -> settled
//! ```
//! The order, with the token for the other tenant in it, is on the disk before anything is taken away; each step is done as
//! often as it is begun, and the next one is written down only when it is whole. Until the server has heard that the device
//! has wiped itself, its old identity is there and works; from then on it enrols with the token. So a cut never leaves it
//! without one or the other.
//!
//! What goes: configuration, keys and certificates, the hash of the old token, the journal of updates, the image that does not
//! run, the old tenant's signatures beside the one that does, and all that handlers left in the data folder itself. What
//! stays: the image that runs, the roots, the time. Signers are the file's that the command line names: they count no more
//! until that file is another one.

use std::io;

use fleetward_supply::Sha256;
use fleetward_wire::transfer::Order;
use serde::{Deserialize, Serialize};

use crate::disk::{self, Disk};
use crate::identity::{IdentityError, KeyStore};
use crate::record::{BadRecord, Record};
use crate::shadow::Applied;
use crate::{anchors, clock, record, shadow, slots};

/// The file beneath the data folder.
pub const FILE: &str = "handover";
const FORMAT: u32 = 1;
/// Where the hash of the token lies that the current certificate was got with.
pub const TOKEN_USED: &str = "identity/token";
/// What is the agent's own in the data folder and survives; the journal of updates and the configuration have steps of
/// their own.
const STAYS: [&str; 5] = ["lock", FILE, anchors::FILE, clock::FILE, record::FILE];

/// How far it has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// State is being taken away.
    Wiping,
    /// It is gone, and the server is to hear of it.
    Wiped,
    /// The server has heard, or does not know the old identity any more: that goes too.
    Moved,
    /// Nothing of the old tenant's is left. The token of the order is for the first certificate.
    Enrolling,
    /// It is the other tenant's. The order names its home from now on; the token is gone.
    Settled,
}

/// What the command line said when the order came.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given {
    pub home: Home,
    /// SHA-256 of the token, where there was one.
    pub token: Option<String>,
    /// SHA-256 of the signers' files.
    pub signers: Option<String>,
}

/// Whose a device is: its tenant, where it knows it, and its name there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Home {
    pub tenant: Option<String>,
    pub device: String,
}

/// The file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Handover {
    format: u32,
    pub phase: Phase,
    pub given: Given,
    /// Where it was when the order came, which is what the command line says only before the first transfer.
    from: Home,
    pub order: Order,
}

impl Handover {
    /// What was begun, if anything was. A file that cannot be read counts for nothing, and is told of.
    ///
    /// # Errors
    /// What the disk says.
    pub fn load(disk: &dyn Disk) -> io::Result<Option<Self>> {
        let Some(bytes) = disk.read(FILE)? else { return Ok(None) };
        match serde_json::from_slice::<Self>(&bytes) {
            Ok(handover) if handover.format == FORMAT => return Ok(Some(handover)),
            Ok(other) => tracing::error!(format = other.format, "the record of a transfer is of another agent"),
            Err(error) => tracing::error!(%error, "the record of a transfer is damaged"),
        }
        Ok(None)
    }

    fn keep(self, disk: &dyn Disk) -> io::Result<Self> {
        disk::replace(disk, FILE, &serde_json::to_vec(&self)?)?;
        Ok(self)
    }

    fn on(self, phase: Phase, disk: &dyn Disk) -> io::Result<Self> {
        Self { phase, ..self }.keep(disk)
    }

    /// Writes the order down, for a device that is `from` there.
    ///
    /// # Errors
    /// What the disk says.
    pub fn begin(disk: &dyn Disk, given: Given, from: Home, order: Order) -> io::Result<Self> {
        Self { format: FORMAT, phase: Phase::Wiping, given, from, order }.keep(disk)
    }

    /// Takes away what was the old tenant's, but its identity.
    ///
    /// # Errors
    /// What the disk says; it is begun anew then.
    pub fn wipe_state(self, disk: &dyn Disk) -> io::Result<Self> {
        wipe_updates(disk)?;
        disk.remove(shadow::FILE)?;
        for name in disk.list("")? {
            if !STAYS.contains(&name.as_str()) {
                disk.remove(&name)?;
            }
        }
        disk.sync_folder("")?;
        self.on(Phase::Wiped, disk)
    }

    /// The server has heard that the device has wiped itself, or does not let it in any more.
    ///
    /// # Errors
    /// What the disk says.
    pub fn moved(self, disk: &dyn Disk) -> io::Result<Self> {
        self.on(Phase::Moved, disk)
    }

    /// Takes the old identity away.
    ///
    /// # Errors
    /// What the disk or the holder of the keys says; it is begun anew then.
    pub fn wipe_identity(self, store: &KeyStore<'_>, disk: &dyn Disk) -> Result<Self, IdentityError> {
        store.forget()?;
        disk.remove(TOKEN_USED)?;
        disk.sync_folder("identity")?;
        Ok(self.on(Phase::Enrolling, disk)?)
    }

    /// The first certificate of the other tenant is in use: the token is not needed any more.
    ///
    /// # Errors
    /// What the disk says.
    pub fn settle(mut self, disk: &dyn Disk) -> io::Result<Self> {
        self.order.token = String::new();
        self.on(Phase::Settled, disk)
    }

    /// It was called off: the device stays where it is, and what was taken away is fetched and applied again.
    ///
    /// # Errors
    /// What the disk says.
    pub fn cancel(disk: &dyn Disk) -> io::Result<()> {
        Applied::lost().save(disk)?;
        Self::forget(disk)
    }

    /// Somebody has changed the command line, and means that. Of a transfer that is over only that is remembered which
    /// signers count no more.
    ///
    /// # Errors
    /// What the disk says.
    pub fn give_way(mut self, said: Home, disk: &dyn Disk) -> io::Result<Option<Self>> {
        if !self.has_moved() {
            return Self::forget(disk).map(|()| None);
        }
        self.order.tenant = said.tenant.clone().unwrap_or_default();
        self.order.device.clone_from(&said.device);
        self.given.home = said;
        self.settle(disk).map(Some)
    }

    fn forget(disk: &dyn Disk) -> io::Result<()> {
        disk.remove(FILE)?;
        disk.sync_folder("")
    }

    /// Whose the device is now.
    pub fn home(&self) -> Home {
        if self.has_moved() {
            let tenant = Some(self.order.tenant.clone()).filter(|tenant| !tenant.is_empty());
            Home { tenant, device: self.order.device.clone() }
        } else {
            self.from.clone()
        }
    }

    /// Whether nothing of the old tenant's is left.
    pub const fn has_moved(&self) -> bool {
        matches!(self.phase, Phase::Enrolling | Phase::Settled)
    }

    /// Whether the device neither connects nor takes on anything: it is on its way.
    pub const fn is_on_its_way(&self) -> bool {
        matches!(self.phase, Phase::Wiping | Phase::Wiped | Phase::Moved)
    }
}

/// The journal of updates forgets what the old tenant asked for; what runs goes on running.
fn wipe_updates(disk: &dyn Disk) -> io::Result<()> {
    let mut kept = match Record::load(disk) {
        Ok(Some(kept)) => kept,
        // Nothing to go by: nothing is taken away that might be running.
        Ok(None) | Err(BadRecord::Damaged(_) | BadRecord::Format(_)) => return Ok(()),
        Err(BadRecord::Disk(error)) => return Err(error),
    };
    let running = kept.running();
    kept.job = None;
    kept.finished.clear();
    kept.active = running;
    kept.set_slot(running.other(), None);
    // The record first: it must not name what is gone.
    kept.save(disk)?;
    let image = kept.slot(running).and_then(|firmware| firmware.image.as_ref()).map(|image| image.sha256);
    for (slot, keep) in [(running.other(), None), (running, image)] {
        let folder = format!("slots/{slot}");
        disk.make_folder(&folder)?;
        slots::clear(disk, slot, keep)?;
        disk.sync_folder(&folder)?;
    }
    Ok(())
}

/// As which a token, or the files of signers, are remembered.
pub fn name_of(bytes: &[u8]) -> String {
    Sha256::of(bytes).to_string()
}

#[cfg(test)]
mod power_cut;
