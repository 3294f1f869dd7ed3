//! Devices that come in by a symmetric key, by Azure's registration, by a person, and with a row in the inventory.

use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use fleetward_app::device_flow::{Granted, Polled, authorize_device, poll_device};
use fleetward_app::enroll::dps::{Answer, Proof, operation, register, sign_in};
use fleetward_app::enroll::{Credentials, Enrolled, enroll_device};
use fleetward_app::enrollment_keys::{Kind, NewEnrollment, ShownKeys, create_enrollment, derived, id_scope};
use fleetward_app::enrollment_keys::{revoke_enrollment, rotate_enrollment};
use fleetward_app::enrollment_requests::{decide_enrollment, enrollment_requests};
use fleetward_app::inventory::makers::register_maker;
use fleetward_app::inventory::{Imported, import_inventory, inventory_row, provenance};
use fleetward_app::{Error, registry};
use fleetward_base::Secret;
use fleetward_core::approval::{Decision, State};
use fleetward_core::inventory::import::Format;
use fleetward_core::lifecycle::Transition;
use fleetward_core::registry::{Class, Scalar};
use fleetward_wire::azure::SasToken;
use fleetward_wire::azure::message::RegisterRequest;
use serde_json::{Value, json};

use crate::approval::policy;
use crate::enroll::{Device, attempt, causes, enroll, refused, token};
use crate::fixture::{Fixture, device, tenant};

async fn group(fixture: &Fixture, kind: Kind, name: &str) -> ShownKeys {
    let new = NewEnrollment {
        class: Some(Class::Gateway),
        hardware: Some("rev-b".to_owned()),
        payload: Some(json!({ "site": "north" })),
        ..NewEnrollment::default()
    };
    let (app, admin, acme) = (&fixture.app, &fixture.admin, tenant("acme"));
    create_enrollment(app, admin, &acme, kind, name.to_owned(), new).await.expect("made")
}

fn key_for(group_key: &str, name: &str) -> String {
    STANDARD.encode(derived(&STANDARD.decode(group_key).expect("base64"), name))
}

async fn by_key(fixture: &Fixture, home: &str, field: &Device, name: &str, key: &str) -> Result<Enrolled, Error> {
    let credentials = Credentials { device: name.to_owned(), token: Secret::new(key.to_owned()) };
    let (label, der) = (tenant(home), field.request());
    enroll_device(&fixture.app, &attempt(fixture), Some(&label), &credentials, &der).await
}

#[tokio::test]
async fn a_derived_key_enrols_its_device_and_no_other() {
    let fixture = Fixture::new().await;
    let keys = group(&fixture, Kind::Group, "line-4").await;
    let (field, key) = (Device::new("gw-1"), key_for(&keys.primary_key, "gw-1"));
    let first = by_key(&fixture, "acme", &field, "gw-1", &key).await.expect("enrolled");
    let again = by_key(&fixture, "acme", &field, "gw-1", &key).await.expect("its answer was lost");
    assert_eq!(first.serial, again.serial);
    let record = registry::device(&fixture.app, &fixture.admin, &tenant("acme"), &device("gw-1")).await.expect("there");
    assert_eq!((record.device.class, record.device.hardware.as_str()), (Class::Gateway, "rev-b"));

    let key_of_another = "the key is not that of an enrolment for this device";
    assert_eq!(refused(by_key(&fixture, "acme", &Device::new("gw-2"), "gw-2", &key).await), key_of_another);
    assert_eq!(refused(by_key(&fixture, "zenith", &field, "gw-1", &key).await), key_of_another);
    assert_eq!(refused(by_key(&fixture, "acme", &field, "gw-1", &keys.primary_key).await), key_of_another);
    let secondary = key_for(&keys.secondary_key, "gw-2");
    by_key(&fixture, "acme", &Device::new("gw-2"), "gw-2", &secondary).await.expect("either key counts");

    // A key that it always had brings no suspended device back.
    let (app, admin, acme) = (&fixture.app, &fixture.admin, tenant("acme"));
    registry::change_status(app, admin, &acme, &device("gw-1"), Transition::Suspend).await.expect("suspended");
    assert_eq!(refused(by_key(&fixture, "acme", &Device::new("gw-1"), "gw-1", &key).await), "life-cycle");
    registry::change_status(app, admin, &acme, &device("gw-1"), Transition::Reinstate).await.expect("reinstated");
    by_key(&fixture, "acme", &Device::new("gw-1"), "gw-1", &key).await.expect("somebody let it back");
}

