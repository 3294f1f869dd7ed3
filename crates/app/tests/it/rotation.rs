//! Certificates that take each other's place, in a real store: graces, deadlines, requests to renew, campaigns, alerts.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use fleetward_app::enroll::{Attempt, Credentials, Enrolled, admit_device, enroll_device, reenroll_device};
use fleetward_app::identity_policy::{amend_policy, show_policy};
use fleetward_app::journal::{self, Event, JournalFilter};
use fleetward_app::presence::Arrival;
use fleetward_app::reconcile::{campaigns, rotation as clockwork};
use fleetward_app::rotation::{self, Ask, NewRotation};
use fleetward_app::{Ctx, Error, enroll_tokens, registry};
use fleetward_attest::tpm::Hash;
use fleetward_base::{RolloutId, Secret, limits};
use fleetward_core::journal::{Action, Severity};
use fleetward_core::registry::DeviceFields;
use fleetward_core::rotation::campaign::Renewal;
use fleetward_pki::{Certificate, Signer as _, SoftKey, csr, name};
use fleetward_store::AttestationRow;
use rustls_pki_types::CertificateDer;
use serde_json::{Value, json};

use crate::fixture::{Fixture, device, tenant};
use crate::fleet::Told;

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);
const MINUTE: Duration = Duration::from_secs(60);

/// A house with one device in the field, which keeps its key.
struct Field {
    fixture: Fixture,
    key: SoftKey,
}

fn attempt(fixture: &Fixture) -> Attempt {
    let address = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    Attempt { address, request_id: fixture.app.new_request_id() }
}

fn request(device: &str, key: &SoftKey) -> Vec<u8> {
    csr::write(&name::write(None, device), &[], key).expect("signs")
}

async fn enroll(fixture: &Fixture, home: &str, name: &str, key: &SoftKey) -> Enrolled {
    let (app, admin) = (&fixture.app, &fixture.admin);
    let (home, fields) = (tenant(home), DeviceFields::default());
    let made = enroll_tokens::create_enroll_token(app, admin, &home, device(name), fields, None).await;
    let token = Secret::new(made.expect("a token").token);
    let credentials = Credentials { device: name.to_owned(), token };
    enroll_device(app, &attempt(fixture), None, &credentials, &request(name, key)).await.expect("enrolled")
}

async fn renew(fixture: &Fixture, shown: &Enrolled, key: &SoftKey) -> Result<Enrolled, Error> {
    let der = CertificateDer::from(shown.certificate.as_slice());
    let csr = request(shown.device.as_str(), key);
    reenroll_device(&fixture.app, &attempt(fixture), None, &der, &csr).await
}

async fn admit(fixture: &Fixture, shown: &Enrolled) -> Result<(), Error> {
    let der = CertificateDer::from(shown.certificate.as_slice());
    admit_device(&fixture.app, &attempt(fixture), &der).await.map(drop)
}

fn refused<T>(outcome: Result<T, Error>) -> &'static str {
    match outcome {
        Err(Error::Unauthenticated { reason }) => reason,
        Err(Error::Conflict { code, .. }) => code,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("accepted"),
    }
}

impl Field {
    async fn new() -> Self {
        Self { fixture: Fixture::new().await, key: SoftKey::generate().0 }
    }

    async fn enrolled(&self) -> Enrolled {
        enroll(&self.fixture, "acme", "gw-1", &self.key).await
    }

    async fn used(&self) -> Enrolled {
        let enrolled = self.enrolled().await;
        admit(&self.fixture, &enrolled).await.expect("it is let in");
        enrolled
    }

    async fn policy(&self, renewal: Value) {
        let (app, admin, acme) = (&self.fixture.app, &self.fixture.admin, tenant("acme"));
        let revision = show_policy(app, admin, &acme).await.expect("a policy").revision;
        let Value::Object(patch) = json!({ "renewal": renewal }) else { panic!("an object") };
        amend_policy(app, admin, &acme, revision, patch).await.expect("amended");
    }

    /// As attestation leaves it where the device's hardware vouched for this key.
    async fn attested(&self, key: &[u8], verdict: &str) {
        let now = self.fixture.app.now();
        let row = AttestationRow {
            certified_key: Some(Hash::Sha256.digest(&[key])),
            verdict: Some(verdict.to_owned()),
            attested_at: Some(now),
            ..AttestationRow::new(device("gw-1"), now)
        };
        let acme = tenant("acme");
        let write = self
            .fixture
            .app
            .store()
            .write(&acme, "test", move |tx| Box::pin(async move { tx.put_attestation(&row).await }));
        write.await.expect("written");
    }

