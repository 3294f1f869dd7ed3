use serde_json::{Value, json};

use super::*;
use crate::record::Verdict;

fn heard(jobs: &mut Jobs, topic: &str, body: Value) -> Heard {
    jobs.hear(&Message::new(format!("$aws/things/gw-1/jobs/{topic}"), body.to_string().into_bytes()))
}

/// Topic below `jobs/`, and body, of the one message.
fn sent(messages: &[Message]) -> (String, Value) {
    let [message] = messages else { panic!("{messages:?}") };
    let body = serde_json::from_slice(&message.payload).unwrap();
    (message.topic.strip_prefix("$aws/things/gw-1/jobs/").unwrap().to_owned(), body)
}

fn execution(job: &str, version: u64, document: Value) -> Value {
    json!({"jobId": job, "thingName": "gw-1", "status": "IN_PROGRESS", "queuedAt": 1, "lastUpdatedAt": 1,
        "versionNumber": version, "executionNumber": 1, "jobDocument": document})
}

fn document() -> Value {
    json!({"operation": "update", "rollout": "r", "release": {"name": "os", "version": "2.0"},
        "manifest": "e30=", "signature": "AAAA", "key_id": "00".repeat(16),
        "artifact": {"sha256": "ab".repeat(32), "size": 5, "url": "https://h/artifacts/x"}})
}

fn report(job: &str, verdict: Option<Verdict>, step: &str) -> Report {
    Report { job: job.into(), verdict, step: step.into(), reason: None, version: "1.0".into() }
}

/// A conversation in which job `j` came with version 3.
fn with_job() -> Jobs {
    let mut jobs = Jobs::new("gw-1");
    let (topic, body) = sent(&jobs.ask_next());
    assert_eq!(topic, "start-next");
    let token = &body["clientToken"];
    let body = json!({"execution": execution("j", 3, document()), "timestamp": 1, "clientToken": token});
    let came = heard(&mut jobs, "start-next/accepted", body);
    let [Event::Offered(offer)] = came.events.as_slice() else { panic!("{came:?}") };
    assert_eq!(offer.job, "j");
    let content = offer.content.as_ref().unwrap();
    assert_eq!((content.version.as_str(), content.artifact.as_ref().unwrap().size), ("2.0", 5));
    jobs
}

#[test]
fn each_step_is_told_with_the_version_that_the_server_has() {
    let mut jobs = with_job();
    let (topic, body) = sent(&jobs.say(report("j", None, "downloading")));
    assert_eq!(
        (topic.as_str(), &body["expectedVersion"], &body["status"]),
        ("j/update", &json!(3), &json!("IN_PROGRESS"))
    );
    assert_eq!(body["statusDetails"], json!({"step": "downloading", "firmware": "1.0"}));
    assert_eq!(jobs.say(report("j", Some(Verdict::Succeeded), "committed")), [], "one at a time");
    let state = json!({"status": "IN_PROGRESS", "versionNumber": 4});
    let answer = json!({"executionState": state, "timestamp": 1, "clientToken": body["clientToken"]});
    let next = heard(&mut jobs, "j/update/accepted", answer);
    let (_, body) = sent(&next.send);
    assert_eq!((&body["expectedVersion"], &body["status"]), (&json!(4), &json!("SUCCEEDED")));
    let answer = json!({"timestamp": 1, "clientToken": body["clientToken"]});
    let end = heard(&mut jobs, "j/update/accepted", answer);
    assert_eq!(end.events, [Event::Acknowledged { job: "j".into() }]);
}

