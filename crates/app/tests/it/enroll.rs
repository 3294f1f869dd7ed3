//! Enrolment and renewal: who gets a certificate, who does not, what is written of it, and what survives.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use fleetward_app::enroll::{
    Attempt, Credentials, Enrolled, admit_device, enroll_device, reenroll_device, still_admitted,
};
use fleetward_app::journal::{self, Event, JournalFilter};
use fleetward_app::{App, Ctx, Error, enroll_tokens, reconcile, registry};
use fleetward_base::{Secret, TenantId, limits};
use fleetward_core::access::DeviceRights;
use fleetward_core::journal::{Action, Outcome};
use fleetward_core::lifecycle::{Status, Transition};
use fleetward_core::registry::DeviceFields;
use fleetward_pki::{Certificate, SoftKey, csr, name};
use rustls_pki_types::CertificateDer;

use crate::fixture::{Fixture, device, tenant};

const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// A device in the field: its key, and what it does with it.
pub(crate) struct Device {
    pub(crate) name: &'static str,
    pub(crate) key: SoftKey,
}

impl Device {
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, key: SoftKey::generate().0 }
    }

    pub(crate) fn request(&self) -> Vec<u8> {
        csr::write(&name::write(None, self.name), &[], &self.key).expect("signs")
    }
}

pub(crate) fn attempt(fixture: &Fixture) -> Attempt {
    from(fixture, [192, 0, 2, 1])
}

fn from(fixture: &Fixture, address: [u8; 4]) -> Attempt {
    Attempt { address: IpAddr::V4(Ipv4Addr::from(address)), request_id: fixture.app.new_request_id() }
}

pub(crate) async fn token(fixture: &Fixture, home: &str, name: &str) -> String {
    let (app, admin, fields) = (&fixture.app, &fixture.admin, DeviceFields::default());
    let made = enroll_tokens::create_enroll_token(app, admin, &tenant(home), device(name), fields, Some(HOUR)).await;
    made.expect("a token").token
}

fn credentials(name: &str, token: &str) -> Credentials {
    Credentials { device: name.to_owned(), token: Secret::new(token.to_owned()) }
}

pub(crate) async fn enroll(fixture: &Fixture, field: &Device, token: &str) -> Result<Enrolled, Error> {
    let credentials = credentials(field.name, token);
    enroll_device(&fixture.app, &attempt(fixture), None, &credentials, &field.request()).await
}

pub(crate) async fn enrolled(fixture: &Fixture, home: &str, field: &Device) -> Enrolled {
    let token = token(fixture, home, field.name).await;
    enroll(fixture, field, &token).await.expect("enrolled")
}

/// As [`enrolled`], through another server on the same database.
pub(crate) async fn enrolled_at(app: &App, fixture: &Fixture, home: &str, field: &Device) -> Result<Enrolled, Error> {
    let credentials = credentials(field.name, &token(fixture, home, field.name).await);
    enroll_device(app, &attempt(fixture), None, &credentials, &field.request()).await
}

/// As [`enrolled`], where there is no administrator: the server itself makes the token.
pub(crate) async fn enrolled_by_system(app: &App, home: &str, field: &Device) -> Result<Enrolled, Error> {
    let (system, fields) = (app.system("test"), DeviceFields::default());
    let name = device(field.name);
    let made = enroll_tokens::create_enroll_token(app, &system, &tenant(home), name, fields, Some(HOUR)).await?;
    let attempt = Attempt { address: IpAddr::V4(Ipv4Addr::LOCALHOST), request_id: app.new_request_id() };
    enroll_device(app, &attempt, None, &credentials(field.name, &made.token), &field.request()).await
}

pub(crate) async fn renew(fixture: &Fixture, presented: &Enrolled, field: &Device) -> Result<Enrolled, Error> {
    let der = CertificateDer::from(presented.certificate.as_slice());
    reenroll_device(&fixture.app, &attempt(fixture), None, &der, &field.request()).await
}

pub(crate) async fn admit(fixture: &Fixture, presented: &Enrolled) -> Result<(), Error> {
    let der = CertificateDer::from(presented.certificate.as_slice());
    admit_device(&fixture.app, &attempt(fixture), &der).await.map(drop)
}

pub(crate) fn refused<T>(outcome: Result<T, Error>) -> &'static str {
    match outcome {
        Err(Error::Unauthenticated { reason }) => reason,
        Err(Error::Conflict { code, .. }) => code,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("accepted"),
    }
}

