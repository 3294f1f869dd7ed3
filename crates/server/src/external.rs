//! The way to an external broker: which one, with which certificate, and how it stands with it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use async_trait::async_trait;
use clap::Args;
use fleetward_app::doctor::{Check, Probe};
use fleetward_base::TenantId;
use fleetward_front_mqtt::MqttHooks;
use fleetward_front_mqtt::external::{Dial, External, Standing, Stream};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

const NAME: &str = "external-broker";

/// An MQTT broker of your own whose devices the server serves. All of it, or nothing.
#[derive(Args, Debug, Clone, Default)]
pub(crate) struct ExternalArgs {
    /// `HOST:PORT` of an MQTT 5 broker over TLS, whose devices are served through it.
    #[arg(long = "external-broker", env = "FLEETWARD_EXTERNAL_BROKER", value_name = "HOST:PORT")]
    pub(crate) address: Option<String>,

    /// Whose devices they are.
    #[arg(long = "external-broker-tenant", env = "FLEETWARD_EXTERNAL_BROKER_TENANT", value_name = "TENANT")]
    pub(crate) tenant: Option<TenantId>,

    /// The authorities by which the broker's certificate is believed, in PEM.
    #[arg(long = "external-broker-ca", env = "FLEETWARD_EXTERNAL_BROKER_CA", value_name = "FILE")]
    pub(crate) ca: Option<PathBuf>,

    /// The certificate that the server shows the broker, with what stands above it, in PEM.
    #[arg(long = "external-broker-cert", env = "FLEETWARD_EXTERNAL_BROKER_CERT", value_name = "FILE")]
    pub(crate) cert: Option<PathBuf>,

    /// Its key, in PEM.
    #[arg(long = "external-broker-key", env = "FLEETWARD_EXTERNAL_BROKER_KEY", value_name = "FILE")]
    pub(crate) key: Option<PathBuf>,

    /// Under which name the broker keeps the server's session; each server of an installation needs one of its own.
    #[arg(
        long = "external-broker-client-id",
        env = "FLEETWARD_EXTERNAL_BROKER_CLIENT_ID",
        value_name = "ID",
        default_value = "fleetward.server"
    )]
    pub(crate) client_id: String,

    /// Under which name the servers of an installation share the requests of devices. Empty for a broker that cannot share topics
    /// below `$`, such as Mosquitto, which one server then serves alone.
    #[arg(
        long = "external-broker-group",
        env = "FLEETWARD_EXTERNAL_BROKER_GROUP",
        value_name = "NAME",
        default_value = "fleetward"
    )]
    pub(crate) group: String,
}

impl ExternalArgs {
    /// What is wrong with it.
    pub(crate) fn faults(&self) -> Vec<String> {
        let given = [
            ("--external-broker", self.address.is_some()),
            ("--external-broker-tenant", self.tenant.is_some()),
            ("--external-broker-ca", self.ca.is_some()),
            ("--external-broker-cert", self.cert.is_some()),
            ("--external-broker-key", self.key.is_some()),
        ];
        let mut faults = Vec::new();
        if given.iter().any(|(_, there)| *there) {
            let missing = given.iter().filter(|(_, there)| !there).map(|(name, _)| *name);
            faults.extend(missing.map(|name| format!("{name}: is needed too, for an external broker")));
        }
        if self.address.as_deref().is_some_and(|address| host_of(address).is_none()) {
            faults.push("--external-broker: HOST:PORT".to_owned());
        }
        // A device could have the name; this one none can.
        if !self.client_id.contains('.') || self.client_id.len() > 128 {
            faults.push("--external-broker-client-id: a name with a dot in it, so that no device has it".to_owned());
        }
        if self.group.contains(['/', '+', '#']) {
            faults.push("--external-broker-group: a name without /, + and #".to_owned());
        }
        faults
    }