#[tokio::test]
async fn keys_are_rotated_one_at_a_time_and_revoked() {
    let fixture = Fixture::new().await;
    let (app, admin, acme) = (&fixture.app, &fixture.admin, tenant("acme"));
    let before = group(&fixture, Kind::Group, "line-4").await;
    let after = rotate_enrollment(app, admin, &acme, Kind::Group, "line-4").await.expect("rotated");
    assert_eq!(after.secondary_key, before.primary_key);
    let enrols = async |name: &'static str, key: &str| {
        by_key(&fixture, "acme", &Device::new(name), name, &key_for(key, name)).await.is_ok()
    };
    assert!(enrols("gw-1", &before.primary_key).await, "what was the primary still counts");
    assert!(enrols("gw-2", &after.primary_key).await);
    assert!(!enrols("gw-3", &before.secondary_key).await);
    revoke_enrollment(app, admin, &acme, Kind::Group, "line-4").await.expect("revoked");
    assert!(!enrols("gw-4", &after.primary_key).await);
    assert_eq!(causes(&fixture, "acme").await, ["wrong-key", "revoked-enrollment"]);
    let own = group(&fixture, Kind::Individual, "gw-9").await;
    by_key(&fixture, "acme", &Device::new("gw-9"), "gw-9", &own.primary_key).await.expect("its own key, as it is");
    let operator = fixture.operator("acme", "operator").await;
    let made = create_enrollment(app, &operator, &acme, Kind::Group, "x".into(), NewEnrollment::default()).await;
    assert!(matches!(made, Err(Error::Denied { .. })));
}

fn signature(key: &str, scope: &str, id: &str, expires: i64) -> SasToken {
    let resource = format!("{scope}%2Fregistrations%2F{id}");
    let key = hmac::Key::new(hmac::HMAC_SHA256, &STANDARD.decode(key).expect("base64"));
    let tag = hmac::sign(&key, format!("{resource}\n{expires}").as_bytes());
    let tag = STANDARD.encode(tag).replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    let text = format!("SharedAccessSignature sr={resource}&sig={tag}&se={expires}&skn=registration");
    SasToken::parse(&text).expect("a token")
}

#[tokio::test]
async fn azure_registers_a_device_and_gives_it_a_certificate() {
    let fixture = Fixture::new().await;
    let keys = group(&fixture, Kind::Group, "line-4").await;
    let (app, scope) = (&fixture.app, keys.id_scope.as_str());
    assert_eq!(id_scope(app, &fixture.admin, &tenant("acme")).await.expect("a scope"), scope);
    let now = app.now().secs();
    let key = key_for(&keys.primary_key, "gw-1");
    let good = signature(&key, scope, "gw-1", now + 3600);
    let here = attempt(&fixture);
    let registrant = sign_in(app, &here, scope, "gw-1", Proof::Signature(&good)).await.expect("signed in");
    let asks = RegisterRequest {
        registration_id: Some("gw-1".into()),
        csr: Some(STANDARD.encode(Device::new("gw-1").request())),
        ..RegisterRequest::default()
    };
    let made = register(app, &here, &registrant, &asks).await.expect("registered");
    let accepted: Value = serde_json::from_slice(&Answer::accepted(&made).body).expect("JSON");
    assert_eq!(accepted["status"], "assigning");
    let asked = accepted["operationId"].as_str().expect("an id");
    let found = operation(app, &here, &registrant, Some(asked)).await.expect("there");
    let answer = Answer::operation(found);
    let body: Value = serde_json::from_slice(&answer.body).expect("JSON");
    assert_eq!((answer.status, &body["status"]), (200, &json!("assigned")));
    let state = &body["registrationState"];
    assert_eq!((&state["assignedHub"], &state["deviceId"]), (&json!("localhost"), &json!("gw-1")));
    assert_eq!(state["payload"], json!({ "site": "north" }));
    assert_eq!(state["issuedCertificateChain"].as_array().map(Vec::len), Some(3));
    assert!(matches!(operation(app, &here, &registrant, Some("other")).await, Err(Error::NotFound { .. })));

    for (token, id, at) in [
        (signature(&key, scope, "gw-1", now - 3600), "gw-1", scope),
        (signature(&key, scope, "gw-1", now + 10 * 366 * 24 * 3600), "gw-1", scope),
        (signature(&key, scope, "gw-2", now + 3600), "gw-2", scope),
        (signature(&key, scope, "gw-2", now + 3600), "gw-1", scope),
        (signature(&key, "0neX", "gw-1", now + 3600), "gw-1", "0neX"),
        (signature(&keys.primary_key, scope, "gw-1", now + 3600), "gw-1", scope),
    ] {
        let outcome = sign_in(app, &here, at, id, Proof::Signature(&token)).await;
        assert!(matches!(outcome, Err(Error::Unauthenticated { .. })), "{token:?}");
    }
    let tpm = RegisterRequest { tpm: Some(json!({})), ..RegisterRequest::default() };
    assert!(matches!(register(app, &here, &registrant, &tpm).await, Err(Error::Invalid { .. })));
}

