//! Certificates that are no device's, what is stapled, and how many revocations may be open.

use std::time::Duration;

use fleetward_app::provisioning::claims::{NewClaim, admit_claim, create_claim};
use fleetward_app::provisioning::templates::{TemplateInput, create_template};
use fleetward_app::publication::{self, ocsp};
use fleetward_app::reconcile::{crls, transparency as log};
use fleetward_app::revocation::{self, NewRevocation};
use fleetward_app::{Error, authority, transparency};
use fleetward_core::journal::Action;
use fleetward_core::revocation::{Status as Progress, Target};
use fleetward_pki::ocsp::cert_id;
use fleetward_pki::{Certificate, Serial, pem};
use rustls_pki_types::CertificateDer;

use crate::enroll::{Device, attempt, enrolled, events};
use crate::fixture::{Fixture, tenant};
use crate::ways_out::{begin, bytes, ended, has, mark, request};

const DAY: Duration = Duration::from_secs(24 * 3600);

/// The certificates that are no device's: in the log, on the list, and answered for.
#[tokio::test]
async fn a_claim_and_who_answers_stand_in_the_log_and_a_claim_is_revoked_with_what_came_by_it() {
    let fixture = Fixture::new().await;
    let (app, admin, acme) = (&fixture.app, &fixture.admin, tenant("acme"));
    let body = r#"{"Resources":{"thing":{"Type":"AWS::IoT::Thing","Properties":{"ThingName":"gw-1"}}}}"#.to_owned();
    let input = TemplateInput { body: Some(body), ..TemplateInput::default() };
    create_template(app, admin, &acme, "line", input).await.expect("a template");
    let new = NewClaim {
        name: "line-4".to_owned(),
        template: "line".to_owned(),
        csr: pem::write("CERTIFICATE REQUEST", &Device::new("any").request()),
        count_cap: None,
        life: None,
    };
    let made = create_claim(app, admin, &acme, new).await.expect("a claim");
    let der = pem::read("CERTIFICATE", &made.certificate_pem).expect("PEM").remove(0);
    let claim = Certificate::parse(&der).expect("it reads");
    let held = enrolled(&fixture, "acme", &Device::new("gw-2")).await;
    let mark = mark(&fixture, &held).await;
    let authority = publication::authority(app, &mark).await.expect("there").certificate.clone();
    let id = cert_id(&authority, &claim.serial).expect("an id");
    let good = ocsp::answer(app, &mark, &request(&id, &[])).await;
    assert!(has(&good.der, GOOD), "it is known");
    assert!(has(&der, format!("/pki/{mark}/ocsp").as_bytes()), "and says where to ask");
    assert_eq!(log::tick(app).await.expect("a turn"), 3, "the claim, the device and who answers");
    transparency::inclusion(app, admin, &acme, &claim.serial.to_string()).await.expect("it is in the log");

    let target = Target::Claim { source: "line-4".to_owned(), way: None };
    let begun = begin(&fixture, target).await;
    assert_eq!(ended(&fixture, &begun).await.status, Progress::Finished);
    let attempt = attempt(&fixture);
    let shown = CertificateDer::from(der.as_slice());
    assert!(admit_claim(app, &attempt, &shown, "any").await.is_err(), "nothing comes by it any more");
    assert_eq!(crls::tick(app).await.expect("a turn").listed, 1);
    let list = publication::list(app, &mark, None).await.expect("a list");
    assert!(has(&list.der, &bytes(&claim.serial.to_string())));
    let after = ocsp::answer(app, &mark, &request(&id, &[])).await;
    assert!(has(&after.der, &[0xa1, 0x16, 0x18, 0x0f]), "revoked");
    let told = events(&fixture, "acme", admin).await;
    assert!(told.iter().any(|event| event.entry.action == Action::ClaimRevoked));
}

/// `good`, and behind it the moment from which that holds.
const GOOD: &[u8] = &[0x80, 0, 0x18, 0x0f];

#[tokio::test]
async fn what_is_stapled_is_what_is_answered() {
    let fixture = Fixture::new().await;
    let app = &fixture.app;
    let chain = authority::server_identity(app).expect("shown").chain.clone();
    let (own, infra) = (Certificate::parse(&chain[0]).expect("reads"), Certificate::parse(&chain[1]).expect("reads"));
    let (stapled, _) = publication::staple(app, &chain[0]).await.expect("signed").expect("ours");
    assert!(has(&stapled, GOOD));
    let id = cert_id(&infra, &own.serial).expect("an id");
    let mark = infra.fingerprint()[..16].to_owned();
    let answer = ocsp::answer(app, &mark, &request(&id, &[])).await;
    assert!(has(&answer.der, GOOD), "who asks hears the same");
    // One that nobody wrote down is as unknown here as there.
    let other = Serial::generate(app.rng().as_ref());
    let id = cert_id(&infra, &other).expect("an id");
    assert!(!has(&ocsp::answer(app, &mark, &request(&id, &[])).await.der, GOOD));
}

#[tokio::test]
async fn so_many_revocations_are_open_and_no_more() {
    let fixture = Fixture::new().await;
    let (app, acme) = (&fixture.app, tenant("acme"));
    let due = app.now().plus(DAY);
    let replace = || NewRevocation { target: Target::Tenant, reason: "x".to_owned(), replace_by: Some(due) };
    for _ in 0..fleetward_base::limits::REVOCATIONS_OPEN {
        revocation::begin(app, &fixture.admin, &acme, replace()).await.expect("within the limit");
    }
    // The newest has ended; the others have not.
    let newest = revocation::revocations(app, &fixture.admin, &acme, None, 1).await.expect("a page")[0].id;
    revocation::cancel(app, &fixture.admin, &acme, newest).await.expect("called off");
    revocation::begin(app, &fixture.admin, &acme, replace()).await.expect("in its place");
    let more = revocation::begin(app, &fixture.admin, &acme, replace()).await;
    assert!(matches!(more, Err(Error::TooMany { .. })), "{more:?}");
}
