//! Topic policies as people keep them: versions, attachments, limits, and who may see them.

use fleetward_app::messaging::{amend_messaging, show_messaging};
use fleetward_app::registry::{change_status, remove_device};
use fleetward_app::topic_policies::{
    Because, Question, attach_topic_policy, create_topic_policy, detach_topic_policy, explain_topic,
    remove_topic_policy, remove_topic_policy_version, rights_of, set_default_version, topic_policies,
    topic_policies_at, topic_policy, topic_policy_attachments, update_topic_policy,
};
use fleetward_app::{Ctx, Error};
use fleetward_base::limits;
use fleetward_core::journal::Action;
use fleetward_core::lifecycle::Transition;
use fleetward_core::messaging::Profile;
use fleetward_core::topic_policy::{Act, Document, Target, Verdict};
use serde_json::json;

use crate::enroll::events;
use crate::fixture::{Fixture, device, tenant};
use crate::fleet::{Told, add_device};

fn document(effect: &str, topic: &str) -> Document {
    let text = json!({ "statements": [{ "effect": effect, "actions": ["publish"], "topics": [topic] }] });
    serde_json::from_value(text).expect("a document")
}

async fn make(fixture: &Fixture, name: &str, topic: &str) {
    let document = document("allow", topic);
    create_topic_policy(&fixture.app, &fixture.admin, &tenant("acme"), name, None, document).await.expect("made");
}

fn code(error: &Error) -> &'static str {
    match error {
        Error::Conflict { code, .. } => code,
        Error::NotFound { .. } => "not-found",
        Error::Denied { .. } => "denied",
        Error::Invalid { .. } => "invalid",
        Error::TooLarge { .. } => "too-large",
        other => panic!("{other}"),
    }
}

async fn done(fixture: &Fixture, action: Action) -> usize {
    events(fixture, "acme", &fixture.admin).await.iter().filter(|event| event.entry.action == action).count()
}

#[tokio::test]
async fn versions_come_count_and_go() {
    let fixture = Fixture::new().await;
    let (app, admin, acme) = (&fixture.app, &fixture.admin, tenant("acme"));
    make(&fixture, "plant", "a").await;
    let again = create_topic_policy(app, admin, &acme, "plant", None, document("allow", "b")).await;
    assert_eq!(code(&again.expect_err("it is there")), "topic-policy-exists");
    let after = update_topic_policy(app, admin, &acme, "plant", document("allow", "b"), false).await.expect("added");
    assert_eq!((after.default_version, after.latest_version, after.versions.len()), (2, 2, 2));
    let after = update_topic_policy(app, admin, &acme, "plant", document("allow", "c"), true).await.expect("added");
    assert_eq!((after.default_version, after.latest_version), (2, 3));
    let counts = remove_topic_policy_version(app, admin, &acme, "plant", 2).await;
    assert_eq!(code(&counts.expect_err("it counts")), "topic-policy-version-counts");
    set_default_version(app, admin, &acme, "plant", 1).await.expect("an older one");
    remove_topic_policy_version(app, admin, &acme, "plant", 2).await.expect("gone");
    let missing = set_default_version(app, admin, &acme, "plant", 2).await;
    assert_eq!(code(&missing.expect_err("it is gone")), "not-found");
    for _ in 0..3 {
        update_topic_policy(app, admin, &acme, "plant", document("allow", "d"), true).await.expect("room");
    }
    let full = update_topic_policy(app, admin, &acme, "plant", document("allow", "e"), true).await;
    assert_eq!(code(&full.expect_err("five")), "topic-policy-versions-full");
    let shown = topic_policy(app, admin, &acme, "plant").await.expect("there");
    assert_eq!(shown.versions.iter().map(|it| it.version).collect::<Vec<_>>(), [6, 5, 4, 3, 1], "no number twice");
    assert_eq!(shown.versions[0].document, document("allow", "d"));
    remove_topic_policy(app, admin, &acme, "plant").await.expect("attached to nobody");
    assert_eq!(done(&fixture, Action::TopicPolicyChanged).await, 6, "each version and each default");
    assert_eq!(done(&fixture, Action::TopicPolicyRemoved).await, 1);
}

