//! SCEP over real use cases: what a client asks and what it reads in the answer.

#![expect(clippy::indexing_slicing, reason = "a test that does not find what it looks for fails there")]

use std::sync::LazyLock;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fleetward_app::{authority, enroll, enrollment_requests, publication, reconcile, registry};
use fleetward_base::{SeededRng, limits};
use fleetward_core::approval::Decision;
use fleetward_pki::cms::enveloped::{Cipher, seal};
use fleetward_pki::cms::signed::Signed;
use fleetward_pki::cms::{self, Holder};
use fleetward_pki::rsa::{RsaKey, RsaSize};
use fleetward_pki::scep::client::{self, Answer, Client};
use fleetward_pki::scep::{FailInfo, MessageType};
use fleetward_pki::{Certificate, Serial, Validity, name};
use http::{Method, StatusCode};
use rustls_pki_types::CertificateDer;

use crate::fixture::House;

const PATH: &str = "/scep/acme?operation=PKIOperation";

/// Keys are dear to make: one for whoever asks first, one for whoever asks with another.
static KEYS: LazyLock<[RsaKey; 2]> = LazyLock::new(|| [0; 2].map(|_| RsaKey::generate(RsaSize::Bits2048).0));

struct Device {
    name: &'static str,
    key: &'static RsaKey,
    certificate: Certificate,
}

impl Device {
    fn new(house: &House, name: &'static str) -> Self {
        Self::with(house, name, &KEYS[0])
    }

    fn with(house: &House, name: &'static str, key: &'static RsaKey) -> Self {
        let now = house.app.now();
        let validity = Validity { not_before: now, not_after: now.plus(Duration::from_secs(86_400)) };
        let serial = Serial::generate(house.app.rng().as_ref());
        let der = client::self_signed(&name::write(None, name), serial, validity, key).expect("signs");
        Self { name, key, certificate: Certificate::parse(&der).expect("its own") }
    }

    /// The same device with the certificate that it got.
    fn holding(&self, der: &[u8]) -> Self {
        Self { certificate: Certificate::parse(der).expect("a certificate"), ..*self }
    }

    fn client(&self) -> Client<'_> {
        Client { certificate: &self.certificate, key: self.key }
    }

    fn request(&self, challenge: Option<&str>) -> Vec<u8> {
        client::request(&name::write(None, self.name), challenge, self.key).expect("signs")
    }
}

struct Service<'a> {
    house: &'a House,
    authority: Certificate,
    issuing: Certificate,
}

impl<'a> Service<'a> {
    async fn new(house: &'a House) -> Self {
        house.offer_scep("acme").await;
        let (status, kind, body) =
            house.bytes(Method::GET, "/scep/acme?operation=GetCACert&message=0", Vec::new()).await;
        assert_eq!((status, kind.as_str()), (StatusCode::OK, "application/x-x509-ca-ra-cert"));
        let list = cms::certificates(&body).expect("certs-only");
        let [authority, issuing, root] = list.as_slice() else { panic!("{} certificates", list.len()) };
        let read = |der: &[u8]| Certificate::parse(der).expect("a certificate");
        let (authority, issuing, root) = (read(authority), read(issuing), read(root));
        assert_eq!((&authority.issuer, &issuing.issuer), (&issuing.subject, &root.subject));
        assert!(!authority.is_authority && authority.identity().is_none(), "it vouches for nobody and is no device");
        Self { house, authority, issuing }
    }

    fn message(&self, device: &Device, kind: MessageType, transaction: &str, data: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let rng = SeededRng::new(41);
        device.client().ask(&rng, self.house.app.now(), &self.authority, kind, transaction, data).expect("a message")
    }

    async fn send(&self, device: &Device, bytes: Vec<u8>) -> Answer {
        let (status, kind, body) = self.house.bytes(Method::POST, PATH, bytes).await;
        assert_eq!((status, kind.as_str()), (StatusCode::OK, "application/x-pki-message"));
        device.client().read(&body, &self.authority).expect("an answer of the registration authority")
    }

