//! What becomes of jobs, told to a client that a topic policy lets hear it, and to nobody else.

use fleetward_app::identity_policy::{amend_policy, show_policy};
use fleetward_app::jobs::{NewJob, create_job};
use fleetward_app::reconcile::{events, jobs};
use fleetward_app::topic_policies::{attach_topic_policy, create_topic_policy};
use fleetward_core::job::{Policy, Selection};
use fleetward_core::selector::Selector;
use fleetward_core::topic_policy::{Document, Target};
use fleetward_sim::mqtt::Version;
use serde_json::{Value, json};

use crate::house::{House, id, tenant};

async fn give(house: &House, home: &str, name: &str, topics: Value, target: Target) {
    let statements = json!([{ "effect": "allow", "actions": ["subscribe", "receive"], "topics": topics }]);
    let document: Document = serde_json::from_value(json!({ "statements": statements })).expect("a document");
    create_topic_policy(&house.app, &house.admin, &tenant(home), name, None, document).await.expect("made");
    attach_topic_policy(&house.app, &house.admin, &tenant(home), name, target).await.expect("attached");
}

async fn want(house: &House, home: &str) {
    let (app, admin, home) = (&house.app, &house.admin, tenant(home));
    let at = show_policy(app, admin, &home).await.expect("a policy").revision;
    let patch = json!({ "jobs": { "events": true } }).as_object().cloned().expect("an object");
    amend_policy(app, admin, &home, at, patch).await.expect("it may be so");
}

#[tokio::test]
async fn events_are_heard_by_those_who_may_and_by_nobody_else() {
    let house = House::new().await;
    let (watcher, gw) = (house.enroll("acme", "watcher", "rev-a").await, house.enroll("acme", "gw-1", "rev-a").await);
    let abroad = house.enroll("zenith", "watcher", "rev-a").await;
    for home in ["acme", "zenith"] {
        give(&house, home, "watch", json!(["$aws/events/#"]), Target::Device(id("watcher"))).await;
        // As much as a policy can give by wildcards.
        give(&house, home, "wide", json!(["#", "*", "+/events/#"]), Target::Tenant).await;
        want(&house, home).await;
    }
    events::tick(&house.app).await.expect("a look");
    let mut watcher = house.connect(&watcher, Version::V5).await;
    watcher.subscribe(&["$aws/events/job/#", "$aws/events/jobExecution/+/succeeded"]).await;
    assert_eq!(watcher.publish("$aws/events/job/x/completed", "{}").await, 0x87, "it is the server's to say");
    let mut abroad = house.connect(&abroad, Version::V5).await;
    abroad.subscribe(&["$aws/events/#"]).await;
    let mut link = house.connect(&gw, Version::V5).await;
    assert_eq!(link.try_subscribe(&["$aws/events/#", "$aws/events/jobExecution/+/succeeded"]).await, [0x87, 0x87]);

    let job = NewJob {
        id: "reboot".parse().expect("a job id"),
        document: "{}".to_owned(),
        description: None,
        targets: vec![Selector { devices: [id("gw-1")].into(), ..Selector::default() }],
        selection: Selection::Snapshot,
        policy: Policy::default(),
    };
    create_job(&house.app, &house.admin, &tenant("acme"), job).await.expect("made");
    jobs::tick(&house.app).await.expect("a turn");
    link.publish("$aws/things/gw-1/jobs/reboot/update", r#"{"status":"SUCCEEDED"}"#).await;
    link.expect("reboot/update/accepted").await;
    jobs::tick(&house.app).await.expect("a turn");
    events::tick(&house.app).await.expect("a turn");
    let (topic, body) = watcher.next().await;
    assert_eq!(topic, "$aws/events/jobExecution/reboot/succeeded");
    assert_eq!((&body["status"], &body["jobId"]), (&json!("SUCCEEDED"), &json!("reboot")));
    let (topic, body) = watcher.next().await;
    assert_eq!(topic, "$aws/events/job/reboot/completed");
    assert_eq!(body["jobProcessDetails"]["numberOfSucceededThings"], 1);
    watcher.expect_nothing().await;
    abroad.expect_nothing().await;
    link.expect_nothing().await;
}