    async fn tick(&self) {
        let status = clockwork::tick(&self.fixture.app).await.expect("a tick");
        assert_eq!(status.failed, 0);
    }

    async fn later(&self, span: Duration) {
        self.fixture.clock.advance(span);
        self.tick().await;
    }

    async fn events(&self) -> Vec<Event> {
        let filter = JournalFilter::default();
        let (app, admin) = (&self.fixture.app, &self.fixture.admin);
        let mut page = journal::events(app, admin, &tenant("acme"), filter, None, 1000).await.expect("events");
        page.reverse();
        page
    }

    async fn of(&self, action: Action) -> Vec<Event> {
        self.events().await.into_iter().filter(|event| event.entry.action == action).collect()
    }

    async fn standings(&self) -> Vec<String> {
        let (app, admin) = (&self.fixture.app, &self.fixture.admin);
        let views = registry::device_certificates(app, admin, &tenant("acme"), &device("gw-1")).await.expect("there");
        views.into_iter().map(|view| view.status).collect()
    }

    async fn named(&self) -> String {
        let (app, admin) = (&self.fixture.app, &self.fixture.admin);
        let view = registry::device(app, admin, &tenant("acme"), &device("gw-1")).await.expect("there");
        view.device.certificate.expect("a certificate").serial
    }
}

#[tokio::test]
async fn sessions_end_the_grace_and_each_step_carries_the_rotation() {
    let field = Field::new().await;
    let first = field.used().await;
    field.later(DAY * 60).await;
    let second = renew(&field.fixture, &first, &SoftKey::generate().0).await.expect("renewed");
    for _ in 0..10 {
        // A device that flaps has not shown more by it.
        admit(&field.fixture, &second).await.expect("it is let in");
    }
    assert_eq!(field.standings().await, ["proven", "superseded"]);
    for _ in 0..2 {
        field.later(MINUTE).await;
        admit(&field.fixture, &second).await.expect("it is let in");
    }
    assert_eq!(field.standings().await, ["active", "retired"]);
    let renewed = field.of(Action::CertificateRenewed).await.remove(0).entry;
    let rotation = renewed.detail["rotation"].clone();
    assert_eq!(rotation, json!(renewed.request_id.expect("a request").to_string()));
    for (action, serial) in [
        (Action::CertificateProven, &second.serial),
        (Action::CertificateSuperseded, &first.serial),
        (Action::CertificateConfirmed, &second.serial),
        (Action::CertificateRetired, &first.serial),
    ] {
        let entry = field.of(action).await.pop().expect("a step").entry;
        assert_eq!((&entry.detail["rotation"], entry.subject.as_ref()), (&rotation, Some(serial)), "{action}");
    }
}

#[tokio::test]
async fn one_that_nobody_uses_is_revoked_by_itself_and_the_old_one_stays() {
    let field = Field::new().await;
    let first = field.used().await;
    field.later(DAY * 60).await;
    let second = renew(&field.fixture, &first, &SoftKey::generate().0).await.expect("renewed");
    assert_eq!(field.named().await, second.serial);
    field.later(DAY * 3).await;
    assert_eq!(field.standings().await, ["revoked", "active"]);
    assert_eq!(field.named().await, first.serial, "the record names the one in charge again");
    assert_eq!(refused(admit(&field.fixture, &second).await), "the certificate was revoked");
    admit(&field.fixture, &first).await.expect("the old one counts");
    let entry = field.of(Action::CertificateRevoked).await.pop().expect("written").entry;
    assert_eq!((entry.severity, &entry.detail["cause"]), (Severity::Warning, &json!("unproven")));
    renew(&field.fixture, &first, &SoftKey::generate().0).await.expect("it may try again");
}

