//! One authority follows another: what signs when, who is known by what, and what waits for whom.

use std::time::Duration;

use fleetward_app::ca_rotations::{
    advance_rotation, anchor_held, cancel_rotation, devices_without_anchor, report_anchors, rotation, start_rotation,
};
use fleetward_app::enroll::{Attempt, Credentials, Enrolled, admit_device, enroll_device, reenroll_device};
use fleetward_app::journal::{self, JournalFilter};
use fleetward_app::provisioning::claims::{NewClaim, create_claim, revoke_claim};
use fleetward_app::provisioning::templates::{TemplateInput, create_template};
use fleetward_app::{Ctx, Error, authority, enroll_tokens, reconcile, tenants};
use fleetward_base::Secret;
use fleetward_core::ca_rotation::{Forced, Plan, Stage, Waits};
use fleetward_core::journal::Action;
use fleetward_core::registry::DeviceFields;
use fleetward_pki::{Certificate, SoftKey, csr, name, pem};
use rustls_pki_types::CertificateDer;

use crate::fixture::{Fixture, device, tenant};

const HOUR: Duration = Duration::from_secs(3600);

fn attempt(fixture: &Fixture) -> Attempt {
    Attempt { address: [192, 0, 2, 1].into(), request_id: fixture.app.new_request_id() }
}

fn request(name: &str) -> Vec<u8> {
    csr::write(&name::write(None, name), &[], &SoftKey::generate().0).expect("signs")
}

/// A device that enrolled and was seen.
async fn enrolled(fixture: &Fixture, name: &str) -> Enrolled {
    let (app, fields, acme) = (&fixture.app, DeviceFields::default(), tenant("acme"));
    let made = enroll_tokens::create_enroll_token(app, &fixture.admin, &acme, device(name), fields, Some(HOUR));
    let token = Secret::new(made.await.expect("a token").token);
    let credentials = Credentials { device: name.to_owned(), token };
    let enrolled = enroll_device(app, &attempt(fixture), None, &credentials, &request(name)).await.expect("enrolled");
    admit(fixture, &enrolled).await.expect("let in");
    enrolled
}

async fn admit(fixture: &Fixture, presented: &Enrolled) -> Result<(), Error> {
    let der = CertificateDer::from(presented.certificate.as_slice());
    admit_device(&fixture.app, &attempt(fixture), &der).await.map(drop)
}

async fn renewed(fixture: &Fixture, presented: &Enrolled, name: &str) -> Enrolled {
    let der = CertificateDer::from(presented.certificate.as_slice());
    reenroll_device(&fixture.app, &attempt(fixture), None, &der, &request(name)).await.expect("renewed")
}

fn issuer_of(enrolled: &Enrolled) -> Vec<u8> {
    Certificate::parse(&enrolled.certificate).expect("reads").issuer
}

async fn stage(fixture: &Fixture, home: Option<&str>) -> Stage {
    let home = home.map(tenant);
    rotation(&fixture.app, &fixture.admin, home.as_ref()).await.expect("there").stage
}

async fn tick(fixture: &Fixture) -> usize {
    reconcile::authorities::tick(&fixture.app).await.expect("a tick").advanced
}

async fn told(fixture: &Fixture, action: Action) -> usize {
    let filter = JournalFilter::default();
    let events = journal::events(&fixture.app, &fixture.admin, &tenant("acme"), filter, None, 1000).await;
    events.expect("events").iter().filter(|event| event.entry.action == action).count()
}

