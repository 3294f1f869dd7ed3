use fleetward_base::{SeededRng, Timestamp};
use fleetward_pki::ca::{self, ServerName, Vouches};
use fleetward_pki::issue::Issuer;
use fleetward_pki::{Certificate, Serial, SoftKey, Validity};
use fleetward_supply::Sha256;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::disk::sim::SimDisk;
use crate::slots::image_path;
use crate::tls::Anchors;

#[test]
fn content_ranges() {
    assert_eq!(range_start("bytes 10-99/100", 100), Some(10));
    assert_eq!(range_start("bytes 10-99/*", 100), Some(10));
    for bad in ["bytes 10-98/100", "bytes 10-99/101", "bytes 99-10/100", "bytes */100", "items 0-99/100", ""] {
        assert_eq!(range_start(bad, 100), None, "{bad}");
    }
}

/// A server that answers each connection with the next of its lines, and keeps what it was asked.
struct Scripted {
    server: Server,
    port: u16,
    credential: Arc<Credential>,
    tasks: tokio::task::JoinSet<Vec<String>>,
}

const ALWAYS: Validity =
    Validity { not_before: Timestamp::from_secs(0), not_after: Timestamp::from_secs(4_000_000_000) };

/// Authority, server certificate and the device's credential, all made here.
fn identities() -> (Vec<u8>, Vec<u8>, Vec<u8>, Credential) {
    let rng = SeededRng::new(1);
    let serial = || Serial::generate(&rng);
    let (root_key, _) = SoftKey::generate();
    let root = ca::root("test", serial(), ALWAYS, &root_key).expect("a root");
    let root = Certificate::parse(&root.der).expect("its certificate");
    let issuer = Issuer::new(&root, &root_key).expect("an issuer");
    let (infra_key, _) = SoftKey::generate();
    let spki = fleetward_pki::Signer::public_spki(&infra_key);
    let infra = ca::intermediate(&issuer, (None, "infra"), Vouches::Servers, serial(), ALWAYS, spki).expect("infra");
    let infra = Certificate::parse(&infra.der).expect("its certificate");
    let issuer = Issuer::new(&infra, &infra_key).expect("an issuer");
    let (key, pkcs8) = SoftKey::generate();
    let names = [ServerName::Dns("localhost".into())];
    let leaf = ca::server(&issuer, &names, serial(), ALWAYS, fleetward_pki::Signer::public_spki(&key)).expect("a leaf");
    // The server of these tests asks for no certificate; any will do.
    let credential = Credential {
        place: Slot::A,
        key: Arc::new(SoftKey::from_pkcs8(pkcs8.expose()).expect("its own key")),
        certificate: Certificate::parse(&leaf.der).expect("a certificate"),
    };
    let chain = [leaf.der, infra.der].concat();
    (root.der, chain, pkcs8.expose().clone(), credential)
}

impl Scripted {
    async fn new(answers: Vec<Vec<u8>>) -> Self {
        let (root, chain, pkcs8, credential) = identities();
        let pem = der::pem::encode_string("CERTIFICATE", der::pem::LineEnding::LF, &root).expect("PEM");
        let server = Server { host: "localhost".into(), anchors: Anchors::from_pem(pem.as_bytes()).expect("anchors") };
        let first = credential.certificate.der.len();
        let chain = [&chain[..first], &chain[first..]].map(|der| CertificateDer::from(der.to_vec())).to_vec();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .and_then(|builder| {
                let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pkcs8));
                builder.with_no_client_auth().with_single_cert(chain, key)
            });
        let acceptor = TlsAcceptor::from(Arc::new(config.expect("a server")));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let mut tasks = tokio::task::JoinSet::new();
        tasks.spawn(async move {
            let mut asked = Vec::new();
            for answer in answers {
                let (stream, _) = listener.accept().await.expect("a connection");
                let mut stream = acceptor.accept(stream).await.expect("a hand-shake");
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    request.push(stream.read_u8().await.expect("a request"));
                }
                asked.push(String::from_utf8(request).expect("text").to_lowercase());
                stream.write_all(&answer).await.expect("writes");
                stream.shutdown().await.ok();
            }
            asked
        });
        Self { server, port, credential: Arc::new(credential), tasks }
    }

    async fn fetch(&self, disk: &Arc<dyn Disk>, content: &[u8]) -> Result<(), DownloadFailure> {
        let artifact = Artifact {
            filename: "image".into(),
            hardware: vec!["r1".into()],
            sha256: Sha256::of(content),
            size: content.len() as u64,
        };
        let url = format!("https://localhost:{}/artifacts/x", self.port);
        let (disk, server, credential) = (Arc::clone(disk), self.server.clone(), Arc::clone(&self.credential));
        Download { disk, server, credential, slot: Slot::B, url, artifact }.run().await
    }

    async fn asked(mut self) -> Vec<String> {
        self.tasks.join_next().await.expect("one task").expect("it ends")
    }
}

fn answer(status: &str, fields: &str, length: usize, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n{fields}\r\n");
    [head.as_bytes(), body].concat()
}

/// Three spans of the sync and a bit.
fn content() -> Vec<u8> {
    (0..3 * 1024 * 1024 + 12_345_u32).map(|i| u8::try_from(i % 251).expect("below 251")).collect()
}

const MIB: usize = 1024 * 1024;

fn part(from: usize) -> Vec<u8> {
    let (content, size) = (content(), content().len());
    let fields = format!("Content-Range: bytes {from}-{}/{size}\r\n", size - 1);
    answer("206 Partial Content", &fields, size - from, &content[from..])
}

