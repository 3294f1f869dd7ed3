//! Shadows: what is stored, what is told and in which order, and who may.

use fleetward_app::journal::{self, JournalFilter};
use fleetward_app::shadow::{self, ShadowError, ShadowKey, Via};
use fleetward_core::journal::Action;
use fleetward_core::shadow::Refused;
use serde_json::json;

use crate::fixture::{Fixture, device, tenant};
use crate::fleet::{Told, add_device, as_device, hang_up};

fn classic(name: &str) -> ShadowKey {
    ShadowKey::classic(device(name))
}

#[tokio::test]
async fn an_update_is_stored_journaled_and_told_delta_first() {
    let fixture = Fixture::new().await;
    let (app, acme) = (&fixture.app, tenant("acme"));
    let told = Told::listen(app);
    add_device(app, &acme, "gw-1", "rev-a").await;
    let (ops, gw) = (fixture.operator("acme", "operator").await, as_device(app, &acme, "gw-1"));

    let payload = br#"{"state":{"desired":{"a":1}},"clientToken":"t"}"#;
    shadow::update(app, &ops, &acme, &classic("gw-1"), payload, Via::Call).await.expect("accepted");
    assert_eq!(told.take_ends(), ["update/delta", "update/documents"], "a call hears its answer itself");

    let payload = br#"{"state":{"reported":{"a":2}},"clientToken":"t"}"#;
    shadow::update(app, &gw, &acme, &classic("gw-1"), payload, Via::Message).await.expect("accepted");
    let messages = told.take();
    let ends: Vec<&str> = messages.iter().map(|(topic, _)| topic.as_str()).collect();
    let topic = |end: &str| format!("$aws/things/gw-1/shadow/update/{end}");
    assert_eq!(ends, [topic("delta"), topic("accepted"), topic("documents")]);
    let now = app.now().secs();
    let stamp = json!({ "timestamp": now });
    assert_eq!(
        messages[0].1,
        json!({"state":{"a":1},"metadata":{"a":stamp},"version":2,"timestamp":now,"clientToken":"t"})
    );
    assert_eq!(
        messages[1].1,
        json!({"state":{"reported":{"a":2}},"metadata":{"reported":{"a":stamp}},"version":2,"timestamp":now,"clientToken":"t"})
    );
    assert_eq!(messages[2].1["previous"]["version"], 1);
    assert_eq!(messages[2].1["current"]["state"], json!({"desired":{"a":1},"reported":{"a":2}}));

    let view = shadow::get(app, &gw, &acme, &classic("gw-1")).await.expect("there");
    let body: serde_json::Value = serde_json::from_slice(&shadow::view_body(&view, app.now(), None)).expect("JSON");
    assert_eq!(body["state"], json!({"desired":{"a":1},"reported":{"a":2},"delta":{"a":1}}));

    let filter = JournalFilter { device: Some(device("gw-1")), ..JournalFilter::default() };
    let events = journal::events(app, &ops, &acme, filter, None, 10).await.expect("events");
    let actions: Vec<Action> = events.iter().map(|event| event.entry.action).collect();
    assert_eq!(actions, [Action::ShadowUpdated], "what is wanted; what a device reports is in its history");
    let detail = events[0].entry.detail.to_string();
    assert!(detail.contains("desired") && !detail.contains("\"a\""), "sections, never values: {detail}");
}

