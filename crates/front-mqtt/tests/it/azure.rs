//! Azure's device registration: who signs in by name and password, and how little that is good for.

use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fleetward_app::enrollment_keys::id_scope;
use fleetward_app::enrollment_keys::{Kind, NewEnrollment, ShownKeys, create_enrollment, revoke_enrollment};
use fleetward_app::provisioning::factories::{FactoryChange, amend_factory};
use fleetward_app::provisioning::jit::{activate, arrived};
use fleetward_core::provisioning::Mode;
use fleetward_sim::mqtt::{Client, Options, Version};
use serde_json::json;

use crate::house::{Device, House, Link, tenant, within};
use crate::provisioning::Maker;

const RESPONSES: &str = "$dps/registrations/res/#";
const REGISTER: &str = "$dps/registrations/PUT/iotdps-register/?$rid=a1";

async fn keys(house: &House, name: &str) -> ShownKeys {
    keys_in(house, "acme", name).await
}

async fn keys_in(house: &House, home: &str, name: &str) -> ShownKeys {
    let (home, new) = (tenant(home), NewEnrollment::default());
    create_enrollment(&house.app, &house.admin, &home, Kind::Individual, name.to_owned(), new).await.expect("made")
}

/// A connection of a tenant's `gw-1` that is in to register.
pub(crate) async fn registrant(house: &House, home: &str) -> Link {
    let keys = keys_in(house, home, "gw-1").await;
    house.connect_as(None, "gw-1", &options(house, &keys, &keys.id_scope, "gw-1", Version::V5)).await
}

fn options(house: &House, keys: &ShownKeys, scope: &str, id: &str, version: Version) -> Options {
    let (resource, expires) = (format!("{scope}%2Fregistrations%2F{id}"), house.app.now().secs() + 3600);
    let key = hmac::Key::new(hmac::HMAC_SHA256, &STANDARD.decode(&keys.primary_key).expect("base64"));
    let tag = STANDARD.encode(hmac::sign(&key, format!("{resource}\n{expires}").as_bytes()));
    let tag = tag.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
    Options {
        version,
        // As Azure's SDK: it wants to find its session again, and must not.
        clean: false,
        username: Some(format!("{scope}/registrations/{id}/api-version=2019-03-31&ClientVersion=test")),
        password: Some(format!("SharedAccessSignature sr={resource}&sig={tag}&se={expires}")),
        ..Options::default()
    }
}

