//! A session: what a client is owed, whether it is connected or not.
//!
//! Every message of QoS 1 or 2 of a session has a number (`seq`), counted up from 1. Its packet identifier follows from
//! that, so that a message keeps it across connections and restarts (§4.4). The queue of a durable session is in the store; memory
//! holds at most a tail of it, for the connection to send from without reading. A session that ends with its connection
//! has only the memory.
//!
//! Locks are taken in this order: the tenant's sessions, a session's state, then router, committer or wheel.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use fleetward_base::{DeviceId, TenantId, Timestamp};
use parking_lot::{Mutex, MutexGuard};

use crate::committer::Committer;
use crate::exchanges::Exchanges;
use crate::hooks::{Principal, Qos};
use crate::link::Link;
use crate::record::{CHUNK_VERSION, Flags, Record};
use crate::router::Wish;
use crate::store::{StoredSession, StoredSubscription};
use crate::timers::TimerKey;

mod taken;
mod will;

pub(crate) use taken::Taken;
pub(crate) use will::WillChange;

/// Chunks are cut at this size, so that reading a queue can be bounded.
const CHUNK_BYTES: usize = 256 * 1024;

/// The packet identifier of a message: 1 to 65,535, the same for the same number.
pub(crate) fn packet_id(seq: u64) -> u16 {
    u16::try_from(seq.saturating_sub(1) % 65_535).unwrap_or_default() + 1
}

pub(crate) struct Session {
    pub(crate) tenant: TenantId,
    pub(crate) client: DeviceId,
    /// It has a connection. Beside the state, so that who shares a subscription can be found under the router's lock.
    online: AtomicBool,
    state: Mutex<State>,
}

/// A message on its way to a connection.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    /// 0 with QoS 0.
    pub(crate) seq: u64,
    pub(crate) flags: Flags,
    pub(crate) record: Bytes,
}

#[derive(Clone, Debug)]
pub(crate) struct Subscription {
    pub(crate) filter: Arc<str>,
    pub(crate) wish: Wish,
}

impl Subscription {
    fn to_stored(&self) -> StoredSubscription {
        let no_local = if self.wish.no_local { 0x04 } else { 0 };
        let as_published = if self.wish.retain_as_published { 0x08 } else { 0 };
        let below_only = if self.wish.below_only { 0x40 } else { 0 };
        StoredSubscription {
            filter: self.filter.to_string(),
            qos: self.wish.qos as u8,
            options: no_local | as_published | below_only,
            identifier: self.wish.identifier,
        }
    }

    fn from_stored(stored: &StoredSubscription) -> Self {
        let wish = Wish {
            qos: Qos::from_bits(stored.qos),
            no_local: stored.options & 0x04 != 0,
            retain_as_published: stored.options & 0x08 != 0,
            below_only: stored.options & 0x40 != 0,
            identifier: stored.identifier,
        };
        Self { filter: stored.filter.as_str().into(), wish }
    }
}

/// The last will of a connection, or one that waits for its delay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LastWill {
    /// The number of its connection, and when that began.
    pub(crate) epoch: u64,
    pub(crate) since: Timestamp,
    pub(crate) topic: String,
    pub(crate) payload: Vec<u8>,
    pub(crate) properties: Vec<u8>,
    pub(crate) qos: Qos,
    pub(crate) retain: bool,
    pub(crate) delay_secs: u32,
    pub(crate) expiry_secs: Option<u32>,
}

/// What of a session waits for the next commit.
#[derive(Debug, Default)]
pub(crate) struct Pending {
    pub(crate) delete: bool,
    pub(crate) save: bool,
    pub(crate) advance: bool,
    pub(crate) exchanges: bool,
    /// Messages of QoS 2 that count as received once this is committed.
    pub(crate) received: Vec<u16>,
    /// In order: put (Some) or removed (None).
    pub(crate) subscriptions: Vec<(Arc<str>, Option<Wish>)>,
    pub(crate) chunks: Vec<PendingChunk>,
    pub(crate) wills: Vec<WillChange>,
}

