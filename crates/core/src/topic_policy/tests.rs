use std::collections::BTreeSet;

use fleetward_base::{TenantId, Timestamp};
use proptest::prelude::*;

use super::*;
use crate::registry::{Device, Scalar};

struct Known {
    tenant: TenantId,
    device: Device,
    certificate: CertificateFacts,
}

impl Known {
    fn new() -> Self {
        let mut device = Device::new("gw-1".parse().expect("a name"), Timestamp::EPOCH);
        device.tags = ["beta", "line=7", "zone:a", "zone:b", "wild=+"].map(str::to_owned).into();
        device.attributes = [("plant", "berlin"), ("slash", "a/b"), ("hash", "#"), ("star", "*"), ("system", "$aws")]
            .map(|(name, value)| (name.to_owned(), Scalar::Text(value.to_owned())))
            .into();
        device.attributes.insert("bay".to_owned(), Scalar::Number(3.into()));
        let certificate =
            CertificateFacts { serial: "0a1b".to_owned(), subject_cn: Some("gw-1".to_owned()), ..Default::default() };
        Self { tenant: "acme".parse().expect("a name"), device, certificate }
    }

    fn facts(&self) -> Facts<'_> {
        Facts { tenant: &self.tenant, device: &self.device, certificate: Some(&self.certificate) }
    }

    fn compiled(&self, documents: &[&str]) -> Compiled {
        let attached = |(at, text): (usize, &&str)| {
            let document: Document = serde_json::from_str(text).expect("a document");
            document.check().expect("in order");
            Attached { policy: format!("p{at}"), version: 1, document }
        };
        Compiled::new(&documents.iter().enumerate().map(attached).collect::<Vec<_>>(), &self.facts())
    }
}

fn one(effect: &str, actions: &str, topic: &str) -> String {
    let actions: Vec<&str> = actions.split(' ').collect();
    serde_json::json!({ "statements": [{ "effect": effect, "actions": actions, "topics": [topic] }] }).to_string()
}

/// What one statement says of one act.
fn check(effect: &str, actions: &str, template: &str, act: Act, topic: &str, expect: Verdict) {
    let text = one(effect, actions, template);
    let compiled = Known::new().compiled(&[&text]);
    assert_eq!(compiled.decide(act, topic, "gw-1"), expect, "{effect} {actions} {template}: {act} {topic}");
}

#[test]
fn events_are_heard_by_name_and_no_other_way() {
    for (template, act, topic, allowed) in [
        ("$aws/events/#", Act::Subscribe, "$aws/events/job/+/completed", true),
        ("$aws/events/#", Act::Receive, "$aws/events/job/reboot/completed", true),
        ("$aws/events/jobExecution/+/#", Act::Subscribe, "$aws/events/jobExecution/reboot/failed", true),
        ("$aws/events/jobExecution/+/#", Act::Subscribe, "$aws/events/#", false),
        ("$aws/events/job/*", Act::Receive, "$aws/events/commandExecution/restart/FAILED", false),
        ("#", Act::Subscribe, "$aws/events/#", false),
        ("*", Act::Receive, "$aws/events/job/reboot/completed", false),
        ("+/events/#", Act::Subscribe, "$aws/events/job/reboot/completed", false),
        ("${attribute:system}/events/#", Act::Subscribe, "$aws/events/#", false),
    ] {
        let expect = if allowed { Verdict::Allowed } else { Verdict::Silent };
        check("allow", "subscribe receive", template, act, topic, expect);
    }
    check("deny", "receive", "$aws/events/#", Act::Receive, "$aws/events/job/reboot/completed", Verdict::Denied);
    let checked = |actions: &str, topic: &str| {
        let document: Document = serde_json::from_str(&one("allow", actions, topic)).expect("it is read");
        document.check().is_ok()
    };
    assert!(checked("subscribe receive", "$aws/events/#") && checked("receive", "$aws/events/job/*"));
    for (actions, topic) in [
        ("publish", "$aws/events/job/x/completed"),
        ("subscribe publish", "$aws/events/#"),
        ("subscribe", "$aws/#"),
        ("subscribe", "$aws/event*"),
        ("subscribe", "$aws/+/job/#"),
    ] {
        assert!(!checked(actions, topic), "{actions} {topic}");
    }
}