#[tokio::test]
async fn a_device_registers_and_leaves_its_namesake_alone() {
    let house = House::new().await;
    let keys = keys(&house, "gw-1").await;
    // The device itself is connected under the same client id, and stays.
    let device = house.enroll("acme", "gw-1", "rev-a").await;
    let mut itself = house.connect(&device, Version::V5).await;
    for version in [Version::V311, Version::V5] {
        let options = options(&house, &keys, &keys.id_scope, "gw-1", version);
        let mut link = house.connect_as(None, "gw-1", &options).await;
        link.subscribe(&[RESPONSES]).await;
        assert_eq!(link.publish(REGISTER, r#"{"registrationId": "gw-1"}"#).await, 0);
        let (topic, body) = link.next().await;
        assert_eq!(topic, "$dps/registrations/res/202/?$rid=a1&retry-after=3");
        let operation = body["operationId"].as_str().expect("an id");
        let status = format!("$dps/registrations/GET/iotdps-get-operationstatus/?$rid=b2&operationId={operation}");
        link.publish(&status, " ").await;
        let (topic, body) = link.next().await;
        assert_eq!(topic, "$dps/registrations/res/200/?$rid=b2");
        assert_eq!(body["registrationState"]["deviceId"], json!("gw-1"));
        link.publish(REGISTER, r#"{"registrationId": "gw-2"}"#).await;
        assert_eq!(link.next().await.1["errorCode"], json!(400_004));
    }
    itself.expect_nothing().await;
}

#[tokio::test]
async fn it_reaches_its_own_topics_alone() {
    let house = House::new().await;
    let keys = keys(&house, "gw-1").await;
    let options = options(&house, &keys, &keys.id_scope, "gw-1", Version::V5);
    let mut link = house.connect_as(None, "gw-1", &options).await;
    for denied in [
        "devices/gw-1/#",
        "shared/x",
        "fleet/news",
        "$aws/things/gw-1/jobs/notify",
        "$aws/things/gw-1/shadow/get/accepted",
        "$dps/registrations/#",
        "$aws/certificates/create-from-csr/json/+",
        "$dps/#",
        "#",
    ] {
        assert_eq!(link.try_subscribe(&[denied]).await, [0x87], "{denied}");
    }
    for denied in
        ["devices/gw-1/status", "shared/x", "$aws/things/gw-1/shadow/get", "$dps/registrations/res/200/?$rid=1"]
    {
        assert_eq!(link.publish(denied, "{}").await, 0x87, "{denied}");
    }
    // What a claim may ask, it may not.
    assert_eq!(link.publish("$aws/certificates/create-from-csr/json", "{}").await, 0x87);
    // And a device with a certificate does not register here.
    let device = house.enroll("acme", "gw-2", "rev-a").await;
    assert_eq!(house.connect(&device, Version::V5).await.publish(REGISTER, "{}").await, 0x87);
}

#[tokio::test]
async fn who_does_not_get_in() {
    let house = House::new().await;
    let (keys, others) = (keys(&house, "gw-1").await, keys(&house, "gw-2").await);
    let scope = keys.id_scope.as_str();
    for version in [Version::V311, Version::V5] {
        let denied = if version == Version::V5 { 0x87 } else { 5 };
        for (options, client_id) in [
            (options(&house, &others, scope, "gw-1", version), "gw-1"),
            (options(&house, &keys, "0neNOBODY", "gw-1", version), "gw-1"),
            (options(&house, &keys, scope, "gw-2", version), "gw-2"),
            (Options { password: None, ..options(&house, &keys, scope, "gw-1", version) }, "gw-1"),
        ] {
            assert_eq!(house.refused_as(None, client_id, &options).await, denied, "{:?}", options.username);
        }
        let good = options(&house, &keys, scope, "gw-1", version);
        let wrong = Options { password: Some("hunter2".to_owned()), ..good.clone() };
        let code = house.refused_as(None, "gw-1", &wrong).await;
        assert_eq!(code, if version == Version::V5 { 0x86 } else { 4 });
        let code = house.refused_as(None, "gw-9", &good).await;
        assert_eq!(code, if version == Version::V5 { 0x85 } else { 2 }, "another client id");
    }
    let good = options(&house, &keys, scope, "gw-1", Version::V5);
    revoke_enrollment(&house.app, &house.admin, &tenant("acme"), Kind::Individual, "gw-1").await.expect("revoked");
    assert_eq!(house.refused_as(None, "gw-1", &good).await, 0x87);
}

fn with_certificate(scope: &str, id: &str) -> Options {
    let username = Some(format!("{scope}/registrations/{id}/api-version=2019-03-31"));
    Options { version: Version::V5, username, ..Options::default() }
}

#[tokio::test]
async fn a_factorys_certificate_signs_in_whom_a_first_connection_would() {
    let house = House::new().await;
    let (app, admin, acme) = (&house.app, &house.admin, tenant("acme"));
    let scope = id_scope(app, admin, &acme).await.expect("a scope");
    let (maker, waits) = (Maker::new(), Maker::new());
    let refused = async |device: &Device, id: &str| {
        assert_eq!(house.refused_as(Some(device), id, &with_certificate(&scope, id)).await, 0x87, "{id}");
    };
    let first = maker.device("sn-1");
    refused(&first, "sn-1").await;
    let factory = maker.register(&house, "acme", Mode::Provision).await;
    refused(&first, "sn-2").await;
    let mut link = house.connect_as(Some(&first), "sn-1", &with_certificate(&scope, "sn-1")).await;
    link.subscribe(&[RESPONSES]).await;
    link.publish(REGISTER, r#"{"registrationId": "sn-1"}"#).await;
    assert!(link.next().await.0.starts_with("$dps/registrations/res/202/"));
    // Its certificate is what it connects with.
    house.connect(&first, Version::V5).await;
    // By a line of the factory: what stands above the certificate comes with it.
    let chain = maker.by_a_line("sn-3");
    let alone = Device { name: "sn-3".to_owned(), certificate: chain.first().expect("a certificate").clone() };
    refused(&alone, "sn-3").await;
    let options = with_certificate(&scope, "sn-3");
    within(Client::connect(house.open_chain(chain), "sn-3", &options)).await.expect("it is in");

    let change = FactoryChange { enabled: Some(false), ..FactoryChange::default() };
    amend_factory(app, admin, &acme, &factory, 1, change).await.expect("disabled");
    refused(&maker.device("sn-4"), "sn-4").await;
    waits.register(&house, "acme", Mode::Register).await;
    let claimed = waits.device("sn-5");
    refused(&claimed, "sn-5").await;
    let row = arrived(app, admin, &acme, true, None, 10).await.expect("a page").pop().expect("it waits");
    activate(app, admin, &acme, &row.id).await.expect("activated");
    house.connect_as(Some(&claimed), "sn-5", &with_certificate(&scope, "sn-5")).await;
}
