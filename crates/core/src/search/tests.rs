use fleetward_base::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::registry::KIND;

fn device() -> Device {
    let mut device = Device::new("gw-1".parse().expect("a name"), Timestamp::EPOCH);
    device.hardware = "rev-b".to_owned();
    device.tags = ["eu", "beta"].map(str::to_owned).into();
    device.site = Some("berlin".to_owned());
    device.attributes.insert("floor".to_owned(), Scalar::Text("2 left".to_owned()));
    device.attributes.insert(KIND.to_owned(), Scalar::Text("bulb".to_owned()));
    device.attributes.insert("watts".to_owned(), Scalar::Number(60.into()));
    device
}

fn check(text: &str, expect: bool) {
    let device = device();
    let query = Query::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"));
    assert_eq!(query.matches(Subject { device: &device, online: true }), expect, "{text}");
}

#[test]
fn questions() {
    for text in [
        "*",
        "gw-1",
        "gw-*",
        "thingName:gw-?",
        "name:\"gw-1\"",
        "thingTypeName:bulb",
        "thingGroupNames:eu AND tag:beta",
        "attributes.floor:\"2 left\"",
        "attributes.watts:60",
        "connectivity.connected:true",
        "site:ber* hardware:rev-b",
        "site:paris OR site:berlin",
        "NOT site:paris",
        "-site:paris",
        "(site:paris OR (tag:eu)) AND NOT online:false",
        "site:paris AND tag:eu OR tag:beta",
    ] {
        check(text, true);
    }
    for text in
        ["gw-", "thingName:gw-??", "thingTypeName:pump", "attributes.floor:3", "attributes.x:*", "tag:e", "NOT *"]
    {
        check(text, false);
    }
}

#[test]
fn what_cannot_be_read_is_refused() {
    let field = |name: &str| BadQuery::Field { name: name.to_owned() };
    for (text, expected) in [
        ("", BadQuery::Empty),
        ("  ", BadQuery::Empty),
        ("sites:berlin", field("sites")),
        ("attributes.:x", field("attributes.")),
        ("shadow.reported.x:1", field("shadow.reported.x")),
        ("site:", BadQuery::Value),
        ("site:\"\"", BadQuery::Value),
        ("site:\"x", BadQuery::Quote),
        ("attributes.watts:[1", BadQuery::Range),
        ("attributes.watts>5", BadQuery::Range),
        ("(site:x", BadQuery::Bracket),
        ("site:x)", BadQuery::Bracket),
        ("site:x AND", BadQuery::Missing),
        ("OR site:x", BadQuery::Missing),
        ("NOT", BadQuery::Missing),
        (&"(".repeat(20), BadQuery::TooDeep),
        (&"NOT ".repeat(20), BadQuery::TooDeep),
        (&"a ".repeat(25), BadQuery::TooMany),
        (&"a".repeat(1001), BadQuery::TooLong),
    ] {
        assert_eq!(Query::parse(text), Err(expected), "{text}");
    }
}

#[test]
fn a_question_is_narrowed_to_what_all_have() {
    let narrowed = |text: &str| Query::parse(text).expect("it reads").narrowed();
    let some = |prefix: &str, tags: &[&str]| Narrowed {
        prefix: Some(prefix.to_owned()).filter(|prefix| !prefix.is_empty()),
        tags: tags.iter().map(|&tag| tag.to_owned()).collect(),
    };
    assert_eq!(narrowed("name:gw-* AND tag:eu AND tag:b*"), some("gw-", &["eu"]));
    assert_eq!(narrowed("name:gw-1 OR tag:eu"), some("", &[]));
    assert_eq!(narrowed("NOT tag:eu"), some("", &[]));
    assert_eq!(Query::any_tag(["eu"]).narrowed(), some("", &["eu"]));
    assert_eq!(Query::any_tag(["eu", "us"]).narrowed(), some("", &[]));
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in ".{0,80}", alike in "[a-z:()\"*? -]{0,60}") {
        drop(Query::parse(&text));
        drop(Query::parse(&alike));
    }

    #[test]
    fn a_text_meets_itself(text in ".{0,40}", other in ".{0,40}") {
        prop_assert!(Pattern::exact(&text).matches(&text));
        prop_assert_eq!(Pattern::exact(&text).matches(&other), text == other);
        let longer = format!("{text}{other}");
        prop_assert!(Pattern::prefix(&text).matches(&longer));
    }

    #[test]
    fn stars_take_any_text(head in "[a-z]{0,9}", between in ".{0,20}", tail in "[a-z]{0,9}") {
        let (pattern, text) = (Pattern(format!("{head}*{tail}")), format!("{head}{between}{tail}"));
        prop_assert!(pattern.matches(&text));
        let (pattern, text) = (Pattern("*".repeat(30) + &tail), format!("{between}{tail}"));
        prop_assert!(pattern.matches(&text));
    }
}
