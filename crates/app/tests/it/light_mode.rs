//! The light mode: what is retained follows the database, and what a device publishes becomes what it reports.

use fleetward_app::identity_policy::{amend_policy, show_policy};
use fleetward_app::reconcile::shadows;
use fleetward_app::shadow::light::{reported, restore};
use fleetward_app::shadow::{self, ShadowKey, Via};
use fleetward_core::shadow::Refused;
use serde_json::{Value, json};

use crate::fixture::{Fixture, device, tenant};
use crate::fleet::{Told, add_device, as_device};

const DESIRED: &str = "devices/gw-1/config/desired";
const REPORTED: &str = "devices/gw-1/config/reported";

fn config() -> ShadowKey {
    ShadowKey { device: device("gw-1"), name: "config".to_owned() }
}

#[tokio::test]
async fn what_is_retained_is_what_the_database_says() {
    let fixture = Fixture::new().await;
    let (app, acme) = (&fixture.app, tenant("acme"));
    let told = Told::listen(app);
    add_device(app, &acme, "gw-1", "rev-a").await;
    let (ops, gw) = (fixture.operator("acme", "operator").await, as_device(app, &acme, "gw-1"));
    let set = |state: Value| {
        let (ops, acme) = (&ops, &acme);
        async move {
            let payload = json!({ "state": { "desired": state } }).to_string();
            shadow::update(app, ops, acme, &config(), payload.as_bytes(), Via::Call).await.expect("accepted");
        }
    };
    set(json!({"interval": 60})).await;
    assert_eq!(told.retained_text(DESIRED).as_deref(), Some(r#"{"interval":60}"#));
    assert_eq!(told.retained_text(REPORTED), None);
    // Another shadow has no such messages.
    let payload = br#"{"state":{"desired":{"x":1}}}"#;
    shadow::update(app, &ops, &acme, &ShadowKey::classic(device("gw-1")), payload, Via::Call).await.expect("accepted");
    assert_eq!(told.retained_text(DESIRED).as_deref(), Some(r#"{"interval":60}"#));

    let applied = reported(app, &gw, &acme, &device("gw-1"), br#"{"interval":30,"note":"x"}"#).await.expect("accepted");
    assert_eq!(Value::Object(applied.delta.expect("they differ").state), json!({"interval": 60}));
    // The whole each time: what is not said any more is not so any more.
    let applied = reported(app, &gw, &acme, &device("gw-1"), br#"{"interval":60}"#).await.expect("accepted");
    assert_eq!(applied.document.state.to_value(), json!({"desired": {"interval": 60}, "reported": {"interval": 60}}));
    assert_eq!(told.retained_text(REPORTED).as_deref(), Some(r#"{"interval":60}"#));
    for (payload, refused) in [
        (b"{".as_slice(), Refused::InvalidJson),
        (b"[1]", Refused::ReportedNotObject),
        (br#"{"a":[null]}"#, Refused::InvalidNode),
        (br#"{"a":{"b":{"c":{"d":{"e":{"f":{}}}}}}}"#, Refused::TooDeep),
        (b"\xff", Refused::NotUtf8),
        (format!(r#"{{"a":"{}"}}"#, "x".repeat(8192)).as_bytes(), Refused::TooLarge),
    ] {
        let found = reported(app, &gw, &acme, &device("gw-1"), payload).await.expect_err("refused").refused();
        assert_eq!(found, refused, "{}", String::from_utf8_lossy(payload));
    }
    let neighbour = reported(app, &as_device(app, &acme, "gw-2"), &acme, &device("gw-1"), b"{}").await;
    assert_eq!(neighbour.expect_err("not its own").refused(), Refused::Forbidden);

    // What is retained and is not so is made so, by the walk and when the device subscribes.
    told.spoil(DESIRED, "{}");
    told.spoil(REPORTED, r#"{"interval":1}"#);
    assert_eq!(shadows::walk(app).await.expect("it works").restored, 2);
    assert_eq!(shadows::walk(app).await.expect("it works").restored, 0);
    told.spoil(DESIRED, r#"{"interval":0}"#);
    assert_eq!(restore(app, &acme, &device("gw-1")).await.expect("it works"), 1);
    assert_eq!(told.retained_text(DESIRED).as_deref(), Some(r#"{"interval":60}"#));

    // An empty message takes back what was reported; a deletion takes both away.
    reported(app, &gw, &acme, &device("gw-1"), b"").await.expect("accepted");
    assert_eq!(told.retained_text(REPORTED), None);
    shadow::delete(app, &ops, &acme, &config(), None, Via::Call).await.expect("deleted");
    assert_eq!(told.retained_text(DESIRED), None);
    told.spoil(DESIRED, "{}");
    assert_eq!(restore(app, &acme, &device("gw-1")).await.expect("it works"), 1);
    assert_eq!(told.retained_text(DESIRED), None);
}

#[tokio::test]
async fn a_tenant_does_without_it() {
    let fixture = Fixture::new().await;
    let (app, acme) = (&fixture.app, tenant("acme"));
    let told = Told::listen(app);
    add_device(app, &acme, "gw-1", "rev-a").await;
    let revision = show_policy(app, &fixture.admin, &acme).await.expect("a policy").revision;
    let patch = json!({"shadow": {"light_mode": false}}).as_object().cloned().expect("an object");
    amend_policy(app, &fixture.admin, &acme, revision, patch).await.expect("it may be so");
    let (ops, gw) = (fixture.operator("acme", "operator").await, as_device(app, &acme, "gw-1"));
    let payload = br#"{"state":{"desired":{"x":1}}}"#;
    shadow::update(app, &ops, &acme, &config(), payload, Via::Call).await.expect("accepted");
    assert_eq!(told.retained_text(DESIRED), None);
    let refused = reported(app, &gw, &acme, &device("gw-1"), b"{}").await.expect_err("refused").refused();
    assert_eq!(refused, Refused::Forbidden);
}
