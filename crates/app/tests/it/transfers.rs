//! A device changes hands: with the consent of both, once, whole or not at all, and neither side sees into the other.

use std::time::Duration;

use fleetward_app::enroll::admit_device;
use fleetward_app::identity_policy::{amend_policy, show_policy};
use fleetward_app::journal::{self, Event, JournalFilter};
use fleetward_app::transfers::{
    NewTransfer, Received, Transfer, accept_transfer, cancel_transfer, complete_transfer, confirm_wiped,
    offer_transfer, tell_again, transfers, wipe_order,
};
use fleetward_app::{Ctx, Error, reconcile, registry};
use fleetward_base::limits;
use fleetward_core::access::DeviceRights;
use fleetward_core::journal::{Action, ActorKind, Severity};
use fleetward_core::lifecycle::{Status, Transition};
use fleetward_core::registry::{Class, DeviceFields, Patch};
use fleetward_store::{AttestationRow, DeviceDidRow, InventoryRow, StoreError};
use rustls_pki_types::CertificateDer;
use serde_json::{Value, json};

use crate::enroll::{Device, attempt, enroll, enrolled, refused, story, token};
use crate::fixture::{Fixture, device, tenant};
use crate::fleet::Told;

const HOUR: Duration = Duration::from_secs(3600);

/// What the giving tenant asks of its devices.
async fn rule(fixture: &Fixture, wipe: &str) {
    let (app, admin, acme) = (&fixture.app, &fixture.admin, tenant("acme"));
    let revision = show_policy(app, admin, &acme).await.expect("a policy").revision;
    let Value::Object(patch) = json!({ "transfer": { "wipe": wipe, "wipe_hours": 2 } }) else { panic!("an object") };
    amend_policy(app, admin, &acme, revision, patch).await.expect("amended");
}

/// The context of a device that shows this certificate.
async fn itself(fixture: &Fixture, certificate: &[u8]) -> Result<Ctx, Error> {
    let admitted = admit_device(&fixture.app, &attempt(fixture), &CertificateDer::from(certificate)).await?;
    Ok(Ctx { principal: admitted.principal(), ..fixture.admin.clone() })
}

async fn shown(fixture: &Fixture) -> Transfer {
    transfers(&fixture.app, &fixture.admin, &tenant("acme"), None, 10).await.expect("a page").pop().expect("one")
}

async fn status(fixture: &Fixture, home: &str, name: &str) -> Status {
    registry::device(&fixture.app, &fixture.admin, &tenant(home), &device(name)).await.expect("there").device.status
}

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
    rule(&fixture, "none").await;
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
        [
            Action::TransferAccepted,
            Action::EnrollTokenCreated,
            Action::DeviceReceived,
            Action::CertificateIssued,
            Action::CertificateProven
        ]
    );
    let told = last(&fixture, "acme", "gw-1", Action::DeviceTransferred).await.entry;
    assert_eq!(
        told.detail,
        json!({ "to": "zenith", "from": "active", "certificates": 1, "tokens": 1, "wiped": "skipped" })
    );
    assert_eq!(told.actor.kind, ActorKind::System, "who accepted is zenith's own affair");
    let told = last(&fixture, "acme", "gw-1", Action::TransferAccepted).await.entry;
    assert_eq!(told.actor.kind, ActorKind::System, "nor is it told before");
    let told = last(&fixture, "zenith", "gw-1", Action::DeviceReceived).await.entry;
    assert_eq!(told.detail, json!({ "from": "acme", "hardware": "rev-b", "class": "gateway", "wiped": "skipped" }));
}

