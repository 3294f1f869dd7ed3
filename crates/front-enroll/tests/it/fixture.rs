//! A house with two tenants behind the door, and devices in front of it.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::{Body, to_bytes};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fleetward_app::identity_policy::{amend_policy, show_policy};
use fleetward_app::{App, Ctx, Peer, Settings, authority, enroll_tokens, registry, tenants};
use fleetward_base::{Clock, ManualClock, Rng, SeededRng, Timestamp};
use fleetward_core::registry::DeviceFields;
use fleetward_pki::{Signer, SoftKey, cms, csr, est, name};
use fleetward_store::{AuthorityRow, Store};
use fleetward_vault::{MasterKey, Vault};
use http::{HeaderMap, Method, Request, StatusCode};
use object_store::memory::InMemory;
use rustls_pki_types::CertificateDer;
use tempfile::TempDir;
use tower::ServiceExt;

pub(crate) struct House {
    pub(crate) app: App,
    pub(crate) system: Ctx,
    pub(crate) clock: Arc<ManualClock>,
    router: Router,
    _dir: TempDir,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    fields: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(|value| value.to_str().expect("ASCII"))
    }
}

/// A device in the field, with its key.
pub(crate) struct Device {
    name: &'static str,
    key: SoftKey,
}

impl Device {
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, key: SoftKey::generate().0 }
    }

    pub(crate) fn spki(&self) -> &[u8] {
        self.key.public_spki()
    }

    pub(crate) fn request(&self) -> Vec<u8> {
        csr::write(&name::write(None, self.name), &[], &self.key).expect("signs")
    }

    /// A request with a challengePassword.
    pub(crate) fn request_with(&self, password: &str) -> String {
        let subject = name::write(None, self.name);
        STANDARD.encode(csr::write_with_password(&subject, &[], Some(password.as_bytes()), &self.key).expect("signs"))
    }

    pub(crate) fn body(&self) -> String {
        STANDARD.encode(self.request())
    }
}

/// A device with a certificate.
pub(crate) struct Enrolled {
    pub(crate) certificate: Vec<u8>,
}

impl Enrolled {
    /// What an answer brought.
    pub(crate) fn of(answer: &Answer) -> Self {
        let der = est::decode(answer.body.as_bytes()).expect("base64");
        Self { certificate: cms::certificates(&der).expect("certs-only").remove(0) }
    }
}

impl House {
    pub(crate) async fn new() -> Self {
        Self::published_at(None).await
    }

