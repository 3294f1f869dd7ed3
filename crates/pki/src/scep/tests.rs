use std::sync::LazyLock;
use std::time::Duration;

use fleetward_base::{SeededRng, Timestamp};

use super::client::{self, Client};
use super::*;
use crate::certificate::Certificate;
use crate::cms::enveloped::seal;
use crate::issue::Validity;
use crate::key::{Signer, SoftKey};
use crate::name;
use crate::rsa::RsaSize;

const NOW: Timestamp = Timestamp::from_secs(1_795_171_980);

struct Party {
    certificate: Certificate,
    key: RsaKey,
}

impl Party {
    fn new(common_name: &str) -> Self {
        let key = RsaKey::generate(RsaSize::Bits2048).0;
        let certificate = Certificate::parse(&own(&key, common_name)).expect("reads");
        Self { certificate, key }
    }

    fn client(&self) -> Client<'_> {
        Client { certificate: &self.certificate, key: &self.key }
    }

    fn holder(&self) -> Holder {
        Holder::of(&self.certificate).expect("reads")
    }
}

fn own(key: &dyn Signer, common_name: &str) -> Vec<u8> {
    let validity = Validity { not_before: NOW, not_after: NOW.plus(Duration::from_secs(86_400)) };
    let serial = Serial::generate(&SeededRng::new(5));
    client::self_signed(&name::write(None, common_name), serial, validity, key).expect("signs")
}

static DEVICE: LazyLock<Party> = LazyLock::new(|| Party::new("gw-1"));
static AUTHORITY: LazyLock<Party> = LazyLock::new(|| Party::new("RA"));

fn request() -> Vec<u8> {
    client::request(&name::write(None, "gw-1"), Some("s3cret"), &DEVICE.key).expect("signs")
}

fn asked(kind: MessageType, data: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let rng = SeededRng::new(3);
    DEVICE.client().ask(&rng, NOW, &AUTHORITY.certificate, kind, "4F2A", data).expect("a message")
}

fn opened(bytes: &[u8]) -> Result<Asks, Refused> {
    let message = Message::read(bytes).expect("a message");
    message.check()?.open(&AUTHORITY.holder(), &AUTHORITY.key)
}

/// The only answer to what does not open.
fn is_unreadable(outcome: Result<Asks, Refused>) {
    assert_eq!(outcome.err(), Some(Refused::unreadable()));
}

#[test]
fn a_request_is_read_opened_and_answered() {
    let (bytes, sent) = asked(MessageType::PkcsReq, &request());
    let message = Message::read(&bytes).expect("a message");
    assert_eq!((message.kind, message.transaction_id.as_str()), (Some(MessageType::PkcsReq), "4F2A"));
    assert_eq!(message.sender_nonce, sent);
    assert_eq!(message.signer().spki, DEVICE.key.public_spki());
    let genuine = message.check().expect("holds");
    assert!(genuine.is_for(&AUTHORITY.holder()) && !genuine.is_for(&DEVICE.holder()));
    let Ok(Asks::Certificate(csr, der)) = genuine.open(&AUTHORITY.holder(), &AUTHORITY.key) else {
        panic!("a request")
    };
    assert_eq!((csr.challenge_password(), der), (Some(&b"s3cret"[..]), request()));

    let responder = Responder::new(&AUTHORITY.certificate.der, RsaKey::generate(RsaSize::Bits2048).0);
    assert!(responder.is_err(), "the certificate of another key");
}

#[test]
fn every_outcome_reaches_the_client_with_its_nonce() {
    let (key, pkcs8) = RsaKey::generate(RsaSize::Bits2048);
    let responder =
        Responder::new(&own(&key, "RA"), RsaKey::from_pkcs8(pkcs8.expose()).expect("its own")).expect("fits");
    let (bytes, sent) = asked(MessageType::PkcsReq, &request());
    let message = Message::read(&bytes).expect("a message");
    let rng = SeededRng::new(9);
    let refused = Refused::new(FailInfo::BadCertId, "no such certificate");
    let leaf: &[u8] = &DEVICE.certificate.der;
    for (outcome, status) in [
        (Outcome::Certificates(&[leaf]), "0"),
        (Outcome::RevocationList(&[0x30, 0]), "0"),
        (Outcome::Failed(refused), "2"),
        (Outcome::Pending, "3"),
    ] {
        for cipher in [Cipher::Aes128Cbc, Cipher::Aes256Cbc] {
            let written = answer(&rng, NOW, &responder, &[], &message, cipher, &outcome).expect("an answer");
            let read = DEVICE.client().read(&written, &responder.certificate).expect("reads");
            assert_eq!((read.status.as_str(), read.transaction_id.as_str()), (status, "4F2A"));
            assert_eq!(read.recipient_nonce, sent);
            assert_eq!(read.content.is_some(), status == "0", "a failure and a wait have no content");
            match &outcome {
                Outcome::Certificates(_) => assert_eq!(read.certificates, [leaf.to_vec()]),
                Outcome::Failed(refused) => {
                    assert_eq!((read.fail_info, read.text), (Some(refused.info), Some(refused.text.clone())));
                }
                _ => assert_eq!(read.certificates, [[0_u8; 0]; 0]),
            }
        }
    }
}

