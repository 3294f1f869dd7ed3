//! Debian's Mosquitto as a peer: mTLS with the certificate as the user name, queues without limit, nothing on disk.

use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::ClientConfig;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::net::Door;
use crate::server::tail;
use crate::tls::Trust;

const START: Duration = Duration::from_secs(10);

/// A running Mosquitto with a CA of its own. Dropping it kills it.
pub(crate) struct Mosquitto {
    pub(crate) door: Door,
    pub(crate) pid: u32,
    child: Child,
    issuer: Issuer<'static, KeyPair>,
    pub(crate) trust: Trust,
    _folder: TempDir,
}

impl Mosquitto {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("fleetward-mosquitto-").tempdir()?;
        let (issuer, ca_pem) = authority()?;
        let key = KeyPair::generate()?;
        let certificate = leaf("localhost", ExtendedKeyUsagePurpose::ServerAuth)?.signed_by(&key, &issuer)?;
        write(folder.path(), "ca.pem", &ca_pem)?;
        write(folder.path(), "server.pem", &certificate.pem())?;
        write(folder.path(), "server.key", &key.serialize_pem())?;
        let port = free_port()?;
        write(folder.path(), "mosquitto.conf", &configuration(folder.path(), port))?;
        let log_path = folder.path().join("mosquitto.log");
        let log = std::fs::File::create(&log_path)?;
        let mut child = Command::new(program()?)
            .arg("-c")
            .arg(folder.path().join("mosquitto.conf"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .context("starting mosquitto")?;
        let door = Door::local("localhost", port)?;
        listening(&mut child, &door).await.with_context(|| tail(&log_path))?;
        let pid = child.id().context("mosquitto ended at once")?;
        Ok(Self { door, pid, child, issuer, trust: Trust::from_pem(ca_pem.as_bytes())?, _folder: folder })
    }

    /// TLS of a client that is called `name`.
    pub(crate) fn client(&self, name: &str) -> anyhow::Result<Arc<ClientConfig>> {
        let (certificate, key) = self.issue(name, ExtendedKeyUsagePurpose::ClientAuth)?;
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        self.trust.with_certificate(vec![certificate], key.into(), &[])
    }

    /// A certificate of its CA with the key.
    pub(crate) fn issue(
        &self,
        name: &str,
        purpose: ExtendedKeyUsagePurpose,
    ) -> anyhow::Result<(CertificateDer<'static>, KeyPair)> {
        let key = KeyPair::generate()?;
        let certificate = leaf(name, purpose)?.signed_by(&key, &self.issuer)?;
        Ok((certificate.der().clone(), key))
    }

    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        self.child.kill().await.context("stopping mosquitto")
    }
}

fn authority() -> anyhow::Result<(Issuer<'static, KeyPair>, String)> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "Benchmark peer CA");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let pem = params.self_signed(&key)?.pem();
    Ok((Issuer::new(params, key), pem))
}

fn leaf(name: &str, purpose: ExtendedKeyUsagePurpose) -> anyhow::Result<CertificateParams> {
    let mut params = CertificateParams::new(vec![name.to_owned()])?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![purpose];
    Ok(params)
}

fn configuration(folder: &Path, port: u16) -> String {
    let folder = folder.display();
    let mut text = format!(
        "listener {port} 127.0.0.1\n\
         cafile {folder}/ca.pem\ncertfile {folder}/server.pem\nkeyfile {folder}/server.key\n\
         require_certificate true\nuse_identity_as_username true\n\
         max_queued_messages 0\npersistence false\nset_tcp_nodelay true\n\
         log_type error\nlog_type warning\n"
    );
    if rustix::process::geteuid().is_root() {
        // Otherwise it changes to a user who cannot read the key.
        text.push_str("user root\n");
    }
    text
}

/// Debian puts it where the path of an ordinary user does not lead.
fn program() -> anyhow::Result<&'static str> {
    ["/usr/sbin/mosquitto", "/usr/bin/mosquitto", "/usr/local/sbin/mosquitto"]
        .into_iter()
        .find(|path| Path::new(path).exists())
        .context("mosquitto is not installed: `apt install mosquitto`")
}

fn write(folder: &Path, name: &str, text: &str) -> anyhow::Result<()> {
    std::fs::File::create(folder.join(name))?.write_all(text.as_bytes()).with_context(|| format!("writing {name}"))
}

pub(crate) fn free_port() -> anyhow::Result<u16> {
    Ok(std::net::TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

async fn listening(child: &mut Child, door: &Door) -> anyhow::Result<()> {
    let waiting = async {
        let mut tick = tokio::time::interval(Duration::from_millis(25));
        loop {
            tokio::select! {
                status = child.wait() => anyhow::bail!("mosquitto ended: {}", status?),
                _ = tick.tick() => {}
            }
            if door.tcp(None).await.is_ok() {
                return Ok(());
            }
        }
    };
    tokio::time::timeout(START, waiting).await.context("mosquitto does not listen")?
}