#[tokio::test]
async fn the_policy_of_the_tenant_decides() {
    let field = Field::new().await;
    field
        .policy(json!({
            "key_reuse": "forbid", "earliest_percent": 50, "proof_deadline_hours": 1, "grace_days": 1, "grace_sessions": 100
        }))
        .await;
    let first = field.used().await;
    field.later(DAY * 40).await;
    assert_eq!(refused(renew(&field.fixture, &first, &SoftKey::generate().0).await), "too-early");
    field.later(DAY * 10).await;
    let same = renew(&field.fixture, &first, &field.key).await;
    assert!(matches!(&same, Err(Error::Invalid { field, .. }) if field == "request"), "{same:?}");
    let second = renew(&field.fixture, &first, &SoftKey::generate().0).await.expect("in its window, with a new key");
    field.later(HOUR).await;
    assert_eq!(field.standings().await, ["revoked", "active"]);
    let third_key = SoftKey::generate().0;
    let third = renew(&field.fixture, &first, &third_key).await.expect("renewed");
    admit(&field.fixture, &third).await.expect("it is let in");
    field.later(DAY).await;
    assert_eq!(field.standings().await, ["active", "revoked", "retired"]);
    assert_ne!(second.serial, third.serial);
    // A key that is known to be in hardware, or is not.
    field.policy(json!({ "key_reuse": "hardware", "earliest_percent": 0 })).await;
    let mut used = third;
    for (certified, verdict, expect) in [
        (false, "affirming", false),
        (true, "contraindicated", false),
        (true, "warning", true),
        (true, "affirming", true),
    ] {
        field.attested(if certified { third_key.public_spki() } else { b"another" }, verdict).await;
        let again = renew(&field.fixture, &used, &third_key).await;
        assert_eq!(again.is_ok(), expect, "{certified} {verdict}: {again:?}");
        if let Ok(again) = again {
            admit(&field.fixture, &again).await.expect("it is let in");
            used = again;
        }
    }
    renew(&field.fixture, &used, &SoftKey::generate().0).await.expect("a new key needs no evidence");
    // Zenith has said nothing.
    let (other, key) = (&field.fixture, SoftKey::generate().0);
    let theirs = enroll(other, "zenith", "gw-1", &key).await;
    renew(other, &theirs, &key).await.expect("at once, and with the same key");
}

#[tokio::test]
async fn an_expired_device_renews_as_far_as_the_policy_says_and_does_nothing_else() {
    let field = Field::new().await;
    let first = field.used().await;
    field.later(DAY * 95).await;
    assert_eq!(refused(renew(&field.fixture, &first, &field.key).await), "the certificate is not accepted");
    field.policy(json!({ "expired_days": 10 })).await;
    assert_eq!(refused(admit(&field.fixture, &first).await), "the certificate is not accepted");
    let second = renew(&field.fixture, &first, &SoftKey::generate().0).await.expect("five days late");
    admit(&field.fixture, &second).await.expect("the new one counts");
    assert_eq!(refused(renew(&field.fixture, &first, &field.key).await), "the certificate was superseded by another");

    let other = enroll(&field.fixture, "acme", "gw-2", &field.key).await;
    admit(&field.fixture, &other).await.expect("it is let in");
    field.later(DAY * 95).await;
    let (app, admin, acme) = (&field.fixture.app, &field.fixture.admin, tenant("acme"));
    let step = fleetward_core::lifecycle::Transition::Quarantine;
    registry::change_status(app, admin, &acme, &device("gw-2"), step).await.expect("quarantined");
    assert_eq!(refused(renew(&field.fixture, &other, &field.key).await), "life-cycle", "only an active device");
    registry::revoke_device(app, admin, &acme, &device("gw-2"), "stolen").await.expect("revoked");
    assert_eq!(refused(renew(&field.fixture, &other, &field.key).await), "the certificate was revoked");
    field.later(DAY * 6).await;
    let late = enroll(&field.fixture, "acme", "gw-3", &field.key).await;
    field.later(DAY * 101).await;
    assert_eq!(refused(renew(&field.fixture, &late, &field.key).await), "the certificate is not accepted");
}

#[tokio::test]
async fn a_certificate_never_outlives_its_authority_nor_its_policy() {
    let field = Field::new().await;
    let (app, admin, acme) = (&field.fixture.app, &field.fixture.admin, tenant("acme"));
    let revision = show_policy(app, admin, &acme).await.expect("a policy").revision;
    let Value::Object(patch) = json!({ "certificates": { "leaf_days": 3650, "backdate_minutes": 60 } }) else {
        panic!()
    };
    amend_policy(app, admin, &acme, revision, patch).await.expect("amended");
    field.later(DAY).await;
    let long = Certificate::parse(&field.enrolled().await.certificate).expect("reads");
    let authority = fleetward_app::authority::authority_chain(app, Some(&acme)).await.expect("a chain");
    let authority = Certificate::parse(authority.first().expect("the issuing one")).expect("reads");
    assert_eq!(long.not_before, app.now().minus(HOUR));
    assert!(long.not_after <= authority.not_after);
}

