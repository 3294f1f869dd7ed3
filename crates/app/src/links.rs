//! The way from a use case to devices that are connected now.
//!
//! The broker's door implements it. What is told here is a hint that makes things quick: the store is the truth, and a
//! device that hears nothing finds the same when it connects or polls.

use async_trait::async_trait;
use bytes::Bytes;
use fleetward_base::{DeviceId, TenantId};
use fleetward_core::job::queue::Change;
use fleetward_core::access::DeviceRights;
use fleetward_core::topic_policy::Act;

/// Why the server ends a device's session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// Revoked, suspended, lost or decommissioned: MQTT 5 reason 0x98, administrative action.
    Administrative,
    /// Its certificate is no longer accepted: MQTT 5 reason 0x87, not authorized.
    NotAuthorized,
}

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
    fn built_in(&self, rights: DeviceRights, device: &DeviceId, act: Act, topic: &str) -> bool;

    /// Publishes to whoever in the tenant subscribes, QoS 1.
    async fn publish(&self, tenant: &TenantId, topic: String, payload: Bytes);

    /// What is pending for these devices changed: tell those that are here.
    async fn queue_changed(&self, tenant: &TenantId, changes: &[(DeviceId, Change)]);
}
