//! Sessions begin, resume, are taken over, wait without a connection, and end.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;

use crate::broker::Inner;
use crate::committer::Committer;
use crate::deliver::Outbound;
use crate::hooks::{Connect, Nack, Principal, Protocol, ServiceRequest};
use crate::link::{Link, ticks};
use crate::session::{LastWill, Session, State, WillChange};
use crate::space::Space;
use crate::{EndReason, Reason, topic};

/// What a connection gets with its session.
pub(crate) struct Attached {
    pub(crate) session: Arc<Session>,
    pub(crate) epoch: u64,
    pub(crate) session_present: bool,
    pub(crate) took_over: bool,
    pub(crate) expiry_secs: u32,
    /// Sent up to here; what follows is to be sent.
    pub(crate) sent: u64,
    /// What is sent again up to here carries DUP.
    pub(crate) dup_until: u64,
    /// What the client has and is told to release (QoS 2).
    pub(crate) released: Vec<u64>,
    /// The session is new in the store or gone from it: CONNACK after this batch (since, ticket).
    pub(crate) commit: Option<(u64, u64)>,
}

impl Inner {
    /// Gives the principal's session to a connection. Whoever had it before is disconnected with 0x8E.
    pub(crate) fn attach(
        &self,
        space: &Arc<Space>,
        principal: &Arc<Principal>,
        link: &Arc<Link>,
        connect: &Connect,
        will: Option<LastWill>,
    ) -> Attached {
        // A batch that is under way counts too: it may hold what QoS 2 has to remember.
        let since = self.committer.under_way();
        let now = self.clock.now();
        // Nothing is kept for a guest: who comes again comes anew.
        let longest = if principal.rights.is_guest() { 0 } else { self.config.session_expiry_max_secs };
        let expiry_secs = connect.session_expiry_secs.min(longest);
        let mut sessions = space.sessions.lock();
        let session = sessions
            .entry(principal.device.clone())
            .or_insert_with(|| Session::new(space.tenant.clone(), principal.device.clone(), now))
            .clone();
        let mut state = session.lock();
        drop(sessions);
        let took_over = state.link.take().is_some_and(|old| {
            old.end(EndReason::Server(Reason::SessionTakenOver));
            true
        });
        // §3.1.2.5: a will whose delay has not passed is dropped when its session goes on.
        let ends = connect.clean_start || state.expiry_secs == 0;
        let mut old_will = state.will.take();
        let dropped = old_will.take_if(|w| !(ends || (took_over && w.delay_secs == 0)));
        let session_present = state.durable && !ends;
        let mut wait = false;
        if !session_present {
            wait = self.end_state(space, &session, &mut state) || self.committer.may_come_back(&session);
            state.created_at = now;
        }
        let epoch = self.epochs.fetch_add(1, Ordering::Relaxed) + 1;
        state.epoch = epoch;
        state.link = Some(link.clone());
        state.principal = Some(principal.clone());
        state.expiry_secs = expiry_secs;
        state.protocol = if connect.protocol == Protocol::V5 { 5 } else { 4 };
        state.disconnected_at = None;
        state.awaits_commit = false;
        self.timers.clear(&mut state);
        if let Some(dropped) = dropped {
            session.change(&mut state, &self.committer, |p| p.wills.push(WillChange::Drop(dropped.pack())));
        }
        state.will = will.map(|will| Box::new(LastWill { epoch, since: now, ..will }));
        if let Some(kept) = state.will.as_ref().map(|will| will.pack()) {
            session.change(&mut state, &self.committer, |p| p.wills.push(WillChange::Keep(kept)));
            // Whoever is told that it is connected has left its will.
            wait = true;
        }
        if session_present {
            self.reauthorize(space, &session, &mut state, principal);
            state.forget_queued();
        }
        if expiry_secs > 0 || state.durable {
            // Also where an earlier connection has waited in vain for it.
            wait |= !state.stored;
            state.durable = true;
            session.change(&mut state, &self.committer, |p| p.save = true);
        }
        let (sent, dup_until) = (state.acked_seq, state.sent_seq);
        let released = state.exchanges.as_ref().map(|e| e.released().to_vec()).unwrap_or_default();
        // Not durable, it would be forgotten by a crash, and the message sent anew to a client that has forgotten it too.
        wait |= !released.is_empty();
        session.set_online(true);
        drop(state);
        if let Some(will) = old_will {
            self.publish_will(space, &session, &will);
        }
        let commit = wait.then(|| (since, self.committer.open()));
        Attached { session, epoch, session_present, took_over, expiry_secs, sent, dup_until, released, commit }
    }

