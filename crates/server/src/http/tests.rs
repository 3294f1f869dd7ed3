//! What a request knows of its connection, over real TLS.

use std::sync::Arc;

use axum::Extension;
use axum::routing::get;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_util::task::TaskTracker;

use super::*;
use crate::listen::{self, Gate};
use crate::tls::{Clients, Protocols, server_config};

/// A door that answers with what it knows of the connection, and a client's own value of it.
async fn both(version: &'static SupportedProtocolVersion) -> (String, Option<[u8; EXPORTER_BYTES]>) {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).expect("a certificate");
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).expect("a key");
    let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).expect("of a known kind");
    let own = CertificateDer::from(made.cert.der().to_vec());
    let identity = Arc::new(SingleCertAndKey::from(CertifiedKey::new(vec![own.clone()], key)));
    let tls = server_config(identity, Clients::Anyone, &Protocols::Http).expect("a configuration");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
    let router =
        Router::new().route("/", get(|Extension(channel): Extension<Channel>| async move { format!("{channel:?}") }));
    let gate = Gate::new(8, tasks.clone(), stop.clone());
    tasks.spawn(listen::accept(listener, tls, gate, HttpDoor::new(router, stop.clone())));

    let mut roots = RootCertStore::empty();
    roots.add(own).expect("an anchor");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let client = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[version]).expect("known");
    let connector = TlsConnector::from(Arc::new(client.with_root_certificates(roots).with_no_client_auth()));
    let name = ServerName::try_from("localhost").expect("a name");
    let socket = TcpStream::connect(address).await.expect("connects");
    let mut stream = connector.connect(name, socket).await.expect("shakes hands");
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
