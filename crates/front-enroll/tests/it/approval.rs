//! A request that was answered 202, sent again by its device and by whoever recorded it (identity design, the tests that
//! must be): the wait is the device's, and ends in one certificate for its key.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fleetward_app::enrollment_requests::{decide_enrollment, enrollment_requests};
use fleetward_core::approval::{Decision, State};
use http::{Method, StatusCode};
use serde_json::json;

use crate::fixture::{Device, Enrolled, House};
use crate::{identity, refused};

const PATH: &str = "/.well-known/est/acme/simpleenroll";

/// The codes of those that wait.
async fn waiting(house: &House, tenant: &str) -> Vec<String> {
    let tenant = tenant.parse().expect("a name");
    let page = enrollment_requests(&house.app, &house.system, &tenant, Some(State::Pending), None, 100).await;
    page.expect("a page").into_iter().map(|request| request.user_code).collect()
}

async fn decide(house: &House, code: &str, decision: Decision) {
    let tenant = "acme".parse().expect("a name");
    decide_enrollment(&house.app, &house.system, &tenant, code, decision, None).await.expect("decided");
}

async fn asked(house: &House) -> (String, Device) {
    for tenant in ["acme", "zenith"] {
        house.policy(tenant, json!({ "enrolment": { "approval": ["token"], "approval_retry_seconds": 7 } })).await;
    }
    let (basic, field) = (house.basic("acme", "gw-1").await, Device::new("gw-1"));
    let answer = house.enroll(PATH, &basic, &field.body()).await;
    // RFC 7030 §4.2.3: the client comes back with the same request.
    assert_eq!((answer.status, answer.field("retry-after")), (StatusCode::ACCEPTED, Some("7")), "{}", answer.body);
    (basic, field)
}

#[tokio::test]
async fn a_recorded_request_is_worth_nothing_to_others() {
    let house = House::new().await;
    let (basic, field) = asked(&house).await;
    let recorded = field.body();
    let (theirs, neighbour) = (house.basic("zenith", "gw-1").await, house.basic("acme", "gw-2").await);
    let wrong = format!("Basic {}", STANDARD.encode("gw-1:fwe_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"));
    let replay = async |when: &str| {
        for (path, authorization) in [
            (PATH, None),
            (PATH, Some(&wrong)),
            (PATH, Some(&theirs)),
            (PATH, Some(&neighbour)),
            ("/.well-known/est/acme/simplereenroll", None),
            ("/.well-known/est/zenith/simpleenroll", Some(&basic)),
        ] {
            let mut fields = vec![("content-type", "application/pkcs10")];
            fields.extend(authorization.map(|value| ("authorization", value.as_str())));
            let answer = house.send(house.anyone(), Method::POST, path, &fields, recorded.clone()).await;
            assert!(
                matches!(answer.status, StatusCode::UNAUTHORIZED | StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN),
                "{when}, {path} {authorization:?}: {} {}",
                answer.status,
                answer.body
            );
        }
        // With a token of their own for a device of that name, another tenant's house asks its own people.
        let own = house.enroll("/.well-known/est/zenith/simpleenroll", &theirs, &recorded).await;
        assert_eq!(own.status, StatusCode::ACCEPTED, "{when}");
    };
    replay("while it waits").await;
    assert_eq!(
        (waiting(&house, "acme").await.len(), waiting(&house, "zenith").await.len()),
        (1, 1),
        "nobody else asked"
    );
    decide(&house, &waiting(&house, "acme").await[0], Decision::Approve).await;
    replay("once it is approved").await;
    let first = house.enroll(PATH, &basic, &field.body()).await;
    assert_eq!(identity(&first), "urn:fleetward:acme:gw-1");
    replay("once it is used").await;
    assert_eq!(house.enroll(PATH, &basic, &field.body()).await.body, first.body, "and to its device the same");
}

#[tokio::test]
async fn an_approval_is_for_one_key_and_ends_with_the_device() {
    let house = House::new().await;
    let (basic, field) = asked(&house).await;
    let thief = Device::new("gw-1");
    decide(&house, &waiting(&house, "acme").await[0], Decision::Approve).await;
    // Whoever got hold of the token asks with a key of his own: somebody has to look at that one too.
    let other = house.enroll(PATH, &basic, &thief.body()).await;
    assert_eq!(other.status, StatusCode::ACCEPTED, "{}", other.body);
    let answer = house.enroll(PATH, &basic, &field.body()).await;
    let held = Enrolled::of(&answer);
    refused(&house.enroll(PATH, &basic, &thief.body()).await, StatusCode::UNAUTHORIZED);
    // Once the device is out, neither the request nor its token brings anything, approved as it was.
    house.revoke("acme", "gw-1").await;
    let again = house.enroll(PATH, &basic, &field.body()).await;
    assert!(again.status.is_client_error(), "{} {}", again.status, again.body);
    let path = "/.well-known/est/acme/simplereenroll";
    let renewal = house.send(house.as_device(&held), Method::POST, path, &[], field.body()).await;
    refused(&renewal, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_no_stays_a_no_for_the_same_request() {
    let house = House::new().await;
    let (basic, field) = asked(&house).await;
    decide(&house, &waiting(&house, "acme").await[0], Decision::Deny).await;
    for authorization in [basic, house.basic("acme", "gw-1").await] {
        let answer = house.enroll(PATH, &authorization, &field.body()).await;
        assert!(answer.status.is_client_error(), "{} {}", answer.status, answer.body);
    }
    assert!(waiting(&house, "acme").await.is_empty(), "nobody is asked again");
}
