//! EAT as CWT and JWT, and PSA tokens.

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ciborium::Value;
use coset::{CborSerializable as _, CoseSign1Builder, HeaderBuilder, TaggedCborSerializable as _, iana};
use fleetward_attest::claims::BadToken;
use fleetward_attest::cwt::{self, Profile};
use fleetward_attest::{Facts, Key, Measurement, jwt};
use fleetward_base::Timestamp;

const NONCE: &[u8] = &[7; 32];
const NOW: i64 = 1_795_824_000;

fn now() -> Timestamp {
    Timestamp::from_secs(NOW)
}

struct Maker {
    pair: EcdsaKeyPair,
    key: Key,
}

impl Maker {
    fn new() -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("random source");
        let spki = pair.public_key().as_der().expect("DER").as_ref().to_vec();
        Self { pair, key: Key::new(spki) }
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.pair.sign(&SystemRandom::new(), message).expect("signs").as_ref().to_vec()
    }

    fn cwt(&self, claims: Vec<(i64, Value)>) -> Vec<u8> {
        self.cwt_with(claims, iana::Algorithm::ES256)
    }

    fn cwt_with(&self, claims: Vec<(i64, Value)>, algorithm: iana::Algorithm) -> Vec<u8> {
        let claims = Value::Map(claims.into_iter().map(|(label, value)| (label.into(), value)).collect());
        let mut payload = Vec::new();
        ciborium::into_writer(&claims, &mut payload).expect("CBOR");
        let token = CoseSign1Builder::new()
            .protected(HeaderBuilder::new().algorithm(algorithm).build())
            .payload(payload)
            .create_signature(&[], |message| self.sign(message))
            .build();
        token.to_tagged_vec().expect("CBOR")
    }

    fn jwt(&self, header: &str, claims: &serde_json::Value) -> String {
        let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        let message = format!("{}.{}", encode(header.as_bytes()), encode(claims.to_string().as_bytes()));
        format!("{message}.{}", encode(&self.sign(message.as_bytes())))
    }
}

fn eat() -> Vec<(i64, Value)> {
    vec![
        (10, Value::Bytes(NONCE.to_vec())),
        (256, Value::Bytes(vec![1, 2, 3])),
        (263, Value::from(3)),
        (267, Value::from(12)),
        (273, Value::Array(vec![Value::Array(vec![Value::from(60), Value::Bytes(b"x".to_vec())])])),
        (65_000, Value::Text("a claim that nobody knows".into())),
    ]
}

fn psa() -> Vec<(i64, Value)> {
    let component = Value::Map(vec![
        (1.into(), Value::Text("BL".into())),
        (2.into(), Value::Bytes(vec![0xaa; 32])),
        (5.into(), Value::Bytes(vec![0xbb; 32])),
    ]);
    vec![
        (10, Value::Bytes(NONCE.to_vec())),
        (256, Value::Bytes([&[1][..], &[9; 32]].concat())),
        (265, Value::Text("tag:psacertified.org,2023:psa#tfm".into())),
        (268, Value::Bytes(vec![5; 32])),
        (2394, Value::from(2_147_483_647)),
        (2395, Value::from(0x3000)),
        (2396, Value::Bytes(vec![6; 32])),
        (2399, Value::Array(vec![component])),
    ]
}

fn with(mut claims: Vec<(i64, Value)>, label: i64, value: Value) -> Vec<(i64, Value)> {
    claims.retain(|(known, _)| *known != label);
    claims.push((label, value));
    claims
}

fn without(mut claims: Vec<(i64, Value)>, label: i64) -> Vec<(i64, Value)> {
    claims.retain(|(known, _)| *known != label);
    claims
}

