//! TLS as a client: whom to trust and who to be.
//!
//! Session resumption is always off: a benchmark that counts handshakes counts full ones, and a simulated device that
//! reconnects proves its certificate again. The verifier and the crypto provider are shared, for thousands of client
//! configurations live in one process.

use std::sync::Arc;

use anyhow::Context as _;
use rustls::ClientConfig;
use rustls::RootCertStore;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::identity::Identity;

/// ALPN of MQTT with a client certificate, as AWS IoT named it.
pub const ALPN_MQTT: &[u8] = b"x-amzn-mqtt-ca";
/// ALPN of HTTP/1.1.
pub const ALPN_HTTP: &[u8] = b"http/1.1";

/// The installation's root as a trust anchor; cheap to clone.
#[derive(Clone, Debug)]
pub struct Trust {
    verifier: Arc<WebPkiServerVerifier>,
    provider: Arc<CryptoProvider>,
}

impl Trust {
    /// Trusts every certificate in `pem` and nothing else.
    pub fn from_pem(pem: &[u8]) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            roots.add(certificate.context("reading the CA file")?).context("the CA file holds no trust anchor")?;
        }
        anyhow::ensure!(!roots.is_empty(), "the CA file holds no certificate");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider)).build()?;
        Ok(Self { verifier, provider })
    }

    /// A client without a certificate.
    pub fn anonymous(&self, alpn: &[&[u8]]) -> anyhow::Result<Arc<ClientConfig>> {
        Ok(finish(self.builder()?.with_no_client_auth(), alpn))
    }

    /// A client that proves to be `identity`.
    pub fn identified(&self, identity: &Identity, alpn: &[&[u8]]) -> anyhow::Result<Arc<ClientConfig>> {
        self.with_certificate(vec![identity.certificate.clone()], identity.private_key(), alpn)
    }

    /// A client with any chain, for the tests that present a wrong one.
    pub fn with_certificate(
        &self,
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
        alpn: &[&[u8]],
    ) -> anyhow::Result<Arc<ClientConfig>> {
        Ok(finish(self.builder()?.with_client_auth_cert(chain, key)?, alpn))
    }

    fn builder(&self) -> anyhow::Result<rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert>> {
        let verifier: Arc<dyn rustls::client::danger::ServerCertVerifier> =
            Arc::<WebPkiServerVerifier>::clone(&self.verifier);
        Ok(ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
            .dangerous()
            .with_custom_certificate_verifier(verifier))
    }
}

fn finish(mut config: ClientConfig, alpn: &[&[u8]]) -> Arc<ClientConfig> {
    config.resumption = Resumption::disabled();
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Arc::new(config)
}
