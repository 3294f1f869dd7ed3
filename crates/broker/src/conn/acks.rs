//! QoS 1 to the client: what is on its way, and what its PUBACKs settle.

use std::collections::VecDeque;

use bytes::Bytes;
use futures::future::BoxFuture;

use super::Core;
use crate::StoreFailure;
use crate::session::packet_id;
use crate::store::Chunk;

/// A message that has been sent and not yet acknowledged.
#[derive(Clone, Copy, Debug)]
struct InFlight {
    seq: u64,
    bytes: u32,
    acked: bool,
}

/// The sending side of a connection.
pub(super) struct Delivery {
    /// Sent, or not to be sent, up to here.
    pub(super) sent: u64,
    /// Up to here it may have been sent before.
    pub(super) dup_until: u64,
    in_flight: VecDeque<InFlight>,
    window: usize,
    /// The largest packet the client takes.
    pub(super) max_packet: usize,
    /// Read from the store and not yet sent.
    pub(super) backlog: VecDeque<(u64, Bytes)>,
    /// What the store is asked for goes at least up to here.
    pub(super) reading_until: u64,
    pub(super) reading: Option<BoxFuture<'static, Result<Vec<Chunk>, StoreFailure>>>,
}

impl Delivery {
    pub(super) fn new(sent: u64, dup_until: u64, window: u16, max_packet: usize) -> Self {
        Self {
            sent,
            dup_until,
            in_flight: VecDeque::new(),
            window: usize::from(window),
            max_packet,
            backlog: VecDeque::new(),
            reading_until: 0,
            reading: None,
        }
    }

    /// Whether one more may be sent (§4.9). Packet identifiers repeat after 65,535 messages.
    pub(super) fn window_open(&self, seq: u64) -> bool {
        self.in_flight.len() < self.window && self.in_flight.front().is_none_or(|first| seq - first.seq < 65_535)
    }

    pub(super) fn sent_one(&mut self, seq: u64, bytes: usize) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.in_flight.push_back(InFlight { seq, bytes, acked: false });
        self.sent = self.sent.max(seq);
    }

    /// Everything up to this number is done with.
    fn settled(&self) -> u64 {
        self.in_flight.front().map_or(self.sent, |first| first.seq - 1)
    }

    /// Marks a message as acknowledged; the bytes of those that are done with now.
    fn acknowledge(&mut self, id: u16) -> u64 {
        if let Some(found) = self.in_flight.iter_mut().find(|f| !f.acked && packet_id(f.seq) == id) {
            found.acked = true;
        }
        let mut bytes = 0;
        while let Some(first) = self.in_flight.pop_front_if(|f| f.acked) {
            bytes += u64::from(first.bytes);
        }
        if self.in_flight.is_empty() && self.in_flight.capacity() > 16 {
            self.in_flight = VecDeque::new();
        }
        bytes
    }
}

impl Core {
    /// A PUBACK of the client. One that settles nothing is ignored: it may be for a message of an earlier connection.
    pub(super) fn acknowledge(&mut self, packet_id: u16) {
        let bytes = self.delivery.acknowledge(packet_id);
        self.note_settled(bytes);
    }

    /// Tells the session how far its client is. The store learns it with the next commit; nobody waits for that.
    pub(super) fn note_settled(&mut self, bytes: u64) {
        let settled = self.delivery.settled();
        let mut state = self.session.lock();
        if state.epoch != self.epoch || settled <= state.acked_seq {
            return;
        }
        state.advance(settled, bytes);
        if state.durable {
            self.session.change(&mut state, &self.inner.committer, |p| p.advance = true);
        }
    }
}