#[derive(Debug)]
pub(crate) struct PendingChunk {
    pub(crate) first_seq: u64,
    pub(crate) last_seq: u64,
    pub(crate) packed: Vec<u8>,
}

pub(crate) struct State {
    /// The number of its present or last connection.
    pub(crate) epoch: u64,
    pub(crate) link: Option<Arc<Link>>,
    pub(crate) principal: Option<Arc<Principal>>,
    pub(crate) expiry_secs: u32,
    pub(crate) protocol: u8,
    pub(crate) created_at: Timestamp,
    pub(crate) disconnected_at: Option<Timestamp>,
    pub(crate) subscriptions: Vec<Subscription>,
    pub(crate) will: Option<Box<LastWill>>,
    /// The store has it, or will with the next commit.
    pub(crate) durable: bool,
    /// A commit has held its row: it may be told that it is kept.
    pub(crate) stored: bool,
    pub(crate) next_seq: u64,
    /// Everything up to here is done with.
    pub(crate) acked_seq: u64,
    /// Everything up to here has been sent at least once, or may have been.
    pub(crate) sent_seq: u64,
    /// Everything up to here is in the store, or never will be.
    pub(crate) committed_seq: u64,
    pub(crate) queued_bytes: u64,
    pub(crate) outbox: VecDeque<Outgoing>,
    pub(crate) outbox_bytes: usize,
    /// The connection waits for a commit before it can read on in the queue.
    pub(crate) awaits_commit: bool,
    pub(crate) pending: Option<Box<Pending>>,
    /// None while nothing of QoS 2 is half done.
    pub(crate) exchanges: Option<Box<Exchanges>>,
    /// The committer knows about `pending`.
    pub(crate) dirty: bool,
    /// The second in which a full queue was last reported.
    pub(crate) full_reported_at: u64,
    /// When the session is looked at while it has no connection.
    pub(crate) timer: Option<TimerKey>,
}

/// What became of a message for one session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    /// In memory only, as it should be.
    Volatile,
    /// It will be in the store with the next commit.
    Durable,
    /// QoS 0, and too much is waiting.
    Dropped,
    /// QoS 1 or 2 to a session without a store, and too much is waiting: its connection ends.
    Overflow,
    /// Nobody is there to have it.
    Nobody,
}

impl Session {
    pub(crate) fn new(tenant: TenantId, client: DeviceId, now: Timestamp) -> Arc<Self> {
        let state = State {
            epoch: 0,
            link: None,
            principal: None,
            expiry_secs: 0,
            protocol: 0,
            created_at: now,
            disconnected_at: None,
            subscriptions: Vec::new(),
            will: None,
            durable: false,
            stored: false,
            next_seq: 1,
            acked_seq: 0,
            sent_seq: 0,
            committed_seq: 0,
            queued_bytes: 0,
            outbox: VecDeque::new(),
            outbox_bytes: 0,
            awaits_commit: false,
            pending: None,
            exchanges: None,
            dirty: false,
            full_reported_at: 0,
            timer: None,
        };
        Arc::new(Self { tenant, client, online: AtomicBool::new(false), state: Mutex::new(state) })
    }

    /// One that ended with its connection.
    pub(crate) fn ended(tenant: TenantId, client: DeviceId, now: Timestamp) -> Arc<Self> {
        let session = Self::new(tenant, client, now);
        session.lock().disconnected_at = Some(now);
        session
    }

