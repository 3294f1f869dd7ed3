//! Ways out: revocations of many, lists, OCSP, the deny list, replacements, and the log that finds what nobody issued.

use std::time::Duration;

use fleetward_app::deny_list::{self, Denied};
use fleetward_app::enroll::{Enrolled, admit_device, reenroll_device};
use fleetward_app::identity_policy::{amend_policy, show_policy};
use fleetward_app::provisioning::claims::{NewClaim, admit_claim, create_claim};
use fleetward_app::provisioning::pending::create_from_csr;
use fleetward_app::provisioning::templates::{TemplateInput, create_template};
use fleetward_app::publication::{self, ocsp};
use fleetward_app::reconcile::{crls, revocations, transparency as log};
use fleetward_app::revocation::{self, NewRevocation, RevocationView};
use fleetward_app::{Error, reconcile, registry, scep, transparency};
use fleetward_base::{Timestamp, limits};
use fleetward_core::journal::{Action, Severity};
use fleetward_core::lifecycle::Status;
use fleetward_core::registry::{DeviceFields, Patch};
use fleetward_core::revocation::{Status as Progress, Target};
use fleetward_core::selector::Selector;
use fleetward_pki::checkpoint::LogVerifier;
use fleetward_pki::merkle::{check_consistency, check_inclusion, leaf as leaf_hash};
use fleetward_pki::{
    Certificate, Csr, Issued, Serial, SoftKey, Validity, csr, identity::ClaimName, issue::Issuer, leaf, ocsp::cert_id,
    pem,
};
use rustls_pki_types::CertificateDer;
use serde_json::json;

use crate::enroll::{Device, admit, attempt, enroll, enrolled, events, refused, renew, token};
use crate::fixture::{Fixture, device, tenant};

const DAY: Duration = Duration::from_secs(24 * 3600);

pub(crate) async fn begin(fixture: &Fixture, target: Target) -> RevocationView {
    let new = NewRevocation { target, reason: "key_compromise".to_owned(), replace_by: None };
    revocation::begin(&fixture.app, &fixture.admin, &tenant("acme"), new).await.expect("it begins")
}

pub(crate) async fn ended(fixture: &Fixture, begun: &RevocationView) -> RevocationView {
    revocations::tick(&fixture.app).await.expect("a turn");
    revocation::revocation(&fixture.app, &fixture.admin, &tenant("acme"), begun.id).await.expect("it is there")
}

async fn status(fixture: &Fixture, name: &str) -> Status {
    let found = registry::device(&fixture.app, &fixture.admin, &tenant("acme"), &device(name)).await;
    found.expect("a device").device.status
}

pub(crate) async fn mark(fixture: &Fixture, held: &Enrolled) -> String {
    let row = fixture
        .app
        .read(&tenant("acme"), "test", {
            let serial = held.serial.clone();
            move |tx| Box::pin(async move { Ok(tx.certificate(&serial).await?.expect("it is there").authority) })
        })
        .await;
    row.expect("a row")[..16].to_owned()
}

pub(crate) fn has(der: &[u8], part: &[u8]) -> bool {
    der.windows(part.len()).any(|window| window == part)
}

pub(crate) fn bytes(serial: &str) -> Vec<u8> {
    (0..serial.len()).step_by(2).map(|at| u8::from_str_radix(&serial[at..at + 2], 16).expect("hex")).collect()
}