#[tokio::test]
async fn azure_has_a_device_wait_where_policy_asks_a_person() {
    let fixture = Fixture::new().await;
    policy(&fixture, "acme", json!({ "approval": ["symmetric_key"] })).await;
    let keys = group(&fixture, Kind::Individual, "gw-1").await;
    let (app, scope, here) = (&fixture.app, keys.id_scope.as_str(), attempt(&fixture));
    let token = signature(&keys.primary_key, scope, "gw-1", app.now().secs() + 60);
    let registrant = sign_in(app, &here, scope, "gw-1", Proof::Signature(&token)).await.expect("signed in");
    let csr = Some(STANDARD.encode(Device::new("gw-1").request()));
    let made = register(app, &here, &registrant, &RegisterRequest { csr, ..RegisterRequest::default() }).await;
    assert_eq!(made.expect("kept").row.status, "assigning");
    let (admin, acme) = (&fixture.admin, tenant("acme"));
    let inbox = fleetward_app::enrollment_requests::enrollment_requests(app, admin, &acme, None, None, 10).await;
    let code = inbox.expect("a page").remove(0).user_code;
    decide_enrollment(app, admin, &acme, &code, Decision::Approve, None).await.expect("decided");
    let found = operation(app, &here, &registrant, None).await.expect("there");
    assert_eq!((found.row.status.as_str(), found.chain.len()), ("assigned", 3));
}

#[tokio::test]
async fn a_person_lets_a_device_in_that_has_nothing() {
    let fixture = Fixture::new().await;
    let (app, admin, acme, here) = (&fixture.app, &fixture.admin, tenant("acme"), attempt(&fixture));
    let scope = id_scope(app, admin, &acme).await.expect("a scope");
    let field = Device::new("gw-1");
    let asked = authorize_device(app, &here, &scope, Some("gw-1"), Some(&field.request())).await.expect("asked");
    assert!(asked.verification_uri_complete.ends_with(&format!("/activate?user_code={}", asked.user_code)));
    let poll = async || poll_device(app, &here, asked.device_code.expose()).await.expect("an answer");
    assert!(matches!(poll().await, Polled::Pending));
    fixture.clock.advance(Duration::from_secs(1));
    assert!(matches!(poll().await, Polled::SlowDown { interval_s: 10 }));
    decide_enrollment(app, admin, &acme, &asked.user_code, Decision::Approve, None).await.expect("decided");
    let granted = |polled| match polled {
        Polled::Granted(Granted { token, .. }) => token,
        other => panic!("{other:?}"),
    };
    let (first, second) = (granted(poll().await), granted(poll().await));
    let by_token = async |token: &Secret<String>| {
        let credentials = Credentials { device: String::new(), token: token.clone() };
        enroll_device(app, &here, None, &credentials, &field.request()).await
    };
    assert_eq!(refused(by_token(&first).await), "the enrolment token was revoked", "the answer was lost");
    let other = Device::new("gw-1").request();
    let credentials = Credentials { device: String::new(), token: second.clone() };
    let stolen = enroll_device(app, &here, None, &credentials, &other).await;
    assert_eq!(
        refused(stolen),
        "the enrolment token was given for another key",
        "the key that was approved and no other"
    );
    let enrolled = by_token(&second).await.expect("enrolled");
    assert_eq!(enrolled.device, device("gw-1"));
    assert!(matches!(poll_device(app, &here, asked.device_code.expose()).await, Err(Error::Conflict { .. })));
    assert!(matches!(poll_device(app, &here, "fwd_nothing").await, Ok(Polled::Unknown)));

    let nobody = authorize_device(app, &here, "0neNOBODY", Some("gw-1"), None).await;
    assert!(matches!(nobody, Err(Error::Unauthenticated { .. })));
    let other = authorize_device(app, &here, &scope, Some("gw-2"), Some(&field.request())).await;
    assert!(matches!(other, Err(Error::Invalid { .. })), "a request that names another device");
}