    /// `in_flight` messages beyond the acknowledged ones may have been sent before the restart.
    pub(crate) fn from_stored(stored: &StoredSession, now: Timestamp, in_flight: u64) -> Arc<Self> {
        let session = Self::new(stored.tenant.clone(), stored.client.clone(), now);
        {
            let mut state = session.lock();
            state.expiry_secs = stored.expiry_secs;
            state.protocol = stored.protocol;
            state.disconnected_at = Some(stored.disconnected_at.unwrap_or(now));
            state.subscriptions = stored.subscriptions.iter().map(Subscription::from_stored).collect();
            state.durable = true;
            state.stored = true;
            let last = stored.last_seq.max(stored.acked_seq);
            state.next_seq = last + 1;
            state.acked_seq = stored.acked_seq;
            state.sent_seq = last.min(stored.acked_seq + in_flight);
            state.committed_seq = last;
            state.queued_bytes = stored.queued_bytes;
            state.exchanges = Exchanges::unpack(&stored.exchanges).map(Box::new);
        }
        session
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    pub(crate) fn set_online(&self, online: bool) {
        self.online.store(online, Ordering::Relaxed);
    }

    pub(crate) fn is_online(&self) -> bool {
        self.online.load(Ordering::Relaxed)
    }

    /// Notes a change for the next commit. `state` must be this session's.
    pub(crate) fn change(self: &Arc<Self>, state: &mut State, committer: &Committer, note: impl FnOnce(&mut Pending)) {
        note(state.pending.get_or_insert_default());
        if !state.dirty {
            state.dirty = true;
            committer.register(self);
        }
    }

    /// Hands a message to the session. `shared` is the record in memory of its own, made when first needed.
    pub(crate) fn push(
        self: &Arc<Self>,
        state: &mut State,
        message: &Parcel<'_>,
        qos: Qos,
        flags: Flags,
        limits: &PushLimits<'_>,
    ) -> Pushed {
        if qos == Qos::AtMostOnce {
            return state.push_qos0(message, flags, limits.outbound_bytes);
        }
        if !state.durable && state.link.is_none() {
            return Pushed::Nobody;
        }
        let flags = Flags { exactly_once: qos == Qos::ExactlyOnce, ..flags };
        let seq = state.next_seq;
        let len = message.len_with(flags);
        let fits = state.outbox_bytes + len <= limits.outbound_bytes;
        if !state.durable {
            if !fits {
                return Pushed::Overflow;
            }
            state.next_seq += 1;
            state.push_live(seq, message, flags);
            return Pushed::Volatile;
        }
        state.next_seq += 1;
        state.queued_bytes += u64::try_from(len).unwrap_or(u64::MAX);
        limits.committer.add_bytes(len);
        self.change(state, limits.committer, |pending| pending.append(seq, &message.record, flags));
        if state.link.is_some() {
            if fits {
                state.push_live(seq, message, flags);
            } else {
                state.forget_queued();
            }
        }
        Pushed::Durable
    }
}

/// A message with what its receivers share.
pub(crate) struct Parcel<'a> {
    pub(crate) record: Record<'a>,
    /// Bytes of the record in a queue.
    pub(crate) len: usize,
    shared: std::cell::OnceCell<Bytes>,
}

impl<'a> Parcel<'a> {
    pub(crate) fn new(record: Record<'a>) -> Self {
        Self { record, len: record.encoded_len(record.flags), shared: std::cell::OnceCell::new() }
    }

    /// Bytes of the record in the queue of a session that has it with these flags.
    fn len_with(&self, flags: Flags) -> usize {
        if flags.subscription == 0 { self.len } else { self.record.encoded_len(flags) }
    }

    /// The record in memory: one for all, except for those who have an identifier in theirs.
    fn bytes(&self, flags: Flags) -> Bytes {
        if flags.subscription != 0 {
            return self.record.to_bytes(flags);
        }
        self.shared.get_or_init(|| self.record.to_bytes(self.record.flags)).clone()
    }
}

pub(crate) struct PushLimits<'a> {
    pub(crate) committer: &'a Committer,
    pub(crate) outbound_bytes: usize,
}

impl Pending {
    fn append(&mut self, seq: u64, record: &Record<'_>, flags: Flags) {
        let fits = self.chunks.last().is_some_and(|c| c.last_seq + 1 == seq && c.packed.len() < CHUNK_BYTES);
        if !fits {
            let mut packed = Vec::with_capacity(1 + record.encoded_len(flags));
            packed.push(CHUNK_VERSION);
            self.chunks.push(PendingChunk { first_seq: seq, last_seq: seq, packed });
        }
        if let Some(chunk) = self.chunks.last_mut() {
            chunk.last_seq = seq;
            record.encode(flags, &mut chunk.packed);
        }
    }
}

