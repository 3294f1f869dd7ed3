//! TLS of the three doors.
//!
//! One verifier over a trust index that is swapped when tenants come and go: the issuer tells the tenant, the registry
//! decides the rest after the handshake, also when a session is resumed. No CA names are sent to clients, so that tenants
//! stay unknown to each other. TLS 1.2 stays on: enrolment clients in the field need it.

use std::sync::Arc;

use arc_swap::ArcSwap;
use fleetward_base::{Clock, limits};
use fleetward_pki::trust::{TrustError, TrustIndex};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme};

/// ALPN names that mean MQTT on the devices' port; the first is what AWS device SDKs offer.
pub(crate) const ALPN_MQTT: [&[u8]; 2] = [b"x-amzn-mqtt-ca", b"mqtt"];
const ALPN_HTTP: [&[u8]; 3] = [b"h2", b"http/1.1", b"x-amzn-http-ca"];

/// A server certificate with its chain and key.
pub(crate) struct ServerIdentity {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
}

/// Which clients a door takes.
#[derive(Clone)]
pub(crate) enum Clients {
    /// Anyone; who they are is settled above TLS.
    Anyone,
    /// A device certificate is verified where one is shown; enrolment begins without one.
    Devices(Arc<ArcSwap<TrustIndex>>, Arc<dyn Clock>),
}

/// What a listener offers.
pub(crate) enum Protocols {
    Http,
    HttpAndMqtt,
    /// Whatever the client offers, or nothing (RFC 7301 does not make a client ask).
    Mqtt,
}

pub(crate) fn server_config(
    identity: &ServerIdentity,
    clients: Clients,
    protocols: &Protocols,
) -> anyhow::Result<Arc<ServerConfig>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
    let builder = match clients {
        Clients::Anyone => builder.with_no_client_auth(),
        Clients::Devices(trust, clock) => {
            builder.with_client_cert_verifier(Arc::new(DeviceVerifier { trust, clock, provider }))
        }
    };
    let mut config = builder.with_single_cert(identity.chain.clone(), identity.key.clone_key())?;
    // Tickets keep sessions at the client: a hundred thousand devices cost no memory here.
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new()?;
    config.send_tls13_tickets = 1;
    config.max_early_data_size = 0;
    config.alpn_protocols = match protocols {
        Protocols::Http => owned(&ALPN_HTTP[..2]),
        Protocols::HttpAndMqtt => owned(&ALPN_MQTT).into_iter().chain(owned(&ALPN_HTTP)).collect(),
        Protocols::Mqtt => Vec::new(),
    };
    Ok(Arc::new(config))
}

fn owned(names: &[&[u8]]) -> Vec<Vec<u8>> {
    names.iter().map(|name| name.to_vec()).collect()
}

/// Takes a client certificate when some tenant's authority vouches for it.
struct DeviceVerifier {
    trust: Arc<ArcSwap<TrustIndex>>,
    clock: Arc<dyn Clock>,
    provider: Arc<CryptoProvider>,
}

impl std::fmt::Debug for DeviceVerifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DeviceVerifier")
    }
}

impl ClientCertVerifier for DeviceVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        // Only who is there is settled here. A certificate that ended lately is let through, so that the door of enrolment
        // can renew it where the tenant allows that; every other door refuses it by its time.
        let known = self.trust.load();
        match known.identify(end_entity, intermediates, self.clock.now(), limits::EXPIRED_ACCEPTED) {
            Ok(_) => Ok(ClientCertVerified::assertion()),
            Err(error) => {
                ::metrics::counter!("fleetward_tls_client_certificates_refused_total", "cause" => error.code())
                    .increment(1);
                tracing::debug!(cause = error.code(), "client certificate refused");
                Err(rustls::Error::InvalidCertificate(alert(&error)))
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

/// The alert that tells the client what is wrong with its certificate, and nothing about whose authorities there are.
fn alert(error: &TrustError) -> CertificateError {
    match error {
        TrustError::UnknownIssuer => CertificateError::UnknownIssuer,
        TrustError::Expired => CertificateError::Expired,
        TrustError::NotYetValid => CertificateError::NotValidYet,
        TrustError::BadSignature => CertificateError::BadSignature,
        _ => CertificateError::BadEncoding,
    }
}
