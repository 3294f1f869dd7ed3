//! An authority is revoked: what it signed is out at once, another signs, and whoever asks its parent hears of it.

use std::time::Duration;

use fleetward_app::ca_rotations::{advance_rotation, rotation, start_rotation};
use fleetward_app::enroll::{Enrolled, admit_device};
use fleetward_app::publication::{self, ocsp};
use fleetward_app::reconcile::{crls, ends};
use fleetward_app::revocation::{self, NewRevocation};
use fleetward_app::{App, Error, authority};
use fleetward_core::ca_rotation::{Forced, Stage};
use fleetward_core::journal::Action;
use fleetward_core::revocation::{Status as Progress, Target};
use fleetward_pki::{Certificate, ocsp::cert_id};
use rustls_pki_types::CertificateDer;

use crate::enroll::{Device, admit, attempt, enrolled, enrolled_at, events, refused, renew};
use crate::fixture::{Fixture, tenant};
use crate::ways_out::{begin, bytes, ended, has, request};

async fn authority_of(fixture: &Fixture, held: &Enrolled) -> String {
    let (serial, acme) = (held.serial.clone(), tenant("acme"));
    let row = fixture.app.read(&acme, "test", move |tx| {
        Box::pin(async move { Ok(tx.certificate(&serial).await?.expect("it is there").authority) })
    });
    row.await.expect("a row")
}

async fn admitted_at(app: &App, fixture: &Fixture, held: &Enrolled) -> Result<(), Error> {
    let der = CertificateDer::from(held.certificate.as_slice());
    admit_device(app, &attempt(fixture), &der).await.map(drop)
}

/// The authority's key is known: what it signed is refused before the first page of the job, another signs at once, the
/// root says so in its list and by OCSP, and a second server hears of it.
#[tokio::test]
async fn an_authority_is_revoked_and_another_signs_at_once() {
    let fixture = Fixture::new().await;
    let (app, acme) = (&fixture.app, tenant("acme"));
    let second = fixture.second();
    authority::open_installation(&second).await.expect("the same keys");
    ends::begin(&second).await.expect("it listens");
    let (one, two) = (Device::new("gw-1"), Device::new("gw-2"));
    let (first, other) = (enrolled(&fixture, "acme", &one).await, enrolled(&fixture, "acme", &two).await);
    admitted_at(&second, &fixture, &first).await.expect("known there too");
    crls::tick(app).await.expect("lists");
    let fingerprint = authority_of(&fixture, &first).await;
    let chain = authority::authority_chain(app, Some(&acme)).await.expect("a chain");
    let issuing = Certificate::parse(&chain[0]).expect("reads");
    let root = Certificate::parse(&chain[1]).expect("reads");
    let id = cert_id(&root, &issuing.serial).expect("an id");
    let revoked_tag = [0xa1_u8, 0x16, 0x18, 0x0f];
    let above = root.fingerprint();
    for server in [app, &second] {
        assert!(!has(&ocsp::answer(server, &above[..16], &request(&id, &[])).await.der, &revoked_tag));
    }

    let begun = begin(&fixture, Target::Authority { fingerprint: fingerprint.clone() }).await;
    assert_eq!((begun.status, begun.total), (Progress::Running, 2));
    // Not one page was worked on, and it is over.
    for held in [&first, &other] {
        assert_eq!(refused(admitted_at(app, &fixture, held).await), "the certificate is not accepted");
    }
    assert!(renew(&fixture, &first, &one).await.is_err());
    ends::tick(&second).await.expect("a look");
    assert_eq!(refused(admitted_at(&second, &fixture, &first).await), "the certificate is not accepted");
    // Another signs, on both servers.
    let three = Device::new("gw-3");
    let third = enrolled(&fixture, "acme", &three).await;
    let fourth = enrolled_at(&second, &fixture, "acme", &Device::new("gw-4")).await.expect("enrolled");
    let successor = authority_of(&fixture, &third).await;
    assert_ne!(successor, fingerprint);
    assert_eq!(authority_of(&fixture, &fourth).await, successor);
    admitted_at(&second, &fixture, &third).await.expect("let in");
    let shown = authority::authority_chain(app, Some(&acme)).await.expect("a chain");
    assert_eq!((shown.len(), &shown[1]), (2, &root.der));
    assert_ne!(shown[0], issuing.der);
    // Its parent says so.
    for server in [app, &second] {
        assert!(has(&ocsp::answer(server, &above[..16], &request(&id, &[])).await.der, &revoked_tag));
    }
    assert_eq!(crls::tick(app).await.expect("lists").failed, 0);
    let listed = publication::list(app, &above[..16], None).await.expect("a list");
    assert!(has(&listed.der, &bytes(&issuing.serial.to_string())));
    // The job goes through what it signed, and its own list has it all.
    let done = ended(&fixture, &begun).await;
    assert_eq!((done.status, done.certificates), (Progress::Finished, 2));
    crls::tick(app).await.expect("lists");
    let own = publication::list(app, &fingerprint[..16], None).await.expect("a list");
    assert!(has(&own.der, &bytes(&first.serial)) && has(&own.der, &bytes(&other.serial)));
    // Once more makes no third one, and a device comes back with a new token.
    begin(&fixture, Target::Authority { fingerprint: fingerprint.clone() }).await;
    let back = enrolled(&fixture, "acme", &one).await;
    assert_eq!(authority_of(&fixture, &back).await, successor);
    let told = events(&fixture, "acme", &fixture.admin).await;
    let told: Vec<_> = told.iter().filter(|event| event.entry.action == Action::CaRevoked).collect();
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].entry.detail["successor"], successor.as_str());
}

