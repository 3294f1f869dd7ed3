//! The other side: an authority with a key of its own, and a server that answers as it is told and remembers what it was
//! asked.

#![expect(clippy::indexing_slicing, reason = "a test that does not find what it looks for fails there")]

use std::sync::Arc;
use std::time::Duration;

use fleetward_base::{SystemRng, Timestamp};
use fleetward_pki::issue::Issuer;
use fleetward_pki::{Certificate, Serial, SoftKey, Validity, ca, csr, leaf, pem};
use parking_lot::Mutex;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_util::task::TaskTracker;

const HOUR: Duration = Duration::from_secs(3600);

/// When the fixture's clock begins.
fn now() -> Timestamp {
    Timestamp::from_secs(1_795_171_980)
}

#[derive(Clone)]
pub(crate) struct Authority(Arc<(Certificate, SoftKey)>);

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let (key, _) = SoftKey::generate();
        let validity = Validity { not_before: now().minus(HOUR), not_after: now().plus(HOUR * 24 * 365) };
        let issued = ca::root(name, Serial::generate(&SystemRng), validity, &key).expect("signs");
        Self(Arc::new((Certificate::parse(&issued.der).expect("reads"), key)))
    }

    pub(crate) fn certificate(&self) -> &Certificate {
        &self.0.0
    }

    pub(crate) fn pem(&self) -> String {
        pem::write(pem::CERTIFICATE, &self.certificate().der)
    }

    /// A certificate (PEM) for the request, naming this device of this tenant.
    pub(crate) fn issue(&self, tenant: &str, device: &str, csr_pem: &str, hours: u32) -> String {
        let der = pem::read(pem::CERTIFICATE_REQUEST, csr_pem).expect("PEM").remove(0);
        let csr = csr::parse(&der).expect("a request");
        let issuer = Issuer::new(&self.0.0, &self.0.1).expect("its key");
        let (tenant, device) = (tenant.parse().expect("a name"), device.parse().expect("a name"));
        let validity = Validity { not_before: now().minus(HOUR), not_after: now().plus(HOUR * hours) };
        let issued = leaf::issue(&issuer, &tenant, &device, &csr, Serial::generate(&SystemRng), validity);
        pem::write(pem::CERTIFICATE, &issued.expect("issues").der)
    }

    /// A certificate (PEM) for the key of the request, of the claim that `uri` names.
    pub(crate) fn issue_claim(&self, uri: &str, csr_pem: &str, hours: u32) -> String {
        let der = pem::read(pem::CERTIFICATE_REQUEST, csr_pem).expect("PEM").remove(0);
        let csr = csr::parse(&der).expect("a request");
        let issuer = Issuer::new(&self.0.0, &self.0.1).expect("its key");
        let validity = Validity { not_before: now().minus(HOUR), not_after: now().plus(HOUR * hours) };
        let issued =
            leaf::claim(&issuer, &uri.parse().expect("a claim"), &csr, Serial::generate(&SystemRng), validity, None);
        pem::write(pem::CERTIFICATE, &issued.expect("issues").der)
    }

    /// A certificate (PEM) for the key of the request that is nobody's yet.
    pub(crate) fn issue_unbound(&self, uri: &str, csr_pem: &str, hours: u32) -> String {
        let der = pem::read(pem::CERTIFICATE_REQUEST, csr_pem).expect("PEM").remove(0);
        let csr = csr::parse(&der).expect("a request");
        let issuer = Issuer::new(&self.0.0, &self.0.1).expect("its key");
        let validity = Validity { not_before: now().minus(HOUR), not_after: now().plus(HOUR * hours) };
        let name = uri.parse().expect("an id");
        let issued = leaf::unbound_as(&issuer, &name, &csr, Serial::generate(&SystemRng), validity, None);
        pem::write(pem::CERTIFICATE, &issued.expect("issues").der)
    }

    /// Something that is no authority.
    pub(crate) fn leaf_pem(&self) -> String {
        let (key, _) = SoftKey::generate();
        let request = csr::write(&fleetward_pki::name::write(None, "gw-1"), &[], &key).expect("signs");
        self.issue("acme", "gw-1", &pem::write(pem::CERTIFICATE_REQUEST, &request), 1)
    }
}

