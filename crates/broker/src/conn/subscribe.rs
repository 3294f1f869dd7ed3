//! SUBSCRIBE and UNSUBSCRIBE of the client.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Core;
use super::replies::{Gate, Reply};
use crate::codec::subscribe::{WantedFilter, read_subscribe, read_unsubscribe};
use crate::codec::write;
use crate::deliver::Outbound;
use crate::hooks::Qos;
use crate::record::Flags;
use crate::router::Wish;
use crate::rules::rules;
use crate::session::Subscription;
use crate::topic::{self, BadFilter};
use crate::{EndReason, Reason};

/// Retained messages that one filter brings at once.
const RETAINED_PER_FILTER: usize = 1000;

/// A SUBSCRIBE that has been acted on and waits for its SUBACK.
pub(super) struct Subscribed {
    packet_id: u16,
    codes: Vec<u8>,
    accepted: Vec<Accepted>,
}

struct Accepted {
    filter: Arc<str>,
    wish: Wish,
    new: bool,
    retain_handling: u8,
}

impl Core {
    pub(super) fn on_subscribe(&mut self, body: &[u8]) -> Result<(), EndReason> {
        let wanted = read_subscribe(body, self.v5).map_err(EndReason::Server)?;
        let since = self.inner.committer.since();
        let mut subscribed = Subscribed { packet_id: wanted.packet_id, codes: Vec::new(), accepted: Vec::new() };
        let rules = rules(self.principal.profile);
        // [MQTT-3.2.2-14] and its kin: it was told.
        if wanted.identifier != 0 && !rules.subscription_identifiers {
            return Err(EndReason::Server(Reason::SubscriptionIdentifiersNotSupported));
        }
        let too_many = wanted.filters.len() > rules.filters_per_subscribe;
        // [MQTT-3.8.3-4]: nobody shares with himself.
        if wanted.filters.iter().any(|f| f.no_local && topic::split_share(&f.filter).is_some()) {
            return Err(EndReason::Server(Reason::ProtocolError));
        }
        let identifier = wanted.identifier;
        for filter in wanted.filters {
            let accepted = &mut subscribed.accepted;
            let code = if too_many { Err(0x97) } else { self.subscribe_one(filter, identifier, accepted) };
            // 3.1.1 knows one failure, §3.9.3.
            subscribed.codes.push(code.unwrap_or_else(|code| if self.v5 { code } else { 0x80 }));
        }
        let durable = !subscribed.accepted.is_empty() && self.session.lock().durable;
        let gate = self.commit_gate(durable, since);
        self.replies.push_back(Reply::Subscribe { gate, subscribed: Box::new(subscribed) });
        Ok(())
    }

    pub(super) fn commit_gate(&mut self, durable: bool, since: u64) -> Gate {
        if !durable {
            return Gate::Open;
        }
        self.input.wants_commit = true;
        Gate::Commit { since, ticket: self.inner.committer.open() }
    }

    /// The granted QoS, or why not.
    fn subscribe_one(&self, wanted: WantedFilter, identifier: u32, accepted: &mut Vec<Accepted>) -> Result<u8, u8> {
        topic::check_filter(&wanted.filter).map_err(|BadFilter::Invalid| 0x8F)?;
        // To share is no right of its own: the filter that is shared is what counts.
        let shared = topic::split_share(&wanted.filter);
        let inner = shared.map_or(&*wanted.filter, |(_, inner)| inner);
        let rules = rules(self.principal.profile);
        if !rules.allows_depth(inner) {
            return Err(0x8F);
        }
        if !self.inner.hooks.authorize_subscribe(&self.principal, inner) {
            self.inner.counters.refused_unauthorized.fetch_add(1, Ordering::Relaxed);
            return Err(0x87);
        }
        let wish = Wish {
            qos: Qos::from_bits(wanted.qos).min(rules.max_qos),
            no_local: wanted.no_local,
            retain_as_published: wanted.retain_as_published,
            below_only: !rules.parent_of_hash,
            identifier,
        };
        let mut state = self.session.lock();
        if state.epoch != self.epoch {
            return Err(0x80);
        }
        let known = state.subscriptions.iter().position(|s| *s.filter == *wanted.filter);
        let new = known.is_none();
        if new && state.subscriptions.len() >= rules.subscriptions {
            return Err(0x97);
        }
        let filter = match known.and_then(|at| state.subscriptions.get_mut(at)) {
            Some(subscription) => {
                subscription.wish = wish;
                subscription.filter.clone()
            }
            None => {
                let filter: Arc<str> = wanted.filter.into();
                state.subscriptions.push(Subscription { filter: filter.clone(), wish });
                filter
            }
        };
        self.space.router.write().add(&filter, &self.session, wish);
        if state.durable {
            let change = (filter.clone(), Some(wish));
            self.session.change(&mut state, &self.inner.committer, |p| p.subscriptions.push(change));
        }
        // §4.8.2: nothing that is retained comes by a shared subscription.
        let wild = !rules.retained_by_wildcards && topic::split_at_wildcard(&filter).is_some();
        let none_retained = wild || topic::split_share(&filter).is_some();
        let retain_handling = if none_retained { 2 } else { wanted.retain_handling };
        accepted.push(Accepted { filter, wish, new, retain_handling });
        Ok(wish.qos as u8)
    }

