//! Attestation: held back until affirmed, what each verdict does, and what is forgotten when a device comes back.
//!
//! Evidence is an EAT as JWT, whose maker is here; TPMs are in the tests of the agent and in `conformance`.

use std::time::Duration;

use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use fleetward_app::attestation::{
    self, AnchorKind, NewAnchor, NewReference, Outcome, add_anchor, add_reference, device_attestation, look_at_overdue,
};
use fleetward_app::enroll::{Admitted, Attempt, Enrolled, admit_device, still_admitted};
use fleetward_app::identity_policy::{amend_policy, show_policy};
use fleetward_app::journal::{self, JournalFilter};
use fleetward_app::{Ctx, Error, registry, tenants};
use fleetward_attest::Evidence;
use fleetward_core::access::DeviceRights;
use fleetward_core::attestation::Verdict;
use fleetward_core::lifecycle::Transition;
use fleetward_store::{AttestationRow, TenantRow};
use rustls_pki_types::CertificateDer;
use serde_json::{Value, json};

use crate::enroll::{Device, enrolled};
use crate::fixture::{Fixture, ctx, device, tenant};

const HOUR: Duration = Duration::from_secs(3600);

/// Whoever makes devices that sign tokens.
struct Maker(EcdsaKeyPair);

impl Maker {
    async fn known(fixture: &Fixture) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("random source");
        let value = pair.public_key().as_der().expect("DER").as_ref().to_vec();
        let new = NewAnchor { kind: AnchorKind::TokenKey, name: "maker".to_owned(), value, root: None };
        add_anchor(&fixture.app, &fixture.admin, &tenant("acme"), new).await.expect("added");
        Self(pair)
    }

    fn token(&self, nonce: &[u8], hardware: &str, measured: &str) -> Evidence {
        let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        let claims = json!({
            "eat_nonce": encode(nonce), "ueid": encode(hardware.as_bytes()),
            "measurements": [["fw", encode(measured.as_bytes())]],
        });
        let message = format!("{}.{}", encode(br#"{"alg":"ES256"}"#), encode(claims.to_string().as_bytes()));
        let signature = self.0.sign(&SystemRandom::new(), message.as_bytes()).expect("signs");
        Evidence::EatJwt(format!("{message}.{}", encode(signature.as_ref())))
    }
}

async fn admitted(fixture: &Fixture, enrolled: &Enrolled) -> Result<Admitted, Error> {
    let attempt = Attempt { address: [192, 0, 2, 1].into(), request_id: fixture.app.new_request_id() };
    admit_device(&fixture.app, &attempt, &CertificateDer::from(enrolled.certificate.as_slice())).await
}

async fn rights(fixture: &Fixture, enrolled: &Enrolled) -> DeviceRights {
    admitted(fixture, enrolled).await.expect("comes in").rights
}

async fn speaker(fixture: &Fixture, enrolled: &Enrolled) -> Ctx {
    ctx(&fixture.app, admitted(fixture, enrolled).await.expect("comes in").principal())
}

async fn attest(fixture: &Fixture, maker: &Maker, by: &Enrolled, hardware: &str, measured: &str) -> Outcome {
    let ctx = speaker(fixture, by).await;
    let challenge = attestation::challenge(&fixture.app, &ctx).await.expect("a challenge");
    let evidence = maker.token(&challenge.nonce, hardware, measured);
    attestation::submit_evidence(&fixture.app, &ctx, evidence).await.expect("a verdict")
}

async fn policy(fixture: &Fixture, section: Value) {
    let (app, admin, acme) = (&fixture.app, &fixture.admin, tenant("acme"));
    let revision = show_policy(app, admin, &acme).await.expect("a policy").revision;
    let patch = json!({ "attestation": section }).as_object().expect("an object").clone();
    amend_policy(app, admin, &acme, revision, patch).await.expect("amended");
}

async fn good(fixture: &Fixture, measured: &[&str]) {
    let digests = measured.iter().map(|text| {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
        digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    });
    let new = NewReference {
        hardware: "unknown".to_owned(),
        firmware: "*".to_owned(),
        learn: None,
        measurements: [("software/fw".to_owned(), digests.collect())].into(),
    };
    add_reference(&fixture.app, &fixture.admin, &tenant("acme"), new).await.expect("added");
}

async fn status(fixture: &Fixture, name: &str) -> String {
    let found = registry::device(&fixture.app, &fixture.admin, &tenant("acme"), &device(name)).await.expect("there");
    found.device.status.to_string()
}

async fn events(fixture: &Fixture, action: &str) -> Vec<Value> {
    let filter = JournalFilter { action: Some(action.to_owned()), ..JournalFilter::default() };
    let page = journal::events(&fixture.app, &fixture.admin, &tenant("acme"), filter, None, 100).await.expect("events");
    page.into_iter().map(|event| event.entry.detail).collect()
}

fn code<T: std::fmt::Debug>(outcome: Result<T, Error>) -> &'static str {
    match outcome {
        Err(Error::Conflict { code, .. } | Error::Untrusted { code, .. }) => code,
        other => panic!("{other:?}"),
    }
}

