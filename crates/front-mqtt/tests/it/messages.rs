//! What operators publish, and what is retained.

use std::time::Duration;

use bytes::Bytes;
use fleetward_app::Error;
use fleetward_app::topic_messages::{
    Beside, NewTopicMessage, clear_retained, publish_message, retained_message, retained_messages,
};
use fleetward_sim::mqtt::Version;
use serde_json::json;

use crate::house::{House, tenant};

fn message(topic: &str, payload: &'static str) -> NewTopicMessage {
    NewTopicMessage {
        topic: topic.to_owned(),
        payload: Bytes::from_static(payload.as_bytes()),
        qos: 1,
        ..NewTopicMessage::default()
    }
}

#[tokio::test]
async fn whoever_subscribes_hears_it_and_whoever_comes_later() {
    let house = House::new().await;
    let (one, other) = (house.enroll("acme", "gw-1", "rev-a").await, house.enroll("acme", "gw-2", "rev-a").await);
    let theirs = house.enroll("zenith", "gw-9", "rev-a").await;
    let (mut link, mut stranger) = (house.connect(&one, Version::V5).await, house.connect(&theirs, Version::V5).await);
    link.subscribe(&["shared/#", "fleet/#"]).await;
    stranger.subscribe(&["shared/#", "fleet/#"]).await;
    let (app, admin, acme) = (&house.app, &house.admin, tenant("acme"));
    let beside = Beside {
        content_type: Some("text/plain".to_owned()),
        user: vec![("a".to_owned(), "1".to_owned())],
        ..Beside::default()
    };
    let new = NewTopicMessage {
        retain: true,
        expiry: Some(Duration::from_secs(60)),
        beside: beside.clone(),
        ..message("fleet/mode", "\"night\"")
    };
    assert_eq!(publish_message(app, admin, &acme, new).await.expect("published").sessions, 1);
    assert_eq!(link.next().await, ("fleet/mode".to_owned(), json!("night")));
    let kept = retained_message(app, admin, &acme, "fleet/mode").expect("retained");
    assert_eq!((&kept.payload[..], kept.qos, kept.beside), (b"\"night\"".as_slice(), 1, beside));
    assert_eq!(kept.expires_at.map(|at| at.since(kept.stored_at)), Some(Duration::from_secs(60)));
    let mut late = house.connect(&other, Version::V311).await;
    late.subscribe(&["fleet/#"]).await;
    assert_eq!(late.next().await.0, "fleet/mode");

    for topic in ["shared/a", "shared/b"] {
        let new = NewTopicMessage { retain: true, ..message(topic, "1") };
        publish_message(app, admin, &acme, new).await.expect("published");
        link.next().await;
    }
    let page = retained_messages(app, admin, &acme, Some("fleet/mode"), 1).expect("a page");
    assert_eq!(page.iter().map(|it| it.topic.as_str()).collect::<Vec<_>>(), ["shared/a"]);
    clear_retained(app, admin, &acme, "shared/a").await.expect("cleared");
    assert_eq!(link.next_bytes().await, ("shared/a".to_owned(), Vec::new()));
    clear_retained(app, admin, &acme, "shared/a").await.expect("nothing is there any more");
    assert!(matches!(retained_message(app, admin, &acme, "shared/a"), Err(Error::NotFound { .. })));
    assert!(retained_messages(app, admin, &tenant("zenith"), None, 9).expect("a page").is_empty());
    stranger.expect_nothing().await;
}

#[tokio::test]
async fn what_is_a_services_is_not_published_to() {
    let house = House::new().await;
    for topic in [
        "$aws/things/gw-1/shadow/update",
        "$iothub/methods/POST/x",
        "devices/gw-1/config/reported",
        "devices/gw-1/config/desired",
    ] {
        let new = NewTopicMessage { retain: true, ..message(topic, "{}") };
        let refused = publish_message(&house.app, &house.admin, &tenant("acme"), new).await;
        assert!(matches!(refused, Err(Error::Invalid { .. })), "{topic}: {refused:?}");
    }
    let nobody = publish_message(&house.app, &house.admin, &tenant("nobody"), message("a", "1")).await;
    assert!(matches!(nobody, Err(Error::NotFound { .. })));
}