#[tokio::test]
async fn a_group_is_revoked_and_the_rest_goes_on() {
    let fixture = Fixture::new().await;
    let (app, admin, acme) = (&fixture.app, &fixture.admin, tenant("acme"));
    let fields = [Device::new("gw-1"), Device::new("gw-2"), Device::new("gw-3")];
    let mut held = Vec::new();
    for field in &fields {
        held.push(enrolled(&fixture, "acme", field).await);
    }
    for name in ["gw-1", "gw-2"] {
        let record = registry::device(app, admin, &acme, &device(name)).await.expect("there").device;
        let site = DeviceFields { site: Patch::Set("berlin".to_owned()), ..DeviceFields::default() };
        registry::amend_device(app, admin, &acme, &device(name), record.revision, site).await.expect("amended");
    }
    let selector = Selector { site: Some("berlin".to_owned()), ..Selector::default() };
    let target = Target::Group { selector };
    let preview = revocation::preview(app, admin, &acme, target.clone()).await.expect("a preview");
    assert_eq!((preview.devices, preview.certificates, preview.active), (2, 2, 2));
    assert_eq!(preview.examples, [device("gw-1"), device("gw-2")]);

    let begun = begin(&fixture, target).await;
    assert_eq!((begun.status, begun.total, begun.done), (Progress::Running, 2, 0));
    admit(&fixture, &held[0]).await.expect("nothing was done yet");
    let done = ended(&fixture, &begun).await;
    assert_eq!((done.status, done.done, done.certificates), (Progress::Finished, 2, 2));
    assert_eq!(refused(admit(&fixture, &held[0]).await), "the certificate was revoked");
    assert_eq!(refused(renew(&fixture, &held[1], &fields[1]).await), "the certificate was revoked");
    admit(&fixture, &held[2]).await.expect("of another group");
    assert_eq!((status(&fixture, "gw-1").await, status(&fixture, "gw-3").await), (Status::Suspended, Status::Active));
    // Another turn finds nothing to do, and nothing was written twice.
    assert_eq!(revocations::tick(app).await.expect("a turn"), revocations::RevocationStatus::default());
    let told = events(&fixture, "acme", admin).await;
    let count = |action| told.iter().filter(|event| event.entry.action == action).count();
    assert_eq!((count(Action::DeviceRevoked), count(Action::RevocationFinished)), (2, 1));
    // A new token brings one back, as after a single revocation.
    enrolled(&fixture, "acme", &fields[0]).await;
}

#[tokio::test]
async fn certificates_claims_and_tenants_are_aims_too() {
    let fixture = Fixture::new().await;
    let (app, acme) = (&fixture.app, tenant("acme"));
    let fields = [Device::new("gw-1"), Device::new("gw-2"), Device::new("gw-3")];
    let one = enrolled(&fixture, "acme", &fields[0]).await;
    let by_claim = token(&fixture, "acme", "gw-2").await;
    let two = enroll(&fixture, &fields[1], &by_claim).await.expect("enrolled");
    let three = enrolled(&fixture, "acme", &fields[2]).await;

    let certificate = begin(&fixture, Target::Certificate { serial: one.serial.clone() }).await;
    assert_eq!(ended(&fixture, &certificate).await.certificates, 1);
    assert_eq!(refused(admit(&fixture, &one).await), "the certificate was revoked");
    assert_eq!(status(&fixture, "gw-1").await, Status::Active, "the device stays what it is");

    let serial = two.serial.clone();
    let source = app
        .read(&acme, "test", move |tx| {
            Box::pin(async move { Ok(tx.certificate(&serial).await?.expect("there").source) })
        })
        .await
        .expect("a row")
        .expect("a source");
    let claim = begin(&fixture, Target::Claim { source, way: None }).await;
    assert_eq!(ended(&fixture, &claim).await.done, 1);
    assert_eq!(status(&fixture, "gw-2").await, Status::Suspended);
    admit(&fixture, &three).await.expect("it came by another token");

    let all = begin(&fixture, Target::Tenant).await;
    assert_eq!(ended(&fixture, &all).await.status, Progress::Finished);
    assert_eq!(refused(admit(&fixture, &three).await), "the certificate was revoked");

    let operator = fixture.operator("acme", "operator").await;
    let new = || NewRevocation { target: Target::Tenant, reason: "x".to_owned(), replace_by: None };
    assert!(matches!(revocation::begin(app, &operator, &acme, new()).await, Err(Error::Denied { .. })));
    let foreign = fixture.operator("zenith", "owner").await;
    assert!(matches!(revocation::begin(app, &foreign, &acme, new()).await, Err(Error::NotFound { .. })));
    let nothing = NewRevocation { target: Target::Device { device: device("gw-9") }, ..new() };
    assert!(matches!(revocation::begin(app, &fixture.admin, &acme, nothing).await, Err(Error::NotFound { .. })));
}

