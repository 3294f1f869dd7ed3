//! Devices and releases put straight into the store, and a wire that remembers what devices were told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use fleetward_app::messaging::Elsewhere;
use fleetward_app::topic_messages::Beside;
use fleetward_app::{
    App, Called, Ctx, DeviceLinks, EndReason, Error, MethodCall, OutgoingCommand, Principal, Retained, Unsent,
};
use fleetward_base::{DeviceId, ReleaseId, SeededRng, SignerId, TenantId, Timestamp};
use fleetward_core::access::DeviceRights;
use fleetward_core::job::queue::Change;
use fleetward_core::topic_policy::Act;
use fleetward_store::{DeviceRow, ReleaseRow, SignerRow};
use fleetward_supply::{Artifact, Manifest, Sha256, SignedRelease, SigningKey};
use parking_lot::Mutex;
use serde_json::Value;

use crate::fixture::{ctx, device};

/// What devices were told, in order.
#[derive(Default)]
pub(crate) struct Told {
    messages: Mutex<Vec<(String, Value)>>,
    changed: Mutex<Vec<DeviceId>>,
    /// Devices with a session, and the certificate that it was opened with.
    live: Mutex<BTreeMap<DeviceId, String>>,
    ended: Mutex<BTreeSet<DeviceId>>,
    forgotten: Mutex<Vec<DeviceId>>,
    retained: Mutex<BTreeMap<String, Bytes>>,
    /// Devices that listen for commands, and what they were sent.
    listening: Mutex<BTreeSet<DeviceId>>,
    commands: Mutex<Vec<OutgoingCommand>>,
}

impl Told {
    pub(crate) fn listen(app: &App) -> Arc<Self> {
        let told = Arc::new(Self::default());
        app.connect_links(Arc::clone(&told) as Arc<dyn DeviceLinks>);
        told
    }

    /// The messages since the last call, topic and body.
    pub(crate) fn take(&self) -> Vec<(String, Value)> {
        std::mem::take(&mut *self.messages.lock())
    }

    /// The last levels of their topics.
    pub(crate) fn take_ends(&self) -> Vec<String> {
        let end = |topic: &str| topic.rsplit("/shadow/").next().unwrap_or_default().to_owned();
        self.take().iter().map(|(topic, _)| end(topic)).collect()
    }

    /// A device has a session now.
    pub(crate) fn connect(&self, device: &DeviceId, serial: &str) {
        self.live.lock().insert(device.clone(), serial.to_owned());
    }

    /// Whether a device listens for commands from now on.
    pub(crate) fn listens(&self, device: &DeviceId, listens: bool) {
        let mut listening = self.listening.lock();
        if listens {
            listening.insert(device.clone())
        } else {
            listening.remove(device)
        };
    }

    /// The commands that were sent since the last call.
    pub(crate) fn take_commands(&self) -> Vec<OutgoingCommand> {
        std::mem::take(&mut *self.commands.lock())
    }

    /// Devices whose session was ended, since the last call.
    pub(crate) fn take_ended(&self) -> BTreeSet<DeviceId> {
        std::mem::take(&mut *self.ended.lock())
    }

    /// Devices of which nothing is to be left, since the last call.
    pub(crate) fn take_forgotten(&self) -> Vec<DeviceId> {
        std::mem::take(&mut *self.forgotten.lock())
    }

    /// What is retained on a topic, as text.
    pub(crate) fn retained_text(&self, topic: &str) -> Option<String> {
        self.retained.lock().get(topic).map(|payload| String::from_utf8_lossy(payload).into_owned())
    }

    /// Something is retained there, whoever did that.
    pub(crate) fn spoil(&self, topic: &str, payload: &str) {
        self.retained.lock().insert(topic.to_owned(), Bytes::copy_from_slice(payload.as_bytes()));
    }

    /// Devices that were told that their deployments changed, since the last call.
    pub(crate) fn take_changed(&self) -> Vec<DeviceId> {
        std::mem::take(&mut *self.changed.lock())
    }
}

#[async_trait]
impl DeviceLinks for Told {
    fn end_claim(&self, _tenant: &TenantId, _serial: &str) {}

    fn end_sessions(&self, _: &TenantId, device: &DeviceId, _: EndReason) {
        if self.live.lock().remove(device).is_some() {
            self.ended.lock().insert(device.clone());
        }
    }

    fn end_certificate(&self, tenant: &TenantId, device: &DeviceId, serial: &str) {
        if self.live(tenant, device).as_deref() == Some(serial) {
            self.end_sessions(tenant, device, EndReason::NotAuthorized);
        }
    }

    fn live(&self, _: &TenantId, device: &DeviceId) -> Option<String> {
        self.live.lock().get(device).cloned()
    }

    fn recheck(&self, _: &TenantId, _: &DeviceId) {}

    fn recheck_all(&self, _: &TenantId) {}

    fn redirect(&self, _: Option<Elsewhere>) -> usize {
        0
    }

    fn redirected(&self) -> Option<Elsewhere> {
        None
    }

    fn built_in(&self, _: DeviceRights, device: &DeviceId, _: Act, topic: &str) -> bool {
        topic.split('/').nth(1) == Some(device.as_str())
    }

    async fn forget(&self, _: &TenantId, device: &DeviceId) {
        self.forgotten.lock().push(device.clone());
    }