#[tokio::test(flavor = "current_thread")]
async fn a_cut_download_goes_on_with_range_and_if_range() {
    let content = content();
    let whole = answer("200 OK", "", content.len(), &content[..2 * MIB + 500_000]);
    let scripted = Scripted::new(vec![whole, part(MIB)]).await;
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::new());
    let cut = scripted.fetch(&disk, &content).await;
    assert!(matches!(cut, Err(DownloadFailure::Interrupted { progress: true, .. })), "{cut:?}");
    assert_eq!(scripted.fetch(&disk, &content).await, Ok(()));
    assert!(disk.read(&image_path(Slot::B, Sha256::of(&content))).expect("reads").expect("is there") == content);
    let asked = scripted.asked().await;
    assert!(!asked[0].contains("range:"), "{}", asked[0]);
    let tag = format!("if-range: \"{}\"", Sha256::of(&content));
    assert!(asked[1].contains("range: bytes=1048576-\r\n") && asked[1].contains(&tag), "{}", asked[1]);
}

#[tokio::test(flavor = "current_thread")]
async fn a_server_that_ignores_the_range_is_taken_from_the_beginning() {
    let content = content();
    let cut = answer("200 OK", "", content.len(), &content[..2 * MIB + 1]);
    let whole = answer("200 OK", "", content.len(), &content);
    let scripted = Scripted::new(vec![cut, whole]).await;
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::new());
    assert!(scripted.fetch(&disk, &content).await.is_err());
    assert_eq!(scripted.fetch(&disk, &content).await, Ok(()));
}

#[tokio::test(flavor = "current_thread")]
async fn what_answers_lead_to() {
    let content = content();
    let size = content.len();
    let wrong: Vec<u8> = content.iter().map(|byte| byte ^ 1).collect();
    let longer = [content.as_slice(), b"and more"].concat();
    for (answer, expected) in [
        (answer("404 Not Found", "", 0, b""), "Refused"),
        (answer("410 Gone", "", 0, b""), "Refused"),
        (answer("503 Service Unavailable", "", 0, b""), "Interrupted"),
        (answer("403 Forbidden", "", 0, b""), "Interrupted"),
        (answer("302 Found", "Location: https://elsewhere/\r\n", 0, b""), "Interrupted"),
        (answer("416 Range Not Satisfiable", "", 0, b""), "Corrupt"),
        (answer("206 Partial Content", "Content-Range: bytes 5-9/10\r\n", 5, b"56789"), "Interrupted"),
        (answer("200 OK", "", size, &wrong), "Corrupt"),
        (answer("200 OK", "", longer.len(), &longer), "Corrupt"),
        (answer("200 OK", "", 100, &content[..100]), "Interrupted"),
        (b"nonsense\r\n\r\n".to_vec(), "Interrupted"),
    ] {
        let line = String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned();
        let scripted = Scripted::new(vec![answer]).await;
        let disk: Arc<dyn Disk> = Arc::new(SimDisk::new());
        let failure = scripted.fetch(&disk, &content).await.expect_err(&line);
        assert!(format!("{failure:?}").starts_with(expected), "{line}: {failure:?}");
    }
}

#[tokio::test(flavor = "current_thread")]
async fn an_address_that_is_not_https_or_not_the_pinned_server_is_not_used() {
    let scripted = Scripted::new(vec![]).await;
    let other = Scripted::new(vec![b"never".to_vec()]).await;
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::new());
    let artifact = Artifact { filename: "i".into(), hardware: vec!["r1".into()], sha256: Sha256::of(b"x"), size: 1 };
    let download = |url: String| Download {
        disk: Arc::clone(&disk),
        server: scripted.server.clone(),
        credential: Arc::clone(&scripted.credential),
        slot: Slot::B,
        url,
        artifact: artifact.clone(),
    };
    for url in ["http://localhost/x", "file:///etc/passwd", "x"] {
        let refused = download(url.to_owned()).run().await;
        assert!(matches!(refused, Err(DownloadFailure::Refused(_))), "{url}");
    }
    let stranger = download(format!("https://localhost:{}/x", other.port)).run().await;
    let Err(DownloadFailure::Interrupted { reason, .. }) = stranger else { panic!("{stranger:?}") };
    assert!(reason.contains("certificate"), "{reason}");
}

/// A disk with room for the record and not for the image.
struct Small(SimDisk);

impl Disk for Small {
    fn read(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        self.0.read(path)
    }
    fn scan(&self, path: &str, piece: &mut dyn FnMut(&[u8])) -> io::Result<bool> {
        self.0.scan(path, piece)
    }
    fn size(&self, path: &str) -> io::Result<Option<u64>> {
        self.0.size(path)
    }
    fn write(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        self.0.write(path, bytes)
    }
    fn append(&self, _path: &str, _bytes: &[u8]) -> io::Result<()> {
        Err(io::ErrorKind::StorageFull.into())
    }
    fn truncate(&self, path: &str, size: u64) -> io::Result<()> {
        self.0.truncate(path, size)
    }
    fn sync(&self, path: &str) -> io::Result<()> {
        self.0.sync(path)
    }
    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.0.rename(from, to)
    }
    fn remove(&self, path: &str) -> io::Result<()> {
        self.0.remove(path)
    }
    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        self.0.sync_folder(folder)
    }
    fn make_folder(&self, folder: &str) -> io::Result<()> {
        self.0.make_folder(folder)
    }
    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        self.0.list(folder)
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_full_disk_ends_the_job_and_does_not_try_forever() {
    let content = content();
    let scripted = Scripted::new(vec![answer("200 OK", "", content.len(), &content)]).await;
    let disk: Arc<dyn Disk> = Arc::new(Small(SimDisk::new()));
    let full = scripted.fetch(&disk, &content).await;
    assert!(matches!(&full, Err(DownloadFailure::Refused(reason)) if reason.contains("full")), "{full:?}");
}
