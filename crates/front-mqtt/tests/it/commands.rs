//! Commands on the topics that AWS has for them.

use std::time::Duration;

use fleetward_app::commands::{NewCommand, command, send_command};
use fleetward_base::CommandId;
use fleetward_core::command::{Reason, Status};
use fleetward_core::selector::Selector;
use fleetward_sim::mqtt::{Options, Publish, Version};
use serde_json::json;

use crate::house::{Device, House, tenant};

const THINGS: &str = "$aws/commands/things/gw-1/executions";
const CLIENTS: &str = "$aws/commands/clients/gw-1/executions";

async fn prepared() -> (House, Device) {
    let house = House::new().await;
    let gw = house.enroll("acme", "gw-1", "rev-a").await;
    (house, gw)
}

fn id(text: &str) -> CommandId {
    text.parse().expect("a command id")
}

async fn send(house: &House, name: &str, content_type: &str, payload: &[u8]) {
    let new = NewCommand {
        id: Some(id(name)),
        op: "restart".to_owned(),
        payload: payload.to_vec(),
        content_type: Some(content_type.to_owned()),
        life: Some(Duration::from_secs(300)),
        ..NewCommand::default()
    };
    let to = Selector { devices: ["gw-1".parse().expect("a name")].into(), ..Selector::default() };
    send_command(&house.app, &house.admin, &tenant("acme"), to, new).await.expect("sent");
}

async fn stands(house: &House, name: &str) -> (Status, Option<Reason>, Option<String>) {
    let gw = "gw-1".parse().expect("a name");
    let found = command(&house.app, &house.admin, &tenant("acme"), &gw, &id(name)).await.expect("there").command;
    (found.status, found.reason, found.result)
}

/// The properties of a PUBLISH that a client of AWS looks at, and ours.
#[derive(Debug, Default, PartialEq)]
struct Beside {
    content_type: Option<String>,
    expiry_secs: Option<u32>,
    user: Vec<(String, String)>,
}

fn beside(message: &Publish) -> Beside {
    let (mut rest, mut found) = (&message.properties[..], Beside::default());
    let text = |rest: &mut &[u8]| {
        let (len, after) = rest.split_first_chunk::<2>().expect("a length");
        let (text, after) = after.split_at(usize::from(u16::from_be_bytes(*len)));
        *rest = after;
        String::from_utf8(text.to_vec()).expect("UTF-8")
    };
    while let Some((id, after)) = rest.split_first() {
        rest = after;
        match id {
            0x03 => found.content_type = Some(text(&mut rest)),
            0x26 => found.user.push((text(&mut rest), text(&mut rest))),
            0x02 => {
                let (secs, after) = rest.split_first_chunk::<4>().expect("four bytes");
                found.expiry_secs = Some(u32::from_be_bytes(*secs));
                rest = after;
            }
            other => panic!("property {other}"),
        }
    }
    found
}

