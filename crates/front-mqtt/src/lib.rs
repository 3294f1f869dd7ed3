//! The devices' MQTT door: who may connect, which topics are whose, and the services behind the reserved ones.
//!
//! The broker speaks MQTT and asks here. A connection is a device, known by its certificate: its client id must be its name,
//! and user name and password are ignored (AWS SDKs put telemetry there). Without a certificate it is known by a token in place
//! of a password, where its tenant takes such, until the token ends. A connection with a claim is
//! no device: it may only ask for an identity ([`provisioning`]); nor is one whose user name is that of Azure's provisioning
//! service: it may register a device and nothing else ([`dps`]). What [`policy`] does not
//! allow does not happen. A device may speak as one of AWS or as one of Azure's hub ([`hub`]); its certificate is its identity
//! either way. Reserved topics are parsed by `wire`, answered by one use case each, and told back; `docs/topics.md`
//! has the list. To add a family of topics: its parser in `wire`, a module here, its lines in [`policy`] and in that page.

mod acl;
mod answer;
mod attest;
mod commands;
mod dps;
pub mod external;
mod guests;
mod hooks;
mod hub;
mod jobs;
mod light;
mod links;
pub mod policy;
mod provisioning;
mod shadow;
mod standing;
pub mod websocket;

use std::collections::HashSet;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};

use fleetward_app::enroll::Attempt;
use fleetward_app::enroll::dps::Registrant;
use fleetward_app::provisioning::Claimant;
use fleetward_app::{App, Ctx, Principal};
use fleetward_base::{DeviceId, TenantId};
use fleetward_broker::Broker;
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

pub use hub::has_properties;

/// Devices that are asked after again at the same time.
const RECHECKS_AT_ONCE: usize = 16;

/// The rules and services of the devices' MQTT door.
pub struct MqttHooks {
    app: App,
    broker: OnceLock<Broker>,
    /// When sessions were last ended from above (monotonic, in milliseconds, from 1; 0 for never).
    ended_ms: AtomicU64,
    /// Who is in with a claim.
    claimants: guests::Guests<Claimant>,
    /// Who is in to register by Azure's messages.
    registrants: guests::Guests<(Registrant, Attempt)>,
    /// What waits to be said through an external broker, where there is one.
    external: OnceLock<external::Outlet>,
    /// Calls of methods that wait for a device's answer.
    calls: Arc<hub::Calls>,
    /// Devices to whom waiting commands are on their way.
    delivering: Arc<Mutex<HashSet<(TenantId, DeviceId)>>>,
    /// Turns of those who are asked after again. A change of many records would have all of them at the database at once, where
    /// some wait too long for an answer and are thrown out.
    rechecks: Arc<Semaphore>,
    /// Work that a synchronous hook begins and does not wait for.
    tasks: TaskTracker,
}

impl MqttHooks {
    pub fn new(app: App) -> Self {
        Self {
            app,
            broker: OnceLock::new(),
            ended_ms: AtomicU64::new(0),
            claimants: guests::Guests::default(),
            registrants: guests::Guests::default(),
            external: OnceLock::new(),
            calls: Arc::default(),
            delivering: Arc::default(),
            rechecks: Arc::new(Semaphore::new(RECHECKS_AT_ONCE)),
            tasks: TaskTracker::new(),
        }
    }

    /// The broker that asks, known once it runs. From here on use cases reach connected devices. The first call counts.
    pub fn connect(self: &Arc<Self>, broker: Broker) {
        if self.broker.set(broker).is_ok() {
            self.app.connect_links(Arc::clone(self) as Arc<dyn fleetward_app::DeviceLinks>);
        }
    }

    fn ctx(&self, principal: &fleetward_broker::Principal) -> Ctx {
        let principal = Principal::Device {
            tenant: principal.tenant.clone(),
            device: principal.device.clone(),
            serial: principal.serial.to_string(),
            rights: principal.rights,
        };
        Ctx { principal, request_id: self.app.new_request_id(), address: None, idempotency: None }
    }
}

impl std::fmt::Debug for MqttHooks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("MqttHooks")
    }
}
