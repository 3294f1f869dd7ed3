use std::time::Duration;

use base::SeededRng;

use super::*;
use crate::ca;
use crate::issue::{Issuer, Validity};
use crate::key::SoftKey;

fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<char> = text.chars().filter(char::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(&pair.iter().collect::<String>(), 16).expect("hex")).collect()
}

/// `openssl ocsp -issuer CA -cert CERT -no_nonce -reqout FILE` of OpenSSL 3.0, and the same with its nonce.
const PLAIN: &str = "305530533051304f304d300906052b0e03021a050004141b2b21c40a46042ff8430a2a3d0550734416def00414f0294a367c \
    48089299109100558d2a4dd2e9cc93021426201947db8f474cdcaf9196f4dfb74b86e5f916";
const WITH_NONCE: &str = "307a30783051304f304d300906052b0e03021a050004141b2b21c40a46042ff8430a2a3d0550734416def00414f0294a367c \
    48089299109100558d2a4dd2e9cc93021426201947db8f474cdcaf9196f4dfb74b86e5f916a2233021301f06092b06010505 \
    0730010204120410b8f4147b404759a31f0f346928b6017e";

fn authority() -> (Certificate, SoftKey, Validity) {
    let (key, _) = SoftKey::generate();
    let now = Timestamp::from_secs(1_795_171_980);
    let validity = Validity { not_before: now, not_after: now.plus(Duration::from_secs(86_400 * 365)) };
    let root = ca::root("Test", Serial::generate(&SeededRng::new(3)), validity, &key).expect("a root");
    (Certificate::parse(&root.der).expect("it reads"), key, validity)
}

fn request(ids: &[Vec<u8>], nonce: Option<&[u8]>) -> Vec<u8> {
    let singles: Vec<Vec<u8>> = ids.iter().map(|id| asn1::sequence(&[id])).collect();
    let singles: Vec<&[u8]> = singles.iter().map(Vec::as_slice).collect();
    let extensions = nonce.map(|nonce| {
        let extension = asn1::extension(NONCE, false, &asn1::octets(nonce));
        asn1::element(0xa2, &[&asn1::sequence(&[&extension])])
    });
    asn1::sequence(&[&asn1::sequence(&[&asn1::sequence(&singles), &extensions.unwrap_or_default()])])
}

#[test]
fn requests_as_openssl_makes_them() {
    let (authority, _, _) = authority();
    let serial = Serial::generate(&SeededRng::new(5));
    let id = cert_id(&authority, &serial).expect("an id");
    let read = Request::parse(&request(std::slice::from_ref(&id), None)).expect("a request");
    let [one] = read.certificates.as_slice() else { panic!("one certificate") };
    assert_eq!((&one.der, one.hash, &one.serial), (&id, IssuerHash::Sha1, &serial));
    assert!(IssuerNames::of(&authority).expect("a key").issued(one));
    let plain = Request::parse(&hex(PLAIN)).expect("a request");
    let nonced = Request::parse(&hex(WITH_NONCE)).expect("a request");
    assert_eq!((plain.nonce, nonced.nonce.map(|nonce| nonce.len())), (None, Some(16)));
    assert_eq!(plain.certificates, nonced.certificates);
}

#[test]
fn nonces_are_repeated_ignored_or_refused_by_their_length() {
    let (authority, _, _) = authority();
    let id = cert_id(&authority, &Serial::generate(&SeededRng::new(5))).expect("an id");
    for (length, expected) in
        [(0, None), (1, Some(true)), (16, Some(true)), (32, Some(true)), (33, Some(false)), (129, None)]
    {
        let read = Request::parse(&request(std::slice::from_ref(&id), Some(&vec![7; length])));
        assert_eq!(read.ok().map(|request| request.nonce.is_some()), expected, "{length}");
    }
}

#[test]
fn too_much_is_malformed() {
    let (authority, _, _) = authority();
    let id = cert_id(&authority, &Serial::generate(&SeededRng::new(5))).expect("an id");
    assert_eq!(Request::parse(&request(&[], None)), Err(BadRequest));
    assert!(Request::parse(&request(&vec![id.clone(); limits::OCSP_CERTIFICATES], None)).is_ok());
    assert_eq!(Request::parse(&request(&vec![id.clone(); limits::OCSP_CERTIFICATES + 1], None)), Err(BadRequest));
    assert_eq!(Request::parse(&vec![0x30; limits::OCSP_REQUEST_BYTES + 1]), Err(BadRequest));
    let mut after = request(&[id], None);
    after.push(0);
    assert_eq!(Request::parse(&after), Err(BadRequest));
}

#[test]
fn answers_name_what_was_asked_and_are_signed() {
    let (authority, key, validity) = authority();
    let issuer = Issuer::new(&authority, &key).expect("it fits");
    let (own, _) = SoftKey::generate();
    let serial = Serial::generate(&SeededRng::new(9));
    let issued = ca::ocsp_responder(&issuer, "OCSP", serial, validity, own.public_spki()).expect("a responder");
    let certificate = Certificate::parse(&issued.der).expect("it reads");
    let responder = Responder { certificate: &certificate, signer: &own };
    let now = Timestamp::from_secs(1_795_172_000);
    let id = cert_id(&authority, &Serial::generate(&SeededRng::new(5))).expect("an id");
    let revoked = Standing::Revoked { at: now, reason: Reason::KeyCompromise };
    for standing in [Standing::Good, revoked, Standing::Unknown] {
        let single = Single { id: &id, standing };
        let span = (now, now.plus(Duration::from_secs(3600)));
        let der = answer(&[single], &responder, span, Some(&[1; 16])).expect("it signs");
        assert!(der.windows(id.len()).any(|part| part == id), "the identifier as it came");
        assert!(der.windows(certificate.der.len()).any(|part| part == certificate.der), "and who answers");
    }
    assert_eq!(Refused::TryLater.response(), [0x30, 3, 0x0a, 1, 3]);
    assert_eq!(Refused::Unauthorized.response(), [0x30, 3, 0x0a, 1, 6]);
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(256))]
    #[test]
    fn reading_never_panics(
        bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..200),
        at in 0_usize..120,
        with in proptest::num::u8::ANY,
    ) {
        Request::parse(&bytes).ok();
        let mut packed = hex(PLAIN);
        if let Some(byte) = packed.get_mut(at) {
            *byte = with;
        }
        Request::parse(&packed).ok();
    }
}
