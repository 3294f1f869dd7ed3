//! A device changes hands: with the consent of both, once, whole or not at all, and neither side sees into the other.

use std::time::Duration;

use fleetward_app::enroll::admit_device;
use fleetward_app::journal::{self, Event, JournalFilter};
use fleetward_app::transfers::{NewTransfer, Received, accept_transfer, cancel_transfer, offer_transfer, transfers};
use fleetward_app::{Error, reconcile, registry};
use fleetward_base::limits;
use fleetward_core::journal::{Action, ActorKind};
use fleetward_core::lifecycle::{Status, Transition};
use fleetward_core::registry::{Class, DeviceFields, Patch};
use rustls_pki_types::CertificateDer;
use serde_json::json;

use crate::enroll::{Device, attempt, enroll, enrolled, refused, story, token};
use crate::fixture::{Fixture, device, tenant};

const HOUR: Duration = Duration::from_secs(3600);

async fn offer(fixture: &Fixture, name: &str, to: &str) -> Result<NewTransfer, Error> {
    let (app, admin) = (&fixture.app, &fixture.admin);
    offer_transfer(app, admin, &tenant("acme"), device(name), tenant(to), Some(HOUR)).await
}

async fn accept(fixture: &Fixture, home: &str, code: &str, name: Option<&str>) -> Result<Received, Error> {
    accept_transfer(&fixture.app, &fixture.admin, &tenant(home), code, name.map(device)).await
}

fn unseen<T>(outcome: Result<T, Error>) {
    assert!(matches!(outcome, Err(Error::NotFound { what: "transfer" })), "{:?}", outcome.err());
}

async fn last(fixture: &Fixture, home: &str, name: &str, action: Action) -> Event {
    let filter = JournalFilter { device: Some(device(name)), ..JournalFilter::default() };
    let events = journal::events(&fixture.app, &fixture.admin, &tenant(home), filter, None, 100).await.expect("events");
    events.into_iter().find(|event| event.entry.action == action).expect("it is told")
}

#[tokio::test]
async fn a_device_goes_over_and_enrols_anew() {
    let fixture = Fixture::new().await;
    let (app, acme, zenith) = (&fixture.app, tenant("acme"), tenant("zenith"));
    let field = Device::new("gw-1");
    let old = enrolled(&fixture, "acme", &field).await;
    let spare = token(&fixture, "acme", "gw-1").await;
    let before = registry::device(app, &fixture.admin, &acme, &device("gw-1")).await.expect("there").device;
    let fields = DeviceFields {
        class: Some(Class::Gateway),
        hardware: Some("rev-b".to_owned()),
        owner: Patch::Set("ops".to_owned()),
        tags: Some(["blue".to_owned()].into()),
        ..DeviceFields::default()
    };
    registry::amend_device(app, &fixture.admin, &acme, &device("gw-1"), before.revision, fields)
        .await
        .expect("amended");

    let giver = fixture.operator("acme", "owner").await;
    let made = offer_transfer(app, &giver, &acme, device("gw-1"), zenith.clone(), None).await.expect("offered");
    assert!(made.code.starts_with("fwt_"));
    admit_device(app, &attempt(&fixture), &CertificateDer::from(old.certificate.as_slice()))
        .await
        .expect("still acme's");
    let taker = fixture.operator("zenith", "owner").await;
    let received = accept_transfer(app, &taker, &zenith, &made.code, None).await.expect("accepted");
    assert_eq!((received.from_tenant.as_str(), received.token.device.as_str()), ("acme", "gw-1"));

    let gone = registry::device(app, &giver, &acme, &device("gw-1")).await.expect("its record stays").device;
    assert_eq!((gone.status, gone.certificate), (Status::Decommissioned, None));
    let old = CertificateDer::from(old.certificate.as_slice());
    assert!(matches!(admit_device(app, &attempt(&fixture), &old).await, Err(Error::Unauthenticated { .. })));
    refused(enroll(&fixture, &field, &spare).await);

    let here = registry::device(app, &taker, &zenith, &device("gw-1")).await.expect("it is here").device;
    assert_eq!((here.status, here.class, here.hardware.as_str()), (Status::Claimed, Class::Gateway, "rev-b"));
    assert!(here.owner.is_none() && here.tags.is_empty() && here.certificate.is_none());
    let anew = enroll(&fixture, &field, &received.token.token).await.expect("enrolled");
    assert_eq!(anew.tenant, zenith);
    let anew = CertificateDer::from(anew.certificate.as_slice());
    admit_device(app, &attempt(&fixture), &anew).await.expect("it may come in");

    assert_eq!(
        story(&fixture, "zenith", "gw-1").await,
        [Action::DeviceReceived, Action::EnrollTokenCreated, Action::CertificateIssued, Action::CertificateProven]
    );
    let told = last(&fixture, "acme", "gw-1", Action::DeviceTransferred).await.entry;
    assert_eq!(told.detail, json!({ "to": "zenith", "from": "active", "certificates": 1, "tokens": 1 }));
    assert_eq!(told.actor.kind, ActorKind::System, "who accepted is zenith's own affair");
    let told = last(&fixture, "zenith", "gw-1", Action::DeviceReceived).await.entry;
    assert_eq!(told.detail, json!({ "from": "acme", "hardware": "rev-b", "class": "gateway" }));
}

