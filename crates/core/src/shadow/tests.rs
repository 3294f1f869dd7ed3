use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::invariants::{shadow_metadata_fits, shadow_version_grew};

fn at(secs: i64) -> Timestamp {
    Timestamp::from_secs(secs)
}

fn request(payload: &str) -> Result<UpdateRequest, Refused> {
    UpdateRequest::parse(payload.as_bytes())
}

/// Plays updates one after the other, a second apart from 1, and shows the state, version and delta that are left; or the
/// first refusal.
fn check(updates: &[&str], expect: &str) {
    let mut current: Option<Document> = None;
    let mut delta = None;
    for (secs, payload) in (1..).zip(updates) {
        match request(payload).and_then(|request| update(current.as_ref(), &request, at(secs))) {
            Ok(applied) => {
                shadow_version_grew(current.as_ref(), &applied.document).expect("versions grow");
                shadow_metadata_fits(&applied.document).expect("metadata fits");
                delta = applied.delta;
                current = Some(applied.document);
            }
            Err(refused) => {
                assert_eq!(format!("{} {refused}", refused.code()), expect, "{updates:?}");
                return;
            }
        }
    }
    let document = current.expect("an update");
    let delta = delta.map_or(String::new(), |delta| format!(" delta {}", Value::Object(delta.state)));
    assert_eq!(format!("v{} {}{delta}", document.version, document.state.to_value()), expect, "{updates:?}");
}