fn required() -> Value {
    json!({ "classes": { "endpoint": { "required": true } }, "every_hours": 24, "grace_hours": 1 })
}

#[tokio::test]
async fn held_back_until_affirmed_and_again_when_overdue() {
    let fixture = Fixture::new().await;
    let maker = Maker::known(&fixture).await;
    let gateway = enrolled(&fixture, "acme", &Device::new("gw-1")).await;
    assert_eq!(rights(&fixture, &gateway).await, DeviceRights::Full, "nobody asks");
    policy(&fixture, required()).await;
    assert_eq!(rights(&fixture, &gateway).await, DeviceRights::Restricted);
    good(&fixture, &["v1"]).await;
    let outcome = attest(&fixture, &maker, &gateway, "hw-1", "v1").await;
    assert_eq!((outcome.verdict, outcome.restricted), (Verdict::Affirming, false));
    assert_eq!(rights(&fixture, &gateway).await, DeviceRights::Full);
    let serial = admitted(&fixture, &gateway).await.expect("in").serial;
    let (acme, id) = (tenant("acme"), device("gw-1"));
    let still = |rights| still_admitted(&fixture.app, &acme, &id, &serial, rights);
    assert!(still(DeviceRights::Full).await.expect("a store"));

    fixture.clock.advance(HOUR * 25);
    assert_eq!(look_at_overdue(&fixture.app).await.expect("a store"), 0, "within the grace");
    fixture.clock.advance(HOUR);
    assert_eq!(rights(&fixture, &gateway).await, DeviceRights::Restricted);
    assert!(!still(DeviceRights::Full).await.expect("a store"));
    assert_eq!(look_at_overdue(&fixture.app).await.expect("a store"), 1);
    assert_eq!(look_at_overdue(&fixture.app).await.expect("a store"), 0, "noticed once");
    assert_eq!(events(&fixture, "attestation.overdue").await.len(), 1);
    attest(&fixture, &maker, &gateway, "hw-1", "v1").await;
    assert_eq!(rights(&fixture, &gateway).await, DeviceRights::Full);
    assert_eq!(events(&fixture, "attestation.verdict").await.len(), 1, "the same verdict is not told twice");
}

#[tokio::test]
async fn a_tenant_that_cannot_be_worked_on_holds_up_no_other() {
    let fixture = Fixture::new().await;
    let (app, first) = (&fixture.app, tenant("aaa"));
    tenants::create_tenant(app, &fixture.admin, first.clone(), None).await.expect("made");
    let broken = app.write(&first, "break", |tx| {
        Box::pin(async move {
            let row = tx.own_tenant().await?.expect("there");
            let settings = r#"{"identity":7}"#.to_owned();
            Ok(tx
                .update_tenant(&TenantRow { settings, revision: row.revision + 1, ..row.clone() }, row.revision)
                .await?)
        })
    });
    assert!(broken.await.expect("written"));
    let maker = Maker::known(&fixture).await;
    let gateway = enrolled(&fixture, "acme", &Device::new("gw-1")).await;
    policy(&fixture, required()).await;
    good(&fixture, &["v1"]).await;
    attest(&fixture, &maker, &gateway, "hw-1", "v1").await;
    fixture.clock.advance(HOUR * 26);
    // Another server, which knows no policy from before.
    let second = fixture.second();
    assert!(show_policy(&second, &fixture.admin, &first).await.is_err(), "it is broken");
    assert_eq!(look_at_overdue(&second).await.expect("the others are looked at"), 1);
}

