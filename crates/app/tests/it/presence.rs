//! Presence written down, read again after a restart, and missed heartbeats.

use std::time::Duration;

use fleetward_app::journal::{self, JournalFilter};
use fleetward_app::presence::{self, Arrival, HeartbeatStatus};
use fleetward_app::reconcile::{expiry, seals};
use fleetward_core::journal::Action;

use crate::fixture::{Fixture, device, tenant};
use crate::fleet::add_device;

fn arrival(epoch: u64) -> Arrival {
    Arrival { epoch, address: Some("192.0.2.1".parse().expect("an address")), protocol: "mqtt-5" }
}

async fn actions(fixture: &Fixture) -> Vec<Action> {
    let ops = fixture.operator("acme", "viewer").await;
    let filter = JournalFilter { device: Some(device("gw-1")), ..JournalFilter::default() };
    let events = journal::events(&fixture.app, &ops, &tenant("acme"), filter, None, 100).await.expect("events");
    events.into_iter().rev().map(|event| event.entry.action).collect()
}

#[tokio::test]
async fn comings_and_goings_are_written_and_survive_a_restart() {
    let fixture = Fixture::new().await;
    let (app, acme, gw) = (&fixture.app, tenant("acme"), device("gw-1"));
    add_device(app, &acme, "gw-1", "rev-a").await;
    presence::load(app).await.expect("loaded");
    let came = app.now();
    app.presence().connected(&acme, &gw, came, arrival(1));
    assert_eq!(presence::flush_transitions(app).await.expect("written"), 1);
    assert_eq!(presence::flush_transitions(app).await.expect("nothing left"), 0);
    fixture.clock.advance(Duration::from_secs(40));
    app.presence().seen(&acme, &gw, app.now());
    presence::flush(app).await.expect("written");

    let again = fixture.restarted();
    fixture.clock.advance(Duration::from_secs(5));
    presence::load(&again).await.expect("loaded");
    let found = again.presence().of(&acme, &gw);
    assert!(!found.online, "its server is gone");
    assert_eq!(found.last_seen, Some(came.plus(Duration::from_secs(40))));
    assert_eq!(found.reason.as_deref(), Some("server_restarted"));
    presence::flush(&again).await.expect("written");
    assert_eq!(actions(&fixture).await, [Action::DeviceConnected, Action::DeviceDisconnected]);
}

#[tokio::test]
async fn a_missed_heartbeat_is_said_once_and_so_is_its_return() {
    let fixture = Fixture::new().await;
    let (app, acme, gw) = (&fixture.app, tenant("acme"), device("gw-1"));
    add_device(app, &acme, "gw-1", "rev-a").await;
    presence::load(app).await.expect("loaded");
    app.presence().expect_heartbeat(&acme, &gw, Some(60));
    app.presence().connected(&acme, &gw, app.now(), arrival(1));
    app.presence().disconnected(&acme, &gw, app.now(), 1, "connection_lost");
    let look = || presence::look_at_heartbeats(app);
    fixture.clock.advance(Duration::from_secs(119));
    assert_eq!(look().await.expect("looked"), HeartbeatStatus::default());
    fixture.clock.advance(Duration::from_secs(1));
    assert_eq!(look().await.expect("looked").missed, 1);
    assert_eq!(look().await.expect("looked"), HeartbeatStatus::default());

    // Another server that starts now waits as long before it says anything, and does not say it again.
    presence::flush(app).await.expect("written");
    let again = fixture.restarted();
    presence::load(&again).await.expect("loaded");
    fixture.clock.advance(Duration::from_secs(700));
    assert_eq!(presence::look_at_heartbeats(&again).await.expect("looked"), HeartbeatStatus::default());
    again.presence().connected(&acme, &gw, again.now(), arrival(1));
    assert_eq!(presence::look_at_heartbeats(&again).await.expect("looked").back, 1);
    presence::flush(&again).await.expect("written");
    let all = actions(&fixture).await;
    let said = |wanted| all.iter().filter(|action| **action == wanted).count();
    assert_eq!((said(Action::DeviceHeartbeatMissed), said(Action::DeviceHeartbeatBack)), (1, 1));
}

#[tokio::test]
async fn nobody_waits_for_a_device_that_may_not_connect() {
    let fixture = Fixture::new().await;
    let (app, acme, gw) = (&fixture.app, tenant("acme"), device("gw-1"));
    add_device(app, &acme, "gw-1", "rev-a").await;
    presence::load(app).await.expect("loaded");
    app.presence().seen(&acme, &gw, app.now());
    let ops = fixture.operator("acme", "operator").await;
    fleetward_app::registry::revoke_device(app, &ops, &acme, &gw, "stolen").await.expect("revoked");
    fixture.clock.advance(Duration::from_secs(3600));
    assert_eq!(presence::look_at_heartbeats(app).await.expect("looked"), HeartbeatStatus::default());
}

#[tokio::test]
async fn every_row_of_the_journal_gets_its_seal() {
    let fixture = Fixture::new().await;
    let (app, acme, gw) = (&fixture.app, tenant("acme"), device("gw-1"));
    add_device(app, &acme, "gw-1", "rev-a").await;
    for epoch in 1..=20 {
        app.presence().connected(&acme, &gw, app.now(), arrival(epoch));
    }
    presence::flush(app).await.expect("written");
    assert!(seals::seal(app).await.expect("sealed") >= 20);
    assert_eq!(seals::seal(app).await.expect("nothing left"), 0);
    app.presence().disconnected(&acme, &gw, app.now(), 20, "connection_lost");
    presence::flush(app).await.expect("written");
    assert_eq!(seals::seal(app).await.expect("sealed"), 1);
    let ops = fixture.operator("acme", "viewer").await;
    seals::seal(app).await.expect("sealed");
    let found = journal::verify_journal(app, &ops, &acme).await.expect("verified");
    assert_eq!(found.broken_at, None);
    assert!(found.verified >= 21);
}

#[tokio::test]
async fn what_was_kept_for_long_enough_is_forgotten() {
    let fixture = Fixture::new().await;
    let (app, acme) = (&fixture.app, tenant("acme"));
    let mut ops = fixture.operator("acme", "operator").await;
    ops.idempotency = Some(fleetward_app::Idempotency { key: "k".to_owned(), request_hash: [1; 32] });
    let hour = Some(Duration::from_secs(3600));
    let make = fleetward_app::enroll_tokens::create_enroll_token;
    make(app, &ops, &acme, device("gw-1"), Default::default(), hour).await.expect("made");
    fixture.clock.advance(Duration::from_secs(24 * 3600));
    assert_eq!(expiry::expire(app).await.expect("looked"), 0);
    fixture.clock.advance(Duration::from_secs(1));
    assert_eq!(expiry::expire(app).await.expect("the answer"), 1);
    fixture.clock.advance(Duration::from_secs(31 * 24 * 3600));
    assert_eq!(expiry::expire(app).await.expect("the token"), 1);
}
