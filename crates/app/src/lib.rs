//! Use cases and reconcilers: the only place where something is decided *and* done.
//!
//! A use case takes `(&App, &Ctx, input)`: it authorises ([`Ctx::allow`]), loads, lets `core` decide, and persists the
//! outcome with its journal row in one transaction; only after the commit does it tell the connected devices
//! ([`DeviceLinks`]). It knows neither HTTP nor MQTT nor SQL text. To add one, follow
//! `docs/guides/adding-an-operation.md`.

pub mod access_keys;
pub mod api_tokens;
pub mod attestation;
pub mod authority;
pub mod ca_rotations;
pub mod commands;
pub mod context;
pub mod deny_list;
pub mod deployments;
pub mod detection;
pub mod device_flow;
pub mod device_groups;
pub mod device_types;
pub mod dids;
pub mod doctor;
pub mod drills;
pub mod enroll;
pub mod enroll_tokens;
pub mod enrollment_keys;
pub mod enrollment_requests;
pub mod error;
pub mod external_broker;
pub mod hub;
pub mod idempotency;
pub mod identity_policy;
pub mod inventory;
pub mod issuers;
pub mod jobs;
pub mod journal;
pub mod labels;
pub mod links;
pub mod messaging;
pub mod mqtt_sessions;
pub mod offline_root;
pub mod peer;
pub mod policy_sources;
pub mod presence;
pub mod provisioning;
pub mod publication;
pub mod reconcile;
pub mod registry;
pub mod releases;
pub mod revocation;
pub mod rollouts;
pub mod rotation;
pub mod scep;
pub mod search;
pub mod setup;
pub mod shadow;
pub mod tenants;
pub mod token;
pub mod token_issuers;
pub mod topic_messages;
pub mod topic_policies;
pub mod transfers;
pub mod transparency;
mod under_way;
pub mod vault;

use std::sync::{Arc, OnceLock};

use fleetward_base::{Clock, RequestId, Rng, TenantId};
use fleetward_store::{Store, TenantTx};
use fleetward_vault::{Tokens, Vault};
use futures::future::BoxFuture;
use object_store::ObjectStore;

pub use context::{Ctx, Idempotency, Principal};
pub use error::{Error, Result};
pub use links::{
    Called, DeviceLinks, DeviceMessage, EndReason, MethodCall, OutgoingCommand, PublishRefused, Retained, TopicMessage,
    Unsent,
};
pub use peer::Peer;

/// What the installation is configured to be. Doors and use cases read it; only the program writes it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where operators reach the server, without a slash at the end: `https://fleet.example.com:8080`.
    pub operator_url: String,
    /// Host name or address under which devices reach the server.
    pub device_host: String,
    /// Port of the devices' HTTP and MQTT (by ALPN), and of plain MQTT over TLS.
    pub device_port: u16,
    pub mqtt_port: u16,
    /// Names and addresses in the server's own certificate.
    pub server_names: Vec<String>,
    /// Where others fetch lists of revoked certificates and ask about single ones, without a slash at the end:
    /// `http://pki.example.com`. It goes into certificates; `None` leaves them without.
    pub pki_url: Option<String>,
    /// The tenant that requests without a label mean; `None` where there is only what their credential says.
    pub default_tenant: Option<TenantId>,
    /// Networks of the installation's own that hooks of tenants may be in.
    pub hook_networks: Vec<provisioning::Network>,
}

/// Everything a use case works with. Cheap to clone.
#[derive(Clone)]
pub struct App {
    inner: Arc<Inner>,
}

struct Inner {
    store: Store,
    vault: Vault,
    clock: Arc<dyn Clock>,
    rng: Arc<dyn Rng>,
    objects: Arc<dyn ObjectStore>,
    settings: OnceLock<Settings>,
    links: OnceLock<Arc<dyn DeviceLinks>>,
    tokens: OnceLock<Arc<dyn Tokens>>,
    vault_watch: vault::Watch,
    presence: presence::Presences,
    shadows: shadow::Shadows,
    signals: reconcile::Signals,
    authorities: authority::Authorities,
    gate: enroll::Gate,
    polls: device_flow::Polls,
    documents: dids::Documents,
    token_keys: token_issuers::keys::TokenKeys,
    token_issuers_seen: reconcile::token_issuers::Seen,
    groups_seen: reconcile::groups::Seen,
    provisioning: provisioning::Paces,
    publication: publication::Publication,
    deny_lists: deny_list::DenyLists,
    logs: transparency::Logs,
    unlogged: enroll::Unlogged,
    followed: reconcile::events::Followed,
    heard: reconcile::ends::Heard,
    looked: reconcile::crls::Looked,
    policies: identity_policy::Policies,
    servers: reconcile::servers::Servers,
    topic_rights: topic_policies::Known,
    topic_policies_seen: reconcile::topic_policies::Seen,
    detection: detection::Detection,
    doctor: doctor::Doctor,
    traffic: rotation::traffic::Traffic,
    under_way: under_way::UnderWay,
    attestation_results: attestation::Results,
}