#[tokio::test]
async fn lists_only_rise_and_forget_what_expired() {
    let fixture = Fixture::new().await;
    let (app, clock) = (&fixture.app, &fixture.clock);
    let held = enrolled(&fixture, "acme", &Device::new("gw-1")).await;
    let mark = mark(&fixture, &held).await;
    assert!(matches!(publication::list(app, &mark, None).await, Err(Error::NotFound { .. })), "not signed yet");
    crls::tick(app).await.expect("a turn");
    let empty = publication::list(app, &mark, None).await.expect("a list");
    assert!(!has(&empty.der, &bytes(&held.serial)));
    let begun = begin(&fixture, Target::Device { device: device("gw-1") }).await;
    ended(&fixture, &begun).await;
    // A clock that went back makes no list older than the one before.
    clock.jump_to(empty.this_update.minus(DAY));
    let status = crls::tick(app).await.expect("a turn");
    assert_eq!((status.listed, status.failed), (1, 0));
    let back = publication::list(app, &mark, None).await.expect("a list");
    assert_eq!((back.number, back.this_update), (empty.number + 1, empty.this_update));
    assert!(has(&back.der, &bytes(&held.serial)));
    assert_eq!(crls::tick(app).await.expect("a turn").signed, 0, "nothing is due");

    // After its end it stands on one more list, and then on none.
    clock.jump_to(held.not_after.plus(DAY));
    // Jumps are of the wall clock alone; the look at all lists goes by the other one.
    clock.advance(Duration::from_secs(61));
    crls::tick(app).await.expect("a turn");
    assert!(has(&publication::list(app, &mark, None).await.expect("a list").der, &bytes(&held.serial)));
    clock.advance(2 * DAY);
    crls::tick(app).await.expect("a turn");
    assert!(!has(&publication::list(app, &mark, None).await.expect("a list").der, &bytes(&held.serial)));

    for (name, shard) in [("00", None), (mark.as_str(), Some("zz")), (mark.as_str(), Some("a3"))] {
        assert!(matches!(publication::list(app, name, shard).await, Err(Error::NotFound { .. })), "{name} {shard:?}");
    }
    let views = publication::lists(app, &fixture.admin, &tenant("acme")).await.expect("lists");
    assert_eq!(views.len(), 1);
    assert_eq!(views[0].url.as_deref(), Some(format!("http://pki.example.com/pki/{mark}/crl.der").as_str()));
    let root = Certificate::parse(&publication::authority(app, &mark).await.expect("there").certificate.der);
    assert!(root.is_ok());
}

#[tokio::test]
async fn what_its_successor_retired_is_on_the_list_and_no_answer_calls_it_good() {
    let fixture = Fixture::new().await;
    let app = &fixture.app;
    let field = Device::new("gw-1");
    let old = enrolled(&fixture, "acme", &field).await;
    admit(&fixture, &old).await.expect("in");
    let mark = mark(&fixture, &old).await;
    let authority = publication::authority(app, &mark).await.expect("there").certificate.clone();
    let id = cert_id(&authority, &Serial::from_hex(&old.serial).expect("hex")).expect("an id");
    crls::tick(app).await.expect("a turn");
    let new = renew(&fixture, &old, &field).await.expect("renewed");
    admit(&fixture, &new).await.expect("in");
    fixture.clock.advance(8 * DAY);
    let revoked_tag = [0xa1_u8, 0x16, 0x18, 0x0f];
    let before = ocsp::answer(app, &mark, &request(&id, &[])).await;
    assert!(!has(&before.der, &revoked_tag), "its grace is not looked at yet");
    let turn = fleetward_app::reconcile::rotation::tick(app).await.expect("a tick");
    assert_eq!(turn.retired, 1);
    assert_eq!(crls::tick(app).await.expect("a turn").listed, 1);
    let list = publication::list(app, &mark, None).await.expect("a list");
    assert!(has(&list.der, &bytes(&old.serial)) && !has(&list.der, &bytes(&new.serial)));
    let after = ocsp::answer(app, &mark, &request(&id, &[])).await;
    assert!(has(&after.der, &revoked_tag), "the answer that was kept is not given again");
}