#[tokio::test]
async fn ends_are_told_at_their_limits_and_once() {
    let field = Field::new().await;
    let first = field.used().await;
    for day in 0..95 {
        field.later(DAY).await;
        if day == 65 {
            // The server's clock goes back, and comes right again: nothing is told twice.
            let now = field.fixture.app.now();
            field.fixture.clock.jump_to(now.minus(DAY * 20));
            field.tick().await;
            admit(&field.fixture, &first).await.expect("what was issued counts");
            field.fixture.clock.jump_to(now);
        }
    }
    let told = |events: &[Event]| -> Vec<(u64, Severity)> {
        events.iter().map(|event| (event.entry.detail["days"].as_u64().expect("days"), event.entry.severity)).collect()
    };
    let expiring = field.of(Action::CertificateExpiring).await;
    assert_eq!(told(&expiring), [(30, Severity::Notice), (14, Severity::Warning), (7, Severity::Critical)]);
    assert_eq!(told(&field.of(Action::CertificateExpired).await), [(0, Severity::Critical)]);
    // One that was renewed in time is not told of, nor is one that is in its grace.
    let second = field.used().await;
    field.later(DAY * 59).await;
    let third = renew(&field.fixture, &second, &SoftKey::generate().0).await.expect("renewed");
    admit(&field.fixture, &third).await.expect("it is let in");
    field.later(DAY * 25).await;
    assert_eq!(field.of(Action::CertificateExpiring).await.len(), 3);
    let figures = field.fixture.app.certificate_figures();
    assert_eq!((figures.issued, figures.renewed, figures.expiring), (3, 1, [0, 0, 0]));
    field.later(DAY * 50).await;
    assert_eq!(field.fixture.app.certificate_figures().expiring, [0, 0, 1]);
}

#[tokio::test]
async fn failures_that_rise_are_told() {
    let field = Field::new().await;
    let first = field.used().await;
    for _ in 0..6 {
        renew(&field.fixture, &first, &SoftKey::generate().0).await.expect("renewed");
    }
    field.tick().await;
    let wrong = csr::write(&name::write(None, "gw-2"), &[], &field.key).expect("signs");
    let der = CertificateDer::from(first.certificate.as_slice());
    for last in 0..6 {
        let address = IpAddr::V4(Ipv4Addr::new(10, 0, 0, last));
        let attempt = Attempt { address, request_id: field.fixture.app.new_request_id() };
        reenroll_device(&field.fixture.app, &attempt, None, &der, &wrong).await.expect_err("another device's name");
    }
    field.tick().await;
    field.tick().await;
    let told = field.of(Action::RenewalFailuresRising).await;
    assert_eq!(told.len(), 1, "once");
    assert_eq!((&told[0].entry.detail["failed"], &told[0].entry.detail["of"]), (&json!(6), &json!(12)));
    let failed = field.fixture.app.certificate_figures().failed;
    assert_eq!(failed, [("csr-other-device", 6)]);
    field.later(HOUR * 2).await;
    assert_eq!(field.of(Action::RenewalFailuresFallen).await.len(), 1);
}

