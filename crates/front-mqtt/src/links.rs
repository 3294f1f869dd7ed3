//! From use cases to connected devices.

use async_trait::async_trait;
use bytes::Bytes;
use fleetward_app::messaging::Elsewhere;
use fleetward_app::{DeviceLinks, EndReason, deployments};
use fleetward_base::{DeviceId, TenantId};
use fleetward_broker::{Reason, Redirect};
use fleetward_core::access::DeviceRights;
use fleetward_core::deployment::Status;
use fleetward_core::topic_policy::Act;
use fleetward_wire::aws::jobs::{ExecutionAccepted, Notify, Pending};
use fleetward_wire::aws::topic::{JobsPart, Topic};

use crate::MqttHooks;
use crate::answer::encode;
use crate::jobs::{full, summary};
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

    /// `notify` and `notify-next` with what is pending now. A device that is away asks when it is back.
    async fn deployments_changed(&self, tenant: &TenantId, device: &DeviceId) {
        if !self.broker.get().is_some_and(|broker| broker.connected(tenant, device)) {
            return;
        }
        let next = match deployments::next_of(&self.app, tenant, device).await {
            Ok(next) => next,
            Err(error) => {
                tracing::warn!(%tenant, %device, %error, "a device could not be told what is next");
                return;
            }
        };
        let timestamp = self.app.now().secs();
        let mut jobs = Pending::default();
        if let Some(job) = &next {
            let list = if job.deployment.status == Status::Queued { &mut jobs.queued } else { &mut jobs.in_progress };
            list.push(summary(&job.deployment));
        }
        let say = |part, body: &[u8]| {
            MqttHooks::publish(self, tenant, &Topic::jobs(device.as_str(), part).to_string(), body);
        };
        say(JobsPart::Notify, &encode(&Notify { timestamp, jobs }));
        let execution = next.map(|job| full(job, true));
        let next = ExecutionAccepted { execution, timestamp, client_token: None };
        say(JobsPart::NotifyNext, &encode(&next));
    }
}