pub(crate) async fn events(fixture: &Fixture, home: &str, ctx: &Ctx) -> Vec<Event> {
    let filter = JournalFilter::default();
    let mut page = journal::events(&fixture.app, ctx, &tenant(home), filter, None, 1000).await.expect("events");
    page.reverse();
    page
}

pub(crate) async fn story(fixture: &Fixture, home: &str, name: &str) -> Vec<Action> {
    let events = events(fixture, home, &fixture.admin).await;
    let of_device = |event: &&Event| event.entry.device.as_ref().is_some_and(|device| device.as_str() == name);
    events.iter().filter(of_device).map(|event| event.entry.action).collect()
}

pub(crate) async fn causes(fixture: &Fixture, home: &str) -> Vec<String> {
    let events = events(fixture, home, &fixture.admin).await;
    let refused = events.iter().filter(|event| event.entry.outcome == Outcome::Refused);
    refused.filter_map(|event| event.entry.detail.get("cause")?.as_str().map(str::to_owned)).collect()
}

async fn serials(fixture: &Fixture, home: &str, name: &str) -> Vec<(String, String)> {
    let views =
        registry::device_certificates(&fixture.app, &fixture.admin, &tenant(home), &device(name)).await.expect("there");
    views.into_iter().map(|view| (view.serial, view.status)).collect()
}

#[tokio::test]
async fn a_token_gets_a_certificate_and_an_active_device() {
    let fixture = Fixture::new().await;
    let field = Device::new("gw-1");
    let enrolled = enrolled(&fixture, "acme", &field).await;
    assert_eq!((enrolled.tenant.as_str(), enrolled.device.as_str()), ("acme", "gw-1"));
    let certificate = Certificate::parse(&enrolled.certificate).expect("a certificate");
    let identity = certificate.identity().expect("an identity").to_string();
    assert_eq!(identity, "urn:fleetward:acme:gw-1");
    assert_eq!(certificate.subject, name::write(None, "gw-1"), "the request's own subject");
    let view = registry::device(&fixture.app, &fixture.admin, &tenant("acme"), &device("gw-1")).await.expect("there");
    assert_eq!(view.device.status, Status::Active);
    assert_eq!(view.device.certificate.map(|certificate| certificate.serial), Some(enrolled.serial.clone()));
    assert!(view.device.provisioned_at.is_some());
    admit(&fixture, &enrolled).await.expect("it may come in");
    assert_eq!(
        story(&fixture, "acme", "gw-1").await,
        [Action::DeviceCreated, Action::EnrollTokenCreated, Action::CertificateIssued, Action::CertificateProven]
    );
}

#[tokio::test]
async fn the_same_request_gets_the_same_certificate() {
    let fixture = Fixture::new().await;
    let field = Device::new("gw-1");
    let token = token(&fixture, "acme", "gw-1").await;
    let first = enroll(&fixture, &field, &token).await.expect("enrolled");
    // Signed anew, so its bytes differ; and the token's time is over.
    fixture.clock.advance(HOUR * 2);
    assert_eq!(enroll(&fixture, &field, &token).await.expect("again"), first);
    assert_eq!(serials(&fixture, "acme", "gw-1").await.len(), 1);
    let other = Device::new("gw-1");
    assert_eq!(refused(enroll(&fixture, &other, &token).await), "the enrolment token was used before");
    assert_eq!(serials(&fixture, "acme", "gw-1").await.len(), 1);
}

#[tokio::test]
async fn of_two_that_come_at_once_one_wins_or_both_are_one() {
    let fixture = Fixture::new().await;
    let (one, other) = (Device::new("gw-1"), Device::new("gw-1"));
    let token = token(&fixture, "acme", "gw-1").await;
    let (a, b, c) =
        tokio::join!(enroll(&fixture, &one, &token), enroll(&fixture, &one, &token), enroll(&fixture, &other, &token));
    assert_eq!(serials(&fixture, "acme", "gw-1").await.len(), 1);
    match c {
        Ok(_) => assert!(a.is_err() && b.is_err()),
        Err(_) => assert_eq!(a.expect("the same request"), b.expect("the same request")),
    }
}

