//! A store at which the process dies: at some call to it, before the call has done anything or after it has done all.
//! Whoever called never hears of it; what is durable then is what there is afterwards.

use std::sync::Arc;

use async_trait::async_trait;
use fleetward_base::{DeviceId, TenantId};
use fleetward_broker::{Chunk, MemoryStore, Op, SessionStore, StoreFailure, StoredRetained, StoredSession, StoredWill};
use parking_lot::Mutex;

/// When the process dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    Before,
    After,
}

#[derive(Debug)]
enum Fate {
    Lives,
    /// At this call from now, 0 for the next.
    Dies(u64, Moment),
    Dead,
}

#[derive(Debug)]
pub(crate) struct CrashPoint {
    store: Arc<MemoryStore>,
    fate: Mutex<Fate>,
}

impl CrashPoint {
    pub(crate) fn new(store: Arc<MemoryStore>) -> Self {
        Self { store, fate: Mutex::new(Fate::Lives) }
    }

    pub(crate) fn arm(&self, calls: u64, moment: Moment) {
        *self.fate.lock() = Fate::Dies(calls, moment);
    }

    pub(crate) fn disarm(&self) {
        *self.fate.lock() = Fate::Lives;
    }

    pub(crate) fn armed(&self) -> bool {
        matches!(*self.fate.lock(), Fate::Dies(..))
    }

    /// The process is dead.
    pub(crate) fn struck(&self) -> bool {
        matches!(*self.fate.lock(), Fate::Dead)
    }

    /// Whether the process dies at this call. It never returns to one that is dead.
    async fn step(&self) -> Option<Moment> {
        let strikes = {
            let mut fate = self.fate.lock();
            match *fate {
                Fate::Lives => return None,
                Fate::Dies(0, moment) => {
                    *fate = Fate::Dead;
                    Some(moment)
                }
                Fate::Dies(calls, moment) => {
                    *fate = Fate::Dies(calls - 1, moment);
                    return None;
                }
                Fate::Dead => None,
            }
        };
        if strikes != Some(Moment::After) {
            std::future::pending::<()>().await;
        }
        strikes
    }
}

#[async_trait]
impl SessionStore for CrashPoint {
    async fn load_sessions(&self) -> Result<Vec<StoredSession>, StoreFailure> {
        self.store.load_sessions().await
    }

    async fn load_retained(&self) -> Result<Vec<(TenantId, StoredRetained)>, StoreFailure> {
        self.store.load_retained().await
    }

    async fn load_wills(&self) -> Result<Vec<StoredWill>, StoreFailure> {
        self.store.load_wills().await
    }

    async fn commit(&self, ops: Vec<Op>) -> Result<(), StoreFailure> {
        let dies = self.step().await;
        let done = self.store.commit(ops).await;
        if dies.is_some() {
            std::future::pending::<()>().await;
        }
        done
    }

    async fn read_queue(
        &self,
        tenant: &TenantId,
        client: &DeviceId,
        after_seq: u64,
        limit_bytes: usize,
    ) -> Result<Vec<Chunk>, StoreFailure> {
        let dies = self.step().await;
        let found = self.store.read_queue(tenant, client, after_seq, limit_bytes).await;
        if dies.is_some() {
            std::future::pending::<()>().await;
        }
        found
    }
}
