//! What a request knows of its connection, and what becomes of one that is refused while it is sent, over real TLS.

use std::sync::Arc;

use axum::Extension;
use axum::routing::{get, post};
use http::StatusCode;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::task::TaskTracker;

use super::*;
use crate::listen::{self, Gate};
use crate::tls::{Clients, Protocols, server_config};

/// A connection to a door with these routes; the door is shut with the token.
async fn connected(
    version: &'static SupportedProtocolVersion,
    router: Router,
) -> (TlsStream<TcpStream>, CancellationToken) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).expect("of a known kind");
    let own = CertificateDer::from(made.cert.der().to_vec());
    let identity = Arc::new(SingleCertAndKey::from(CertifiedKey::new(vec![own.clone()], key)));
    let tls = server_config(identity, Clients::Anyone, &Protocols::Http).expect("a configuration");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    let gate = Gate::new(8, tasks.clone(), stop.clone());
    tasks.spawn(listen::accept(listener, tls, gate, HttpDoor::new(router, stop.clone())));

    let mut roots = RootCertStore::empty();
    roots.add(own).expect("an anchor");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let client = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[version]).expect("known");
    let connector = TlsConnector::from(Arc::new(client.with_root_certificates(roots).with_no_client_auth()));
    let name = ServerName::try_from("localhost").expect("a name");
    let socket = TcpStream::connect(address).await.expect("connects");
    (connector.connect(name, socket).await.expect("shakes hands"), stop)
}

/// What a door knows of the connection, and a client's own value of it.
async fn both(version: &'static SupportedProtocolVersion) -> (String, Option<[u8; EXPORTER_BYTES]>) {
    let router =
        Router::new().route("/", get(|Extension(channel): Extension<Channel>| async move { format!("{channel:?}") }));
    let (mut stream, stop) = connected(version, router).await;
    let own = stream.get_ref().1.export_keying_material([0; EXPORTER_BYTES], EXPORTER_LABEL, None).ok();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("answered");
    stop.cancel();
    (answer, own)
}

#[tokio::test]
async fn both_ends_of_tls_1_3_have_the_same_value() {
    let (answer, own) = both(&rustls::version::TLS13).await;
    let expected = format!("{:?}", Channel::Tls13(own.expect("exported")));
    assert!(answer.ends_with(&expected), "{answer}");
}

#[tokio::test]
async fn tls_1_2_has_nothing_to_bind_to() {
    let (answer, _) = both(&rustls::version::TLS12).await;
    assert!(answer.ends_with("Tls12"), "{answer}");
}

fn refusing() -> Router {
    Router::new().route("/", post(|| async { StatusCode::PAYLOAD_TOO_LARGE }))
}

/// The head of an answer without a body.
async fn answered(stream: &mut TlsStream<TcpStream>) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("an answer"));
    }
    String::from_utf8(head).expect("text")
}

#[tokio::test]
async fn a_refusal_reaches_a_client_of_http_1_1_that_still_sends() {
    let (mut stream, stop) = connected(&rustls::version::TLS13, refusing()).await;
    let body = vec![b'x'; 600 * 1024];
    // The second is on the same connection, which a refusal does not cost.
    for _ in 0..2 {
        let head = format!("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).await.expect("sent");
        stream.write_all(&body).await.expect("sent, though it is refused");
        let head = answered(&mut stream).await;
        assert!(head.starts_with("HTTP/1.1 413 "), "{head}");
    }
    stop.cancel();
}

#[tokio::test]
async fn a_body_that_is_held_back_is_not_asked_for() {
    let (mut stream, stop) = connected(&rustls::version::TLS13, refusing()).await;
    let head = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\nExpect: 100-continue\r\n\r\n";
    stream.write_all(head.as_bytes()).await.expect("sent");
    let head = answered(&mut stream).await;
    assert!(head.starts_with("HTTP/1.1 413 "), "{head}");
    stop.cancel();
}