#[tokio::test]
async fn a_bad_state_is_quarantined_restricted_or_told() {
    for (reaction, expected, left) in [
        ("quarantine", "quarantined", DeviceRights::Restricted),
        ("restrict", "active", DeviceRights::Restricted),
        ("warn", "active", DeviceRights::Full),
    ] {
        let fixture = Fixture::new().await;
        let maker = Maker::known(&fixture).await;
        let gateway = enrolled(&fixture, "acme", &Device::new("gw-1")).await;
        let mut section = required();
        section["on_failure"] = json!(reaction);
        policy(&fixture, section).await;
        good(&fixture, &["v1"]).await;
        attest(&fixture, &maker, &gateway, "hw-1", "v1").await;
        let outcome = attest(&fixture, &maker, &gateway, "hw-1", "tampered").await;
        assert_eq!(outcome.verdict, Verdict::Contraindicated);
        assert_eq!(outcome.reasons[0].to_string(), "unknown-measurement:software/fw");
        assert_eq!(status(&fixture, "gw-1").await, expected, "{reaction}");
        assert_eq!(rights(&fixture, &gateway).await, left, "{reaction}");
        // It may still say that it is well again; out of quarantine somebody has to let it.
        let outcome = attest(&fixture, &maker, &gateway, "hw-1", "v1").await;
        assert_eq!((outcome.verdict, outcome.restricted), (Verdict::Affirming, reaction == "quarantine"));
        if reaction == "quarantine" {
            let (app, admin, step) = (&fixture.app, &fixture.admin, Transition::Reinstate);
            registry::change_status(app, admin, &tenant("acme"), &device("gw-1"), step).await.expect("reinstated");
        }
        assert_eq!(rights(&fixture, &gateway).await, DeviceRights::Full, "{reaction}");
    }
}

#[tokio::test]
async fn one_hardware_is_one_device() {
    let fixture = Fixture::new().await;
    let maker = Maker::known(&fixture).await;
    policy(&fixture, required()).await;
    good(&fixture, &["v1"]).await;
    let first = enrolled(&fixture, "acme", &Device::new("gw-1")).await;
    let second = enrolled(&fixture, "acme", &Device::new("gw-2")).await;
    attest(&fixture, &maker, &first, "hw-1", "v1").await;
    let outcome = attest(&fixture, &maker, &second, "hw-1", "v1").await;
    assert_eq!(outcome.reasons[0].to_string(), "hardware-elsewhere");
    assert_eq!(
        (status(&fixture, "gw-1").await, status(&fixture, "gw-2").await),
        ("active".into(), "quarantined".into())
    );
    assert_eq!(attest(&fixture, &maker, &first, "hw-1", "v1").await.verdict, Verdict::Affirming, "it was here first");
    // Once the first is at its end its hardware may be another device.
    let step = Transition::Decommission;
    registry::change_status(&fixture.app, &fixture.admin, &tenant("acme"), &device("gw-1"), step).await.expect("ends");
    assert_eq!(attest(&fixture, &maker, &second, "hw-1", "v1").await.verdict, Verdict::Affirming);
}

#[tokio::test]
async fn whoever_comes_back_proves_itself_anew() {
    let fixture = Fixture::new().await;
    let maker = Maker::known(&fixture).await;
    policy(&fixture, required()).await;
    good(&fixture, &["v1"]).await;
    let field = Device::new("gw-1");
    let first = enrolled(&fixture, "acme", &field).await;
    attest(&fixture, &maker, &first, "hw-1", "v1").await;
    registry::revoke_device(&fixture.app, &fixture.admin, &tenant("acme"), &device("gw-1"), "stolen")
        .await
        .expect("out");
    let again = enrolled(&fixture, "acme", &Device::new("gw-1")).await;
    assert_eq!(rights(&fixture, &again).await, DeviceRights::Restricted);
    let view = device_attestation(&fixture.app, &fixture.admin, &tenant("acme"), &device("gw-1")).await.expect("there");
    assert_eq!((view.restricted, view.verdict), (Some("never-attested"), None));
}

#[tokio::test]
async fn the_first_devices_teach_and_the_next_are_held_to_it() {
    let fixture = Fixture::new().await;
    let maker = Maker::known(&fixture).await;
    policy(&fixture, required()).await;
    let new = NewReference {
        hardware: "unknown".to_owned(),
        firmware: "*".to_owned(),
        learn: Some(2),
        ..NewReference::default()
    };
    add_reference(&fixture.app, &fixture.admin, &tenant("acme"), new).await.expect("learns");
    for (name, hardware, measured, expected) in [
        ("gw-1", "hw-1", "v1", "affirming"),
        ("gw-1", "hw-1", "v1", "affirming"),
        ("gw-2", "hw-2", "v2", "affirming"),
        ("gw-3", "hw-3", "v2", "affirming"),
        ("gw-4", "hw-4", "v3", "contraindicated"),
    ] {
        let field = enrolled(&fixture, "acme", &Device::new(name)).await;
        assert_eq!(attest(&fixture, &maker, &field, hardware, measured).await.verdict.as_str(), expected, "{name}");
    }
    let all = attestation::references(&fixture.app, &fixture.admin, &tenant("acme"), None, 9).await.expect("there");
    assert_eq!((all[0].state.as_str(), all[0].teachers.len()), ("locked", 2));
    assert_eq!(events(&fixture, "attestation.reference_locked").await.len(), 1);
}

