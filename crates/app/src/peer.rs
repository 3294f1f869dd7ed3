//! The other end of a connection, as the listener saw it.
//!
//! The listener puts a [`Peer`] beside every request and session; doors read it and nothing else to learn who is there.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls_pki_types::CertificateDer;

/// Where a connection came from and the certificate chain it proved in its TLS handshake, leaf first; empty without one.
///
/// The chain was verified when the session began. It may have been revoked since, so the registry is asked each time.
#[derive(Clone, Debug)]
pub struct Peer {
    pub address: SocketAddr,
    pub certificates: Arc<[CertificateDer<'static>]>,
}

impl Peer {
    pub fn leaf(&self) -> Option<&CertificateDer<'static>> {
        self.certificates.first()
    }
}
