//! One server for one test, with two tenants and an access key of each role.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::routing::get;
use fleetward_app::access_keys::{NewAccessKey, create_access_key};
use fleetward_app::{App, DeviceLinks, Peer, Settings, authority, tenants};
use fleetward_base::{Clock, ManualClock, SeededRng, TenantId, Timestamp};
use fleetward_core::access::Role;
use fleetward_front_rest::Door;
use fleetward_store::{Config, Store};
use fleetward_vault::{MasterKey, Vault};
use fleetward_wire::aws::sigv4::{self, sign};
use http::Request;
use object_store::memory::InMemory;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use crate::links::Links;

pub(crate) struct House {
    pub(crate) app: App,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) links: Arc<Links>,
    router: Router,
    pub(crate) owner: NewAccessKey,
    pub(crate) viewer: NewAccessKey,
    /// Owner of beta.
    pub(crate) beta: NewAccessKey,
    _folder: tempfile::TempDir,
}

/// An answer that was read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// `x-amzn-ErrorType`, empty where there is none.
    pub(crate) kind: String,
    pub(crate) json: Value,
}

pub(crate) fn tenant(name: &str) -> TenantId {
    name.parse().expect("a name")
}

pub(crate) type Headers<'a> = &'a [(&'a str, &'a str)];

impl House {
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
        let ctx = app.system("test");
        for name in ["acme", "beta"] {
            tenants::create_tenant(&app, &ctx, tenant(name), None).await.expect("a tenant");
        }
        let key = async |of: &str, role| {
            create_access_key(&app, &ctx, &tenant(of), "test".into(), role).await.expect("a key")
        };
        let (owner, viewer) = (key("acme", Role::Owner).await, key("acme", Role::Viewer).await);
        let beta = key("beta", Role::Owner).await;
        let links = Arc::new(Links::default());
        app.connect_links(Arc::clone(&links) as Arc<dyn DeviceLinks>);
        let inner = Router::new().route("/things", get(|| async { "inner" }));
        let door = Door::new(app.clone(), CancellationToken::new());
        let router = fleetward_front_aws::in_front_of(door, inner);
        Self { app, clock, links, router, owner, viewer, beta, _folder: folder }
    }

    /// A request as it is, from a connection without a certificate.
    pub(crate) async fn raw(&self, request: Request<Body>) -> Answer {
        let peer = Peer { address: SocketAddr::from(([192, 0, 2, 9], 4711)), certificates: Vec::new().into() };
        let mut request = request;
        request.extensions_mut().insert(peer);
        let response = self.router.clone().oneshot(request).await.expect("infallible");
        let kind = response.headers().get("x-amzn-errortype").map(|kind| kind.to_str().expect("ASCII").to_owned());
        let status = response.status().as_u16();
        let bytes = to_bytes(response.into_body(), 1 << 20).await.expect("a body");
        Answer { status, kind: kind.unwrap_or_default(), json: serde_json::from_slice(&bytes).unwrap_or_default() }
    }

    /// A signed request to `service`. `target` is path and query.
    pub(crate) async fn ask(
        &self,
        key: &NewAccessKey,
        service: &str,
        (method, target): (&str, &str),
        more: Headers<'_>,
        body: &str,
    ) -> Answer {
        let request = signed(&*self.clock, key, service, (method, target), more, body);
        self.raw(request).await
    }

    /// A request of acme's owner to the control plane that is to be done.
    pub(crate) async fn does(&self, method: &str, target: &str, body: Value) -> Value {
        let answer = self.ask(&self.owner, "iot", (method, target), &[], &body.to_string()).await;
        assert_eq!(answer.status, 200, "{method} {target}: {answer:?}");
        answer.json
    }
}

/// `20270115T080000Z`, of the clock.
fn stamp(clock: &dyn Clock) -> String {
    let text = clock.now().to_string();
    let digits: String = text.chars().take(19).filter(|c| !matches!(c, '-' | ':')).collect();
    format!("{digits}Z")
}

pub(crate) fn signed(
    clock: &dyn Clock,
    key: &NewAccessKey,
    service: &str,
    (method, target): (&str, &str),
    more: Headers<'_>,
    body: &str,
) -> Request<Body> {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut headers = vec![("host".to_owned(), "localhost".to_owned()), ("x-amz-date".to_owned(), stamp(clock))];
    headers.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    let unsigned = sigv4::Request { method, path, query, headers: &headers, body: body.as_bytes() };
    let authorization = sign(&unsigned, (&key.id, &key.secret), ("eu-central-1", service)).expect("it is dated");
    let mut request = Request::builder().method(method).uri(target).header("authorization", authorization);
    for (name, value) in &headers {
        request = request.header(name, value);
    }
    request.body(Body::from(body.to_owned())).expect("a request")
}
