//! Devices that wait for a person: where policy asks for one, nobody comes in before somebody has said so.

use std::time::Duration;

use fleetward_app::Error;
use fleetward_app::device_flow::authorize_device;
use fleetward_app::enroll::Attempt;
use fleetward_app::enrollment_keys::id_scope;
use fleetward_app::enrollment_requests::{decide_enrollment, enrollment_request, enrollment_requests};
use fleetward_app::identity_policy::{amend_policy, show_policy};
use fleetward_base::limits;
use fleetward_core::approval::{Decision, State};
use fleetward_core::journal::Action;
use serde_json::{Value, json};

use crate::enroll::{Device, causes, enroll, refused, story, token};
use crate::fixture::{Fixture, tenant};

pub(crate) async fn policy(fixture: &Fixture, home: &str, section: Value) {
    let (app, admin, home) = (&fixture.app, &fixture.admin, tenant(home));
    let revision = show_policy(app, admin, &home).await.expect("a policy").revision;
    let patch = json!({ "enrolment": section }).as_object().expect("an object").clone();
    amend_policy(app, admin, &home, revision, patch).await.expect("amended");
}

async fn pending(fixture: &Fixture, home: &str) -> Vec<String> {
    let (app, admin) = (&fixture.app, &fixture.admin);
    let page = enrollment_requests(app, admin, &tenant(home), Some(State::Pending), None, 100).await.expect("a page");
    page.into_iter().map(|request| request.user_code).collect()
}

async fn decide(fixture: &Fixture, home: &str, code: &str, decision: Decision) -> Result<(), Error> {
    decide_enrollment(&fixture.app, &fixture.admin, &tenant(home), code, decision, None).await.map(drop)
}

