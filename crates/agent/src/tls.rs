//! TLS to the server: its certificate must come from the pinned authority; ours is the device's identity.
//!
//! Nothing but the file given as `--ca`, and what followed it ([`crate::anchors`]), is an anchor; what the machine trusts
//! otherwise does not count. The time that the server's certificate is held to is the agent's ([`crate::clock`]).

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use fleetward_base::{SystemClock, Timestamp};
use fleetward_pki::anchors::Anchor;
use fleetward_pki::certificate::Certificate;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SigningKey, SingleCertAndKey};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureAlgorithm, SignatureScheme,
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::clock::FloorClock;
use crate::identity::Credential;
use crate::keys::DeviceKey;

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

/// The authorities whose server certificates are accepted, and the clock by which. Copies change together: the next
/// connection of whoever has one goes by what is held then.
#[derive(Clone, Debug)]
pub struct Anchors {
    held: Arc<RwLock<Held>>,
    clock: Arc<FloorClock>,
}

/// The anchors as they are told of, and as TLS takes them.
#[derive(Debug)]
struct Held {
    anchors: Vec<Anchor>,
    roots: Arc<RootCertStore>,
}

impl Held {
    fn new(anchors: &[Anchor]) -> Result<Self, TlsError> {
        let ders: Vec<&[u8]> = anchors.iter().map(|anchor| anchor.certificate.der.as_slice()).collect();
        Ok(Self { anchors: anchors.to_vec(), ..Self::of(&ders)? })
    }

    /// TLS takes what `pki` cannot read too: a root of version 1. That is never followed by another.
    fn of(ders: &[&[u8]]) -> Result<Self, TlsError> {
        let mut store = RootCertStore::empty();
        for der in ders {
            store.add(CertificateDer::from(*der)).map_err(|error| TlsError::Anchors(error.to_string()))?;
        }
        if store.is_empty() {
            return Err(TlsError::Anchors(String::from("it is empty")));
        }
        let anchors = ders.iter().filter_map(|der| Certificate::parse(der).ok()).map(Anchor::pinned).collect();
        Ok(Self { anchors, roots: Arc::new(store) })
    }
}

impl Anchors {
    /// Reads a PEM file of one or more certificates.
    ///
    /// # Errors
    /// Where there is none in it.
    pub fn from_pem(pem: &[u8]) -> Result<Self, TlsError> {
        let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        let read = read.map_err(|error| TlsError::Anchors(error.to_string()))?;
        let ders: Vec<&[u8]> = read.iter().map(AsRef::as_ref).collect();
        let held = Arc::new(RwLock::new(Held::of(&ders)?));
        Ok(Self { held, clock: Arc::new(FloorClock::new(Arc::new(SystemClock::new()))) })
    }

    /// With these and no others.
    ///
    /// # Errors
    /// Where there is none, or one that cannot be an anchor.
    pub fn from_anchors(anchors: &[Anchor]) -> Result<Self, TlsError> {
        let held = Arc::new(RwLock::new(Held::new(anchors)?));
        Ok(Self { held, clock: Arc::new(FloorClock::new(Arc::new(SystemClock::new()))) })
    }

    /// What is held.
    pub fn held(&self) -> Vec<Anchor> {
        self.held.read().unwrap_or_else(PoisonError::into_inner).anchors.clone()
    }

    /// These and no others are held from now on.
    ///
    /// # Errors
    /// Where there is none, or one that cannot be an anchor: nothing has changed then.
    pub fn hold(&self, anchors: &[Anchor]) -> Result<(), TlsError> {
        let next = Held::new(anchors)?;
        *self.held.write().unwrap_or_else(PoisonError::into_inner) = next;
        Ok(())
    }

