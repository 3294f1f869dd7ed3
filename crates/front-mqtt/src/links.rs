//! From use cases to connected devices.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use fleetward_app::jobs::{self, Told};
use fleetward_app::messaging::Elsewhere;
use fleetward_app::{
    Called, DeviceLinks, DeviceMessage, EndReason, MethodCall, OutgoingCommand, Principal as Publisher, PublishRefused,
    Retained, TopicMessage, Unsent, enroll::Admitted,
};
use fleetward_base::{DeviceId, TenantId};
use fleetward_broker::{
    Hooks, Message, Nack, Principal, Protocol, PublishError, Qos, Reason, Redirect, ServiceRequest, StoredRetained,
    StoredWill,
};
use fleetward_core::access::DeviceRights;
use fleetward_core::job::Status;
use fleetward_core::job::queue::Change;
use fleetward_core::topic_policy::Act;
use fleetward_wire::aws::jobs::{ExecutionAccepted, Notify, Pending};
use fleetward_wire::aws::topic::{JobsPart, Topic};
use fleetward_wire::light;

use crate::MqttHooks;
use crate::acl;
use crate::answer::{ANSWER_EXPIRY, encode, undelivered};
use crate::jobs as jobs_door;
use crate::jobs::summary;
use crate::policy;

/// Clients that are sent to another server with each tick of the broker, a quarter of a second: what one that is like this
/// can take.
const MOVED_AT_ONCE: usize = 200;

#[async_trait]
impl DeviceLinks for MqttHooks {
    fn end_sessions(&self, tenant: &TenantId, device: &DeviceId, reason: EndReason) {
        let reason = match reason {
            EndReason::Administrative => Reason::AdministrativeAction,
            EndReason::NotAuthorized => Reason::NotAuthorized,
        };
        self.note_end();
        if let Some(broker) = self.broker.get() {
            broker.kick(tenant, device, reason);
        }
    }

    async fn forget(&self, tenant: &TenantId, device: &DeviceId) {
        self.note_end();
        let Some(broker) = self.broker.get() else { return };
        if let Err(error) = broker.forget(tenant, device).await {
            tracing::warn!(%tenant, %device, %error, "the session of a device that has gone could not be removed");
        }
        // After its session, which could still retain something.
        broker.forget_retained(tenant, |topic| policy::is_own(device.as_str(), topic));
    }

    fn end_claim(&self, tenant: &TenantId, serial: &str) {
        self.note_end();
        if let Some(broker) = self.broker.get() {
            broker.kick_claim(tenant, serial, Reason::AdministrativeAction);
        }
    }

    fn end_certificate(&self, tenant: &TenantId, device: &DeviceId, serial: &str) {
        self.note_end();
        if let Some(broker) = self.broker.get() {
            broker.kick_serial(tenant, device, serial, Reason::NotAuthorized);
        }
    }

    fn live(&self, tenant: &TenantId, device: &DeviceId) -> Option<String> {
        self.broker.get()?.principal(tenant, device).map(|principal| principal.serial.to_string())
    }

    fn recheck(&self, tenant: &TenantId, device: &DeviceId) {
        self.note_end();
        let live = self.broker.get().and_then(|broker| broker.principal(tenant, device));
        if let Some(principal) = live {
            MqttHooks::recheck(self, &principal);
        }
    }

    fn recheck_all(&self, tenant: &TenantId) {
        self.note_end();
        for principal in self.broker.get().map(|broker| broker.principals(tenant)).unwrap_or_default() {
            MqttHooks::recheck(self, &principal);
        }
        self.refresh_rates(tenant);
    }

    async fn adopt_wills(&self, wills: Vec<StoredWill>) {
        if let Some(broker) = self.broker.get() {
            broker.adopt_wills(wills).await;
        }
    }

    fn keep_wills(&self) {
        if let Some(broker) = self.broker.get() {
            broker.keep_wills();
        }
    }

    fn redirect(&self, to: Option<Elsewhere>) -> usize {
        let to = to.map(|Elsewhere { server, moved }| Redirect { server, moved });
        self.broker.get().map_or(0, |broker| broker.redirect(to, MOVED_AT_ONCE))
    }

    fn redirected(&self) -> Option<Elsewhere> {
        let to = self.broker.get()?.redirected()?;
        Some(Elsewhere { server: to.server, moved: to.moved })
    }

    fn built_in(&self, rights: DeviceRights, device: &DeviceId, act: Act, topic: &str) -> bool {
        policy::built_in(rights, device.as_str(), act, topic)
    }

