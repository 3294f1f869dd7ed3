//! Counters since the start, and what there is now.

use std::sync::atomic::{AtomicU64, Ordering};

/// A reading of the broker's counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Clients connected now.
    pub connections: u64,
    /// Sessions, connected or kept.
    pub sessions: u64,
    pub subscriptions: u64,
    pub retained: u64,
    /// Bytes that wait in the store.
    pub queued_bytes: u64,
    /// Bytes that waited in memory at the last look, for clients and for commits.
    pub held_bytes: u64,
    pub connects: u64,
    pub connects_refused: u64,
    /// PUBLISH packets received.
    pub received: u64,
    /// PUBLISH packets sent.
    pub delivered: u64,
    /// Requests handed to services.
    pub service_requests: u64,
    /// PUBACKs sent that accept a message.
    pub acked: u64,
    /// QoS 0 messages that a full outbound buffer has dropped.
    pub dropped_qos0: u64,
    /// Messages refused because a queue, or the tenant's retained messages, were full.
    pub refused_full: u64,
    /// Publishes and subscriptions refused for want of a right.
    pub refused_unauthorized: u64,
    /// Messages that had expired, that their receiver may not have any more, or that are too large for it.
    pub discarded: u64,
    pub slow_readers: u64,
    /// Connections ended by `kick` and its kin.
    pub kicked: u64,
    pub commits: u64,
    pub commit_failures: u64,
}

#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) connections: AtomicU64,
    pub(crate) connects: AtomicU64,
    pub(crate) connects_refused: AtomicU64,
    pub(crate) received: AtomicU64,
    pub(crate) delivered: AtomicU64,
    pub(crate) service_requests: AtomicU64,
    pub(crate) acked: AtomicU64,
    pub(crate) dropped_qos0: AtomicU64,
    pub(crate) refused_full: AtomicU64,
    pub(crate) refused_unauthorized: AtomicU64,
    pub(crate) discarded: AtomicU64,
    pub(crate) slow_readers: AtomicU64,
    pub(crate) kicked: AtomicU64,
}

impl Counters {
    /// What the counters say; the rest is for the caller to fill in.
    pub(crate) fn read(&self) -> Stats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            connections: read(&self.connections),
            connects: read(&self.connects),
            connects_refused: read(&self.connects_refused),
            received: read(&self.received),
            delivered: read(&self.delivered),
            service_requests: read(&self.service_requests),
            acked: read(&self.acked),
            dropped_qos0: read(&self.dropped_qos0),
            refused_full: read(&self.refused_full),
            refused_unauthorized: read(&self.refused_unauthorized),
            discarded: read(&self.discarded),
            slow_readers: read(&self.slow_readers),
            kicked: read(&self.kicked),
            ..Stats::default()
        }
    }
}
