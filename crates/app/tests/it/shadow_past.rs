//! The history of shadows: what it holds, and that it stays small; what goes to and fro; many updates in one transaction.

use std::time::Duration;

use fleetward_app::identity_policy::{amend_policy, show_policy};
use fleetward_app::journal::{self, JournalFilter};
use fleetward_app::presence::Arrival;
use fleetward_app::reconcile::shadows::{self, ShadowsStatus};
use fleetward_app::shadow::grace::tell_due;
use fleetward_app::shadow::history::{Changed, history};
use fleetward_app::shadow::{self, ShadowKey, Via};
use fleetward_app::{App, Ctx};
use fleetward_base::{TenantId, limits};
use fleetward_core::journal::Action;
use fleetward_core::shadow::Refused;
use fleetward_core::shadow::history::apply;
use serde_json::{Map, Value, json};

use crate::fixture::{Fixture, device, tenant};
use crate::fleet::{Told, add_device, as_device};

const DAY: Duration = Duration::from_secs(24 * 3600);

fn classic(name: &str) -> ShadowKey {
    ShadowKey::classic(device(name))
}

async fn update(app: &App, ctx: &Ctx, tenant: &TenantId, key: &ShadowKey, state: Value) -> u64 {
    let payload = json!({ "state": state }).to_string();
    let applied = shadow::update(app, ctx, tenant, key, payload.as_bytes(), Via::Message).await;
    applied.expect("accepted").document.version
}

async fn changes(app: &App, ctx: &Ctx, tenant: &TenantId, key: &ShadowKey) -> Vec<Changed> {
    history(app, ctx, tenant, key, None, 200).await.expect("it may be read")
}

/// The document that the history gives.
fn played(newest_first: &[Changed]) -> Value {
    let mut state = Map::new();
    newest_first.iter().rev().for_each(|change| apply(&mut state, &change.patch));
    Value::Object(state)
}

async fn actions(app: &App, ctx: &Ctx, tenant: &TenantId) -> Vec<Action> {
    let filter = JournalFilter { action: Some("shadow.".to_owned()), ..JournalFilter::default() };
    let events = journal::events(app, ctx, tenant, filter, None, 200).await.expect("events");
    events.iter().map(|event| event.entry.action).collect()
}

async fn set(fixture: &Fixture, tenant: &TenantId, policy: Value) {
    let revision = show_policy(&fixture.app, &fixture.admin, tenant).await.expect("a policy").revision;
    let patch = json!({ "shadow": policy }).as_object().cloned().expect("an object");
    amend_policy(&fixture.app, &fixture.admin, tenant, revision, patch).await.expect("it may be so");
}

async fn ten_thousand_updates(fixture: Fixture) {
    let (app, acme) = (&fixture.app, tenant("acme"));
    add_device(app, &acme, "gw-1", "rev-a").await;
    let (ops, gw, key) = (fixture.operator("acme", "operator").await, as_device(app, &acme, "gw-1"), classic("gw-1"));
    update(app, &ops, &acme, &key, json!({"desired": {"mode": "eco"}})).await;
    let mut forgotten = 0;
    for n in 0..10_000 {
        update(app, &gw, &acme, &key, json!({"reported": {"n": n, "even": {"is": n % 2 == 0}}})).await;
        if n % 1000 == 999 {
            forgotten += shadows::thin_out(app).await.expect("it works").forgotten;
        }
    }
    let left = changes(app, &ops, &acme, &key).await;
    assert_eq!((left.len(), forgotten), (50, 9951), "10,001 changes leave what a tenant keeps");
    assert_eq!(left.first().map(|change| (change.number, change.version)), Some((10_001, 10_001)));
    let view = shadow::get(app, &ops, &acme, &key).await.expect("there");
    assert_eq!(played(&left), view.document.state.to_value());
    assert_eq!(actions(app, &ops, &acme).await, [Action::ShadowUpdated], "nor does the journal grow");
}

#[tokio::test]
async fn ten_thousand_updates_leave_a_small_store() {
    ten_thousand_updates(Fixture::new().await).await;
}

