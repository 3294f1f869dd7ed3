//! Jobs over the operators' API, and over HTTPS as a device with its certificate sees them.

use fleetward_app::reconcile::jobs::tick;
use reqwest::Method;
use rustls_pki_types::CertificateDer;
use serde_json::{Value, json};

use crate::device_door::Device;
use crate::house::{Answer, House, answer};

const JOBS: &str = "/v1/tenants/acme/jobs";
const MINE: &str = "/things/gw-1/jobs";

fn job(id: &str) -> Value {
    json!({ "id": id, "document": { "operation": "reboot" }, "targets": [{ "devices": ["gw-1"] }] })
}

/// A job that reached its device.
async fn prepared(id: &str) -> (House, Device) {
    let house = House::open().await;
    let device = Device::enrolled(&house, "acme", "gw-1").await;
    let made = house.post(JOBS, &house.acme, &job(id)).await;
    assert_eq!((made.status.as_u16(), made.json.get("status")), (201, Some(&json!("scheduled"))), "{:?}", made.json);
    tick(&house.app).await.expect("a turn");
    (house, device)
}

async fn delete(house: &House, path: &str) -> Answer {
    answer(house.request(Method::DELETE, path, &house.acme).header("if-match", "*")).await
}

#[tokio::test]
async fn an_operator_follows_a_job() {
    let (house, device) = prepared("reboot").await;
    let path = format!("{JOBS}/reboot");
    let twice = house.post(JOBS, &house.acme, &job("reboot")).await;
    assert_eq!(twice.refusal().1, "job-exists");
    let shown = house.get(&path, &house.acme).await.json;
    assert_eq!((&shown["status"], &shown["counts"]["queued"]), (&json!("in_progress"), &json!(1)));
    let document = house.get(&format!("{path}/document"), &house.acme).await.json;
    assert_eq!(document, json!({ "operation": "reboot" }));
    let listed = house.get(&format!("{JOBS}?status=in_progress"), &house.acme).await.json;
    assert_eq!((&listed["items"][0]["id"], &listed["items"][0]["selection"]), (&json!("reboot"), &json!("snapshot")));

    let patch = house.request(Method::PATCH, &path, &house.acme).header("if-match", "*");
    let patched = answer(patch.json(&json!({ "rate": { "maximum_per_minute": 5 }, "timeout_minutes": 3 }))).await;
    assert_eq!((&patched.json["rate_per_minute"], &patched.json["policy"]["timeout_minutes"]), (&json!(5), &json!(3)));
    let bad = house.request(Method::PATCH, &path, &house.acme).header("if-match", "*");
    let bad = answer(bad.json(&json!({ "timeout_minutes": 0 }))).await;
    assert_eq!((bad.status.as_u16(), &bad.json["field"]), (422, &json!("policy.timeout_minutes")));

    device.ask("PUT", &format!("{MINE}/$next"), "{}").await;
    let executions = house.get(&format!("{path}/executions?status=in_progress"), &house.acme).await.json;
    assert_eq!((&executions["items"][0]["device"], &executions["items"][0]["version"]), (&json!("gw-1"), &json!(2)));
    let of_device = house.get("/v1/tenants/acme/devices/gw-1/jobs", &house.acme).await.json;
    assert_eq!(of_device["items"], executions["items"]);
    let one = house.get(&format!("{path}/executions/gw-1?number=1"), &house.acme).await.json;
    assert_eq!(one, executions["items"][0]);

    let cancel = format!("{path}/executions/gw-1/cancel");
    let unforced = house.post(&cancel, &house.acme, &json!({})).await;
    assert_eq!(unforced.refusal().1, "execution-state");
    let forced = house.post(&cancel, &house.acme, &json!({ "force": true })).await;
    assert_eq!(forced.json["status"], "canceled");
    assert_eq!(delete(&house, &format!("{path}/executions/gw-1")).await.status, 204);
    let canceled = house.post(&format!("{path}/cancel"), &house.acme, &json!({ "comment": "enough" })).await;
    assert_eq!((&canceled.json["status"], &canceled.json["comment"]), (&json!("canceled"), &json!("enough")));
    assert_eq!(delete(&house, &format!("{path}?force=true")).await.status, 204);
    tick(&house.app).await.expect("a turn");
    assert_eq!(house.get(&path, &house.acme).await.status, 404);
}

#[tokio::test]
async fn jobs_that_cannot_be_are_refused_with_their_field() {
    let house = House::open().await;
    Device::enrolled(&house, "acme", "gw-1").await;
    let with = |key: &str, value: Value| {
        let mut body = job("x");
        body[key] = value;
        body
    };
    for (body, field) in [
        (with("id", json!("$next")), "id"),
        (with("document", json!("reboot")), "document"),
        (with("targets", json!([])), "targets"),
        (with("targets", json!([{ "devices": ["gw-9"] }])), "targets"),
        (with("targets", json!([{ "device": "gw-1" }])), "targets[0].device"),
        (with("selection", json!("always")), "selection"),
        (with("policy", json!({ "retry": [{ "failure": "rejected", "retries": 1 }] })), "policy.retry"),
        (with("policy", json!({ "schedule": { "windows": [{ "start": "cron(x)", "duration_minutes": 5 }] } })), ""),
    ] {
        let refused = house.post(JOBS, &house.acme, &body).await;
        assert_eq!(refused.status, 422, "{body}");
        if !field.is_empty() {
            assert_eq!(refused.json["field"], field, "{body}");
        }
    }
}