#[tokio::test]
async fn an_issuing_authority_is_followed_without_a_gap() {
    let fixture = Fixture::new().await;
    let (app, admin, acme) = (&fixture.app, &fixture.admin, tenant("acme"));
    let first = enrolled(&fixture, "gw-1").await;
    let before = authority::authority_chain(app, Some(&acme)).await.expect("a chain");
    start_rotation(app, admin, Some(&acme), None, None).await.expect("started");
    let again = start_rotation(app, admin, Some(&acme), None, None).await;
    assert!(matches!(again, Err(Error::Conflict { code: "rotation-open", .. })));
    // It is shown and does not sign.
    let next = authority::next_issuing(app, &acme).await.expect("asked").expect("there is one");
    let shown = authority::authority_chain(app, Some(&acme)).await.expect("a chain");
    assert_eq!((shown.len(), shown.get(1)), (before.len() + 1, Some(&next.der)));
    let second = enrolled(&fixture, "gw-2").await;
    assert_eq!(issuer_of(&second), issuer_of(&first));
    assert_eq!(tick(&fixture).await, 0);
    fixture.clock.advance(Duration::from_secs(61));
    assert_eq!(tick(&fixture).await, 1);
    // It signs, and what the old one signed counts.
    assert!(authority::next_issuing(app, &acme).await.expect("asked").is_none());
    let third = enrolled(&fixture, "gw-3").await;
    assert_eq!(issuer_of(&third), next.subject);
    admit(&fixture, &first).await.expect("still known");
    assert_eq!(tick(&fixture).await, 0, "two certificates rest on the old one");
    let found = rotation(app, admin, Some(&acme)).await.expect("there");
    assert_eq!((found.stage, found.waits), (Stage::Issue, Some(Waits::Resting(2))));
    let late = cancel_rotation(app, admin, Some(&acme), found.revision).await;
    assert!(matches!(late, Err(Error::Conflict { code: "rotation-signs", .. })));
    for (held, name) in [(&first, "gw-1"), (&second, "gw-2")] {
        let new = renewed(&fixture, held, name).await;
        assert_eq!(issuer_of(&new), next.subject);
        admit(&fixture, &new).await.expect("known by the new one");
    }
    // The certificates of before count for as long as the grace of the ladder; then nothing rests on the old one.
    fixture.clock.advance(HOUR * 24 * 91);
    assert_eq!(tick(&fixture).await, 1);
    assert_eq!(stage(&fixture, Some("acme")).await, Stage::Retired);
    assert_eq!(tick(&fixture).await, 0);
    assert_eq!(
        (told(&fixture, Action::CaRotationStarted).await, told(&fixture, Action::CaRotationFinished).await),
        (1, 1)
    );
}

/// Right after a renewal the certificate in use is `proven` and the one before it `superseded`; both count.
#[tokio::test]
async fn what_was_renewed_a_moment_ago_still_holds_the_old_one() {
    let fixture = Fixture::new().await;
    let (app, acme) = (&fixture.app, tenant("acme"));
    let first = enrolled(&fixture, "gw-1").await;
    let second = renewed(&fixture, &first, "gw-1").await;
    admit(&fixture, &second).await.expect("let in");
    start_rotation(app, &fixture.admin, Some(&acme), None, None).await.expect("started");
    fixture.clock.advance(Duration::from_secs(61));
    assert_eq!(tick(&fixture).await, 1, "the new one signs");
    assert_eq!(tick(&fixture).await, 0);
    let found = rotation(app, &fixture.admin, Some(&acme)).await.expect("there");
    assert_eq!((found.stage, found.waits), (Stage::Issue, Some(Waits::Resting(2))));
    admit(&fixture, &second).await.expect("still known");
}

/// A claim may be baked into a production line for years: the authority that signed it stays until it ended.
#[tokio::test]
async fn a_claim_holds_the_authority_that_signed_it() {
    let fixture = Fixture::new().await;
    let (app, admin, acme) = (&fixture.app, &fixture.admin, tenant("acme"));
    let body = r#"{"Resources":{"thing":{"Type":"AWS::IoT::Thing","Properties":{"ThingName":"gw-1"}}}}"#.to_owned();
    let input = TemplateInput { body: Some(body), ..TemplateInput::default() };
    create_template(app, admin, &acme, "line", input).await.expect("a template");
    let new = NewClaim {
        name: "line-4".to_owned(),
        template: "line".to_owned(),
        csr: pem::write("CERTIFICATE REQUEST", &request("any")),
        count_cap: None,
        life: Some(HOUR * 24 * 365 * 9),
    };
    create_claim(app, admin, &acme, new).await.expect("a claim");
    start_rotation(app, admin, Some(&acme), None, None).await.expect("started");
    fixture.clock.advance(Duration::from_secs(61));
    assert_eq!(tick(&fixture).await, 1, "the new one signs");
    fixture.clock.advance(HOUR * 24 * 365);
    assert_eq!(tick(&fixture).await, 0);
    let found = rotation(app, admin, Some(&acme)).await.expect("there");
    assert_eq!((found.stage, found.waits), (Stage::Issue, Some(Waits::Resting(1))));
    revoke_claim(app, admin, &acme, "line-4").await.expect("revoked");
    assert_eq!(tick(&fixture).await, 1);
    assert_eq!(stage(&fixture, Some("acme")).await, Stage::Retired);
}

