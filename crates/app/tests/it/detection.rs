//! Signs of abuse: journaled, acted on by policy, and refusals counted by cause and region.

use std::net::IpAddr;
use std::time::Duration;

use fleetward_app::detection::{auth_failures, connected, settle};
use fleetward_app::enroll::{Attempt, Credentials, enroll_device};
use fleetward_app::identity_policy::{amend_policy, identity_policy, show_policy};
use fleetward_app::journal::{self, JournalFilter};
use fleetward_app::registry;
use fleetward_base::{Secret, Timestamp};
use fleetward_core::detection::sessions::Arrival;
use fleetward_core::lifecycle::Status;
use serde_json::{Value, json};

use crate::enroll::{Device, enrolled};
use crate::fixture::{Fixture, device, tenant};

async fn policy(fixture: &Fixture, change: Value) {
    let (app, admin, acme) = (&fixture.app, &fixture.admin, tenant("acme"));
    let at = show_policy(app, admin, &acme).await.expect("a policy").revision;
    amend_policy(app, admin, &acme, at, change.as_object().expect("an object").clone()).await.expect("amended");
    identity_policy(app, &acme).await.expect("known");
}

/// The newest findings, oldest first.
async fn findings(fixture: &Fixture) -> Vec<(String, Option<String>, Value)> {
    let filter = JournalFilter { action: Some("security.".to_owned()), ..JournalFilter::default() };
    let events =
        journal::events(&fixture.app, &fixture.admin, &tenant("acme"), filter, None, 100).await.expect("events");
    let shown = |event: journal::Event| {
        (event.entry.action.to_string(), event.entry.device.map(|device| device.to_string()), event.entry.detail)
    };
    events.into_iter().rev().map(shown).collect()
}

/// The device connects from one network and the other in turn, as two do that share its key.
async fn alternate(fixture: &Fixture, serial: &str) {
    let (app, acme, gw) = (&fixture.app, tenant("acme"), device("gw-1"));
    for turn in 0..4 {
        fixture.clock.advance(Duration::from_secs(20));
        let address: IpAddr = if turn % 2 == 0 { "192.0.2.1" } else { "198.51.100.1" }.parse().expect("an address");
        let arrival = Arrival { at: app.now(), address, serial: serial.to_owned(), took_over: turn > 0 };
        let found = connected(app, &acme, &gw, arrival);
        settle(app, &acme, Some(&gw), found).await.expect("settled");
    }
}

async fn status(fixture: &Fixture) -> Status {
    let view = registry::device(&fixture.app, &fixture.admin, &tenant("acme"), &device("gw-1")).await;
    view.expect("there").device.status
}

#[tokio::test]
async fn a_clone_is_told_and_quarantined_where_the_tenant_wants_that() {
    let fixture = Fixture::new().await;
    let first = enrolled(&fixture, "acme", &Device::new("gw-1")).await;
    alternate(&fixture, &first.serial).await;
    let told = findings(&fixture).await;
    let [(action, about, detail)] = told.as_slice() else { panic!("one finding: {told:?}") };
    assert_eq!((action.as_str(), about.as_deref()), ("security.certificate_in_two_places", Some("gw-1")));
    assert_eq!(detail["networks"], json!(["192.0.2.0/24", "198.51.100.0/24"]));
    assert_eq!((detail["serial"].as_str(), detail["reaction"].as_str()), (Some(first.serial.as_str()), Some("event")));
    assert_eq!(status(&fixture).await, Status::Active, "by default a person decides");

    fixture.clock.advance(Duration::from_secs(7200));
    policy(&fixture, json!({ "detection": { "two_places": "quarantine" } })).await;
    alternate(&fixture, &first.serial).await;
    assert_eq!(status(&fixture).await, Status::Quarantined);

    fixture.clock.advance(Duration::from_secs(7200));
    policy(&fixture, json!({ "detection": { "two_places": "ignore" } })).await;
    alternate(&fixture, &first.serial).await;
    assert_eq!(findings(&fixture).await.len(), 2);
}

#[tokio::test]
async fn a_mass_of_devices_that_register_anew_is_told_once() {
    let fixture = Fixture::new().await;
    policy(&fixture, json!({ "detection": { "reregistrations": 3 } })).await;
    for _ in 0..2 {
        for name in ["gw-1", "gw-2", "gw-3", "gw-4"] {
            enrolled(&fixture, "acme", &Device::new(name)).await;
        }
    }
    let told = findings(&fixture).await;
    let [(action, None, detail)] = told.as_slice() else { panic!("one finding of no device: {told:?}") };
    assert_eq!(action, "security.mass_reregistration");
    assert_eq!((detail["devices"].as_u64(), detail["minutes"].as_u64()), (Some(3), Some(10)));
}

#[tokio::test]
async fn refusals_are_counted_by_cause_issuer_and_region() {
    let fixture = Fixture::new().await;
    let (app, admin, acme) = (&fixture.app, &fixture.admin, tenant("acme"));
    policy(&fixture, json!({ "detection": { "places": [{ "network": "192.0.2.0/24", "name": "oslo" }] } })).await;
    let field = Device::new("gw-1");
    let used = crate::enroll::token(&fixture, "acme", "gw-1").await;
    let credentials = Credentials { device: "gw-1".to_owned(), token: Secret::new(used) };
    let attempt =
        |address: &str| Attempt { address: address.parse().expect("an address"), request_id: app.new_request_id() };
    let own = field.request();
    enroll_device(app, &attempt("192.0.2.1"), None, &credentials, &own).await.expect("enrolled");
    let other = Device::new("gw-1").request();
    for address in ["192.0.2.1", "192.0.2.2", "198.51.100.1"] {
        enroll_device(app, &attempt(address), None, &credentials, &other).await.expect_err("it was used");
    }
    let since = Timestamp::EPOCH;
    let counted = auth_failures(app, admin, &acme, since, None, 10).await.expect("counted");
    let shown: Vec<_> =
        counted.iter().map(|row| (row.cause.as_str(), row.issuer.as_str(), row.region.as_str(), row.count)).collect();
    assert_eq!(shown, [("used-token", "token", "-", 1), ("used-token", "token", "oslo", 2)]);
    let owner = fixture.operator("zenith", "owner").await;
    assert!(auth_failures(app, &owner, &acme, since, None, 10).await.is_err(), "another tenant's are hidden");
    assert!(auth_failures(app, &owner, &tenant("zenith"), since, None, 10).await.expect("its own").is_empty());
}