#[tokio::test]
async fn a_device_hears_what_waits_and_answers() {
    let (house, gw) = prepared().await;
    send(&house, "c1", "application/json", br#"{"delay":5}"#).await;
    send(&house, "c2", "application/json", b"{}").await;
    let mut link = house.connect(&gw, Version::V5).await;
    house.clock.advance(Duration::from_secs(10));
    link.subscribe(&[&format!("{THINGS}/+/request/json")]).await;
    let message = link.next_whole().await;
    assert_eq!(
        (message.topic.as_str(), &message.payload[..]),
        (&*format!("{THINGS}/c1/request/json"), br#"{"delay":5}"#.as_slice())
    );
    let now = house.app.now().millis();
    let user = [
        ("op", "restart".to_owned()),
        ("lane", "default".to_owned()),
        ("attempt", "1".to_owned()),
        ("now", now.to_string()),
        ("expires-at", (now + 290_000).to_string()),
        ("run-timeout", "3600".to_owned()),
    ];
    let user = user.map(|(name, value)| (name.to_owned(), value)).to_vec();
    let expected = Beside { content_type: Some("application/json".into()), expiry_secs: Some(290), user };
    assert_eq!(beside(&message), expected);
    link.expect_nothing().await;

    link.publish(&format!("{THINGS}/c1/response/json"), r#"{"status":"IN_PROGRESS"}"#).await;
    assert_eq!(link.expect("c1/response/accepted/json").await, json!({"executionId":"c1"}));
    let end = r#"{"status":"FAILED","statusReason":{"reasonCode":"NO_DISK","reasonDescription":"full"},"result":{"free":{"s":"0"}}}"#;
    link.publish(&format!("{THINGS}/c1/response/json"), end).await;
    let mut ends: Vec<String> = Vec::new();
    for _ in 0..2 {
        ends.push(link.next().await.0.rsplit("executions/").next().unwrap_or_default().to_owned());
    }
    ends.sort();
    assert_eq!(ends, ["c1/response/accepted/json", "c2/request/json"], "its end lets the next one go");
    let reason = Reason { code: "NO_DISK".into(), text: Some("full".into()) };
    assert_eq!(stands(&house, "c1").await, (Status::Failed, Some(reason), Some(r#"{"free":{"s":"0"}}"#.into())));
    link.publish(&format!("{THINGS}/c1/response/json"), end).await;
    link.expect("c1/response/accepted/json").await;
}

#[tokio::test]
async fn formats_and_both_names_of_a_device() {
    let (house, gw) = prepared().await;
    let mut link = house.connect(&gw, Version::V311).await;
    link.subscribe(&[&format!("{CLIENTS}/+/request"), &format!("{CLIENTS}/+/request/cbor")]).await;
    send(&house, "c1", "application/octet-stream", &[0, 159, 146]).await;
    assert_eq!(link.next_bytes().await, (format!("{CLIENTS}/c1/request"), vec![0, 159, 146]), "bytes stay bytes");
    // {"status": "SUCCEEDED"}; answers may come in another format than requests.
    let cbor = b"\xa1\x66status\x69SUCCEEDED";
    link.publish_bytes(&format!("{CLIENTS}/c1/response/cbor"), cbor).await;
    let (topic, body) = link.next_bytes().await;
    assert_eq!(topic, format!("{CLIENTS}/c1/response/accepted/cbor"));
    assert_eq!(body, b"\xa1\x6bexecutionId\x62c1");
    send(&house, "c2", "application/cbor", b"\xa0").await;
    assert_eq!(link.next_bytes().await.0, format!("{CLIENTS}/c2/request/cbor"));
    link.publish(&format!("{CLIENTS}/c2/response/json"), r#"{"status":"SUCCEEDED"}"#).await;
    link.expect("accepted/json").await;
    send(&house, "c3", "application/json", b"{}").await;
    assert_eq!(link.next().await.0, format!("{CLIENTS}/c3/request"), "where it listens");
}

#[tokio::test]
async fn bad_answers_are_rejected_with_their_code() {
    let (house, gw) = prepared().await;
    let mut link = house.connect(&gw, Version::V5).await;
    send(&house, "waits", "application/json", b"{}").await;
    let long = format!(r#"{{"status":"FAILED","result":{{"a":{{"s":"{}"}}}}}}"#, "x".repeat(20_000));
    for (execution, payload, code) in [
        ("waits", "{", "InvalidJson"),
        ("waits", "{}", "InvalidRequest"),
        ("waits", r#"{"status":"CREATED"}"#, "InvalidRequest"),
        ("waits", r#"{"status":"FAILED","statusReason":{"reasonCode":"a b"}}"#, "InvalidRequest"),
        ("waits", &long, "InvalidRequest"),
        ("waits", r#"{"status":"SUCCEEDED"}"#, "InvalidStateTransition"),
        ("unknown", r#"{"status":"SUCCEEDED"}"#, "ResourceNotFound"),
    ] {
        link.publish(&format!("{THINGS}/{execution}/response/json"), payload).await;
        let (topic, body) = link.next().await;
        assert_eq!(topic, format!("{THINGS}/{execution}/response/rejected/json"));
        assert_eq!((&body["error"], &body["executionId"]), (&json!(code), &json!(execution)), "{payload}");
        assert!(body["errorMessage"].as_str().is_some_and(|text| !text.is_empty()));
    }
    link.subscribe(&[&format!("{THINGS}/+/request/#")]).await;
    link.expect("waits/request/json").await;
    let status = |status: &str| json!({ "status": status }).to_string();
    link.publish(&format!("{THINGS}/waits/response/json"), &status("REJECTED")).await;
    link.expect("accepted/json").await;
    link.publish(&format!("{THINGS}/waits/response/json"), &status("SUCCEEDED")).await;
    assert_eq!(link.expect("rejected/json").await["error"], "TerminalStateReached");
    for topic in
        [format!("{THINGS}/waits/response"), format!("{THINGS}/waits/request/json"), "$aws/commands/x".to_owned()]
    {
        assert_eq!(link.publish(&topic, "{}").await, 0x87, "{topic}");
    }
}

/// The rows say what a device has to do, not what the broker kept for it: nothing comes twice and nothing is forgotten.
#[tokio::test]
async fn a_session_that_was_kept_is_told_at_once() {
    let (house, gw) = prepared().await;
    let options = Options { version: Version::V5, clean: false, session_expiry_secs: 3600, ..Options::default() };
    let mut link = house.connect_as(Some(&gw), "gw-1", &options).await;
    link.subscribe(&[&format!("{THINGS}/+/request/json")]).await;
    send(&house, "c1", "application/json", b"{}").await;
    link.expect("c1/request/json").await;
    send(&house, "c2", "application/json", b"{}").await;
    house.clock.advance(Duration::from_secs(5));
    let mut back = house.connect_as(Some(&gw), "gw-1", &options).await;
    let again = back.next_whole().await;
    let attempt = ("attempt".to_owned(), "2".to_owned());
    assert!(again.topic.ends_with("c1/request/json") && beside(&again).user.contains(&attempt), "{again:?}");
    back.publish(&format!("{THINGS}/c1/response/json"), r#"{"status":"SUCCEEDED"}"#).await;
    let mut ends = [back.next().await.0, back.next().await.0];
    ends.sort();
    assert!(ends[0].ends_with("c1/response/accepted/json") && ends[1].ends_with("c2/request/json"), "{ends:?}");
    back.expect_nothing().await;
}

/// A device that listens to another format keeps its command waiting, and gets it once it listens to all.
#[tokio::test]
async fn a_payload_of_another_format_waits() {
    let (house, gw) = prepared().await;
    let mut link = house.connect(&gw, Version::V5).await;
    link.subscribe(&[&format!("{THINGS}/+/request/cbor")]).await;
    send(&house, "c1", "application/json", b"{}").await;
    link.expect_nothing().await;
    let (status, reason, _) = stands(&house, "c1").await;
    assert_eq!((status, reason.map(|reason| reason.code)), (Status::Queued, Some("NOT_HEARD".to_owned())));
    link.subscribe(&[&format!("{THINGS}/+/request")]).await;
    let (topic, _) = link.next().await;
    assert_eq!(topic, format!("{THINGS}/c1/request"), "without a format all are heard");
    assert_eq!(stands(&house, "c1").await, (Status::Sent, None, None));
}

#[tokio::test]
async fn one_device_cannot_answer_for_another() {
    let (house, gw) = prepared().await;
    let neighbour = house.enroll("acme", "gw-2", "rev-a").await;
    let abroad = house.enroll("zenith", "gw-1", "rev-a").await;
    let mut link = house.connect(&gw, Version::V5).await;
    link.subscribe(&[&format!("{THINGS}/+/request/json")]).await;
    let mut neighbour = house.connect(&neighbour, Version::V5).await;
    let mut abroad = house.connect(&abroad, Version::V5).await;
    abroad.subscribe(&[&format!("{THINGS}/+/request/json")]).await;
    assert_eq!(neighbour.try_subscribe(&[&format!("{THINGS}/+/request/json")]).await, [0x87]);
    send(&house, "c1", "application/json", b"{}").await;
    link.expect("c1/request/json").await;
    abroad.expect_nothing().await;
    let done = r#"{"status":"SUCCEEDED"}"#;
    assert_eq!(neighbour.publish(&format!("{THINGS}/c1/response/json"), done).await, 0x87);
    neighbour.publish("$aws/commands/things/gw-2/executions/c1/response/json", done).await;
    assert_eq!(neighbour.expect("rejected/json").await["error"], "ResourceNotFound");
    abroad.publish(&format!("{THINGS}/c1/response/json"), done).await;
    assert_eq!(abroad.expect("rejected/json").await["error"], "ResourceNotFound");
    assert_eq!(stands(&house, "c1").await.0, Status::Sent, "untouched");
}
