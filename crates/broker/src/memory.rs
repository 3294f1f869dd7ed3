//! A session store in memory: for tests, here and above, and as the plainest statement of what a store does.
//!
//! It can be held, so that a test sees what happens before a commit, or made to fail; [`MemoryStore::copy`] is what a
//! crash would leave behind.

use std::collections::BTreeMap;

use async_trait::async_trait;
use bytes::Bytes;
use fleetward_base::{DeviceId, TenantId};
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::store::{
    Chunk, Op, SessionStore, StoreFailure, StoredRetained, StoredSession, StoredSubscription, StoredWill,
};

type Key = (TenantId, DeviceId);

#[derive(Clone, Debug, Default)]
struct Data {
    sessions: BTreeMap<Key, StoredSession>,
    subscriptions: BTreeMap<Key, BTreeMap<String, StoredSubscription>>,
    queues: BTreeMap<Key, BTreeMap<u64, Chunk>>,
    retained: BTreeMap<(TenantId, String), StoredRetained>,
    wills: BTreeMap<Key, Bytes>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Works,
    Held,
    Fails,
}

/// See the module.
#[derive(Debug)]
pub struct MemoryStore {
    data: Mutex<Data>,
    mode: watch::Sender<Mode>,
    commits: Mutex<u64>,
}

impl Default for MemoryStore {
    fn default() -> Self {
        Self::with(Data::default())
    }
}

impl MemoryStore {
    fn with(data: Data) -> Self {
        Self { data: Mutex::new(data), mode: watch::Sender::new(Mode::Works), commits: Mutex::new(0) }
    }

    /// What is durable now, as a store of its own.
    pub fn copy(&self) -> Self {
        Self::with(self.data.lock().clone())
    }

    /// Commits wait from now on.
    pub fn hold(&self) {
        self.mode.send_replace(Mode::Held);
    }

    /// Commits fail from now on, also those that wait.
    pub fn fail(&self) {
        self.mode.send_replace(Mode::Fails);
    }

    /// Commits work again.
    pub fn release(&self) {
        self.mode.send_replace(Mode::Works);
    }

    /// Commits so far.
    pub fn commits(&self) -> u64 {
        *self.commits.lock()
    }

    /// Bytes and chunks in a queue.
    pub fn queued(&self, tenant: &TenantId, client: &DeviceId) -> (usize, usize) {
        let data = self.data.lock();
        let queue = data.queues.get(&(tenant.clone(), client.clone()));
        queue.map_or((0, 0), |q| (q.values().map(|c| c.packed.len()).sum(), q.len()))
    }
}

fn failure(doing: &'static str) -> StoreFailure {
    StoreFailure { doing, source: "made to fail".into() }
}

