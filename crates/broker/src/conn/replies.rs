//! What the client is owed for its packets, in their order; and the services that work for it.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesOrdered;

use super::Core;
use super::subscribe::Subscribed;
use crate::codec::write::{self, PUBACK, PUBCOMP, PUBREC, PUBREL};
use crate::hooks::Nack;
use crate::{CommitFailed, EndReason, Reason};

/// When a reply may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    Open,
    /// After the commit of these batches.
    Commit {
        since: u64,
        ticket: u64,
    },
    /// After the next service that is done.
    Service,
}

pub(super) enum Reply {
    /// PUBACK or PUBREC; none for a QoS 0 request to a service.
    Publish {
        packet_id: u16,
        qos: u8,
        code: u8,
        gate: Gate,
    },
    /// PUBREC for a message that had come before, once it is known to be durable.
    Again {
        packet_id: u16,
        gate: Gate,
    },
    /// PUBREL, once it is durable that the client has the message.
    Release {
        packet_id: u16,
        gate: Gate,
    },
    /// PUBCOMP, once it is durable that the identifier is free.
    Complete {
        packet_id: u16,
        code: u8,
        gate: Gate,
    },
    Subscribe {
        gate: Gate,
        subscribed: Box<Subscribed>,
    },
    Unsubscribe {
        gate: Gate,
        packet_id: u16,
        codes: Box<[u8]>,
    },
}

impl Reply {
    fn gate(&self) -> Gate {
        match self {
            Self::Publish { gate, .. }
            | Self::Again { gate, .. }
            | Self::Release { gate, .. }
            | Self::Complete { gate, .. }
            | Self::Subscribe { gate, .. }
            | Self::Unsubscribe { gate, .. } => *gate,
        }
    }
}

/// What came through a gate.
enum Passed {
    Ok,
    NotCommitted,
    Refused(Nack),
}

/// The services at work for one connection.
#[derive(Default)]
pub(super) struct Services {
    running: FuturesOrdered<BoxFuture<'static, Result<(), Nack>>>,
    done: VecDeque<Result<(), Nack>>,
}

impl Nack {
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Unavailable => 0x83,
            Self::NotAuthorized => 0x87,
            Self::TopicInvalid => 0x90,
            Self::Quota => 0x97,
            Self::PayloadInvalid => 0x99,
        }
    }
}

impl Core {
    pub(super) fn services_running(&self) -> usize {
        self.services.as_ref().map_or(0, |s| s.running.len())
    }

    pub(super) fn start_service(&mut self, work: BoxFuture<'static, Result<(), Nack>>) {
        self.services.get_or_insert_default().running.push_back(work);
    }

    pub(super) fn poll_services(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(services) = &mut self.services else { return false };
        let mut progress = false;
        while let Poll::Ready(Some(result)) = services.running.poll_next_unpin(cx) {
            services.done.push_back(result);
            progress = true;
        }
        progress
    }

    /// What has been asked of a service is done to its end, also when the asker has gone.
    pub(super) fn let_services_finish(&mut self) {
        let Some(mut services) = self.services.take() else { return };
        if !services.running.is_empty() {
            self.inner.tracker.spawn(async move { while services.running.next().await.is_some() {} });
        }
    }

    /// Writes the replies whose turn has come.
    pub(super) fn settle_replies(&mut self) -> Result<bool, EndReason> {
        let mut progress = false;
        while let Some(passed) = self.replies.front().map(Reply::gate).and_then(|gate| self.pass(gate)) {
            let Some(reply) = self.replies.pop_front() else { break };
            progress = true;
            match reply {
                Reply::Publish { packet_id, qos, code, gate } => {
                    let served = gate == Gate::Service;
                    self.reply_to_publish(packet_id, qos, code, served, &passed)?;
                }
                Reply::Again { packet_id, .. } => self.step_on(PUBREC, packet_id, 0, &passed)?,
                Reply::Release { packet_id, .. } => self.step_on(PUBREL, packet_id, 0, &passed)?,
                Reply::Complete { packet_id, code, .. } => self.step_on(PUBCOMP, packet_id, code, &passed)?,
                Reply::Subscribe { subscribed, .. } => {
                    self.reply_to_subscribe(&subscribed, matches!(passed, Passed::Ok))
                }
                Reply::Unsubscribe { packet_id, codes, .. } => {
                    // A subscription that is gone from memory is gone; the store follows when it can.
                    let codes: &[u8] = if self.v5 { &codes } else { &[] };
                    write::ack_with_codes(&mut self.output.buffer, 0xB0, packet_id, codes, self.v5);
                }
            }
        }
        if progress && self.replies.is_empty() && self.replies.capacity() > 32 {
            self.replies = VecDeque::new();
        }
        Ok(progress)
    }

    fn pass(&mut self, gate: Gate) -> Option<Passed> {
        match gate {
            Gate::Open => Some(Passed::Ok),
            Gate::Commit { since, ticket } => match self.inner.committer.outcome(since, ticket)? {
                Ok(()) => Some(Passed::Ok),
                Err(CommitFailed) => Some(Passed::NotCommitted),
            },
            Gate::Service => {
                let services = self.services.as_mut()?;
                let result = services.done.pop_front()?;
                if services.done.is_empty() && services.running.is_empty() {
                    self.services = None;
                }
                Some(result.map_or_else(Passed::Refused, |()| Passed::Ok))
            }
        }
    }

    fn reply_to_publish(
        &mut self,
        packet_id: u16,
        qos: u8,
        code: u8,
        served: bool,
        passed: &Passed,
    ) -> Result<(), EndReason> {
        let code = match passed {
            Passed::Ok => code,
            Passed::NotCommitted => Reason::ImplementationSpecific.code(),
            Passed::Refused(nack) => nack.code(),
        };
        // Told so, the client uses the identifier for another message. 3.1.1 cannot be told and sends this one again: what is
        // still known of it then has been stored, though not everything that it waited for.
        if code != 0 && qos == 2 && self.v5 {
            self.forget_exactly_once(packet_id);
        }
        if code != 0 && !self.v5 {
            // 3.1.1 has no way to refuse a message but to close, so that the client keeps it.
            return Err(EndReason::Server(Reason::from_code(code)));
        }
        match qos {
            0 => return Ok(()),
            1 => self.write_ack(PUBACK, packet_id, code),
            _ => {
                // What a service has done is remembered from here on: a crash before makes it at least once.
                if served && code == 0 {
                    self.remember_exactly_once(packet_id, false);
                }
                self.write_ack(PUBREC, packet_id, code);
            }
        }
        if qos == 1 || code != 0 {
            self.input.unacked = self.input.unacked.saturating_sub(1);
        }
        if code == 0 {
            self.inner.counters.acked.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    /// The next packet of QoS 2. It cannot be refused, and not be said before it is true: the client comes again.
    fn step_on(&mut self, first: u8, packet_id: u16, code: u8, passed: &Passed) -> Result<(), EndReason> {
        if matches!(passed, Passed::NotCommitted) {
            return Err(EndReason::Server(Reason::ImplementationSpecific));
        }
        self.write_ack(first, packet_id, code);
        Ok(())
    }
}