#[tokio::test]
async fn a_code_is_for_one_tenant_and_for_once() {
    let fixture = Fixture::new().await;
    enrolled(&fixture, "acme", &Device::new("gw-1")).await;
    let made = offer(&fixture, "gw-1", "zenith").await.expect("offered");
    unseen(accept(&fixture, "acme", &made.code, None).await);
    unseen(accept(&fixture, "zenith", "fwt_nothing", None).await);
    unseen(accept(&fixture, "zenith", &format!("fwt_{}", "A".repeat(43)), None).await);
    let foreign = fixture.operator("acme", "owner").await;
    let elsewhere = accept_transfer(&fixture.app, &foreign, &tenant("zenith"), &made.code, None).await;
    assert!(matches!(elsewhere, Err(Error::NotFound { what: "tenant" })));

    let (one, other) = tokio::join!(
        accept(&fixture, "zenith", &made.code, Some("one")),
        accept(&fixture, "zenith", &made.code, Some("other"))
    );
    assert!(one.is_ok() ^ other.is_ok(), "of two that come at once one wins");
    unseen(if one.is_ok() { other } else { one });
    unseen(accept(&fixture, "zenith", &made.code, Some("late")).await);
    let late = cancel_transfer(&fixture.app, &fixture.admin, &tenant("acme"), made.id).await;
    assert_eq!(refused(late), "transfer-accepted");
}

#[tokio::test]
async fn offers_end() {
    let fixture = Fixture::new().await;
    let (app, admin, acme) = (&fixture.app, &fixture.admin, tenant("acme"));
    enrolled(&fixture, "acme", &Device::new("gw-1")).await;
    let canceled = offer(&fixture, "gw-1", "zenith").await.expect("offered");
    assert_eq!(refused(offer(&fixture, "gw-1", "zenith").await), "transfer-open");
    cancel_transfer(app, admin, &acme, canceled.id).await.expect("canceled");
    cancel_transfer(app, admin, &acme, canceled.id).await.expect("twice is harmless");
    unseen(cancel_transfer(app, admin, &tenant("zenith"), canceled.id).await);
    unseen(accept(&fixture, "zenith", &canceled.code, None).await);

    let expired = offer(&fixture, "gw-1", "zenith").await.expect("offered again");
    fixture.clock.advance(HOUR);
    unseen(accept(&fixture, "zenith", &expired.code, None).await);
    let ended = offer(&fixture, "gw-1", "zenith").await.expect("the one before is over");
    registry::change_status(app, admin, &acme, &device("gw-1"), Transition::Decommission).await.expect("ended");
    unseen(accept(&fixture, "zenith", &ended.code, None).await);
    assert_eq!(refused(offer(&fixture, "gw-1", "zenith").await), "life-cycle");

    assert_eq!(transfers(app, admin, &acme, None, 10).await.expect("a page").len(), 3);
    assert!(transfers(app, admin, &tenant("zenith"), None, 10).await.expect("a page").is_empty());
    fixture.clock.advance(limits::TRANSFER_KEPT + HOUR);
    reconcile::expiry::expire(app).await.expect("forgotten");
    assert!(transfers(app, admin, &acme, None, 10).await.expect("a page").is_empty());
}

