//! One server for one test: a SQLite file in a folder of its own, a clock that only moves when told, a listener on port 0.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use fleetward_app::{App, Peer, Settings, api_tokens, authority, setup, tenants};
use fleetward_base::{ManualClock, SeededRng, TenantId, Timestamp};
use fleetward_core::access::Role;
use fleetward_front_rest::{Door, router};
use fleetward_store::{Config, Store};
use fleetward_vault::{MasterKey, Vault};
use object_store::memory::InMemory;
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Of event streams. Short, so that a test need not wait long for a sign.
const KEEP_ALIVE: Duration = Duration::from_millis(200);

pub(crate) struct House {
    pub(crate) app: App,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) url: String,
    /// Of the installation.
    pub(crate) admin: String,
    /// Owner of acme.
    pub(crate) acme: String,
    /// Owner of beta.
    pub(crate) beta: String,
    pub(crate) http: Client,
    stop: CancellationToken,
    _folder: tempfile::TempDir,
}

/// An answer that was read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) json: Value,
}

impl Answer {
    pub(crate) fn etag(&self) -> String {
        self.header("etag")
    }

    pub(crate) fn header(&self, name: &str) -> String {
        self.headers.get(name).map(|value| value.to_str().expect("ASCII").to_owned()).unwrap_or_default()
    }

    /// Status and stable code of a refusal.
    pub(crate) fn refusal(&self) -> (u16, String) {
        (self.status.as_u16(), self.json.get("code").and_then(Value::as_str).unwrap_or_default().to_owned())
    }
}

pub(crate) fn tenant(name: &str) -> TenantId {
    name.parse().expect("a name")
}

impl House {
    /// A house with two tenants, acme and beta.
    pub(crate) async fn open() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let clock = Arc::new(ManualClock::at(Timestamp::from_secs(1_800_000_000)));
        let rng = Arc::new(SeededRng::new(7));
        let store = Store::open(&Config::sqlite(folder.path().join("store.db")), &*clock).await.expect("a store");
        let vault = Vault::new(&MasterKey::random(&*rng));
        let app = App::new(store, vault, clock.clone(), rng, Arc::new(InMemory::new()));
        app.configure(Settings {
            operator_url: "https://localhost:8080".into(),
            device_host: "localhost".into(),
            device_port: 8443,
            mqtt_port: 8883,
            server_names: vec!["localhost".into()],
            pki_url: None,
            default_tenant: None,
            hook_networks: Vec::new(),
        });
        authority::open_installation(&app).await.expect("authorities");
        let offer = setup::offer(&app).await.expect("an offer").expect("a fresh house");
        let admin = setup::claim(&app, &app.system("test"), offer.expose()).await.expect("an administrator");
        for name in ["acme", "beta"] {
            tenants::create_tenant(&app, &app.system("test"), tenant(name), None).await.expect("a tenant");
        }
        let stop = CancellationToken::new();
        let url = serve(&app, &stop).await;
        let http = Client::builder().timeout(Duration::from_secs(20)).build().expect("a client");
        let mut house = Self {
            app,
            clock,
            url,
            admin: admin.expose().clone(),
            acme: String::new(),
            beta: String::new(),
            http,
            stop,
            _folder: folder,
        };
        house.acme = house.token("acme", Role::Owner).await;
        house.beta = house.token("beta", Role::Owner).await;
        house
    }

    /// A new token.
    pub(crate) async fn token(&self, of: &str, role: Role) -> String {
        let (ctx, name) = (self.app.system("test"), format!("{of} {role}"));
        let made = api_tokens::create_api_token(&self.app, &ctx, Some(tenant(of)), name, role, None).await;
        made.expect("a token").token
    }

    pub(crate) fn request(&self, method: Method, path: &str, token: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.url));
        if token.is_empty() { request } else { request.bearer_auth(token) }
    }

    pub(crate) async fn get(&self, path: &str, token: &str) -> Answer {
        answer(self.request(Method::GET, path, token)).await
    }

    pub(crate) async fn post(&self, path: &str, token: &str, body: &Value) -> Answer {
        answer(self.request(Method::POST, path, token).json(body)).await
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

pub(crate) async fn answer(request: RequestBuilder) -> Answer {
    let response = request.send().await.expect("an answer");
    let (status, headers) = (response.status(), response.headers().clone());
    // A stream has no end to read to.
    let endless = headers.get("content-type").is_some_and(|kind| kind == "text/event-stream");
    let bytes = if endless { Default::default() } else { response.bytes().await.expect("a body") };
    Answer { status, headers, json: serde_json::from_slice(&bytes).unwrap_or_default() }
}

async fn serve(app: &App, stop: &CancellationToken) -> String {
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let peer = Peer { address: SocketAddr::from(([192, 0, 2, 1], 4711)), certificates: Arc::new([]) };
    let service = router(Door::with_keep_alive(app.clone(), stop.clone(), KEEP_ALIVE)).layer(axum::Extension(peer));
    let stopped = stop.clone().cancelled_owned();
    TaskTracker::new().spawn(async move { axum::serve(listener, service).with_graceful_shutdown(stopped).await });
    format!("http://{address}")
}