    /// Ends what a session held. Whether the store has to forget something.
    fn end_state(&self, space: &Space, session: &Arc<Session>, state: &mut State) -> bool {
        let was_durable = state.durable;
        let subscriptions = state.wipe(&self.committer);
        let mut router = space.router.write();
        for subscription in subscriptions {
            router.remove(&subscription.filter, session);
        }
        drop(router);
        if was_durable {
            let since = self.committer.since();
            session.change(state, &self.committer, |p| p.delete = true);
            self.committer.ending(session, since);
        }
        was_durable
    }

    /// Rights may have gone since a subscription was made.
    fn reauthorize(&self, space: &Space, session: &Arc<Session>, state: &mut State, principal: &Principal) {
        let (kept, lost): (Vec<_>, Vec<_>) = std::mem::take(&mut state.subscriptions).into_iter().partition(|s| {
            let filter = topic::split_share(&s.filter).map_or(&*s.filter, |(_, inner)| inner);
            self.hooks.authorize_subscribe(principal, filter)
        });
        state.subscriptions = kept;
        if lost.is_empty() {
            return;
        }
        let mut router = space.router.write();
        for subscription in &lost {
            router.remove(&subscription.filter, session);
        }
        drop(router);
        session.change(state, &self.committer, |p| p.subscriptions.extend(lost.into_iter().map(|s| (s.filter, None))));
    }

    /// A connection is over. False if the session has gone to another connection or is gone.
    pub(crate) fn detach(
        &self,
        space: &Arc<Space>,
        session: &Arc<Session>,
        epoch: u64,
        keep_will: bool,
        expiry_secs: Option<u32>,
    ) -> bool {
        let mut sessions = space.sessions.lock();
        let mut state = session.lock();
        if state.epoch != epoch {
            return false;
        }
        state.link = None;
        session.set_online(false);
        state.outbox = std::collections::VecDeque::new();
        state.outbox_bytes = 0;
        if let Some(secs) = expiry_secs {
            state.expiry_secs = secs.min(self.config.session_expiry_max_secs);
        }
        let mut will = state.will.take();
        if let Some(dropped) = will.take_if(|_| !keep_will) {
            session.change(&mut state, &self.committer, |p| p.wills.push(WillChange::Drop(dropped.pack())));
            self.committer.want(None);
        }
        if state.durable && state.expiry_secs > 0 {
            state.disconnected_at = Some(self.clock.now());
            session.change(&mut state, &self.committer, |p| p.save = true);
            state.will = will.take_if(|w| w.delay_secs > 0);
            self.arm(session, &mut state);
        } else {
            sessions.remove(&session.client);
            self.end_state(space, session, &mut state);
        }
        drop(state);
        drop(sessions);
        if let Some(will) = will {
            self.publish_will(space, session, &will);
        }
        true
    }

    /// Has a session without a connection looked at when its will is due, or else its end.
    pub(crate) fn arm(&self, session: &Arc<Session>, state: &mut State) {
        let delay = state.will.as_ref().map_or(u32::MAX, |w| w.delay_secs).min(state.expiry_secs);
        let left = Duration::from_secs(u64::from(delay)).saturating_sub(self.away(state));
        self.timers.set(session, state, self.now_tick() + ticks(left).max(1));
    }

    /// How long a session has had no connection.
    fn away(&self, state: &State) -> Duration {
        let now = self.clock.now();
        now.since(state.disconnected_at.unwrap_or(now))
    }