#[tokio::test]
async fn a_taken_name_leaves_everything_as_it_was() {
    let fixture = Fixture::new().await;
    let (app, admin, acme) = (&fixture.app, &fixture.admin, tenant("acme"));
    let old = enrolled(&fixture, "acme", &Device::new("gw-1")).await;
    enrolled(&fixture, "zenith", &Device::new("gw-1")).await;
    let made = offer(&fixture, "gw-1", "zenith").await.expect("offered");
    let before = (story(&fixture, "acme", "gw-1").await, story(&fixture, "zenith", "gw-1").await);
    assert_eq!(refused(accept(&fixture, "zenith", &made.code, None).await), "device-exists");
    assert_eq!((story(&fixture, "acme", "gw-1").await, story(&fixture, "zenith", "gw-1").await), before);
    let still = registry::device(app, admin, &acme, &device("gw-1")).await.expect("there").device;
    assert_eq!(still.status, Status::Active);
    admit_device(app, &attempt(&fixture), &CertificateDer::from(old.certificate.as_slice())).await.expect("it counts");
    accept(&fixture, "zenith", &made.code, Some("gw-2")).await.expect("the code still stands");
}

#[tokio::test]
async fn who_may_not_give_away() {
    let fixture = Fixture::new().await;
    let (app, acme) = (&fixture.app, tenant("acme"));
    enrolled(&fixture, "acme", &Device::new("gw-1")).await;
    for role in ["viewer", "operator"] {
        let theirs = fixture.operator("acme", role).await;
        let offered = offer_transfer(app, &theirs, &acme, device("gw-1"), tenant("zenith"), None).await;
        assert!(matches!(offered, Err(Error::Denied { .. })), "{role}");
        assert!(matches!(transfers(app, &theirs, &acme, None, 10).await, Err(Error::Denied { .. })), "{role}");
    }
    let made = offer(&fixture, "gw-1", "zenith").await.expect("offered");
    let viewer = fixture.operator("zenith", "viewer").await;
    let taken = accept_transfer(app, &viewer, &tenant("zenith"), &made.code, None).await;
    assert!(matches!(taken, Err(Error::Denied { .. })));

    assert!(matches!(offer(&fixture, "gw-9", "zenith").await, Err(Error::NotFound { what: "device" })));
    assert!(matches!(offer(&fixture, "gw-1", "acme").await, Err(Error::Invalid { .. })));
    enrolled(&fixture, "acme", &Device::new("gw-2")).await;
    offer(&fixture, "gw-2", "nobody").await.expect("who else is here is not told");
    let month = Some(limits::TRANSFER_LIFE + HOUR);
    let long = offer_transfer(app, &fixture.admin, &acme, device("gw-1"), tenant("zenith"), month).await;
    assert!(matches!(long, Err(Error::Invalid { .. })));
    enrolled(&fixture, "acme", &Device::new("gw-3")).await;
    registry::change_status(app, &fixture.admin, &acme, &device("gw-3"), Transition::ReportLost).await.expect("lost");
    assert_eq!(refused(offer(&fixture, "gw-3", "zenith").await), "life-cycle");
}
