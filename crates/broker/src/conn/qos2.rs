//! QoS 2 from the client (§4.3.3): a message is passed on when it comes, its identifier is remembered until the client
//! releases it, and what comes with an identifier that is remembered is not passed on again. The identifier becomes
//! durable with the message, and goes durably before its PUBCOMP: a client may then use it for another message.

use fleetward_base::limits;

use super::Core;
use super::replies::{Gate, Reply};
use crate::codec::publish::Publish;
use crate::{EndReason, Reason};

/// What a PUBLISH with QoS 2 is.
pub(super) enum Arrival {
    New,
    /// Sent again: its PUBREC follows when what it brought at first is durable.
    Again,
}

impl Core {
    pub(super) fn look_at_exactly_once(&mut self, publish: &Publish<'_>) -> Result<Arrival, EndReason> {
        let state = self.session.lock();
        let known = state.exchanges.as_ref().map_or(0, |e| e.received());
        let (again, durable) = (state.has_received(publish.packet_id), state.durable);
        drop(state);
        if again {
            let gate = self.gate_of_past(durable);
            self.replies.push_back(Reply::Again { packet_id: publish.packet_id, gate });
            return Ok(Arrival::Again);
        }
        // 5.0 is bounded by the receive maximum; 3.1.1 knows none (CVE-2023-28366).
        if known >= limits::MQTT_UNRELEASED {
            return Err(EndReason::Server(Reason::QuotaExceeded));
        }
        Ok(Arrival::New)
    }

    /// Remembers the identifier. `with_commit`: it is taken back if the next commit fails. Whether a commit will hold it.
    pub(super) fn remember_exactly_once(&mut self, packet_id: u16, with_commit: bool) -> bool {
        let mut state = self.session.lock();
        if state.epoch != self.epoch {
            return false;
        }
        state.exchanges().receive(packet_id);
        let durable = state.durable;
        if durable {
            self.session.change(&mut state, &self.inner.committer, |p| {
                p.exchanges = true;
                if with_commit {
                    p.received.push(packet_id);
                }
            });
        }
        durable
    }

    /// The message was refused after all: the same identifier stands for a new one.
    pub(super) fn forget_exactly_once(&mut self, packet_id: u16) -> bool {
        let mut state = self.session.lock();
        let known = state.epoch == self.epoch && state.exchanges.as_mut().is_some_and(|e| e.forget_received(packet_id));
        if known && state.durable {
            self.session.change(&mut state, &self.inner.committer, |p| p.exchanges = true);
        }
        known
    }

    /// A PUBREL of the client.
    pub(super) fn on_pubrel(&mut self, packet_id: u16) {
        let since = self.inner.committer.since();
        let known = self.forget_exactly_once(packet_id);
        let durable = self.session.lock().durable;
        let (code, gate) = if known {
            self.input.unacked = self.input.unacked.saturating_sub(1);
            (0, self.commit_gate(durable, since))
        } else {
            (Reason::PacketIdentifierNotFound.code(), self.gate_of_past(durable))
        };
        self.replies.push_back(Reply::Complete { packet_id, code, gate });
    }

    /// After what an earlier connection may have left to the commit that is under way.
    fn gate_of_past(&mut self, durable: bool) -> Gate {
        let since = self.inner.committer.under_way();
        self.commit_gate(durable, since)
    }
}
