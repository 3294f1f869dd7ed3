//! What an external broker is answered.

use fleetward_app::external_broker::{Answer, Client, access_list, may_act, may_connect};
use fleetward_app::{Ctx, Error, api_tokens, registry};
use fleetward_core::access::{DeviceRights, Role};
use fleetward_core::topic_policy::Act;
use fleetward_front_mqtt::policy::may_publish;
use rustls_pki_types::CertificateDer;

use crate::house::{Device, House, context, id, tenant};

async fn caller(house: &House, home: &str, role: Role) -> Ctx {
    let (app, admin) = (&house.app, &house.admin);
    let made = api_tokens::create_api_token(app, admin, Some(tenant(home)), "plugin".to_owned(), role, None).await;
    let principal = api_tokens::authenticate(app, &made.expect("a token").token).await.expect("it counts");
    context(app, principal)
}

fn named(name: &str) -> Client {
    Client { client_id: name.to_owned(), user_name: name.to_owned(), named_by_tls: true, ..Client::default() }
}

fn showing(device: &Device, client_id: &str) -> Client {
    let chain = vec![CertificateDer::from(device.certificate.clone())];
    Client { client_id: client_id.to_owned(), chain, ..Client::default() }
}

#[tokio::test]
async fn a_broker_is_told_who_may_connect() {
    let house = House::new().await;
    let gw = house.enroll("acme", "gw-1", "rev-a").await;
    let abroad = house.enroll("zenith", "gw-9", "rev-a").await;
    let broker = caller(&house, "acme", Role::Broker).await;
    let ask = async |client: Client| may_connect(&house.app, &broker, &client).await.expect("an answer");
    let by_name = ask(named("gw-1")).await;
    assert!(
        matches!(&by_name, Answer::Allow(it) if it.rights == DeviceRights::Full && it.until.is_none()),
        "{by_name:?}"
    );
    let by_certificate = ask(showing(&gw, "gw-1")).await;
    assert!(matches!(&by_certificate, Answer::Allow(it) if it.device == id("gw-1") && it.until.is_some()));
    let unnamed = ask(Client { common_name: Some("gw-1".to_owned()), ..Client::default() }).await;
    assert!(matches!(unnamed, Answer::Allow(_)), "the broker chooses the client id");
    for (client, why) in [
        (named("gw-2"), "nobody"),
        (named("gw-9"), "another tenant's"),
        (showing(&gw, "gw-2"), "under another name"),
        (showing(&abroad, "gw-9"), "another tenant's certificate"),
        (Client { chain: vec![CertificateDer::from(vec![1, 2, 3])], ..named("gw-1") }, "no certificate"),
        (Client { client_id: "gw-2".to_owned(), ..named("gw-1") }, "two names"),
        (
            Client { common_name: Some("gw-1".to_owned()), user_name: "gw-2".to_owned(), ..Client::default() },
            "the user name is asked for later",
        ),
        (Client { user_name: "gw-2".to_owned(), ..showing(&gw, "gw-1") }, "the same beside its certificate"),
        (Client { named_by_tls: false, ..named("gw-1") }, "a name that nobody has verified"),
    ] {
        assert_eq!(ask(client).await, Answer::Deny, "{why}");
    }
    assert_eq!(ask(named("fleetward.server")).await, Answer::Ignore, "no device");
    registry::revoke_device(&house.app, &house.admin, &tenant("acme"), &id("gw-1"), "test").await.expect("revoked");
    for client in [named("gw-1"), showing(&gw, "gw-1")] {
        assert_eq!(ask(client).await, Answer::Deny, "revoked");
    }
}

#[tokio::test]
async fn a_broker_is_told_what_a_device_may_do() {
    let house = House::new().await;
    for (home, name) in [("acme", "gw-1"), ("zenith", "gw-9")] {
        house.enroll(home, name, "rev-a").await;
    }
    let broker = caller(&house, "acme", Role::Broker).await;
    let ask =
        async |name: &str, act, topic: &str| may_act(&house.app, &broker, name, act, topic).await.expect("an answer");
    for topic in ["devices/gw-1/x", "devices/gw-2/x", "fleet/x", "shared/x", "$aws/things/gw-1/shadow/get", "$SYS/x"] {
        for retain in [false, true] {
            let wanted = may_publish(DeviceRights::Full, "gw-1", topic, retain);
            let found = ask("gw-1", if retain { Act::Retain } else { Act::Publish }, topic).await;
            assert_eq!(found, if wanted { Answer::Allow(()) } else { Answer::Deny }, "{topic}");
        }
    }
    assert_eq!(ask("gw-1", Act::Subscribe, "devices/gw-1/#").await, Answer::Allow(()));
    assert_eq!(ask("gw-1", Act::Subscribe, "#").await, Answer::Deny);
    assert_eq!(ask("gw-1", Act::Receive, "fleet/news").await, Answer::Allow(()));
    assert_eq!(ask("gw-9", Act::Receive, "fleet/news").await, Answer::Deny, "another tenant's");
    assert_eq!(ask("a.b", Act::Receive, "fleet/news").await, Answer::Ignore, "no device");
    assert!(access_list(&house.app, &broker).expect("a list").contains("pattern read fleet/#"));
}

#[tokio::test]
async fn who_may_ask() {
    let house = House::new().await;
    house.enroll("acme", "gw-1", "rev-a").await;
    let viewer = caller(&house, "acme", Role::Viewer).await;
    assert!(may_connect(&house.app, &viewer, &named("gw-1")).await.is_ok(), "it sees devices anyway");
    // Of no tenant, so no broker's.
    let refused = may_connect(&house.app, &house.admin, &named("gw-1")).await;
    assert!(matches!(refused, Err(Error::NotFound { .. })), "{refused:?}");
    let broker = caller(&house, "acme", Role::Broker).await;
    let devices = registry::device(&house.app, &broker, &tenant("acme"), &id("gw-1")).await;
    assert!(matches!(devices, Err(Error::Denied { .. })), "it may ask, and nothing else");
}