fn waits<T: std::fmt::Debug>(outcome: Result<T, Error>) -> Duration {
    match outcome {
        Err(Error::Pending { retry_after }) => retry_after,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_device_waits_until_it_is_let_in() {
    let fixture = Fixture::new().await;
    policy(&fixture, "acme", json!({ "approval": ["token"], "approval_retry_seconds": 7 })).await;
    let (field, secret) = (Device::new("gw-1"), token(&fixture, "acme", "gw-1").await);
    assert_eq!(waits(enroll(&fixture, &field, &secret).await), Duration::from_secs(7));
    waits(enroll(&fixture, &field, &secret).await);
    let codes = pending(&fixture, "acme").await;
    assert_eq!(codes.len(), 1, "the same request is one request");
    assert!(pending(&fixture, "zenith").await.is_empty());

    let viewer = fixture.operator("acme", "viewer").await;
    let (app, acme) = (&fixture.app, tenant("acme"));
    let refused_to_viewer = decide_enrollment(app, &viewer, &acme, &codes[0], Decision::Approve, None).await;
    assert!(matches!(refused_to_viewer, Err(Error::Denied { .. })));
    let foreign = fixture.operator("zenith", "operator").await;
    let unseen = decide_enrollment(app, &foreign, &acme, &codes[0], Decision::Approve, None).await;
    assert!(matches!(unseen, Err(Error::NotFound { .. })));
    assert!(matches!(decide(&fixture, "zenith", &codes[0], Decision::Approve).await, Err(Error::NotFound { .. })));

    decide(&fixture, "acme", &codes[0].to_lowercase(), Decision::Approve).await.expect("decided");
    decide(&fixture, "acme", &codes[0], Decision::Approve).await.expect("twice is harmless");
    assert_eq!(refused(decide(&fixture, "acme", &codes[0], Decision::Deny).await), "undecidable");
    let first = enroll(&fixture, &field, &secret).await.expect("let in");
    let again = enroll(&fixture, &field, &secret).await.expect("its answer was lost");
    assert_eq!(first.serial, again.serial);
    let request = enrollment_request(app, &fixture.admin, &acme, &codes[0]).await.expect("there");
    assert_eq!((request.state, request.decided_by.as_deref()), ("used", Some("first administrator")));
    let actions = story(&fixture, "acme", "gw-1").await;
    let expected = [Action::EnrollmentAsked, Action::EnrollmentApproved, Action::CertificateIssued];
    assert_eq!(actions[actions.len() - 3..], expected);
}

#[tokio::test]
async fn another_key_is_another_request() {
    let fixture = Fixture::new().await;
    policy(&fixture, "acme", json!({ "approval": ["token"] })).await;
    let secret = token(&fixture, "acme", "gw-1").await;
    let (one, other) = (Device::new("gw-1"), Device::new("gw-1"));
    waits(enroll(&fixture, &one, &secret).await);
    let code = pending(&fixture, "acme").await.remove(0);
    waits(enroll(&fixture, &other, &secret).await);
    decide(&fixture, "acme", &code, Decision::Approve).await.expect("decided");
    waits(enroll(&fixture, &other, &secret).await);
    enroll(&fixture, &one, &secret).await.expect("this key was looked at");
}

#[tokio::test]
async fn who_was_refused_stays_out_until_the_end() {
    let fixture = Fixture::new().await;
    policy(&fixture, "acme", json!({ "approval": ["token"], "approval_days": 1 })).await;
    let (field, secret) = (Device::new("gw-1"), token(&fixture, "acme", "gw-1").await);
    waits(enroll(&fixture, &field, &secret).await);
    let code = pending(&fixture, "acme").await.remove(0);
    decide(&fixture, "acme", &code, Decision::Deny).await.expect("decided");
    assert_eq!(refused(enroll(&fixture, &field, &secret).await), "denied");
    assert_eq!(causes(&fixture, "acme").await, ["approval-denied"]);
    fixture.clock.advance(Duration::from_secs(24 * 3600));
    let secret = token(&fixture, "acme", "gw-1").await;
    waits(enroll(&fixture, &field, &secret).await);
    assert_ne!(pending(&fixture, "acme").await, [code], "asked anew, under another code");
}

#[tokio::test]
async fn what_waits_is_bounded() {
    let fixture = Fixture::new().await;
    policy(&fixture, "acme", json!({ "approval": ["token"] })).await;
    let secret = token(&fixture, "acme", "gw-1").await;
    for _ in 0..limits::ENROLLMENT_REQUESTS_PER_DEVICE {
        waits(enroll(&fixture, &Device::new("gw-1"), &secret).await);
    }
    let one_more = enroll(&fixture, &Device::new("gw-1"), &secret).await;
    assert!(matches!(one_more, Err(Error::TooMany { .. })), "{one_more:?}");
    let other = token(&fixture, "acme", "gw-2").await;
    waits(enroll(&fixture, &Device::new("gw-2"), &other).await);
}

#[tokio::test]
async fn anybody_can_ask_and_nobody_is_kept_out_by_it() {
    let fixture = Fixture::new().await;
    policy(&fixture, "acme", json!({ "approval": ["token"] })).await;
    let (app, acme) = (&fixture.app, tenant("acme"));
    let scope = id_scope(app, &fixture.admin, &acme).await.expect("a scope");
    let ask = async |number: u64, device: &str| {
        let [.., high, low] = number.to_be_bytes();
        let address = [198, 18, high, low].into();
        let attempt = Attempt { address, request_id: app.new_request_id() };
        authorize_device(app, &attempt, &scope, Some(device), None).await
    };
    for number in 0..limits::ENROLLMENT_REQUESTS_PER_DEVICE {
        ask(number, "gw-1").await.expect("asked");
    }
    for number in limits::ENROLLMENT_REQUESTS_PER_DEVICE..limits::ENROLLMENT_REQUESTS_OF_ANYBODY {
        ask(number, &format!("any-{number}")).await.expect("asked");
    }
    let one_more = ask(9999, "gw-2").await;
    assert!(matches!(one_more, Err(Error::TooMany { .. })), "{one_more:?}");
    // Neither the tenant's share nor the device's own is used up for whoever has a token.
    let secret = token(&fixture, "acme", "gw-1").await;
    waits(enroll(&fixture, &Device::new("gw-1"), &secret).await);
}