#[tokio::test]
async fn what_proves_nothing_changes_nothing() {
    let fixture = Fixture::new().await;
    let maker = Maker::known(&fixture).await;
    good(&fixture, &["v1"]).await;
    let gateway = enrolled(&fixture, "acme", &Device::new("gw-1")).await;
    let other = enrolled(&fixture, "acme", &Device::new("gw-2")).await;
    attest(&fixture, &maker, &gateway, "hw-1", "v1").await;
    let (app, me, them) = (&fixture.app, speaker(&fixture, &gateway).await, speaker(&fixture, &other).await);
    let submit = |ctx: Ctx, evidence| async move { code(attestation::submit_evidence(app, &ctx, evidence).await) };
    assert_eq!(submit(me.clone(), maker.token(&[0; 32], "hw-1", "v1")).await, "no-challenge");
    let theirs = attestation::challenge(app, &them).await.expect("a challenge").nonce;
    attestation::challenge(app, &me).await.expect("a challenge");
    assert_eq!(submit(me.clone(), maker.token(&theirs, "hw-1", "v1")).await, "nonce", "another device's challenge");
    let nonce = attestation::challenge(app, &me).await.expect("a challenge").nonce;
    let stranger = Maker(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).expect("random source"));
    assert_eq!(submit(me.clone(), stranger.token(&nonce, "hw-1", "v1")).await, "signature");
    assert_eq!(submit(me.clone(), maker.token(&nonce, "hw-1", "v1")).await, "no-challenge", "used up");
    let nonce = attestation::challenge(app, &me).await.expect("a challenge").nonce;
    fixture.clock.advance(Duration::from_secs(121));
    assert_eq!(submit(me.clone(), maker.token(&nonce, "hw-1", "v1")).await, "no-challenge", "too old");
    let view = device_attestation(app, &fixture.admin, &tenant("acme"), &device("gw-1")).await.expect("there");
    assert_eq!(view.verdict.as_deref(), Some("affirming"));
    assert_eq!(events(&fixture, "attestation.refused").await.len(), 2);
    let counted = app.attestation_results().all();
    assert!(counted.contains(&("refused", "nonce", 1)) && counted.contains(&("affirming", "none", 1)), "{counted:?}");
}

#[tokio::test]
async fn a_token_does_not_take_the_place_of_the_tpm_that_a_key_was_activated_in() {
    let fixture = Fixture::new().await;
    let maker = Maker::known(&fixture).await;
    let gateway = enrolled(&fixture, "acme", &Device::new("gw-1")).await;
    let (app, acme) = (&fixture.app, tenant("acme"));
    let activated = AttestationRow {
        identity: Some("aa".repeat(32)),
        anchor: Some("bb".repeat(32)),
        attestation_key: Some(include_bytes!("../../../attest/tests/it/golden/ak.pub").to_vec()),
        key_certificate: Some(vec![2]),
        ..AttestationRow::new(device("gw-1"), app.now())
    };
    app.write(&acme, "activated", move |tx| Box::pin(async move { Ok(tx.put_attestation(&activated).await?) }))
        .await
        .expect("kept");
    attest(&fixture, &maker, &gateway, "hw-1", "v1").await;
    let found = app.read(&acme, "row", |tx| Box::pin(async move { Ok(tx.attestation(&device("gw-1")).await?) })).await;
    let row = found.expect("read").expect("a row");
    assert_ne!(row.identity, Some("aa".repeat(32)));
    assert_eq!((row.attestation_key, row.key_certificate), (None, None));
}

#[tokio::test]
async fn tenants_do_not_share_what_they_believe() {
    let fixture = Fixture::new().await;
    let maker = Maker::known(&fixture).await;
    let elsewhere = enrolled(&fixture, "zenith", &Device::new("gw-1")).await;
    let ctx = speaker(&fixture, &elsewhere).await;
    let nonce = attestation::challenge(&fixture.app, &ctx).await.expect("a challenge").nonce;
    let evidence = maker.token(&nonce, "hw-1", "v1");
    assert_eq!(code(attestation::submit_evidence(&fixture.app, &ctx, evidence).await), "signature");
    let viewer = fixture.operator("zenith", "viewer").await;
    let seen = attestation::anchors(&fixture.app, &viewer, &tenant("acme"), None, 9).await;
    assert!(matches!(seen, Err(Error::NotFound { .. })));
    let nobody = attestation::challenge(&fixture.app, &fixture.admin).await;
    assert!(matches!(nobody, Err(Error::Unauthenticated { .. })));
}