#[tokio::test]
async fn tokens_that_do_not_count() {
    let fixture = Fixture::new().await;
    let (app, field) = (&fixture.app, Device::new("gw-1"));
    let good = token(&fixture, "acme", "gw-1").await;
    let csr = field.request();
    let with = |label: Option<&'static str>, user: &'static str, token: String, address: u8| {
        let (fixture, csr) = (&fixture, &csr);
        async move {
            let label: Option<TenantId> = label.map(tenant);
            let credentials = credentials(user, &token);
            refused(enroll_device(app, &from(fixture, [192, 0, 2, address]), label.as_ref(), &credentials, csr).await)
        }
    };
    for malformed in ["", "x", "fwe_", "fwa_AAAA", &good[..good.len() - 1], &format!("{good}A"), &"x".repeat(100_000)] {
        assert_eq!(with(None, "gw-1", malformed.to_owned(), 2).await, "the enrolment token is malformed");
    }
    let unknown = format!("fwe_{}", "A".repeat(43));
    assert_eq!(with(None, "gw-1", unknown, 3).await, "there is no such enrolment token");
    // The answer to a good token under a wrong label is that to a wrong token.
    assert_eq!(with(Some("zenith"), "gw-1", good.clone(), 3).await, "there is no such enrolment token");
    assert_eq!(with(Some("nobody"), "gw-1", good.clone(), 3).await, "there is no such enrolment token");
    assert_eq!(with(None, "gw-2", good.clone(), 3).await, "the enrolment token is of another device");
    fixture.clock.advance(HOUR);
    assert_eq!(with(None, "gw-1", good.clone(), 3).await, "the enrolment token has expired");
    let revoked = token(&fixture, "acme", "gw-1").await;
    let list =
        enroll_tokens::enroll_tokens(app, &fixture.admin, &tenant("acme"), None, None, 10).await.expect("a list");
    let id = list.last().expect("the newest").id;
    enroll_tokens::revoke_enroll_token(app, &fixture.admin, &tenant("acme"), id).await.expect("revoked");
    assert_eq!(with(None, "gw-1", revoked, 3).await, "the enrolment token was revoked");

    assert_eq!(causes(&fixture, "acme").await, ["foreign-device", "expired-token", "revoked-token"]);
    assert!(causes(&fixture, "zenith").await.is_empty(), "whose token it is says where it is written down");
    assert!(serials(&fixture, "acme", "gw-1").await.is_empty());
    let view = registry::device(app, &fixture.admin, &tenant("acme"), &device("gw-1")).await.expect("there");
    assert_eq!((view.device.status, view.device.revision), (Status::Claimed, 1));
}

#[tokio::test]
async fn a_token_is_blocked_after_many_attempts() {
    let fixture = Fixture::new().await;
    let field = Device::new("gw-1");
    let good = token(&fixture, "acme", "gw-1").await;
    for count in 0..limits::ENROLL_PER_TOKEN_ATTEMPTS {
        let octet = u8::try_from(count).expect("few");
        let wrong = credentials("gw-2", &good);
        let outcome =
            enroll_device(&fixture.app, &from(&fixture, [10, 0, 0, octet]), None, &wrong, &field.request()).await;
        assert_eq!(refused(outcome), "the enrolment token is of another device");
    }
    let blocked = refused(enroll(&fixture, &field, &good).await);
    assert_eq!(blocked, "the enrolment token was tried too often; make another");
    assert!(serials(&fixture, "acme", "gw-1").await.is_empty());
}

#[tokio::test]
async fn an_address_that_is_refused_often_waits_and_success_costs_nothing() {
    let fixture = Fixture::new().await;
    for name in ["a", "b", "c"] {
        // A factory behind one address.
        for _ in 0..limits::ENROLL_PER_ADDRESS_BURST {
            enrolled(&fixture, "acme", &Device::new(name)).await;
        }
    }
    let field = Device::new("gw-1");
    for _ in 0..limits::ENROLL_PER_ADDRESS_BURST {
        assert_eq!(refused(enroll(&fixture, &field, "wrong").await), "the enrolment token is malformed");
    }
    let good = token(&fixture, "acme", "gw-1").await;
    match enroll(&fixture, &field, &good).await {
        Err(Error::TooMany { retry_after, .. }) => assert_eq!(retry_after, Duration::from_secs(1)),
        other => panic!("{other:?}"),
    }
    let elsewhere = from(&fixture, [192, 0, 2, 77]);
    let credentials = credentials("gw-1", &good);
    enroll_device(&fixture.app, &elsewhere, None, &credentials, &field.request()).await.expect("another address");
    fixture.clock.advance(Duration::from_secs(1));
    enroll(&fixture, &field, &good).await.expect("a second later");
}