#[test]
fn after_a_restart_the_version_is_asked_for_first() {
    let mut jobs = Jobs::new("gw-1");
    let (topic, body) = sent(&jobs.say(report("j", Some(Verdict::Failed), "testing")));
    assert_eq!(topic, "j/get");
    let answer = json!({"execution": execution("j", 9, json!({})), "timestamp": 1, "clientToken": body["clientToken"]});
    let (topic, body) = sent(&heard(&mut jobs, "j/get/accepted", answer).send);
    assert_eq!((topic.as_str(), &body["expectedVersion"]), ("j/update", &json!(9)));
    let rejected =
        json!({"code": "VersionMismatch", "message": "", "timestamp": 1, "clientToken": body["clientToken"]});
    let (topic, _) = sent(&heard(&mut jobs, "j/update/rejected", rejected).send);
    assert_eq!(topic, "j/get", "somebody else told something; look again");
}

#[test]
fn what_the_server_counts_as_over_is_over() {
    for (verdict, code, event) in [
        (Some(Verdict::Failed), "TerminalStateReached", Event::Acknowledged { job: "j".into() }),
        (Some(Verdict::Failed), "ResourceNotFound", Event::Acknowledged { job: "j".into() }),
        (None, "TerminalStateReached", Event::Withdrawn { job: "j".into() }),
        (None, "InvalidStateTransition", Event::Withdrawn { job: "j".into() }),
    ] {
        let mut jobs = with_job();
        let (_, body) = sent(&jobs.say(report("j", verdict, "x")));
        let body = json!({"code": code, "message": "", "timestamp": 1, "clientToken": body["clientToken"]});
        assert_eq!(heard(&mut jobs, "j/update/rejected", body), Heard { events: vec![event], ..Heard::default() });
    }
}

#[test]
fn a_cancelled_job_is_noticed_by_the_change_of_the_head() {
    let mut jobs = with_job();
    let (topic, body) = sent(&heard(&mut jobs, "notify-next", json!({"timestamp": 1})).send);
    assert_eq!(topic, "j/get");
    let mut gone = execution("j", 4, json!({}));
    gone["status"] = json!("CANCELED");
    let answer = json!({"execution": gone, "timestamp": 1, "clientToken": body["clientToken"]});
    let end = heard(&mut jobs, "j/get/accepted", answer);
    assert_eq!(end.events, [Event::Withdrawn { job: "j".into() }]);
    assert_eq!(sent(&end.send).0, "start-next");
}

#[test]
fn news_while_the_next_job_is_asked_for_asks_once_more() {
    let mut jobs = Jobs::new("gw-1");
    let (_, body) = sent(&jobs.ask_next());
    let news = json!({"timestamp": 1, "execution": execution("k", 1, json!({}))});
    assert_eq!(heard(&mut jobs, "notify-next", news), Heard::default());
    let nothing = json!({"timestamp": 1, "clientToken": body["clientToken"]});
    assert_eq!(sent(&heard(&mut jobs, "start-next/accepted", nothing).send).0, "start-next");
}

#[test]
fn answers_to_others_change_nothing() {
    let mut jobs = Jobs::new("gw-1");
    jobs.ask_next();
    let foreign = json!({"execution": execution("j", 3, document()), "timestamp": 1, "clientToken": "somebody"});
    assert_eq!(heard(&mut jobs, "start-next/accepted", foreign), Heard::default());
    for body in [json!([]), json!({"execution": 3})] {
        assert_eq!(heard(&mut jobs, "start-next/accepted", body), Heard::default());
    }
}

#[test]
fn what_stays_unanswered_or_is_refused_for_now_is_asked_again() {
    let mut jobs = Jobs::new("gw-1");
    let (_, body) = sent(&jobs.ask_next());
    let throttled =
        json!({"code": "RequestThrottled", "message": "", "timestamp": 1, "clientToken": body["clientToken"]});
    assert_eq!(heard(&mut jobs, "start-next/rejected", throttled), Heard::default());
    for _ in 1..TICKS_PATIENCE {
        assert_eq!(jobs.tick(), []);
    }
    assert_eq!(sent(&jobs.tick()).0, "start-next");
}

/// Why what was offered cannot be understood.
fn misunderstood(document: Value) -> String {
    match offered(serde_json::from_value(execution("j", 1, document)).unwrap()) {
        Offered::Update(offer) => offer.content.unwrap_err(),
        Offered::Steps(offer) => offer.document.unwrap_err(),
    }
}