#[tokio::test]
async fn a_token_for_one_request_has_its_end_like_others() {
    let fixture = Fixture::new().await;
    let (app, admin, acme, here) = (&fixture.app, &fixture.admin, tenant("acme"), attempt(&fixture));
    let scope = id_scope(app, admin, &acme).await.expect("a scope");
    let field = Device::new("gw-1");
    let asked = authorize_device(app, &here, &scope, Some("gw-1"), Some(&field.request())).await.expect("asked");
    decide_enrollment(app, admin, &acme, &asked.user_code, Decision::Approve, None).await.expect("decided");
    let polled = poll_device(app, &here, asked.device_code.expose()).await.expect("an answer");
    let Polled::Granted(Granted { token, expires_in, .. }) = polled else { panic!("{polled:?}") };
    fixture.clock.advance(expires_in);
    let credentials = Credentials { device: String::new(), token };
    let late = enroll_device(app, &here, None, &credentials, &field.request()).await;
    assert_eq!(refused(late), "the enrolment token has expired");
}

#[tokio::test]
async fn who_was_let_in_once_is_looked_at_again_for_another_certificate() {
    let fixture = Fixture::new().await;
    policy(&fixture, "acme", json!({ "approval": ["symmetric_key"] })).await;
    let (app, admin, acme) = (&fixture.app, &fixture.admin, tenant("acme"));
    let keys = group(&fixture, Kind::Group, "line-4").await;
    let (field, key) = (Device::new("gw-1"), key_for(&keys.primary_key, "gw-1"));
    let waits = |outcome| matches!(outcome, Err(Error::Pending { .. }));
    let code = async || {
        let page = enrollment_requests(app, admin, &acme, Some(State::Pending), None, 9).await.expect("a page");
        page.into_iter().map(|request| request.user_code).next()
    };
    assert!(waits(by_key(&fixture, "acme", &field, "gw-1", &key).await));
    let first = code().await.expect("it waits");
    decide_enrollment(app, admin, &acme, &first, Decision::Approve, None).await.expect("decided");
    let one = by_key(&fixture, "acme", &field, "gw-1", &key).await.expect("let in");
    let same = by_key(&fixture, "acme", &field, "gw-1", &key).await.expect("its answer was lost");
    assert_eq!(one.serial, same.serial);
    let left = u64::try_from(one.not_after.secs() - app.now().secs()).expect("it is in the future");
    fixture.clock.advance(Duration::from_secs(left + 1));
    assert!(waits(by_key(&fixture, "acme", &field, "gw-1", &key).await), "nobody has looked at it since");
    let second = code().await.expect("somebody is asked");
    assert_ne!(first, second);
    decide_enrollment(app, admin, &acme, &second, Decision::Approve, None).await.expect("decided");
    let other = by_key(&fixture, "acme", &field, "gw-1", &key).await.expect("let in again");
    assert_ne!(one.serial, other.serial);
}

#[tokio::test]
async fn who_is_refused_or_forgotten_hears_it() {
    let fixture = Fixture::new().await;
    let (app, admin, acme, here) = (&fixture.app, &fixture.admin, tenant("acme"), attempt(&fixture));
    let scope = id_scope(app, admin, &acme).await.expect("a scope");
    let one = authorize_device(app, &here, &scope, Some("gw-1"), None).await.expect("asked");
    let other = authorize_device(app, &here, &scope, Some("gw-2"), None).await.expect("asked");
    decide_enrollment(app, admin, &acme, &one.user_code, Decision::Deny, None).await.expect("decided");
    let poll = async |code: &Secret<String>| poll_device(app, &here, code.expose()).await.expect("an answer");
    assert!(matches!(poll(&one.device_code).await, Polled::Denied));
    fixture.clock.advance(Duration::from_secs(1800));
    assert!(matches!(poll(&other.device_code).await, Polled::Expired));
}

async fn import(fixture: &Fixture, text: &str, dry_run: bool) -> Imported {
    let pieces: Vec<_> = text.as_bytes().chunks(7).map(|piece| Ok(piece.to_vec().into())).collect();
    let body = futures::stream::iter(pieces);
    let (app, admin, acme) = (&fixture.app, &fixture.admin, tenant("acme"));
    import_inventory(app, admin, &acme, Format::Csv, body, dry_run).await.expect("read")
}

