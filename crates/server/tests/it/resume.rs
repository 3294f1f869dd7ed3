//! TLS sessions that are resumed after their device was revoked. A resumed hand-shake looks at no certificate, so that only
//! the registry stands between a ticket and the fleet: over HTTPS each request, over MQTT each connection, and the one that
//! is open ends.

#![expect(clippy::indexing_slicing, reason = "a test that does not find what it looks for fails there")]

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fleetward_pki::{SoftKey, cms, csr, est, name};
use rustls::client::{Resumption, Tls12Resumption};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, HandshakeKind, RootCertStore, SupportedProtocolVersion};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Child;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::process::{Folder, ready, stop};

const PATIENCE: Duration = Duration::from_secs(30);

async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what).await.expect("in time")
}

/// A server with the tenant `acme`, and its administrator.
struct House {
    folder: Folder,
    child: Child,
    client: reqwest::Client,
    operators: String,
    device_port: u16,
    mqtt_port: u16,
    token: String,
}

impl House {
    async fn new() -> Self {
        let folder = Folder::new();
        let child = ready(&folder.path()).await;
        let endpoints: Value = serde_json::from_str(&folder.read("endpoints.json")).expect("JSON");
        let port = |name: &str| u16::try_from(endpoints[name].as_u64().expect("a port")).expect("a port");
        let (device_port, mqtt_port) = (port("device_port"), port("mqtt_port"));
        let operators = endpoints["operator_url"].as_str().expect("a URL").to_owned();
        let root = reqwest::Certificate::from_pem(folder.read("ca.pem").as_bytes()).expect("the root");
        let client = reqwest::Client::builder().tls_certs_only([root]).no_proxy().build().expect("a client");
        let token = String::new();
        let mut house = Self { folder, child, client, operators, device_port, mqtt_port, token };
        let setup = house.folder.read("setup-token");
        let made = house.post("/v1/setup", &json!({ "setup_token": setup.trim() })).await;
        house.token = made["token"].as_str().expect("a token").to_owned();
        house.post("/v1/tenants", &json!({ "name": "acme" })).await;
        house
    }

    async fn post(&self, path: &str, body: &Value) -> Value {
        let request = self.client.post(format!("{}{path}", self.operators)).bearer_auth(&self.token).json(body);
        let answer = within(request.send()).await.expect("an answer");
        let (status, text) = (answer.status(), within(answer.text()).await.expect("text"));
        assert!(status.is_success(), "{path}: {status} {text}");
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// A device with what it needs to connect. It keeps its sessions, under TLS of one version.
    async fn device(&self, device: &str, version: &'static SupportedProtocolVersion) -> Device {
        let made = self.post("/v1/tenants/acme/enroll-tokens", &json!({ "device": device })).await;
        let (key, pkcs8) = SoftKey::generate();
        let request = csr::write(&name::write(None, device), &[], &key).expect("signs");
        let path = format!("https://localhost:{}/.well-known/est/acme/simpleenroll", self.device_port);
        let asked = self.client.post(path).basic_auth(device, made["token"].as_str());
        let asked = asked.header("content-type", "application/pkcs10").body(STANDARD.encode(request));
        let answer = within(asked.send()).await.expect("an answer");
        assert_eq!(answer.status(), 200);
        let body = within(answer.bytes()).await.expect("a body");
        let chain = cms::certificates(&est::decode(&body).expect("base64")).expect("certs-only");
        let mut roots = RootCertStore::empty();
        let root = CertificateDer::from_pem_slice(self.folder.read("ca.pem").as_bytes()).expect("the root");
        roots.add(root).expect("an anchor");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[version]);
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pkcs8.expose().clone()));
        let chain = chain.into_iter().map(CertificateDer::from).collect();
        let mut config = builder
            .expect("a version")
            .with_root_certificates(roots)
            .with_client_auth_cert(chain, key)
            .expect("a pair");
        config.resumption = Resumption::in_memory_sessions(8).tls12_resumption(Tls12Resumption::SessionIdOrTickets);
        Device { name: device.to_owned(), config: Arc::new(config) }
    }

    async fn revoke(&self, device: &str) {
        self.post(&format!("/v1/tenants/acme/devices/{device}/revoke"), &json!({ "reason": "stolen" })).await;
    }
}

struct Device {
    name: String,
    config: Arc<ClientConfig>,
}