#[tokio::test]
async fn refusals_are_journaled_within_limits() {
    let fixture = Fixture::new().await;
    let field = Device::new("gw-1");
    let used = token(&fixture, "acme", "gw-1").await;
    enroll(&fixture, &field, &used).await.expect("enrolled");
    let fresh = [token(&fixture, "acme", "gw-1").await, token(&fixture, "acme", "gw-1").await];
    let all = limits::REFUSALS_JOURNALED_BURST + 5;
    for count in 0..all {
        let credentials = credentials("gw-2", &fresh[usize::from(count >= 18)]);
        let address = from(&fixture, [10, 0, 1, u8::try_from(count).expect("few")]);
        refused(enroll_device(&fixture.app, &address, None, &credentials, &field.request()).await);
    }
    let written = u32::try_from(causes(&fixture, "acme").await.len()).expect("few");
    assert_eq!(written, limits::REFUSALS_JOURNALED_BURST);
    fixture.clock.advance(Duration::from_secs(60));
    assert_eq!(refused(enroll(&fixture, &Device::new("gw-1"), &used).await), "the enrolment token was used before");
    let events = events(&fixture, "acme", &fixture.admin).await;
    let last = &events.last().expect("one").entry;
    assert_eq!((last.action, &last.detail["cause"]), (Action::EnrollmentRefused, &"used-token".into()));
    assert_eq!(last.detail["unsaid"], 5);
    assert_eq!(last.actor.name, "192.0.2.1");
}

macro_rules! requests {
    ($($name:literal),*) => {
        [$(($name, &include_bytes!(concat!("../../../pki/tests/data/", $name, ".der"))[..])),*]
    };
}

#[tokio::test]
async fn a_request_that_breaks_a_rule_leaves_nothing_but_its_refusal() {
    let fixture = Fixture::new().await;
    let good = token(&fixture, "acme", "gw-1").await;
    let requests = requests![
        "other-device",
        "other-tenant",
        "two-names",
        "no-common-name",
        "san-other-device",
        "san-other-tenant",
        "san-other-dns",
        "san-ip",
        "weak-rsa1024",
        "weak-rsa-e3",
        "weak-p521",
        "weak-sha1",
        "ca-true",
        "ca-cert-sign",
        "critical-unknown"
    ];
    let mut expected = Vec::new();
    for (name, der) in requests {
        let octet = u8::try_from(expected.len()).expect("few");
        let address = from(&fixture, [10, 0, 2, octet]);
        let outcome = enroll_device(&fixture.app, &address, None, &credentials("gw-1", &good), der).await;
        assert!(matches!(&outcome, Err(Error::Invalid { field, .. }) if field == "request"), "{name}: {outcome:?}");
        expected.push(csr::parse(der).err().map_or_else(
            || match name {
                "other-tenant" => "csr-other-tenant",
                san if san.starts_with("san-") => "csr-alternative-name",
                _ => "csr-other-device",
            },
            |error| error.code(),
        ));
    }
    assert_eq!(causes(&fixture, "acme").await, expected);
    assert!(serials(&fixture, "acme", "gw-1").await.is_empty());
    // The token is still good for a request in order.
    enroll(&fixture, &Device::new("gw-1"), &good).await.expect("enrolled");
}

#[tokio::test]
async fn a_renewal_overlaps_until_the_new_one_is_used() {
    let fixture = Fixture::new().await;
    let field = Device::new("gw-1");
    let first = enrolled(&fixture, "acme", &field).await;
    fixture.clock.advance(DAY * 60);
    let next = Device::new("gw-1");
    let second = renew(&fixture, &first, &next).await.expect("renewed");
    assert_ne!(second.serial, first.serial);
    assert_eq!(Certificate::parse(&second.certificate).expect("reads").identity().expect("one").device, device("gw-1"));
    // The answer was lost: the same request, the same certificate.
    assert_eq!(renew(&fixture, &first, &next).await.expect("again"), second);
    admit(&fixture, &first).await.expect("the old one still counts");
    admit(&fixture, &second).await.expect("the new one counts");
    admit(&fixture, &first).await.expect("the old one has its grace");
    assert_eq!(
        refused(renew(&fixture, &first, &Device::new("gw-1")).await),
        "the certificate was superseded by another"
    );
    fixture.clock.advance(DAY * 7);
    reconcile::rotation::tick(&fixture.app).await.expect("a tick");
    assert_eq!(refused(admit(&fixture, &first).await), "the certificate was superseded by another");
    admit(&fixture, &second).await.expect("the new one counts");
    assert_eq!(
        story(&fixture, "acme", "gw-1").await[3..],
        [
            Action::CertificateProven,
            Action::CertificateRenewed,
            Action::CertificateProven,
            Action::CertificateSuperseded,
            Action::EnrollmentRefused,
            Action::CertificateRetired,
            Action::CertificateConfirmed,
            Action::DeviceConnectionRefused,
        ]
    );
    let view = registry::device(&fixture.app, &fixture.admin, &tenant("acme"), &device("gw-1")).await.expect("there");
    assert_eq!(view.device.certificate.expect("one").serial, second.serial);
}