    /// The moment of a session without a connection has come: its will is due, or its end.
    pub(crate) fn session_due(&self, space: &Arc<Space>, session: &Arc<Session>) {
        let mut sessions = space.sessions.lock();
        let mut state = session.lock();
        let here = sessions.get(&session.client).is_some_and(|s| Arc::ptr_eq(s, session));
        if !here || state.link.is_some() {
            return;
        }
        let away = self.away(&state).as_secs();
        let ended = away >= u64::from(state.expiry_secs);
        let will = state.will.take_if(|w| ended || away >= u64::from(w.delay_secs));
        if ended {
            sessions.remove(&session.client);
            self.end_state(space, session, &mut state);
        } else {
            self.arm(session, &mut state);
        }
        drop(state);
        drop(sessions);
        if let Some(will) = will {
            self.publish_will(space, session, &will);
        }
    }

    /// Ends a connection, if there is one, and removes the session whatever it holds. The batch that makes it so.
    pub(crate) fn forget_session(&self, space: &Arc<Space>, session: &Arc<Session>) -> (u64, u64) {
        let since = self.committer.since();
        let mut sessions = space.sessions.lock();
        let mut state = session.lock();
        if let Some(link) = state.link.take() {
            link.end(EndReason::Server(Reason::AdministrativeAction));
        }
        session.set_online(false);
        state.epoch = 0;
        if let Some(dropped) = state.will.take() {
            session.change(&mut state, &self.committer, |p| p.wills.push(WillChange::Drop(dropped.pack())));
        }
        self.timers.clear(&mut state);
        sessions.remove(&session.client);
        self.end_state(space, session, &mut state);
        (since, self.committer.open())
    }

    /// Publishes a will, and keeps it no longer. It was authorised when its connection began, and is once more, as far as
    /// it is known whose it was: rights may have gone since.
    pub(crate) fn publish_will(&self, space: &Space, session: &Arc<Session>, will: &LastWill) {
        let principal = session.lock().principal.clone();
        let authorize = |it: &Arc<Principal>| self.hooks.authorize_publish(it, &will.topic, will.retain);
        let allowed = principal.as_ref().is_none_or(authorize) && topic::valid_name(&will.topic);
        if let Some(principal) = principal.filter(|_| allowed && self.hooks.owns(&will.topic, will.retain)) {
            return self.serve_will(session, principal, will);
        }
        if allowed {
            self.route_will(space, session, will);
        }
        // Behind it, so that a crash in between publishes it twice and not never.
        forget_will(&self.committer, session, will);
    }

    /// A will on a topic of a service goes the way of a publish there, and is kept until the service has committed it.
    fn serve_will(&self, session: &Arc<Session>, principal: Arc<Principal>, will: &LastWill) {
        let protocol = if session.lock().protocol == 5 { Protocol::V5 } else { Protocol::V311 };
        let request = ServiceRequest {
            topic: will.topic.as_str().into(),
            payload: Bytes::copy_from_slice(&will.payload),
            qos: will.qos,
            retain: will.retain,
            protocol,
        };
        let (hooks, committer, session, will) =
            (Arc::clone(&self.hooks), Arc::clone(&self.committer), Arc::clone(session), will.clone());
        self.tracker.spawn(async move {
            match hooks.service(&principal, request).await {
                // It comes again with the next start of a server.
                Err(Nack::Unavailable) => {
                    tracing::warn!(client = %session.client, "a will could not be handed to its service");
                }
                Err(nack) => {
                    tracing::info!(client = %session.client, ?nack, "will refused");
                    forget_will(&committer, &session, &will);
                }
                Ok(()) => forget_will(&committer, &session, &will),
            }
        });
    }

    fn route_will(&self, space: &Space, session: &Arc<Session>, will: &LastWill) {
        let expires_at = will.expiry_secs.map(|s| self.clock.now().plus(Duration::from_secs(u64::from(s))));
        let message = Outbound {
            topic: &will.topic,
            payload: &will.payload,
            properties: &will.properties,
            qos: will.qos,
            retain: will.retain,
            expires_at,
        };
        match self.route(space, &message, Some(session), &mut Vec::new()) {
            Ok(_) => {}
            Err(refused) => tracing::info!(tenant = %space.tenant, client = %session.client, ?refused, "will refused"),
        }
    }
}

/// What was published is kept no longer.
fn forget_will(committer: &Committer, session: &Arc<Session>, will: &LastWill) {
    let mut state = session.lock();
    session.change(&mut state, committer, |p| p.wills.push(WillChange::Drop(will.pack())));
    drop(state);
    committer.want(None);
}