#[test]
fn publishing_by_template() {
    for (template, topic, allowed) in [
        ("plants/berlin/x", "plants/berlin/x", true),
        ("plants/${attribute:plant}/x", "plants/berlin/x", true),
        ("plants/${attribute:plant}/x", "plants/paris/x", false),
        ("plants/+/x", "plants/any/x", true),
        ("plants/+/x", "plants/a/b/x", false),
        ("plants/#", "plants/a/b", true),
        ("plants/#", "plants", true),
        ("plants/#", "plantsx", false),
        ("plants/*/x", "plants/a/b/x", true),
        ("plants/*", "plants/a/b", true),
        ("plants/*", "plants", false),
        ("pl*", "plants/a", true),
        ("#", "anything/at/all", true),
        ("#", "$aws/things/gw-1/shadow/get", false),
        ("*", "$aws/rules/x", false),
        ("+/things/gw-2/shadow/get", "$aws/things/gw-2/shadow/get", false),
        ("lines/${tag:line}/${device}", "lines/7/gw-1", true),
        ("${tenant}/${class}/${hardware}", "acme/endpoint/unknown", true),
        ("bays/${tag:bay}", "bays/3", true),
        ("c/${certificate:serial}/${certificate:subject.cn}", "c/0a1b/gw-1", true),
        // What is missing, or more than text, allows nothing.
        ("sites/${site}/#", "sites/x/y", false),
        ("c/${certificate:issuer.cn}", "c/x", false),
        ("x/${attribute:slash}", "x/a/b", false),
        ("x/${attribute:hash}", "x/a", false),
        ("x/${attribute:hash}", "x/#", false),
        ("x/${attribute:star}", "x/a", false),
        ("x/${tag:wild}", "x/a", false),
        ("x/${tag:zone}", "x/a", false),
        ("${attribute:system}/things/gw-2/shadow/get", "$aws/things/gw-2/shadow/get", false),
        // The server's word to another device.
        ("devices/#", "devices/gw-2/status", true),
        ("devices/#", "devices/gw-2/identity/renew", false),
        ("devices/#", "devices/gw-1/identity/renew", true),
    ] {
        let expect = if allowed { Verdict::Allowed } else { Verdict::Silent };
        check("allow", "publish", template, Act::Publish, topic, expect);
    }
}

#[test]
fn subscribing_by_template() {
    for (template, filter, allowed) in [
        ("a/b", "a/b", true),
        ("a/+", "a/+", true),
        ("a/+", "a/b", true),
        ("a/b", "a/+", false),
        ("a/+", "a/#", false),
        ("a/#", "a/#", true),
        ("a/#", "a/+/c", true),
        ("a/#", "a", true),
        ("a/#", "#", false),
        ("a/#", "+/#", false),
        ("a/*", "a/#", true),
        ("a/*/c", "a/+/c", true),
        ("a/*/c", "a/#", false),
        ("a*", "a/b", true),
        ("#", "#", true),
        ("#", "+/x", true),
        ("#", "$SYS/#", false),
        ("+/b", "+/b", true),
        ("d/${device}/#", "d/gw-1/+", true),
        ("d/${device}/#", "d/+/x", false),
    ] {
        let expect = if allowed { Verdict::Allowed } else { Verdict::Silent };
        check("allow", "subscribe", template, Act::Subscribe, filter, expect);
    }
    for (template, filter, denied) in [
        ("a/secret", "a/secret", true),
        ("a/secret", "a/+", true),
        ("a/secret", "#", true),
        ("a/secret", "a/s", false),
        ("a/+/x", "a/b/#", true),
        ("a/b/#", "a/+/x", true),
        ("a/#", "a", true),
        ("a", "a/#", true),
        ("a$", "+", true),
        ("*x", "a/b", false),
        ("*x", "a/+", true),
        ("$aws/things/gw-1/shadow/#", "$aws/things/gw-1/+/get", true),
        ("$aws/things/gw-1/shadow/#", "#", false),
        ("#", "$aws/things/gw-1/jobs/#", false),
        ("x/${site}", "x/+", true),
        ("x/${site}", "x/a", true),
        ("x/${site}", "x/a/b", false),
    ] {
        let expect = if denied { Verdict::Denied } else { Verdict::Silent };
        check("deny", "subscribe", template, Act::Subscribe, filter, expect);
    }
}