impl Data {
    fn apply(&mut self, op: Op) {
        match op {
            Op::SaveSession { tenant, client, expiry_secs, disconnected_at, protocol, acked_seq, .. } => {
                let key = (tenant.clone(), client.clone());
                let known = self.sessions.get(&key);
                let acked_seq = known.map_or(acked_seq, |s| s.acked_seq);
                let exchanges = known.map(|s| s.exchanges.clone()).unwrap_or_default();
                let session = StoredSession {
                    tenant,
                    client,
                    expiry_secs,
                    disconnected_at,
                    protocol,
                    acked_seq,
                    last_seq: acked_seq,
                    queued_bytes: 0,
                    exchanges,
                    subscriptions: Vec::new(),
                };
                self.sessions.insert(key, session);
            }
            Op::DeleteSession { tenant, client } => {
                let key = (tenant, client);
                self.sessions.remove(&key);
                self.subscriptions.remove(&key);
                self.queues.remove(&key);
            }
            Op::PutSubscriptions { tenant, client, subscriptions } => {
                let known = self.subscriptions.entry((tenant, client)).or_default();
                known.extend(subscriptions.into_iter().map(|s| (s.filter.clone(), s)));
            }
            Op::RemoveSubscriptions { tenant, client, filters } => {
                let known = self.subscriptions.entry((tenant, client)).or_default();
                known.retain(|filter, _| !filters.contains(filter));
            }
            Op::SaveExchanges { tenant, client, exchanges } => {
                if let Some(session) = self.sessions.get_mut(&(tenant, client)) {
                    session.exchanges = exchanges;
                }
            }
            Op::Enqueue { tenant, client, chunk } => {
                self.queues.entry((tenant, client)).or_default().insert(chunk.first_seq, chunk);
            }
            Op::Advance { tenant, client, acked_seq } => {
                let key = (tenant, client);
                if let Some(session) = self.sessions.get_mut(&key) {
                    session.acked_seq = acked_seq;
                }
                if let Some(queue) = self.queues.get_mut(&key) {
                    queue.retain(|_, chunk| chunk.last_seq > acked_seq);
                }
            }
            Op::KeepWill { tenant, client, will } => {
                self.wills.insert((tenant, client), will);
            }
            Op::DropWill { tenant, client, will } => {
                let key = (tenant, client);
                if self.wills.get(&key) == Some(&will) {
                    self.wills.remove(&key);
                }
            }
            Op::Retain { tenant, retained } => {
                self.retained.insert((tenant, retained.topic.clone()), retained);
            }
            Op::ClearRetained { tenant, topic } => {
                self.retained.remove(&(tenant, topic));
            }
        }
    }
}

#[async_trait]
impl SessionStore for MemoryStore {
    async fn load_sessions(&self) -> Result<Vec<StoredSession>, StoreFailure> {
        let data = self.data.lock();
        let whole = |(key, session): (&Key, &StoredSession)| {
            let queue = data.queues.get(key);
            let last = queue.and_then(|q| q.values().map(|c| c.last_seq).max()).unwrap_or(session.acked_seq);
            let bytes = queue.map_or(0, |q| q.values().map(|c| c.packed.len()).sum());
            StoredSession {
                last_seq: last.max(session.acked_seq),
                queued_bytes: u64::try_from(bytes).unwrap_or(u64::MAX),
                subscriptions: data.subscriptions.get(key).into_iter().flat_map(|s| s.values().cloned()).collect(),
                ..session.clone()
            }
        };
        Ok(data.sessions.iter().map(whole).collect())
    }

    async fn load_retained(&self) -> Result<Vec<(TenantId, StoredRetained)>, StoreFailure> {
        Ok(self.data.lock().retained.iter().map(|((tenant, _), r)| (tenant.clone(), r.clone())).collect())
    }

    async fn load_wills(&self) -> Result<Vec<StoredWill>, StoreFailure> {
        let data = self.data.lock();
        let will = |((tenant, client), will): (&Key, &Bytes)| StoredWill {
            tenant: tenant.clone(),
            client: client.clone(),
            will: will.clone(),
        };
        Ok(data.wills.iter().map(will).collect())
    }

    async fn commit(&self, ops: Vec<Op>) -> Result<(), StoreFailure> {
        let mut mode = self.mode.subscribe();
        let mode = mode.wait_for(|m| *m != Mode::Held).await.map_or(Mode::Fails, |m| *m);
        if mode == Mode::Fails {
            return Err(failure("commit"));
        }
        let mut data = self.data.lock();
        ops.into_iter().for_each(|op| data.apply(op));
        *self.commits.lock() += 1;
        Ok(())
    }

    async fn read_queue(
        &self,
        tenant: &TenantId,
        client: &DeviceId,
        after_seq: u64,
        limit_bytes: usize,
    ) -> Result<Vec<Chunk>, StoreFailure> {
        let data = self.data.lock();
        let mut bytes = 0;
        let mut found = Vec::new();
        for chunk in data.queues.get(&(tenant.clone(), client.clone())).into_iter().flat_map(BTreeMap::values) {
            if chunk.last_seq > after_seq && (found.is_empty() || bytes < limit_bytes) {
                bytes += chunk.packed.len();
                found.push(chunk.clone());
            }
        }
        Ok(found)
    }
}