impl State {
    fn push_qos0(&mut self, message: &Parcel<'_>, flags: Flags, outbound_bytes: usize) -> Pushed {
        if self.link.is_none() {
            return Pushed::Nobody;
        }
        if self.outbox_bytes + message.len_with(flags) > outbound_bytes {
            return Pushed::Dropped;
        }
        self.push_live(0, message, flags);
        Pushed::Volatile
    }

    fn push_live(&mut self, seq: u64, message: &Parcel<'_>, flags: Flags) {
        let was_empty = self.outbox.is_empty();
        let record = message.bytes(flags);
        self.outbox_bytes += record.len();
        self.outbox.push_back(Outgoing { seq, flags, record });
        if was_empty && let Some(link) = &self.link {
            link.wake();
        }
    }

    /// Whether the queue takes `len` bytes more.
    pub(crate) fn has_room(&self, len: usize, queue_bytes: u64) -> bool {
        !self.durable || self.queued_bytes.saturating_add(u64::try_from(len).unwrap_or(u64::MAX)) <= queue_bytes
    }

    pub(crate) fn pop_outgoing(&mut self) -> Option<Outgoing> {
        let next = self.outbox.pop_front()?;
        self.outbox_bytes -= next.record.len();
        if self.outbox.is_empty() && self.outbox.capacity() > 16 {
            self.outbox = VecDeque::new();
        }
        Some(next)
    }

    /// Takes from memory what the store has or will have; the connection reads it from there.
    pub(crate) fn forget_queued(&mut self) {
        self.outbox.retain(|o| o.seq == 0);
        self.outbox_bytes = self.outbox.iter().map(|o| o.record.len()).sum();
    }

    /// Takes from memory what a commit that failed was to hold, up to `seq`.
    fn forget_refused(&mut self, seq: u64) {
        self.outbox.retain(|o| o.seq == 0 || o.seq > seq);
        self.outbox_bytes = self.outbox.iter().map(|o| o.record.len()).sum();
    }

    /// Nothing is owed any more and nothing is subscribed: a new session in an old place.
    pub(crate) fn wipe(&mut self, committer: &Committer) -> Vec<Subscription> {
        self.outbox = VecDeque::new();
        self.outbox_bytes = 0;
        self.queued_bytes = 0;
        self.acked_seq = self.next_seq - 1;
        self.sent_seq = self.acked_seq;
        self.committed_seq = self.acked_seq;
        self.durable = false;
        self.stored = false;
        self.exchanges = None;
        if let Some(pending) = &mut self.pending {
            committer.sub_bytes(pending.chunks.drain(..).map(|c| c.packed.len() - 1).sum());
            pending.subscriptions.clear();
            pending.save = false;
            pending.advance = false;
            pending.exchanges = false;
            pending.received.clear();
        }
        std::mem::take(&mut self.subscriptions)
    }

    /// What of QoS 2 is half done, to be changed; see [`Session::change`] for what has to be stored of it.
    pub(crate) fn exchanges(&mut self) -> &mut Exchanges {
        self.exchanges.get_or_insert_default()
    }

    pub(crate) fn has_received(&self, packet_id: u16) -> bool {
        self.exchanges.as_ref().is_some_and(|e| e.has_received(packet_id))
    }

    /// Everything up to `seq` is done with; `bytes` of it leave the queue.
    pub(crate) fn advance(&mut self, seq: u64, bytes: u64) {
        self.acked_seq = self.acked_seq.max(seq);
        let empty = self.acked_seq + 1 == self.next_seq;
        self.queued_bytes = if empty { 0 } else { self.queued_bytes.saturating_sub(bytes) };
    }
}
