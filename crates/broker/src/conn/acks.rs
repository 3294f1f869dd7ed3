//! QoS 1 and 2 to the client: what is on its way, and what its acknowledgements settle.

use std::collections::VecDeque;

use bytes::Bytes;
use futures::future::BoxFuture;

use super::Core;
use super::replies::Reply;
use crate::codec::write::{self, PUBREL};
use crate::session::packet_id;
use crate::store::Chunk;
use crate::{Reason, StoreFailure};

/// How far a message has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// QoS 1, sent.
    AtLeastOnce,
    /// QoS 2, sent.
    ExactlyOnce,
    /// QoS 2, and the client has it: it is told to release it.
    Released,
    Done,
}

/// A message that has been sent and not yet acknowledged.
#[derive(Clone, Copy, Debug)]
struct InFlight {
    seq: u64,
    bytes: u32,
    phase: Phase,
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
    /// What the client had before this connection began and was to release (QoS 2): it is told so again.
    released: Vec<u64>,
    /// Read from the store and not yet sent.
    pub(super) backlog: VecDeque<(u64, Bytes)>,
    /// What the store is asked for goes at least up to here.
    pub(super) reading_until: u64,
    pub(super) reading: Option<BoxFuture<'static, Result<Vec<Chunk>, StoreFailure>>>,
}

impl Delivery {
    pub(super) fn new(sent: u64, dup_until: u64, released: Vec<u64>, window: u16, max_packet: usize) -> Self {
        Self {
            sent,
            dup_until,
            in_flight: VecDeque::new(),
            window: usize::from(window),
            max_packet,
            released,
            backlog: VecDeque::new(),
            reading_until: 0,
            reading: None,
        }
    }

    /// Whether one more may be sent (§4.9). Packet identifiers repeat after 65,535 messages.
    pub(super) fn window_open(&self, seq: u64) -> bool {
        self.in_flight.len() < self.window && self.in_flight.front().is_none_or(|first| seq - first.seq < 65_535)
    }

    pub(super) fn sent_one(&mut self, seq: u64, bytes: usize, exactly_once: bool) {
        let phase = if exactly_once { Phase::ExactlyOnce } else { Phase::AtLeastOnce };
        self.note(seq, bytes, phase);
    }

    fn note(&mut self, seq: u64, bytes: usize, phase: Phase) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.in_flight.push_back(InFlight { seq, bytes, phase });
        self.sent = self.sent.max(seq);
    }

    /// Everything up to this number is done with.
    fn settled(&self) -> u64 {
        self.in_flight.front().map_or(self.sent, |first| first.seq - 1)
    }

    fn find(&mut self, id: u16, phase: Phase) -> Option<&mut InFlight> {
        self.in_flight.iter_mut().find(|f| f.phase == phase && packet_id(f.seq) == id)
    }

    /// Marks a message as done; the bytes of those that are done with now.
    fn finish(&mut self, id: u16, phase: Phase) -> u64 {
        if let Some(found) = self.find(id, phase) {
            found.phase = Phase::Done;
        }
        let mut bytes = 0;
        while let Some(first) = self.in_flight.pop_front_if(|f| f.phase == Phase::Done) {
            bytes += u64::from(first.bytes);
        }
        if self.in_flight.is_empty() && self.in_flight.capacity() > 16 {
            self.in_flight = VecDeque::new();
        }
        bytes
    }
}

impl Core {
    /// A PUBACK of the client. One that settles nothing is ignored: it may be for a message of an earlier connection. Its
    /// code changes nothing: an error too ends the delivery, §4.3.2.
    pub(super) fn acknowledge(&mut self, packet_id: u16) {
        let bytes = self.delivery.finish(packet_id, Phase::AtLeastOnce);
        self.note_settled(bytes);
    }

    /// A PUBREC of the client: it has the message. That it does is durable before it is told to release it: sent again
    /// after that, the message would be another one to it.
    pub(super) fn on_pubrec(&mut self, id: u16, code: u8) {
        if code >= 0x80 {
            let bytes = self.delivery.finish(id, Phase::ExactlyOnce);
            self.note_settled(bytes);
            return;
        }
        let Some(found) = self.delivery.find(id, Phase::ExactlyOnce) else {
            let known = self.delivery.find(id, Phase::Released).is_some();
            let code = if known { 0 } else { Reason::PacketIdentifierNotFound.code() };
            return self.write_ack(PUBREL, id, code);
        };
        found.phase = Phase::Released;
        let seq = found.seq;
        let since = self.inner.committer.since();
        let mut state = self.session.lock();
        if state.epoch != self.epoch {
            return; // the connection that took over sends the message again
        }
        let durable = state.durable;
        if durable {
            state.exchanges().release(seq);
            self.session.change(&mut state, &self.inner.committer, |p| p.exchanges = true);
        }
        drop(state);
        let gate = self.commit_gate(durable, since);
        self.replies.push_back(Reply::Release { packet_id: id, gate });
    }

    /// A PUBCOMP of the client: it has released the message.
    pub(super) fn on_pubcomp(&mut self, id: u16) {
        let bytes = self.delivery.finish(id, Phase::Released);
        self.note_settled(bytes);
    }

    /// Whether the client has this message since an earlier connection; it is told to release it then.
    pub(super) fn release_again(&mut self, seq: u64, bytes: usize) -> bool {
        if self.delivery.released.binary_search(&seq).is_err() {
            return false;
        }
        self.delivery.note(seq, bytes, Phase::Released);
        self.write_ack(PUBREL, packet_id(seq), 0);
        true
    }

    /// 3.1.1 has no codes.
    pub(super) fn write_ack(&mut self, first: u8, packet_id: u16, code: u8) {
        write::ack(&mut self.output.buffer, first, packet_id, if self.v5 { code } else { 0 });
    }

    /// Tells the session how far its client is. The store learns it with the next commit; nobody waits for that.
    pub(super) fn note_settled(&mut self, bytes: u64) {
        let settled = self.delivery.settled();
        let mut state = self.session.lock();
        if state.epoch != self.epoch || settled <= state.acked_seq {
            return;
        }
        state.advance(settled, bytes);
        let forgotten = state.exchanges.as_mut().is_some_and(|e| e.settle(settled));
        if state.durable {
            self.session.change(&mut state, &self.inner.committer, |p| {
                p.advance = true;
                p.exchanges |= forgotten;
            });
        }
    }
}