#[tokio::test]
async fn a_renewal_with_the_same_key_is_another_certificate() {
    let fixture = Fixture::new().await;
    let field = Device::new("gw-1");
    let mut current = enrolled(&fixture, "acme", &field).await;
    for _ in 0..3 {
        fixture.clock.advance(DAY * 60);
        reconcile::rotation::tick(&fixture.app).await.expect("a tick");
        let next = renew(&fixture, &current, &field).await.expect("renewed");
        assert_ne!(next.serial, current.serial);
        assert_eq!(renew(&fixture, &current, &field).await.expect("again"), next);
        admit(&fixture, &next).await.expect("it counts");
        current = next;
    }
    let standings: Vec<_> = serials(&fixture, "acme", "gw-1").await.into_iter().map(|(_, status)| status).collect();
    assert_eq!(standings, ["proven", "superseded", "retired", "retired"]);
}

#[tokio::test]
async fn unused_renewals_do_not_pile_up() {
    let fixture = Fixture::new().await;
    let first = enrolled(&fixture, "acme", &Device::new("gw-1")).await;
    for _ in 0..5 {
        fixture.clock.advance(HOUR);
        renew(&fixture, &first, &Device::new("gw-1")).await.expect("renewed");
    }
    let serials = serials(&fixture, "acme", "gw-1").await;
    let count = |wanted: &str| serials.iter().filter(|(_, status)| status == wanted).count();
    assert_eq!((count("active"), count("issued"), count("retired")), (1, 1, 4));
    admit(&fixture, &first).await.expect("the one in use still counts");
}

#[tokio::test]
async fn a_device_that_renews_in_a_circle_waits() {
    let fixture = Fixture::new().await;
    let mut current = enrolled(&fixture, "acme", &Device::new("gw-1")).await;
    for _ in 1..limits::RENEWALS_PER_DEVICE_AND_HOUR {
        fixture.clock.advance(Duration::from_secs(1));
        current = renew(&fixture, &current, &Device::new("gw-1")).await.expect("renewed");
    }
    match renew(&fixture, &current, &Device::new("gw-1")).await {
        Err(Error::TooMany { retry_after, .. }) => assert_eq!(retry_after, HOUR - Duration::from_secs(29)),
        other => panic!("{other:?}"),
    }
    admit(&fixture, &current).await.expect("what it has still counts");
    fixture.clock.advance(HOUR);
    renew(&fixture, &current, &Device::new("gw-1")).await.expect("an hour later");
}

#[tokio::test]
async fn a_renewal_needs_a_certificate_that_counts_and_its_subject() {
    let fixture = Fixture::new().await;
    let field = Device::new("gw-1");
    let first = enrolled(&fixture, "acme", &field).await;
    let der = CertificateDer::from(first.certificate.as_slice());
    let csr = field.request();
    let zenith = tenant("zenith");
    let foreign = reenroll_device(&fixture.app, &attempt(&fixture), Some(&zenith), &der, &csr).await;
    assert_eq!(refused(foreign), "the certificate is of another tenant");
    for subject in [name::write(Some("acme"), "gw-1"), name::write(None, "gw-2"), vec![0x30, 0]] {
        let other = csr::write(&subject, &[], &field.key).expect("signs");
        let outcome = reenroll_device(&fixture.app, &attempt(&fixture), None, &der, &other).await;
        assert!(matches!(outcome, Err(Error::Invalid { .. })), "{outcome:?}");
    }
    // Another installation has a tenant and a device of these names.
    let elsewhere = Fixture::new().await;
    let stranger = enrolled(&elsewhere, "acme", &field).await;
    assert_eq!(refused(renew(&fixture, &stranger, &field).await), "the certificate is not accepted");
    assert_eq!(refused(admit(&fixture, &stranger).await), "the certificate is not accepted");
    fixture.clock.advance(DAY * 91);
    assert_eq!(refused(renew(&fixture, &first, &field).await), "the certificate is not accepted");
    assert_eq!(refused(admit(&fixture, &first).await), "the certificate is not accepted");
}

