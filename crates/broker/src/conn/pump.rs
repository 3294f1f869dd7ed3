//! From the session's queue to the client: memory where it can, the store where it must.

use std::sync::atomic::Ordering;
use std::task::Context;

use bytes::Bytes;
use futures::FutureExt;

use super::Core;
use crate::EndReason;
use crate::Reason;
use crate::codec::write::OutPublish;
use crate::hooks::Qos;
use crate::record::{Flags, Record, unpack};
use crate::session::{Outgoing, packet_id};
use crate::store::Chunk;

/// Written bytes that may wait before no more messages are added.
const HIGH_WATER: usize = 64 * 1024;
/// Bytes of a queue that are read at once.
const READ_QUEUE_BYTES: usize = 64 * 1024;

/// What comes next for the client.
enum Next {
    Send(Outgoing),
    /// What follows is in the store, up to here.
    Read {
        until: u64,
    },
    Nothing,
}

impl Core {
    /// Writes what may be sent now.
    pub(super) fn pump(&mut self) -> bool {
        let mut progress = false;
        while self.output.waiting() < HIGH_WATER {
            if let Some((seq, _)) = self.delivery.backlog.front() {
                if !self.delivery.window_open(*seq) {
                    break;
                }
                if let Some((seq, record)) = self.delivery.backlog.pop_front() {
                    self.send(seq, None, &record);
                    progress = true;
                }
                continue;
            }
            if self.delivery.reading.is_some() {
                break;
            }
            match self.next() {
                Next::Send(outgoing) => self.send(outgoing.seq, Some(outgoing.flags), &outgoing.record),
                Next::Read { until } => self.read_queue(until),
                Next::Nothing => break,
            }
            progress = true;
        }
        if progress {
            self.note_sent();
        }
        progress
    }

    fn note_sent(&self) {
        let mut state = self.session.lock();
        if state.epoch == self.epoch {
            state.sent_seq = state.sent_seq.max(self.delivery.sent);
        }
    }

    fn next(&mut self) -> Next {
        let mut state = self.session.lock();
        if state.epoch != self.epoch {
            return Next::Nothing;
        }
        state.awaits_commit = false;
        let wanted = self.delivery.sent + 1;
        loop {
            // A message with QoS 2 goes when it is stored: to a crash before, its number and with that its identifier would be
            // free again, and the client would take another message for this one (§4.3.3).
            let stored = !state.durable || state.committed_seq >= wanted;
            if !stored && state.outbox.front().is_some_and(|o| o.seq == wanted && o.flags.exactly_once) {
                state.awaits_commit = true;
                return Next::Nothing;
            }
            match state.outbox.front().map(|o| o.seq) {
                Some(seq) if seq != 0 && seq < wanted => {
                    state.pop_outgoing(); // read from the store in the meantime
                }
                Some(seq) if seq == 0 || (seq == wanted && self.delivery.window_open(seq)) => {
                    return state.pop_outgoing().map_or(Next::Nothing, Next::Send);
                }
                Some(seq) if seq == wanted => return Next::Nothing,
                Some(_) | None if wanted < state.next_seq && state.durable => {
                    if state.committed_seq >= wanted && self.delivery.window_open(wanted) {
                        return Next::Read { until: state.committed_seq };
                    }
                    state.awaits_commit = state.committed_seq < wanted;
                    return Next::Nothing;
                }
                Some(_) | None => return Next::Nothing,
            }
        }
    }

    fn read_queue(&mut self, until: u64) {
        let store = self.inner.store.clone();
        let session = self.session.clone();
        let after = self.delivery.sent;
        self.delivery.reading_until = until;
        self.delivery.reading =
            Some(Box::pin(
                async move { store.read_queue(&session.tenant, &session.client, after, READ_QUEUE_BYTES).await },
            ));
    }

    /// Takes what the store has brought.
    pub(super) fn poll_queue(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(reading) = &mut self.delivery.reading else { return false };
        let std::task::Poll::Ready(result) = reading.poll_unpin(cx) else { return false };
        self.delivery.reading = None;
        match result {
            Ok(chunks) => self.take_chunks(chunks),
            Err(failure) => {
                tracing::warn!(error = %failure, cause = %failure.source, "an MQTT queue could not be read");
                // The client comes back and finds its queue then.
                self.link.end(EndReason::Server(Reason::ImplementationSpecific));
            }
        }
        true
    }

    fn take_chunks(&mut self, chunks: Vec<Chunk>) {
        let mut last = self.delivery.reading_until;
        for chunk in &chunks {
            let Some(records) = unpack(&chunk.packed) else {
                tracing::error!(
                    tenant = %self.space.tenant, client = %self.session.client,
                    first_seq = chunk.first_seq, last_seq = chunk.last_seq, "a chunk of an MQTT queue is damaged"
                );
                continue;
            };
            for (seq, record) in (chunk.first_seq..).zip(records) {
                if seq > self.delivery.sent {
                    self.delivery.backlog.push_back((seq, record));
                }
            }
            last = chunk.last_seq;
        }
        if self.delivery.backlog.is_empty() {
            // Nothing is there up to where the store has been written: those messages were refused to their publishers.
            self.delivery.sent = self.delivery.sent.max(last);
            self.note_settled(0);
        }
    }

    /// Writes one message, unless its time or the right to it has gone.
    fn send(&mut self, seq: u64, flags: Option<Flags>, record: &Bytes) {
        if seq != 0 && self.release_again(seq, record.len()) {
            return;
        }
        let Some((message, _)) = Record::decode(record) else { return self.discard(seq, record.len()) };
        let flags = flags.unwrap_or(message.flags);
        let mut expiry_secs = None;
        if let Some(at) = message.expires_at {
            let left = at.since(self.inner.clock.now()).as_millis().div_ceil(1000);
            // §3.3.2.3.3: what has been begun is brought to its end.
            let begun = flags.exactly_once && seq != 0 && seq <= self.delivery.dup_until;
            if left == 0 && !begun {
                return self.discard(seq, record.len());
            }
            expiry_secs = Some(u32::try_from(left).unwrap_or(u32::MAX));
        }
        if !flags.direct && !self.inner.hooks.authorize_delivery(&self.principal, message.topic) {
            return self.discard(seq, record.len());
        }
        let publish = OutPublish {
            topic: message.topic,
            qos: match (seq, flags.exactly_once) {
                (0, _) => Qos::AtMostOnce,
                (_, false) => Qos::AtLeastOnce,
                (_, true) => Qos::ExactlyOnce,
            },
            dup: seq != 0 && seq <= self.delivery.dup_until,
            retain: flags.retain,
            packet_id: packet_id(seq),
            properties: message.properties,
            expiry_secs,
            subscription: flags.subscription,
            payload: message.payload,
        };
        // §3.1.2.11.4: what is too large for the client is dropped as if it had been sent.
        if publish.len(self.v5) > self.delivery.max_packet {
            return self.discard(seq, record.len());
        }
        publish.write(self.v5, &mut self.output.buffer);
        self.inner.counters.delivered.fetch_add(1, Ordering::Relaxed);
        if seq != 0 {
            self.delivery.sent_one(seq, record.len(), flags.exactly_once);
        }
    }

    fn discard(&mut self, seq: u64, bytes: usize) {
        self.inner.counters.discarded.fetch_add(1, Ordering::Relaxed);
        if seq != 0 {
            self.delivery.sent = self.delivery.sent.max(seq);
            self.note_settled(u64::try_from(bytes).unwrap_or(0));
        }
    }
}
