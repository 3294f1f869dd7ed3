use super::*;
use crate::key::SoftKey;

fn tenant() -> TenantId {
    "acme".parse().expect("a name")
}

fn device() -> DeviceId {
    "gw-1".parse().expect("a name")
}

/// The requests in `tests/data`, by name.
fn requests() -> Vec<(String, Vec<u8>)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data");
    let mut list: Vec<_> = std::fs::read_dir(folder)
        .expect("the folder of requests")
        .map(|entry| entry.expect("readable").path())
        .filter(|path| path.extension().is_some_and(|end| end == "der"))
        .map(|path| {
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            (name, std::fs::read(&path).expect("readable"))
        })
        .collect();
    list.sort();
    assert!(list.len() > 25, "{} requests", list.len());
    list
}

fn outcome(der: &[u8]) -> Result<KeyKind, CsrError> {
    let csr = parse(der)?;
    csr.check_identity(&tenant(), &device())?;
    Ok(csr.key())
}

#[test]
fn requests_of_openssl_and_strongswan_meet_their_rule() {
    let unknown = ObjectIdentifier::new_unwrap("1.2.3.4");
    for (name, der) in requests() {
        let expected = match name.as_str() {
            "good-p384" => Ok(KeyKind::P384),
            "good-ed25519" => Ok(KeyKind::Ed25519),
            "good-rsa2048" | "good-rsa-pss" => Ok(KeyKind::Rsa { bits: 2048 }),
            "strongswan" => Ok(KeyKind::P256),
            good if good.starts_with("good-") => Ok(KeyKind::P256),
            "weak-p521" | "weak-k256" => Err(CsrError::Key(WeakKey::Kind)),
            "weak-rsa1024" => Err(CsrError::Key(WeakKey::RsaBits { bits: 1024 })),
            "weak-rsa8192" => Err(CsrError::Key(WeakKey::RsaBits { bits: 8192 })),
            "weak-rsa-e3" => Err(CsrError::Key(WeakKey::RsaNumbers)),
            "weak-sha1" | "weak-rsa-sha1" => Err(CsrError::Signature(BadSignature::BrokenDigest)),
            "ca-true" | "ca-cert-sign" => Err(CsrError::Authority),
            "critical-unknown" => Err(CsrError::CriticalExtension(unknown)),
            "other-device" | "two-names" | "no-common-name" => Err(CsrError::Device),
            "other-tenant" => Err(CsrError::Tenant),
            san if san.starts_with("san-") => Err(CsrError::AltName),
            other => panic!("{other}: what is expected of it?"),
        };
        assert_eq!(outcome(&der), expected, "{name}");
    }
}

#[test]
fn the_challenge_password_is_read() {
    let (_, der) = requests().into_iter().find(|(name, _)| name == "strongswan").expect("there");
    assert_eq!(parse(&der).expect("good").challenge_password(), Some(&b"tls-unique"[..]));
}

#[test]
fn no_byte_of_a_request_can_change_unnoticed() {
    let (_, good) = requests().into_iter().find(|(name, _)| name == "good-own-urn").expect("there");
    let accepted = parse(&good).expect("good");
    for at in 0..good.len() {
        for bit in [0x01, 0x80] {
            let mut changed = good.clone();
            changed[at] ^= bit;
            // What still reads is the same request: a signature has more than one encoding, its content has one.
            if let Ok(read) = parse(&changed) {
                assert_eq!(read.request_hash(&tenant()), accepted.request_hash(&tenant()), "byte {at}");
            }
        }
        assert!(parse(&good[..at]).is_err(), "length {at}");
    }
    let mut longer = good.clone();
    longer.push(0);
    assert_eq!(parse(&longer).err(), Some(CsrError::Malformed));
}

#[test]
fn a_written_request_is_accepted_and_a_second_wish_for_the_same_is_not() {
    let (key, _) = SoftKey::generate();
    let subject = name::write(Some("acme"), "gw-1");
    assert_eq!(outcome(&write(&subject, &[], &key).expect("signs")), Ok(KeyKind::P256));
    let san = asn1::extension(
        SUBJECT_ALT_NAME,
        false,
        &asn1::sequence(&[&asn1::element(0x86, &[b"urn:fleetward:acme:gw-1"])]),
    );
    assert_eq!(outcome(&write(&subject, &[&san], &key).expect("signs")), Ok(KeyKind::P256));
    let twice = write(&subject, &[&san, &san], &key).expect("signs");
    assert_eq!(outcome(&twice), Err(CsrError::RepeatedExtension(SUBJECT_ALT_NAME)));
}

#[test]
fn a_request_is_signed_by_its_own_key() {
    let (mine, _) = SoftKey::generate();
    let (other, _) = SoftKey::generate();
    struct Mixed(SoftKey, SoftKey);
    impl Signer for Mixed {
        fn algorithm(&self) -> crate::Algorithm {
            self.0.algorithm()
        }
        fn public_spki(&self) -> &[u8] {
            self.0.public_spki()
        }
        fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SignError> {
            self.1.sign(message)
        }
    }
    let stolen = write(&name::write(None, "gw-1"), &[], &Mixed(mine, other)).expect("signs");
    assert_eq!(outcome(&stolen), Err(CsrError::Signature(BadSignature::Wrong)));
}

#[test]
fn a_long_subject_is_refused() {
    let (key, _) = SoftKey::generate();
    let long = name::write(Some(&"x".repeat(base::limits::CSR_SUBJECT_BYTES)), "gw-1");
    assert_eq!(outcome(&write(&long, &[], &key).expect("signs")), Err(CsrError::LongSubject));
}

#[test]
fn the_same_request_is_known_by_tenant_key_and_subject() {
    let (key, _) = SoftKey::generate();
    let (other_key, _) = SoftKey::generate();
    let request =
        |name: &str, key: &SoftKey| parse(&write(&name::write(None, name), &[], key).expect("signs")).expect("good");
    let hash = request("gw-1", &key).request_hash(&tenant());
    assert_eq!(hash, request("gw-1", &key).request_hash(&tenant()), "signed twice, and still the same");
    assert_ne!(hash, request("gw-2", &key).request_hash(&tenant()));
    assert_ne!(hash, request("gw-1", &other_key).request_hash(&tenant()));
    assert_ne!(hash, request("gw-1", &key).request_hash(&"globex".parse().expect("a name")));
    assert_eq!(hash, request("gw-1", &key).asking_hash(&tenant()));
    let (one, two) =
        (request("gw-1", &key).with_key(&other_key), request("gw-1", &key).with_key(&SoftKey::generate().0));
    assert_ne!(one.request_hash(&tenant()), two.request_hash(&tenant()), "the keys are others");
    assert_eq!(one.asking_hash(&tenant()), two.asking_hash(&tenant()), "and the request is the same");
    assert_ne!(one.asking_hash(&tenant()), hash, "but not one for its own key");
}

proptest::proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(256))]
    #[test]
    fn parsing_never_panics(
        bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..400),
        which in 0_usize..25,
        at in 0_usize..200,
        with in proptest::num::u8::ANY,
    ) {
        parse(&bytes).ok();
        Certificate::parse(&bytes).ok();
        name::read(&bytes).ok();
        let mut request = requests().swap_remove(which).1;
        if let Some(byte) = request.get_mut(at) {
            *byte = with;
        }
        parse(&request).ok();
    }
}