#[tokio::test]
async fn force_retires_what_still_counts() {
    let fixture = Fixture::new().await;
    let (app, acme) = (&fixture.app, tenant("acme"));
    let owner = fixture.operator("acme", "owner").await;
    let first = enrolled(&fixture, "gw-1").await;
    let started = start_rotation(app, &owner, Some(&acme), None, None).await.expect("an owner may");
    let waits = advance_rotation(app, &owner, Some(&acme), started.revision, Forced(false)).await;
    assert!(matches!(waits, Err(Error::Conflict { code: "rotation-waits", .. })));
    let stale = advance_rotation(app, &owner, Some(&acme), 7, Forced(true)).await;
    assert!(matches!(stale, Err(Error::Stale { .. })));
    let signs = advance_rotation(app, &owner, Some(&acme), 1, Forced(true)).await.expect("by force");
    let over = advance_rotation(app, &owner, Some(&acme), signs.revision, Forced(true)).await.expect("by force");
    assert_eq!(over.stage, Stage::Retired);
    assert!(admit(&fixture, &first).await.is_err(), "nobody vouches for it any more");
    let over = advance_rotation(app, &owner, Some(&acme), over.revision, Forced(true)).await;
    assert!(matches!(over, Err(Error::Conflict { code: "rotation-over", .. })));
    enrolled(&fixture, "gw-2").await;
}

#[tokio::test]
async fn one_that_is_called_off_leaves_nothing() {
    let fixture = Fixture::new().await;
    let (app, admin, acme) = (&fixture.app, &fixture.admin, tenant("acme"));
    let before = authority::authority_chain(app, Some(&acme)).await.expect("a chain");
    let started = start_rotation(app, admin, Some(&acme), None, None).await.expect("started");
    cancel_rotation(app, admin, Some(&acme), started.revision).await.expect("canceled");
    assert_eq!(authority::authority_chain(app, Some(&acme)).await.expect("a chain"), before);
    fixture.clock.advance(HOUR);
    assert_eq!(tick(&fixture).await, 0);
    start_rotation(app, admin, Some(&acme), None, None).await.expect("another may start");
}

#[tokio::test]
async fn a_root_waits_for_the_fleet() {
    let fixture = Fixture::new().await;
    let (app, admin, acme) = (&fixture.app, &fixture.admin, tenant("acme"));
    let (one, _) = (enrolled(&fixture, "gw-1").await, enrolled(&fixture, "gw-2").await);
    let old =
        Certificate::parse(authority::authority_chain(app, None).await.expect("a chain").first().expect("a root"));
    let old = old.expect("reads");
    let started = start_rotation(app, admin, None, None, None).await.expect("started");
    // OldWithOld, NewWithNew, and each as the other vouches for it.
    let chain: Vec<Certificate> = authority::authority_chain(app, None)
        .await
        .expect("a chain")
        .iter()
        .map(|der| Certificate::parse(der).expect("reads"))
        .collect();
    assert_eq!(chain.len(), 4);
    let new = chain.iter().find(|root| root.fingerprint() == started.new).expect("it is shown").clone();
    let vouched = |subject: &Certificate, by: &Certificate| {
        chain.iter().any(|found| found.spki == subject.spki && found.issuer == by.subject)
    };
    assert!(vouched(&old, &old) && vouched(&old, &new) && vouched(&new, &old) && vouched(&new, &new));
    assert_eq!(authority::root_pem(app).await.expect("PEM").matches("BEGIN").count(), 2);
    assert_eq!(tick(&fixture).await, 0);
    anchor_held(app, &acme, &device("gw-1"), &started.new).await.expect("counted");
    anchor_held(app, &acme, &device("gw-1"), "made up").await.expect("and passed over");
    let lag = devices_without_anchor(app, admin, &acme, None, 10).await.expect("listed");
    assert_eq!(lag, [device("gw-2")]);
    assert_eq!(tick(&fixture).await, 0, "one of two is not 99.5 %");
    let found = rotation(app, admin, None).await.expect("there");
    assert_eq!(found.waits, Some(Waits::Anchors { active: 2, holding: 1, threshold: 9950 }));
    let shown = authority::server_identity(app).expect("an identity").chain.len();
    assert_eq!(shown, 2);
    anchor_held(app, &acme, &device("gw-2"), &started.new).await.expect("counted");
    assert_eq!(tick(&fixture).await, 1);
    // Servers are vouched for by the new root, which the old one vouches for.
    let chain = authority::server_identity(app).expect("an identity").chain.clone();
    let parsed: Vec<Certificate> = chain.iter().map(|der| Certificate::parse(der).expect("reads")).collect();
    assert_eq!(parsed.len(), 3);
    assert_eq!((&parsed[1].issuer, &parsed[2].subject, &parsed[2].issuer), (&new.subject, &new.subject, &old.subject));
    // Tenants go under the new root with the keys that they have.
    assert_eq!(tick(&fixture).await, 0, "it settles first");
    let issuing = authority::authority_chain(app, Some(&acme)).await.expect("a chain").remove(0);
    let issuing = Certificate::parse(&issuing).expect("reads");
    assert_eq!((&issuing.issuer, &issuing.subject), (&new.subject, &issuer_of(&one)));
    admit(&fixture, &one).await.expect("known as before");
    fixture.clock.advance(HOUR * 25);
    assert_eq!(tick(&fixture).await, 1);
    assert_eq!(stage(&fixture, None).await, Stage::Retired);
    let chain = authority::authority_chain(app, None).await.expect("a chain");
    assert_eq!(chain, std::slice::from_ref(&new.der));
    assert_eq!(authority::server_identity(app).expect("an identity").chain.len(), 2);
    admit(&fixture, &one).await.expect("known as before");
    tenants::create_tenant(app, admin, tenant("later"), None).await.expect("under the new root");
    enrolled(&fixture, "gw-3").await;
    // A server that starts anew finds the same.
    let restarted = authority::authority_chain(app, Some(&tenant("later"))).await.expect("a chain");
    assert_eq!(Certificate::parse(&restarted[0]).expect("reads").issuer, new.subject);
}