#[tokio::test]
async fn a_stale_or_missing_list_locks_nobody_out() {
    let fixture = Fixture::new().await;
    let held = enrolled(&fixture, "acme", &Device::new("gw-1")).await;
    admit(&fixture, &held).await.expect("there is no list at all");
    crls::tick(&fixture.app).await.expect("a turn");
    let list = publication::list(&fixture.app, &mark(&fixture, &held).await, None).await.expect("a list");
    fixture.clock.jump_to(list.next_update.plus(30 * DAY));
    admit(&fixture, &held).await.expect("the list is long out of date");
}

pub(crate) fn request(id: &[u8], nonce: &[u8]) -> Vec<u8> {
    let element = |tag: u8, parts: &[&[u8]]| {
        let body = parts.concat();
        let length = u8::try_from(body.len()).expect("short");
        let head = if length < 0x80 { vec![tag, length] } else { vec![tag, 0x81, length] };
        [head, body].concat()
    };
    let single = element(0x30, &[id]);
    let list = element(0x30, &[&single]);
    let extensions = if nonce.is_empty() {
        Vec::new()
    } else {
        let oid = [0x06, 9, 0x2b, 6, 1, 5, 5, 7, 0x30, 1, 2];
        let value = element(4, &[&element(4, &[nonce])]);
        element(0xa2, &[&element(0x30, &[&element(0x30, &[&oid, &value])])])
    };
    element(0x30, &[&element(0x30, &[&list, &extensions])])
}

#[tokio::test]
async fn answers_are_kept_until_something_is_revoked() {
    let fixture = Fixture::new().await;
    let app = &fixture.app;
    let held = enrolled(&fixture, "acme", &Device::new("gw-1")).await;
    let mark = mark(&fixture, &held).await;
    let authority = publication::authority(app, &mark).await.expect("there").certificate.clone();
    let id = cert_id(&authority, &Serial::from_hex(&held.serial).expect("hex")).expect("an id");
    let good = ocsp::answer(app, &mark, &request(&id, &[])).await;
    let again = ocsp::answer(app, &mark, &request(&id, &[])).await;
    assert!(good.counts.is_some());
    assert!(std::sync::Arc::ptr_eq(&good.der, &again.der), "kept");
    let nonced = ocsp::answer(app, &mark, &request(&id, &[7; 16])).await;
    assert!(has(&nonced.der, &[7; 16]) && nonced.counts.is_none());
    let revoked_tag = [0xa1_u8, 0x16, 0x18, 0x0f];
    assert!(!has(&good.der, &revoked_tag));

    let begun = begin(&fixture, Target::Device { device: device("gw-1") }).await;
    ended(&fixture, &begun).await;
    let revoked = ocsp::answer(app, &mark, &request(&id, &[])).await;
    assert!(has(&revoked.der, &revoked_tag), "revoked at, with a reason");

    let refused = |code: u8| vec![0x30, 3, 0x0a, 1, code];
    assert_eq!(ocsp::answer(app, &mark, b"nonsense").await.der.to_vec(), refused(1));
    assert_eq!(ocsp::answer(app, "0000000000000000", &request(&id, &[])).await.der.to_vec(), refused(6));
    let foreign = enrolled(&fixture, "zenith", &Device::new("gw-9")).await;
    let theirs = fixture
        .app
        .read(&tenant("zenith"), "test", {
            let serial = foreign.serial.clone();
            move |tx| Box::pin(async move { Ok(tx.certificate(&serial).await?.expect("there").authority) })
        })
        .await
        .expect("a row");
    assert_eq!(ocsp::answer(app, &theirs[..16], &request(&id, &[])).await.der.to_vec(), refused(6));
    // Live signatures are for so many askers a second.
    let mut later = 0;
    for _ in 0..fleetward_base::limits::OCSP_LIVE_PER_SECOND + 5 {
        later += u32::from(ocsp::answer(app, &mark, &request(&id, &[9; 16])).await.der.to_vec() == refused(3));
    }
    assert!(later >= 5, "{later}");
}