    /// The broker, where there is one. The files are read now, so that a fault in them is reported at the start.
    pub(crate) fn open(&self) -> anyhow::Result<Option<External>> {
        let (Some(address), Some(tenant), Some(ca), Some(cert), Some(key)) =
            (&self.address, &self.tenant, &self.ca, &self.cert, &self.key)
        else {
            return Ok(None);
        };
        let host = host_of(address).context("--external-broker: HOST:PORT")?;
        let dial = ByTls {
            address: address.clone(),
            name: ServerName::try_from(host.to_owned()).context("--external-broker")?,
            connector: TlsConnector::from(Arc::new(client_config(ca, cert, key)?)),
        };
        let group = Some(self.group.clone()).filter(|group| !group.is_empty());
        Ok(Some(External { tenant: tenant.clone(), client_id: self.client_id.clone(), group, dial: Arc::new(dial) }))
    }
}

/// `[::1]:8883` and `broker.example:8883`.
fn host_of(address: &str) -> Option<&str> {
    let (host, port) = address.rsplit_once(':')?;
    port.parse::<u16>().ok().filter(|port| *port != 0)?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    (!host.is_empty()).then_some(host)
}

fn client_config(ca: &Path, cert: &Path, key: &Path) -> anyhow::Result<ClientConfig> {
    let certificates = |path: &Path| {
        let read: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).and_then(Iterator::collect);
        let read = read.with_context(|| format!("{}: no certificates in PEM", path.display()))?;
        anyhow::ensure!(!read.is_empty(), "{}: holds no certificate", path.display());
        Ok(read)
    };
    let mut roots = RootCertStore::empty();
    for root in certificates(ca)? {
        roots.add(root).with_context(|| format!("{}: cannot be an authority", ca.display()))?;
    }
    let key = PrivateKeyDer::from_pem_file(key).with_context(|| format!("{}: no key in PEM", key.display()))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let client = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
    let client = client.with_root_certificates(roots).with_client_auth_cert(certificates(cert)?, key);
    client.with_context(|| format!("{}: not of its key", cert.display()))
}

struct ByTls {
    address: String,
    name: ServerName<'static>,
    connector: TlsConnector,
}

#[async_trait]
impl Dial for ByTls {
    async fn dial(&self) -> io::Result<Box<dyn Stream>> {
        let socket = TcpStream::connect(&self.address).await?;
        socket.set_nodelay(true)?;
        Ok(Box::new(self.connector.connect(self.name.clone(), socket).await?))
    }
}

/// Says how it stands with the external broker.
pub(crate) struct ExternalProbe(pub(crate) Arc<MqttHooks>);

#[async_trait]
impl Probe for ExternalProbe {
    async fn run(&self) -> Check {
        match self.0.external_standing() {
            Some(Standing::Connected) => Check::ok(NAME, "connected, and subscribed to the requests of its devices"),
            Some(Standing::Away(why)) => {
                let remedy = "see --external-broker and docs/guides/external-broker.md; it is tried again all the time";
                Check::warn(NAME, format!("not connected: {why}"), remedy)
            }
            None => Check::warn(NAME, "not begun", "ask again"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_of_it_or_nothing() {
        let none = ExternalArgs { client_id: "fleetward.server".to_owned(), ..ExternalArgs::default() };
        assert!(none.faults().is_empty());
        assert!(none.open().expect("nothing to read").is_none());
        let some = ExternalArgs { address: Some("broker.example:8883".to_owned()), ..none.clone() };
        assert_eq!(some.faults().len(), 4, "{:?}", some.faults());
        for bad in ["broker.example", ":8883", "broker.example:0", "broker.example:x"] {
            assert_eq!(host_of(bad), None, "{bad}");
        }
        assert_eq!((host_of("[::1]:1"), host_of("a.b:8883")), (Some("::1"), Some("a.b")));
        let named = ExternalArgs { client_id: "gw-1".to_owned(), ..none };
        assert_eq!(named.faults().len(), 1, "a device could have that name");
    }
}