#[tokio::test]
async fn revoking_an_authority_within_a_rotation_and_what_is_none() {
    let fixture = Fixture::new().await;
    let (app, admin, acme) = (&fixture.app, &fixture.admin, tenant("acme"));
    let held = enrolled(&fixture, "acme", &Device::new("gw-1")).await;
    let old = authority_of(&fixture, &held).await;
    let started = start_rotation(app, admin, Some(&acme), None, None).await.expect("started");
    // The one that is shown and does not sign yet: the rotation is called off, the present one goes on.
    begin(&fixture, Target::Authority { fingerprint: started.new.clone() }).await;
    assert_eq!(rotation(app, admin, Some(&acme)).await.expect("there").stage, Stage::Canceled);
    admit(&fixture, &held).await.expect("known as before");
    // The present one while another is prepared: that one signs.
    fixture.clock.advance(Duration::from_secs(1));
    let again = start_rotation(app, admin, Some(&acme), None, None).await.expect("another");
    begin(&fixture, Target::Authority { fingerprint: old.clone() }).await;
    assert_eq!(rotation(app, admin, Some(&acme)).await.expect("there").stage, Stage::Retired);
    let next = enrolled(&fixture, "acme", &Device::new("gw-2")).await;
    assert_eq!(authority_of(&fixture, &next).await, again.new);
    // The new one after it began to sign: the rotation goes on with its successor.
    fixture.clock.advance(Duration::from_secs(1));
    let third = start_rotation(app, admin, Some(&acme), None, None).await.expect("another");
    advance_rotation(app, admin, Some(&acme), third.revision, Forced(true)).await.expect("it signs");
    begin(&fixture, Target::Authority { fingerprint: third.new.clone() }).await;
    let found = rotation(app, admin, Some(&acme)).await.expect("there");
    assert_eq!((found.stage, found.old.as_str()), (Stage::Issue, again.new.as_str()));
    let last = enrolled(&fixture, "acme", &Device::new("gw-3")).await;
    assert_eq!(authority_of(&fixture, &last).await, found.new);
    admit(&fixture, &next).await.expect("what the old one signed counts until it is renewed");
    // Neither another tenant's authority nor one that is nobody's.
    let chain = authority::authority_chain(app, Some(&tenant("zenith"))).await.expect("a chain");
    let theirs = Certificate::parse(&chain[0]).expect("reads").fingerprint();
    for fingerprint in [theirs, "0".repeat(64)] {
        let target = Target::Authority { fingerprint };
        let new = NewRevocation { target, reason: "test".to_owned(), replace_by: None };
        let refused = revocation::begin(app, admin, &acme, new).await;
        assert!(matches!(refused, Err(Error::NotFound { what: "authority" })));
    }
}