#[tokio::test]
async fn answers_are_signed_before_they_are_asked_for() {
    let fixture = Fixture::new().await;
    let app = &fixture.app;
    let asked = enrolled(&fixture, "acme", &Device::new("gw-1")).await;
    let lost = enrolled(&fixture, "acme", &Device::new("gw-2")).await;
    let mark = mark(&fixture, &asked).await;
    let authority = publication::authority(app, &mark).await.expect("there").certificate.clone();
    let id_of = |held: &Enrolled| cert_id(&authority, &Serial::from_hex(&held.serial).expect("hex")).expect("an id");
    let (asked, lost) = (id_of(&asked), id_of(&lost));
    let first = ocsp::answer(app, &mark, &request(&asked, &[])).await;
    assert_eq!(ocsp::sign_ahead(app).await.expect("a turn"), 0, "nothing is due while it counts");

    // A revocation ends what is kept. What was asked for and what was revoked is there again before the next question.
    let begun = begin(&fixture, Target::Device { device: device("gw-2") }).await;
    ended(&fixture, &begun).await;
    crls::tick(app).await.expect("a turn");
    assert_eq!(ocsp::sign_ahead(app).await.expect("a turn"), 2);
    let kept = ocsp::kept(app, &app.system("test")).expect("allowed");
    let second = ocsp::answer(app, &mark, &request(&asked, &[])).await;
    let revoked = ocsp::answer(app, &mark, &request(&lost, &[])).await;
    assert_eq!(ocsp::kept(app, &app.system("test")).expect("allowed"), kept, "neither was signed at the question");
    assert!(!std::sync::Arc::ptr_eq(&first.der, &second.der));
    assert!(has(&revoked.der, &[0xa1_u8, 0x16, 0x18, 0x0f]), "revoked at, with a reason");

    // What is asked for is followed by another before its half is over; what nobody asks for any more is not.
    let half = {
        let (from, until) = second.counts.expect("kept");
        until.since(from) / 2
    };
    fixture.clock.advance(half);
    assert_eq!(ocsp::sign_ahead(app).await.expect("a turn"), 2);
    let third = ocsp::answer(app, &mark, &request(&asked, &[])).await;
    assert!(third.counts.expect("kept").0 > second.counts.expect("kept").0);
    fixture.clock.advance(half);
    assert_eq!(ocsp::sign_ahead(app).await.expect("a turn"), 1, "only the one");
}

#[tokio::test]
async fn what_is_denied_comes_in_by_no_way() {
    let fixture = Fixture::new().await;
    let (app, admin, acme) = (&fixture.app, &fixture.admin, tenant("acme"));
    let (one, two) = (Device::new("gw-1"), Device::new("gw-2"));
    let (first, second) = (enrolled(&fixture, "acme", &one).await, enrolled(&fixture, "acme", &two).await);
    deny_list::deny(app, admin, &acme, Denied::Serial, &first.serial, "stolen").await.expect("denied");
    assert_eq!(refused(admit(&fixture, &first).await), "the certificate is on the deny list");
    assert_eq!(refused(renew(&fixture, &first, &one).await), "the certificate or its key is on the deny list");
    admit(&fixture, &second).await.expect("another");

    let spki = Certificate::parse(&second.certificate).expect("it reads").spki;
    let hash = fleetward_pki::certificate::fingerprint(&spki);
    deny_list::deny(app, admin, &acme, Denied::Key, &hash.to_uppercase(), "stolen").await.expect("denied");
    assert_eq!(refused(admit(&fixture, &second).await), "the certificate is on the deny list");
    // A new token does not help a key that is denied; a new key does.
    let fresh = token(&fixture, "acme", "gw-2").await;
    assert_eq!(refused(enroll(&fixture, &two, &fresh).await), "the key is on the deny list");
    enroll(&fixture, &Device::new("gw-2"), &fresh).await.expect("with another key");
    // What is denied here is nobody else's business.
    enrolled(&fixture, "zenith", &two).await;

    deny_list::allow(app, admin, &acme, Denied::Serial, &first.serial).await.expect("allowed again");
    admit(&fixture, &first).await.expect("allowed again");
    assert!(matches!(
        deny_list::allow(app, admin, &acme, Denied::Serial, &first.serial).await,
        Err(Error::NotFound { .. })
    ));
    for (kind, value) in [(Denied::Serial, "xyz"), (Denied::Key, "ab"), (Denied::Hardware, "")] {
        let outcome = deny_list::deny(app, admin, &acme, kind, value, "x").await;
        assert!(matches!(outcome, Err(Error::Invalid { .. })), "{value}");
    }
    assert!(!deny_list::is_denied_hardware(app, &acme, "EK-1"));
    deny_list::deny(app, admin, &acme, Denied::Hardware, "EK-1", "cloned").await.expect("denied");
    assert!(deny_list::is_denied_hardware(app, &acme, "ek-1"));
}

