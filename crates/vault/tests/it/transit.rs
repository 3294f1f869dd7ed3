//! The transit API as HashiCorp Vault and OpenBao document it, spoken by a small server over HTTP and TLS: what is asked, what
//! is answered, and every refusal that the documents name.

use std::collections::HashMap;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fleetward_base::Secret;
use fleetward_vault::{RootSeal, RootSealError, TransitAuth, TransitSeal, TransitSealConfig};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;

use crate::{holds_each_byte, made, opened};

const TOKEN: &str = "hvs.CAESIJ-test";

#[derive(Default)]
struct State {
    /// Ciphertexts by what they were made of.
    sealed: HashMap<String, String>,
    /// Answers with this instead, as long as it stands.
    refuse: Option<(u16, Value)>,
    asked: Vec<String>,
    namespaces: Vec<Option<String>>,
}

struct Service {
    address: SocketAddr,
    ca: tempfile::NamedTempFile,
    state: Arc<Mutex<State>>,
}

impl Service {
    async fn start() -> Self {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
        let mut ca = tempfile::NamedTempFile::new().expect("a file");
        ca.write_all(cert.pem().as_bytes()).expect("written");
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![cert.der().clone()], key)
            .expect("a server");
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        let tasks = TaskTracker::new();
        let connections = tasks.clone();
        tasks.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, state) = (acceptor.clone(), Arc::clone(&shared));
                connections.spawn(async move {
                    if let Ok(stream) = acceptor.accept(stream).await {
                        converse(stream, &state).await;
                    }
                });
            }
        });
        Self { address, ca, state }
    }

    fn seal_as(&self, auth: TransitAuth, key: &str) -> Arc<dyn RootSeal> {
        let config = TransitSealConfig {
            address: format!("https://localhost:{}", self.address.port()),
            mount: "transit".to_owned(),
            key: key.to_owned(),
            namespace: Some("fleet/".to_owned()),
            auth,
            ca_file: Some(self.ca.path().to_owned()),
        };
        Arc::new(TransitSeal::new(config).expect("a seal"))
    }

    fn seal(&self) -> Arc<dyn RootSeal> {
        self.seal_as(TransitAuth::Token(Secret::new(TOKEN.to_owned())), "fleetward")
    }
}

/// One request after the other on a connection, HTTP/1.1 with a length.
async fn converse(stream: tokio_rustls::server::TlsStream<tokio::net::TcpStream>, state: &Mutex<State>) {
    let mut stream = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.unwrap_or(0) == 0 {
            return;
        }
        let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
        let method = line.split(' ').next().unwrap_or_default().to_owned();
        let mut headers = HashMap::new();
        loop {
            let mut header = String::new();
            stream.read_line(&mut header).await.expect("a header");
            let Some((name, value)) = header.trim_end().split_once(": ") else { break };
            headers.insert(name.to_ascii_lowercase(), value.to_owned());
        }
        let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.expect("a body");
        let body: Value = serde_json::from_slice(&body).expect("JSON");
        let (status, answer) = answer(&mut state.lock().expect("unbroken"), &method, &path, &headers, &body);
        let text = answer.to_string();
        let location = if status == 307 { "Location: https://elsewhere.example/\r\n" } else { "" };
        let head = format!(
            "HTTP/1.1 {status} x\r\nContent-Type: application/json\r\n{location}Content-Length: {}\r\n\r\n",
            text.len()
        );
        stream.write_all(head.as_bytes()).await.expect("sent");
        stream.write_all(text.as_bytes()).await.expect("sent");
        stream.flush().await.expect("sent");
    }
}

fn answer(
    state: &mut State,
    method: &str,
    path: &str,
    headers: &HashMap<String, String>,
    body: &Value,
) -> (u16, Value) {
    state.asked.push(format!("{method} {path}"));
    state.namespaces.push(headers.get("x-vault-namespace").cloned());
    if let Some((status, answer)) = &state.refuse {
        return (*status, answer.clone());
    }
    if path == "/v1/auth/approle/login" {
        let good = body == &json!({ "role_id": "role", "secret_id": "secret" });
        return match good {
            true => (200, json!({ "auth": { "client_token": TOKEN, "lease_duration": 60, "renewable": true } })),
            false => (400, json!({ "errors": ["invalid role or secret ID"] })),
        };
    }
    if headers.get("x-vault-token").map(String::as_str) != Some(TOKEN) {
        return (403, json!({ "errors": ["permission denied"] }));
    }
    match path {
        "/v1/transit/encrypt/fleetward" => {
            let plaintext = body["plaintext"].as_str().expect("base64");
            STANDARD.decode(plaintext).expect("base64");
            let ciphertext = format!("vault:v1:{}", STANDARD.encode(format!("sealed {}", state.sealed.len())));
            state.sealed.insert(ciphertext.clone(), plaintext.to_owned());
            (200, json!({ "data": { "ciphertext": ciphertext, "key_version": 1 } }))
        }
        "/v1/transit/decrypt/fleetward" => match state.sealed.get(body["ciphertext"].as_str().expect("text")) {
            Some(plaintext) => (200, json!({ "data": { "plaintext": plaintext } })),
            None => (400, json!({ "errors": ["invalid ciphertext: unable to decrypt"] })),
        },
        _ => (400, json!({ "errors": ["encryption key not found"] })),
    }
}