#[tokio::test]
async fn who_may() {
    let fixture = Fixture::new().await;
    let (app, acme) = (&fixture.app, tenant("acme"));
    let viewer = fixture.operator("acme", "viewer").await;
    let owner = fixture.operator("acme", "owner").await;
    let foreign = fixture.operator("zenith", "owner").await;
    assert!(matches!(start_rotation(app, &viewer, Some(&acme), None, None).await, Err(Error::Denied { .. })));
    assert!(matches!(start_rotation(app, &foreign, Some(&acme), None, None).await, Err(Error::NotFound { .. })));
    assert!(matches!(start_rotation(app, &owner, None, None, None).await, Err(Error::Denied { .. })));
    assert!(matches!(rotation(app, &viewer, Some(&acme)).await, Err(Error::NotFound { what: "rotation" })));
    let plan = Plan { threshold: 10_001, publish_secs: 0, settle_secs: 0 };
    assert!(matches!(start_rotation(app, &owner, Some(&acme), Some(plan), None).await, Err(Error::Invalid { .. })));
}

#[tokio::test]
async fn an_authority_near_its_end_is_told_of_once() {
    let fixture = Fixture::new().await;
    assert_eq!(reconcile::authorities::tick(&fixture.app).await.expect("a tick").warned, 0);
    fixture.clock.advance(HOUR * 24 * 365 * 10);
    let warned = reconcile::authorities::tick(&fixture.app).await.expect("a tick").warned;
    assert_eq!(warned, 3, "infra and two tenants; the root lasts longer");
    assert_eq!(reconcile::authorities::tick(&fixture.app).await.expect("a tick").warned, 0);
    assert_eq!(told(&fixture, Action::CaEndsSoon).await, 1);
}

#[tokio::test]
async fn a_device_says_which_roots_it_holds() {
    let fixture = Fixture::new().await;
    let (app, acme) = (&fixture.app, tenant("acme"));
    let one = enrolled(&fixture, "gw-1").await;
    let der = CertificateDer::from(one.certificate.as_slice());
    let itself = admit_device(app, &attempt(&fixture), &der).await.expect("let in").principal();
    let ctx = Ctx { principal: itself, ..fixture.admin.clone() };
    let (old, other) = ("0".repeat(64), "1".repeat(64));
    report_anchors(app, &ctx, vec![old.clone()]).await.expect("nobody waits for any");
    let started = start_rotation(app, &fixture.admin, None, None, None).await.expect("started");
    let holding = async || rotation(app, &fixture.admin, None).await.expect("there").seen.holding;
    report_anchors(app, &ctx, vec![old.clone(), other.clone()]).await.expect("taken");
    assert_eq!(holding().await, 0, "others are of no interest");
    report_anchors(app, &ctx, vec![old.clone(), started.new.clone()]).await.expect("taken");
    report_anchors(app, &ctx, vec![started.new.clone(), old.clone()]).await.expect("twice is harmless");
    assert_eq!(holding().await, 1);
    report_anchors(app, &ctx, vec![old.clone()]).await.expect("taken");
    assert_eq!(holding().await, 0, "it went back to what it held before");
    for bad in [vec![], vec!["x".repeat(64)], vec![other; 17]] {
        assert!(matches!(report_anchors(app, &ctx, bad).await, Err(Error::Invalid { .. })));
    }
    let nobody = report_anchors(app, &fixture.admin, vec![old]).await;
    assert!(matches!(nobody, Err(Error::Denied { .. } | Error::Unauthenticated { .. })));
    assert_eq!(devices_without_anchor(app, &fixture.admin, &acme, None, 9).await.expect("listed"), [device("gw-1")]);
}
