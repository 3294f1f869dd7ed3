//! Saying something to devices. The store is the truth; what cannot be delivered is logged and no more.

use std::time::Duration;

use fleetward_base::{DeviceId, TenantId};
use fleetward_broker::{Message, PublishError};
use serde::Serialize;

use crate::MqttHooks;

/// An answer that its requester did not get by then is of no use to it.
pub(crate) const ANSWER_EXPIRY: Duration = Duration::from_secs(300);

impl MqttHooks {
    /// To whoever of the tenant subscribes.
    pub(crate) fn publish(&self, tenant: &TenantId, topic: &str, payload: &[u8]) {
        self.say_outside(tenant, topic, payload);
        let Some(broker) = self.broker.get() else { return };
        match broker.publish(tenant, Message::new(topic, payload)) {
            Ok(receipt) => receipt.forget(),
            Err(error) => undelivered(topic, error),
        }
    }

    /// To this device only, whether it subscribes or not: once, also where it does.
    pub(crate) fn answer(&self, tenant: &TenantId, device: &DeviceId, topic: &str, payload: &[u8]) {
        self.say_outside(tenant, topic, payload);
        let Some(broker) = self.broker.get() else { return };
        let message = Message { expiry: Some(ANSWER_EXPIRY), ..Message::new(topic, payload) };
        match broker.publish_to(tenant, device, message) {
            Ok(receipt) => receipt.forget(),
            Err(error) => undelivered(topic, error),
        }
    }
}

pub(crate) fn undelivered(topic: &str, error: PublishError) {
    tracing::debug!(topic, %error, "not delivered");
}

/// The bytes of a body. Every body here has only text keys and finite numbers, so it always has some.
pub(crate) fn encode(body: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(body).unwrap_or_default()
}