    async fn publish(&self, _: &TenantId, topic: String, payload: Bytes) {
        let body = serde_json::from_slice(&payload).expect("bodies are JSON");
        self.messages.lock().push((topic, body));
    }

    async fn retain(&self, _: &TenantId, topic: String, payload: Bytes) {
        let mut retained = self.retained.lock();
        if payload.is_empty() {
            retained.remove(&topic);
        } else {
            retained.insert(topic, payload);
        }
    }

    fn retained(&self, _: &TenantId, topic: &str) -> Option<Retained> {
        let payload = self.retained.lock().get(topic).cloned()?;
        let (stored_at, beside) = (Timestamp::from_secs(0), Beside::default());
        Some(Retained { topic: topic.to_owned(), payload, qos: 1, stored_at, expires_at: None, beside })
    }

    fn hears_commands(&self, _: &TenantId, device: &DeviceId) -> bool {
        self.listening.lock().contains(device)
    }

    fn send_command(&self, _: &TenantId, _: &DeviceId, command: &OutgoingCommand) {
        self.commands.lock().push(command.clone());
    }

    fn listens(&self, _: &TenantId, _: &DeviceId, _: &str) -> Option<bool> {
        None
    }

    async fn tell(&self, _: &TenantId, _: &DeviceId, _: String, _: Bytes) {}

    async fn send(&self, _: &TenantId, _: &str, _: Bytes, _: Duration) -> Result<usize, Unsent> {
        Ok(0)
    }

    async fn call(&self, _: &TenantId, _: &DeviceId, _: MethodCall) -> Called {
        Called::NotThere
    }

    async fn queue_changed(&self, _: &TenantId, changes: &[(DeviceId, Change)]) {
        self.changed.lock().extend(changes.iter().map(|(device, _)| device.clone()));
    }
}

/// An active device that runs 1.0.
pub(crate) async fn add_device(app: &App, tenant: &TenantId, name: &str, hardware: &str) {
    let row = DeviceRow {
        id: device(name),
        class: "endpoint".to_owned(),
        hardware: hardware.to_owned(),
        firmware: Some("1.0".to_owned()),
        status: "active".to_owned(),
        owner: None,
        environment: None,
        site: None,
        location: None,
        parent: None,
        endpoint: None,
        tags: "[]".to_owned(),
        attributes: "{}".to_owned(),
        certificate_serial: None,
        certificate_not_after: None,
        heartbeat_s: None,
        revision: 1,
        provisioned_at: None,
        created_at: app.now(),
        updated_at: app.now(),
    };
    let added = app.write(tenant, "add device", move |tx| Box::pin(async move { Ok(tx.insert_device(&row).await?) }));
    added.await.expect("added");
}

/// A release that fits these hardware revisions, signed by a key of the tenant's.
pub(crate) async fn add_release(app: &App, tenant: &TenantId, version: &str, hardware: &[&str]) -> ReleaseId {
    let key = SigningKey::generate(&SeededRng::new(11));
    let artifacts = hardware.iter().map(|hardware| Artifact {
        filename: format!("{hardware}.img"),
        hardware: vec![(*hardware).to_owned()],
        sha256: Sha256::of(hardware.as_bytes()),
        size: 7,
    });
    let manifest = Manifest::new("base".to_owned(), version.to_owned(), Timestamp::from_secs(1), artifacts.collect());
    let signed = SignedRelease::sign(&manifest.expect("a manifest"), &key);
    let (clock, rng) = (app.clock().clone(), app.rng().clone());
    let (release, signer) =
        (ReleaseId::generate(clock.as_ref(), rng.as_ref()), SignerId::generate(clock.as_ref(), rng.as_ref()));
    let (version, now, public) = (version.to_owned(), app.now(), key.verifying_key());
    let added = app.write(tenant, "add release", move |tx| {
        Box::pin(async move {
            let key_id = public.key_id().to_string();
            if tx.signer_by_key(&key_id).await?.is_none() {
                let row = SignerRow {
                    id: signer,
                    name: "ci".to_owned(),
                    key_id: key_id.clone(),
                    public_key: public.as_bytes().to_vec(),
                    created_at: now,
                    revoked_at: None,
                    revision: 1,
                };
                tx.insert_signer(&row).await?;
            }
            let row = ReleaseRow {
                id: release,
                name: "base".to_owned(),
                version,
                signer,
                key_id,
                manifest: signed.manifest,
                signature: signed.signature,
                created_at: now,
                revision: 1,
            };
            tx.insert_release(&row).await?;
            Ok::<_, Error>(())
        })
    });
    added.await.expect("added");
    release
}

/// A context as the devices' doors make it.
pub(crate) fn as_device(app: &App, tenant: &TenantId, name: &str) -> Ctx {
    ctx(
        app,
        Principal::Device {
            tenant: tenant.clone(),
            device: device(name),
            serial: "00".to_owned(),
            rights: DeviceRights::Full,
        },
    )
}

/// Polls a request until what it asks for is committed, and hangs up before it has its answer.
pub(crate) async fn hang_up<T>(app: &App, request: impl Future<Output = T>, committed: impl AsyncFn(&App) -> bool) {
    let mut request = Box::pin(request);
    assert!(futures::poll!(request.as_mut()).is_pending(), "it waits for its commit");
    while !committed(app).await {
        tokio::task::yield_now().await;
    }
    drop(request);
}