#[tokio::test]
async fn ten_thousand_updates_leave_a_small_store_on_postgres() {
    ten_thousand_updates(Fixture::on_postgres().await).await;
}

#[tokio::test]
async fn the_walk_leaves_one_change_a_day() {
    let fixture = Fixture::new().await;
    let (app, acme, clock) = (&fixture.app, tenant("acme"), &fixture.clock);
    add_device(app, &acme, "gw-1", "rev-a").await;
    let (ops, gw) = (fixture.operator("acme", "operator").await, as_device(app, &acme, "gw-1"));
    set(&fixture, &acme, json!({"history_kept": 2, "history_days": 3, "history_daily_days": 5})).await;
    let key = ShadowKey { device: device("gw-1"), name: "net".to_owned() };
    for n in 0..30 {
        update(app, &gw, &acme, &key, json!({"reported": {"n": n}})).await;
        update(app, &gw, &acme, &key, json!({"reported": {"n": n}})).await;
        clock.advance(DAY / 3);
    }
    assert_eq!(changes(app, &ops, &acme, &key).await.len(), 30, "what changes nothing is no change");
    let status = shadows::walk(app).await.expect("it works");
    let left = changes(app, &ops, &acme, &key).await;
    assert!(left.len() <= 2 + 5, "{left:?}");
    assert_eq!(status, ShadowsStatus { forgotten: 30 - left.len() as u64, restored: 0 });
    assert_eq!(played(&left), json!({"reported": {"n": 29}}));
    assert_eq!(shadows::walk(app).await.expect("it works"), ShadowsStatus::default(), "nothing is left to do");
    // Long after, the document still has the one change that holds it.
    clock.advance(DAY * 365);
    shadows::walk(app).await.expect("it works");
    let left = changes(app, &ops, &acme, &key).await;
    assert_eq!((left.len(), played(&left)), (1, json!({"reported": {"n": 29}})));
}

#[tokio::test]
async fn a_history_says_who_and_goes_on_past_a_deletion() {
    let fixture = Fixture::new().await;
    let (app, acme, zenith) = (&fixture.app, tenant("acme"), tenant("zenith"));
    add_device(app, &acme, "gw-1", "rev-a").await;
    let (ops, gw, key) = (fixture.operator("acme", "operator").await, as_device(app, &acme, "gw-1"), classic("gw-1"));
    update(app, &ops, &acme, &key, json!({"desired": {"a": {"b": 1, "c": 2}}})).await;
    update(app, &gw, &acme, &key, json!({"reported": {"a": {"b": 1}}})).await;
    update(app, &ops, &acme, &key, json!({"desired": {"a": {"c": null}}})).await;
    shadow::delete(app, &gw, &acme, &key, None, Via::Message).await.expect("deleted");
    fixture.clock.advance(DAY * 3);
    assert_eq!(update(app, &gw, &acme, &key, json!({"reported": {"x": 1}})).await, 1, "the version begins again");
    let all = changes(app, &ops, &acme, &key).await;
    let seen = all.iter().map(|it| (it.number, it.version, it.actor.name.as_str(), Value::from(it.patch.clone())));
    let seen: Vec<_> = seen.collect();
    let expect = [
        (5, 1, "gw-1", json!({"reported": {"x": 1}})),
        (4, 3, "gw-1", json!({"desired": null, "reported": null})),
        (3, 3, "test", json!({"desired": {"a": {"c": null}}})),
        (2, 2, "gw-1", json!({"reported": {"a": {"b": 1}}})),
        (1, 1, "test", json!({"desired": {"a": {"b": 1, "c": 2}}})),
    ];
    assert_eq!(seen, expect);
    let page = history(app, &ops, &acme, &key, Some(4), 2).await.expect("a page");
    assert_eq!(page.iter().map(|it| it.number).collect::<Vec<_>>(), [3, 2]);
    let foreign = fixture.operator("zenith", "owner").await;
    let hidden = history(app, &foreign, &acme, &key, None, 10).await.expect_err("hidden").refused();
    assert_eq!(hidden, Refused::NoThing);
    assert!(changes(app, &foreign, &zenith, &key).await.is_empty());
}