#[test]
fn an_eat_says_who_and_what() {
    let maker = Maker::new();
    let other = Maker::new();
    let keys = [other.key.clone(), maker.key.clone()];
    let judge = |token: &[u8]| cwt::verify(token, Profile::Eat, &keys, NONCE, now());
    let facts = judge(&maker.cwt(eat())).expect("holds");
    assert_eq!(
        facts,
        Facts {
            identity: vec![1, 2, 3],
            anchor: maker.key.fingerprint.clone(),
            measurements: vec![Measurement {
                name: "software/60".into(),
                digest: "2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881".into(),
            }],
            debug: Some(false),
            boots: Some(12),
            ..Facts::default()
        }
    );
    let tagged = [&[0xd8, 0x3d][..], &maker.cwt(eat())].concat();
    assert!(judge(&tagged).is_ok(), "with the tag of CWT");
    assert_eq!(judge(&Maker::new().cwt(eat())), Err(BadToken::Signature));
    assert_eq!(judge(&maker.cwt(with(eat(), 10, Value::Bytes(vec![8; 32])))), Err(BadToken::Nonce));
    assert_eq!(judge(&maker.cwt(without(eat(), 10))), Err(BadToken::Nonce));
    assert_eq!(judge(&maker.cwt(without(eat(), 256))), Err(BadToken::Missing("ueid")));
    assert_eq!(judge(&maker.cwt(with(eat(), 4, Value::from(NOW)))), Err(BadToken::Time));
    assert!(judge(&maker.cwt(with(eat(), 4, Value::from(NOW + 1)))).is_ok());
    assert_eq!(judge(&maker.cwt(with(eat(), 6, Value::from(NOW + 3600)))), Err(BadToken::Time));
    assert!(matches!(judge(&maker.cwt(with(eat(), 265, Value::Text("urn:x".into())))), Err(BadToken::Profile(_))));
    assert_eq!(judge(&maker.cwt(with(eat(), 263, Value::from(0)))).map(|facts| facts.debug), Ok(Some(true)));
    assert!(matches!(judge(&maker.cwt(with(eat(), 263, Value::from(9)))), Err(BadToken::Malformed(_))));
    let twice = [eat(), vec![(256, Value::Bytes(vec![9]))]].concat();
    assert!(matches!(judge(&maker.cwt(twice)), Err(BadToken::Malformed(_))), "two readings of one claim");
    let several = Value::Array(vec![Value::Bytes(vec![8; 32]), Value::Bytes(NONCE.to_vec())]);
    assert!(judge(&maker.cwt(with(eat(), 10, several))).is_ok());
}

#[test]
fn the_algorithm_is_of_the_list_and_of_the_key() {
    let maker = Maker::new();
    let judge = |token: &[u8]| cwt::verify(token, Profile::Eat, std::slice::from_ref(&maker.key), NONCE, now());
    for algorithm in [iana::Algorithm::HMAC_256_256, iana::Algorithm::RS1, iana::Algorithm::PS256] {
        assert_eq!(judge(&maker.cwt_with(eat(), algorithm)), Err(BadToken::Algorithm), "{algorithm:?}");
    }
    assert_eq!(judge(&maker.cwt_with(eat(), iana::Algorithm::ES384)), Err(BadToken::Signature), "another curve");
    assert_eq!(judge(&maker.cwt_with(eat(), iana::Algorithm::EdDSA)), Err(BadToken::Signature), "another kind of key");
}

#[test]
fn a_psa_token_says_its_state() {
    let maker = Maker::new();
    let judge = |claims| cwt::verify(&maker.cwt(claims), Profile::Psa, std::slice::from_ref(&maker.key), NONCE, now());
    let facts = judge(psa()).expect("holds");
    assert_eq!(facts.secured, Some(true));
    assert_eq!(facts.measurements, [Measurement::new("software/BL", &[0xaa; 32])]);
    for (state, secured) in [(0x0000, false), (0x2fff, false), (0x30ff, true), (0x4000, false), (0x6000, false)] {
        let facts = judge(with(psa(), 2395, Value::from(state))).expect("holds");
        assert_eq!(facts.secured, Some(secured), "{state:x}");
    }
    assert!(matches!(judge(without(psa(), 2395)), Err(BadToken::Missing(_))));
    assert!(matches!(judge(without(psa(), 265)), Err(BadToken::Missing("profile"))));
    assert!(judge(with(psa(), 265, Value::Text("http://arm.com/psa/2.0.0".into()))).is_ok());
    assert!(matches!(judge(with(psa(), 2399, Value::Array(vec![Value::Map(vec![])]))), Err(BadToken::Malformed(_))));
}

