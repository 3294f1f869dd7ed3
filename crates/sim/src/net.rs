//! Sockets: many clients from one machine.
//!
//! One source address has some 28,000 ports to one destination, and the server counts attempts by address. A fleet is
//! not one address, so each simulated client may come from its own in 127.0.0.0/8.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::Context as _;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// A TLS stream to the server.
pub type Stream = TlsStream<TcpStream>;

/// Where a listener is, and the name that its certificate must have.
#[derive(Clone, Debug)]
pub struct Door {
    pub address: SocketAddr,
    pub name: ServerName<'static>,
}

impl Door {
    /// A listener on this machine that calls itself `host`.
    pub fn local(host: &str, port: u16) -> anyhow::Result<Self> {
        let name = ServerName::try_from(host.to_owned()).with_context(|| format!("{host} is no server name"))?;
        Ok(Self { address: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port), name })
    }

    /// Connects and shakes hands; `source` is the address to come from.
    pub async fn open(&self, tls: &Arc<ClientConfig>, source: Option<Ipv4Addr>) -> anyhow::Result<Stream> {
        let tcp = self.tcp(source).await?;
        TlsConnector::from(Arc::clone(tls)).connect(self.name.clone(), tcp).await.context("TLS handshake")
    }

    pub async fn tcp(&self, source: Option<Ipv4Addr>) -> anyhow::Result<TcpStream> {
        tcp(self.address, source).await
    }
}

/// A connection to a listener on this machine; `source` is the address to come from.
pub async fn tcp(address: SocketAddr, source: Option<Ipv4Addr>) -> anyhow::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    if let Some(source) = source {
        socket.bind(SocketAddr::new(IpAddr::V4(source), 0)).with_context(|| format!("binding {source}"))?;
    }
    let stream = socket.connect(address).await.with_context(|| format!("connecting to {address}"))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// The `index`-th source address of the simulated fleet: 62,500 of them before they repeat.
pub fn source(index: usize) -> Ipv4Addr {
    let (third, fourth) = ((index / 250) % 250, index % 250 + 1);
    let byte = |part: usize| u8::try_from(part).expect("a remainder of 250 plus one fits");
    Ipv4Addr::new(127, 77, byte(third), byte(fourth))
}

/// Raises the limit on open files as far as this process may; returns what it is now.
pub fn raise_open_files() -> u64 {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let wanted = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
    match setrlimit(Resource::Nofile, wanted) {
        Ok(()) => limit.maximum.unwrap_or(u64::MAX),
        Err(_) => limit.current.unwrap_or(u64::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_differ_and_are_loopback() {
        let all: std::collections::BTreeSet<_> = (0..62_500).map(source).collect();
        assert_eq!(all.len(), 62_500);
        assert!(all.iter().all(Ipv4Addr::is_loopback));
        assert_eq!(source(62_500), source(0));
    }
}