#[test]
fn a_document_that_cannot_be_understood_is_offered_as_such() {
    let bad = |change: fn(&mut Value)| {
        let mut bad = document();
        change(&mut bad);
        bad
    };
    for (document, why) in [
        (json!("text"), "no list of steps"),
        (json!({"version": "3"}), "version 3"),
        (Value::Null, "has no document"),
        (bad(|it| it["manifest"] = json!("*")), "not base64"),
        (bad(|it| it["key_id"] = json!("zz")), "key id"),
        (bad(|it| it["artifact"]["sha256"] = json!("zz")), "SHA-256"),
        (bad(|it| it["release"] = json!(1)), "cannot be read"),
    ] {
        let text = misunderstood(document);
        assert!(text.contains(why), "{text}");
    }
}

#[test]
fn a_job_of_steps_is_told_by_its_try() {
    let mut jobs = Jobs::new("gw-1");
    let (_, body) = sent(&jobs.ask_next());
    let steps = json!({"version": "1.0", "steps": [{"action": {"name": "n", "type": "runHandler", "input": {"handler": "h"}}}]});
    let mut second = execution("j", 4, steps);
    second["executionNumber"] = json!(2);
    let answer = json!({"execution": second, "timestamp": 1, "clientToken": body["clientToken"]});
    let came = heard(&mut jobs, "start-next/accepted", answer);
    let [tasks::Event::Offered(offer)] = came.steps.as_slice() else { panic!("{came:?}") };
    assert_eq!((offer.key.number, offer.key.queued_at, offer.document.is_ok()), (2, 1, true));
    let which = Which { job: "j".into(), number: Some(2) };
    let details = BTreeMap::from([("step".to_owned(), "1/1 n".to_owned())]);
    let mut word = Word { which: which.clone(), verdict: None, details, step_timeout_minutes: Some(6) };
    let (_, body) = sent(&jobs.say(word.clone()));
    assert_eq!(
        (&body["executionNumber"], &body["expectedVersion"], &body["stepTimeoutInMinutes"]),
        (&json!(2), &json!(4), &json!(6))
    );
    let state = json!({"status": "IN_PROGRESS", "versionNumber": 5});
    let answer = json!({"executionState": state, "timestamp": 1, "clientToken": body["clientToken"]});
    assert_eq!(heard(&mut jobs, "j/update/accepted", answer), Heard::default());
    // The server has timed it out, and queued the next try.
    let mut third = second.clone();
    (third["executionNumber"], third["status"]) = (json!(3), json!("QUEUED"));
    let asks = heard(&mut jobs, "notify-next", json!({"timestamp": 1, "execution": third}));
    let (topic, body) = sent(&asks.send);
    assert_eq!((topic.as_str(), &body["executionNumber"]), ("j/get", &json!(2)));
    word.verdict = Some(Verdict::Succeeded);
    assert_eq!(jobs.say(word), [], "one at a time");
    let over =
        json!({"code": "TerminalStateReached", "message": "", "timestamp": 1, "clientToken": body["clientToken"]});
    let heard = heard(&mut jobs, "j/get/rejected", over);
    assert_eq!(heard.steps, [tasks::Event::Acknowledged(which)]);
    assert_eq!(sent(&heard.send).0, "start-next");
}

#[test]
fn of_many_steps_the_oldest_is_dropped_and_never_an_end() {
    let mut jobs = with_job();
    jobs.say(report("j", None, "first"));
    jobs.say(report("i", Some(Verdict::Failed), "end"));
    for n in 0..WORDS_WAITING * 2 {
        jobs.say(report("j", None, &n.to_string()));
    }
    assert_eq!(jobs.words.len(), WORDS_WAITING);
    assert!(jobs.words.iter().any(|word| word.details["step"] == "end"));
    assert_eq!(jobs.words[0].details["step"], "first", "the one under way stays");
}