#[tokio::test]
async fn a_revoked_device_is_out_until_it_enrols_again() {
    let fixture = Fixture::new().await;
    let (app, admin, acme, gw) = (&fixture.app, &fixture.admin, tenant("acme"), device("gw-1"));
    let field = Device::new("gw-1");
    let used = token(&fixture, "acme", "gw-1").await;
    let first = enroll(&fixture, &field, &used).await.expect("enrolled");
    let spare = token(&fixture, "acme", "gw-1").await;
    assert!(still_admitted(app, &acme, &gw, &first.serial, DeviceRights::Full).await.expect("asked"));
    registry::revoke_device(app, admin, &acme, &gw, "stolen").await.expect("revoked");
    assert!(!still_admitted(app, &acme, &gw, &first.serial, DeviceRights::Full).await.expect("asked"));
    assert_eq!(refused(admit(&fixture, &first).await), "the certificate was revoked");
    assert_eq!(refused(renew(&fixture, &first, &field).await), "the certificate was revoked");
    assert_eq!(refused(enroll(&fixture, &field, &used).await), "the credential was used before");
    assert_eq!(refused(enroll(&fixture, &field, &spare).await), "the enrolment token was revoked");
    for _ in 0..limits::ENROLL_PER_ADDRESS_BURST {
        assert_eq!(refused(admit(&fixture, &first).await), "the certificate was revoked");
    }
    // A new token brings it back, also with the key that it has; the old certificate stays out.
    let again = enrolled(&fixture, "acme", &field).await;
    admit(&fixture, &again).await.expect("it is back");
    assert_eq!(refused(admit(&fixture, &first).await), "the certificate was revoked");
    let view = registry::device(app, admin, &acme, &gw).await.expect("there");
    assert_eq!(view.device.status, Status::Active);
}

#[tokio::test]
async fn the_status_of_a_device_decides_beside_its_certificate() {
    let fixture = Fixture::new().await;
    let (app, admin, acme, gw) = (&fixture.app, &fixture.admin, tenant("acme"), device("gw-1"));
    let field = Device::new("gw-1");
    let first = enrolled(&fixture, "acme", &field).await;
    let spare = token(&fixture, "acme", "gw-1").await;
    registry::change_status(app, admin, &acme, &gw, Transition::Quarantine).await.expect("quarantined");
    assert!(!still_admitted(app, &acme, &gw, &first.serial, DeviceRights::Full).await.expect("asked"));
    assert!(still_admitted(app, &acme, &gw, &first.serial, DeviceRights::Restricted).await.expect("asked"));
    // Quarantine does not take its identity away, nor does a renewal end it.
    renew(&fixture, &first, &field).await.expect("renewed");
    let view = registry::device(app, admin, &acme, &gw).await.expect("there");
    assert_eq!(view.device.status, Status::Quarantined);
    registry::change_status(app, admin, &acme, &gw, Transition::ReportLost).await.expect("lost");
    assert_eq!(refused(enroll(&fixture, &Device::new("gw-1"), &spare).await), "the enrolment token was revoked");
    assert_eq!(refused(renew(&fixture, &first, &field).await), "the certificate was revoked");
}

#[tokio::test]
async fn a_tenant_made_later_is_known_and_the_store_holds_no_secret() {
    let fixture = Fixture::new().await;
    fleetward_app::tenants::create_tenant(&fixture.app, &fixture.admin, tenant("late"), None).await.expect("a tenant");
    let field = Device::new("gw-1");
    let token = token(&fixture, "late", "gw-1").await;
    let first = enroll(&fixture, &field, &token).await.expect("enrolled");
    admit(&fixture, &first).await.expect("trusted");
    // Every private key of ours is P-256: this is how PKCS#8 and SEC 1 begin one, before its 32 secret bytes.
    let sec1 = [0x30, 0x6b, 0x02, 0x01, 0x01, 0x04, 0x20];
    let bare = [0x30, 0x77, 0x02, 0x01, 0x01, 0x04, 0x20];
    let mut files = 0;
    for entry in std::fs::read_dir(fixture.folder()).expect("the data folder") {
        let bytes = std::fs::read(entry.expect("an entry").path()).expect("readable");
        files += 1;
        for canary in [&sec1[..], &bare, b"PRIVATE KEY", token.as_bytes()] {
            assert!(!bytes.windows(canary.len()).any(|window| window == canary), "a secret lies in the clear");
        }
    }
    assert!(files > 0);
}
