use super::*;

fn shadow() -> Shadow {
    Shadow::new("gw-1", "boot-1".into(), Applied::default())
}

fn message(topic: &str, body: Value) -> Message {
    Message::new(format!("$aws/things/gw-1/shadow/{topic}"), body.to_string().into_bytes())
}

fn document(desired: Value, reported: Value, version: u64) -> Message {
    message("get/accepted", json!({"state": {"desired": desired, "reported": reported}, "version": version}))
}

fn changes(heard: Heard) -> Vec<(String, Value)> {
    let Heard::Apply(changes) = heard else { panic!("{heard:?}") };
    changes.into_iter().map(|change| (change.key, change.value)).collect()
}

fn told(messages: &[Message]) -> Value {
    assert_eq!(messages[0].topic, "$aws/things/gw-1/shadow/update");
    let body: Value = serde_json::from_slice(&messages[0].payload).unwrap();
    body["state"]["reported"].clone()
}

/// Applies whatever is asked; keys named `bad...` fail.
fn apply(shadow: &mut Shadow, heard: Heard) -> Vec<Message> {
    let Heard::Apply(changes) = heard else { panic!("{heard:?}") };
    let result = |change: &Change| if change.key.starts_with("bad") { Err("exit status 3".to_owned()) } else { Ok(()) };
    shadow.applied(changes.into_iter().map(|change| (change.clone(), result(&change))).collect());
    shadow.report("1.0")
}

#[test]
fn first_fetch_then_apply_then_report() {
    let mut shadow = shadow();
    assert_eq!(shadow.session_began().unwrap().topic, "$aws/things/gw-1/shadow/get");
    let heard = shadow.hear(&document(json!({"led": "on", "same": 1, "bad": 2}), json!({"same": 1}), 7));
    assert_eq!(
        heard,
        Heard::Apply(vec![
            Change { key: "bad".into(), value: json!(2) },
            Change { key: "led".into(), value: json!("on") },
        ])
    );
    let reported = told(&apply(&mut shadow, heard));
    let expected = json!({"led": "on", "firmware": "1.0", "_errors": {"bad": "exit status 3"},
        "_meta": {"applied_version": 7, "boot_id": "boot-1"}});
    assert_eq!(reported, expected);
    assert_eq!(shadow.state().version, 7);
}

#[test]
fn a_device_without_a_shadow_makes_one() {
    let mut shadow = shadow();
    shadow.session_began();
    let heard = shadow.hear(&message("get/rejected", json!({"code": 404, "message": "No shadow exists"})));
    let reported = told(&apply(&mut shadow, heard));
    assert_eq!(reported, json!({"firmware": "1.0", "_meta": {"applied_version": 0, "boot_id": "boot-1"}}));
}

#[test]
fn a_delta_is_a_signal_and_a_failed_value_is_not_tried_for_each_of_them() {
    let mut shadow = shadow();
    shadow.session_began();
    let heard = shadow.hear(&document(json!({"bad": 2}), json!({}), 1));
    apply(&mut shadow, heard);
    let delta = message("update/delta", json!({"state": {"bad": 2}, "version": 2}));
    assert!(matches!(shadow.hear(&delta), Heard::Send(_)));
    let reported = json!({"firmware": "1.0", "_errors": {"bad": "exit status 3"},
        "_meta": {"applied_version": 1, "boot_id": "boot-1"}});
    let heard = shadow.hear(&document(json!({"bad": 2}), reported.clone(), 2));
    assert_eq!(heard, Heard::Apply(vec![]));
    assert_eq!(apply(&mut shadow, heard), [], "nothing new is to be said: no endless loop");
    shadow.hear(&delta);
    let heard = shadow.hear(&document(json!({"bad": 3}), reported, 3));
    assert_eq!(changes(heard), [("bad".to_owned(), json!(3))], "another value is tried");
}

#[test]
fn an_error_that_is_mended_is_taken_back_by_name() {
    let mut shadow = shadow();
    shadow.session_began();
    let heard = shadow.hear(&document(json!({"bad": 1, "bad2": 1}), json!({}), 1));
    apply(&mut shadow, heard);
    shadow.hear(&message("update/delta", json!({})));
    let both = json!({"bad": "exit status 3", "bad2": "exit status 3"});
    let heard = shadow.hear(&document(json!({"bad": 5, "bad2": 1}), json!({"_errors": both, "firmware": "1.0"}), 2));
    let Heard::Apply(changes) = heard else { panic!() };
    shadow.applied(changes.into_iter().map(|change| (change, Ok(()))).collect());
    let reported = told(&shadow.report("1.0"));
    assert_eq!(reported["_errors"], json!({"bad": null}));
    assert_eq!(reported["bad"], json!(5));
}