    async fn ask(&self, device: &Device, kind: MessageType, transaction: &str, data: &[u8]) -> Answer {
        let (bytes, nonce) = self.message(device, kind, transaction, data);
        let answer = self.send(device, bytes).await;
        assert_eq!((&answer.recipient_nonce, answer.transaction_id.as_str()), (&nonce, transaction));
        answer
    }

    async fn enrol(&self, device: &Device, transaction: &str) -> Vec<u8> {
        let challenge = self.house.challenge("acme", device.name).await;
        issued(self.ask(device, MessageType::PkcsReq, transaction, &device.request(Some(&challenge))).await)
    }
}

fn issued(answer: Answer) -> Vec<u8> {
    assert_eq!(answer.status, "0", "{:?} {:?}", answer.fail_info, answer.text);
    match <[Vec<u8>; 1]>::try_from(answer.certificates) {
        Ok([der]) => der,
        Err(list) => panic!("{} certificates", list.len()),
    }
}

fn failed(answer: &Answer, info: FailInfo) -> &str {
    assert_eq!((answer.status.as_str(), answer.fail_info), ("2", Some(info)), "{:?}", answer.text);
    assert!(answer.content.is_none());
    answer.text.as_deref().expect("a text")
}

fn identity(der: &[u8]) -> String {
    Certificate::parse(der).expect("a certificate").identity().expect("an identity").to_string()
}

#[tokio::test]
async fn there_is_nothing_where_the_policy_does_not_offer_it() {
    let house = House::new().await;
    house.offer_scep("zenith").await;
    for (method, operation) in [
        (Method::GET, "GetCACaps"),
        (Method::GET, "GetCACert"),
        (Method::GET, "GetNextCACert"),
        (Method::GET, "PKIOperation&message=MAA="),
        (Method::POST, "PKIOperation"),
    ] {
        for path in ["/scep/acme", "/scep/nobody", "/scep/ACME", "/cgi-bin/pkiclient.exe"] {
            let path = format!("{path}?operation={operation}");
            let (status, kind, _) = house.bytes(method.clone(), &path, Vec::new()).await;
            assert_eq!((status, kind.as_str()), (StatusCode::NOT_FOUND, "text/plain; charset=utf-8"), "{path}");
        }
    }
}

