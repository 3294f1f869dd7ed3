//! A PUBLISH of the client.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use fleetward_base::limits;

use super::Core;
use super::qos2::Arrival;
use super::read::{Flow, Scratch};
use super::replies::{Gate, Reply};
use crate::codec::publish::{Publish, check, handed_on, read};
use crate::deliver::Outbound;
use crate::hooks::{Overload, Protocol, Qos, ServiceRequest};
use crate::rules::rules;
use crate::{EndReason, Reason};

impl Core {
    pub(super) fn on_publish(&mut self, flags: u8, body: &[u8], scratch: &mut Scratch) -> Result<Flow, EndReason> {
        let mut publish = read(flags, body, self.v5).map_err(EndReason::Server)?;
        let aliased;
        if let Some(alias) = publish.properties.topic_alias {
            aliased = self.resolve_alias(alias, publish.topic).map_err(EndReason::Server)?;
            publish.topic = &aliased;
        }
        check(&publish, |topic| self.inner.valid_topic(topic)).map_err(EndReason::Server)?;
        let rules = rules(self.principal.profile);
        // [MQTT-3.2.2-11]: it was told.
        if publish.qos > rules.max_qos as u8 {
            return Err(EndReason::Server(Reason::QosNotSupported));
        }
        if !rules.allows_depth(publish.topic) {
            return Err(EndReason::Server(Reason::TopicNameInvalid));
        }
        if publish.qos == 2 && matches!(self.look_at_exactly_once(&publish)?, Arrival::Again) {
            return Ok(Flow::Next);
        }
        let allowed = self.inner.hooks.authorize_publish(&self.principal, publish.topic, publish.retain);
        let system = publish.topic.starts_with('$');
        let owned = self.inner.hooks.owns(publish.topic, publish.retain);
        // What begins with $ goes to a service or nowhere, and is never retained.
        if !allowed || (system && (publish.retain || !owned)) {
            self.inner.counters.received.fetch_add(1, Ordering::Relaxed);
            self.inner.counters.refused_unauthorized.fetch_add(1, Ordering::Relaxed);
            self.refuse_publish(&publish, Reason::NotAuthorized)?;
            return Ok(Flow::Next);
        }
        if owned {
            return self.on_service_request(&publish);
        }
        self.inner.counters.received.fetch_add(1, Ordering::Relaxed);
        self.count_unacked(&publish)?;
        self.route_publish(&publish, scratch)?;
        Ok(Flow::Next)
    }

    /// §3.3.2.3.4: a topic names its alias anew; an alias alone stands for the topic it was given.
    fn resolve_alias(&mut self, alias: u16, topic: &str) -> Result<Box<str>, Reason> {
        if alias > rules(self.principal.profile).topic_aliases {
            return Err(Reason::TopicAliasInvalid);
        }
        let aliases = &mut self.input.aliases;
        let at = usize::from(alias) - 1;
        if topic.is_empty() {
            let known = aliases.get(at).filter(|topic| !topic.is_empty());
            return known.cloned().ok_or(Reason::ProtocolError);
        }
        if !self.inner.valid_topic(topic) {
            return Err(Reason::TopicNameInvalid);
        }
        if aliases.len() <= at {
            aliases.resize(at + 1, Box::default());
        }
        if let Some(place) = aliases.get_mut(at) {
            *place = topic.into();
        }
        Ok(topic.into())
    }

    /// §3.3.4: more than the receive maximum at once.
    fn count_unacked(&mut self, publish: &Publish<'_>) -> Result<(), EndReason> {
        if publish.qos == 0 {
            return Ok(());
        }
        self.input.unacked += 1;
        if self.v5 && self.input.unacked > limits::MQTT_IN_FLIGHT {
            return Err(EndReason::Server(Reason::ReceiveMaximumExceeded));
        }
        Ok(())
    }

    /// 5.0 hears why in the PUBACK. 3.1.1 cannot, and must not take the message for accepted: it is disconnected.
    fn refuse_publish(&mut self, publish: &Publish<'_>, reason: Reason) -> Result<(), EndReason> {
        if !self.v5 {
            return Err(EndReason::Server(reason));
        }
        if publish.qos > 0 {
            self.count_unacked(publish)?;
            let (packet_id, qos, code) = (publish.packet_id, publish.qos, reason.code());
            self.replies.push_back(Reply::Publish { packet_id, qos, code, gate: Gate::Open });
        }
        Ok(())
    }

    fn route_publish(&mut self, publish: &Publish<'_>, scratch: &mut Scratch) -> Result<(), EndReason> {
        let expiry = publish.properties.expiry_secs;
        let message = Outbound {
            topic: publish.topic,
            payload: publish.payload,
            properties: handed_on(&publish.properties, &mut scratch.properties),
            qos: Qos::from_bits(publish.qos),
            retain: publish.retain,
            expires_at: expiry.map(|s| self.inner.clock.now().plus(Duration::from_secs(u64::from(s)))),
        };
        let since = self.inner.committer.since();
        let routed = self.inner.route(&self.space, &message, Some(&self.session), &mut scratch.targets);
        let remembered = publish.qos == 2 && routed.is_ok() && self.remember_exactly_once(publish.packet_id, true);
        let (code, gate) = match routed {
            Ok(routed) if routed.durable || remembered => {
                self.input.wants_commit = true;
                (0, Gate::Commit { since, ticket: self.inner.committer.open() })
            }
            Ok(_) => (0, Gate::Open),
            Err(_) => (Reason::QuotaExceeded.code(), Gate::Open),
        };
        if publish.qos > 0 {
            let (packet_id, qos) = (publish.packet_id, publish.qos);
            self.replies.push_back(Reply::Publish { packet_id, qos, code, gate });
        }
        Ok(())
    }

    fn on_service_request(&mut self, publish: &Publish<'_>) -> Result<Flow, EndReason> {
        let request = ServiceRequest {
            topic: publish.topic.into(),
            payload: Bytes::copy_from_slice(publish.payload),
            qos: Qos::from_bits(publish.qos),
            retain: publish.retain,
            protocol: if self.v5 { Protocol::V5 } else { Protocol::V311 },
        };
        let mut code = 0;
        let mut gate = Gate::Service;
        if self.services_running() >= limits::SERVICE_REQUESTS_IN_FLIGHT {
            gate = Gate::Open;
            match self.inner.hooks.overloaded(&self.principal, &request) {
                Overload::Wait => return Ok(Flow::Hold),
                Overload::Answered => {}
                Overload::Refuse(nack) => code = nack.code(),
            }
        }
        self.inner.counters.received.fetch_add(1, Ordering::Relaxed);
        self.count_unacked(publish)?;
        if gate == Gate::Service {
            self.inner.counters.service_requests.fetch_add(1, Ordering::Relaxed);
            let (hooks, principal) = (self.inner.hooks.clone(), self.principal.clone());
            self.start_service(Box::pin(async move { hooks.service(&principal, request).await }));
        }
        self.replies.push_back(Reply::Publish { packet_id: publish.packet_id, qos: publish.qos, code, gate });
        Ok(Flow::Next)
    }
}
