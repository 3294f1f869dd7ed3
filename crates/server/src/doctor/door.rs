//! The devices' MQTT door, tried as a device would: TCP, TLS with the server's own certificate against the root, and a CONNECT.
//!
//! It shows no client certificate, so a door that works refuses it in words (MQTT 5: 0x87). That says that listener, TLS,
//! broker and registry are all there, and costs no session.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use async_trait::async_trait;
use fleetward_app::doctor::{Check, Probe};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

const DEADLINE: Duration = Duration::from_secs(5);
/// CONNECT of MQTT 5: clean start, keep-alive 10 s, no properties, client id `doctor`.
const CONNECT: &[u8] = b"\x10\x13\x00\x04MQTT\x05\x02\x00\x0a\x00\x00\x06doctor";
/// CONNACK, and the reason for whom the door knows nobody.
const CONNACK: u8 = 0x20;
const NOT_AUTHORIZED: u8 = 0x87;

/// Tries the MQTT listener at `address`.
pub(crate) struct MqttDoorProbe {
    address: SocketAddr,
    name: ServerName<'static>,
    connector: TlsConnector,
}

impl MqttDoorProbe {
    /// `trusted` is what devices trust, `host` a name in the server's certificate.
    pub(crate) fn new(
        mut address: SocketAddr,
        host: &str,
        trusted: Vec<CertificateDer<'static>>,
    ) -> anyhow::Result<Self> {
        if address.ip().is_unspecified() {
            address.set_ip(if address.is_ipv4() {
                std::net::Ipv4Addr::LOCALHOST.into()
            } else {
                std::net::Ipv6Addr::LOCALHOST.into()
            });
        }
        let mut roots = RootCertStore::empty();
        for root in trusted {
            roots.add(root)?;
        }
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let client = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let client = client.with_root_certificates(roots).with_no_client_auth();
        let name = ServerName::try_from(host.to_owned())?;
        Ok(Self { address, name, connector: TlsConnector::from(Arc::new(client)) })
    }

    async fn knock(&self) -> anyhow::Result<()> {
        let socket =
            TcpStream::connect(self.address).await.with_context(|| format!("connecting to {}", self.address))?;
        let mut stream = self.connector.connect(self.name.clone(), socket).await.context("TLS")?;
        stream.write_all(CONNECT).await?;
        let mut head = [0; 4];
        stream.read_exact(&mut head).await.context("no CONNACK")?;
        match head {
            [CONNACK, _, _, NOT_AUTHORIZED] => Ok(()),
            other => bail!("an answer that was not expected: {other:02x?}"),
        }
    }
}

#[async_trait]
impl Probe for MqttDoorProbe {
    async fn run(&self) -> Check {
        let outcome = tokio::time::timeout(DEADLINE, self.knock()).await;
        match outcome {
            Ok(Ok(())) => {
                Check::ok("broker", format!("{} shakes hands and refuses whom it does not know", self.address))
            }
            Ok(Err(error)) => Check::fail("broker", format!("{error:#}"), "the server's log says more; restart it"),
            Err(_) => Check::fail("broker", format!("{} does not answer", self.address), "restart the server"),
        }
    }
}