/// A request as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Asked {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }
}

pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn json(status: u16, body: Value) -> Self {
        Self { status, headers: vec![("content-type", "application/json".to_owned())], body: body.to_string() }
    }
}

type Play = Arc<dyn Fn(&Asked) -> Reply + Send + Sync>;

pub(crate) struct Server {
    pub(crate) url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
    _tasks: TaskTracker,
}

impl Server {
    pub(crate) async fn start(play: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        Self::listen(None, Arc::new(play)).await
    }

    pub(crate) async fn start_tls(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        play: impl Fn(&Asked) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let provider = Arc::new(tokio_rustls::rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = builder.expect("versions").with_no_client_auth().with_single_cert(chain, key).expect("a key");
        Self::listen(Some(TlsAcceptor::from(Arc::new(config))), Arc::new(play)).await
    }

    /// An address where nobody listens.
    pub(crate) async fn nowhere() -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        format!("http://{}", listener.local_addr().expect("an address"))
    }

    async fn listen(tls: Option<TlsAcceptor>, play: Play) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let url = if tls.is_some() { format!("https://localhost:{port}") } else { format!("http://127.0.0.1:{port}") };
        let (asked, tasks) = (Arc::new(Mutex::new(Vec::new())), TaskTracker::new());
        let (seen, tracker) = (Arc::clone(&asked), tasks.clone());
        tasks.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (seen, play, tls) = (Arc::clone(&seen), Arc::clone(&play), tls.clone());
                tracker.spawn(async move {
                    match tls {
                        None => serve(stream, &seen, &play).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, &seen, &play).await;
                            }
                        }
                    }
                });
            }
        });
        Self { url, asked, _tasks: tasks }
    }

    pub(crate) fn count(&self) -> usize {
        self.asked.lock().len()
    }

    pub(crate) fn last(&self) -> Asked {
        self.asked.lock().last().cloned().expect("it was asked")
    }
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin, seen: &Mutex<Vec<Asked>>, play: &Play) {
    let mut buffer = Vec::new();
    while let Some(asked) = read(&mut stream, &mut buffer).await {
        seen.lock().push(asked.clone());
        let reply = play(&asked);
        let mut text = format!("HTTP/1.1 {} Played\r\ncontent-length: {}\r\n", reply.status, reply.body.len());
        for (name, value) in &reply.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        text.push_str(&reply.body);
        if stream.write_all(text.as_bytes()).await.is_err() || stream.flush().await.is_err() {
            return;
        }
    }
}

async fn read(stream: &mut (impl AsyncRead + Unpin), buffer: &mut Vec<u8>) -> Option<Asked> {
    loop {
        if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8(buffer[..end].to_vec()).expect("text");
            let mut lines = head.lines();
            let mut first = lines.next()?.split(' ');
            let (method, path) = (first.next()?.to_owned(), first.next()?.to_owned());
            let headers: Vec<(String, String)> = lines
                .filter_map(|line| line.split_once(": "))
                .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
                .collect();
            let length = headers.iter().find(|(name, _)| name == "content-length");
            let length: usize = length.map_or(0, |(_, value)| value.parse().expect("a number"));
            if buffer.len() >= end + 4 + length {
                let body = buffer[end + 4..end + 4 + length].to_vec();
                buffer.drain(..end + 4 + length);
                return Some(Asked { method, path, headers, body });
            }
        }
        let mut piece = [0; 8192];
        match stream.read(&mut piece).await {
            Ok(0) | Err(_) => return None,
            Ok(count) => buffer.extend_from_slice(&piece[..count]),
        }
    }
}