    async fn publish(&self, tenant: &TenantId, topic: String, payload: Bytes) {
        MqttHooks::publish(self, tenant, &topic, &payload);
    }

    async fn retain(&self, tenant: &TenantId, topic: String, payload: Bytes) {
        let Some(broker) = self.broker.get() else { return };
        match broker.publish(tenant, Message { retain: true, ..Message::new(&topic, &payload) }) {
            Ok(receipt) => receipt.forget(),
            Err(error) => undelivered(&topic, error),
        }
    }

    fn listens(&self, tenant: &TenantId, device: &DeviceId, topic: &str) -> Option<bool> {
        self.broker.get()?.listens(tenant, device, topic)
    }

    fn access_list(&self) -> String {
        acl::text()
    }

    async fn tell(&self, tenant: &TenantId, device: &DeviceId, topic: String, payload: Bytes) {
        let Some(broker) = self.broker.get() else { return };
        let message = Message { expiry: Some(ANSWER_EXPIRY), ..Message::new(&topic, &payload) };
        match broker.tell(tenant, device, message) {
            Ok(receipt) => receipt.forget(),
            Err(error) => undelivered(&topic, error),
        }
    }

    fn retained(&self, tenant: &TenantId, topic: &str) -> Option<Retained> {
        self.broker.get()?.retained_on(tenant, topic).map(shown)
    }

    async fn publish_as(&self, device: &Publisher, message: DeviceMessage) -> Result<(), PublishRefused> {
        let principal = self.as_connected(device).await.ok_or(PublishRefused::NotAuthorized)?;
        let DeviceMessage { topic, payload, qos, retain } = message;
        // As the broker asks for a message on a connection.
        let (system, owned) = (topic.starts_with('$'), self.owns(&topic, retain));
        if !self.authorize_publish(&principal, &topic, retain) || (system && (retain || !owned)) {
            return Err(PublishRefused::NotAuthorized);
        }
        let broker = self.broker.get().ok_or(PublishRefused::Unavailable)?;
        if !broker.try_pay(&principal, topic.len() + payload.len()) {
            return Err(PublishRefused::Quota);
        }
        let qos = Qos::from_bits(qos.min(1));
        if owned {
            let request = ServiceRequest { topic: topic.as_str().into(), payload, qos, retain, protocol: Protocol::V5 };
            return self.service(&principal, request).await.map_err(refused);
        }
        let receipt = broker.publish(&principal.tenant, Message { retain, qos, ..Message::new(&topic, &payload) });
        receipt.map_err(unpublished)?.durable().await.map_err(|_| PublishRefused::Unavailable)
    }

    async fn publish_to_topic(&self, tenant: &TenantId, message: TopicMessage) -> Result<usize, PublishRefused> {
        let TopicMessage { topic, payload, qos, retain, expiry, properties } = message;
        // A service would not hear of it, and what it keeps retained would say something else than the record.
        if topic.starts_with('$') || self.owns(&topic, retain) || light::parse(&topic).is_some() {
            return Err(PublishRefused::NotAuthorized);
        }
        let broker = self.broker.get().ok_or(PublishRefused::Unavailable)?;
        let (qos, properties) = (Qos::from_bits(qos), Some(&properties));
        let message = Message { topic: &topic, payload: &payload, qos, retain, expiry, properties };
        let receipt = broker.publish(tenant, message).map_err(unpublished)?;
        let matched = receipt.matched();
        receipt.durable().await.map_err(|_| PublishRefused::Unavailable)?;
        self.say_outside(tenant, &topic, &payload);
        Ok(matched)
    }

    fn all_retained(&self, tenant: &TenantId, after: &str, limit: usize) -> Vec<Retained> {
        let Some(broker) = self.broker.get() else { return Vec::new() };
        broker.retained(tenant, after, limit, |_| true).into_iter().map(shown).collect()
    }

    async fn retained_for(&self, device: &Publisher, after: &str, limit: usize) -> Vec<Retained> {
        let (Some(principal), Some(broker)) = (self.as_connected(device).await, self.broker.get()) else {
            return Vec::new();
        };
        let may = |topic: &str| policy::may(&principal, Act::Receive, topic);
        broker.retained(&principal.tenant, after, limit, may).into_iter().map(shown).collect()
    }

    async fn may_receive(&self, device: &Publisher, topic: &str) -> bool {
        self.as_connected(device).await.is_some_and(|principal| policy::may(&principal, Act::Receive, topic))
    }

