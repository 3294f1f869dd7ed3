//! TLS of the three doors.
//!
//! One verifier over a trust index that is swapped when tenants come and go: the issuer tells the tenant, the registry
//! decides the rest after the handshake, also when a session is resumed. No CA names are sent to clients, so that tenants
//! stay unknown to each other. TLS 1.2 stays on: enrolment clients in the field need it.

use std::sync::Arc;

use arc_swap::{ArcSwap, ArcSwapOption};
use fleetward_app::App;
use fleetward_app::authority::{self, ServerIdentity};
use fleetward_base::{Clock, limits};
use fleetward_pki::trust::{TrustError, TrustIndex};
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme};

/// ALPN names that mean MQTT on the devices' port; the first is what AWS device SDKs offer.
pub(crate) const ALPN_MQTT: [&[u8]; 2] = [b"x-amzn-mqtt-ca", b"mqtt"];
const ALPN_HTTP: [&[u8]; 3] = [b"h2", b"http/1.1", b"x-amzn-http-ca"];

/// Shows the certificate that the server has at the moment: under a new root it is another, and nobody restarts for it.
#[derive(Clone)]
pub(crate) struct Identity {
    app: App,
    held: Arc<ArcSwapOption<Held>>,
}

/// A certificate as it is shown, and what it was made of.
struct Held {
    identity: Arc<ServerIdentity>,
    key: Arc<CertifiedKey>,
}

impl Identity {
    /// # Errors
    /// Where there is no certificate yet, or its key is of a kind that the library does not know.
    pub(crate) fn new(app: App) -> anyhow::Result<Self> {
        let identity = Self { app, held: Arc::default() };
        identity.current()?;
        Ok(identity)
    }

    fn current(&self) -> anyhow::Result<Arc<CertifiedKey>> {
        let identity = authority::server_identity(&self.app)?;
        if let Some(held) = self.held.load().as_ref().filter(|held| Arc::ptr_eq(&held.identity, &identity)) {
            return Ok(Arc::clone(&held.key));
        }
        let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&identity.key)?;
        let key = Arc::new(CertifiedKey::new(identity.chain.clone(), key));
        self.held.store(Some(Arc::new(Held { identity, key: Arc::clone(&key) })));
        Ok(key)
    }

    /// The certificate that is shown, in DER; empty where there is none.
    pub(crate) fn leaf(&self) -> Vec<u8> {
        let shown = self.current().ok();
        shown.and_then(|key| key.end_entity_cert().map(|leaf| leaf.to_vec()).ok()).unwrap_or_default()
    }

    /// From now on `leaf` is shown with this OCSP answer on it (RFC 6066 §8): a device that wants to know whether its server's
    /// certificate still counts need not ask anybody else. A certificate that came meanwhile is shown without.
    pub(crate) fn staple(&self, leaf: &[u8], answer: Vec<u8>) {
        let Some(held) = self.held.load_full() else { return };
        if held.key.end_entity_cert().is_ok_and(|shown| shown.as_ref() == leaf) {
            let key = CertifiedKey { ocsp: Some(answer), ..CertifiedKey::clone(&held.key) };
            let identity = Arc::clone(&held.identity);
            self.held.store(Some(Arc::new(Held { identity, key: Arc::new(key) })));
        }
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity")
    }
}