#[tokio::test]
async fn what_is_not_replaced_in_time_is_revoked() {
    let fixture = Fixture::new().await;
    let (app, admin, acme) = (&fixture.app, &fixture.admin, tenant("acme"));
    let (diligent, lazy) = (Device::new("gw-1"), Device::new("gw-2"));
    let (one, two) = (enrolled(&fixture, "acme", &diligent).await, enrolled(&fixture, "acme", &lazy).await);
    admit(&fixture, &one).await.expect("in");
    let due = app.now().plus(DAY);
    let new = NewRevocation { target: Target::Tenant, reason: "key_compromise".to_owned(), replace_by: Some(due) };
    let begun = revocation::begin(app, admin, &acme, new).await.expect("it begins");
    let waiting = ended(&fixture, &begun).await;
    assert_eq!((waiting.status, waiting.certificates, waiting.left), (Progress::Waiting, 2, Some(2)));
    fixture.clock.advance(Duration::from_secs(60));
    let newer =
        renew(&fixture, &one, &Device { key: fleetward_pki::SoftKey::generate().0, ..Device::new("gw-1") }).await;
    let newer = newer.expect("another certificate");
    admit(&fixture, &newer).await.expect("proven");
    assert_eq!(ended(&fixture, &begun).await.left, Some(1));
    admit(&fixture, &two).await.expect("there is time left");

    fixture.clock.jump_to(due.plus(Duration::from_secs(1)));
    let done = ended(&fixture, &begun).await;
    assert_eq!((done.status, done.left), (Progress::Finished, Some(0)));
    admit(&fixture, &newer).await.expect("it did as it was told");
    assert_eq!(refused(admit(&fixture, &two).await), "the certificate was revoked");
    assert_eq!(status(&fixture, "gw-2").await, Status::Active, "a token lets it in again");
    assert!(matches!(
        revocation::cancel(app, admin, &acme, begun.id).await,
        Err(Error::Conflict { code: "revocation-ended", .. })
    ));
}

#[tokio::test]
async fn every_certificate_is_in_the_log_and_its_growth_is_proven() {
    let fixture = Fixture::new().await;
    let (app, admin, acme) = (&fixture.app, &fixture.admin, tenant("acme"));
    let first = enrolled(&fixture, "acme", &Device::new("gw-1")).await;
    let early = transparency::inclusion(app, admin, &acme, &first.serial).await;
    assert!(matches!(early, Err(Error::Conflict { code: "not-logged-yet", .. })));
    assert_eq!(log::tick(app).await.expect("a turn"), 1);
    let before = transparency::head(app, admin, &acme).await.expect("a head");
    for name in ["gw-2", "gw-3", "gw-4"] {
        enrolled(&fixture, "acme", &Device::new(name)).await;
    }
    enrolled(&fixture, "zenith", &Device::new("gw-1")).await;
    assert_eq!(log::tick(app).await.expect("a turn"), 4);
    assert_eq!(log::tick(app).await.expect("a turn"), 0);

    let found = transparency::inclusion(app, admin, &acme, &first.serial).await.expect("a proof");
    let verifier: LogVerifier = found.head.key.parse().expect("a key");
    let checkpoint = verifier.open(&found.head.checkpoint).expect("signed");
    assert_eq!((checkpoint.size, found.index, checkpoint.root), (4, 0, found.head.root));
    let hash = leaf_hash(&first.certificate);
    check_inclusion(&hash, found.index, checkpoint.size, &found.proof, &checkpoint.root).expect("it is in");
    let grown = transparency::consistency(app, admin, &acme, before.size, None).await.expect("a proof");
    check_consistency(before.size, &before.root, grown.to, &checkpoint.root, &grown.proof).expect("it continues");
    assert_eq!(before.key, found.head.key);
    let leaves = transparency::leaves(app, admin, &acme, 1, 10).await.expect("leaves");
    assert_eq!(leaves.iter().map(|leaf| leaf.index).collect::<Vec<_>>(), [1, 2, 3]);
    let foreign = fixture.operator("zenith", "owner").await;
    assert!(matches!(transparency::head(app, &foreign, &acme).await, Err(Error::NotFound { .. })));
}

