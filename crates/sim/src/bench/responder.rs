//! OpenSSL's OCSP responder as a peer: one process over an index, with a delegated key.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use fleetward_pki::Certificate;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use super::fill::Filled;
use crate::server::tail;

/// It reads its whole index first.
const START: Duration = Duration::from_secs(180);

/// A running responder. Dropping it kills it.
pub(crate) struct OpenSsl {
    pub(crate) address: SocketAddr,
    pub(crate) pid: u32,
    /// Whose certificates it answers for.
    pub(crate) authority: Certificate,
    child: Child,
    _folder: TempDir,
}

impl OpenSsl {
    /// With the serial numbers of a fleet, none of them revoked.
    pub(crate) async fn start(filled: &Filled) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("fleetward-openssl-").tempdir()?;
        let (key, mut params) = (KeyPair::generate()?, CertificateParams::default());
        params.distinguished_name.push(DnType::CommonName, "Benchmark peer CA");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let ca = params.self_signed(&key)?;
        let issuer = Issuer::new(params, key);
        let (key, mut params) = (KeyPair::generate()?, CertificateParams::default());
        params.distinguished_name.push(DnType::CommonName, "Benchmark peer OCSP");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::OcspSigning];
        let signer = params.signed_by(&key, &issuer)?;
        write(folder.path(), "ca.pem", ca.pem().as_bytes())?;
        write(folder.path(), "signer.pem", signer.pem().as_bytes())?;
        write(folder.path(), "signer.key", key.serialize_pem().as_bytes())?;
        write(folder.path(), "index.txt", index(filled)?.as_bytes())?;

        let port = port()?;
        let log_path = folder.path().join("openssl.log");
        let log = std::fs::File::create(&log_path)?;
        let mut child = Command::new("openssl")
            .args(["ocsp", "-ignore_err", "-index", "index.txt", "-CA", "ca.pem", "-rsigner", "signer.pem"])
            .args(["-rkey", "signer.key", "-ndays", "1", "-port", &port.to_string()])
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .context("starting openssl")?;
        let pid = child.id().context("openssl ended at once")?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        listening(&mut child, &log_path).await.with_context(|| tail(&log_path))?;
        Ok(Self { address, pid, authority: Certificate::parse(ca.der())?, child, _folder: folder })
    }

    pub(crate) async fn stop(mut self) -> anyhow::Result<()> {
        self.child.kill().await.context("stopping openssl")
    }
}

/// A free port of those that no connection comes from: what the load before left in TIME_WAIT is in nobody's way.
fn port() -> anyhow::Result<u16> {
    let free = |port: &u16| std::net::TcpListener::bind((Ipv4Addr::UNSPECIFIED, *port)).is_ok();
    (20_000..30_000).find(free).context("no free port")
}

/// A line for each certificate, as `openssl ca` keeps them.
fn index(filled: &Filled) -> anyhow::Result<String> {
    let mut text = String::with_capacity(filled.plan.certificates * 80);
    for index in 0..filled.plan.certificates {
        let serial = filled.serial(index)?.to_string().to_uppercase();
        writeln!(text, "V\t491231235959Z\t\t{serial}\tunknown\t/CN={}", Filled::device(index)?)?;
    }
    Ok(text)
}

fn write(folder: &Path, name: &str, content: &[u8]) -> anyhow::Result<()> {
    std::fs::File::create(folder.join(name))?.write_all(content).with_context(|| format!("writing {name}"))
}

/// Waits until it says that it listens. Whoever connects to try and closes again leaves OpenSSL 3.0 in a loop for ever.
async fn listening(child: &mut Child, log: &Path) -> anyhow::Result<()> {
    let waiting = async {
        let mut tick = tokio::time::interval(Duration::from_millis(100));
        loop {
            tokio::select! {
                status = child.wait() => anyhow::bail!("openssl ended: {}", status?),
                _ = tick.tick() => {}
            }
            if std::fs::read_to_string(log)?.contains("waiting for OCSP client connections") {
                return Ok(());
            }
        }
    };
    tokio::time::timeout(START, waiting).await.context("openssl does not listen")?
}
