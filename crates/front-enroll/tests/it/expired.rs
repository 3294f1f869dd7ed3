//! Renewal by a device whose certificate has ended, was revoked, or was superseded (identity design, the tests that must be).

use std::time::Duration;

use http::{Method, StatusCode};
use serde_json::json;

use crate::fixture::{Answer, Device, Enrolled, House};

const DAY: Duration = Duration::from_secs(24 * 3600);
const PATH: &str = "/.well-known/est/acme/simplereenroll";

async fn renew(house: &House, shown: &Enrolled, name: &'static str) -> Answer {
    house.send(house.as_device(shown), Method::POST, PATH, &[], Device::new(name).body()).await
}

#[tokio::test]
async fn a_certificate_that_ended_renews_as_far_as_the_tenant_says() {
    let house = House::new().await;
    let own = house.enrolled("acme", "gw-1").await;
    house.clock.advance(DAY * 95);
    assert_eq!(renew(&house, &own, "gw-1").await.status, StatusCode::UNAUTHORIZED, "silence is no");
    house.policy("acme", json!({ "renewal": { "expired_days": 10 } })).await;
    assert_eq!(renew(&house, &own, "gw-1").await.status, StatusCode::OK, "five days late");
    let theirs = house.enrolled("zenith", "gw-1").await;
    house.clock.advance(DAY * 95);
    let path = "/.well-known/est/zenith/simplereenroll";
    let answer = house.send(house.as_device(&theirs), Method::POST, path, &[], Device::new("gw-1").body()).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "another tenant has said nothing");
    assert_eq!(renew(&house, &own, "gw-1").await.status, StatusCode::UNAUTHORIZED, "too late for acme too");
    assert_eq!(answer.field("www-authenticate"), None, "whoever showed a certificate is not asked for a password");
}

#[tokio::test]
async fn one_that_was_superseded_or_revoked_does_not_renew() {
    let house = House::new().await;
    house.policy("acme", json!({ "renewal": { "expired_days": 100 } })).await;
    let first = house.enrolled("acme", "gw-1").await;
    house.clock.advance(DAY);
    let answer = renew(&house, &first, "gw-1").await;
    assert_eq!(answer.status, StatusCode::OK);
    let second = Enrolled::of(&answer);
    house.clock.advance(DAY);
    assert_eq!(renew(&house, &second, "gw-1").await.status, StatusCode::OK, "its first use");
    assert_eq!(renew(&house, &first, "gw-1").await.status, StatusCode::UNAUTHORIZED, "superseded");
    house.revoke("acme", "gw-1").await;
    for shown in [&first, &second] {
        assert_eq!(renew(&house, shown, "gw-1").await.status, StatusCode::UNAUTHORIZED, "revoked");
    }
    house.clock.advance(DAY * 95);
    assert_eq!(renew(&house, &second, "gw-1").await.status, StatusCode::UNAUTHORIZED, "revoked and ended");
}

#[tokio::test]
async fn the_clock_of_the_server_may_go_back() {
    let house = House::new().await;
    let own = house.enrolled("acme", "gw-1").await;
    let now = fleetward_base::Clock::now(house.clock.as_ref());
    house.clock.jump_to(now.minus(DAY * 30));
    assert_eq!(renew(&house, &own, "gw-1").await.status, StatusCode::OK, "what was issued has begun");
}
