//! Whose TPM it is, and whose it must not be: what vouches for an endorsement key by each rule, and hardware that is refused.
//!
//! The TPM is the one whose keys are kept as goldens in `fleetward-attest`.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use fleetward_app::attestation::{AnchorKind, Endorsement, NewAnchor, add_anchor, begin_activation, remove_anchor};
use fleetward_app::deny_list::{self, Denied};
use fleetward_app::enroll::{Enrolled, admit_device, still_admitted};
use fleetward_app::identity_policy::{amend_policy, show_policy};
use fleetward_app::inventory::{import_inventory, remove_inventory};
use fleetward_app::{Ctx, Error, registry};
use fleetward_attest::tpm::{Public, endorsement};
use fleetward_base::limits;
use fleetward_core::access::DeviceRights;
use fleetward_core::inventory::import::Format;
use fleetward_core::registry::{DeviceFields, Scalar};
use fleetward_pki::Signer as _;
use fleetward_store::{AttestationRow, VouchedKeyRow};
use futures::stream;
use rustls_pki_types::CertificateDer;
use serde_json::{Value, json};

use crate::enroll::{Device, admit, attempt, causes, enroll, enrolled, refused, renew, token};
use crate::fixture::{Fixture, ctx, device, tenant};

fn golden(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../attest/tests/it/golden").join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// SHA-256 of the endorsement key, hex.
fn identity() -> String {
    let key = Public::parse(&golden("ek.pub")).expect("a public area");
    endorsement::identity(&key).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn shown(certificate: Option<Vec<u8>>) -> Endorsement {
    let (public, attestation) = (golden("ek.pub"), golden("ak.pub"));
    Endorsement { public, certificate, chain: Vec::new(), attestation }
}

/// At a time at which the golden certificates hold.
async fn house() -> Fixture {
    let fixture = Fixture::new().await;
    fixture.clock.advance(Duration::from_secs(8 * 24 * 3600));
    fixture
}

async fn policy(fixture: &Fixture, change: Value) {
    let (app, admin, acme) = (&fixture.app, &fixture.admin, tenant("acme"));
    let at = show_policy(app, admin, &acme).await.expect("a policy").revision;
    amend_policy(app, admin, &acme, at, change.as_object().expect("an object").clone()).await.expect("amended");
}

async fn import(fixture: &Fixture, rows: &[Value]) {
    let text: String = rows.iter().map(|row| format!("{row}\n")).collect();
    let body = stream::iter([Ok::<_, std::io::Error>(Bytes::from(text))]);
    let (app, admin) = (&fixture.app, &fixture.admin);
    let done = import_inventory(app, admin, &tenant("acme"), Format::JsonLines, body, false).await.expect("read");
    assert_eq!(done.added + done.changed, rows.len() as u64, "{done:?}");
}

async fn speaker(fixture: &Fixture, by: &Enrolled) -> Ctx {
    let der = CertificateDer::from(by.certificate.as_slice());
    let admitted = admit_device(&fixture.app, &attempt(fixture), &der).await.expect("comes in");
    ctx(&fixture.app, admitted.principal())
}

/// Whether the device may begin to activate: the code of the refusal, and its reason.
async fn begins(fixture: &Fixture, ctx: &Ctx, certificate: Option<Vec<u8>>) -> Result<(), (&'static str, String)> {
    match begin_activation(&fixture.app, ctx, shown(certificate)).await {
        Ok(made) => {
            assert!(!made.credential.is_empty() && !made.secret.is_empty());
            Ok(())
        }
        Err(Error::Untrusted { code, reason }) => Err((code, reason)),
        Err(other) => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_endorsement_key_counts_by_what_the_tenant_takes() {
    let fixture = house().await;
    let (app, admin, acme) = (&fixture.app, &fixture.admin, tenant("acme"));
    let gateway = enrolled(&fixture, "acme", &Device::new("gw-1")).await;
    let me = speaker(&fixture, &gateway).await;
    let by = async |rule: &str| {
        policy(&fixture, json!({ "attestation": { "endorsement": rule } })).await;
        let bare = begins(&fixture, &me, None).await.map_err(|(code, _)| code);
        let whole = begins(&fixture, &me, Some(golden("ek.der"))).await.map_err(|(code, _)| code);
        (bare.is_ok(), whole.is_ok())
    };
    for rule in ["chain", "inventory", "either"] {
        assert_eq!(by(rule).await, (false, false), "{rule}: nobody said anything");
    }
    // A root of its maker.
    let root = |kind, value| NewAnchor { kind, name: "maker".to_owned(), value, root: None };
    let anchor = add_anchor(app, admin, &acme, root(AnchorKind::TpmRoot, golden("maker.der"))).await.expect("added");
    assert_eq!(
        (by("chain").await, by("inventory").await, by("either").await),
        ((false, true), (false, false), (false, true))
    );
    // The manufacturing database says that this device has this TPM.
    import(&fixture, &[json!({ "serial": "SN-1", "device": "gw-1", "ek_hash": identity() })]).await;
    assert_eq!(
        (by("chain").await, by("inventory").await, by("either").await),
        ((false, true), (true, true), (true, true))
    );
    remove_anchor(app, admin, &acme, anchor.id).await.expect("removed");
    assert_eq!((by("chain").await, by("either").await), ((false, false), (true, true)));
    // Where the tenant wants its maker's signature, a row without one says nothing good.
    policy(&fixture, json!({ "enrolment": { "require_attested_inventory": true } })).await;
    assert_eq!(by("inventory").await, (false, false));
    policy(&fixture, json!({ "enrolment": { "require_attested_inventory": false } })).await;
    remove_inventory(app, admin, &acme, "SN-1").await.expect("removed");
    // The tenant's own list.
    let listed = add_anchor(app, admin, &acme, root(AnchorKind::EndorsementKey, identity_bytes())).await;
    listed.expect("added");
    assert_eq!(
        (by("chain").await, by("inventory").await, by("either").await),
        ((false, false), (true, true), (true, true))
    );
}

fn identity_bytes() -> Vec<u8> {
    endorsement::identity(&Public::parse(&golden("ek.pub")).expect("a public area"))
}

#[tokio::test]
async fn what_is_written_of_another_speaks_against_it() {
    let fixture = house().await;
    let (app, admin, acme) = (&fixture.app, &fixture.admin, tenant("acme"));
    let gateway = enrolled(&fixture, "acme", &Device::new("gw-1")).await;
    let me = speaker(&fixture, &gateway).await;
    let new = NewAnchor { kind: AnchorKind::TpmRoot, name: "maker".to_owned(), value: golden("maker.der"), root: None };
    add_anchor(app, admin, &acme, new).await.expect("added");
    assert_eq!(begins(&fixture, &me, Some(golden("ek.der"))).await, Ok(()));
    let against = async || {
        let (code, reason) = begins(&fixture, &me, Some(golden("ek.der"))).await.expect_err("refused");
        assert!(code == "endorsement" && reason.contains("another"), "{code} {reason}");
    };
    import(&fixture, &[json!({ "serial": "SN-2", "device": "gw-2", "ek_hash": identity() })]).await;
    against().await;
    import(&fixture, &[json!({ "serial": "SN-2", "device": "gw-2", "ek_hash": "ab".repeat(32) })]).await;
    assert_eq!(begins(&fixture, &me, Some(golden("ek.der"))).await, Ok(()), "the other has another");
    import(&fixture, &[json!({ "serial": "SN-1", "device": "gw-1", "ek_hash": "cd".repeat(32) })]).await;
    against().await;
    // Another tenant's database is none of this one's business.
    let namesake = enrolled(&fixture, "zenith", &Device::new("gw-1")).await;
    let them = speaker(&fixture, &namesake).await;
    let (_, reason) = begins(&fixture, &them, Some(golden("ek.der"))).await.expect_err("no root there");
    assert!(!reason.contains("another"), "{reason}");
}

async fn deny(fixture: &Fixture, value: &str) {
    let (app, admin) = (&fixture.app, &fixture.admin);
    deny_list::deny(app, admin, &tenant("acme"), Denied::Hardware, value, "stolen").await.expect("denied");
}

#[tokio::test]
async fn hardware_on_the_deny_list_does_not_come_in() {
    let fixture = house().await;
    let (app, admin, acme) = (&fixture.app, &fixture.admin, tenant("acme"));
    let key = "0f".repeat(32);
    import(
        &fixture,
        &[json!({ "serial": "SN-1", "device": "gw-1" }), json!({ "serial": "SN-2", "device": "gw-2", "ek_hash": key })],
    )
    .await;
    let (first, second) = (
        enrolled(&fixture, "acme", &Device::new("gw-1")).await,
        enrolled(&fixture, "acme", &Device::new("gw-2")).await,
    );
    let third = enrolled(&fixture, "acme", &Device::new("gw-3")).await;
    let serial = DeviceFields {
        attributes: [("serial".to_owned(), Some(Scalar::Text("Board-3".to_owned())))].into(),
        ..DeviceFields::default()
    };
    let record = registry::device(app, admin, &acme, &device("gw-3")).await.expect("there").device;
    registry::amend_device(app, admin, &acme, &device("gw-3"), record.revision, serial).await.expect("amended");
    for (denied, out, name) in [("SN-1", &first, "gw-1"), (key.as_str(), &second, "gw-2"), ("board-3", &third, "gw-3")]
    {
        admit(&fixture, out).await.expect("in so far");
        deny(&fixture, denied).await;
        // What it has is good for nothing, at a door and in a session that began before.
        assert_eq!(refused(admit(&fixture, out).await), "the device may not connect", "{denied}");
        let still = still_admitted(app, &acme, &device(name), &out.serial, DeviceRights::Full).await;
        assert!(!still.expect("a store"), "{denied}");
        // Nor does it get another, with a token that counts.
        let again = Device::new(name);
        let token = token(&fixture, "acme", name).await;
        assert_eq!(refused(enroll(&fixture, &again, &token).await), "the hardware is on the deny list", "{denied}");
        deny_list::allow(app, admin, &acme, Denied::Hardware, denied).await.expect("allowed");
        admit(&fixture, out).await.expect("in again");
        enroll(&fixture, &again, &token).await.expect("the token was not used up");
    }
    assert_eq!(causes(&fixture, "acme").await.iter().filter(|cause| *cause == "denied-hardware").count(), 3);
}

#[tokio::test]
async fn hardware_on_the_deny_list_does_not_attest() {
    let fixture = house().await;
    let (app, admin, acme) = (&fixture.app, &fixture.admin, tenant("acme"));
    let gateway = enrolled(&fixture, "acme", &Device::new("gw-1")).await;
    let me = speaker(&fixture, &gateway).await;
    let new = NewAnchor { kind: AnchorKind::TpmRoot, name: "maker".to_owned(), value: golden("maker.der"), root: None };
    add_anchor(app, admin, &acme, new).await.expect("added");
    assert_eq!(begins(&fixture, &me, Some(golden("ek.der"))).await, Ok(()));
    deny(&fixture, &identity().to_uppercase()).await;
    let (code, _) = begins(&fixture, &me, Some(golden("ek.der"))).await.expect_err("denied");
    assert_eq!((code, causes(&fixture, "acme").await), ("denied-hardware", vec!["denied-hardware".to_owned()]));
    // It is told once more by what is counted.
    assert!(app.attestation_results().all().contains(&("refused", "denied-hardware", 1)));
}

/// Gateways stand on a TPM, and their keys are certified first.
async fn certified_first(fixture: &Fixture) {
    let rule = json!({ "required": true, "root_of_trust": ["tpm2"], "certified_key": true });
    policy(fixture, json!({ "attestation": { "classes": { "endpoint": rule } } })).await;
}

/// What the row says after a TPM vouched for this key; the conversation with a TPM is in the conformance story `swtpm-agent`.
async fn vouch(fixture: &Fixture, name: &str, key: &[u8], identity: &str) {
    let now = fixture.app.now();
    let row = VouchedKeyRow {
        key: Some(fleetward_pki::certificate::fingerprint(key)),
        identity: Some(identity.to_owned()),
        until: Some(now.plus(limits::CERTIFIED_KEY_TTL)),
        ..VouchedKeyRow::new(device(name), now)
    };
    let acme = tenant("acme");
    let put = fixture.app.write(&acme, "test", move |tx| Box::pin(async move { Ok(tx.put_vouched_key(&row).await?) }));
    put.await.expect("kept");
}

#[tokio::test]
async fn a_certificate_is_for_a_key_that_a_tpm_vouched_for() {
    let fixture = house().await;
    let (app, acme) = (&fixture.app, tenant("acme"));
    certified_first(&fixture).await;
    let (field, other) = (Device::new("gw-1"), Device::new("gw-1"));
    let secret = token(&fixture, "acme", "gw-1").await;
    assert_eq!(refused(enroll(&fixture, &field, &secret).await), "key-not-certified");
    vouch(&fixture, "gw-1", other.key.public_spki(), "aa").await;
    assert_eq!(refused(enroll(&fixture, &field, &secret).await), "other-key-certified");
    vouch(&fixture, "gw-1", field.key.public_spki(), "aa").await;
    fixture.clock.advance(limits::CERTIFIED_KEY_TTL + Duration::from_secs(1));
    // The token has ended meanwhile too.
    let secret = token(&fixture, "acme", "gw-1").await;
    assert_eq!(refused(enroll(&fixture, &field, &secret).await), "key-not-certified", "too long ago");
    vouch(&fixture, "gw-1", field.key.public_spki(), "aa").await;
    let first = enroll(&fixture, &field, &secret).await.expect("the TPM has this key");
    // The answer was lost: the same request gets the same certificate, also when the proof is over.
    fixture.clock.advance(limits::CERTIFIED_KEY_TTL + Duration::from_secs(1));
    assert_eq!(enroll(&fixture, &field, &secret).await.expect("again").certificate, first.certificate);
    admit(&fixture, &first).await.expect("in");
    // Renewal asks for the same of the next key.
    assert_eq!(refused(renew(&fixture, &first, &other).await), "key-not-certified");
    vouch(&fixture, "gw-1", other.key.public_spki(), "aa").await;
    renew(&fixture, &first, &other).await.expect("renewed");
    // What one device's TPM says is not said for another.
    let third = Device::new("gw-3");
    let secret = token(&fixture, "acme", "gw-3").await;
    vouch(&fixture, "gw-1", third.key.public_spki(), "aa").await;
    assert_eq!(refused(enroll(&fixture, &third, &secret).await), "key-not-certified");
    // Who is asked for nothing shows nothing.
    policy(&fixture, json!({ "attestation": { "classes": { "endpoint": null } } })).await;
    enroll(&fixture, &third, &secret).await.expect("nobody asks");
    assert_eq!(causes(&fixture, "acme").await.iter().filter(|cause| *cause == "key-not-certified").count(), 4);
    // It is forgotten after a day.
    fixture.clock.advance(limits::CERTIFIED_KEY_KEPT + Duration::from_secs(1));
    fleetward_app::reconcile::expiry::expire(app).await.expect("expired");
    let left = app.read(&acme, "test", |tx| Box::pin(async move { Ok(tx.vouched_key(&device("gw-1")).await?) })).await;
    assert_eq!(left.expect("read"), None);
}

#[tokio::test]
async fn one_tpm_is_one_device() {
    let fixture = house().await;
    let (app, acme) = (&fixture.app, tenant("acme"));
    let first = enrolled(&fixture, "acme", &Device::new("gw-1")).await;
    admit(&fixture, &first).await.expect("in");
    let now = app.now();
    let row = AttestationRow {
        identity: Some("aa".to_owned()),
        attested_at: Some(now),
        ..AttestationRow::new(device("gw-1"), now)
    };
    app.write(&acme, "test", move |tx| Box::pin(async move { Ok(tx.put_attestation(&row).await?) }))
        .await
        .expect("it attested");
    certified_first(&fixture).await;
    let (second, next) = (Device::new("gw-2"), Device::new("gw-1"));
    let secret = token(&fixture, "acme", "gw-2").await;
    vouch(&fixture, "gw-2", second.key.public_spki(), "aa").await;
    assert_eq!(refused(enroll(&fixture, &second, &secret).await), "hardware-elsewhere");
    vouch(&fixture, "gw-2", second.key.public_spki(), "bb").await;
    enroll(&fixture, &second, &secret).await.expect("a TPM of its own");
    // A device that goes on is the hardware that it was.
    vouch(&fixture, "gw-1", next.key.public_spki(), "cc").await;
    assert_eq!(refused(renew(&fixture, &first, &next).await), "other-hardware");
    vouch(&fixture, "gw-1", next.key.public_spki(), "aa").await;
    renew(&fixture, &first, &next).await.expect("renewed");
}
