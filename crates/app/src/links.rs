//! The way from a use case to devices that are connected now.
//!
//! The broker's door implements it. What is told here is a hint that makes things quick: the store is the truth, and a
//! device that hears nothing finds the same when it connects or polls.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use fleetward_base::{CommandId, DeviceId, TenantId, Timestamp};
use fleetward_broker::{Beside, Properties, StoredWill};
use fleetward_core::access::DeviceRights;
use fleetward_core::job::queue::Change;
use fleetward_core::topic_policy::Act;

use crate::Principal;
use crate::messaging::Elsewhere;

/// Why the server ends a device's session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// Revoked, suspended, lost or decommissioned: MQTT 5 reason 0x98, administrative action.
    Administrative,
    /// Its certificate is no longer accepted: MQTT 5 reason 0x87, not authorized.
    NotAuthorized,
}

/// A message that a device publishes by another way than its MQTT connection.
#[derive(Clone, Debug)]
pub struct DeviceMessage {
    pub topic: String,
    pub payload: Bytes,
    /// 0 or 1.
    pub qos: u8,
    pub retain: bool,
}

/// A message that an operator publishes.
#[derive(Clone, Debug)]
pub struct TopicMessage {
    pub topic: String,
    pub payload: Bytes,
    /// 0 to 2.
    pub qos: u8,
    pub retain: bool,
    /// Not delivered any more, and not kept, after this.
    pub expiry: Option<Duration>,
    pub properties: Properties,
}

/// Why such a message went nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishRefused {
    #[error("the topic is not one to publish to")]
    NotAuthorized,
    #[error("not a topic name")]
    TopicInvalid,
    #[error("the payload cannot be taken")]
    PayloadInvalid,
    #[error("the payload is above the limit")]
    TooLarge,
    #[error("a quota is used up")]
    Quota,
    #[error("the server cannot take it just now")]
    Unavailable,
}

/// A message that is retained.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retained {
    pub topic: String,
    pub payload: Bytes,
    pub qos: u8,
    pub stored_at: Timestamp,
    /// None where it stays until something takes its place.
    pub expires_at: Option<Timestamp>,
    pub beside: Beside,
}

/// A command on its way to its device.
#[derive(Clone)]
pub struct OutgoingCommand {
    pub id: CommandId,
    pub op: String,
    pub content_type: String,
    pub lane: String,
    /// 1 for the first.
    pub attempt: u32,
    pub version: u64,
    pub payload: Bytes,
    /// The server's time.
    pub now: Timestamp,
    pub expires_at: Timestamp,
    pub run_timeout: Duration,
}

/// A method of a device, called.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MethodCall {
    pub name: String,
    /// What the device says in its answer, so that the two are told to belong together.
    pub id: String,
    pub payload: Bytes,
    pub deadline: Duration,
}

/// What came of a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Called {
    Answered {
        status: i32,
        payload: Bytes,
    },
    /// The device is not connected, or takes no calls.
    NotThere,
    /// It has not answered in time.
    Silent,
    /// So many of its calls, or of its tenant's, wait already that this one was not made.
    TooMany,
}

/// A message was not taken: a queue is full, or it is larger than messages are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the message was not taken")]
pub struct Unsent;