#[tokio::test]
async fn the_same_import_changes_nothing_twice() {
    let fixture = Fixture::new().await;
    let text = "serial,device,class,batch\n1,gw-1,gateway,b1\n2,gw-2,,b1\n3,gw-2,,\n4,x/y,,\n";
    let counts = |found: &Imported| (found.added, found.changed, found.unchanged, found.faulty);
    assert_eq!(counts(&import(&fixture, text, true).await), (3, 0, 0, 1), "nothing is written, so nothing is taken");
    let first = import(&fixture, text, false).await;
    assert_eq!(counts(&first), (2, 0, 0, 2));
    let lines: Vec<_> = first.faults.iter().map(|fault| (fault.line, fault.field)).collect();
    assert_eq!(lines, [(5, Some("device")), (4, Some("device"))]);
    assert_eq!(counts(&import(&fixture, text, false).await), (0, 0, 2, 2));
    assert_eq!(counts(&import(&fixture, "serial,device,batch\n1,gw-1,b2\n", false).await), (0, 1, 0, 0));
    let (app, admin, acme) = (&fixture.app, &fixture.admin, tenant("acme"));
    assert_eq!(inventory_row(app, admin, &acme, "1").await.expect("there").batch.as_deref(), Some("b2"));
    assert!(matches!(inventory_row(app, admin, &tenant("zenith"), "1").await, Err(Error::NotFound { .. })));
}

#[tokio::test]
async fn policy_lets_in_what_was_made_and_how() {
    let fixture = Fixture::new().await;
    let section = json!({ "require_inventory": true, "root_of_trust": { "gateway": ["tpm2"] } });
    policy(&fixture, "acme", section).await;
    let text = "serial,device,class,hardware,batch,maker,root_of_trust\n\
                SN-1,gw-1,gateway,rev-c,b1,m1,tpm2\nSN-2,gw-2,gateway,rev-c,b1,m1,software\n";
    import(&fixture, text, false).await;
    let enrols = async |name: &'static str| {
        let secret = token(&fixture, "acme", name).await;
        enroll(&fixture, &Device::new(name), &secret).await
    };
    enrols("gw-1").await.expect("it has a TPM");
    assert_eq!(refused(enrols("gw-2").await), "root-of-trust");
    assert_eq!(refused(enrols("gw-3").await), "not-in-inventory");
    assert_eq!(causes(&fixture, "acme").await, ["root-of-trust", "not-in-inventory"]);
    let (app, admin, acme) = (&fixture.app, &fixture.admin, tenant("acme"));
    let record = registry::device(app, admin, &acme, &device("gw-1")).await.expect("there").device;
    assert_eq!((record.class, record.hardware.as_str()), (Class::Gateway, "rev-c"));
    let text = |text: &str| Some(Scalar::Text(text.to_owned()));
    assert_eq!(record.attributes.get("serial").cloned(), text("SN-1"));
    assert_eq!(record.attributes.get("batch").cloned(), text("b1"));
    assert_eq!(provenance(app, admin, &acme, &device("gw-1")).await.expect("there").serial, "SN-1");
}

#[tokio::test]
async fn what_a_maker_signs_is_believed_under_its_key_alone() {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
    let fixture = Fixture::new().await;
    policy(&fixture, "acme", json!({ "require_attested_inventory": true })).await;
    let key = Ed25519KeyPair::generate().expect("random source");
    let mut spki = vec![0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
    spki.extend_from_slice(key.public_key().as_ref());
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(spki));
    let (app, admin, acme) = (&fixture.app, &fixture.admin, tenant("acme"));
    register_maker(app, admin, &acme, "m1", &pem).await.expect("registered");
    let sign = |claims: Value| {
        let part = |value: &str| URL_SAFE_NO_PAD.encode(value);
        let signed = format!("{}.{}", part(r#"{"alg":"EdDSA"}"#), part(&claims.to_string()));
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(key.sign(signed.as_bytes())))
    };
    let good = sign(json!({ "serial": "SN-1", "batch": "b1" }));
    let lies = sign(json!({ "serial": "SN-2", "batch": "b9" }));
    let text = format!(
        "serial,device,batch,maker,attestation\nSN-1,gw-1,b1,m1,{good}\nSN-2,gw-2,b1,m1,{lies}\n\
         SN-3,gw-3,b1,m1,{good}\nSN-4,gw-4,b1,m1,\nSN-5,gw-5,b1,m2,{good}\n"
    );
    let found = import(&fixture, &text, false).await;
    assert_eq!((found.added, found.faulty), (3, 2), "{found:?}");
    let attested = async |serial: &str| inventory_row(app, admin, &acme, serial).await.expect("there").attested_by;
    assert!(attested("SN-1").await.is_some());
    assert!(attested("SN-4").await.is_none() && attested("SN-5").await.is_none());
    let enrols = async |name: &'static str| {
        let secret = token(&fixture, "acme", name).await;
        enroll(&fixture, &Device::new(name), &secret).await
    };
    enrols("gw-1").await.expect("its maker said so");
    assert_eq!(refused(enrols("gw-4").await), "inventory-not-attested");
}
