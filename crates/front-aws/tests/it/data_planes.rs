//! Messages and executions of jobs, as the data planes have them.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use fleetward_app::journal::{JournalFilter, events};
use fleetward_app::reconcile;
use fleetward_broker::{Beside, Properties};
use fleetward_core::journal::Action;
use serde_json::{Value, json};

use crate::house::{House, tenant};

/// `[{"a": "1"}, {"a": "2"}]`, as botocore sends it.
const TWICE: &str = "W3siYSI6ICIxIn0sIHsiYSI6ICIyIn1d";

#[tokio::test]
async fn a_message_goes_out_with_all_that_stands_beside_it() {
    let house = House::open().await;
    let target =
        "/topics/site%2Fberlin%2Fmode?qos=1&retain=true&contentType=text%2Fplain&responseTopic=a%2Fb&messageExpiry=60";
    let headers = [
        ("x-amz-mqtt5-correlation-data", "aGk="),
        ("x-amz-mqtt5-payload-format-indicator", "UTF8_DATA"),
        ("x-amz-mqtt5-user-properties", TWICE),
    ];
    let answer = house.ask(&house.owner, "iotdata", ("POST", target), &headers, "night").await;
    assert_eq!((answer.status, &answer.json["message"]), (200, &json!("OK")), "{answer:?}");
    let (of, message) = house.links.published.lock().pop().expect("published");
    assert_eq!(
        (of, message.topic.as_str(), &message.payload[..]),
        (tenant("acme"), "site/berlin/mode", b"night".as_slice())
    );
    assert_eq!((message.qos, message.retain, message.expiry.map(|span| span.as_secs())), (1, true, Some(60)));
    let pair = |value: &str| ("a".to_owned(), value.to_owned());
    let beside = Beside {
        utf8: true,
        content_type: Some("text/plain".to_owned()),
        response_topic: Some("a/b".to_owned()),
        correlation: Some("hi".into()),
        user: vec![pair("1"), pair("2")],
    };
    assert_eq!(message.properties, Properties::of(&beside).expect("short"));

    // botocore makes JSON of a text, too.
    let text = BASE64_STANDARD.encode(json!(r#"[{"a": "3"}]"#).to_string());
    let headers = [("x-amz-mqtt5-user-properties", text.as_str())];
    assert_eq!(house.ask(&house.owner, "iotdata", ("POST", "/topics/a"), &headers, "x").await.status, 200);
    let (_, message) = house.links.published.lock().pop().expect("published");
    let beside = Beside { user: vec![pair("3")], ..Beside::default() };
    assert_eq!(message.properties, Properties::of(&beside).expect("short"));

    let found =
        house.ask(&house.owner, "iotdata", ("GET", "/retainedMessage/site%2Fberlin%2Fmode"), &[], "").await.json;
    assert_eq!((&found["payload"], &found["qos"]), (&json!(BASE64_STANDARD.encode("night")), &json!(1)));
    assert_eq!(found["userProperties"], json!(BASE64_STANDARD.encode(r#"[{"a":"b"}]"#)));
    let system = house.app.system("test");
    let told = events(&house.app, &system, &tenant("acme"), JournalFilter::default(), None, 2).await.expect("events");
    let entry = &told[1].entry;
    assert_eq!((entry.action, entry.subject.as_deref()), (Action::MessagePublished, Some("site/berlin/mode")));
    assert_eq!((entry.actor.name.as_str(), entry.detail.to_string().contains("night")), ("test", false));
}

#[tokio::test]
async fn what_is_no_message_is_refused_and_goes_nowhere() {
    let house = House::open().await;
    let ask = async |target: &str, headers: &[(&str, &str)], body: &str| {
        house.ask(&house.owner, "iotdata", ("POST", target), headers, body).await
    };
    for target in [
        "/topics/$aws%2Fthings%2Fgw-1%2Fshadow%2Fupdate",
        "/topics/a%2F%23",
        "/topics/a?qos=2",
        "/topics/a?messageExpiry=0",
        "/topics/a?responseTopic=%2B",
        "/topics/a?retain=x",
    ] {
        let refused = ask(target, &[], "x").await;
        assert_eq!((refused.status, refused.kind.as_str()), (400, "InvalidRequestException"), "{target}");
    }
    for header in [
        ("x-amz-mqtt5-user-properties", "e30="),
        ("x-amz-mqtt5-correlation-data", "!"),
        ("x-amz-mqtt5-payload-format-indicator", "UTF-8"),
    ] {
        assert_eq!(ask("/topics/a", &[header], "x").await.kind, "InvalidRequestException", "{header:?}");
    }
    assert_eq!(ask("/topics/a", &[], &"x".repeat(128 * 1024 + 1)).await.status, 400);
    assert!(house.links.published.lock().is_empty());
    let denied = house.ask(&house.viewer, "iotdata", ("POST", "/topics/a"), &[], "x").await;
    assert_eq!((denied.status, denied.kind.as_str()), (403, "ForbiddenException"));
}

#[tokio::test]
async fn what_is_retained_is_listed_page_by_page_and_cleared() {
    let house = House::open().await;
    for topic in ["a", "b", "c"] {
        let target = format!("/topics/{topic}?retain=true");
        assert_eq!(house.ask(&house.owner, "iotdata", ("POST", &target), &[], "x").await.status, 200);
    }
    let (mut topics, mut target) = (Vec::new(), "/retainedMessage?maxResults=2".to_owned());
    loop {
        let page = house.ask(&house.viewer, "iotdata", ("GET", &target), &[], "").await.json;
        topics.extend(page["retainedTopics"].as_array().expect("topics").iter().map(|it| it["topic"].clone()));
        let Some(token) = page["nextToken"].as_str() else { break };
        target = format!("/retainedMessage?maxResults=2&nextToken={token}");
    }
    assert_eq!(topics, ["a", "b", "c"]);
    assert_eq!(house.ask(&house.owner, "iotdata", ("POST", "/topics/b?retain=true"), &[], "").await.status, 200);
    let gone = house.ask(&house.owner, "iotdata", ("GET", "/retainedMessage/b"), &[], "").await;
    assert_eq!((gone.status, gone.kind.as_str()), (404, "ResourceNotFoundException"));
    let theirs = house.ask(&house.beta, "iotdata", ("GET", "/retainedMessage"), &[], "").await;
    assert_eq!(theirs.json["retainedTopics"], json!([]));
}

#[tokio::test]
async fn an_operator_works_in_a_things_place() {
    let house = House::open().await;
    house.does("POST", "/things/gw-1", json!({})).await;
    let arn = house.does("GET", "/things/gw-1", Value::Null).await["thingArn"].clone();
    for job in ["first", "second"] {
        house.does("PUT", &format!("/jobs/{job}"), json!({ "targets": [arn], "document": r#"{"do":"it"}"# })).await;
        reconcile::jobs::tick(&house.app).await.expect("a turn");
        house.clock.advance(std::time::Duration::from_secs(1));
    }
    let ask = async |method, target: &str, body: Value| {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        house.ask(&house.owner, "iot-jobs-data", (method, target), &[], &body).await
    };
    let pending = ask("GET", "/things/gw-1/jobs", Value::Null).await.json;
    let names: Vec<_> =
        pending["queuedJobs"].as_array().expect("jobs").iter().filter_map(|one| one["jobId"].as_str()).collect();
    assert_eq!((names, &pending["inProgressJobs"]), (vec!["first", "second"], &json!([])));
    let next = ask("GET", "/things/gw-1/jobs/%24next?includeJobDocument=true", Value::Null).await.json;
    assert_eq!((&next["execution"]["jobId"], &next["execution"]["status"]), (&json!("first"), &json!("QUEUED")));
    assert_eq!(next["execution"]["jobDocument"], r#"{"do":"it"}"#);
    let begun = ask("PUT", "/things/gw-1/jobs/$next", json!({ "statusDetails": { "by": "hand" } })).await.json;
    let execution = &begun["execution"];
    assert_eq!((&execution["status"], &execution["statusDetails"]), (&json!("IN_PROGRESS"), &json!({ "by": "hand" })));
    let again = ask("PUT", "/things/gw-1/jobs/$next", json!({})).await.json;
    assert_eq!(again["execution"]["jobId"], "first", "it is begun already");
    let stale = ask("POST", "/things/gw-1/jobs/first", json!({ "status": "SUCCEEDED", "expectedVersion": 9 })).await;
    assert_eq!((stale.status, stale.kind.as_str()), (409, "InvalidStateTransitionException"));
    let body = json!({ "status": "SUCCEEDED", "includeJobExecutionState": true, "includeJobDocument": true });
    let done = ask("POST", "/things/gw-1/jobs/first", body).await.json;
    assert_eq!(
        (&done["executionState"]["status"], &done["jobDocument"]),
        (&json!("SUCCEEDED"), &json!(r#"{"do":"it"}"#))
    );
    let ended = ask("GET", "/things/gw-1/jobs/first", Value::Null).await;
    assert_eq!((ended.status, ended.kind.as_str()), (410, "TerminalStateException"));
    for bad in [json!({}), json!({ "status": "QUEUED" }), json!({ "status": "FAILED", "stepTimeoutInMinutes": 0 })] {
        let refused = ask("POST", "/things/gw-1/jobs/second", bad).await;
        assert!((400..410).contains(&refused.status), "{refused:?}");
    }
    assert_eq!(ask("POST", "/things/gw-1/jobs/none", json!({ "status": "FAILED" })).await.status, 404);
    assert_eq!(ask("GET", "/things/none/jobs", Value::Null).await.status, 404);
    let system = house.app.system("test");
    let filter = JournalFilter { device: Some("gw-1".parse().expect("a name")), ..JournalFilter::default() };
    let told = events(&house.app, &system, &tenant("acme"), filter, None, 20).await.expect("events");
    let said = told.iter().find(|event| event.entry.action == Action::JobExecutionSucceeded).expect("an entry");
    assert_eq!(said.entry.actor.name, "test", "the journal says who said so");
}