#[test]
fn a_deny_wins_and_covers_what_follows_from_it() {
    let known = Known::new();
    let compiled = known.compiled(&[
        &one("allow", "publish retain subscribe receive", "a/#"),
        &one("deny", "publish subscribe", "a/secret/#"),
    ]);
    let decide = |act, topic| compiled.decide(act, topic, "gw-1");
    assert_eq!(decide(Act::Publish, "a/b"), Verdict::Allowed);
    for act in [Act::Publish, Act::Retain, Act::Subscribe, Act::Receive] {
        assert_eq!(decide(act, "a/secret/x"), Verdict::Denied, "{act}");
        assert_eq!(decide(act, "b"), Verdict::Silent, "{act}");
    }
    assert_eq!(decide(Act::Subscribe, "a/#"), Verdict::Denied);
    assert_eq!(decide(Act::Connect, ""), Verdict::Silent);
    // To subscribe is not yet to receive, nor to publish to retain.
    check("allow", "subscribe", "a/#", Act::Receive, "a/b", Verdict::Silent);
    check("allow", "publish", "a/#", Act::Retain, "a/b", Verdict::Silent);
    // Single messages can be kept from a wide filter.
    check("deny", "receive", "a/secret", Act::Subscribe, "a/#", Verdict::Silent);
    check("deny", "receive", "a/secret", Act::Receive, "a/secret", Verdict::Denied);
}

#[test]
fn statements_and_built_in_rules_together() {
    let known = Known::new();
    let compiled = known.compiled(&[
        &one("allow", "publish", "a/#"),
        &one("allow", "retain", "a/kept"),
        &one("allow", "retain", "b/#"),
        &one("deny", "publish", "own/secret"),
    ]);
    let judge = |act, topic: &str, more| {
        let own = topic.starts_with("own/");
        compiled.judge(act, topic, "gw-1", more, move |_| own).is_allowed()
    };
    for (act, topic, allowed, in_quarantine) in [
        (Act::Publish, "a/x", true, false),
        (Act::Retain, "a/x", false, false),
        (Act::Retain, "a/kept", true, false),
        (Act::Retain, "b/x", false, false),
        (Act::Publish, "own/x", true, true),
        (Act::Retain, "own/x", true, true),
        (Act::Publish, "own/secret", false, false),
        (Act::Retain, "own/secret", false, false),
        (Act::Publish, "c", false, false),
    ] {
        assert_eq!(judge(act, topic, true), allowed, "{act} {topic}");
        assert_eq!(judge(act, topic, false), in_quarantine, "{act} {topic} in quarantine");
    }
}

#[test]
fn what_is_said_of_connecting() {
    let known = Known::new();
    let out = r#"{"statements":[{"effect":"deny","actions":["connect"]}]}"#;
    let compiled = known.compiled(&[out]);
    assert_eq!(compiled.decide(Act::Connect, "", "gw-1"), Verdict::Denied);
    assert_eq!(compiled.connect_denied().map(|origin| &*origin.policy), Some("p0"));
    assert_eq!(compiled.decide(Act::Publish, "a", "gw-1"), Verdict::Silent);
    let allow = r#"{"statements":[{"effect":"allow","actions":["connect"]}]}"#;
    assert!(known.compiled(&[allow]).is_empty());
}