#[tokio::test]
async fn a_transit_key_keeps_the_root_key() {
    let service = Service::start().await;
    let seal = service.seal();
    let (rows, sealed) = made(&seal).await;
    assert_eq!(opened(&seal, &rows, &sealed).await.expect("opens"), b"plain");
    holds_each_byte(&seal, &rows, &sealed).await;
    let state = service.state.lock().expect("unbroken");
    assert_eq!(state.asked[..2], ["POST /v1/transit/encrypt/fleetward", "POST /v1/transit/decrypt/fleetward"]);
    assert!(state.namespaces.iter().all(|namespace| namespace.as_deref() == Some("fleet/")));
}

#[tokio::test]
async fn an_app_role_signs_in_first() {
    let service = Service::start().await;
    let role =
        |secret: &str| TransitAuth::AppRole { role_id: "role".to_owned(), secret_id: Secret::new(secret.to_owned()) };
    let seal = service.seal_as(role("secret"), "fleetward");
    let (rows, sealed) = made(&seal).await;
    assert_eq!(opened(&seal, &rows, &sealed).await.expect("opens"), b"plain");
    assert_eq!(service.state.lock().expect("unbroken").asked[0], "POST /v1/auth/approle/login");
    let refused = opened(&service.seal_as(role("wrong"), "fleetward"), &rows, &sealed).await.expect_err("no role");
    assert!(refused.to_string().contains("invalid role or secret ID"), "{refused}");
}

#[tokio::test]
async fn what_the_service_refuses_is_told_by_meaning() {
    let service = Service::start().await;
    let (rows, sealed) = made(&service.seal()).await;
    let wrong = TransitAuth::Token(Secret::new("wrong".to_owned()));
    let refused = opened(&service.seal_as(wrong, "fleetward"), &rows, &sealed).await.expect_err("no rights");
    assert!(matches!(&refused, RootSealError::Refused { reason, .. } if reason.contains("permission denied")));
    assert!(!refused.to_string().contains("wrong"), "no token is shown");
    let token = || TransitAuth::Token(Secret::new(TOKEN.to_owned()));
    let refused = opened(&service.seal_as(token(), "other"), &rows, &sealed).await.expect_err("no key");
    assert!(matches!(&refused, RootSealError::Refused { reason, .. } if reason.contains("key not found")));
    // Sealed, a standby, one that sends elsewhere, and one that answers nonsense: it may come back.
    for (status, body) in [
        (503, json!({ "errors": ["Vault is sealed"] })),
        (429, json!({ "errors": [] })),
        (307, json!({})),
        (200, json!({ "data": { "plaintext": "*" } })),
        (200, json!([])),
        (200, json!({ "data": { "plaintext": "A".repeat(70_000) } })),
    ] {
        service.state.lock().expect("unbroken").refuse = Some((status, body));
        let refused = opened(&service.seal(), &rows, &sealed).await.expect_err("no answer of use");
        assert!(matches!(refused, RootSealError::Unreachable { .. }), "{status}: {refused}");
    }
    // Another key of 32 bytes than the one that was wrapped.
    let other = json!({ "data": { "plaintext": STANDARD.encode([0; 32]) } });
    service.state.lock().expect("unbroken").refuse = Some((200, other));
    let refused = opened(&service.seal(), &rows, &sealed).await.expect_err("another key");
    assert!(matches!(refused, RootSealError::Broken { .. }), "{refused}");
    assert!(service.state.lock().expect("unbroken").asked.iter().all(|asked| !asked.contains("elsewhere")));
}

#[tokio::test]
async fn a_service_that_is_not_known_or_not_there_gets_nothing() {
    let service = Service::start().await;
    let (rows, sealed) = made(&service.seal()).await;
    let stranger = Service::start().await;
    let config = |ca: &tempfile::NamedTempFile, port: u16| TransitSealConfig {
        address: format!("https://localhost:{port}"),
        mount: "transit".to_owned(),
        key: "fleetward".to_owned(),
        namespace: None,
        auth: TransitAuth::Token(Secret::new(TOKEN.to_owned())),
        ca_file: Some(ca.path().to_owned()),
    };
    let seal = |config| Arc::new(TransitSeal::new(config).expect("a seal")) as Arc<dyn RootSeal>;
    let refused = opened(&seal(config(&service.ca, stranger.address.port())), &rows, &sealed).await;
    assert!(matches!(refused, Err(RootSealError::Unreachable { .. })), "{refused:?}");
    assert!(stranger.state.lock().expect("unbroken").asked.is_empty(), "nothing was sent to a stranger");
    let nobody = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address").port();
    let refused = opened(&seal(config(&service.ca, nobody)), &rows, &sealed).await;
    assert!(matches!(refused, Err(RootSealError::Unreachable { .. })), "{refused:?}");
    for (address, mount) in [("http://localhost", "transit"), ("https://a@b", "transit"), ("https://a", "../sys")] {
        let bad = TransitSealConfig { address: address.into(), mount: mount.into(), ..config(&service.ca, 1) };
        assert!(TransitSeal::new(bad).is_err(), "{address} {mount}");
    }
}