/// What has a default does nothing and finds nobody, as where no broker runs.
#[async_trait]
pub trait DeviceLinks: Send + Sync + 'static {
    /// Ends every live session of the device now.
    fn end_sessions(&self, tenant: &TenantId, device: &DeviceId, reason: EndReason);

    /// Ends every live session of the device, and forgets what its sessions left: subscriptions, what waits for it, and what is
    /// retained on its own topics. It will not come back.
    async fn forget(&self, tenant: &TenantId, device: &DeviceId);

    /// Ends every live connection that was made with the claim of this serial number.
    fn end_claim(&self, tenant: &TenantId, serial: &str);

    /// Ends the live session of the device that was opened with this certificate, if there is one: it is no longer accepted.
    fn end_certificate(&self, tenant: &TenantId, device: &DeviceId, serial: &str);

    /// With which certificate the device's live session was opened; none where it has none here.
    fn live(&self, tenant: &TenantId, device: &DeviceId) -> Option<String>;

    /// Asks the registry about the live session of the device, and ends it where it should not be.
    fn recheck(&self, tenant: &TenantId, device: &DeviceId);

    /// The same for every live session of the tenant.
    fn recheck_all(&self, tenant: &TenantId);

    /// Whether a device with these rights may do this by the built-in rules, before any policy.
    fn built_in(&self, _rights: DeviceRights, _device: &DeviceId, _act: Act, _topic: &str) -> bool {
        false
    }

    /// Publishes last wills of connections to a server that is gone, each when its moment comes.
    async fn adopt_wills(&self, _wills: Vec<StoredWill>) {}

    /// Keeps the last wills of all connections anew.
    fn keep_wills(&self) {}

    /// Sends clients to another server from now on, or none any more; how many are connected and go.
    fn redirect(&self, _to: Option<Elsewhere>) -> usize {
        0
    }

    /// Where clients are sent.
    fn redirected(&self) -> Option<Elsewhere> {
        None
    }

    /// Publishes to whoever in the tenant subscribes, QoS 1.
    async fn publish(&self, tenant: &TenantId, topic: String, payload: Bytes);

    /// Publishes to whoever in the tenant subscribes, QoS 1, and keeps it for those who subscribe later. An empty payload takes
    /// away what was kept.
    async fn retain(&self, _tenant: &TenantId, _topic: String, _payload: Bytes) {}

    /// What is retained on a topic of the tenant.
    fn retained(&self, _tenant: &TenantId, _topic: &str) -> Option<Retained> {
        None
    }

    /// Publishes for a device, under the policy that its own connection has. `Ok` is the broker's acknowledgement.
    async fn publish_as(&self, _device: &Principal, _message: DeviceMessage) -> Result<(), PublishRefused> {
        Err(PublishRefused::Unavailable)
    }

    /// Publishes for an operator, to whoever in the tenant subscribes, but on no topic of a service. Durable when this
    /// returns: how many sessions have it.
    async fn publish_to_topic(&self, _tenant: &TenantId, _message: TopicMessage) -> Result<usize, PublishRefused> {
        Err(PublishRefused::Unavailable)
    }

    /// What is retained in the tenant, by topic, after `after`.
    fn all_retained(&self, _tenant: &TenantId, _after: &str, _limit: usize) -> Vec<Retained> {
        Vec::new()
    }

    /// Whether a message on the topic may reach the device.
    async fn may_receive(&self, _device: &Principal, _topic: &str) -> bool {
        false
    }

    /// What is retained on topics that the device may receive, in their order, after `after`.
    async fn retained_for(&self, _device: &Principal, _after: &str, _limit: usize) -> Vec<Retained> {
        Vec::new()
    }

    /// Whether the device is connected here and listens for commands.
    fn hears_commands(&self, _tenant: &TenantId, _device: &DeviceId) -> bool {
        false
    }

    /// Whether it listens to commands whose payload is of this media type.
    fn hears_media(&self, tenant: &TenantId, device: &DeviceId, _content_type: &str) -> bool {
        self.hears_commands(tenant, device)
    }

    /// Hands a command to the device.
    fn send_command(&self, _tenant: &TenantId, _device: &DeviceId, _command: &OutgoingCommand) {}

    /// Whether the session of the device subscribes to the topic; true where it is connected too.
    fn listens(&self, _tenant: &TenantId, _device: &DeviceId, _topic: &str) -> Option<bool> {
        None
    }

    /// The built-in rules for devices with all their rights, as Mosquitto reads them from a file.
    fn access_list(&self) -> String {
        String::new()
    }

    /// Tells the device on its own connection, if it listens to that topic there; nothing waits for one that is away.
    async fn tell(&self, _tenant: &TenantId, _device: &DeviceId, _topic: String, _payload: Bytes) {}

    /// As [`Self::publish`], not after `expiry` any more, and durable when this returns: how many sessions have it.
    async fn send(
        &self,
        _tenant: &TenantId,
        _topic: &str,
        _payload: Bytes,
        _expiry: Duration,
    ) -> Result<usize, Unsent> {
        Err(Unsent)
    }

    /// Has a device that is connected do something, and waits for its answer.
    async fn call(&self, _tenant: &TenantId, _device: &DeviceId, _call: MethodCall) -> Called {
        Called::NotThere
    }

    /// What is pending for these devices changed: tell those that are here.
    async fn queue_changed(&self, tenant: &TenantId, changes: &[(DeviceId, Change)]);
}