#[tokio::test]
async fn others_see_and_change_nothing() {
    let fixture = Fixture::new().await;
    make(&fixture, "plant", "a").await;
    let (app, acme) = (&fixture.app, tenant("acme"));
    let tries = async |ctx: &Ctx| {
        let target = Target::Tenant;
        vec![
            code(&create_topic_policy(app, ctx, &acme, "x", None, document("allow", "a")).await.expect_err("no")),
            code(&update_topic_policy(app, ctx, &acme, "plant", document("allow", "a"), true).await.expect_err("no")),
            code(&set_default_version(app, ctx, &acme, "plant", 1).await.expect_err("no")),
            code(&remove_topic_policy_version(app, ctx, &acme, "plant", 1).await.expect_err("no")),
            code(&attach_topic_policy(app, ctx, &acme, "plant", target.clone()).await.expect_err("no")),
            code(&detach_topic_policy(app, ctx, &acme, "plant", &target).await.expect_err("no")),
            code(&remove_topic_policy(app, ctx, &acme, "plant").await.expect_err("no")),
        ]
    };
    assert_eq!(tries(&fixture.operator("zenith", "owner").await).await, ["not-found"; 7]);
    let viewer = fixture.operator("acme", "viewer").await;
    assert_eq!(tries(&viewer).await, ["denied"; 7]);
    assert_eq!(topic_policies(app, &viewer, &acme, None, 10).await.expect("a viewer looks").len(), 1);
    // A policy of another tenant is not there, whatever it is called.
    let abroad = topic_policy(app, &fixture.admin, &tenant("zenith"), "plant").await;
    assert_eq!(code(&abroad.expect_err("not there")), "not-found");
}

#[tokio::test]
async fn attachments_have_their_bounds() {
    let fixture = Fixture::new().await;
    let (app, admin, acme) = (&fixture.app, &fixture.admin, tenant("acme"));
    add_device(app, &acme, "gw-1", "rev-a").await;
    let most = usize::try_from(limits::TOPIC_POLICIES_FOR_MANY).expect("a few");
    for n in 0..=most {
        make(&fixture, &format!("p{n:02}"), "a").await;
    }
    let target = Target::Device(device("gw-1"));
    let few = usize::try_from(limits::TOPIC_POLICIES_PER_TARGET).expect("a few");
    for n in 0..few {
        attach_topic_policy(app, admin, &acme, &format!("p{n:02}"), target.clone()).await.expect("room");
    }
    // Once more is the same.
    attach_topic_policy(app, admin, &acme, "p00", target.clone()).await.expect("harmless");
    let full = attach_topic_policy(app, admin, &acme, "p19", target.clone()).await;
    assert_eq!(code(&full.expect_err("ten")), "topic-policy-attachments-full");
    for n in 0..most {
        attach_topic_policy(app, admin, &acme, &format!("p{n:02}"), Target::Tenant).await.expect("room");
    }
    let full = attach_topic_policy(app, admin, &acme, &format!("p{most:02}"), Target::Selector(Box::default())).await;
    assert_eq!(code(&full.expect_err("twenty")), "topic-policy-attachments-full");
    assert_eq!(topic_policies_at(app, admin, &acme, &target).await.expect("listed").len(), few);
    assert_eq!(topic_policy_attachments(app, admin, &acme, "p00", None, 10).await.expect("listed").len(), 2);
    for missing in [Target::Device(device("gw-9")), Target::Certificate("0a".to_owned())] {
        let refused = attach_topic_policy(app, admin, &acme, "p00", missing).await;
        assert_eq!(code(&refused.expect_err("not there")), "not-found");
    }
    let used = remove_topic_policy(app, admin, &acme, "p00").await;
    assert_eq!(code(&used.expect_err("in use")), "topic-policy-attached");
}

/// As many topics as a policy may have in so few bytes.
fn wide(topics: usize, topic: &str) -> Document {
    let statement = json!({ "effect": "allow", "actions": ["publish"], "topics": vec![topic; 20] });
    serde_json::from_value(json!({ "statements": vec![statement; topics / 20] })).expect("a document")
}

