//! The identity policy: amended section by section, journaled, and what enrolment goes by.

use std::time::Duration;

use fleetward_app::identity_policy::{amend_policy, identity_policy, show_policy};
use fleetward_app::journal::{self, JournalFilter};
use fleetward_app::{Error, tenants};
use fleetward_core::journal::Action;
use serde_json::{Map, Value, json};

use crate::enroll::{Device, enrolled};
use crate::fixture::{Fixture, tenant};

fn patch(value: Value) -> Map<String, Value> {
    value.as_object().expect("an object").clone()
}

#[tokio::test]
async fn a_change_holds_from_the_next_certificate_on() {
    let fixture = Fixture::new().await;
    let (app, admin, acme) = (&fixture.app, &fixture.admin, tenant("acme"));
    let before = show_policy(app, admin, &acme).await.expect("a policy");
    assert_eq!(before.policy.certificates.leaf_days, 90);
    let first = enrolled(&fixture, "acme", &Device::new("gw-1")).await;
    let change = patch(json!({ "certificates": { "leaf_days": 7 } }));
    let after = amend_policy(app, admin, &acme, before.revision, change.clone()).await.expect("amended");
    assert_eq!((after.policy.certificates.leaf_days, after.revision), (7, before.revision + 1));
    let second = enrolled(&fixture, "acme", &Device::new("gw-2")).await;
    assert_eq!(first.not_after.since(second.not_after), Duration::from_secs(83 * 24 * 3600));
    let elsewhere = enrolled(&fixture, "zenith", &Device::new("gw-1")).await;
    assert_eq!(elsewhere.not_after, first.not_after, "another tenant's is its own");

    let same = amend_policy(app, admin, &acme, after.revision, change).await.expect("nothing to do");
    assert_eq!(same.revision, after.revision);
    let filter =
        JournalFilter { action: Some(Action::TenantIdentityPolicyChanged.to_string()), ..JournalFilter::default() };
    let events = journal::events(app, admin, &acme, filter, None, 10).await.expect("events");
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].entry.detail, json!({ "sections": ["certificates"] }));

    let back = patch(json!({ "certificates": { "leaf_days": null } }));
    let back = amend_policy(app, admin, &acme, after.revision, back).await.expect("amended");
    assert_eq!(back.policy, before.policy);
    assert_eq!(identity_policy(app, &acme).await.expect("known").certificates.leaf_days, 90);
}

#[tokio::test]
async fn what_cannot_be_changes_nothing() {
    let fixture = Fixture::new().await;
    let (app, admin, acme) = (&fixture.app, &fixture.admin, tenant("acme"));
    let revision = tenants::tenant(app, admin, &acme).await.expect("there").revision;
    for (change, field) in [
        (json!({ "certificates": { "leaf_days": 0 } }), "certificates.leaf_days"),
        (json!({ "certificates": { "leaf_days": "x" } }), "certificates.leaf_days"),
        (json!({ "certificates": { "leaf_day": 1 } }), "certificates.leaf_day"),
        (json!({ "certificates": 1 }), "certificates"),
        (json!({ "nothing": {} }), "nothing"),
    ] {
        let refused = amend_policy(app, admin, &acme, revision, patch(change)).await;
        assert!(matches!(&refused, Err(Error::Invalid { field: found, .. }) if found == field), "{refused:?}");
    }
    let stale = amend_policy(app, admin, &acme, revision + 1, Map::new()).await;
    assert!(matches!(stale, Err(Error::Stale { .. })), "{stale:?}");
    let viewer = fixture.operator("acme", "viewer").await;
    let denied = amend_policy(app, &viewer, &acme, revision, Map::new()).await;
    assert!(matches!(denied, Err(Error::Denied { .. })), "{denied:?}");
    let owner = fixture.operator("zenith", "owner").await;
    assert!(matches!(show_policy(app, &owner, &acme).await, Err(Error::NotFound { .. })));
}