#[tokio::test]
async fn what_goes_to_and_fro_is_told_of_and_left_alone() {
    let fixture = Fixture::new().await;
    let (app, acme) = (&fixture.app, tenant("acme"));
    let told = Told::listen(app);
    add_device(app, &acme, "gw-1", "rev-a").await;
    let (ops, gw, key) = (fixture.operator("acme", "operator").await, as_device(app, &acme, "gw-1"), classic("gw-1"));
    update(app, &ops, &acme, &key, json!({"desired": {"channel": 6}})).await;
    for _ in 0..3 {
        told.take();
        update(app, &gw, &acme, &key, json!({"reported": {"channel": 1}})).await;
        assert_eq!(told.take_ends(), ["update/delta", "update/accepted", "update/documents"]);
        update(app, &gw, &acme, &key, json!({"reported": {"channel": 6}})).await;
    }
    told.take();
    update(app, &gw, &acme, &key, json!({"reported": {"channel": 1}})).await;
    assert_eq!(told.take_ends(), ["update/accepted", "update/documents"], "no delta is told");
    shadow::replay_delta(app, &acme, &key).await.expect("nothing to tell");
    assert!(told.take().is_empty());
    let view = shadow::get(app, &ops, &acme, &key).await.expect("there");
    assert_eq!(view.document.watch.found().keys().collect::<Vec<_>>(), ["/channel"]);

    let filter = JournalFilter { action: Some("shadow.oscillating".to_owned()), ..JournalFilter::default() };
    let events = journal::events(app, &ops, &acme, filter, None, 10).await.expect("events");
    let [event] = events.as_slice() else { panic!("one, once: {events:?}") };
    assert_eq!(
        (event.entry.severity.to_string().as_str(), &event.entry.detail["path"]),
        ("warning", &json!("/channel"))
    );
    assert!(event.entry.detail["hint"].as_str().is_some_and(|hint| hint.contains("restart")));

    let foreign = fixture.operator("zenith", "owner").await;
    assert!(shadow::reassert(app, &foreign, &acme, &key).await.is_err());
    let viewer = fixture.operator("acme", "viewer").await;
    assert_eq!(shadow::reassert(app, &viewer, &acme, &key).await.expect_err("denied").refused(), Refused::Forbidden);
    assert_eq!(shadow::reassert(app, &ops, &acme, &key).await.expect("done"), ["/channel"]);
    assert_eq!(told.take_ends(), ["update/delta"]);
    assert!(shadow::reassert(app, &ops, &acme, &key).await.expect("nothing to do").is_empty());

    // A tenant that does not want this has the contract and nothing else.
    set(&fixture, &acme, json!({"oscillation": false})).await;
    for value in [6, 1, 6, 1, 6, 1] {
        update(app, &gw, &acme, &key, json!({"reported": {"channel": value}})).await;
    }
    told.take();
    update(app, &gw, &acme, &key, json!({"reported": {"other": 1}})).await;
    assert_eq!(told.take_ends(), ["update/delta", "update/accepted", "update/documents"]);
}

#[tokio::test]
async fn a_device_that_comes_back_with_less_is_marked() {
    let fixture = Fixture::new().await;
    let (app, acme) = (&fixture.app, tenant("acme"));
    add_device(app, &acme, "gw-1", "rev-a").await;
    let (ops, gw, key) = (fixture.operator("acme", "operator").await, as_device(app, &acme, "gw-1"), classic("gw-1"));
    let start =
        |version: u64, boot: &str| json!({"reported": {"_meta": {"applied_version": version, "boot_id": boot}}});
    let shown = || async {
        let view = shadow::get(app, &ops, &acme, &key).await.expect("there");
        serde_json::from_slice::<Value>(&shadow::operator_body(&view, app.now())).expect("JSON")["stale_report"].clone()
    };
    update(app, &gw, &acme, &key, start(7, "boot-1")).await;
    update(app, &gw, &acme, &key, start(3, "boot-2")).await;
    assert_eq!((&shown().await["applied"], &shown().await["known"]), (&json!(3), &json!(7)));
    update(app, &gw, &acme, &key, start(8, "boot-2")).await;
    assert_eq!(shown().await, Value::Null);
    assert_eq!(actions(app, &ops, &acme).await, [Action::ShadowStaleReport, Action::ShadowUpdated]);
}