#[test]
fn news_during_the_application_is_fetched_afterwards() {
    let mut shadow = shadow();
    shadow.session_began();
    let heard = shadow.hear(&document(json!({"led": 1}), json!({}), 1));
    assert_eq!(shadow.hear(&message("update/delta", json!({}))), Heard::Nothing);
    let messages = apply(&mut shadow, heard);
    assert_eq!(messages.len(), 2);
    assert_eq!(messages[1].topic, "$aws/things/gw-1/shadow/get");
}

#[test]
fn what_the_server_lost_is_reported_again_on_the_next_connection() {
    let mut shadow = shadow();
    shadow.session_began();
    let heard = shadow.hear(&document(json!({"led": 1}), json!({}), 1));
    apply(&mut shadow, heard);
    shadow.session_began();
    let heard = shadow.hear(&document(json!({}), json!({"firmware": "1.0"}), 2));
    assert_eq!(told(&apply(&mut shadow, heard))["led"], json!(1));
}

#[test]
fn an_answer_that_does_not_come_is_asked_for_again() {
    let mut shadow = shadow();
    shadow.session_began();
    let asked: Vec<bool> = (0..6).map(|_| shadow.tick().is_some()).collect();
    assert_eq!(asked, [false, false, false, true, false, false]);
    assert_eq!(shadow.hear(&message("update/delta", json!({}))), Heard::Nothing, "one fetch is under way already");
}

#[test]
fn nonsense_from_the_server_is_taken_for_an_empty_shadow() {
    for body in ["", "[]", "nonsense", r#"{"state":3}"#] {
        let mut shadow = shadow();
        shadow.session_began();
        let topic = "$aws/things/gw-1/shadow/get/accepted".to_owned();
        let heard = shadow.hear(&Message::new(topic, body.into()));
        assert_eq!(heard, Heard::Apply(vec![]), "{body}");
    }
}

#[test]
fn what_was_applied_outlives_a_restart() {
    let disk = crate::disk::sim::SimDisk::new();
    assert_eq!(Applied::load(&disk).unwrap(), Applied::default());
    let mut shadow = shadow();
    shadow.session_began();
    let heard = shadow.hear(&document(json!({"led": [1]}), json!({}), 4));
    apply(&mut shadow, heard);
    shadow.state().save(&disk).unwrap();
    assert_eq!(&Applied::load(&disk).unwrap(), shadow.state());
}

#[test]
fn what_a_wanted_object_no_longer_has_is_taken_out_of_the_reported_one() {
    let mut shadow = shadow();
    shadow.session_began();
    let heard = shadow.hear(&document(json!({"net": {"dns": {"a": 1}, "mtu": 9}}), json!({}), 1));
    apply(&mut shadow, heard);
    shadow.hear(&message("update/delta", json!({})));
    let before = json!({"net": {"dns": {"a": 1}, "mtu": 9}, "firmware": "1.0", "_meta": {"boot_id": "boot-1"}});
    let heard = shadow.hear(&document(json!({"net": {"dns": {"b": 2}, "mtu": 9}}), before, 2));
    assert_eq!(told(&apply(&mut shadow, heard))["net"], json!({"dns": {"a": null, "b": 2}}));
}

#[test]
fn when_no_error_is_left_the_section_goes() {
    let mut shadow = shadow();
    shadow.session_began();
    let heard = shadow.hear(&document(json!({}), json!({"_errors": {"x": "y"}}), 1));
    assert_eq!(told(&apply(&mut shadow, heard))["_errors"], Value::Null);
}

#[test]
fn a_new_session_waits_for_what_the_last_one_began_to_apply() {
    let mut shadow = shadow();
    shadow.session_began();
    let heard = shadow.hear(&document(json!({"led": 1}), json!({}), 1));
    assert_eq!(shadow.session_began(), None);
    assert_eq!(shadow.hear(&document(json!({"led": 1}), json!({}), 1)), Heard::Nothing, "nobody asked for it");
    assert_eq!(apply(&mut shadow, heard)[1].topic, "$aws/things/gw-1/shadow/get");
}

#[test]
fn what_was_taken_away_is_applied_again_whatever_is_reported() {
    let mut shadow = Shadow::new("gw-1", "boot-1".into(), Applied::lost());
    let fetch = |shadow: &mut Shadow| {
        shadow.session_began();
        shadow.hear(&document(json!({"led": "on"}), json!({"led": "on"}), 7))
    };
    let heard = fetch(&mut shadow);
    apply(&mut shadow, heard.clone());
    assert_eq!(changes(heard), [("led".to_owned(), json!("on"))]);
    assert!(!shadow.state().lost);
    assert_eq!(changes(fetch(&mut shadow)), []);
}