#[tokio::test]
async fn a_refused_update_leaves_no_trace() {
    let fixture = Fixture::new().await;
    let (app, acme) = (&fixture.app, tenant("acme"));
    let told = Told::listen(app);
    add_device(app, &acme, "gw-1", "rev-a").await;
    let gw = as_device(app, &acme, "gw-1");
    for (payload, refused) in [
        (br#"{"state":{"desired":{"a":1}},"version":5}"#.as_slice(), Refused::VersionConflict),
        (b"{", Refused::InvalidJson),
        (br#"{"state":{"x":{}}}"#, Refused::InvalidNode),
    ] {
        let found = shadow::update(app, &gw, &acme, &classic("gw-1"), payload, Via::Message).await;
        assert_eq!(found.expect_err("refused").refused(), refused);
    }
    assert!(told.take().is_empty());
    let missing = shadow::get(app, &gw, &acme, &classic("gw-1")).await.expect_err("never made").refused();
    assert_eq!(missing.to_string(), "No shadow exists with name: gw-1");
}

#[tokio::test]
async fn a_device_has_its_own_shadow_and_no_other() {
    let fixture = Fixture::new().await;
    let (app, acme, zenith) = (&fixture.app, tenant("acme"), tenant("zenith"));
    for name in ["gw-1", "gw-2"] {
        add_device(app, &acme, name, "rev-a").await;
    }
    let gw = as_device(app, &acme, "gw-1");
    let payload = br#"{"state":{"desired":{"a":1}}}"#;
    let other = shadow::update(app, &gw, &acme, &classic("gw-2"), payload, Via::Message).await;
    assert!(matches!(other, Err(ShadowError::Refused(Refused::Forbidden))));
    let abroad = shadow::update(app, &gw, &zenith, &classic("gw-1"), payload, Via::Message).await;
    assert!(matches!(abroad, Err(ShadowError::Refused(Refused::Forbidden))));
    let foreign = fixture.operator("zenith", "owner").await;
    let hidden = shadow::get(app, &foreign, &acme, &classic("gw-1")).await.expect_err("hidden");
    assert_eq!(hidden.refused(), Refused::NoThing);
    let viewer = fixture.operator("acme", "viewer").await;
    let denied = shadow::update(app, &viewer, &acme, &classic("gw-1"), payload, Via::Call).await.expect_err("denied");
    assert_eq!(denied.refused(), Refused::Forbidden);
    let ops = fixture.operator("acme", "operator").await;
    let nobody = shadow::update(app, &ops, &acme, &classic("gw-9"), payload, Via::Call).await.expect_err("unknown");
    assert_eq!(nobody.refused(), Refused::NoThing);
}

#[tokio::test]
async fn updates_at_once_are_told_in_the_order_of_their_versions() {
    let fixture = Fixture::new().await;
    let (app, acme) = (&fixture.app, tenant("acme"));
    let told = Told::listen(app);
    add_device(app, &acme, "gw-1", "rev-a").await;
    let gw = as_device(app, &acme, "gw-1");
    let key = classic("gw-1");
    let updates = (0..40).map(|n| {
        let (key, gw, acme) = (&key, &gw, &acme);
        async move {
            let payload = format!(r#"{{"state":{{"reported":{{"n":{n}}}}}}}"#);
            shadow::update(app, gw, acme, key, payload.as_bytes(), Via::Message)
                .await
                .expect("accepted")
                .document
                .version
        }
    });
    let mut versions = futures::future::join_all(updates).await;
    versions.sort_unstable();
    assert_eq!(versions, (1..=40).collect::<Vec<u64>>());
    let accepted = told.take().into_iter().filter(|(topic, _)| topic.ends_with("accepted"));
    let told: Vec<u64> = accepted.map(|(_, body)| body["version"].as_u64().expect("a version")).collect();
    assert_eq!(told, versions);
}

#[tokio::test]
async fn a_deleted_shadow_is_gone_and_counts_on() {
    let fixture = Fixture::new().await;
    let (app, acme) = (&fixture.app, tenant("acme"));
    let told = Told::listen(app);
    add_device(app, &acme, "gw-1", "rev-a").await;
    let gw = as_device(app, &acme, "gw-1");
    let key = ShadowKey { device: device("gw-1"), name: "config".to_owned() };
    let payload = br#"{"state":{"desired":{"a":1}}}"#;
    shadow::update(app, &gw, &acme, &key, payload, Via::Message).await.expect("accepted");
    assert_eq!(shadow::names(app, &gw, &acme, &device("gw-1"), None, 10).await.expect("names"), ["config"]);
    told.take();
    shadow::delete(app, &gw, &acme, &key, Some("t".to_owned()), Via::Message).await.expect("deleted");
    let now = app.now().secs();
    let topic = "$aws/things/gw-1/shadow/name/config/delete/accepted".to_owned();
    assert_eq!(told.take(), [(topic, json!({"version":1,"timestamp":now,"clientToken":"t"}))]);
    let missing = shadow::delete(app, &gw, &acme, &key, None, Via::Message).await.expect_err("gone").refused();
    assert_eq!(missing.to_string(), "No shadow exists with name: gw-1~config");
    shadow::replay_delta(app, &acme, &key).await.expect("nothing to replay");
    assert!(told.take().is_empty());
    let again = shadow::update(app, &gw, &acme, &key, payload, Via::Message).await.expect("accepted");
    assert_eq!((again.document.version, again.previous), (2, None));
    told.take();
    shadow::replay_delta(app, &acme, &key).await.expect("told");
    assert_eq!(told.take_ends(), ["name/config/update/delta"]);
}

#[tokio::test]
async fn what_a_device_reports_to_run_stands_in_its_record() {
    let fixture = Fixture::new().await;
    let (app, acme) = (&fixture.app, tenant("acme"));
    add_device(app, &acme, "gw-1", "rev-a").await;
    let (ops, gw) = (fixture.operator("acme", "operator").await, as_device(app, &acme, "gw-1"));
    let named = ShadowKey { device: device("gw-1"), name: "config".to_owned() };
    for (ctx, key, payload, runs) in [
        (&gw, &classic("gw-1"), r#"{"state":{"reported":{"firmware":"1.0"}}}"#, "1.0"),
        // Not a text, wanted only, of another shadow, or said by somebody else: the record stays as it is.
        (&gw, &classic("gw-1"), r#"{"state":{"reported":{"firmware":3}}}"#, "1.0"),
        (&gw, &classic("gw-1"), r#"{"state":{"desired":{"firmware":"3.0"}}}"#, "1.0"),
        (&gw, &named, r#"{"state":{"reported":{"firmware":"3.0"}}}"#, "1.0"),
        (&ops, &classic("gw-1"), r#"{"state":{"reported":{"firmware":"3.0"}}}"#, "1.0"),
        (&gw, &classic("gw-1"), r#"{"state":{"reported":{"firmware":"2.0"}}}"#, "2.0"),
    ] {
        shadow::update(app, ctx, &acme, key, payload.as_bytes(), Via::Message).await.expect("accepted");
        let found = fleetward_app::registry::device(app, &ops, &acme, &device("gw-1")).await.expect("there");
        assert_eq!(found.device.firmware.as_deref(), Some(runs), "{payload}");
    }
}

#[tokio::test]
async fn what_is_committed_is_told_though_the_caller_hangs_up() {
    let fixture = Fixture::new().await;
    let (app, acme) = (&fixture.app, tenant("acme"));
    let told = Told::listen(app);
    add_device(app, &acme, "gw-1", "rev-a").await;
    let ops = fixture.operator("acme", "operator").await;
    let key = classic("gw-1");
    let version = async |app: &fleetward_app::App| {
        shadow::get(app, &ops, &tenant("acme"), &classic("gw-1")).await.map_or(0, |view| view.document.version)
    };
    for n in 1..=20_u64 {
        let payload = format!(r#"{{"state":{{"desired":{{"n":{n}}}}}}}"#);
        let update = shadow::update(app, &ops, &acme, &key, payload.as_bytes(), Via::Message);
        hang_up(app, update, async |app| version(app).await == n).await;
        let mut ends = Vec::new();
        while ends.len() < 3 {
            ends.extend(told.take_ends());
            tokio::task::yield_now().await;
        }
        assert_eq!(ends, ["update/delta", "update/accepted", "update/documents"], "{n}");
    }
    let delete = shadow::delete(app, &ops, &acme, &key, None, Via::Message);
    hang_up(app, delete, async |app| version(app).await == 0).await;
    while told.take_ends() != ["delete/accepted"] {
        tokio::task::yield_now().await;
    }
    app.settled().await;
}
