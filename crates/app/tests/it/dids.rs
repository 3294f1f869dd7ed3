//! Decentralised identifiers: bound to a device by a signed challenge, and by nothing less.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fleetward_app::dids::{Challenge, DidSource, SourceError, add_did, challenge_did, dids, remove_did};
use fleetward_app::{Error, Principal, registry};
use fleetward_core::access::DeviceRights;
use serde_json::{Value, json};

use crate::fixture::{Fixture, ctx, device, tenant};

struct Holder(Ed25519KeyPair);

impl Holder {
    fn new() -> Self {
        Self(Ed25519KeyPair::generate().expect("random source"))
    }

    fn multikey(&self) -> String {
        let bytes = [&[0xed, 0x01], self.0.public_key().as_ref()].concat();
        format!("z{}", bs58::encode(bytes).into_string())
    }

    fn did(&self) -> String {
        format!("did:key:{}", self.multikey())
    }

    fn proof(&self, kid: Option<&str>, did: &str, challenge: &Challenge) -> String {
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let payload = json!({ "iss": did, "aud": challenge.audience, "nonce": challenge.nonce });
        let signed = format!("{}.{}", part(json!({ "alg": "EdDSA", "kid": kid })), part(payload));
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(self.0.sign(signed.as_bytes())))
    }
}

async fn house() -> Fixture {
    let fixture = Fixture::new().await;
    let acme = tenant("acme");
    for name in ["gw-1", "gw-2"] {
        let fields = Default::default();
        let made = registry::create_device(&fixture.app, &fixture.admin, &acme, device(name), fields).await;
        made.expect("registered");
    }
    fixture
}

fn untrusted<T: std::fmt::Debug>(outcome: Result<T, Error>) -> String {
    match outcome {
        Err(Error::Untrusted { code: "did-proof", reason }) => reason,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_device_has_the_identifier_whose_key_it_holds() {
    let fixture = house().await;
    let (app, admin, acme, gw1) = (&fixture.app, &fixture.admin, tenant("acme"), device("gw-1"));
    let holder = Holder::new();
    let did = holder.did();
    let own = Principal::Device {
        tenant: acme.clone(),
        device: gw1.clone(),
        serial: "01".into(),
        rights: DeviceRights::Full,
    };
    let own = ctx(app, own);
    let challenge = challenge_did(app, &own, &acme, &gw1, &did).await.expect("a challenge");
    let proof = holder.proof(None, &did, &challenge);
    add_did(app, &own, &acme, &gw1, &did, &proof).await.expect("added");
    add_did(app, &own, &acme, &gw1, &did, &proof).await.expect("twice is harmless");
    assert_eq!(dids(app, admin, &acme, &gw1).await.expect("there").len(), 1);
    let other = add_did(app, &own, &acme, &device("gw-2"), &did, &proof).await;
    assert!(matches!(other, Err(Error::NotFound { .. })), "a device adds to itself alone");

    let again = challenge_did(app, admin, &acme, &device("gw-2"), &did).await.expect("a challenge");
    let taken = add_did(app, admin, &acme, &device("gw-2"), &did, &holder.proof(None, &did, &again)).await;
    assert!(matches!(taken, Err(Error::Conflict { code: "did-taken", .. })));
    remove_did(app, admin, &acme, &gw1, &did).await.expect("removed");
    assert!(matches!(remove_did(app, admin, &acme, &gw1, &did).await, Err(Error::NotFound { .. })));
}

#[tokio::test]
async fn nothing_less_than_the_challenge_signed() {
    let fixture = house().await;
    let (app, admin, acme, gw1) = (&fixture.app, &fixture.admin, tenant("acme"), device("gw-1"));
    let (holder, thief) = (Holder::new(), Holder::new());
    let did = holder.did();
    let challenge = challenge_did(app, admin, &acme, &gw1, &did).await.expect("a challenge");
    let add = async |proof: &str| untrusted(add_did(app, admin, &acme, &gw1, &did, proof).await);
    assert!(add(&thief.proof(None, &did, &challenge)).await.contains("signature"));
    assert!(add(&holder.proof(None, &thief.did(), &challenge)).await.contains("another identifier"));
    assert!(add("x").await.contains("JWS"));
    let forged = Challenge { nonce: challenge.nonce.replace('.', "0."), ..challenge.clone() };
    assert!(add(&holder.proof(None, &did, &forged)).await.contains("nonce"));
    let elsewhere = challenge_did(app, admin, &acme, &device("gw-2"), &did).await.expect("a challenge");
    let moved = Challenge { audience: challenge.audience.clone(), ..elsewhere };
    assert!(add(&holder.proof(None, &did, &moved)).await.contains("nonce"));
    fixture.clock.advance(Duration::from_secs(301));
    assert!(add(&holder.proof(None, &did, &challenge)).await.contains("expired"));
}

/// A document that is always the same, and how often it was fetched.
struct Fixed {
    document: String,
    fetched: AtomicU32,
}

#[async_trait]
impl DidSource for Fixed {
    async fn fetch(&self, url: &str) -> Result<Vec<u8>, SourceError> {
        self.fetched.fetch_add(1, Ordering::SeqCst);
        assert_eq!(url, "https://example.com/devices/1/did.json");
        Ok(self.document.clone().into_bytes())
    }
}

#[tokio::test]
async fn a_document_of_the_web_names_the_key() {
    let fixture = house().await;
    let (app, admin, acme, gw1) = (&fixture.app, &fixture.admin, tenant("acme"), device("gw-1"));
    let (holder, did) = (Holder::new(), "did:web:example.com:devices:1");
    let document = json!({
        "id": did,
        "authentication": [{ "id": "#k1", "type": "Multikey", "publicKeyMultibase": holder.multikey() }],
    });
    let challenge = challenge_did(app, admin, &acme, &gw1, did).await.expect("a challenge");
    let without = add_did(app, admin, &acme, &gw1, did, &holder.proof(None, did, &challenge)).await;
    assert!(matches!(without, Err(Error::Unavailable { .. })), "no way to documents");
    let source = Arc::new(Fixed { document: document.to_string(), fetched: AtomicU32::new(0) });
    app.connect_did_source(Arc::clone(&source) as Arc<dyn DidSource>);
    let thief = Holder::new().proof(None, did, &challenge);
    untrusted(add_did(app, admin, &acme, &gw1, did, &thief).await);
    let wrong = holder.proof(Some("did:web:example.com:devices:1#k2"), did, &challenge);
    untrusted(add_did(app, admin, &acme, &gw1, did, &wrong).await);
    let proof = holder.proof(Some("did:web:example.com:devices:1#k1"), did, &challenge);
    add_did(app, admin, &acme, &gw1, did, &proof).await.expect("added");
    assert_eq!(source.fetched.load(Ordering::SeqCst), 1, "it is remembered");
}
