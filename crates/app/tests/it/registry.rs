//! The register: made, amended, moved along the life cycle, revoked, removed; and hidden from other tenants.

use fleetward_app::journal::{self, JournalFilter};
use fleetward_app::{Ctx, Error, registry};
use fleetward_core::journal::Action;
use fleetward_core::lifecycle::{Status, Transition};
use fleetward_core::registry::{DeviceFields, Patch};

use crate::fixture::{Fixture, device, tenant};

async fn actions(fixture: &Fixture, ctx: &Ctx, name: &str) -> Vec<Action> {
    let filter = JournalFilter { device: Some(device(name)), ..JournalFilter::default() };
    let events = journal::events(&fixture.app, ctx, &tenant("acme"), filter, None, 100).await.expect("events");
    events.into_iter().rev().map(|event| event.entry.action).collect()
}

#[tokio::test]
async fn a_device_is_made_once_and_stands_in_its_time_line() {
    let fixture = Fixture::new().await;
    let (app, acme) = (&fixture.app, tenant("acme"));
    let ops = fixture.operator("acme", "operator").await;
    let fields = DeviceFields { hardware: Some("rev-b".to_owned()), ..DeviceFields::default() };
    let made = registry::create_device(app, &ops, &acme, device("gw-1"), fields).await.expect("made");
    assert_eq!((made.device.revision, made.device.hardware.as_str()), (1, "rev-b"));
    let again = registry::create_device(app, &ops, &acme, device("gw-1"), DeviceFields::default()).await;
    assert!(matches!(again, Err(Error::Conflict { code: "device-exists", .. })));
    assert_eq!(actions(&fixture, &ops, "gw-1").await, [Action::DeviceCreated]);
}

#[tokio::test]
async fn a_change_needs_the_present_revision() {
    let fixture = Fixture::new().await;
    let (app, acme) = (&fixture.app, tenant("acme"));
    let ops = fixture.operator("acme", "operator").await;
    registry::create_device(app, &ops, &acme, device("gw-1"), DeviceFields::default()).await.expect("made");
    let site = |site: &str| DeviceFields { site: Patch::Set(site.to_owned()), ..DeviceFields::default() };
    let changed = registry::amend_device(app, &ops, &acme, &device("gw-1"), 1, site("oslo")).await.expect("changed");
    assert_eq!(changed.device.revision, 2);
    let stale = registry::amend_device(app, &ops, &acme, &device("gw-1"), 1, site("rome")).await;
    assert!(matches!(stale, Err(Error::Stale { expected: 1, found: 2 })));
    let same = registry::amend_device(app, &ops, &acme, &device("gw-1"), 2, site("oslo")).await.expect("no change");
    assert_eq!(same.device.revision, 2);
}

#[tokio::test]
async fn the_end_of_a_device_is_reached_in_order() {
    let fixture = Fixture::new().await;
    let (app, acme) = (&fixture.app, tenant("acme"));
    let owner = fixture.operator("acme", "owner").await;
    let gw = device("gw-1");
    registry::create_device(app, &owner, &acme, gw.clone(), DeviceFields::default()).await.expect("made");
    let early = registry::remove_device(app, &owner, &acme, &gw, 1).await;
    assert!(matches!(early, Err(Error::Conflict { code: "life-cycle", .. })));
    let revoked = registry::revoke_device(app, &owner, &acme, &gw, "stolen").await.expect("revoked");
    assert_eq!(revoked.device.status, Status::Suspended);
    let end = registry::change_status(app, &owner, &acme, &gw, Transition::Decommission).await.expect("ended");
    let back = registry::change_status(app, &owner, &acme, &gw, Transition::Reinstate).await;
    assert!(matches!(back, Err(Error::Conflict { code: "life-cycle", .. })));
    registry::remove_device(app, &owner, &acme, &gw, end.device.revision).await.expect("removed");
    assert!(matches!(registry::device(app, &owner, &acme, &gw).await, Err(Error::NotFound { what: "device" })));
    // The journal outlives the device.
    assert_eq!(actions(&fixture, &owner, "gw-1").await.len(), 4);
}

#[tokio::test]
async fn another_tenant_is_not_there_and_a_viewer_only_looks() {
    let fixture = Fixture::new().await;
    let (app, acme) = (&fixture.app, tenant("acme"));
    let ops = fixture.operator("acme", "operator").await;
    registry::create_device(app, &ops, &acme, device("gw-1"), DeviceFields::default()).await.expect("made");
    let foreign = fixture.operator("zenith", "owner").await;
    let hidden = registry::device(app, &foreign, &acme, &device("gw-1")).await;
    assert!(matches!(hidden, Err(Error::NotFound { what: "tenant" })));
    let viewer = fixture.operator("acme", "viewer").await;
    assert!(registry::device(app, &viewer, &acme, &device("gw-1")).await.is_ok());
    let denied = registry::revoke_device(app, &viewer, &acme, &device("gw-1"), "no").await;
    assert!(matches!(denied, Err(Error::Denied { .. })));
    assert_eq!(actions(&fixture, &ops, "gw-1").await, [Action::DeviceCreated]);
}