impl App {
    pub fn new(
        store: Store,
        vault: Vault,
        clock: Arc<dyn Clock>,
        rng: Arc<dyn Rng>,
        objects: Arc<dyn ObjectStore>,
    ) -> Self {
        let inner = Inner {
            store,
            vault,
            clock,
            rng,
            objects,
            settings: OnceLock::new(),
            links: OnceLock::new(),
            tokens: OnceLock::new(),
            vault_watch: vault::Watch::default(),
            presence: presence::Presences::default(),
            shadows: shadow::Shadows::default(),
            signals: reconcile::Signals::default(),
            authorities: authority::Authorities::default(),
            gate: enroll::Gate::default(),
            polls: device_flow::Polls::default(),
            documents: dids::Documents::default(),
            token_keys: token_issuers::keys::TokenKeys::default(),
            token_issuers_seen: reconcile::token_issuers::Seen::default(),
            groups_seen: reconcile::groups::Seen::default(),
            provisioning: provisioning::Paces::default(),
            publication: publication::Publication::default(),
            deny_lists: deny_list::DenyLists::default(),
            logs: transparency::Logs::default(),
            unlogged: enroll::Unlogged::default(),
            followed: reconcile::events::Followed::default(),
            heard: reconcile::ends::Heard::default(),
            looked: reconcile::crls::Looked::default(),
            policies: identity_policy::Policies::default(),
            servers: reconcile::servers::Servers::default(),
            topic_rights: topic_policies::Known::default(),
            topic_policies_seen: reconcile::topic_policies::Seen::default(),
            detection: detection::Detection::default(),
            doctor: doctor::Doctor::default(),
            traffic: rotation::traffic::Traffic::default(),
            under_way: under_way::UnderWay::default(),
            attestation_results: attestation::Results::default(),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Settings are known once the listeners have their ports. The first call counts.
    pub fn configure(&self, settings: Settings) {
        self.inner.settings.set(settings).ok();
    }

    /// The way to connected devices, known once the broker runs. The first call counts.
    pub fn connect_links(&self, links: Arc<dyn DeviceLinks>) {
        self.inner.links.set(links).ok();
    }

    pub fn settings(&self) -> Result<&Settings> {
        self.inner.settings.get().ok_or(Error::Unavailable { what: "the server" })
    }

    /// Nobody is connected before the broker runs, so there is nobody to tell then.
    pub fn links(&self) -> Option<&Arc<dyn DeviceLinks>> {
        self.inner.links.get()
    }

    pub fn store(&self) -> &Store {
        &self.inner.store
    }

    pub fn vault(&self) -> &Vault {
        &self.inner.vault
    }

    /// The way to keys in PKCS#11 tokens, where the server was told of a token. The first call counts.
    pub fn connect_tokens(&self, tokens: Arc<dyn Tokens>) {
        self.inner.tokens.set(tokens).ok();
    }

    pub(crate) fn tokens(&self) -> Option<&Arc<dyn Tokens>> {
        self.inner.tokens.get()
    }

    pub(crate) fn vault_watch(&self) -> &vault::Watch {
        &self.inner.vault_watch
    }

    pub fn presence(&self) -> &presence::Presences {
        &self.inner.presence
    }

    pub(crate) fn shadows(&self) -> &shadow::Shadows {
        &self.inner.shadows
    }

    pub(crate) fn signals(&self) -> &reconcile::Signals {
        &self.inner.signals
    }

    pub(crate) fn authorities(&self) -> &authority::Authorities {
        &self.inner.authorities
    }

    pub(crate) fn documents(&self) -> &dids::Documents {
        &self.inner.documents
    }

    pub(crate) fn groups_seen(&self) -> &reconcile::groups::Seen {
        &self.inner.groups_seen
    }

    pub(crate) fn token_issuers_seen(&self) -> &reconcile::token_issuers::Seen {
        &self.inner.token_issuers_seen
    }

    pub(crate) fn token_keys(&self) -> &token_issuers::keys::TokenKeys {
        &self.inner.token_keys
    }

    pub(crate) fn polls(&self) -> &device_flow::Polls {
        &self.inner.polls
    }

    pub(crate) fn gate(&self) -> &enroll::Gate {
        &self.inner.gate
    }

    pub(crate) fn traffic(&self) -> &rotation::traffic::Traffic {
        &self.inner.traffic
    }

    pub(crate) fn under_way(&self) -> &under_way::UnderWay {
        &self.inner.under_way
    }

    /// What the metrics page shows of certificates.
    pub fn certificate_figures(&self) -> rotation::Figures {
        self.inner.traffic.figures()
    }

    pub(crate) fn doctor(&self) -> &doctor::Doctor {
        &self.inner.doctor
    }

    pub(crate) fn detection(&self) -> &detection::Detection {
        &self.inner.detection
    }

    pub(crate) fn servers(&self) -> &reconcile::servers::Servers {
        &self.inner.servers
    }

    pub(crate) fn topic_rights(&self) -> &topic_policies::Known {
        &self.inner.topic_rights
    }

    pub(crate) fn topic_policies_seen(&self) -> &reconcile::topic_policies::Seen {
        &self.inner.topic_policies_seen
    }

    pub(crate) fn policies(&self) -> &identity_policy::Policies {
        &self.inner.policies
    }

    /// Results of attestation in this process.
    pub fn attestation_results(&self) -> &attestation::Results {
        &self.inner.attestation_results
    }

    pub(crate) fn provisioning(&self) -> &provisioning::Paces {
        &self.inner.provisioning
    }

    pub(crate) fn publication(&self) -> &publication::Publication {
        &self.inner.publication
    }

    pub(crate) fn deny_lists(&self) -> &deny_list::DenyLists {
        &self.inner.deny_lists
    }

    pub(crate) fn logs(&self) -> &transparency::Logs {
        &self.inner.logs
    }

    pub(crate) fn unlogged(&self) -> &enroll::Unlogged {
        &self.inner.unlogged
    }

    pub(crate) fn followed(&self) -> &reconcile::events::Followed {
        &self.inner.followed
    }

    pub(crate) fn heard(&self) -> &reconcile::ends::Heard {
        &self.inner.heard
    }

    pub(crate) fn looked(&self) -> &reconcile::crls::Looked {
        &self.inner.looked
    }

    /// Something of this tenant was revoked: kept OCSP answers of its authorities are not given again.
    pub(crate) fn forget_answers(&self, tenant: &TenantId) {
        self.publication().answers.forget(self.publication().all().into_iter(), Some(tenant));
    }

    /// As [`Self::forget_answers`], of the authorities above those of tenants.
    pub(crate) fn forget_answers_above(&self) {
        self.publication().answers.forget(self.publication().all().into_iter(), None);
    }

    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.inner.clock
    }

    pub fn rng(&self) -> &Arc<dyn Rng> {
        &self.inner.rng
    }

    pub fn objects(&self) -> &Arc<dyn ObjectStore> {
        &self.inner.objects
    }

    pub fn now(&self) -> fleetward_base::Timestamp {
        self.inner.clock.now()
    }

    pub fn new_request_id(&self) -> RequestId {
        RequestId::generate(self.inner.clock.as_ref(), self.inner.rng.as_ref())
    }

    /// A context for what the server does by itself.
    pub fn system(&self, component: &'static str) -> Ctx {
        Ctx {
            principal: Principal::System { component },
            request_id: self.new_request_id(),
            address: None,
            idempotency: None,
        }
    }

    /// Whether the store answers.
    ///
    /// # Errors
    /// `Unavailable` where it does not.
    pub async fn ready(&self) -> Result<()> {
        self.inner
            .store
            .system_read("ready", |tx| Box::pin(async move { Ok(tx.tenants(None, 1).await.map(drop)?) }))
            .await
    }

    /// One transaction in one tenant. It is durable when this returns `Ok`, and left no trace when it returns `Err`.
    pub async fn write<T, F>(&self, tenant: &TenantId, op: &'static str, unit: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'t> FnOnce(&'t mut TenantTx) -> BoxFuture<'t, Result<T>> + Send + 'static,
    {
        self.inner.store.write(tenant, op, unit).await
    }

    /// One read in one tenant: everything it sees is of one moment.
    pub async fn read<T, F>(&self, tenant: &TenantId, op: &'static str, unit: F) -> Result<T>
    where
        T: Send + 'static,
        F: for<'t> FnOnce(&'t mut TenantTx) -> BoxFuture<'t, Result<T>> + Send + 'static,
    {
        self.inner.store.read(tenant, op, unit).await
    }
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("App")
    }
}
