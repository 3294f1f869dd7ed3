//! Jobs, and deployments as jobs, on the topics of AWS.

use std::time::Duration;

use fleetward_app::jobs::{self, NewJob};
use fleetward_app::reconcile::jobs::tick as jobs_tick;
use fleetward_app::reconcile::rollouts::tick;
use fleetward_app::rollouts::{self, NewRollout};
use fleetward_core::job::Selection;
use fleetward_sim::mqtt::Version;
use serde_json::json;

use crate::house::{Device, House, tenant};

const J: &str = "$aws/things/gw-1/jobs";

fn topic(end: &str) -> String {
    format!("{J}/{end}")
}

async fn rollout(house: &House) -> String {
    let policy = serde_json::from_value(json!({"phases":[{"target":{"percent":100}}]})).expect("a policy");
    let release = house.release("acme").await;
    let new = NewRollout { name: None, release, selector: Default::default(), policy };
    let made = rollouts::create_rollout(&house.app, &house.admin, &tenant("acme"), new).await.expect("made");
    made.rollout.id.to_string()
}

async fn prepared() -> (House, Device) {
    let house = House::new().await;
    let gw = house.enroll("acme", "gw-1", "rev-a").await;
    (house, gw)
}

#[tokio::test]
async fn a_device_is_told_takes_its_job_and_reports() {
    let (house, gw) = prepared().await;
    let mut link = house.connect(&gw, Version::V311).await;
    link.subscribe(&[&topic("notify"), &topic("notify-next"), &topic("start-next/+")]).await;
    let id = rollout(&house).await;
    tick(&house.app).await.expect("a tick");
    let now = house.app.now().secs();
    let summary = json!({"jobId":id,"queuedAt":now,"lastUpdatedAt":now,"versionNumber":1,"executionNumber":1});
    assert_eq!(link.expect("jobs/notify").await, json!({"timestamp":now,"jobs":{"QUEUED":[summary]}}));
    let next = link.expect("jobs/notify-next").await;
    assert_eq!(next["execution"]["jobDocument"]["artifact"]["size"], 1);

    link.publish(&topic("start-next"), r#"{"statusDetails":{"step":"accepted"},"clientToken":"t"}"#).await;
    let started = link.expect("start-next/accepted").await;
    let execution = &started["execution"];
    assert_eq!(started["clientToken"], "t");
    assert_eq!((&execution["status"], &execution["versionNumber"]), (&json!("IN_PROGRESS"), &json!(2)));
    assert_eq!((&execution["thingName"], &execution["executionNumber"]), (&json!("gw-1"), &json!(1)));
    assert_eq!(execution["jobDocument"]["operation"], "update");

    // The embedded SDK quotes the number.
    let update = format!("{id}/update");
    let report = r#"{"status":"IN_PROGRESS","statusDetails":{"step":"downloading"},"expectedVersion":"2","includeJobExecutionState":true}"#;
    link.publish(&topic(&update), report).await;
    let accepted = link.expect("update/accepted").await;
    let state = json!({"status":"IN_PROGRESS","statusDetails":{"step":"downloading"},"versionNumber":3});
    assert_eq!(accepted, json!({"executionState":state,"timestamp":now}));
    link.publish(&topic(&update), r#"{"status":"SUCCEEDED","expectedVersion":1,"clientToken":"u"}"#).await;
    let rejected = link.expect("update/rejected").await;
    assert_eq!((&rejected["code"], &rejected["executionState"]), (&json!("VersionMismatch"), &state));
    assert_eq!(rejected["clientToken"], "u");
    link.publish(&topic(&update), r#"{"status":"SUCCEEDED"}"#).await;
    // What is pending changed with the report, so that is told first, or right after.
    let mut ends: Vec<String> = Vec::new();
    for _ in 0..3 {
        let (topic, body) = link.next().await;
        assert!(body.get("execution").is_none(), "nothing is next");
        ends.push(topic.rsplit('/').next().unwrap_or_default().to_owned());
    }
    ends.sort();
    assert_eq!(ends, ["accepted", "notify", "notify-next"]);
    link.publish(&topic("start-next"), "").await;
    assert_eq!(link.expect("start-next/accepted").await, json!({"timestamp":now}));
    link.expect_nothing().await;
}

#[tokio::test]
async fn answers_come_once_and_need_no_subscription() {
    let (house, gw) = prepared().await;
    let id = rollout(&house).await;
    tick(&house.app).await.expect("a tick");
    let mut link = house.connect(&gw, Version::V5).await;
    link.publish(&topic("get"), "{}").await;
    let pending = link.expect("jobs/get/accepted").await;
    assert_eq!((&pending["queuedJobs"][0]["jobId"], &pending["inProgressJobs"]), (&json!(id), &json!([])));
    link.subscribe(&[&topic("#")]).await;
    link.publish(&topic("$next/get"), r#"{"includeJobDocument":false}"#).await;
    let next = link.expect("$next/get/accepted").await;
    assert_eq!(next["execution"]["jobId"], json!(id));
    assert!(next["execution"].get("jobDocument").is_none());
    link.publish(&topic(&format!("{id}/get")), "").await;
    link.expect("get/accepted").await;
    link.expect_nothing().await;
}

#[tokio::test]
async fn bad_requests_are_rejected_with_their_code() {
    let (house, gw) = prepared().await;
    let id = rollout(&house).await;
    tick(&house.app).await.expect("a tick");
    let mut link = house.connect(&gw, Version::V5).await;
    let unknown = "01935000-0000-7000-8000-000000000001";
    for (end, payload, code) in [
        (format!("{id}/update"), "{", "InvalidJson"),
        (format!("{id}/update"), "{}", "InvalidRequest"),
        (format!("{id}/update"), r#"{"status":"QUEUED"}"#, "InvalidRequest"),
        (format!("{id}/update"), r#"{"status":"FAILED","statusDetails":{"a b":"x"}}"#, "InvalidRequest"),
        (format!("{id}/update"), r#"{"status":"FAILED","executionNumber":2}"#, "ResourceNotFound"),
        (format!("{unknown}/update"), r#"{"status":"FAILED"}"#, "ResourceNotFound"),
        ("no-uuid/update".to_owned(), r#"{"status":"FAILED"}"#, "ResourceNotFound"),
        (format!("{unknown}/get"), "", "ResourceNotFound"),
        ("start-next".to_owned(), "[", "InvalidJson"),
    ] {
        link.publish(&topic(&end), payload).await;
        assert_eq!(link.expect("/rejected").await["code"], code, "{end} {payload}");
    }
    link.publish(&topic(&format!("{id}/update")), r#"{"status":"REJECTED"}"#).await;
    link.expect("update/accepted").await;
    link.publish(&topic(&format!("{id}/update")), r#"{"status":"IN_PROGRESS"}"#).await;
    let late = link.expect("update/rejected").await;
    assert_eq!(
        (&late["code"], &late["executionState"]["status"]),
        (&json!("InvalidStateTransition"), &json!("REJECTED"))
    );
    link.publish(&topic(&format!("{id}/get")), "").await;
    assert_eq!(link.expect("get/rejected").await["code"], "TerminalStateReached");
}

#[tokio::test]
async fn one_device_cannot_report_for_another() {
    let (house, gw) = prepared().await;
    let other = house.enroll("acme", "gw-2", "rev-b").await;
    let abroad = house.enroll("zenith", "gw-1", "rev-a").await;
    let id = rollout(&house).await;
    tick(&house.app).await.expect("a tick");
    let mut other = house.connect(&other, Version::V5).await;
    assert_eq!(other.publish(&topic(&format!("{id}/update")), r#"{"status":"FAILED"}"#).await, 0x87);
    other.publish(&format!("$aws/things/gw-2/jobs/{id}/update"), r#"{"status":"FAILED"}"#).await;
    assert_eq!(other.expect("update/rejected").await["code"], "ResourceNotFound");
    let mut abroad = house.connect(&abroad, Version::V5).await;
    abroad.publish(&topic(&format!("{id}/update")), r#"{"status":"FAILED"}"#).await;
    assert_eq!(abroad.expect("update/rejected").await["code"], "ResourceNotFound");
    let mut link = house.connect(&gw, Version::V5).await;
    link.publish(&topic("get"), "").await;
    assert_eq!(link.expect("get/accepted").await["queuedJobs"][0]["versionNumber"], 1, "untouched");
}

async fn job(house: &House, name: &str, policy: &str) {
    let new = NewJob {
        id: name.parse().expect("a job id"),
        document: r#"{"operation":"test"}"#.to_owned(),
        description: None,
        targets: vec![Default::default()],
        selection: Selection::Snapshot,
        policy: serde_json::from_str(policy).expect("a policy"),
    };
    house.clock.advance(Duration::from_secs(1));
    jobs::create_job(&house.app, &house.admin, &tenant("acme"), new).await.expect("made");
    jobs_tick(&house.app).await.expect("a turn");
}

/// The example of the AWS IoT developer guide, "Jobs notifications", step by step.
#[tokio::test]
async fn the_worked_sequence_of_notifications() {
    let (house, gw) = prepared().await;
    let mut link = house.connect(&gw, Version::V311).await;
    link.subscribe(&[&topic("notify"), &topic("notify-next")]).await;
    let now = || house.app.now().secs();
    let begin = now();
    let queued = |name: &str, at: i64| json!({"jobId":name,"queuedAt":begin + at,"lastUpdatedAt":begin + at,"executionNumber":1,"versionNumber":1});
    let next = |name: &str, at: i64| {
        json!({"jobId":name,"status":"QUEUED","queuedAt":begin + at,"lastUpdatedAt":begin + at,"versionNumber":1,
            "executionNumber":1,"jobDocument":{"operation":"test"}})
    };
    let update = |name: &str| topic(&format!("{name}/update"));

    job(&house, "job1", "{}").await;
    assert_eq!(link.expect("jobs/notify").await, json!({"timestamp":now(),"jobs":{"QUEUED":[queued("job1", 1)]}}));
    assert_eq!(link.expect("notify-next").await, json!({"timestamp":now(),"execution":next("job1", 1)}));

    job(&house, "job2", "{}").await;
    let jobs = json!({"QUEUED":[queued("job1", 1), queued("job2", 2)]});
    assert_eq!(link.expect("jobs/notify").await, json!({"timestamp":now(),"jobs":jobs}));

    link.publish(&update("job1"), r#"{"status":"IN_PROGRESS"}"#).await;
    link.expect("update/accepted").await;
    let started = |name: &str, queued: i64, at: i64| {
        json!({"jobId":name,"queuedAt":begin + queued,"lastUpdatedAt":at,"startedAt":at,"executionNumber":1,
            "versionNumber":2})
    };
    let began = now();

    job(&house, "job3", "{}").await;
    let jobs = json!({"IN_PROGRESS":[started("job1", 1, began)],"QUEUED":[queued("job2", 2), queued("job3", 3)]});
    assert_eq!(link.expect("jobs/notify").await, json!({"timestamp":now(),"jobs":jobs}), "and nothing of the next");

    link.publish(&update("job1"), r#"{"status":"SUCCEEDED"}"#).await;
    let jobs = json!({"QUEUED":[queued("job2", 2), queued("job3", 3)]});
    assert_eq!(link.expect("jobs/notify").await, json!({"timestamp":now(),"jobs":jobs}));
    assert_eq!(link.expect("notify-next").await, json!({"timestamp":now(),"execution":next("job2", 2)}));
    link.expect("update/accepted").await;

    house.clock.advance(Duration::from_secs(1));
    let began = now();
    link.publish(&update("job3"), r#"{"status":"IN_PROGRESS"}"#).await;
    let execution = json!({"jobId":"job3","status":"IN_PROGRESS","queuedAt":begin + 3,"startedAt":began,
        "lastUpdatedAt":began,"versionNumber":2,"executionNumber":1,"jobDocument":{"operation":"test"}});
    assert_eq!(link.expect("notify-next").await, json!({"timestamp":now(),"execution":execution}));
    link.expect("update/accepted").await;

    link.publish(&update("job2"), r#"{"status":"REJECTED"}"#).await;
    let jobs = json!({"IN_PROGRESS":[started("job3", 3, began)]});
    assert_eq!(link.expect("jobs/notify").await, json!({"timestamp":now(),"jobs":jobs}));
    link.expect("update/accepted").await;

    let id = "job3".parse().expect("a job id");
    jobs::delete_job(&house.app, &house.admin, &tenant("acme"), &id, None, true).await.expect("by force");
    jobs_tick(&house.app).await.expect("a turn");
    assert_eq!(link.expect("jobs/notify").await, json!({"timestamp":now(),"jobs":{}}));
    assert_eq!(link.expect("notify-next").await, json!({"timestamp":now()}));
    link.expect_nothing().await;
}

#[tokio::test]
async fn jobs_and_deployments_stand_in_one_queue() {
    let (house, gw) = prepared().await;
    let id = rollout(&house).await;
    tick(&house.app).await.expect("a tick");
    job(&house, "reboot", r#"{"timeout_minutes":5}"#).await;
    let mut link = house.connect(&gw, Version::V5).await;
    link.publish(&topic("get"), "").await;
    let pending = link.expect("get/accepted").await;
    let ids = [&pending["queuedJobs"][0]["jobId"], &pending["queuedJobs"][1]["jobId"]];
    assert_eq!(ids, [&json!(id), &json!("reboot")]);
    link.publish(&topic("start-next"), "").await;
    assert_eq!(link.expect("start-next/accepted").await["execution"]["jobId"], json!(id));
    link.publish(&topic(&format!("{id}/update")), r#"{"status":"FAILED"}"#).await;
    link.expect("update/accepted").await;

    link.publish(&topic("start-next"), r#"{"stepTimeoutInMinutes":2,"statusDetails":{"step":"1"}}"#).await;
    let started = link.expect("start-next/accepted").await;
    let execution = &started["execution"];
    assert_eq!((&execution["jobId"], &execution["thingName"]), (&json!("reboot"), &json!("gw-1")));
    assert_eq!((&execution["approximateSecondsBeforeTimedOut"], &execution["versionNumber"]), (&json!(120), &json!(2)));
    let bad = r#"{"status":"IN_PROGRESS","stepTimeoutInMinutes":0}"#;
    link.publish(&topic("reboot/update"), bad).await;
    assert_eq!(link.expect("update/rejected").await["code"], "InvalidRequest");
    link.publish(&topic("reboot/update"), r#"{"status":"FAILED","expectedVersion":7}"#).await;
    let rejected = link.expect("update/rejected").await;
    let state = json!({"status":"IN_PROGRESS","statusDetails":{"step":"1"},"versionNumber":2});
    assert_eq!((&rejected["code"], &rejected["executionState"]), (&json!("VersionMismatch"), &state));
    link.publish(&topic("reboot/get"), r#"{"executionNumber":2}"#).await;
    assert_eq!(link.expect("get/rejected").await["code"], "ResourceNotFound");
    house.clock.advance(Duration::from_secs(120));
    jobs_tick(&house.app).await.expect("a turn");
    link.publish(&topic("reboot/get"), "").await;
    assert_eq!(link.expect("get/rejected").await["code"], "TerminalStateReached");
}