#[test]
fn polls_and_look_ups_are_read() {
    let (issuer, subject) = (name::write(None, "CA"), name::write(None, "gw-1"));
    let (bytes, _) = asked(MessageType::CertPoll, &client::poll_data(&issuer, &subject));
    let Ok(Asks::Poll { issuer: read, subject: whose }) = opened(&bytes) else { panic!("a poll") };
    assert_eq!((read, whose), (issuer, subject));
    for kind in [MessageType::GetCert, MessageType::GetCrl] {
        let (bytes, _) = asked(kind, &client::certificate_data(&DEVICE.certificate));
        let (Ok(Asks::IssuedCertificate { issuer, serial }) | Ok(Asks::RevocationList { issuer, serial })) =
            opened(&bytes)
        else {
            panic!("{kind:?}")
        };
        assert_eq!((issuer, serial), (DEVICE.certificate.issuer.clone(), DEVICE.certificate.serial.clone()));
    }
    is_unreadable(opened(&asked(MessageType::CertPoll, &[0x30, 0]).0));
}

/// The oracle of Bleichenbacher's attack would be any difference between these.
#[test]
fn bad_padding_bad_key_and_bad_content_are_one_answer() {
    let rng = SeededRng::new(4);
    let good = seal(&rng, &AUTHORITY.holder(), Cipher::Aes128Cbc, &request()).expect("seals");
    let tell = |envelope: &[u8]| {
        let (bytes, _) = DEVICE.client().ask_with(&rng, NOW, "19", "1", envelope).expect("a message");
        opened(&bytes)
    };
    assert!(tell(&good).is_ok());
    let wrapped = good.windows(4).position(|at| at == [0x04, 0x82, 0x01, 0x00]).expect("256 bytes are wrapped") + 4;
    for at in 0..64 {
        let mut altered = good.clone();
        altered[wrapped + at * 4] ^= 1;
        is_unreadable(tell(&altered));
    }
    // The last block of the content: its padding does not hold, or the request in it does not.
    let length = good.len();
    for at in 1..33 {
        let mut altered = good.clone();
        altered[length - at] ^= 1;
        is_unreadable(tell(&altered));
    }
    // A key of another length than the cipher's, and none at all.
    for key in [&[7_u8; 24][..], &[]] {
        let mut altered = good.clone();
        altered[wrapped..wrapped + 256]
            .copy_from_slice(&crate::rsa::wrap(AUTHORITY.key.public_spki(), key).expect("wraps"));
        is_unreadable(tell(&altered));
    }
    // Sealed for somebody else.
    is_unreadable(tell(&seal(&rng, &DEVICE.holder(), Cipher::Aes256Cbc, &request()).expect("seals")));
    is_unreadable(tell(&seal(&rng, &AUTHORITY.holder(), Cipher::Aes128Cbc, b"no request").expect("seals")));
}