#[tokio::test]
async fn a_device_that_comes_back_with_less_has_a_moment_to_say_better() {
    let fixture = Fixture::new().await;
    let (app, acme) = (&fixture.app, tenant("acme"));
    let told = Told::listen(app);
    add_device(app, &acme, "gw-1", "rev-a").await;
    let (ops, gw, key) = (fixture.operator("acme", "operator").await, as_device(app, &acme, "gw-1"), classic("gw-1"));
    let meta = |version: u64, boot: &str| json!({"applied_version": version, "boot_id": boot});
    let report = |version: u64, boot: &str, channel: u32| {
        let meta = meta(version, boot);
        json!({"reported": {"channel": channel, "_meta": meta}})
    };
    let deltas = || told.take_ends().iter().filter(|end| *end == "update/delta").count();
    let boots = |epoch: u64| {
        let arrival = Arrival { epoch, address: None, protocol: "mqtt-5" };
        app.presence().connected(&acme, &device("gw-1"), app.now(), arrival);
    };
    update(app, &ops, &acme, &key, json!({"desired": {"channel": 6}})).await;
    update(app, &gw, &acme, &key, report(1, "a", 6)).await;
    // It booted with what it had before, and a moment later knows better.
    boots(1);
    deltas();
    update(app, &gw, &acme, &key, report(0, "b", 1)).await;
    assert_eq!(deltas(), 0, "not unasked");
    update(app, &gw, &acme, &key, report(1, "b", 6)).await;
    fixture.clock.advance(limits::SHADOW_DELTA_GRACE);
    assert_eq!((tell_due(app).await.expect("told"), deltas()), (0, 0));
    // It does not: it is told when the moment is over, once.
    boots(2);
    update(app, &gw, &acme, &key, report(0, "c", 2)).await;
    fixture.clock.advance(limits::SHADOW_DELTA_GRACE - Duration::from_secs(1));
    assert_eq!((tell_due(app).await.expect("told"), deltas()), (0, 0));
    fixture.clock.advance(Duration::from_secs(1));
    assert_eq!((tell_due(app).await.expect("told"), deltas()), (1, 1));
    assert_eq!((tell_due(app).await.expect("told"), deltas()), (0, 0));
    // Who asks is told at once, and so is a new wish; then nothing waits.
    // Each time with another value, so that nothing goes to and fro.
    for asks in 0..3_u32 {
        update(app, &gw, &acme, &key, report(1, "c", 6)).await;
        boots(3 + u64::from(asks));
        update(app, &gw, &acme, &key, report(0, &format!("d{asks}"), 11 + asks)).await;
        assert_eq!(deltas(), 0, "{asks}");
        match asks {
            0 => shadow::replay_delta(app, &acme, &key).await.expect("told"),
            1 => assert!(shadow::get(app, &gw, &acme, &key).await.expect("there").delta.is_some()),
            _ => drop(update(app, &ops, &acme, &key, json!({"desired": {"channel": 6, "power": 1}})).await),
        }
        assert_eq!(deltas(), usize::from(asks != 1), "{asks}");
        fixture.clock.advance(limits::SHADOW_DELTA_GRACE);
        assert_eq!((tell_due(app).await.expect("told"), deltas()), (0, 0), "{asks}");
    }
}