#[test]
fn what_does_not_count_is_told() {
    let known = Known::new();
    let compiled = known.compiled(&[&one("allow", "publish", "s/${site}"), &one("deny", "publish", "t/${site}")]);
    let told: Vec<_> = compiled.left_out().iter().map(|it| (it.effect, it.why.as_str())).collect();
    assert_eq!(told, [(Effect::Allow, "site: the device has none"), (Effect::Deny, "site: the device has none")]);
    let explained = compiled.explain(Act::Publish, "t/anything", "gw-1");
    assert_eq!((explained.verdict, explained.by.map(|by| &*by.template)), (Verdict::Denied, Some("t/${site}")));
}

#[test]
fn documents_that_are_refused() {
    let field = |text: &str| {
        let document: Document = serde_json::from_str(text).expect("a document");
        document.check().expect_err("refused").field
    };
    assert_eq!(field(r#"{"statements":[]}"#), "statements");
    assert_eq!(field(r#"{"statements":[{"effect":"deny","actions":[],"topics":["a"]}]}"#), "statements[0].actions");
    assert_eq!(field(r#"{"statements":[{"effect":"deny","actions":["publish"]}]}"#), "statements[0].topics");
    let connect = r#"{"statements":[{"effect":"deny","actions":["connect"],"topics":["a"]}]}"#;
    assert_eq!(field(connect), "statements[0].topics");
    assert_eq!(field(&one("allow", "publish", "$aws/things/gw-2/shadow/get")), "statements[0].topics[0]");
    let many = vec!["a"; limits::TOPIC_POLICY_TEMPLATES + 1];
    let many = serde_json::json!({ "statements": [{ "effect": "deny", "actions": ["publish"], "topics": many }] });
    assert_eq!(field(&many.to_string()), "statements[0].topics");
    for bad in
        ["", "a+", "a/#/b", "a#", "${device", "${nobody}", "${tag:}", "${certificate:key}", "+${device}", "a\u{7}"]
    {
        assert!(bad.parse::<Template>().is_err(), "{bad}");
    }
    assert!(serde_json::from_str::<Document>(r#"{"statements":[],"more":1}"#).is_err());
    assert!("${device}/".repeat(limits::TOPIC_POLICY_VARIABLES + 1).parse::<Template>().is_err());
}

/// As many statements as fit, each with as many topics as it may have.
fn heavy(effect: &str, topic: &str) -> String {
    let topics = vec![topic; limits::TOPIC_POLICY_TEMPLATES];
    let statement = serde_json::json!({ "effect": effect, "actions": ["publish"], "topics": topics });
    serde_json::json!({ "statements": vec![statement; limits::TOPIC_POLICY_STATEMENTS] }).to_string()
}

#[test]
fn above_the_limit_a_device_may_do_nothing() {
    let known = Known::new();
    let heavy = heavy("allow", "*a*a*a*a*b");
    let within = known.compiled(&[&heavy, &heavy]);
    assert_eq!((within.is_empty(), within.connect_denied()), (false, None));
    let over = known.compiled(&[&heavy, &heavy, &heavy, &one("allow", "publish", "a")]);
    for (act, topic) in [(Act::Connect, ""), (Act::Publish, "a"), (Act::Subscribe, "x/#"), (Act::Receive, "own/x")] {
        assert_eq!(over.decide(act, topic, "gw-1"), Verdict::Denied, "{act}");
        let judged = over.judge(act, topic, "gw-1", true, |_| true);
        assert!(!judged.is_allowed(), "{act}: not by a built-in rule either");
    }
    assert_eq!(over.connect_denied().map(|by| &*by.policy), Some("p2"), "the first one too many");
    let why: Vec<&str> = over.left_out().iter().map(|it| it.why.as_str()).collect();
    assert_eq!(why, ["more than 1024 rules hold for the device, which may do nothing until it is fewer"]);
}

#[test]
fn what_a_document_weighs_is_the_most_that_it_comes_to() {
    let text = one("allow", "publish", "plants/${attribute:plant}/#");
    let document: Document = serde_json::from_str(&text).expect("a document");
    let weight = document.weight();
    assert_eq!((weight.rules, weight.bytes), (1, 7 + limits::TOPIC_POLICY_VALUE_BYTES + 2 + 1));
    assert_eq!(weight.over(Weight::OF_TARGET), None);
    assert_eq!(weight.over(Weight { rules: 0, bytes: 999 }), Some(TooMuch::Rules(0)));
    assert_eq!(weight.over(Weight { rules: 1, bytes: 9 }), Some(TooMuch::Bytes(9)));
    let mut known = Known::new();
    let longest = "v".repeat(limits::TOPIC_POLICY_VALUE_BYTES);
    known.device.attributes.insert("plant".to_owned(), Scalar::Text(longest.clone()));
    assert_eq!(known.compiled(&[&text]).decide(Act::Publish, &format!("plants/{longest}/x"), "gw-1"), Verdict::Allowed);
    known.device.attributes.insert("plant".to_owned(), Scalar::Text(format!("{longest}v")));
    assert_eq!(known.compiled(&[&text]).left_out().len(), 1, "one that is longer allows nothing");
}

#[test]
fn targets_are_read_as_they_are_written() {
    let selector = serde_json::from_str(r#"{"site":"berlin"}"#).expect("a selector");
    for target in [
        Target::Tenant,
        Target::Selector(Box::new(selector)),
        Target::Device("gw-1".parse().expect("a name")),
        Target::Certificate("0a".to_owned()),
    ] {
        assert_eq!(Target::of(target.kind().as_str(), &target.key()), Some(target));
    }
    assert_eq!((Target::of("selector", "{"), Target::of("tenant", "x")), (None, None));
}

/// As the words in [`template`] say it, without a thought for time.
fn naive(pattern: &[u8], topic: &[u8]) -> bool {
    match pattern.first() {
        None => topic.is_empty(),
        Some(b'/') if pattern == b"/#" => topic.is_empty() || topic.first() == Some(&b'/'),
        Some(b'+') => (0..=topic.len()).any(|n| !topic[..n].contains(&b'/') && naive(&pattern[1..], &topic[n..])),
        Some(b'*' | b'#') => (0..=topic.len()).any(|n| naive(&pattern[1..], &topic[n..])),
        Some(byte) => topic.first() == Some(byte) && naive(&pattern[1..], &topic[1..]),
    }
}

fn in_words(pattern: &str, topic: &str) -> bool {
    let reserved = topic.starts_with('$') && pattern.starts_with(['+', '#', '*']);
    !reserved && naive(pattern.as_bytes(), topic.as_bytes())
}

/// All topics of up to five characters that tell patterns of these letters apart.
fn topics() -> Vec<String> {
    let mut all = vec![String::new()];
    let mut from = 0;
    for _ in 0..5 {
        let to = all.len();
        for at in from..to {
            for letter in ["a", "b", "$", "/"] {
                all.push(format!("{}{letter}", all[at]));
            }
        }
        from = to;
    }
    all.split_off(1)
}

fn level() -> impl Strategy<Value = String> {
    prop_oneof![Just("a"), Just("b"), Just("$"), Just("+"), Just("")].prop_map(str::to_owned)
}

fn filter() -> impl Strategy<Value = String> {
    (proptest::collection::vec(level(), 1..3), any::<bool>()).prop_filter_map("a filter", |(mut levels, rest)| {
        if rest {
            levels.push("#".to_owned());
        }
        let text = levels.join("/");
        (!text.is_empty()).then_some(text)
    })
}

fn template_text() -> impl Strategy<Value = String> {
    let part =
        prop_oneof![3 => level(), 1 => Just("*".to_owned()), 1 => Just("a*".to_owned()), 1 => Just("*b".to_owned())];
    (proptest::collection::vec(part, 1..3), any::<bool>()).prop_filter_map("a template", |(mut levels, rest)| {
        if rest {
            levels.push("#".to_owned());
        }
        let text = levels.join("/");
        text.parse::<Template>().ok().map(|_| text)
    })
}

fn pattern(text: &str) -> pattern::Pattern {
    text.parse::<Template>().expect("a template").fill_any()
}

proptest! {
    #[test]
    fn patterns_match_as_the_words_say(text in template_text()) {
        let pattern = pattern(&text);
        for topic in topics() {
            prop_assert_eq!(pattern.matches(&topic), in_words(&text, &topic), "{} {}", text, topic);
        }
    }

    #[test]
    fn what_is_covered_is_matched_and_what_meets_has_a_witness(text in template_text(), filter in filter()) {
        let pattern = pattern(&text);
        let above = filter.strip_suffix("/#").unwrap_or("\0").to_owned();
        let of_filter: Vec<_> = topics().into_iter().filter(|topic| in_words(&filter, topic)).collect();
        let both = of_filter.iter().any(|topic| in_words(&text, topic));
        if pattern.covers(&filter) {
            for topic in of_filter.iter().filter(|topic| !in_words(&above, topic)) {
                prop_assert!(pattern.matches(topic), "{} covers {} and not {}", text, filter, topic);
            }
        }
        let met = pattern.meets(&filter);
        prop_assert!(met || !both, "{} meets {}", text, filter);
        // A witness needs no more than the bytes of both.
        let short = text.len() + filter.len() <= 5;
        prop_assert!(!short || met == both, "{} does not meet {}", text, filter);
    }

    #[test]
    fn templates_never_panic_and_read_as_they_were_written(text in "\\PC{0,40}|[a+#*$/{}:]{0,20}") {
        if let Ok(template) = text.parse::<Template>() {
            prop_assert_eq!(template.as_str(), text);
            let known = Known::new();
            let pattern = template.fill(&known.facts()).unwrap_or_else(|_| template.fill_any());
            pattern.matches("a/b");
            pattern.covers("a/#");
            pattern.meets("+/#");
        }
    }

    /// Explaining and deciding agree, a deny always wins, and nothing is allowed that no allow matches or that is reserved.
    #[test]
    fn explain_agrees_with_decide(
        rules in proptest::collection::vec((any::<bool>(), 1_u8..16, template_text()), 0..6),
        topic in prop_oneof![filter(), Just("$aws/x".to_owned()), Just("devices/gw-2/identity/renew".to_owned())],
        which in 0_usize..4,
    ) {
        let acts = [Act::Publish, Act::Retain, Act::Subscribe, Act::Receive];
        let act = acts[which];
        prop_assume!(act == Act::Subscribe || !topic.contains(['+', '#']));
        let statements = rules.iter().map(|(allow, bits, text)| Statement {
            effect: if *allow { Effect::Allow } else { Effect::Deny },
            actions: acts.iter().enumerate().filter(|(at, _)| bits & (1 << at) != 0).map(|(_, act)| *act).collect::<BTreeSet<_>>(),
            topics: vec![text.parse().expect("a template")],
        });
        let document = Document { statements: statements.collect() };
        let known = Known::new();
        let attached = [Attached { policy: "p".to_owned(), version: 3, document: document.clone() }];
        let compiled = Compiled::new(&attached, &known.facts());
        let explained = compiled.explain(act, &topic, "gw-1");
        prop_assert_eq!(compiled.decide(act, &topic, "gw-1"), explained.verdict);
        prop_assert_eq!(explained.by.is_none(), explained.verdict == Verdict::Silent);
        if let Some(by) = explained.by {
            let statement = &document.statements[by.statement];
            let effect = if explained.verdict == Verdict::Denied { Effect::Deny } else { Effect::Allow };
            prop_assert_eq!(statement.effect, effect);
            prop_assert_eq!(statement.topics[0].as_str(), &*by.template);
        }
        let denied = document.statements.iter().any(|statement| {
            statement.effect == Effect::Deny && statement.actions.contains(&act)
                && if act == Act::Subscribe { pattern(statement.topics[0].as_str()).meets(&topic) }
                else { pattern(statement.topics[0].as_str()).matches(&topic) }
        });
        prop_assert!(!denied || explained.verdict == Verdict::Denied);
        prop_assert!(explained.verdict != Verdict::Allowed || !topic.starts_with('$'));
    }
}