impl Device {
    async fn connect(&self, port: u16) -> TlsStream<TcpStream> {
        let socket = within(TcpStream::connect(("localhost", port))).await.expect("the door is open");
        let host = ServerName::try_from("localhost").expect("a name");
        within(TlsConnector::from(Arc::clone(&self.config)).connect(host, socket)).await.expect("a hand-shake")
    }

    /// How it shook hands, and the status of its own shadow, which has nothing yet.
    async fn shadow(&self, port: u16) -> (HandshakeKind, u16) {
        let mut stream = self.connect(port).await;
        let path = format!("/things/{}/shadow", self.name);
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        within(stream.write_all(request.as_bytes())).await.expect("sent");
        let mut answer = Vec::new();
        // A server that closes without a close_notify has said what it had to say.
        within(stream.read_to_end(&mut answer)).await.ok();
        let status = String::from_utf8_lossy(&answer).split(' ').nth(1).and_then(|code| code.parse().ok());
        (stream.get_ref().1.handshake_kind().expect("a hand-shake"), status.expect("a status"))
    }

    /// An MQTT 5 connection: how it shook hands, the reason in its CONNACK, and the stream.
    async fn mqtt(&self, port: u16) -> (HandshakeKind, u8, TlsStream<TcpStream>) {
        let mut stream = self.connect(port).await;
        let id = self.name.as_bytes();
        let length = u8::try_from(id.len()).expect("short");
        // CONNECT: MQTT, version 5, clean start, 60 s, no properties, the client's id (MQTT 5 §3.1).
        let head = [0x10, 13 + length, 0, 4, b'M', b'Q', b'T', b'T', 5, 2, 0, 60, 0, 0, length];
        within(stream.write_all(&[&head, id].concat())).await.expect("sent");
        let mut answer = [0; 4];
        within(stream.read_exact(&mut answer)).await.expect("a CONNACK");
        assert_eq!(answer[0], 0x20, "{answer:?}");
        // Its length has one byte, then come the flags and the reason.
        (stream.get_ref().1.handshake_kind().expect("a hand-shake"), answer[3], stream)
    }
}

#[tokio::test]
async fn a_revoked_device_resumes_its_session_and_gets_nothing() {
    let house = House::new().await;
    for (name, version) in [("tls-12", &rustls::version::TLS12), ("tls-13", &rustls::version::TLS13)] {
        let device = house.device(name, version).await;
        assert_eq!(device.shadow(house.device_port).await, (HandshakeKind::Full, 404), "{name}");
        assert_eq!(device.shadow(house.device_port).await, (HandshakeKind::Resumed, 404), "{name}");
        house.revoke(name).await;
        for time in ["at once", "and again"] {
            let (kind, status) = device.shadow(house.device_port).await;
            assert_eq!(kind, HandshakeKind::Resumed, "{name} {time}: the hand-shake itself looks at nothing");
            assert!(matches!(status, 401 | 403), "{name} {time}: {status}");
        }
    }
    assert_eq!(stop(house.child).await, Some(0));
}

#[tokio::test]
async fn a_resumed_connection_ends_with_its_device_and_does_not_come_back() {
    let house = House::new().await;
    for (name, version) in [("mqtt-12", &rustls::version::TLS12), ("mqtt-13", &rustls::version::TLS13)] {
        let device = house.device(name, version).await;
        let (kind, reason, first) = device.mqtt(house.mqtt_port).await;
        assert_eq!((kind, reason), (HandshakeKind::Full, 0), "{name}");
        drop(first);
        let (kind, reason, mut open) = device.mqtt(house.mqtt_port).await;
        assert_eq!((kind, reason), (HandshakeKind::Resumed, 0), "{name}");
        house.revoke(name).await;
        let mut rest = Vec::new();
        within(open.read_to_end(&mut rest)).await.ok();
        // What is left of the CONNACK's properties, and then DISCONNECT: administrative action (MQTT 5 §3.14.2.1).
        assert!(rest.windows(3).any(|part| part[0] == 0xe0 && part[2] == 0x98), "{name}: {rest:02x?}");
        for _ in 0..2 {
            let (kind, reason, _) = device.mqtt(house.mqtt_port).await;
            assert_eq!((kind, reason), (HandshakeKind::Resumed, 0x87), "{name}: not authorised");
        }
    }
    assert_eq!(stop(house.child).await, Some(0));
}