    fn hears_commands(&self, tenant: &TenantId, device: &DeviceId) -> bool {
        MqttHooks::hears_commands(self, tenant, device)
    }

    fn hears_media(&self, tenant: &TenantId, device: &DeviceId, content_type: &str) -> bool {
        MqttHooks::hears_media(self, tenant, device, content_type)
    }

    fn send_command(&self, tenant: &TenantId, device: &DeviceId, command: &OutgoingCommand) {
        MqttHooks::send_command(self, tenant, device, command);
    }

    async fn send(&self, tenant: &TenantId, topic: &str, payload: Bytes, expiry: Duration) -> Result<usize, Unsent> {
        let broker = self.broker.get().ok_or(Unsent)?;
        let message = Message { expiry: Some(expiry), ..Message::new(topic, &payload) };
        let receipt = broker.publish(tenant, message).map_err(|error| {
            undelivered(topic, error);
            Unsent
        })?;
        let matched = receipt.matched();
        receipt.durable().await.map_err(|_| Unsent)?;
        Ok(matched)
    }

    async fn call(&self, tenant: &TenantId, device: &DeviceId, call: MethodCall) -> Called {
        self.call_method(tenant, device, call).await
    }

    /// `notify` where something came or went, `notify-next` where another one is first. A device that is away asks when it
    /// is back.
    async fn queue_changed(&self, tenant: &TenantId, changes: &[(DeviceId, Change)]) {
        let Some(broker) = self.broker.get() else { return };
        // Of one at an external broker nobody knows whether it is there.
        let outside = self.serves_outside(tenant);
        let here = changes.iter().filter(|(device, _)| outside || broker.connected(tenant, device));
        let here: Vec<_> = here.cloned().collect();
        for page in here.chunks(TOLD_AT_ONCE) {
            match jobs::told(&self.app, tenant, page).await {
                Ok(told) => told.into_iter().for_each(|told| self.tell_queue(tenant, told)),
                Err(error) => tracing::warn!(%tenant, %error, "devices could not be told what is pending"),
            }
        }
    }
}

/// Devices whose queues are read at once.
const TOLD_AT_ONCE: usize = 500;

impl MqttHooks {
    fn tell_queue(&self, tenant: &TenantId, told: Told) {
        let timestamp = self.app.now().secs();
        let Told { device, news, queue, first } = told;
        let say = |part, body: &[u8]| {
            MqttHooks::publish(self, tenant, &Topic::jobs(device.as_str(), part).to_string(), body);
        };
        if news.list {
            let of = |status| queue.iter().filter(|work| work.status == status).map(summary).collect();
            let jobs = Pending { in_progress: of(Status::InProgress), queued: of(Status::Queued) };
            say(JobsPart::Notify, &encode(&Notify { timestamp, jobs }));
        }
        if news.next {
            let next = ExecutionAccepted { execution: first.map(jobs_door::told), timestamp, client_token: None };
            say(JobsPart::NotifyNext, &encode(&next));
        }
    }
}

fn shown(stored: StoredRetained) -> Retained {
    let (beside, expires_at) = stored.beside();
    let StoredRetained { topic, payload, qos, stored_at, .. } = stored;
    Retained { topic, payload, qos, stored_at, expires_at, beside }
}

const fn refused(nack: Nack) -> PublishRefused {
    match nack {
        Nack::Unavailable => PublishRefused::Unavailable,
        Nack::NotAuthorized => PublishRefused::NotAuthorized,
        Nack::TopicInvalid => PublishRefused::TopicInvalid,
        Nack::Quota => PublishRefused::Quota,
        Nack::PayloadInvalid => PublishRefused::PayloadInvalid,
    }
}

const fn unpublished(error: PublishError) -> PublishRefused {
    match error {
        PublishError::TopicInvalid => PublishRefused::TopicInvalid,
        PublishError::TooLarge => PublishRefused::TooLarge,
        PublishError::QueueFull | PublishError::RetainedFull => PublishRefused::Quota,
    }
}

impl MqttHooks {
    /// What a device that came by another way would be on a connection; none where a policy denies it to connect.
    async fn as_connected(&self, device: &Publisher) -> Option<Arc<Principal>> {
        let Publisher::Device { tenant, device, serial, rights } = device else { return None };
        let admitted = Admitted {
            tenant: tenant.clone(),
            device: device.clone(),
            serial: serial.clone(),
            not_after: self.app.now(),
            rights: *rights,
        };
        self.principal_until(admitted, None).await.ok()
    }
}