#[tokio::test]
async fn a_device_works_over_https() {
    let (_house, device) = prepared("reboot").await;
    let (status, headers, pending) = device.ask("GET", MINE, "").await;
    assert_eq!((status, &pending["queuedJobs"][0]["jobId"]), (200, &json!("reboot")));
    assert_eq!(
        (&headers["content-type"], &pending["inProgressJobs"]),
        (&"application/json".parse().expect("a value"), &json!([]))
    );
    let (_, _, next) = device.ask("GET", &format!("{MINE}/$next?includeJobDocument=false"), "").await;
    assert_eq!((&next["execution"]["status"], next["execution"].get("jobDocument")), (&json!("QUEUED"), None));
    let body = r#"{"statusDetails":{"step":"1"},"stepTimeoutInMinutes":5}"#;
    let (_, _, started) = device.ask("PUT", &format!("{MINE}/%24next"), body).await;
    let execution = &started["execution"];
    assert_eq!((&execution["thingName"], &execution["versionNumber"]), (&json!("gw-1"), &json!(2)));
    assert_eq!(execution["jobDocument"], json!(r#"{"operation":"reboot"}"#), "a text, as AWS has it here");
    assert_eq!(execution["approximateSecondsBeforeTimedOut"], 300);
    let body =
        r#"{"status":"SUCCEEDED","expectedVersion":2,"includeJobExecutionState":true,"includeJobDocument":true}"#;
    let (status, _, done) = device.ask("POST", &format!("{MINE}/reboot"), body).await;
    assert_eq!((status, &done["executionState"]["versionNumber"]), (200, &json!(3)));
    assert_eq!(done["jobDocument"], json!(r#"{"operation":"reboot"}"#));
    assert_eq!(device.ask("PUT", &format!("{MINE}/$next"), "").await.2, json!({}));
}

#[tokio::test]
async fn refusals_have_the_names_that_clients_know() {
    let (_house, device) = prepared("reboot").await;
    let reboot = format!("{MINE}/reboot");
    let ask = async |method: &str, path: &str, body: &'static str| {
        let (status, kind, ..) = device.refusal(method, path, body).await;
        (status, kind)
    };
    let is = |status: u16, kind: &str| (status, kind.to_owned());
    assert_eq!(ask("POST", &reboot, "{").await, is(400, "InvalidRequestException"));
    assert_eq!(ask("POST", &reboot, r#"{"status":"QUEUED"}"#).await, is(400, "InvalidRequestException"));
    assert_eq!(ask("PUT", &reboot, "{}").await, is(400, "InvalidRequestException"));
    assert_eq!(ask("GET", &format!("{reboot}?executionNumber=x"), "").await, is(400, "InvalidRequestException"));
    assert_eq!(ask("GET", &format!("{reboot}?executionNumber=2"), "").await, is(404, "ResourceNotFoundException"));
    assert_eq!(ask("GET", &format!("{MINE}/other"), "").await, is(404, "ResourceNotFoundException"));
    let stale = r#"{"status":"FAILED","expectedVersion":"7"}"#;
    assert_eq!(ask("POST", &reboot, stale).await, is(409, "InvalidStateTransitionException"));
    let (_, _, body) = device.ask("POST", &reboot, stale).await;
    assert_eq!(body["executionState"], json!({ "status": "QUEUED", "statusDetails": {}, "versionNumber": 1 }));
    device.ask("POST", &reboot, r#"{"status":"FAILED"}"#).await;
    assert_eq!(ask("POST", &reboot, r#"{"status":"IN_PROGRESS"}"#).await, is(409, "InvalidStateTransitionException"));
    assert_eq!(ask("GET", &reboot, "").await, is(410, "TerminalStateException"));
}

#[tokio::test]
async fn nobody_and_no_other_device_reaches_a_job() {
    let (house, device) = prepared("reboot").await;
    let neighbour = Device::enrolled(&house, "acme", "gw-2").await;
    let namesake = Device::enrolled(&house, "beta", "gw-1").await;
    let nobody = Device::with(&house, Vec::new());
    let stranger = Device::with(&house, vec![CertificateDer::from(vec![0x30, 0x00])]);
    let (reboot, next) = (format!("{MINE}/reboot"), format!("{MINE}/$next"));
    for (method, path) in [("GET", MINE), ("GET", &reboot), ("PUT", &next), ("POST", &reboot)] {
        let body = r#"{"status":"FAILED"}"#;
        let (status, kind, ..) = neighbour.refusal(method, path, body).await;
        assert_eq!((status, kind.as_str()), (403, "ForbiddenException"), "{method} {path} by a neighbour");
        for door in [&nobody, &stranger] {
            let (status, kind, ..) = door.refusal(method, path, body).await;
            assert_eq!((status, kind.as_str()), (401, "UnauthorizedException"), "{method} {path} by nobody");
        }
    }
    // Another tenant's device of the same name has a queue of its own, and a neighbour none of this job.
    assert_eq!(namesake.ask("GET", MINE, "").await.2["queuedJobs"], json!([]));
    assert_eq!(namesake.ask("POST", &reboot, r#"{"status":"FAILED"}"#).await.0, 404);
    assert_eq!(neighbour.ask("GET", "/things/gw-2/jobs/reboot", "").await.0, 404);
    assert_eq!(device.ask("GET", MINE, "").await.2["queuedJobs"][0]["versionNumber"], 1, "untouched");
}
