//! A message from whoever publishes it to the sessions it goes to.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use fleetward_base::Timestamp;

use crate::EndReason;
use crate::broker::Inner;
use crate::hooks::Qos;
use crate::record::{Flags, Record};
use crate::retained::Retained;
use crate::router::Target;
use crate::session::{Parcel, PushLimits, Pushed, Session};
use crate::space::Space;
use crate::store::Op;

/// A message to be routed. Its topic is valid and its publisher may publish it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outbound<'a> {
    pub(crate) topic: &'a str,
    pub(crate) payload: &'a [u8],
    /// Encoded properties to hand on.
    pub(crate) properties: &'a [u8],
    pub(crate) qos: Qos,
    pub(crate) retain: bool,
    pub(crate) expires_at: Option<Timestamp>,
}

impl<'a> Outbound<'a> {
    fn record(&self) -> Record<'a> {
        Record {
            flags: Flags::default(),
            expires_at: self.expires_at,
            topic: self.topic,
            properties: self.properties,
            payload: self.payload,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Routed {
    pub(crate) matched: usize,
    /// Something waits for the next commit.
    pub(crate) durable: bool,
}

/// Nobody has received the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    QueueFull,
    RetainedFull,
}

impl Inner {
    fn push_limits(&self) -> PushLimits<'_> {
        PushLimits { committer: &self.committer, outbound_bytes: self.config.outbound_bytes }
    }

    /// Hands a message to every session that subscribes to its topic. `targets` is scratch.
    pub(crate) fn route(
        &self,
        space: &Space,
        message: &Outbound<'_>,
        origin: Option<&Arc<Session>>,
        targets: &mut Vec<Target>,
    ) -> Result<Routed, Refused> {
        targets.clear();
        space.router.read().route(message.topic, targets);
        if let Some(origin) = origin {
            targets.retain(|t| !(t.wish.no_local && Arc::ptr_eq(&t.session, origin)));
        }
        let parcel = Parcel::new(message.record());
        let single = targets.len() == 1;
        if !single && message.qos > Qos::AtMostOnce {
            for target in targets.iter().filter(|t| t.wish.qos > Qos::AtMostOnce) {
                let room = target.session.lock().has_room(parcel.len, self.config.queue_bytes);
                if !room {
                    return Err(self.full(&target.session));
                }
            }
        }
        let mut routed = Routed::default();
        if message.retain {
            self.set_retained(space, message)?;
            routed.durable = true;
        }
        for target in targets.drain(..) {
            let qos = target.wish.qos.min(message.qos);
            let flags = Flags {
                retain: message.retain && target.wish.retain_as_published,
                subscription: target.wish.identifier,
                ..Flags::default()
            };
            let mut state = target.session.lock();
            if single && qos > Qos::AtMostOnce && !state.has_room(parcel.len, self.config.queue_bytes) {
                drop(state);
                return Err(self.full(&target.session));
            }
            let pushed = target.session.push(&mut state, &parcel, qos, flags, &self.push_limits());
            if pushed == Pushed::Overflow
                && let Some(link) = &state.link
            {
                link.end(EndReason::SlowReader);
            }
            drop(state);
            routed.durable |= pushed == Pushed::Durable;
            routed.matched += usize::from(self.count_pushed(pushed));
        }
        Ok(routed)
    }

    /// Hands a message to one session, subscribed or not.
    pub(crate) fn push_to(
        &self,
        session: &Arc<Session>,
        message: &Outbound<'_>,
        flags: Flags,
    ) -> Result<Routed, Refused> {
        let parcel = Parcel::new(message.record());
        let mut state = session.lock();
        if message.qos > Qos::AtMostOnce && !state.has_room(parcel.len, self.config.queue_bytes) {
            drop(state);
            return Err(self.full(session));
        }
        let pushed = session.push(&mut state, &parcel, message.qos, flags, &self.push_limits());
        if pushed == Pushed::Overflow
            && let Some(link) = &state.link
        {
            link.end(EndReason::SlowReader);
        }
        drop(state);
        Ok(Routed { matched: usize::from(self.count_pushed(pushed)), durable: pushed == Pushed::Durable })
    }

    fn count_pushed(&self, pushed: Pushed) -> bool {
        if pushed == Pushed::Dropped {
            self.counters.dropped_qos0.fetch_add(1, Ordering::Relaxed);
        }
        matches!(pushed, Pushed::Volatile | Pushed::Durable)
    }

    /// Counts and reports a refusal, once a second for a session.
    fn full(&self, session: &Arc<Session>) -> Refused {
        self.counters.refused_full.fetch_add(1, Ordering::Relaxed);
        let second = self.clock.monotonic().as_secs() + 1;
        let first = {
            let mut state = session.lock();
            let first = state.full_reported_at != second;
            state.full_reported_at = second;
            first
        };
        if first {
            self.hooks.queue_full(&session.tenant, &session.client);
        }
        Refused::QueueFull
    }

    fn set_retained(&self, space: &Space, message: &Outbound<'_>) -> Result<(), Refused> {
        let tenant = space.tenant.clone();
        let topic = message.topic;
        let mut set = space.retained.write();
        if message.payload.is_empty() {
            if set.clear(topic) {
                self.committer.retain(Op::ClearRetained { tenant, topic: topic.to_owned() });
            }
            return Ok(());
        }
        let retained = Retained {
            payload: Bytes::copy_from_slice(message.payload),
            properties: Bytes::copy_from_slice(message.properties),
            qos: message.qos,
            expires_at: message.expires_at,
            stored_at: self.clock.now(),
        };
        let stored = retained.to_stored(topic);
        if set.set(topic, retained, self.config.retained_bytes).is_err() {
            self.counters.refused_full.fetch_add(1, Ordering::Relaxed);
            return Err(Refused::RetainedFull);
        }
        // Under the lock, so that memory and store see the same order.
        self.committer.retain(Op::Retain { tenant, retained: stored });
        Ok(())
    }

    /// Removes the retained messages whose topic is `owned`; how many there were.
    pub(crate) fn forget_retained(&self, space: &Space, owned: impl Fn(&str) -> bool) -> usize {
        let mut set = space.retained.write();
        let topics = set.topics(owned);
        for topic in &topics {
            set.clear(topic);
            self.committer.retain(Op::ClearRetained { tenant: space.tenant.clone(), topic: topic.to_string() });
        }
        if !topics.is_empty() {
            self.committer.want(None);
        }
        topics.len()
    }

    /// Removes the retained messages that have expired.
    pub(crate) fn expire_retained(&self, space: &Space) {
        let now = self.clock.now();
        let mut set = space.retained.write();
        for topic in set.expired(now) {
            set.clear(&topic);
            self.committer.retain(Op::ClearRetained { tenant: space.tenant.clone(), topic: topic.to_string() });
        }
    }
}
