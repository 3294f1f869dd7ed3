//! Requests on one shadow, one after the other.
//!
//! The store would keep them apart by itself. Turns keep what is *told* after the commits in the order of the versions,
//! which clients rely on to drop what is old.

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::Arc;

use fleetward_base::TenantId;
use tokio::sync::{Mutex, OwnedMutexGuard};

use super::ShadowKey;

/// Locks that shadows share by hash; two shadows that share one wait for each other now and then, and no more.
const LOCKS: usize = 4096;

/// Whose turn it is.
#[derive(Debug)]
pub(crate) struct Turns {
    locks: Vec<Arc<Mutex<()>>>,
}

impl Default for Turns {
    fn default() -> Self {
        Self { locks: (0..LOCKS).map(|_| Arc::default()).collect() }
    }
}

impl Turns {
    /// Waits, in the order of asking, until nobody else works on this shadow.
    pub(super) async fn take(&self, tenant: &TenantId, key: &ShadowKey) -> OwnedMutexGuard<()> {
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one((tenant, key));
        let index = usize::try_from(hash % LOCKS as u64).unwrap_or_default();
        let lock = self.locks.get(index).cloned().unwrap_or_default();
        lock.lock_owned().await
    }
}