#[test]
fn broken_algorithms_are_bad_alg() {
    let (bytes, _) = asked(MessageType::PkcsReq, &request());
    let swap = |from: &[u8], to: &[u8]| {
        let mut changed = bytes.clone();
        let places: Vec<_> =
            changed.windows(from.len()).enumerate().filter(|(_, at)| *at == from).map(|(at, _)| at).collect();
        assert!(!places.is_empty());
        for at in places {
            changed[at..at + to.len()].copy_from_slice(to);
        }
        Message::read(&changed).expect("a message").check().map(drop).expect_err("refused")
    };
    // The same length as SHA-256's, which is what else the parser knows: SHA-512/224, and SHA3-256.
    let sha_256 = SHA_256_OID;
    for other in
        [[0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x05], [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x08]]
    {
        assert_eq!(swap(&sha_256, &other).info, FailInfo::BadAlg);
    }
    let envelope_of = |cipher: &[u8], iv: &[u8]| {
        let encrypted = crate::asn1::sequence(&[
            &crate::asn1::oid(crate::cms::DATA),
            &crate::asn1::sequence(&[cipher, &crate::asn1::octets(iv)]),
            &crate::asn1::element(0x80, &[&[0; 32]]),
        ]);
        let recipient = crate::asn1::sequence(&[
            &crate::asn1::unsigned(&[0]),
            &AUTHORITY.holder().name(),
            &crate::asn1::sequence(&[
                &crate::asn1::oid(ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1")),
                &crate::asn1::NULL,
            ]),
            &crate::asn1::octets(&[1; 256]),
        ]);
        let enveloped = crate::asn1::sequence(&[
            &crate::asn1::unsigned(&[0]),
            &crate::asn1::element(crate::asn1::SET, &[&recipient]),
            &encrypted,
        ]);
        crate::cms::content_info(crate::cms::ENVELOPED_DATA, &enveloped)
    };
    // DES-CBC, DES-EDE3-CBC, RC2-CBC.
    for cipher in ["1.3.14.3.2.7", "1.2.840.113549.3.7", "1.2.840.113549.3.2"] {
        let oid = crate::asn1::oid(ObjectIdentifier::new_unwrap(cipher));
        let (bytes, _) = DEVICE
            .client()
            .ask_with(&SeededRng::new(1), NOW, "19", "1", &envelope_of(&oid, &[0; 8]))
            .expect("a message");
        assert_eq!(opened(&bytes).err().map(|refused| refused.info), Some(FailInfo::BadAlg), "{cipher}");
    }
}

const SHA_256_OID: [u8; 9] = [0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01];

#[test]
fn no_byte_that_was_signed_can_change() {
    let (bytes, _) = asked(MessageType::PkcsReq, &request());
    let mut refused = 0;
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 0x04;
        let Ok(message) = Message::read(&changed) else { continue };
        match message.check().and_then(|genuine| genuine.open(&AUTHORITY.holder(), &AUTHORITY.key)) {
            Err(_) => refused += 1,
            // Versions, and what is unsigned in the certificate, say nothing.
            Ok(Asks::Certificate(_, der)) => {
                assert_eq!((der, message.transaction_id.as_str()), (request(), "4F2A"), "byte {at}");
            }
            Ok(other) => panic!("byte {at}: {other:?}"),
        }
    }
    assert!(refused > 1000, "{refused}");
}

#[test]
fn a_key_that_cannot_be_answered_is_refused_at_once() {
    let key = SoftKey::generate().0;
    let holder = Holder::read(&own(&key, "gw-1")).expect("reads");
    let rng = SeededRng::new(2);
    let envelope = seal(&rng, &AUTHORITY.holder(), Cipher::Aes128Cbc, &request()).expect("seals");
    let text = |text: &str| crate::asn1::element(crate::asn1::PRINTABLE_STRING, &[text.as_bytes()]);
    let attributes = vec![
        crate::cms::signed::attribute(MESSAGE_TYPE, &text("19")),
        crate::cms::signed::attribute(TRANSACTION_ID, &text("1")),
        crate::cms::signed::attribute(SENDER_NONCE, &crate::asn1::octets(&[1; 16])),
    ];
    let bytes = crate::cms::signed::sign((&holder, &key), &[&holder.der], &envelope, attributes, NOW).expect("signs");
    assert_eq!(opened(&bytes).err().map(|refused| refused.info), Some(FailInfo::BadAlg));
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(64))]
    #[test]
    fn reading_never_panics(
        bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..300),
        at in 0_usize..3000,
        with in proptest::num::u8::ANY,
    ) {
        Message::read(&bytes).ok();
        let mut message = asked(MessageType::PkcsReq, &request()).0;
        if let Some(byte) = message.get_mut(at) {
            *byte = with;
        }
        if let Ok(message) = Message::read(&message) {
            message.check().and_then(|genuine| genuine.open(&AUTHORITY.holder(), &AUTHORITY.key)).ok();
        }
    }
}