#[tokio::test]
async fn capabilities_are_those_that_strongswan_reads() {
    let house = House::new().await;
    house.offer_scep("acme").await;
    let expected = "AES\nSHA-256\nSHA-384\nSHA-512\nSHA-224\nPOSTPKIOperation\nSCEPStandard\nGetNextCACert\nRenewal";
    for path in ["/scep/acme", "/scep/acme/pkiclient.exe", "/scep/acme/a/b"] {
        let path = format!("{path}?operation=GetCACaps&message=0");
        let (status, kind, body) = house.bytes(Method::GET, &path, Vec::new()).await;
        assert_eq!((status, kind.as_str(), body.as_slice()), (StatusCode::OK, "text/plain", expected.as_bytes()));
    }
    // There is no next authority as long as none is prepared.
    let (status, ..) = house.bytes(Method::GET, "/scep/acme?operation=GetNextCACert", Vec::new()).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_challenge_enrols_once_and_the_certificate_renews() {
    let house = House::new().await;
    let service = Service::new(&house).await;
    let device = Device::new(&house, "gw-1");
    let challenge = house.challenge("acme", "gw-1").await;
    let request = device.request(Some(&challenge));
    let first = issued(service.ask(&device, MessageType::PkcsReq, "T1", &request).await);
    assert_eq!(identity(&first), "urn:fleetward:acme:gw-1");
    assert_eq!(Certificate::parse(&first).expect("a certificate").issuer, service.issuing.subject);
    // The same once more, by a client that lost the answer, and under another name too.
    for transaction in ["T1", "T2"] {
        assert_eq!(issued(service.ask(&device, MessageType::PkcsReq, transaction, &request).await), first);
    }
    // The challenge is used up for any other key.
    let other = Device::with(&house, "gw-1", &KEYS[1]);
    let answer = service.ask(&other, MessageType::PkcsReq, "T3", &other.request(Some(&challenge))).await;
    assert_eq!(failed(&answer, FailInfo::BadRequest), "the enrolment token was used before");

    let holder = device.holding(&first);
    let renewed = issued(service.ask(&holder, MessageType::RenewalReq, "T4", &other.request(None)).await);
    assert_eq!(identity(&renewed), "urn:fleetward:acme:gw-1");
    assert_ne!(renewed, first);
    // An older client calls that a PKCSReq; the same request gets the same certificate.
    assert_eq!(issued(service.ask(&holder, MessageType::PkcsReq, "T5", &other.request(None)).await), renewed);
    // Once the new one was seen in use, the old one renews no more.
    let attempt = enroll::Attempt { address: [192, 0, 2, 1].into(), request_id: house.app.new_request_id() };
    enroll::admit_device(&house.app, &attempt, &CertificateDer::from(renewed.as_slice())).await.expect("admitted");
    let answer = service.ask(&holder, MessageType::RenewalReq, "T6", &other.request(None)).await;
    assert_eq!(failed(&answer, FailInfo::BadRequest), "the certificate was superseded by another");
}

#[tokio::test]
async fn messages_come_by_get_as_well() {
    let house = House::new().await;
    let service = Service::new(&house).await;
    let device = Device::new(&house, "gw-1");
    let challenge = house.challenge("acme", "gw-1").await;
    let (bytes, _) = service.message(&device, MessageType::PkcsReq, "T1", &device.request(Some(&challenge)));
    let escaped = STANDARD.encode(&bytes).replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    let (status, kind, body) = house.bytes(Method::GET, &format!("{PATH}&message={escaped}"), Vec::new()).await;
    assert_eq!((status, kind.as_str()), (StatusCode::OK, "application/x-pki-message"));
    let answer = device.client().read(&body, &service.authority).expect("an answer");
    assert_eq!(identity(&issued(answer)), "urn:fleetward:acme:gw-1");
    let long = "A".repeat(limits::SCEP_QUERY_BYTES);
    let (status, ..) = house.bytes(Method::GET, &format!("{PATH}&message={long}"), Vec::new()).await;
    assert_eq!(status, StatusCode::URI_TOO_LONG);
}

/// A challenge is good for its own device, tenant, key and kind of door.
#[tokio::test]
async fn a_challenge_is_bound_to_its_subject() {
    let house = House::new().await;
    let service = Service::new(&house).await;
    house.offer_scep("zenith").await;
    let (device, other) = (Device::new(&house, "gw-1"), Device::with(&house, "gw-2", &KEYS[1]));
    let challenge = house.challenge("acme", "gw-1").await;
    let answer = service.ask(&other, MessageType::PkcsReq, "T1", &other.request(Some(&challenge))).await;
    assert_eq!(failed(&answer, FailInfo::BadRequest), "the subject must have one common name, that of the device");
    for wrong in [
        None,
        Some(String::new()),
        Some("fwc_wrong".to_owned()),
        Some(house.challenge("zenith", "gw-1").await),
        Some(format!("fwc_{}", "A".repeat(43))),
    ] {
        let answer = service.ask(&device, MessageType::PkcsReq, "T2", &device.request(wrong.as_deref())).await;
        failed(&answer, FailInfo::BadRequest);
        assert!(answer.text.is_some_and(|text| !text.contains("fwc_")), "a secret is not repeated");
    }
    // A token for EST is none, and a challenge is none there.
    let basic = house.basic("acme", "gw-1").await;
    let pair = String::from_utf8(STANDARD.decode(basic.trim_start_matches("Basic ")).expect("base64")).expect("text");
    let token = pair.trim_start_matches("gw-1:");
    failed(&service.ask(&device, MessageType::PkcsReq, "T3", &device.request(Some(token))).await, FailInfo::BadRequest);
    let basic = format!("Basic {}", STANDARD.encode(format!("gw-1:{challenge}")));
    let body = STANDARD.encode(device.request(None));
    let answer = house.enroll("/.well-known/est/acme/simpleenroll", &basic, &body).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
    // Somebody who read the challenge and puts it into a message that is signed with a key of their own gets nothing.
    let thief = Device::with(&house, "gw-1", &KEYS[1]);
    let answer = service.ask(&thief, MessageType::PkcsReq, "T4", &device.request(Some(&challenge))).await;
    failed(&answer, FailInfo::BadRequest);
    // After all that it still counts.
    issued(service.ask(&device, MessageType::PkcsReq, "T5", &device.request(Some(&challenge))).await);
}

#[tokio::test]
async fn a_challenge_ends() {
    let house = House::new().await;
    let service = Service::new(&house).await;
    let device = Device::new(&house, "gw-1");
    let challenge = house.challenge("acme", "gw-1").await;
    house.clock.advance(Duration::from_secs(25 * 3600));
    let answer = service.ask(&device, MessageType::PkcsReq, "T1", &device.request(Some(&challenge))).await;
    assert_eq!(failed(&answer, FailInfo::BadRequest), "the enrolment token has expired");
    let challenge = house.challenge("acme", "gw-1").await;
    let stranger = Device::with(&house, "gw-2", &KEYS[1]);
    for attempt in 0..limits::ENROLL_PER_TOKEN_ATTEMPTS {
        // One address may not be refused that often at once.
        house.clock.advance(Duration::from_secs(1));
        let transaction = format!("S{attempt}");
        let answer =
            service.ask(&stranger, MessageType::PkcsReq, &transaction, &stranger.request(Some(&challenge))).await;
        failed(&answer, FailInfo::BadRequest);
    }
    let answer = service.ask(&device, MessageType::PkcsReq, "T2", &device.request(Some(&challenge))).await;
    assert_eq!(failed(&answer, FailInfo::BadRequest), "the enrolment token was tried too often; make another");
}

/// What was recorded on the wire and is sent again does nothing that was not done before.
#[tokio::test]
async fn replays_give_nothing_new() {
    let house = House::new().await;
    let service = Service::new(&house).await;
    house.offer_scep("zenith").await;
    let (device, other) = (Device::new(&house, "gw-1"), Device::with(&house, "gw-2", &KEYS[1]));
    let challenge = house.challenge("acme", "gw-1").await;
    let (bytes, nonce) = service.message(&device, MessageType::PkcsReq, "T1", &device.request(Some(&challenge)));
    let first = service.send(&device, bytes.clone()).await;
    let again = service.send(&device, bytes.clone()).await;
    assert_eq!((&first.recipient_nonce, &again.recipient_nonce), (&nonce, &nonce));
    assert_eq!(issued(first), issued(again), "the same nonce, the same transaction, the same certificate");
    // The transaction stands for that request alone, whoever else has a good challenge.
    let good = house.challenge("acme", "gw-2").await;
    let answer = service.ask(&other, MessageType::PkcsReq, "T1", &other.request(Some(&good))).await;
    assert_eq!(failed(&answer, FailInfo::BadRequest), "the transaction is about another request");
    issued(service.ask(&other, MessageType::PkcsReq, "T9", &other.request(Some(&good))).await);
    // At another tenant it is noise, since that one has another key.
    let (status, _, body) = house.bytes(Method::POST, "/scep/zenith?operation=PKIOperation", bytes.clone()).await;
    assert_eq!(status, StatusCode::OK);
    assert!(device.client().read(&body, &service.authority).is_none(), "answered by another authority");
    let list = house.bytes(Method::GET, "/scep/zenith?operation=GetCACert", Vec::new()).await.2;
    let zenith = Certificate::parse(&cms::certificates(&list).expect("certs-only")[0]).expect("a certificate");
    failed(&device.client().read(&body, &zenith).expect("an answer"), FailInfo::BadMessageCheck);
    // After the device was taken out, what it once sent brings it nothing.
    let (tenant, id) = ("acme".parse().expect("a name"), "gw-1".parse().expect("a name"));
    registry::revoke_device(&house.app, &house.system, &tenant, &id, "stolen").await.expect("revoked");
    failed(&service.send(&device, bytes).await, FailInfo::BadRequest);
}

#[tokio::test]
async fn what_does_not_open_is_one_answer() {
    let house = House::new().await;
    let service = Service::new(&house).await;
    let device = Device::new(&house, "gw-1");
    let challenge = house.challenge("acme", "gw-1").await;
    let rng = SeededRng::new(6);
    let recipient = Holder::of(&service.authority).expect("a holder");
    let good = seal(&rng, &recipient, Cipher::Aes128Cbc, &device.request(Some(&challenge))).expect("seals");
    let wrapped = good.windows(4).position(|at| at == [0x04, 0x82, 0x01, 0x80]).expect("384 bytes are wrapped") + 4;
    let mut texts = Vec::new();
    let mut altered: Vec<Vec<u8>> = [wrapped, wrapped + 200, good.len() - 1, good.len() - 20, good.len() - 300]
        .map(|at| {
            let mut copy = good.clone();
            copy[at] ^= 1;
            copy
        })
        .into();
    altered.push(seal(&rng, &recipient, Cipher::Aes256Cbc, b"no request at all").expect("seals"));
    altered
        .push(seal(&rng, &Holder::of(&device.certificate).expect("a holder"), Cipher::Aes128Cbc, b"x").expect("seals"));
    for (number, envelope) in altered.iter().enumerate() {
        let transaction = format!("T{number}");
        let now = house.app.now();
        let (bytes, _) = device.client().ask_with(&rng, now, "19", &transaction, envelope).expect("a message");
        texts.push(failed(&service.send(&device, bytes).await, FailInfo::BadMessageCheck).to_owned());
    }
    texts.dedup();
    assert_eq!(texts.len(), 1, "{texts:?}");
    // An unknown type, and an answer, are no questions.
    for kind in ["3", "18", "99"] {
        let (bytes, _) = device.client().ask_with(&rng, house.app.now(), kind, "T", &good).expect("a message");
        failed(&service.send(&device, bytes).await, FailInfo::BadRequest);
    }
    // Bytes that are no message have no answer that could be signed.
    for bytes in [&b""[..], b"hello", &[0x30, 0x80], &good] {
        let (status, ..) = house.bytes(Method::POST, PATH, bytes.to_vec()).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
    }
    let (status, ..) = house.bytes(Method::POST, PATH, vec![0; limits::SCEP_MESSAGE_BYTES + 1]).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn asking_the_oracle_too_often_is_stopped() {
    let house = House::new().await;
    let service = Service::new(&house).await;
    let device = Device::new(&house, "gw-1");
    let (bytes, _) = service.message(&device, MessageType::PkcsReq, "T", b"no request");
    for _ in 0..limits::ENROLL_PER_ADDRESS_BURST {
        failed(&service.send(&device, bytes.clone()).await, FailInfo::BadMessageCheck);
    }
    let (status, ..) = house.bytes(Method::POST, PATH, bytes).await;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn polls_and_look_ups_are_for_the_key_that_asked() {
    let house = House::new().await;
    let service = Service::new(&house).await;
    let (device, other) = (Device::new(&house, "gw-1"), Device::with(&house, "gw-2", &KEYS[1]));
    let leaf = service.enrol(&device, "T1").await;
    let poll = client::poll_data(&service.issuing.subject, &name::write(None, "gw-1"));
    assert_eq!(issued(service.ask(&device, MessageType::CertPoll, "T1", &poll).await), leaf);
    for (who, transaction) in [(&other, "T1"), (&device, "T2")] {
        failed(&service.ask(who, MessageType::CertPoll, transaction, &poll).await, FailInfo::BadCertId);
    }
    let certificate = Certificate::parse(&leaf).expect("a certificate");
    let own = client::certificate_data(&certificate);
    assert_eq!(issued(service.ask(&device, MessageType::GetCert, "G1", &own).await), leaf);
    // By another certificate of the same device; not by another device, nor for a certificate that is none of ours.
    let renewed = issued(
        service
            .ask(
                &device.holding(&leaf),
                MessageType::RenewalReq,
                "T3",
                &Device::with(&house, "gw-1", &KEYS[1]).request(None),
            )
            .await,
    );
    let successor = Device::with(&house, "gw-1", &KEYS[1]).holding(&renewed);
    assert_eq!(issued(service.ask(&successor, MessageType::GetCert, "G2", &own).await), leaf);
    failed(&service.ask(&other, MessageType::GetCert, "G3", &own).await, FailInfo::BadCertId);
    let foreign = client::certificate_data(&device.certificate);
    failed(&service.ask(&device, MessageType::GetCert, "G4", &foreign).await, FailInfo::BadCertId);
}

fn listed(answer: &Answer) -> &[u8] {
    assert_eq!(answer.status, "0", "{:?} {:?}", answer.fail_info, answer.text);
    assert!(answer.certificates.is_empty());
    answer.content.as_ref().expect("a list").expose()
}

fn has(der: &[u8], part: &[u8]) -> bool {
    der.windows(part.len()).any(|window| window == part)
}

/// GetCRL (RFC 8894 §3.3.4): a degenerate message with the list of whoever issued the certificate.
#[tokio::test]
async fn the_list_of_the_issuer_is_for_anybody() {
    let house = House::new().await;
    let service = Service::new(&house).await;
    let (device, other) = (Device::new(&house, "gw-1"), Device::with(&house, "gw-2", &KEYS[1]));
    let leaf = service.enrol(&device, "T1").await;
    let certificate = Certificate::parse(&leaf).expect("a certificate");
    let own = client::certificate_data(&certificate);
    // Before the first list is signed there is none, and that is not the client's fault.
    let (bytes, _) = service.message(&device, MessageType::GetCrl, "L0", &own);
    let (status, ..) = house.bytes(Method::POST, PATH, bytes).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(reconcile::crls::tick(&house.app).await.expect("lists").failed, 0);
    let tenant = "acme".parse().expect("a name");
    let list = |name: Vec<u8>| {
        let app = house.app.clone();
        async move {
            let mark: String = name.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
            publication::list(&app, &mark, None).await.expect("a list").der
        }
    };
    let sha256 = |der: &[u8]| aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, der).as_ref().to_vec();
    let before = list(sha256(&service.issuing.der)).await;
    let answer = service.ask(&device, MessageType::GetCrl, "L1", &own).await;
    assert_eq!(listed(&answer), cms::crl_only(&before));
    let serial = Serial::to_string(&certificate.serial);
    let serial: Vec<u8> =
        (0..serial.len()).step_by(2).map(|at| u8::from_str_radix(&serial[at..at + 2], 16).expect("hex")).collect();
    assert!(!has(&before, &serial));
    registry::revoke_device(&house.app, &house.system, &tenant, &"gw-1".parse().expect("a name"), "stolen")
        .await
        .expect("revoked");
    reconcile::crls::tick(&house.app).await.expect("lists");
    // Anybody may ask, and a certificate that nobody issued reads as one that did.
    let answer = service.ask(&other, MessageType::GetCrl, "L2", &own).await;
    assert!(has(listed(&answer), &serial));
    // What stands above: the list of the root.
    let above = client::certificate_data(&service.issuing);
    let answer = service.ask(&device, MessageType::GetCrl, "L3", &above).await;
    assert!(!has(listed(&answer), &serial) && has(listed(&answer), &service.issuing.issuer));
    // Neither a stranger's authority, nor that of another tenant.
    let foreign = client::certificate_data(&device.certificate);
    failed(&service.ask(&device, MessageType::GetCrl, "L4", &foreign).await, FailInfo::BadCertId);
    let beta = authority::authority_chain(&house.app, Some(&"zenith".parse().expect("a name"))).await.expect("a chain");
    let beta = Certificate::parse(&beta[0]).expect("a certificate");
    let now = house.app.now();
    let made = client::self_signed(
        &beta.subject,
        certificate.serial,
        Validity { not_before: now, not_after: now },
        device.key,
    );
    let theirs = client::certificate_data(&Certificate::parse(&made.expect("signs")).expect("a certificate"));
    failed(&service.ask(&device, MessageType::GetCrl, "L5", &theirs).await, FailInfo::BadCertId);
    // What is no IssuerAndSerialNumber does not open to anything readable.
    for data in [&b""[..], &own[..own.len() - 1], &[0x30, 0x00]] {
        failed(&service.ask(&device, MessageType::GetCrl, "L6", data).await, FailInfo::BadMessageCheck);
    }
}

#[tokio::test]
async fn only_a_certificate_that_counts_renews() {
    let house = House::new().await;
    let service = Service::new(&house).await;
    let device = Device::new(&house, "gw-1");
    // A certificate that the client made itself, and one of another tenant.
    let answer = service.ask(&device, MessageType::RenewalReq, "T1", &device.request(None)).await;
    assert_eq!(failed(&answer, FailInfo::BadRequest), "the certificate is not accepted");
    let holder = device.holding(&service.enrol(&device, "T2").await);
    let mut elsewhere = holder.holding(&holder.certificate.der);
    elsewhere.name = "gw-2";
    failed(
        &service.ask(&elsewhere, MessageType::RenewalReq, "T3", &elsewhere.request(None)).await,
        FailInfo::BadRequest,
    );
    let (tenant, id) = ("acme".parse().expect("a name"), "gw-1".parse().expect("a name"));
    registry::revoke_device(&house.app, &house.system, &tenant, &id, "stolen").await.expect("revoked");
    let answer = service.ask(&holder, MessageType::RenewalReq, "T4", &holder.request(None)).await;
    assert_eq!(failed(&answer, FailInfo::BadRequest), "the certificate was revoked");
}

/// Where policy has a person look at it first, the client waits and polls.
#[tokio::test]
async fn a_device_waits_for_a_person() {
    let house = House::new().await;
    let service = Service::new(&house).await;
    house.policy("acme", serde_json::json!({ "enrolment": { "approval": ["challenge"] } })).await;
    let (device, other) = (Device::new(&house, "gw-1"), Device::with(&house, "gw-2", &KEYS[1]));
    let challenge = house.challenge("acme", "gw-1").await;
    let request = device.request(Some(&challenge));
    let poll = client::poll_data(&service.issuing.subject, &name::write(None, "gw-1"));
    for _ in 0..2 {
        let answer = service.ask(&device, MessageType::PkcsReq, "T1", &request).await;
        assert_eq!((answer.status.as_str(), answer.content.is_none()), ("3", true), "{:?}", answer.text);
        assert_eq!(service.ask(&device, MessageType::CertPoll, "T1", &poll).await.status, "3");
    }
    // The transaction is the device's: nobody else polls it, nor under another subject.
    failed(&service.ask(&other, MessageType::CertPoll, "T1", &poll).await, FailInfo::BadCertId);
    let foreign = client::poll_data(&service.issuing.subject, &name::write(None, "gw-2"));
    failed(&service.ask(&device, MessageType::CertPoll, "T1", &foreign).await, FailInfo::BadCertId);
    let good = house.challenge("acme", "gw-2").await;
    let answer = service.ask(&other, MessageType::PkcsReq, "T1", &other.request(Some(&good))).await;
    failed(&answer, FailInfo::BadRequest);

    let tenant = "acme".parse().expect("a name");
    let waiting = enrollment_requests::enrollment_requests(&house.app, &house.system, &tenant, None, None, 10).await;
    let waiting = waiting.expect("the inbox");
    let [entry] = waiting.as_slice() else { panic!("{} wait", waiting.len()) };
    let (app, system) = (&house.app, &house.system);
    let decided =
        enrollment_requests::decide_enrollment(app, system, &tenant, &entry.id, Decision::Approve, None).await;
    decided.expect("decided");
    let leaf = issued(service.ask(&device, MessageType::CertPoll, "T1", &poll).await);
    assert_eq!(identity(&leaf), "urn:fleetward:acme:gw-1");
    assert_eq!(issued(service.ask(&device, MessageType::CertPoll, "T1", &poll).await), leaf, "the answer was lost");
    assert_eq!(issued(service.ask(&device, MessageType::PkcsReq, "T1", &request).await), leaf);
}

/// Each route, as a device of another tenant with its certificate and challenge, and as somebody with neither.
#[tokio::test]
async fn another_tenant_and_nobody_get_nothing() {
    let house = House::new().await;
    let service = Service::new(&house).await;
    let nobody = Device::new(&house, "gw-1");
    let stranger = house.challenge("zenith", "gw-1").await;
    for path in ["/scep/acme", "/scep/acme/profile"] {
        for (kind, challenge) in
            [(MessageType::PkcsReq, None), (MessageType::PkcsReq, Some(&stranger)), (MessageType::RenewalReq, None)]
        {
            let data = nobody.request(challenge.map(String::as_str));
            let (bytes, _) = service.message(&nobody, kind, "T1", &data);
            let path = format!("{path}?operation=PKIOperation");
            let (status, _, body) = house.bytes(Method::POST, &path, bytes).await;
            assert_eq!(status, StatusCode::OK);
            failed(&nobody.client().read(&body, &service.authority).expect("an answer"), FailInfo::BadRequest);
        }
    }
    // Without a default tenant that path is nobody's.
    for path in ["/cgi-bin/pkiclient.exe", "/cgi-bin/pkiclient.exe/x"] {
        let (status, ..) = house.bytes(Method::GET, &format!("{path}?operation=GetCACert"), Vec::new()).await;
        assert_eq!(status, StatusCode::NOT_FOUND);
    }
    // A certificate of zenith renews at zenith, and not at acme.
    house.offer_scep("zenith").await;
    let list = house.bytes(Method::GET, "/scep/zenith?operation=GetCACert", Vec::new()).await.2;
    let zenith = Certificate::parse(&cms::certificates(&list).expect("certs-only")[0]).expect("a certificate");
    let (rng, now) = (SeededRng::new(8), house.app.now());
    let data = nobody.request(Some(&stranger));
    let (bytes, _) = nobody.client().ask(&rng, now, &zenith, MessageType::PkcsReq, "T1", &data).expect("a message");
    let body = house.bytes(Method::POST, "/scep/zenith?operation=PKIOperation", bytes).await.2;
    let holder = nobody.holding(&issued(nobody.client().read(&body, &zenith).expect("an answer")));
    assert_eq!(identity(&holder.certificate.der), "urn:fleetward:zenith:gw-1");
    let (bytes, _) = service.message(&holder, MessageType::RenewalReq, "T2", &holder.request(None));
    let answer = service.send(&holder, bytes).await;
    assert_eq!(failed(&answer, FailInfo::BadRequest), "the certificate is of another tenant");
    let own = client::certificate_data(&holder.certificate);
    failed(&service.ask(&holder, MessageType::GetCert, "T3", &own).await, FailInfo::BadCertId);
}

/// A client that trusts the authority in use learns of the next one by its signature.
#[tokio::test]
async fn the_next_authority_is_vouched_for_by_the_one_in_use() {
    let house = House::new().await;
    let service = Service::new(&house).await;
    house.clock.advance(Duration::from_secs(60));
    let tenant = "acme".parse().expect("a name");
    let system = house.app.system("test");
    fleetward_app::ca_rotations::start_rotation(&house.app, &system, Some(&tenant), None, None).await.expect("started");
    let next = authority::next_issuing(&house.app, &tenant).await.expect("asked").expect("there is one");
    let (status, kind, body) = house.bytes(Method::GET, "/scep/acme?operation=GetNextCACert", Vec::new()).await;
    assert_eq!((status, kind.as_str()), (StatusCode::OK, "application/x-x509-next-ca-cert"));
    let signed = Signed::read(&body).expect("SignedData");
    assert_eq!((signed.check(), &signed.signer.spki), (Ok(()), &service.issuing.spki));
    assert_eq!(cms::certificates(&signed.content).expect("certs-only"), [next.der]);
}

/// The registration authority is renewed in time, and its predecessor still opens what clients send it.
#[tokio::test]
async fn the_registration_authority_is_renewed_before_it_ends() {
    let house = House::new().await;
    let service = Service::new(&house).await;
    let life = service.authority.not_after.since(service.authority.not_before);
    house.clock.advance(life * 3 / 4);
    let after = Service::new(&house).await;
    assert_ne!(after.authority.spki, service.authority.spki);
    assert!(after.authority.not_after > service.authority.not_after);
    let device = Device::new(&house, "gw-1");
    service.enrol(&device, "T1").await;
    let other = Device::with(&house, "gw-2", &KEYS[1]);
    after.enrol(&other, "T2").await;
}