    /// A house that says in its certificates where its lists are.
    pub(crate) async fn published_at(pki_url: Option<&str>) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let clock = Arc::new(ManualClock::at(Timestamp::from_secs(1_795_171_980)));
        let rng: Arc<dyn Rng> = Arc::new(SeededRng::new(7));
        let config = fleetward_store::Config::sqlite(dir.path().join("fleetward.db"));
        let store = Store::open(&config, clock.as_ref()).await.expect("a store");
        let vault = Vault::new(&MasterKey::random(rng.as_ref()));
        let app = App::new(store, vault, Arc::clone(&clock) as Arc<dyn Clock>, rng, Arc::new(InMemory::new()));
        app.configure(Settings {
            operator_url: "https://localhost:8080".to_owned(),
            device_host: "localhost".to_owned(),
            device_port: 8443,
            mqtt_port: 8883,
            server_names: vec!["localhost".to_owned()],
            pki_url: pki_url.map(str::to_owned),
            default_tenant: None,
            hook_networks: Vec::new(),
        });
        authority::open_installation(&app).await.expect("authorities");
        let system = app.system("test");
        for name in ["acme", "zenith"] {
            tenants::create_tenant(&app, &system, name.parse().expect("a name"), None).await.expect("a tenant");
        }
        let router =
            fleetward_front_enroll::router(app.clone()).merge(fleetward_front_enroll::pki::router(app.clone()));
        Self { router, system, app, clock, _dir: dir }
    }

    /// The value of Authorization with a fresh token of the device.
    pub(crate) async fn basic(&self, tenant: &str, device: &str) -> String {
        let (tenant, id) = (tenant.parse().expect("a name"), device.parse().expect("a name"));
        let fields = DeviceFields::default();
        let made = enroll_tokens::create_enroll_token(&self.app, &self.system, &tenant, id, fields, None).await;
        format!("Basic {}", STANDARD.encode(format!("{device}:{}", made.expect("a token").token)))
    }

    /// Has the tenant offer SCEP.
    pub(crate) async fn offer_scep(&self, tenant: &str) {
        self.policy(tenant, serde_json::json!({ "scep": { "enabled": true } })).await;
    }

    /// A fresh challenge of the device.
    pub(crate) async fn challenge(&self, tenant: &str, device: &str) -> String {
        let (tenant, id) = (tenant.parse().expect("a name"), device.parse().expect("a name"));
        let fields = DeviceFields::default();
        let made = enroll_tokens::create_scep_challenge(&self.app, &self.system, &tenant, id, fields, None).await;
        made.expect("a challenge").token
    }

    /// The status, the type and the bytes of an answer.
    pub(crate) async fn bytes(&self, method: Method, path: &str, body: Vec<u8>) -> (StatusCode, String, Vec<u8>) {
        let mut request = Request::builder().method(method).uri(path).body(Body::from(body)).expect("a request");
        request.extensions_mut().insert(self.anyone());
        let response = self.router.clone().oneshot(request).await.expect("the router answers");
        let (parts, body) = response.into_parts();
        let kind = parts.headers.get("content-type").and_then(|kind| kind.to_str().ok()).unwrap_or_default().to_owned();
        (parts.status, kind, to_bytes(body, usize::MAX).await.expect("a body").into())
    }

    /// What anybody gets, as bytes.
    pub(crate) async fn raw(&self, mut request: Request<Body>) -> (StatusCode, HeaderMap, Vec<u8>) {
        request.extensions_mut().insert(self.anyone());
        let (parts, body) = self.router.clone().oneshot(request).await.expect("the router answers").into_parts();
        (parts.status, parts.headers, to_bytes(body, usize::MAX).await.expect("a body").into())
    }

    pub(crate) async fn enrolled(&self, tenant: &str, name: &'static str) -> Enrolled {
        let basic = self.basic(tenant, name).await;
        let answer = self.enroll("/.well-known/est/simpleenroll", &basic, &Device::new(name).body()).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        let der = est::decode(answer.body.as_bytes()).expect("base64");
        Enrolled { certificate: cms::certificates(&der).expect("certs-only").remove(0) }
    }

    /// Changes the policy of a tenant.
    pub(crate) async fn policy(&self, tenant: &str, change: serde_json::Value) {
        let tenant = tenant.parse().expect("a name");
        let at = show_policy(&self.app, &self.system, &tenant).await.expect("a policy").revision;
        let change = change.as_object().expect("an object").clone();
        amend_policy(&self.app, &self.system, &tenant, at, change).await.expect("amended");
    }

    /// Registers the authority of a factory with a tenant.
    pub(crate) async fn factory(&self, tenant: &str, der: &[u8]) {
        let row = AuthorityRow {
            fingerprint: fleetward_pki::certificate::fingerprint(der),
            kind: "factory".to_owned(),
            der: der.to_vec(),
            key_purpose: String::new(),
            not_after: Timestamp::from_secs(4_000_000_000),
            created_at: Timestamp::from_secs(1),
        };
        let tenant = tenant.parse().expect("a name");
        let put = self
            .app
            .write(&tenant, "register factory", move |tx| Box::pin(async move { Ok(tx.put_authority(&row).await?) }));
        assert!(put.await.expect("kept"));
        authority::refresh_trust(&self.app).await.expect("known");
    }

    pub(crate) async fn revoke(&self, tenant: &str, name: &str) {
        let (tenant, id) = (tenant.parse().expect("a name"), name.parse().expect("a name"));
        registry::revoke_device(&self.app, &self.system, &tenant, &id, "stolen").await.expect("revoked");
    }

    pub(crate) fn as_chain(&self, chain: &[Vec<u8>]) -> Peer {
        self.peer(chain.iter().map(|der| CertificateDer::from(der.clone())).collect())
    }

    pub(crate) fn anyone(&self) -> Peer {
        self.peer(Vec::new())
    }

    pub(crate) fn as_device(&self, enrolled: &Enrolled) -> Peer {
        self.peer(vec![CertificateDer::from(enrolled.certificate.clone())])
    }

    fn peer(&self, certificates: Vec<CertificateDer<'static>>) -> Peer {
        Peer { address: SocketAddr::from(([192, 0, 2, 1], 40_000)), certificates: certificates.into() }
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send(self.anyone(), Method::GET, path, &[], "").await
    }

    pub(crate) async fn enroll(&self, path: &str, authorization: &str, body: &str) -> Answer {
        let fields = [("authorization", authorization), ("content-type", "application/pkcs10")];
        self.send(self.anyone(), Method::POST, path, &fields, body.to_owned()).await
    }

    pub(crate) async fn send(
        &self,
        peer: Peer,
        method: Method,
        path: &str,
        fields: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        self.answer(peer, request.body(body.into()).expect("a request")).await
    }

    /// How a request ends, whatever is in its answer.
    pub(crate) async fn status(&self, peer: Peer, mut request: Request<Body>) -> StatusCode {
        request.extensions_mut().insert(peer);
        self.router.clone().oneshot(request).await.expect("the router answers").status()
    }

    pub(crate) async fn answer(&self, peer: Peer, mut request: Request<Body>) -> Answer {
        request.extensions_mut().insert(peer);
        let response = self.router.clone().oneshot(request).await.expect("the router answers");
        let (parts, body) = response.into_parts();
        let exact = axum::body::HttpBody::size_hint(&body).exact();
        let body = String::from_utf8(to_bytes(body, usize::MAX).await.expect("a body").into()).expect("text");
        assert_eq!(exact, Some(body.len() as u64), "strongSwan needs a Content-Length");
        Answer { status: parts.status, fields: parts.headers, body }
    }
}
