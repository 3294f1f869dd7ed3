//! An installation in a temporary folder: real store, real vault, a clock that stands still until it is moved.

use std::sync::Arc;

use fleetward_app::{App, Ctx, Principal, Settings, api_tokens, authority, setup, tenants};
use fleetward_base::{Clock, DeviceId, ManualClock, Rng, SeededRng, TenantId, Timestamp};
use fleetward_pki::Certificate;
use fleetward_store::Store;
use fleetward_store::testing::TestStore;
use fleetward_vault::{MasterKey, Vault};
use object_store::memory::InMemory;
use tempfile::TempDir;

/// 2026-11-20T10:53:00Z
const START: Timestamp = Timestamp::from_secs(1_795_171_980);

pub(crate) struct Fixture {
    pub(crate) app: App,
    pub(crate) clock: Arc<ManualClock>,
    /// An administrator's context.
    pub(crate) admin: Ctx,
    master: MasterKey,
    dir: TempDir,
}

impl Fixture {
    /// With the tenants `acme` and `zenith`.
    pub(crate) async fn new() -> Self {
        Self::begun(None).await
    }

    /// As [`Self::new`], under a root whose key is kept offline.
    pub(crate) async fn under(root: &Certificate) -> Self {
        Self::begun(Some(root)).await
    }

    /// As [`Self::new`], on a database of PostgreSQL.
    pub(crate) async fn on_postgres() -> Self {
        Self::in_store(tempfile::tempdir().expect("a temporary folder"), TestStore::postgres().await.store, None).await
    }

    async fn begun(offline_root: Option<&Certificate>) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let config = fleetward_store::Config::sqlite(dir.path().join("fleetward.db"));
        let store = Store::open(&config, &ManualClock::at(START)).await.expect("a store");
        Self::in_store(dir, store, offline_root).await
    }

    async fn in_store(dir: TempDir, store: Store, offline_root: Option<&Certificate>) -> Self {
        let clock = Arc::new(ManualClock::at(START));
        let rng: Arc<dyn Rng> = Arc::new(SeededRng::new(7));
        let master = MasterKey::random(rng.as_ref());
        let vault = Vault::new(&master);
        let app = App::new(store, vault, Arc::clone(&clock) as Arc<dyn Clock>, rng, Arc::new(InMemory::new()));
        app.configure(settings());
        authority::open_installation_under(&app, offline_root).await.expect("authorities");
        let admin = claim(&app).await;
        for name in ["acme", "zenith"] {
            tenants::create_tenant(&app, &admin, tenant(name), None).await.expect("a tenant");
        }
        Self { app, clock, admin, master, dir }
    }

    /// Where everything is kept.
    pub(crate) fn folder(&self) -> &std::path::Path {
        self.dir.path()
    }

    /// What a server that starts anew on the same database has: the rows, and nothing in memory.
    pub(crate) fn restarted(&self) -> App {
        let (clock, rng) = (Arc::clone(self.app.clock()), Arc::clone(self.app.rng()));
        let vault = Vault::new(&MasterKey::random(rng.as_ref()));
        App::new(self.app.store().clone(), vault, clock, rng, Arc::new(InMemory::new()))
    }

    /// A second server on the same database, with the same master key.
    pub(crate) fn second(&self) -> App {
        self.second_with(Vault::new(&self.master))
    }

    /// As [`Self::second`], with another seal.
    pub(crate) fn second_with(&self, vault: Vault) -> App {
        let (clock, rng) = (Arc::clone(self.app.clock()), Arc::clone(self.app.rng()));
        let app = App::new(self.app.store().clone(), vault, clock, rng, Arc::new(InMemory::new()));
        app.configure(settings());
        app
    }

    /// A context of a token with `role` in a tenant.
    pub(crate) async fn operator(&self, name: &str, role: &str) -> Ctx {
        let role = role.parse().expect("a role");
        let home = Some(tenant(name));
        let made = api_tokens::create_api_token(&self.app, &self.admin, home, "test".to_owned(), role, None).await;
        let principal = api_tokens::authenticate(&self.app, &made.expect("a token").token).await.expect("it counts");
        ctx(&self.app, principal)
    }
}

pub(crate) fn settings() -> Settings {
    Settings {
        operator_url: "https://localhost:8080".to_owned(),
        device_host: "localhost".to_owned(),
        device_port: 8443,
        mqtt_port: 8883,
        server_names: vec!["localhost".to_owned()],
        pki_url: Some("http://pki.example.com".to_owned()),
        default_tenant: None,
        hook_networks: Vec::new(),
    }
}

async fn claim(app: &App) -> Ctx {
    let offer = setup::offer(app).await.expect("a store").expect("a fresh installation offers");
    let nobody = app.system("test");
    let token = setup::claim(app, &nobody, offer.expose()).await.expect("the offer stands");
    ctx(app, api_tokens::authenticate(app, token.expose()).await.expect("it counts"))
}

pub(crate) fn ctx(app: &App, principal: Principal) -> Ctx {
    Ctx { principal, request_id: app.new_request_id(), address: None, idempotency: None }
}

pub(crate) fn tenant(name: &str) -> TenantId {
    name.parse().expect("a tenant name")
}

pub(crate) fn device(name: &str) -> DeviceId {
    name.parse().expect("a device name")
}