#[test]
fn merging() {
    check(&[r#"{"state":{"desired":{"a":1}}}"#], r#"v1 {"desired":{"a":1}} delta {"a":1}"#);
    check(
        &[r#"{"state":{"desired":{"a":1,"b":{"c":1}}}}"#, r#"{"state":{"desired":{"b":{"d":2}}}}"#],
        r#"v2 {"desired":{"a":1,"b":{"c":1,"d":2}}} delta {"a":1,"b":{"c":1,"d":2}}"#,
    );
    check(
        &[r#"{"state":{"reported":{"a":1,"b":2}}}"#, r#"{"state":{"reported":{"a":null}}}"#],
        r#"v2 {"reported":{"b":2}}"#,
    );
    // The last key takes its section with it; a nested object stays, empty.
    check(&[r#"{"state":{"reported":{"a":1}}}"#, r#"{"state":{"reported":{"a":null}}}"#], "v2 {}");
    check(
        &[r#"{"state":{"reported":{"a":{"b":1}}}}"#, r#"{"state":{"reported":{"a":{"b":null}}}}"#],
        r#"v2 {"reported":{"a":{}}}"#,
    );
    check(&[r#"{"state":{"desired":{"a":1}}}"#, r#"{"state":{"desired":null}}"#], "v2 {}");
    check(&[r#"{"state":{"desired":{"a":1},"reported":{"a":1}}}"#, r#"{"state":null}"#], "v2 {}");
    check(&[r#"{"state":{"desired":{}}}"#], "v1 {}");
    check(&[r#"{"state":{}}"#], "v1 {}");
    check(&[r#"{"state":{"desired":{"d":{}}}}"#], r#"v1 {"desired":{"d":{}}} delta {"d":{}}"#);
    check(&[r#"{"state":{"reported":{"a":5}}}"#, r#"{"state":{"reported":{"a":{}}}}"#], r#"v2 {"reported":{"a":{}}}"#);
    // Arrays are one value.
    check(
        &[r#"{"state":{"reported":{"a":[1,2,3]}}}"#, r#"{"state":{"reported":{"a":[4]}}}"#],
        r#"v2 {"reported":{"a":[4]}}"#,
    );
    // Nulls in what replaces a scalar have nothing to delete.
    check(
        &[r#"{"state":{"reported":{"a":1}}}"#, r#"{"state":{"reported":{"a":{"b":null,"c":2}}}}"#],
        r#"v2 {"reported":{"a":{"c":2}}}"#,
    );
}

#[test]
fn deltas() {
    let both = |desired: &str, reported: &str| format!(r#"{{"state":{{"desired":{desired},"reported":{reported}}}}}"#);
    let expect = |desired: &str, reported: &str, delta: &str| {
        let delta = if delta.is_empty() { String::new() } else { format!(" delta {delta}") };
        check(&[&both(desired, reported)], &format!("v1 {{\"desired\":{desired},\"reported\":{reported}}}{delta}"));
    };
    expect(r#"{"a":1}"#, r#"{"a":1}"#, "");
    expect(r#"{"a":1}"#, r#"{"a":2}"#, r#"{"a":1}"#);
    expect(r#"{"a":1}"#, r#"{"a":"1"}"#, r#"{"a":1}"#);
    expect(r#"{"a":1}"#, r#"{"b":9}"#, r#"{"a":1}"#);
    expect(r#"{"a":{"b":1,"c":2}}"#, r#"{"a":{"b":1,"c":3,"z":0}}"#, r#"{"a":{"c":2}}"#);
    expect(r#"{"a":{"b":1}}"#, r#"{"a":5}"#, r#"{"a":{"b":1}}"#);
    expect(r#"{"a":5}"#, r#"{"a":{"b":1}}"#, r#"{"a":5}"#);
    expect(r#"{"a":[1,2]}"#, r#"{"a":[1,3]}"#, r#"{"a":[1,2]}"#);
    expect(r#"{"a":{}}"#, r#"{"a":{"b":1}}"#, "");
    // An unrelated update says again what still differs.
    check(
        &[r#"{"state":{"desired":{"a":1}}}"#, r#"{"state":{"reported":{"x":1}}}"#],
        r#"v2 {"desired":{"a":1},"reported":{"x":1}} delta {"a":1}"#,
    );
}

#[test]
fn refusals() {
    check(&["{"], "400 Invalid JSON");
    check(&[""], "400 Invalid JSON");
    check(&["{}"], "400 Missing required node: state");
    check(&["[]"], "400 Missing required node: state");
    check(&[r#"{"state":5}"#], "400 State node must be an object");
    check(&[r#"{"state":{"desired":5}}"#], "400 Desired node must be an object");
    check(&[r#"{"state":{"reported":[]}}"#], "400 Reported node must be an object");
    check(&[r#"{"state":{"delta":{}}}"#], "400 State contains an invalid node");
    check(&[r#"{"state":{"reported":{"a":[1,null]}}}"#], "400 State contains an invalid node");
    check(&[r#"{"state":{"reported":{"a":[{"b":[null]}]}}}"#], "400 State contains an invalid node");
    for version in ["-1", "1.5", "\"1\"", "{}"] {
        check(&[&format!(r#"{{"state":{{}},"version":{version}}}"#)], "400 Invalid version");
    }
    check(&[r#"{"state":{},"clientToken":5}"#], "400 Invalid clientToken");
    check(&[&format!(r#"{{"state":{{}},"clientToken":"{}"}}"#, "x".repeat(65))], "400 Invalid clientToken");
    check(&[r#"{"state":{},"version":7}"#], "409 Version conflict");
    check(&[r#"{"state":{},"version":0}"#, r#"{"state":{},"version":1}"#], "v2 {}");
    check(&[r#"{"state":{}}"#, r#"{"state":{},"version":0}"#], "409 Version conflict");
    check(
        &[&format!(r#"{{"state":{{"reported":{{"a":"{}"}}}}}}"#, "x".repeat(8192))],
        "413 The payload exceeds the maximum size allowed",
    );
    assert_eq!(UpdateRequest::parse(b"{\"state\":{\"reported\":{\"a\":\"\xff\"}}}"), Err(Refused::NotUtf8));
    assert_eq!(UpdateRequest::parse(&vec![b' '; 128 * 1024 + 1]), Err(Refused::TooLarge));
}

#[test]
fn size_and_depth_are_of_the_document_and_to_the_byte() {
    let half =
        |section: &str, length: usize| format!(r#"{{"state":{{"{section}":{{"a":"{}"}}}}}}"#, "x".repeat(length));
    // {"a":""} is 8 bytes.
    let (fits, over) = (half("reported", 4096 - 8), half("reported", 4097 - 8));
    let desired = half("desired", 4096 - 8);
    let first = update(None, &request(&desired).expect("good"), at(1)).expect("fits").document;
    assert!(update(Some(&first), &request(&fits).expect("good"), at(2)).is_ok());
    assert_eq!(update(Some(&first), &request(&over).expect("good"), at(2)), Err(Refused::TooLarge));

    let nested = |levels: usize| {
        let section = (1..levels).fold("1".to_owned(), |inner, _| format!(r#"{{"n":{inner}}}"#));
        format!(r#"{{"state":{{"reported":{{"n":{section}}}}}}}"#)
    };
    assert!(request(&nested(6)).is_ok());
    assert_eq!(request(&nested(7)), Err(Refused::TooDeep));
    assert_eq!(request(&nested(100_000 / 8)), Err(Refused::TooDeep));
    assert!(request(r#"{"state":{"reported":{"a":"[[[[[[[[[[\"[[[["}}}"#).is_ok(), "brackets in a text are no nesting");
}

#[test]
fn metadata_is_per_leaf_and_only_what_was_touched_changes() {
    let first = request(r#"{"state":{"desired":{"a":[1,{"b":2}],"c":{"d":1,"e":2},"f":{}}}}"#).expect("good");
    let first = update(None, &first, at(10)).expect("fits").document;
    let second = request(r#"{"state":{"desired":{"c":{"d":1}}}}"#).expect("good");
    let second = update(Some(&first), &second, at(20)).expect("fits");
    let stamp = |secs: i64| json!({ "timestamp": secs });
    let expect =
        json!({"desired": {"a": [stamp(10), {"b": stamp(10)}], "c": {"d": stamp(20), "e": stamp(10)}, "f": {}}});
    assert_eq!(second.document.metadata.to_value(), expect);
    assert_eq!(second.accepted.state, json!({"desired": {"c": {"d": 1}}}));
    assert_eq!(second.accepted.metadata, json!({"desired": {"c": {"d": stamp(20)}}}));
    let delta = second.delta.expect("nothing is reported");
    assert_eq!(Value::Object(delta.metadata), expect["desired"]);
}

#[test]
fn accepted_echoes_the_fragment_with_its_nulls() {
    let echo = |payload: &str| {
        let applied = update(None, &request(payload).expect("good"), at(5)).expect("fits");
        (applied.accepted.state.to_string(), applied.accepted.metadata.to_string())
    };
    assert_eq!(
        echo(r#"{"state":{"reported":{"a":null,"b":1}}}"#),
        (r#"{"reported":{"a":null,"b":1}}"#.into(), r#"{"reported":{"a":{"timestamp":5},"b":{"timestamp":5}}}"#.into())
    );
    assert_eq!(echo(r#"{"state":null}"#), ("null".into(), r#"{"timestamp":5}"#.into()));
    assert_eq!(
        echo(r#"{"state":{"desired":null}}"#),
        (r#"{"desired":null}"#.into(), r#"{"desired":{"timestamp":5}}"#.into())
    );
}

#[test]
fn a_deleted_shadow_counts_on_for_two_days() {
    let put = request(r#"{"state":{"desired":{"a":1}}}"#).expect("good");
    let first = update(None, &put, at(0)).expect("fits").document;
    let deleted = delete(Some(&first), "gw-1", at(10)).expect("is there");
    assert_eq!((deleted.version, deleted.state.is_empty()), (1, true));
    let missing = view(Some(&deleted), "gw-1").expect_err("deleted");
    assert_eq!((missing.code(), missing.to_string().as_str()), (404, "No shadow exists with name: gw-1"));
    assert_eq!(missing.error_type(), "ResourceNotFoundException");
    assert!(delete(Some(&deleted), "gw-1", at(11)).is_err());
    assert!(view(None, "gw-1").is_err() && delete(None, "gw-1", at(0)).is_err());

    let again = |secs| update(Some(&deleted), &put, at(secs)).expect("fits");
    let soon = again(10 + 48 * 3600);
    assert_eq!((soon.document.version, soon.previous), (2, None));
    assert_eq!(again(11 + 48 * 3600).document.version, 1);
}

fn any_leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3i64..3).prop_map(Value::from),
        "[a-c]{0,2}".prop_map(Value::from),
    ]
}

fn any_value() -> impl Strategy<Value = Value> {
    any_leaf().prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map("[a-d]", inner, 0..4).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

/// Requests that are nearly always well formed.
fn any_request() -> impl Strategy<Value = Value> {
    let section = || {
        prop::collection::btree_map("[a-d]", any_value(), 0..4).prop_map(|map| Value::Object(map.into_iter().collect()))
    };
    (prop::option::weighted(0.7, section()), prop::option::weighted(0.7, section()), 0..20u8).prop_map(
        |(desired, reported, pick)| {
            let mut state = Map::new();
            if let Some(desired) = desired {
                state.insert("desired".into(), desired);
            }
            if let Some(reported) = reported {
                state.insert("reported".into(), if pick == 1 { Value::Null } else { reported });
            }
            json!({ "state": if pick == 0 { Value::Null } else { Value::Object(state) } })
        },
    )
}

/// RFC 7396 in six lines, to hold the merge against.
fn merge_patch(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else { return target.clone_from(patch) };
    if !target.is_object() {
        *target = json!({});
    }
    let Value::Object(target) = target else { return };
    for (key, value) in patch {
        if value.is_null() {
            target.remove(key);
        } else {
            merge_patch(target.entry(key).or_insert(Value::Null), value);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_payload_panics(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        drop(UpdateRequest::parse(&bytes));
    }

    #[test]
    fn no_json_panics(value in any_value(), nearly in any_request()) {
        for value in [value, nearly] {
            if let Ok(request) = UpdateRequest::parse(value.to_string().as_bytes()) {
                update(None, &request, at(1)).expect("small enough");
            }
        }
    }

    /// A section changes as RFC 7396 says, versions grow by one, metadata keeps the shape of the state.
    #[test]
    fn updates_are_merge_patches(requests in prop::collection::vec(any_request(), 1..6)) {
        let mut current: Option<Document> = None;
        for (secs, value) in (1..).zip(&requests) {
            let Ok(request) = UpdateRequest::parse(value.to_string().as_bytes()) else { continue };
            let applied = update(current.as_ref(), &request, at(secs)).expect("small enough");
            shadow_version_grew(current.as_ref(), &applied.document).map_err(TestCaseError::fail)?;
            shadow_metadata_fits(&applied.document).map_err(TestCaseError::fail)?;

            let mut expect = current.map_or(json!({}), |document| document.state.to_value());
            merge_patch(&mut expect, &value["state"]);
            if let Value::Object(sections) = &mut expect {
                sections.retain(|_, section| section.as_object().is_some_and(|map| !map.is_empty()));
            }
            if value["state"].is_null() { expect = json!({}) }
            prop_assert_eq!(applied.document.state.to_value(), expect);
            current = Some(applied.document);
        }
    }

    /// A device that reports its delta has none; applying the same update again changes nothing but version and time.
    #[test]
    fn reporting_the_delta_settles_it(requests in prop::collection::vec(any_request(), 1..4)) {
        let mut current: Option<Document> = None;
        for value in &requests {
            let Ok(request) = UpdateRequest::parse(value.to_string().as_bytes()) else { continue };
            let applied = update(current.as_ref(), &request, at(1)).expect("small enough");
            let again = update(Some(&applied.document), &request, at(2)).expect("small enough");
            prop_assert_eq!(&again.document.state, &applied.document.state);
            prop_assert_eq!(again.delta.map(|d| d.state), applied.delta.clone().map(|d| d.state));
            if let Some(delta) = applied.delta {
                let report = UpdateRequest { reported: SectionPatch::Merge(delta.state), ..UpdateRequest::default() };
                let settled = update(Some(&applied.document), &report, at(3)).expect("small enough");
                prop_assert_eq!(settled.delta, None);
            }
            current = Some(applied.document);
        }
    }
}