#[tokio::test]
async fn what_is_attached_is_bounded_by_what_it_comes_to() {
    let fixture = Fixture::new().await;
    let (app, admin, acme) = (&fixture.app, &fixture.admin, tenant("acme"));
    add_device(app, &acme, "gw-1", "rev-a").await;
    for name in ["a", "b"] {
        create_topic_policy(app, admin, &acme, name, None, wide(160, "a")).await.expect("made");
    }
    make(&fixture, "small", "x").await;
    let (target, selector) = (Target::Device(device("gw-1")), Target::Selector(Box::default()));
    attach_topic_policy(app, admin, &acme, "a", target.clone()).await.expect("room");
    let refused = attach_topic_policy(app, admin, &acme, "b", target.clone()).await.expect_err("320 rules");
    assert_eq!(
        (code(&refused), refused.to_string().contains("more than 256 rules for one device")),
        ("topic-policy-weight-full", true),
        "{refused}"
    );
    assert_eq!(topic_policies_at(app, admin, &acme, &target).await.expect("listed").len(), 1, "it left no trace");
    attach_topic_policy(app, admin, &acme, "small", target.clone()).await.expect("room");
    // One that is attached does not grow beyond it either, by a version or by another one that counts.
    let grown = update_topic_policy(app, admin, &acme, "small", wide(160, "b"), false).await.expect_err("320 rules");
    assert_eq!((code(&grown), grown.to_string().contains("for gw-1")), ("topic-policy-weight-full", true), "{grown}");
    update_topic_policy(app, admin, &acme, "small", wide(160, "b"), true).await.expect("it does not count yet");
    let grown = set_default_version(app, admin, &acme, "small", 2).await;
    assert_eq!(code(&grown.expect_err("320 rules")), "topic-policy-weight-full");
    // Patterns are counted with the longest values.
    let long = wide(100, "${site}/${site}/${site}");
    create_topic_policy(app, admin, &acme, "long", None, long).await.expect("made");
    let refused = attach_topic_policy(app, admin, &acme, "long", selector.clone()).await.expect_err("38 KB");
    assert!(refused.to_string().contains("more than 32768 bytes of patterns for the tenant"), "{refused}");
    attach_topic_policy(app, admin, &acme, "a", selector).await.expect("room");
    attach_topic_policy(app, admin, &acme, "a", Target::Tenant).await.expect("the same again counts once");
}

#[tokio::test]
async fn what_was_attached_before_it_was_counted_closes() {
    let fixture = Fixture::new().await;
    let (app, admin, acme) = (&fixture.app, &fixture.admin, tenant("acme"));
    add_device(app, &acme, "gw-1", "rev-a").await;
    for name in ["a", "b", "c", "d"] {
        create_topic_policy(app, admin, &acme, name, None, wide(400, "a")).await.expect("made");
    }
    // As an older version left it.
    app.write(&acme, "test", |tx| {
        Box::pin(async move {
            for name in ["a", "b", "c", "d"] {
                let row = tx.topic_policy(name).await?.expect("made");
                let uncounted = fleetward_store::TopicPolicyRow { rules: 0, pattern_bytes: 0, ..row };
                tx.update_topic_policy(&uncounted, 1).await?;
                let (policy, attached_at) = (name.to_owned(), fleetward_base::Timestamp::EPOCH);
                let (kind, target, attached_by) = ("tenant".to_owned(), String::new(), "test".to_owned());
                let row = fleetward_store::TopicPolicyAttachmentRow { policy, kind, target, attached_by, attached_at };
                tx.attach_topic_policy(&row).await?;
            }
            Ok(())
        })
    })
    .await
    .expect("attached");
    let rights = rights_of(app, &acme, &device("gw-1"), "").await.expect("rights");
    assert!(rights.connect_denied().is_some());
    assert_eq!(rights.decide(Act::Publish, "x/gw-1", "gw-1"), Verdict::Denied);
    // Whoever attaches it anew counts it.
    let again = attach_topic_policy(app, admin, &acme, "a", Target::Device(device("gw-1"))).await;
    assert_eq!(code(&again.expect_err("400 rules")), "topic-policy-weight-full");
    for name in ["b", "c"] {
        detach_topic_policy(app, admin, &acme, name, &Target::Tenant).await.expect("detached");
    }
    let rights = rights_of(app, &acme, &device("gw-1"), "").await.expect("rights");
    assert_eq!(rights.decide(Act::Publish, "a", "gw-1"), Verdict::Allowed);
}