#[test]
fn a_jwt_is_held_to_our_list() {
    let maker = Maker::new();
    let nonce = BASE64_URL_SAFE_NO_PAD.encode(NONCE);
    let claims = serde_json::json!({
        "eat_nonce": nonce, "ueid": "AQID", "dbgstat": "disabled-since-boot", "bootcount": 3,
        "measurements": [["application/x", "eA"]], "iat": NOW, "unknown": {"a": 1},
    });
    let judge = |token: &str| jwt::verify(token, std::slice::from_ref(&maker.key), NONCE, now());
    let facts = judge(&maker.jwt(r#"{"alg":"ES256","typ":"JWT"}"#, &claims)).expect("holds");
    assert_eq!((facts.identity.as_slice(), facts.debug, facts.boots), (&[1, 2, 3][..], Some(false), Some(3)));
    assert_eq!(facts.measurements.len(), 1);
    let named = format!(r#"{{"alg":"ES256","kid":"{}"}}"#, maker.key.fingerprint);
    assert!(judge(&maker.jwt(&named, &claims)).is_ok());
    assert!(judge(&maker.jwt(r#"{"alg":"ES256","kid":"somebody's own name"}"#, &claims)).is_ok());
    for alg in ["none", "HS256", "RS256", "es256", ""] {
        let token = maker.jwt(&format!(r#"{{"alg":"{alg}"}}"#), &claims);
        assert_eq!(judge(&token), Err(BadToken::Algorithm), "{alg}");
    }
    assert_eq!(judge(&maker.jwt(r#"{"alg":"ES384"}"#, &claims)), Err(BadToken::Signature));
    assert!(matches!(judge(&maker.jwt(r#"{"alg":"ES256","crit":["b64"]}"#, &claims)), Err(BadToken::Malformed(_))));
    let token = maker.jwt(r#"{"alg":"ES256"}"#, &claims);
    let (message, _) = token.rsplit_once('.').expect("three parts");
    assert_eq!(judge(&format!("{message}.")), Err(BadToken::Signature));
    for bad in ["", ".", "..", "a.b.c", "a.b", &token[1..]] {
        assert!(matches!(judge(bad), Err(BadToken::Malformed(_))), "{bad}");
    }
}

#[test]
fn ed25519_signs_too() {
    let pair = Ed25519KeyPair::generate().expect("random source");
    let key = Key::new(pair.public_key().as_der().expect("DER").as_ref().to_vec());
    let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
    let claims = serde_json::json!({ "eat_nonce": [encode(b"other"), encode(NONCE)], "ueid": "AQID" });
    let message = format!("{}.{}", encode(br#"{"alg":"EdDSA"}"#), encode(claims.to_string().as_bytes()));
    let token = format!("{message}.{}", encode(pair.sign(message.as_bytes()).as_ref()));
    assert!(jwt::verify(&token, &[key], NONCE, now()).is_ok());
}

#[test]
fn nesting_and_size_have_an_end() {
    let maker = Maker::new();
    let deep = (0..64).fold(Value::Null, |inner, _| Value::Array(vec![inner]));
    let token = maker.cwt(with(eat(), 70_000, deep));
    let judged = cwt::verify(&token, Profile::Eat, std::slice::from_ref(&maker.key), NONCE, now());
    assert!(matches!(judged, Err(BadToken::Malformed(_))));
    let huge = vec![0; fleetward_base::limits::ATTESTATION_TOKEN_BYTES + 1];
    assert_eq!(cwt::verify(&huge, Profile::Eat, &[], NONCE, now()), Err(BadToken::Malformed("too long")));
    assert!(coset::CoseSign1::from_slice(&[]).is_err());
}