#[tokio::test]
async fn a_client_that_says_nothing_of_its_start_is_told_at_once() {
    let fixture = Fixture::new().await;
    let (app, acme) = (&fixture.app, tenant("acme"));
    let told = Told::listen(app);
    add_device(app, &acme, "gw-1", "rev-a").await;
    let (ops, gw, key) = (fixture.operator("acme", "operator").await, as_device(app, &acme, "gw-1"), classic("gw-1"));
    update(app, &ops, &acme, &key, json!({"desired": {"channel": 6}})).await;
    for (epoch, channel) in (1..).zip([6, 1, 6, 1, 6, 1]) {
        let arrival = Arrival { epoch, address: None, protocol: "mqtt-3.1.1" };
        app.presence().connected(&acme, &device("gw-1"), app.now(), arrival);
        told.take();
        update(app, &gw, &acme, &key, json!({"reported": {"channel": channel}})).await;
        let delta = told.take_ends().contains(&"update/delta".to_owned());
        assert_eq!(delta, channel == 1 && epoch < 6, "{epoch}: until it is seen to oscillate");
        fixture.clock.advance(Duration::from_secs(60));
    }
    let view = shadow::get(app, &ops, &acme, &key).await.expect("there");
    let found = view.document.watch.found().get("/channel").expect("it is found");
    assert!(found.at_each_boot && found.explanation().starts_with("at each boot"));
}

async fn many_at_once(fixture: Fixture, most: u64) {
    let (app, acme) = (&fixture.app, tenant("acme"));
    for n in 0..60 {
        add_device(app, &acme, &format!("gw-{n}"), "rev-a").await;
        let gw = as_device(app, &acme, &format!("gw-{n}"));
        update(app, &gw, &acme, &classic(&format!("gw-{n}")), json!({"reported": {"round": 0}})).await;
    }
    let before = app.store().round_trips();
    let updates = (0..60).map(|n| {
        let (app, acme, name) = (app.clone(), acme.clone(), format!("gw-{n}"));
        async move {
            let (gw, key) = (as_device(&app, &acme, &name), classic(&name));
            // Every seventh is refused, which the others do not notice.
            let version = if n % 7 == 0 { 9 } else { 1 };
            let payload = json!({"state": {"reported": {"round": 1}}, "version": version}).to_string();
            shadow::update(&app, &gw, &acme, &key, payload.as_bytes(), Via::Message).await
        }
    });
    let outcomes = futures::future::join_all(updates).await;
    let waited = app.store().round_trips() - before;
    for (n, outcome) in outcomes.into_iter().enumerate() {
        match outcome {
            Ok(applied) => assert!(n % 7 != 0 && applied.document.version == 2, "{n}"),
            Err(error) => assert_eq!((n % 7, error.refused()), (0, Refused::VersionConflict), "{n}"),
        }
    }
    assert!(waited <= most, "PostgreSQL was waited for {waited} times");
}

#[tokio::test]
async fn updates_of_many_share_a_transaction() {
    many_at_once(Fixture::new().await, 0).await;
    // Two lanes, of which the first two take one each and the next all others: not four for each of sixty.
    many_at_once(Fixture::on_postgres().await, 24).await;
}

#[tokio::test]
async fn a_thing_that_nobody_registered_has_a_shadow_where_the_tenant_wants_that() {
    let fixture = Fixture::new().await;
    let (app, acme) = (&fixture.app, tenant("acme"));
    let (ops, key) = (fixture.operator("acme", "operator").await, classic("to-come"));
    let payload = br#"{"state":{"desired":{"a":1}}}"#;
    let nobody = shadow::update(app, &ops, &acme, &key, payload, Via::Call).await.expect_err("unknown");
    assert_eq!(nobody.refused(), Refused::NoThing);
    set(&fixture, &acme, json!({"unregistered": true})).await;
    shadow::update(app, &ops, &acme, &key, payload, Via::Call).await.expect("accepted");
    shadow::get(app, &ops, &acme, &key).await.expect("there");
    // The device that comes by that name finds what is wanted of it; none speaks for another still.
    add_device(app, &acme, "to-come", "rev-a").await;
    let view = shadow::get(app, &as_device(app, &acme, "to-come"), &acme, &key).await.expect("there");
    assert!(view.delta.is_some());
    let other = as_device(app, &acme, "gw-1");
    let refused = shadow::get(app, &other, &acme, &key).await.expect_err("not its own").refused();
    assert_eq!(refused, Refused::Forbidden);
}