/// Somebody who has the key of acme's authority.
struct Thief {
    authority: Certificate,
    key: SoftKey,
}

impl Thief {
    async fn at(fixture: &Fixture) -> Self {
        let (app, acme) = (&fixture.app, tenant("acme"));
        let stored = app
            .read(&acme, "test", |tx| {
                Box::pin(async move {
                    let row = tx.authorities().await?.into_iter().next().expect("an authority");
                    let key = tx.sealed_key(&row.key_purpose).await?.expect("its key");
                    Ok((row.der, key))
                })
            })
            .await
            .expect("rows");
        let key = app.vault().signer("acme", &stored.1.purpose, &stored.1.sealed).expect("it opens");
        Self { authority: Certificate::parse(&stored.0).expect("it reads"), key }
    }

    /// What it signs by `how`: its serial number, and what a client shows.
    fn forge<E: std::fmt::Debug>(
        &self,
        fixture: &Fixture,
        how: impl FnOnce(&Issuer<'_>, &Csr, Serial, Validity) -> Result<Issued, E>,
    ) -> (String, CertificateDer<'static>) {
        let issuer = Issuer::new(&self.authority, &self.key).expect("it fits");
        let request = csr::parse(&Device::new("gw-1").request()).expect("a request");
        let now: Timestamp = fixture.app.now();
        let validity = Validity { not_before: now.minus(DAY), not_after: now.plus(DAY) };
        let serial = Serial::generate(fixture.app.rng().as_ref());
        let forged = how(&issuer, &request, serial, validity).expect("signed");
        (forged.serial.to_string(), CertificateDer::from(forged.der))
    }
}

async fn alarms(fixture: &Fixture) -> Vec<(Severity, String)> {
    let told = events(fixture, "acme", &fixture.admin).await;
    let alarms = told.into_iter().filter(|event| event.entry.action == Action::CertificateUnlogged);
    alarms.map(|event| (event.entry.severity, event.entry.subject.unwrap_or_default())).collect()
}

#[tokio::test]
async fn a_certificate_that_nobody_issued_is_an_alarm() {
    let fixture = Fixture::new().await;
    let (app, acme) = (&fixture.app, tenant("acme"));
    enrolled(&fixture, "acme", &Device::new("gw-1")).await;
    let thief = Thief::at(&fixture).await;
    let (serial, shown) = thief.forge(&fixture, |issuer, csr, serial, validity| {
        leaf::issue(issuer, &acme, &device("gw-1"), csr, serial, validity)
    });
    for _ in 0..3 {
        let outcome = admit_device(app, &attempt(&fixture), &shown).await;
        assert_eq!(refused(outcome), "the certificate is not registered");
    }
    assert_eq!(alarms(&fixture).await, [(Severity::Critical, serial)], "told once");
}

#[tokio::test]
async fn one_that_names_no_device_of_the_tenant_is_an_alarm_too() {
    let fixture = Fixture::new().await;
    let (app, acme, zenith) = (&fixture.app, tenant("acme"), tenant("zenith"));
    let thief = Thief::at(&fixture).await;
    let claim = |home: &str| ClaimName { tenant: tenant(home), claim: "line-4".to_owned() };
    let (another, theirs) = thief.forge(&fixture, |issuer, csr, serial, validity| {
        leaf::issue(issuer, &zenith, &device("gw-1"), csr, serial, validity)
    });
    let (nobody, nobodys) = thief
        .forge(&fixture, |issuer, csr, serial, validity| leaf::unbound(issuer, &acme, csr, serial, validity, None));
    let (foreign, foreigns) = thief.forge(&fixture, |issuer, csr, serial, validity| {
        leaf::claim(issuer, &claim("zenith"), csr, serial, validity, None)
    });
    let (unknown, claims) = thief.forge(&fixture, |issuer, csr, serial, validity| {
        leaf::claim(issuer, &claim("acme"), csr, serial, validity, None)
    });
    for _ in 0..2 {
        for shown in [&theirs, &nobodys, &foreigns] {
            refused(admit_device(app, &attempt(&fixture), shown).await);
            let request = Device::new("gw-1").request();
            refused(reenroll_device(app, &attempt(&fixture), None, shown, &request).await);
        }
        for shown in [&foreigns, &claims] {
            refused(admit_claim(app, &attempt(&fixture), shown, "any").await);
        }
    }
    let told = alarms(&fixture).await;
    assert!(told.iter().all(|(severity, _)| *severity == Severity::Critical));
    let told: Vec<String> = told.into_iter().map(|(_, serial)| serial).collect();
    assert_eq!(told, [another, nobody, foreign, unknown], "each once");
}

/// What was issued and is no device's is no forgery.
#[tokio::test]
async fn what_waits_or_serves_is_no_alarm() {
    let fixture = Fixture::new().await;
    let (app, admin, acme) = (&fixture.app, &fixture.admin, tenant("acme"));
    // A certificate that was issued to a claim, while it waits and after it was forgotten.
    let body = json!({ "Resources": { "thing": { "Type": "AWS::IoT::Thing" } } }).to_string();
    let input = TemplateInput { body: Some(body), ..TemplateInput::default() };
    create_template(app, admin, &acme, "line", input).await.expect("a template");
    let csr_pem = pem::write(pem::CERTIFICATE_REQUEST, &Device::new("any").request());
    let new = NewClaim {
        name: "line-4".to_owned(),
        template: "line".to_owned(),
        csr: csr_pem.clone(),
        count_cap: None,
        life: None,
    };
    let made = create_claim(app, admin, &acme, new).await.expect("a claim");
    let claim = CertificateDer::from(pem::read(pem::CERTIFICATE, &made.certificate_pem).expect("PEM").remove(0));
    let claimant = admit_claim(app, &attempt(&fixture), &claim, "any").await.expect("admitted").claimant;
    let pending = create_from_csr(app, &claimant, &csr_pem).await.expect("a certificate");
    let waits = CertificateDer::from(pem::read(pem::CERTIFICATE, &pending.certificate_pem).expect("PEM").remove(0));
    refused(admit_device(app, &attempt(&fixture), &waits).await);
    fixture.clock.advance(DAY);
    reconcile::expiry::expire(app).await.expect("forgotten");
    refused(admit_device(app, &attempt(&fixture), &waits).await);
    // A registration authority; and a claim where a device is asked for.
    let change = json!({ "scep": { "enabled": true } }).as_object().cloned().expect("an object");
    let at = show_policy(app, admin, &acme).await.expect("a policy").revision;
    amend_policy(app, admin, &acme, at, change).await.expect("amended");
    let registration = CertificateDer::from(scep::authorities(app, &acme).await.expect("made").remove(0));
    refused(admit_device(app, &attempt(&fixture), &registration).await);
    refused(admit_device(app, &attempt(&fixture), &claim).await);
    assert_eq!(alarms(&fixture).await, []);
}

#[tokio::test]
async fn a_reason_is_one_line_wherever_it_is_given() {
    let fixture = Fixture::new().await;
    let (app, admin, acme) = (&fixture.app, &fixture.admin, tenant("acme"));
    enrolled(&fixture, "acme", &Device::new("gw-1")).await;
    let revoke = async |reason: &str| registry::revoke_device(app, admin, &acme, &device("gw-1"), reason).await;
    for bad in ["", " ", "two\nlines", &"x".repeat(limits::REVOCATION_REASON_BYTES + 1)] {
        let Err(Error::Invalid { field, .. }) = revoke(bad).await else { panic!("{bad:?}") };
        assert_eq!(field, "reason");
    }
    revoke(&"x".repeat(limits::REVOCATION_REASON_BYTES)).await.expect("revoked");
}