#[tokio::test]
async fn what_holds_for_a_device_goes_with_it() {
    let fixture = Fixture::new().await;
    let (app, admin, acme) = (&fixture.app, &fixture.admin, tenant("acme"));
    add_device(app, &acme, "gw-1", "rev-a").await;
    make(&fixture, "plant", "plants/#").await;
    let may = async || {
        let rights = rights_of(app, &acme, &device("gw-1"), "").await.expect("rights");
        rights.decide(Act::Publish, "plants/x", "gw-1")
    };
    assert_eq!(may().await, Verdict::Silent);
    attach_topic_policy(app, admin, &acme, "plant", Target::Device(device("gw-1"))).await.expect("attached");
    assert_eq!(may().await, Verdict::Allowed);
    change_status(app, admin, &acme, &device("gw-1"), Transition::Decommission).await.expect("out");
    let at = fleetward_app::registry::device(app, admin, &acme, &device("gw-1")).await.expect("there").device.revision;
    remove_device(app, admin, &acme, &device("gw-1"), at).await.expect("removed");
    add_device(app, &acme, "gw-1", "rev-a").await;
    assert_eq!(may().await, Verdict::Silent, "the next one of the name starts without");
}

#[tokio::test]
async fn a_question_is_answered_as_the_door_would() {
    let fixture = Fixture::new().await;
    let (app, admin, acme) = (&fixture.app, &fixture.admin, tenant("acme"));
    add_device(app, &acme, "gw-1", "rev-a").await;
    make(&fixture, "plant", "plants/${site}/#").await;
    attach_topic_policy(app, admin, &acme, "plant", Target::Tenant).await.expect("attached");
    let question = |act, topic: &str| Question { device: device("gw-1"), act, topic: topic.to_owned(), serial: None };
    let early = explain_topic(app, admin, &acme, question(Act::Publish, "a")).await;
    assert!(matches!(early, Err(Error::Unavailable { .. })), "there is no door yet");
    let _told = Told::listen(app);
    let answer = explain_topic(app, admin, &acme, question(Act::Publish, "plants/x/y")).await.expect("an answer");
    assert_eq!((answer.allowed, answer.because, answer.left_out.len()), (false, Because::Nothing, 1));
    let answer = explain_topic(app, admin, &acme, question(Act::Publish, "x/gw-1")).await.expect("an answer");
    assert_eq!((answer.allowed, answer.because), (true, Because::BuiltIn));
    for (act, topic) in [(Act::Publish, "a/#"), (Act::Subscribe, "a/#/b"), (Act::Connect, "a"), (Act::Receive, "")] {
        let refused = explain_topic(app, admin, &acme, question(act, topic)).await;
        assert_eq!(code(&refused.expect_err("no topic")), "invalid", "{act} {topic}");
    }
    change_status(app, admin, &acme, &device("gw-1"), Transition::Suspend).await.expect("suspended");
    let answer = explain_topic(app, admin, &acme, question(Act::Publish, "x/gw-1")).await.expect("an answer");
    assert_eq!((answer.allowed, answer.because), (false, Because::NotAdmitted));
}

#[tokio::test]
async fn messaging_is_changed_by_field_and_remembered() {
    let fixture = Fixture::new().await;
    let (app, admin, acme) = (&fixture.app, &fixture.admin, tenant("acme"));
    let before = show_messaging(app, admin, &acme).await.expect("shown");
    assert_eq!(before.messaging.profile, Profile::Standard);
    let patch = |value: serde_json::Value| value.as_object().expect("an object").clone();
    let rates = json!({ "profile": "aws", "rates": { "messages": { "per_second": 5, "burst": 9 } } });
    let after = amend_messaging(app, admin, &acme, before.revision, patch(rates)).await.expect("changed");
    assert_eq!(after.messaging.profile, Profile::Aws);
    assert_eq!(fleetward_app::messaging::messaging(app, &acme).await.expect("known"), after.messaging);
    let stale = amend_messaging(app, admin, &acme, before.revision, patch(json!({ "profile": "aws" }))).await;
    assert!(matches!(stale, Err(Error::Stale { .. })));
    for wrong in [json!({ "profile": "azure" }), json!({ "rates": { "messages": { "per_second": 0, "burst": 0 } } })] {
        let refused = amend_messaging(app, admin, &acme, after.revision, patch(wrong)).await;
        assert_eq!(code(&refused.expect_err("refused")), "invalid");
    }
    let back = json!({ "profile": null, "rates": { "messages": null } });
    let back = amend_messaging(app, admin, &acme, after.revision, patch(back)).await.expect("changed");
    assert_eq!(back.messaging, before.messaging);
    assert_eq!(done(&fixture, Action::TenantMessagingChanged).await, 2);
    let policy = fleetward_app::identity_policy::show_policy(app, admin, &acme).await.expect("the other settings");
    assert_eq!(policy.revision, back.revision);
}