#[tokio::test]
async fn a_code_is_for_one_tenant_and_for_once() {
    let fixture = Fixture::new().await;
    rule(&fixture, "none").await;
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

#[tokio::test]
async fn a_device_wipes_itself_and_goes_then() {
    let fixture = Fixture::new().await;
    let told = Told::listen(&fixture.app);
    let (app, acme) = (&fixture.app, tenant("acme"));
    rule(&fixture, "required").await;
    let field = Device::new("gw-1");
    let old = enrolled(&fixture, "acme", &field).await;
    let here = itself(&fixture, &old.certificate).await.expect("acme's");
    assert!(matches!(wipe_order(app, &here).await, Err(Error::NotFound { .. })), "it is to go nowhere");
    let made = offer(&fixture, "gw-1", "zenith").await.expect("offered");
    told.take();
    let received = accept(&fixture, "zenith", &made.code, Some("gw-2")).await.expect("accepted");
    assert_eq!(received.waits_until, Some(app.now().plus(HOUR * 2)));
    let topic = "devices/gw-1/identity/transfer".to_owned();
    let notice = (topic, json!({ "transfer": made.id.to_string() }));
    assert_eq!(told.take(), std::slice::from_ref(&notice));
    tell_again(app, &acme, &device("gw-1")).await.expect("told");
    tell_again(app, &acme, &device("gw-9")).await.expect("nobody to tell");
    assert_eq!(told.take(), [notice]);

    // It is acme's until it says that it has wiped itself, and nothing of acme's is open to zenith.
    assert_eq!(
        (status(&fixture, "acme", "gw-1").await, status(&fixture, "zenith", "gw-2").await),
        (Status::Active, Status::Claimed)
    );
    assert_eq!(refused(offer(&fixture, "gw-1", "zenith").await), "transfer-open");
    let step = Transition::Decommission;
    let early = registry::change_status(app, &fixture.admin, &acme, &device("gw-1"), step).await;
    assert_eq!(refused(early), "transfer-open");
    unseen(confirm_wiped(app, &here, made.id).await);
    let order = wipe_order(app, &here).await.expect("an order");
    assert_eq!((order.tenant.as_str(), order.device.as_str(), order.transfer), ("zenith", "gw-2", made.id.to_string()));
    assert!(matches!(wipe_order(app, &here).await, Err(Error::TooMany { .. })), "it need not ask twice at once");
    assert!(shown(&fixture).await.told_at.is_some());
    fixture.clock.advance(limits::TRANSFER_ORDER_EVERY);
    let again = wipe_order(app, &here).await.expect("its answer may have been lost");
    assert_ne!(again.token, order.token);
    let there = Device::new("gw-2");
    refused(enroll(&fixture, &there, &order.token).await);
    let other = enrolled(&fixture, "acme", &Device::new("gw-7")).await;
    let other = itself(&fixture, &other.certificate).await.expect("acme's");
    unseen(confirm_wiped(app, &other, made.id).await);
    assert!(matches!(wipe_order(app, &other).await, Err(Error::NotFound { .. })));

    assert_eq!(told.take_forgotten(), []);
    confirm_wiped(app, &here, made.id).await.expect("it goes");
    assert_eq!(told.take_forgotten(), [device("gw-1")], "no session is left");
    unseen(confirm_wiped(app, &here, made.id).await);
    assert_eq!(status(&fixture, "acme", "gw-1").await, Status::Decommissioned);
    assert!(itself(&fixture, &old.certificate).await.is_err());
    let done = shown(&fixture).await;
    assert_eq!((done.wiped.map(|it| it.as_str()), done.completed_at.is_some()), (Some("confirmed"), true));
    let anew = enroll(&fixture, &there, &again.token).await.expect("enrolled");
    assert_eq!((anew.tenant.as_str(), anew.device.as_str()), ("zenith", "gw-2"));
    assert_eq!(
        story(&fixture, "zenith", "gw-2").await,
        [
            Action::TransferAccepted,
            Action::EnrollTokenCreated,
            Action::EnrollTokenCreated,
            Action::EnrollTokenCreated,
            Action::EnrollmentRefused,
            Action::DeviceReceived,
            Action::CertificateIssued
        ]
    );
    let late = complete_transfer(app, &fixture.admin, &acme, made.id).await;
    late.expect("twice is harmless");
    assert_eq!(refused(cancel_transfer(app, &fixture.admin, &acme, made.id).await), "transfer-accepted");
}

#[tokio::test]
async fn a_device_that_says_nothing_goes_as_the_policy_says() {
    for (wipe, goes) in [("attempted", true), ("required", false)] {
        let fixture = Fixture::new().await;
        let (app, admin, acme) = (&fixture.app, &fixture.admin, tenant("acme"));
        rule(&fixture, wipe).await;
        let old = enrolled(&fixture, "acme", &Device::new("gw-1")).await;
        let made = offer(&fixture, "gw-1", "zenith").await.expect("offered");
        assert_eq!(refused(complete_transfer(app, admin, &acme, made.id).await), "transfer-open");
        accept(&fixture, "zenith", &made.code, None).await.expect("accepted");
        // What the policy says later changes nothing for one that is under way.
        rule(&fixture, "none").await;
        fixture.clock.advance(HOUR);
        assert_eq!(reconcile::transfers::tick(app).await.expect("a look"), Default::default());
        fixture.clock.advance(HOUR);
        let found = reconcile::transfers::tick(app).await.expect("a look");
        assert_eq!((found.handed_over, found.told), (usize::from(goes), usize::from(!goes)), "{wipe}");
        assert_eq!(reconcile::transfers::tick(app).await.expect("a look"), Default::default());
        if goes {
            let gone = last(&fixture, "acme", "gw-1", Action::DeviceTransferred).await.entry;
            assert_eq!((gone.severity, &gone.detail["wiped"]), (Severity::Warning, &json!("unconfirmed")));
            continue;
        }
        let late = last(&fixture, "acme", "gw-1", Action::TransferUnconfirmed).await.entry;
        assert_eq!((late.severity, late.detail), (Severity::Warning, json!({ "to": "zenith", "told": false })));
        assert!(shown(&fixture).await.overdue_at.is_some());
        itself(&fixture, &old.certificate).await.expect("it is acme's still");
        // However late, it may say it; or a person decides.
        let viewer = fixture.operator("acme", "viewer").await;
        assert!(matches!(complete_transfer(app, &viewer, &acme, made.id).await, Err(Error::Denied { .. })));
        unseen(complete_transfer(app, admin, &tenant("zenith"), made.id).await);
        complete_transfer(app, admin, &acme, made.id).await.expect("let go");
        assert_eq!(status(&fixture, "acme", "gw-1").await, Status::Decommissioned);
        let here = last(&fixture, "zenith", "gw-1", Action::DeviceReceived).await.entry;
        assert_eq!(here.detail["wiped"], "unconfirmed");
    }
}

#[tokio::test]
async fn one_that_cannot_be_told_goes_at_once_or_waits_for_a_person() {
    let fixture = Fixture::new().await;
    let (app, admin, acme) = (&fixture.app, &fixture.admin, tenant("acme"));
    token(&fixture, "acme", "new").await;
    for name in ["gone", "kept"] {
        enrolled(&fixture, "acme", &Device::new(name)).await;
        registry::revoke_device(app, admin, &acme, &device(name), "sold").await.expect("revoked");
    }
    for (name, wipe, expect) in
        [("new", "required", Some("nothing")), ("gone", "attempted", Some("unreachable")), ("kept", "required", None)]
    {
        rule(&fixture, wipe).await;
        let made = offer(&fixture, name, "zenith").await.expect("offered");
        let received = accept(&fixture, "zenith", &made.code, None).await.expect("accepted");
        assert_eq!(received.waits_until.is_some(), expect.is_none(), "{name}");
        assert_eq!(shown(&fixture).await.wiped.map(|it| it.as_str()), expect, "{name}");
    }
}

#[tokio::test]
async fn a_transfer_is_called_off_while_the_device_is_waited_for() {
    let fixture = Fixture::new().await;
    let (app, admin, acme) = (&fixture.app, &fixture.admin, tenant("acme"));
    let old = enrolled(&fixture, "acme", &Device::new("gw-1")).await;
    let here = itself(&fixture, &old.certificate).await.expect("acme's");
    let made = offer(&fixture, "gw-1", "zenith").await.expect("offered");
    let received = accept(&fixture, "zenith", &made.code, None).await.expect("accepted");
    wipe_order(app, &here).await.expect("an order");
    cancel_transfer(app, admin, &acme, made.id).await.expect("called off");
    unseen(confirm_wiped(app, &here, made.id).await);
    itself(&fixture, &old.certificate).await.expect("it stays");
    let there = registry::device(app, admin, &tenant("zenith"), &device("gw-1")).await;
    assert!(matches!(there, Err(Error::NotFound { .. })), "zenith expects it no more");
    refused(enroll(&fixture, &Device::new("gw-1"), &received.token.token).await);
    last(&fixture, "zenith", "gw-1", Action::TransferCanceled).await;
    assert_eq!(refused(complete_transfer(app, admin, &acme, made.id).await), "transfer-canceled");

    // And where the other side does not expect it any more, it does not go.
    let made = offer(&fixture, "gw-1", "zenith").await.expect("offered anew");
    accept(&fixture, "zenith", &made.code, None).await.expect("accepted");
    wipe_order(app, &here).await.expect("an order");
    let zenith = tenant("zenith");
    registry::change_status(app, admin, &zenith, &device("gw-1"), Transition::Decommission).await.expect("ended");
    assert_eq!(refused(confirm_wiped(app, &here, made.id).await), "receiver-gone");
    fixture.clock.advance(HOUR);
    assert_eq!(refused(wipe_order(app, &here).await), "receiver-gone");
    itself(&fixture, &old.certificate).await.expect("it stays");
}

#[tokio::test]
async fn what_the_maker_says_goes_along_and_what_was_proven_here_does_not() {
    let fixture = Fixture::new().await;
    let (app, acme, zenith) = (&fixture.app, tenant("acme"), tenant("zenith"));
    rule(&fixture, "none").await;
    enrolled(&fixture, "acme", &Device::new("gw-1")).await;
    let now = app.now();
    let made = InventoryRow {
        serial: "SN-1".into(),
        device: device("gw-1"),
        class: Some("gateway".into()),
        hardware: Some("rev-b".into()),
        ek_hash: Some("aa".repeat(32)),
        batch: Some("b1".into()),
        maker: Some("m".into()),
        root_of_trust: Some("tpm2".into()),
        attestation: Some("signed".into()),
        attested_by: Some("key".into()),
        imported_at: now,
        updated_at: now,
    };
    let proven = AttestationRow { verdict: Some("affirming".into()), ..AttestationRow::new(device("gw-1"), now) };
    let did = DeviceDidRow {
        did: "did:web:acme.example".into(),
        device: device("gw-1"),
        key_id: "k".into(),
        public_key: vec![0x30],
        added_by: "ops".into(),
        added_at: now,
    };
    let kept = app.store().write(&acme, "test", move |tx| {
        Box::pin(async move {
            tx.put_inventory(&made).await?;
            tx.insert_device_did(&did).await?;
            tx.put_attestation(&proven).await
        })
    });
    kept.await.expect("written");
    let offered = offer(&fixture, "gw-1", "zenith").await.expect("offered");
    accept(&fixture, "zenith", &offered.code, Some("gw-2")).await.expect("accepted");
    let found = app.store().read(&zenith, "test", |tx| {
        Box::pin(
            async move { Ok::<_, StoreError>((tx.inventory("SN-1").await?, tx.attestation(&device("gw-2")).await?)) },
        )
    });
    let (made, proven) = found.await.expect("read");
    let made = made.expect("it goes along");
    assert_eq!((made.device.as_str(), made.batch.as_deref(), made.ek_hash.is_some()), ("gw-2", Some("b1"), true));
    assert_eq!(
        (made.root_of_trust, made.attestation, made.attested_by),
        (None, None, None),
        "zenith has not seen that"
    );
    assert_eq!(proven, None, "it is attested again");
    let left = app.store().read(&acme, "test", |tx| {
        Box::pin(async move {
            let dids = tx.device_dids(&device("gw-1"), 9).await?.len();
            Ok::<_, StoreError>((tx.inventory("SN-1").await?, tx.attestation(&device("gw-1")).await?, dids))
        })
    });
    assert_eq!(left.await.expect("read"), (None, None, 0));
}

#[tokio::test]
async fn a_returning_device_is_attested_again() {
    let fixture = Fixture::new().await;
    let (app, admin, acme) = (&fixture.app, &fixture.admin, tenant("acme"));
    rule(&fixture, "none").await;
    let revision = show_policy(app, admin, &acme).await.expect("a policy").revision;
    let Value::Object(patch) = json!({ "attestation": { "classes": { "endpoint": { "required": true } } } }) else {
        panic!("an object")
    };
    amend_policy(app, admin, &acme, revision, patch).await.expect("amended");
    let field = Device::new("gw-1");
    let old = enrolled(&fixture, "acme", &field).await;
    let now = app.now();
    let proven = AttestationRow {
        verdict: Some("affirming".into()),
        attested_at: Some(now),
        ..AttestationRow::new(device("gw-1"), now)
    };
    let kept = app.store().write(&acme, "test", move |tx| Box::pin(async move { tx.put_attestation(&proven).await }));
    kept.await.expect("written");
    let rights = async |certificate: &[u8]| {
        let certificate = CertificateDer::from(certificate.to_vec());
        admit_device(app, &attempt(&fixture), &certificate).await.expect("let in").rights
    };
    assert_eq!(rights(&old.certificate).await, DeviceRights::Full);
    let offered = offer(&fixture, "gw-1", "zenith").await.expect("offered");
    let there = accept(&fixture, "zenith", &offered.code, None).await.expect("accepted").token.token;
    let there = enroll(&fixture, &field, &there).await.expect("enrolled");
    assert_eq!(rights(&there.certificate).await, DeviceRights::Full, "zenith asks for nothing");
    let back = offer_transfer(app, admin, &tenant("zenith"), device("gw-1"), acme.clone(), Some(HOUR)).await;
    let back = accept(&fixture, "acme", &back.expect("offered").code, Some("gw-1-again")).await.expect("accepted");
    complete_transfer(app, admin, &tenant("zenith"), back_of(&fixture).await).await.expect("let go");
    let again = enroll(&fixture, &Device::new("gw-1-again"), &back.token.token).await.expect("enrolled");
    assert_eq!(rights(&again.certificate).await, DeviceRights::Restricted, "until it has attested");
}

async fn back_of(fixture: &Fixture) -> fleetward_base::TransferId {
    let zenith = tenant("zenith");
    transfers(&fixture.app, &fixture.admin, &zenith, None, 10).await.expect("a page").pop().expect("one").id
}
