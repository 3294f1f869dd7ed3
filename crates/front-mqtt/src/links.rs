//! From use cases to connected devices.

use async_trait::async_trait;
use bytes::Bytes;
use fleetward_app::jobs::{self, Told};
use fleetward_app::{DeviceLinks, EndReason};
use fleetward_base::{DeviceId, TenantId};
use fleetward_broker::Reason;
use fleetward_core::job::Status;
use fleetward_core::job::queue::Change;
use fleetward_core::access::DeviceRights;
use fleetward_core::topic_policy::Act;
use fleetward_wire::aws::jobs::{ExecutionAccepted, Notify, Pending};
use fleetward_wire::aws::topic::{JobsPart, Topic};

use crate::MqttHooks;
use crate::answer::encode;
use crate::jobs as jobs_door;
use crate::jobs::summary;
use crate::policy;

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
    }

    fn built_in(&self, rights: DeviceRights, device: &DeviceId, act: Act, topic: &str) -> bool {
        policy::built_in(rights, device.as_str(), act, topic)
    }

    async fn publish(&self, tenant: &TenantId, topic: String, payload: Bytes) {
        MqttHooks::publish(self, tenant, &topic, &payload);
    }

    /// `notify` where something came or went, `notify-next` where another one is first. A device that is away asks when it
    /// is back.
    async fn queue_changed(&self, tenant: &TenantId, changes: &[(DeviceId, Change)]) {
        let Some(broker) = self.broker.get() else { return };
        let here: Vec<_> = changes.iter().filter(|(device, _)| broker.connected(tenant, device)).cloned().collect();
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