    fn pinned(&self, roots: Arc<RootCertStore>) -> Result<Pinned, TlsError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let chain = WebPkiServerVerifier::builder_with_provider(roots, provider).build();
        let chain = chain.map_err(|error| TlsError::Anchors(error.to_string()))?;
        Ok(Pinned { chain, clock: Arc::clone(&self.clock) })
    }

    fn roots(&self) -> Arc<RootCertStore> {
        Arc::clone(&self.held.read().unwrap_or_else(PoisonError::into_inner).roots)
    }

    /// With this clock, which learns from servers that prove themselves.
    #[must_use]
    pub fn with_clock(self, clock: Arc<FloorClock>) -> Self {
        Self { clock, ..self }
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

    /// The chain with which the server at the other end proved itself, its own certificate first.
    pub fn shown(stream: &TlsStream<TcpStream>) -> Vec<CertificateDer<'static>> {
        stream.get_ref().1.peer_certificates().unwrap_or_default().to_vec()
    }

    /// Whether a server that showed this chain would be believed by somebody who held these and no others.
    ///
    /// # Errors
    /// Why not.
    pub fn would_be_believed(&self, chain: &[CertificateDer<'_>], by: &[Anchor]) -> Result<(), TlsError> {
        let anchors = |text: &str| TlsError::Anchors(text.to_owned());
        let (leaf, rest) = chain.split_first().ok_or_else(|| anchors("the server showed no certificate"))?;
        let name = ServerName::try_from(self.host.clone()).map_err(|_bad| TlsError::Host(self.host.clone()))?;
        let pinned = self.anchors.pinned(Held::new(by)?.roots)?;
        let now = rustls::time_provider::TimeProvider::current_time(self.anchors.clock.as_ref());
        pinned.verify_server_cert(leaf, rest, &name, &[], now.ok_or_else(|| anchors("there is no time"))?)?;
        Ok(())
    }

    /// What a server with this certificate said of the time counts where its certificate holds then.
    pub fn learn(&self, said: Timestamp, proven: &Certificate) {
        if (proven.not_before..=proven.not_after).contains(&said) {
            self.anchors.clock.learn(said);
        }
    }

    fn config(&self, alpn: &[u8], credential: Option<&Credential>) -> Result<ClientConfig, TlsError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let pinned = self.anchors.pinned(self.anchors.roots())?;
        let builder = ClientConfig::builder_with_details(provider, self.anchors.clock.clone())
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(pinned));
        let mut config = match credential {
            None => builder.with_no_client_auth(),
            Some(credential) => {
                let leaf = CertificateDer::from(credential.certificate.der.clone());
                let key = CertifiedKey::new(vec![leaf], Arc::new(TlsKey(Arc::clone(&credential.key))));
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(key)))
            }
        };
        config.alpn_protocols = vec![alpn.to_vec()];
        Ok(config)
    }
}

/// Whether TLS failed since the server does not want this device's certificate.
pub fn refuses_identity(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if matches!(error.downcast_ref(), Some(rustls::Error::AlertReceived(alert)) if is_about_certificate(*alert)) {
            return true;
        }
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        next = inner.map(|inner| inner as &(dyn std::error::Error + 'static)).or_else(|| error.source());
    }
    false
}

/// Which alert it is depends on the server.
fn is_about_certificate(alert: rustls::AlertDescription) -> bool {
    use rustls::AlertDescription as Alert;
    matches!(
        alert,
        Alert::BadCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            | Alert::AccessDenied
            | Alert::CertificateRequired
            | Alert::UnsupportedCertificate
    )
}

/// The device's key as TLS asks for it: ECDSA with P-256 and SHA-256, wherever the key is.
struct TlsKey(DeviceKey);

impl std::fmt::Debug for TlsKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TlsKey")
    }
}

impl SigningKey for TlsKey {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn rustls::sign::Signer>> {
        let mine = SignatureScheme::ECDSA_NISTP256_SHA256;
        offered.contains(&mine).then(|| Box::new(Self(Arc::clone(&self.0))) as Box<dyn rustls::sign::Signer>)
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ECDSA
    }
}

impl rustls::sign::Signer for TlsKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        self.0.sign(message).map_err(|error| rustls::Error::General(error.to_string()))
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ECDSA_NISTP256_SHA256
    }
}

