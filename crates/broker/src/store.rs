//! What must survive a crash, and the trait of whoever keeps it.
//!
//! A session's queue is numbered: each message gets the next `seq` of its session. Messages travel packed, many to a
//! [`Chunk`]; the store sees bytes. A commit holds everything that waited for one, of all tenants.

use async_trait::async_trait;
use bytes::Bytes;
use fleetward_base::{DeviceId, TenantId, Timestamp};

/// One change. Within a commit they apply in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Creates or replaces the session row; `acked_seq` is kept if the row exists (see `Advance`).
    SaveSession {
        tenant: TenantId,
        client: DeviceId,
        /// Outlives its connection by this.
        expiry_secs: u32,
        /// None while connected.
        disconnected_at: Option<Timestamp>,
        /// The protocol level of its last connection: 4 or 5.
        protocol: u8,
        /// For a new row; an existing one keeps the time it has.
        created_at: Timestamp,
        /// For a new row; an existing one keeps the number it has.
        acked_seq: u64,
    },
    /// Removes the session with its subscriptions and its queue.
    DeleteSession {
        tenant: TenantId,
        client: DeviceId,
    },
    /// Adds or replaces subscriptions.
    PutSubscriptions {
        tenant: TenantId,
        client: DeviceId,
        subscriptions: Vec<StoredSubscription>,
    },
    RemoveSubscriptions {
        tenant: TenantId,
        client: DeviceId,
        filters: Vec<String>,
    },
    /// What of QoS 2 is half done in the session, in the broker's own format with a version in the first byte; empty for
    /// nothing.
    SaveExchanges {
        tenant: TenantId,
        client: DeviceId,
        exchanges: Bytes,
    },
    /// Appends to the session's queue.
    Enqueue {
        tenant: TenantId,
        client: DeviceId,
        chunk: Chunk,
    },
    /// The client has acknowledged everything up to and including `acked_seq`: sets it on the session row, and removes
    /// the chunks whose `last_seq` is not above it.
    Advance {
        tenant: TenantId,
        client: DeviceId,
        acked_seq: u64,
    },
    /// Keeps the will of a connection that begins, in place of what is kept for the client; the bytes are the broker's own.
    KeepWill {
        tenant: TenantId,
        client: DeviceId,
        will: Bytes,
    },
    /// Removes it, if it is still just this one.
    DropWill {
        tenant: TenantId,
        client: DeviceId,
        will: Bytes,
    },
    /// Sets the retained message of a topic.
    Retain {
        tenant: TenantId,
        retained: StoredRetained,
    },
    ClearRetained {
        tenant: TenantId,
        topic: String,
    },
}

impl Op {
    pub fn tenant(&self) -> &TenantId {
        match self {
            Self::SaveSession { tenant, .. }
            | Self::DeleteSession { tenant, .. }
            | Self::PutSubscriptions { tenant, .. }
            | Self::RemoveSubscriptions { tenant, .. }
            | Self::SaveExchanges { tenant, .. }
            | Self::Enqueue { tenant, .. }
            | Self::Advance { tenant, .. }
            | Self::KeepWill { tenant, .. }
            | Self::DropWill { tenant, .. }
            | Self::Retain { tenant, .. }
            | Self::ClearRetained { tenant, .. } => tenant,
        }
    }
}

/// Consecutive messages of one session, `first_seq` to `last_seq`. The bytes are the broker's own format, with a version
/// in the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chunk {
    pub first_seq: u64,
    pub last_seq: u64,
    pub packed: Bytes,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSubscription {
    pub filter: String,
    /// 0 to 2.
    pub qos: u8,
    /// No local (bit 2) and retain as published (bit 3), as in the options byte of MQTT 5.0 §3.8.3.1; bit 6 where `a/#` does
    /// not match `a`.
    pub options: u8,
    /// The subscription identifier; 0 for none.
    pub identifier: u32,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRetained {
    pub topic: String,
    pub payload: Bytes,
    pub qos: u8,
    /// MQTT 5.0 properties as the broker encodes them; empty for none.
    pub properties: Bytes,
    pub stored_at: Timestamp,
}

/// A session as it was when the process stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredSession {
    pub tenant: TenantId,
    pub client: DeviceId,
    pub expiry_secs: u32,
    pub disconnected_at: Option<Timestamp>,
    pub protocol: u8,
    pub acked_seq: u64,
    /// The highest `last_seq` in its queue; `acked_seq` when that is empty.
    pub last_seq: u64,
    /// The sum of the packed bytes in its queue.
    pub queued_bytes: u64,
    /// See [`Op::SaveExchanges`].
    pub exchanges: Bytes,
    pub subscriptions: Vec<StoredSubscription>,
}

/// A will whose connection had not ended when the process stopped, or whose delay had not passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredWill {
    pub tenant: TenantId,
    pub client: DeviceId,
    /// See [`Op::KeepWill`].
    pub will: Bytes,
}

/// The store could not do it. What it had been given must count as not stored.
#[derive(Debug, thiserror::Error)]
#[error("session store: {doing}")]
pub struct StoreFailure {
    pub doing: &'static str,
    #[source]
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

/// Keeps sessions, queues and retained messages. The broker never has two commits under way at once.
#[async_trait]
pub trait SessionStore: Send + Sync + 'static {
    /// Every session of every tenant. Called once, at start.
    async fn load_sessions(&self) -> Result<Vec<StoredSession>, StoreFailure>;

    /// Every retained message of every tenant. Called once, at start.
    async fn load_retained(&self) -> Result<Vec<(TenantId, StoredRetained)>, StoreFailure>;

    /// Every will that is kept. Called once, at start.
    async fn load_wills(&self) -> Result<Vec<StoredWill>, StoreFailure>;

    /// Makes all of it durable, or none. On `Ok` it survives a crash of the machine.
    async fn commit(&self, ops: Vec<Op>) -> Result<(), StoreFailure>;

    /// The chunks of a session's queue whose `last_seq` is above `after_seq`, oldest first, until `limit_bytes` is
    /// reached; at least one if there is one.
    async fn read_queue(
        &self,
        tenant: &TenantId,
        client: &DeviceId,
        after_seq: u64,
        limit_bytes: usize,
    ) -> Result<Vec<Chunk>, StoreFailure>;
}