impl ResolvesServerCert for Identity {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.current().ok()
    }
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
    identity: Arc<dyn ResolvesServerCert>,
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
    let mut config = builder.with_cert_resolver(identity);
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use fleetward_base::{ManualClock, SeededRng, TenantId, Timestamp};
    use fleetward_pki::issue::Issuer;
    use fleetward_pki::key::{Signer as _, SoftKey};
    use fleetward_pki::trust::{Authority, Kind};
    use fleetward_pki::{Certificate, Serial, Validity, ca, csr, leaf, name};
    use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer, ServerName};
    use rustls::sign::SingleCertAndKey;
    use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConnection};

    use super::*;

    const NOW: Timestamp = Timestamp::from_secs(1_900_000_000);
    const DAY: Duration = Duration::from_secs(24 * 3600);
    const ALWAYS: Validity =
        Validity { not_before: Timestamp::from_secs(1_500_000_000), not_after: Timestamp::from_secs(2_500_000_000) };

    fn root(number: u64) -> (SoftKey, Certificate) {
        let (key, _pkcs8) = SoftKey::generate();
        let made = ca::root("test", Serial::generate(&SeededRng::new(number)), ALWAYS, &key).expect("a root");
        (key, Certificate::parse(&made.der).expect("reads"))
    }

    /// Shakes hands as a device whose certificate holds so long; whether the server takes it, and has seen it.
    fn shake(known: bool, validity: Validity) -> Result<bool, rustls::Error> {
        let tenant: TenantId = "acme".parse().expect("a name");
        let (key, authority) = root(1);
        let (leaf_key, pkcs8) = SoftKey::generate();
        let request = csr::write(&name::write(None, "gw-1"), &[], &leaf_key).expect("signs");
        let request = csr::parse(&request).expect("reads");
        let (issuer, device) = (Issuer::new(&authority, &key).expect("an issuer"), "gw-1".parse().expect("a name"));
        let serial = Serial::generate(&SeededRng::new(2));
        let issued = leaf::issue(&issuer, &tenant, &device, &request, serial, validity).expect("a leaf");
        let certificate = if known { authority.der.clone() } else { root(3).1.der };
        let index = TrustIndex::new([Authority { tenant, kind: Kind::Issuing, certificate }]).expect("an index");
        let trust = Arc::new(ArcSwap::from_pointee(index));

        let (server_key, server_pkcs8) = SoftKey::generate();
        let names = ["localhost".parse().expect("a name")];
        let spki = server_key.public_spki();
        let own = ca::server(&issuer, &names, Serial::generate(&SeededRng::new(4)), ALWAYS, spki).expect("a leaf");
        let server_key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(server_pkcs8.expose().clone()));
        let server_key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&server_key).expect("a key");
        let shown = CertifiedKey::new(vec![CertificateDer::from(own.der)], server_key);
        let identity = Arc::new(SingleCertAndKey::from(shown));
        let clients = Clients::Devices(trust, Arc::new(ManualClock::at(NOW)));
        let config = server_config(identity, clients, &Protocols::Http).expect("a configuration");

        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(authority.der.clone())).expect("an anchor");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions()?;
        let device_key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(pkcs8.expose().clone()));
        let client = builder
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![CertificateDer::from(issued.der)], device_key)?;
        let host = ServerName::try_from("localhost").expect("a name");
        let mut device = ClientConnection::new(Arc::new(client), host)?;
        let mut server = ServerConnection::new(config)?;
        while device.is_handshaking() || server.is_handshaking() {
            let mut wire = Vec::new();
            device.write_tls(&mut wire).expect("memory");
            server.read_tls(&mut wire.as_slice()).expect("memory");
            server.process_new_packets()?;
            let mut wire = Vec::new();
            server.write_tls(&mut wire).expect("memory");
            device.read_tls(&mut wire.as_slice()).expect("memory");
            device.process_new_packets()?;
        }
        Ok(server.peer_certificates().is_some())
    }

    #[test]
    fn one_that_ended_is_known_in_the_handshake_for_a_year_and_decided_on_above() {
        let held = |not_before: Timestamp, not_after: Timestamp| shake(true, Validity { not_before, not_after });
        assert_eq!(held(NOW.minus(DAY), NOW.plus(DAY)), Ok(true));
        assert_eq!(held(NOW.minus(DAY * 90), NOW.minus(DAY)), Ok(true), "the door of enrolment decides");
        assert!(held(NOW.minus(DAY * 900), NOW.minus(DAY * 400)).is_err());
        assert_eq!(held(NOW.plus(DAY), NOW.plus(DAY * 90)), Ok(true), "it is this machine's clock that went back");
        let today = Validity { not_before: NOW.minus(DAY), not_after: NOW.plus(DAY) };
        assert!(shake(false, today).is_err(), "an authority that is not ours");
    }
}