/// The chain to the pinned authority, always. Where the machine's clock is known to be wrong and the certificate is not valid
/// yet by what the agent knows, the certificate's own beginning is the time: the authority signed that it has come.
#[derive(Debug)]
struct Pinned {
    chain: Arc<WebPkiServerVerifier>,
    clock: Arc<FloorClock>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verify = |at| self.chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, at);
        match verify(now) {
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
            )) if self.clock.is_behind() => {
                let leaf = Certificate::parse(end_entity).map_err(|_| CertificateError::BadEncoding)?;
                let began = u64::try_from(leaf.not_before.secs()).map_err(|_| CertificateError::BadEncoding)?;
                let verified = verify(UnixTime::since_unix_epoch(Duration::from_secs(began)))?;
                self.clock.learn(leaf.not_before);
                Ok(verified)
            }
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.chain.verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
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

    /// A server's certificate and its authority, valid for a year from `begins`.
    fn server(begins: Timestamp) -> (Vec<u8>, Vec<u8>) {
        use fleetward_base::SeededRng;
        use fleetward_pki::issue::Issuer;
        use fleetward_pki::key::{Signer as _, SoftKey};
        use fleetward_pki::{Serial, Validity, ca};
        let rng = SeededRng::new(u64::try_from(begins.secs()).expect("after 1970"));
        let year = Validity { not_before: begins, not_after: begins.plus(Duration::from_secs(365 * 86_400)) };
        let (key, _pkcs8) = SoftKey::generate();
        let root = ca::root("test", Serial::generate(&rng), year, &key).expect("a root");
        let authority = Certificate::parse(&root.der).expect("reads");
        let issuer = Issuer::new(&authority, &key).expect("an issuer");
        let (leaf_key, _pkcs8) = SoftKey::generate();
        let names = [fleetward_pki::ca::ServerName::Dns("localhost".into())];
        let leaf = ca::server(&issuer, &names, Serial::generate(&rng), year, leaf_key.public_spki()).expect("a leaf");
        (root.der, leaf.der)
    }

    /// What a device says whose machine has this time, of a server whose certificate begins then.
    fn check(machine: Timestamp, begins: Timestamp, pinned: bool) -> (Result<(), String>, Timestamp) {
        let machine = Arc::new(fleetward_base::ManualClock::at(machine));
        let clock = Arc::new(FloorClock::new(machine));
        let (root, leaf) = server(begins);
        let anchor = if pinned { root } else { server(begins.plus(Duration::from_secs(1))).0 };
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(anchor)).expect("an anchor");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let chain = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().expect("a verifier");
        let pinned = Pinned { chain, clock: Arc::clone(&clock) };
        let now = rustls::time_provider::TimeProvider::current_time(clock.as_ref()).expect("a time");
        let name = ServerName::try_from("localhost").expect("a name");
        let verified = pinned.verify_server_cert(&CertificateDer::from(leaf), &[], &name, &[], now);
        let now = fleetward_base::Clock::now(clock.as_ref());
        (verified.map(drop).map_err(|error| format!("{error:?}")), now)
    }

    #[test]
    fn a_clock_in_1970_gets_through_and_no_chain_is_skipped() {
        let year = Duration::from_secs(365 * 86_400);
        let today = Timestamp::from_secs(1_900_000_000);
        assert_eq!(check(today, today.minus(Duration::from_secs(60)), true).0, Ok(()));
        let (verified, learned) = check(Timestamp::EPOCH, today, true);
        assert_eq!((verified, learned), (Ok(()), today), "the authority signed that this moment has come");
        // Another authority's is refused, whatever the time.
        for machine in [Timestamp::EPOCH, today] {
            let (refused, _) = check(machine, today, false);
            assert!(refused.expect_err("not pinned").contains("InvalidCertificate"));
        }
        // One that is not valid yet by a clock that is right, and one that has ended by what the device knows.
        assert!(check(today, today.plus(year), true).0.expect_err("not yet").contains("NotValidYet"));
        assert!(check(today, today.minus(year * 2), true).0.expect_err("ended").contains("Expired"));
        let long_ago = Timestamp::from_secs(1_600_000_000);
        assert!(check(Timestamp::EPOCH, long_ago, true).0.expect_err("ended").contains("Expired"));
    }
}
