//! TLS to the server: its certificate must come from the pinned authority; ours is the device's identity.
//!
//! Nothing but the file given as `--ca` is an anchor; what the machine trusts otherwise does not count.

use std::sync::Arc;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::identity::Credential;

/// What is wrong with the anchors or the credential.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("the CA file holds no certificate that can be used: {0}")]
    Anchors(String),
    #[error("`{0}` is no host name")]
    Host(String),
    #[error("TLS: {0}")]
    Other(#[from] rustls::Error),
}

/// The authorities whose server certificates are accepted.
#[derive(Clone, Debug)]
pub struct Anchors(Arc<RootCertStore>);

impl Anchors {
    /// Reads a PEM file of one or more certificates.
    ///
    /// # Errors
    /// Where there is none in it.
    pub fn from_pem(pem: &[u8]) -> Result<Self, TlsError> {
        let mut store = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|error| TlsError::Anchors(error.to_string()))?;
            store.add(certificate).map_err(|error| TlsError::Anchors(error.to_string()))?;
        }
        if store.is_empty() { Err(TlsError::Anchors(String::from("it is empty"))) } else { Ok(Self(Arc::new(store))) }
    }
}

/// Where the server is and how it is reached.
#[derive(Clone, Debug)]
pub struct Server {
    pub host: String,
    pub anchors: Anchors,
}

impl Server {
    /// A TLS stream to a port of the server, with the device's certificate where one is given.
    ///
    /// # Errors
    /// What the network or TLS says.
    pub async fn connect(
        &self,
        host: &str,
        port: u16,
        alpn: &[u8],
        credential: Option<&Credential>,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let config = self.config(alpn, credential).map_err(std::io::Error::other)?;
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_bad| std::io::Error::other(TlsError::Host(host.to_owned())))?;
        let stream = TcpStream::connect((host, port)).await?;
        stream.set_nodelay(true)?;
        TlsConnector::from(Arc::new(config)).connect(name, stream).await
    }

    fn config(&self, alpn: &[u8], credential: Option<&Credential>) -> Result<ClientConfig, TlsError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(Arc::clone(&self.anchors.0));
        let mut config = match credential {
            None => builder.with_no_client_auth(),
            Some(credential) => {
                let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(credential.pkcs8.expose().clone()));
                let leaf = CertificateDer::from(credential.certificate.der.clone());
                builder.with_client_auth_cert(vec![leaf], key)?
            }
        };
        config.alpn_protocols = vec![alpn.to_vec()];
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ca_file_without_a_certificate_is_refused() {
        for bad in [b"".as_slice(), b"junk", b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            assert!(matches!(Anchors::from_pem(bad), Err(TlsError::Anchors(_))));
        }
    }
}
