//! Who is there now. Kept in memory, written down in batches.

use std::collections::HashMap;

use fleetward_base::{DeviceId, TenantId};
use fleetward_core::presence::Presence;
use parking_lot::RwLock;

/// The presence of every device that was heard of.
#[derive(Debug, Default)]
pub struct Presences {
    known: RwLock<HashMap<(TenantId, DeviceId), Presence>>,
}

impl Presences {
    /// What is known of a device; for one never heard of, that it is not there.
    pub fn of(&self, tenant: &TenantId, device: &DeviceId) -> Presence {
        self.known.read().get(&(tenant.clone(), device.clone())).cloned().unwrap_or_default()
    }
}
