//! Attestation over MQTT: the same conversation as over HTTPS, in JSON and in CBOR, on the connection of a device that is
//! held back. Evidence is an EAT as JWT, whose maker is here.

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use fleetward_app::attestation::{AnchorKind, NewAnchor, add_anchor};
use fleetward_app::identity_policy::{amend_policy, show_policy};
use fleetward_attest::Evidence;
use fleetward_attest::messages::{Challenge, Rejected, Verdict};
use fleetward_sim::mqtt::Version;
use fleetward_wire::attest::{Format, decode, encode};
use serde_json::{Value, json};

use crate::house::{House, Link, tenant};

const A: &str = "$fleetward/things/gw-1/attest";

/// Whoever makes devices that sign tokens.
struct Maker(EcdsaKeyPair);

impl Maker {
    async fn known(house: &House) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("random source");
        let value = pair.public_key().as_der().expect("DER").as_ref().to_vec();
        let new = NewAnchor { kind: AnchorKind::TokenKey, name: "maker".to_owned(), value, root: None };
        add_anchor(&house.app, &house.admin, &tenant("acme"), new).await.expect("added");
        Self(pair)
    }

    fn token(&self, nonce: &[u8]) -> Evidence {
        let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        let claims = json!({ "eat_nonce": encode(nonce), "ueid": encode(b"hw-1") });
        let message = format!("{}.{}", encode(br#"{"alg":"ES256"}"#), encode(claims.to_string().as_bytes()));
        let signature = self.0.sign(&SystemRandom::new(), message.as_bytes()).expect("signs");
        Evidence::EatJwt(format!("{message}.{}", encode(signature.as_ref())))
    }
}

/// Holds endpoints back until they attested; nothing is known of what they run, and that is enough.
async fn asked(house: &House) {
    let (app, admin, acme) = (&house.app, &house.admin, tenant("acme"));
    let revision = show_policy(app, admin, &acme).await.expect("a policy").revision;
    let rule = json!({ "classes": { "endpoint": { "required": true, "accept_warning": true } } });
    let patch = json!({ "attestation": rule }).as_object().expect("an object").clone();
    amend_policy(app, admin, &acme, revision, patch).await.expect("amended");
}

async fn answer(link: &mut Link, end: &str) -> Vec<u8> {
    let (topic, bytes) = link.next_bytes().await;
    assert_eq!(topic, format!("{A}/{end}"), "{}", String::from_utf8_lossy(&bytes));
    bytes
}

#[tokio::test]
async fn a_device_that_is_held_back_attests_where_it_is() {
    for (format, name, version) in [
        (Format::Json, "json", Version::V5),
        (Format::Cbor, "cbor", Version::V5),
        (Format::Cbor, "cbor", Version::V311),
    ] {
        let house = House::new().await;
        let maker = Maker::known(&house).await;
        asked(&house).await;
        let device = house.enroll("acme", "gw-1", "rev-a").await;
        let mut link = house.connect(&device, version).await;
        if version == Version::V5 {
            assert_eq!(link.publish("shared/x", "{}").await, 0x87, "held back");
        }
        // It need not subscribe to be answered.
        link.publish_bytes(&format!("{A}/challenge/{name}"), b"").await;
        let challenge = answer(&mut link, &format!("challenge/{name}/accepted")).await;
        let challenge: Challenge = decode(format, &challenge).expect("a challenge");
        assert_eq!((challenge.nonce.0.len(), challenge.ttl, challenge.pcrs.len()), (32, 120, 4));
        let evidence = encode(format, &maker.token(&challenge.nonce.0));
        link.send_bytes(&format!("{A}/evidence/{name}"), &evidence).await;
        let verdict: Verdict =
            decode(format, &answer(&mut link, &format!("evidence/{name}/accepted")).await).expect("a verdict");
        assert_eq!((verdict.verdict.as_str(), verdict.restricted), ("warning", false));
        assert_eq!(verdict.due_in, Some(24 * 3600));
        // It was told, and then its session ended, since it may do more now.
        assert_eq!(link.ended().await, (version == Version::V5).then_some(0x98));
        let mut again = house.connect(&device, version).await;
        assert_eq!(again.publish("shared/x", "{}").await, 0, "all its rights");
    }
}

#[tokio::test]
async fn what_is_rejected_says_why() {
    let house = House::new().await;
    let maker = Maker::known(&house).await;
    let device = house.enroll("acme", "gw-1", "rev-a").await;
    let mut link = house.connect(&device, Version::V5).await;
    let long = vec![b' '; 128 * 1024];
    let token = encode(Format::Json, &maker.token(&[0; 32]));
    let cases: [(&str, &[u8], u16, &str); 10] = [
        ("challenge/json", b"{", 400, "malformed"),
        ("challenge/json", br#"{"more": 1}"#, 200, ""),
        ("evidence/json", &token, 422, "nonce"),
        ("evidence/json", &token, 409, "no-challenge"),
        ("evidence/json", b"{}", 422, "invalid"),
        ("evidence/json", &long, 400, "malformed"),
        ("evidence/cbor", b"{}", 400, "malformed"),
        ("activate/json", br#"{"endorsement": "AAAA", "attestation": "AAAA"}"#, 422, "invalid"),
        ("activate/json", br#"{"endorsement": "AAAA", "attestation": "AAAA", "more": 1}"#, 422, "invalid"),
        ("proof/json", br#"{"secret": "AAAA"}"#, 409, "no-activation"),
    ];
    for (operation, body, status, code) in cases {
        link.publish_bytes(&format!("{A}/{operation}"), body).await;
        let end = if status == 200 { "accepted" } else { "rejected" };
        let (topic, bytes) = link.next_bytes().await;
        assert_eq!(topic, format!("{A}/{operation}/{end}"), "{}", String::from_utf8_lossy(&bytes));
        if status != 200 {
            let format = if operation.ends_with("cbor") { Format::Cbor } else { Format::Json };
            let told: Rejected = decode(format, &bytes).expect("a rejection");
            assert_eq!((told.status, told.code.as_str()), (status, code), "{operation}: {}", told.reason);
        }
    }
}

#[tokio::test]
async fn nobody_attests_for_another() {
    let house = House::new().await;
    let maker = Maker::known(&house).await;
    let here = house.enroll("acme", "gw-1", "rev-a").await;
    let (neighbour, abroad) =
        (house.enroll("acme", "gw-2", "rev-a").await, house.enroll("zenith", "gw-1", "rev-a").await);
    let mut link = house.connect(&here, Version::V5).await;
    let (mut neighbour, mut abroad) =
        (house.connect(&neighbour, Version::V5).await, house.connect(&abroad, Version::V5).await);
    for topic in ["challenge/json", "evidence/json"] {
        assert_eq!(neighbour.publish(&format!("{A}/{topic}"), "{}").await, 0x87, "{topic}");
        assert_eq!(neighbour.try_subscribe(&[&format!("{A}/{topic}/accepted")]).await, [0x87], "{topic}");
    }
    // What the server says is not to be said by a device.
    assert_eq!(link.publish(&format!("{A}/evidence/json/accepted"), "{}").await, 0x87);
    link.publish(&format!("{A}/challenge/json"), "").await;
    let challenge = link.next().await.1;
    let nonce = BASE64_STANDARD.decode(challenge["nonce"].as_str().expect("a nonce")).expect("base64");
    // Another tenant's device of the same name has topics of the same name, and a challenge and makers of its own.
    abroad.publish_bytes(&format!("{A}/evidence/json"), &encode(Format::Json, &maker.token(&nonce))).await;
    let told: Value = abroad.next().await.1;
    assert_eq!((&told["status"], &told["code"]), (&json!(409), &json!("no-challenge")));
    abroad.publish(&format!("{A}/challenge/json"), "{}").await;
    let theirs = abroad.next().await.1;
    let theirs = BASE64_STANDARD.decode(theirs["nonce"].as_str().expect("a nonce")).expect("base64");
    abroad.publish_bytes(&format!("{A}/evidence/json"), &encode(Format::Json, &maker.token(&theirs))).await;
    assert_eq!(abroad.next().await.1["code"], json!("signature"), "acme's maker is nobody there");
    link.expect_nothing().await;
    neighbour.expect_nothing().await;
    // A claim is no device, and has nothing to prove.
    house.template("acme", "line", &json!({ "Resources": { "thing": { "Type": "AWS::IoT::Thing" } } })).await;
    let claim = house.claim("acme", "line-4", "line", None).await;
    let mut claim = house.connect(&claim, Version::V5).await;
    assert_eq!(claim.publish(&format!("{A}/challenge/json"), "{}").await, 0x87);
}