#[tokio::test]
async fn a_fleet_that_renews_at_once_is_told_when_to_come_back() {
    let field = Field::new().await;
    let first = field.used().await;
    let rng = fleetward_base::SeededRng::new(3);
    // The allowance is used up by others of the tenant; what is measured is the door.
    let csr = request("gw-2", &field.key);
    let der = CertificateDer::from(first.certificate.as_slice());
    let mut turns = Vec::new();
    for number in 0..limits::RENEWALS_PER_TENANT_BURST + 50 {
        let [_, _, high, low] = number.to_be_bytes();
        let address = IpAddr::V4(Ipv4Addr::new(10, 1, high, low));
        let attempt =
            Attempt { address, request_id: fleetward_base::RequestId::generate(field.fixture.clock.as_ref(), &rng) };
        match reenroll_device(&field.fixture.app, &attempt, None, &der, &csr).await {
            Err(Error::TooMany { retry_after, .. }) => turns.push(retry_after),
            Err(Error::Invalid { .. }) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(turns.len(), 50);
    assert!(turns.iter().all(|turn| *turn >= Duration::from_secs(1)));
    admit(&field.fixture, &first).await.expect("connections are not renewals");
}

async fn ask(field: &Field, ctx: &Ctx, names: &[&str], at_once: bool) -> Result<usize, Error> {
    let devices: Vec<_> = names.iter().map(|name| device(name)).collect();
    let ask = Ask { reason: "compromise".to_owned(), at_once };
    rotation::ask_to_renew(&field.fixture.app, ctx, &tenant("acme"), &devices, ask).await
}

#[tokio::test]
async fn a_device_that_is_asked_hears_it_until_it_has_renewed() {
    let field = Field::new().await;
    let told = Told::listen(&field.fixture.app);
    field.policy(json!({ "earliest_percent": 60 })).await;
    let first = field.used().await;
    let acme = tenant("acme");
    assert_eq!(ask(&field, &field.fixture.admin, &["gw-1", "nobody"], true).await.expect("asked"), 1);
    let messages = told.take();
    assert_eq!(messages[0].0, "devices/gw-1/identity/renew");
    assert_eq!((&messages[0].1["reason"], &messages[0].1["at_once"]), (&json!("compromise"), &json!(true)));
    rotation::tell_again(&field.fixture.app, &acme, &device("gw-1")).await.expect("told");
    assert_eq!(told.take().len(), 1, "it subscribed");
    field.later(MINUTE).await;
    let second =
        renew(&field.fixture, &first, &SoftKey::generate().0).await.expect("before its window, since it was asked");
    admit(&field.fixture, &first).await.expect("the old one counts until then");
    admit(&field.fixture, &second).await.expect("it is let in");
    assert_eq!(field.standings().await, ["active", "retired"], "an emergency leaves no grace");
    rotation::tell_again(&field.fixture.app, &acme, &device("gw-1")).await.expect("told");
    assert!(told.take().is_empty(), "it has renewed");

    let viewer = field.fixture.operator("acme", "viewer").await;
    assert!(matches!(ask(&field, &viewer, &["gw-1"], false).await, Err(Error::Denied { .. })));
    let stranger = field.fixture.operator("zenith", "owner").await;
    assert!(matches!(ask(&field, &stranger, &["gw-1"], false).await, Err(Error::NotFound { .. })));
}

/// A campaign over devices `d0..` that have certificates.
struct Campaign {
    field: Field,
    ops: Ctx,
    id: RolloutId,
    held: Vec<Enrolled>,
    told: std::sync::Arc<Told>,
}

const TWO_PHASES: &str = r#"{"phases":[{"target":{"count":2}},{"target":{"percent":100}}],
    "gates":{"max_failure_percent":20,"min_finished":1},"timeout_s":600}"#;

impl Campaign {
    async fn begin(devices: usize) -> Self {
        let field = Field::new().await;
        let told = Told::listen(&field.fixture.app);
        let mut held = Vec::new();
        for number in 0..devices {
            let one = enroll(&field.fixture, "acme", &format!("d{number}"), &field.key).await;
            admit(&field.fixture, &one).await.expect("it is let in");
            held.push(one);
        }
        field.fixture.clock.advance(DAY);
        let ops = field.fixture.operator("acme", "operator").await;
        let new = NewRotation {
            name: "spring".to_owned(),
            renewal: Renewal::default(),
            selector: serde_json::from_str("{}").expect("everybody"),
            policy: serde_json::from_str(TWO_PHASES).expect("a policy"),
        };
        let made = rotation::create_rotation(&field.fixture.app, &ops, &tenant("acme"), new).await.expect("made");
        Self { field, ops, id: made.campaign.id, held, told }
    }

    fn connect(&self, number: usize) {
        let arrival = Arrival { epoch: u64::try_from(number).expect("small"), address: None, protocol: "mqtt-5" };
        let app = &self.field.fixture.app;
        app.presence().connected(&tenant("acme"), &device(&format!("d{number}")), app.now(), arrival);
    }

    async fn tick(&self) -> Vec<String> {
        let status = campaigns::tick(&self.field.fixture.app).await.expect("a tick");
        assert_eq!(status.failed, 0);
        let mut asked: Vec<_> = self.told.take().into_iter().map(|(topic, _)| topic).collect();
        asked.sort();
        asked
    }

    async fn renew(&self, number: usize) {
        let new = renew(&self.field.fixture, self.held.get(number).expect("one"), &SoftKey::generate().0)
            .await
            .expect("renewed");
        admit(&self.field.fixture, &new).await.expect("it is let in");
    }

    async fn show(&self) -> String {
        let view =
            rotation::rotation(&self.field.fixture.app, &self.ops, &tenant("acme"), self.id).await.expect("there");
        let all = view.observed.total();
        format!(
            "{} phase {}: {} waiting, {} asked, {} renewed, {} failed, {} canceled",
            view.campaign.state,
            view.campaign.phase + 1,
            all.queued + all.queued_offline,
            all.in_progress,
            all.succeeded,
            all.failed,
            all.canceled
        )
    }
}

#[tokio::test]
async fn a_campaign_goes_through_its_phases_and_a_device_that_renews_by_itself_counts() {
    let campaign = Campaign::begin(5).await;
    for number in 0..4 {
        campaign.connect(number);
    }
    let asked = campaign.tick().await;
    assert_eq!(asked.len(), 2, "{asked:?}");
    assert_eq!(campaign.show().await, "running phase 1: 0 waiting, 2 asked, 0 renewed, 0 failed, 0 canceled");
    assert!(campaign.tick().await.is_empty(), "nobody is asked twice");
    let first: Vec<usize> = (0..5).filter(|n| asked.contains(&format!("devices/d{n}/identity/renew"))).collect();
    for number in &first {
        campaign.renew(*number).await;
    }
    // One of those that come later needs no telling.
    let itself = (0..4).find(|n| !first.contains(n)).expect("one");
    campaign.renew(itself).await;
    assert_eq!(campaign.tick().await.len(), 2, "all that are connected");
    campaign.tick().await;
    assert_eq!(campaign.show().await, "running phase 2: 1 waiting, 1 asked, 3 renewed, 0 failed, 0 canceled");
    let last = (0..4).find(|n| !first.contains(n) && *n != itself).expect("one");
    campaign.renew(last).await;
    // One that never connects renews at its own time.
    campaign.renew(4).await;
    campaign.tick().await;
    assert_eq!(campaign.show().await, "finished phase 2: 0 waiting, 0 asked, 5 renewed, 0 failed, 0 canceled");
    let stranger = campaign.field.fixture.operator("zenith", "owner").await;
    let app = &campaign.field.fixture.app;
    let theirs = rotation::rotation(app, &stranger, &tenant("acme"), campaign.id).await;
    assert!(matches!(theirs, Err(Error::NotFound { .. })));
    let theirs = rotation::rotation(app, &stranger, &tenant("zenith"), campaign.id).await;
    assert!(matches!(theirs, Err(Error::NotFound { .. })));
}

#[tokio::test]
async fn devices_that_do_not_renew_break_the_gate_and_operators_decide() {
    let campaign = Campaign::begin(5).await;
    let (app, acme, ops) = (campaign.field.fixture.app.clone(), tenant("acme"), campaign.ops.clone());
    for number in 0..5 {
        campaign.connect(number);
    }
    let asked = campaign.tick().await;
    let first = (0..5).find(|n| asked.contains(&format!("devices/d{n}/identity/renew"))).expect("one");
    campaign.renew(first).await;
    campaign.field.fixture.clock.advance(Duration::from_secs(601));
    campaign.tick().await;
    assert_eq!(campaign.show().await, "paused phase 1: 0 waiting, 0 asked, 1 renewed, 1 failed, 0 canceled");
    let view = rotation::rotation(&app, &ops, &acme, campaign.id).await.expect("there");
    let why = fleetward_core::rotation::campaign::reason(&view.campaign.halt.reason.expect("a reason"));
    assert!(why.starts_with("1 of 2 renewals failed"), "{why}");
    assert_eq!(campaign.field.of(Action::RotationDeviceFailed).await.len(), 1);
    rotation::resume_rotation(&app, &ops, &acme, campaign.id).await.expect("resumed");
    assert_eq!(campaign.tick().await.len(), 3);
    rotation::pause_rotation(&app, &ops, &acme, campaign.id, Some("lunch".to_owned())).await.expect("paused");
    rotation::pause_rotation(&app, &ops, &acme, campaign.id, None).await.expect("twice is harmless");
    rotation::cancel_rotation(&app, &ops, &acme, campaign.id).await.expect("canceled");
    let again = rotation::resume_rotation(&app, &ops, &acme, campaign.id).await;
    assert_eq!(refused(again), "rotation-state");
    let devices = rotation::rotation_devices(&app, &ops, &acme, campaign.id, None, None, 100).await.expect("a page");
    assert_eq!(devices.len(), 5);
    let viewer = campaign.field.fixture.operator("acme", "viewer").await;
    assert!(matches!(rotation::cancel_rotation(&app, &viewer, &acme, campaign.id).await, Err(Error::Denied { .. })));
}