    /// The subscriptions are durable, or could not be made so.
    pub(super) fn reply_to_subscribe(&mut self, subscribed: &Subscribed, committed: bool) {
        let Subscribed { packet_id, codes, accepted } = subscribed;
        if !committed {
            let new: Vec<&str> = accepted.iter().filter(|a| a.new).map(|a| &*a.filter).collect();
            self.remove_subscriptions(&new);
            let failed: Vec<u8> = codes.iter().map(|c| if *c < 0x80 { 0x80 } else { *c }).collect();
            write::ack_with_codes(&mut self.output.buffer, 0x90, *packet_id, &failed, self.v5);
            return;
        }
        write::ack_with_codes(&mut self.output.buffer, 0x90, *packet_id, codes, self.v5);
        for one in accepted {
            if one.retain_handling == 0 || (one.retain_handling == 1 && one.new) {
                self.send_retained(one);
            }
        }
        if !accepted.is_empty() {
            let filters: Vec<_> = accepted.iter().map(|a| a.filter.clone()).collect();
            self.inner.hooks.subscribed(&self.principal, &filters);
        }
    }

    fn send_retained(&mut self, accepted: &Accepted) {
        let now = self.inner.clock.now();
        let (found, all) = self.space.retained.read().matching(&accepted.filter, now, RETAINED_PER_FILTER);
        if !all {
            tracing::info!(tenant = %self.space.tenant, client = %self.session.client, "too many retained messages match");
        }
        let mut durable = false;
        for (topic, retained) in found {
            let message = Outbound {
                topic: &topic,
                payload: &retained.payload,
                properties: &retained.properties,
                qos: retained.qos.min(accepted.wish.qos),
                retain: true,
                expires_at: retained.expires_at,
            };
            let flags = Flags { retain: true, subscription: accepted.wish.identifier, ..Flags::default() };
            match self.inner.push_to(&self.session, &message, flags) {
                Ok(routed) => durable |= routed.durable,
                Err(_) => break,
            }
        }
        if durable {
            self.inner.committer.want(None);
        }
    }

    pub(super) fn on_unsubscribe(&mut self, body: &[u8]) -> Result<(), EndReason> {
        let wanted = read_unsubscribe(body, self.v5).map_err(EndReason::Server)?;
        let since = self.inner.committer.since();
        let filters: Vec<&str> = wanted.filters.iter().map(String::as_str).collect();
        let (codes, durable) = self.remove_subscriptions(&filters);
        let gate = self.commit_gate(durable, since);
        self.replies.push_back(Reply::Unsubscribe { gate, packet_id: wanted.packet_id, codes: codes.into() });
        Ok(())
    }

    /// A code for each filter (§3.11.3), and whether the store has something to remove.
    fn remove_subscriptions(&self, filters: &[&str]) -> (Vec<u8>, bool) {
        let mut state = self.session.lock();
        if state.epoch != self.epoch {
            return (vec![0x80; filters.len()], false);
        }
        let mut codes = Vec::with_capacity(filters.len());
        let mut removed = Vec::new();
        for filter in filters {
            let at = state.subscriptions.iter().position(|s| *s.filter == **filter);
            // 0x11: no subscription existed.
            codes.push(if at.is_some() { 0 } else { 0x11 });
            removed.extend(at.map(|at| state.subscriptions.swap_remove(at).filter));
        }
        let mut router = self.space.router.write();
        for filter in &removed {
            router.remove(filter, &self.session);
        }
        drop(router);
        let durable = state.durable && !removed.is_empty();
        if durable {
            let changes = removed.into_iter().map(|f| (f, None));
            self.session.change(&mut state, &self.inner.committer, |p| p.subscriptions.extend(changes));
        }
        (codes, durable)
    }
}
