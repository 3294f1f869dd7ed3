//! Every family of topics is tried by another tenant, by a neighbour and by nobody.
//!
//! The list of families is the table of `docs/topics.md`; one that has no probe here fails the test, and so does a probe
//! whose family is gone.

use fleetward_broker::Message;
use fleetward_sim::mqtt::Version;

use crate::azure::registrant;
use crate::house::{House, tenant};

/// Who may have to do with a family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    /// Each device's alone: to a neighbour of the same tenant it is denied.
    OneDevice,
    /// All devices of a tenant.
    Devices,
    /// Of each connection, under the same names: what a device asks there is about itself.
    EachItsOwn,
    /// For connections with a claim, which are no devices.
    Claims,
    /// For connections that are in to register, which are none either.
    Registrants,
    /// The server speaks there to whoever asks by the API.
    Nobody,
}

/// A family as the page has it, and a topic of it that the server itself may publish on.
struct Probe {
    family: &'static str,
    topic: &'static str,
    whose: Whose,
}

const PROBES: [Probe; 13] = [
    Probe { family: "{any}/{self}/...", topic: "devices/gw-1/probe", whose: Whose::OneDevice },
    Probe { family: "devices/{self}/config/...", topic: "devices/gw-1/config/desired", whose: Whose::OneDevice },
    Probe { family: "shared/...", topic: "shared/probe", whose: Whose::Devices },
    Probe { family: "fleet/...", topic: "fleet/probe", whose: Whose::Devices },
    Probe {
        family: "$aws/things/{self}/shadow/...",
        topic: "$aws/things/gw-1/shadow/update/documents",
        whose: Whose::OneDevice,
    },
    Probe { family: "$aws/things/{self}/jobs/...", topic: "$aws/things/gw-1/jobs/notify", whose: Whose::OneDevice },
    Probe {
        family: "$aws/commands/{things,clients}/{self}/...",
        topic: "$aws/commands/things/gw-1/executions/probe/response/accepted/json",
        whose: Whose::OneDevice,
    },
    Probe {
        family: "$fleetward/things/{self}/attest/...",
        topic: "$fleetward/things/gw-1/attest/challenge/json/accepted",
        whose: Whose::OneDevice,
    },
    Probe { family: "$iothub/...", topic: "$iothub/twin/res/200/?$rid=1", whose: Whose::EachItsOwn },
    Probe { family: "$aws/certificates/...", topic: "$aws/certificates/create/json/accepted", whose: Whose::Claims },
    Probe {
        family: "$aws/provisioning-templates/...",
        topic: "$aws/provisioning-templates/line/provision/json/accepted",
        whose: Whose::Claims,
    },
    Probe { family: "$dps/registrations/...", topic: "$dps/registrations/res/200/?$rid=1", whose: Whose::Registrants },
    Probe { family: "$aws/events/...", topic: "$aws/events/certificates/registered/ab", whose: Whose::Nobody },
];

fn of(whose: &[Whose]) -> impl Iterator<Item = &'static Probe> {
    PROBES.iter().filter(move |probe| whose.contains(&probe.whose))
}

#[test]
fn every_family_has_its_probe() {
    let path = format!("{}/../../docs/topics.md", env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(path).expect("the page of topics");
    let table = page.split("| topics | publish | subscribe |").nth(1).expect("its table");
    let families: Vec<&str> = table
        .lines()
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .filter_map(|line| line.split('`').nth(1))
        .collect();
    assert_eq!(families, PROBES.map(|probe| probe.family));
}

#[tokio::test]
async fn another_tenant_hears_and_reaches_nothing() {
    let house = House::new().await;
    let (here, abroad) = (house.enroll("acme", "gw-1", "rev-a").await, house.enroll("zenith", "gw-1", "rev-a").await);
    let of_devices = || of(&[Whose::OneDevice, Whose::Devices, Whose::EachItsOwn]);
    let (mut here, mut abroad) = (house.connect(&here, Version::V5).await, house.connect(&abroad, Version::V5).await);
    let filters: Vec<&str> = of_devices().map(|probe| probe.topic).collect();
    here.subscribe(&filters).await;
    abroad.subscribe(&filters).await;
    for probe in of_devices() {
        let receipt = house.broker.publish(&tenant("acme"), Message::new(probe.topic, b"{}")).expect("published");
        receipt.durable().await.expect("committed");
        assert_eq!(here.next().await.0, probe.topic, "its own tenant hears it");
        abroad.expect_nothing().await;
    }
    for probe in PROBES {
        abroad.publish(probe.topic, "{}").await;
        abroad.publish(&format!("acme/{}", probe.topic), "{}").await;
    }
    here.expect_nothing().await;
}

#[tokio::test]
async fn another_tenants_claim_hears_and_reaches_nothing() {
    let house = House::new().await;
    let template = serde_json::json!({ "Resources": { "thing": { "Type": "AWS::IoT::Thing" } } });
    for home in ["acme", "zenith"] {
        house.template(home, "line", &template).await;
    }
    let (here, abroad) =
        (house.claim("acme", "line", "line", None).await, house.claim("zenith", "line", "line", None).await);
    let (mut here, mut abroad) = (house.connect(&here, Version::V5).await, house.connect(&abroad, Version::V5).await);
    for probe in of(&[Whose::Claims]) {
        here.subscribe(&[probe.topic]).await;
        abroad.subscribe(&[probe.topic]).await;
        let request = probe.topic.trim_end_matches("/accepted");
        abroad.publish(request, "{}").await;
        assert!(abroad.next().await.0.ends_with("/rejected"), "{request} is answered");
        let receipt = house.broker.publish(&tenant("acme"), Message::new(probe.topic, b"{}")).expect("published");
        receipt.durable().await.expect("committed");
        here.expect_nothing().await;
        abroad.expect_nothing().await;
    }
    for probe in PROBES.iter().filter(|probe| probe.whose != Whose::Claims) {
        assert_eq!(here.try_subscribe(&[probe.topic]).await, [0x87], "{}", probe.family);
        assert_eq!(here.publish(probe.topic, "{}").await, 0x87, "{}", probe.family);
    }
}

#[tokio::test]
async fn another_tenants_registrant_hears_and_reaches_nothing() {
    let house = House::new().await;
    let (mut here, mut abroad) = (registrant(&house, "acme").await, registrant(&house, "zenith").await);
    let (answers, request) = ("$dps/registrations/res/#", "$dps/registrations/GET/iotdps-get-operationstatus/");
    here.subscribe(&[answers]).await;
    abroad.subscribe(&[answers]).await;
    abroad.publish(&format!("{request}?$rid=1&operationId=4.x"), "").await;
    assert!(abroad.next().await.0.starts_with("$dps/registrations/res/404/"), "it is answered");
    for probe in of(&[Whose::Registrants]) {
        let receipt = house.broker.publish(&tenant("acme"), Message::new(probe.topic, b"{}")).expect("published");
        receipt.durable().await.expect("committed");
        here.expect_nothing().await;
        abroad.expect_nothing().await;
        assert_eq!(abroad.publish(probe.topic, "{}").await, 0x87, "what the server says");
    }
    for probe in PROBES.iter().filter(|probe| probe.whose != Whose::Registrants) {
        assert_eq!(here.try_subscribe(&[probe.topic]).await, [0x87], "{}", probe.family);
        assert_eq!(here.publish(probe.topic, "{}").await, 0x87, "{}", probe.family);
    }
}

#[tokio::test]
async fn a_neighbour_is_denied_what_is_not_its_own() {
    let house = House::new().await;
    house.enroll("acme", "gw-1", "rev-a").await;
    let neighbour = house.enroll("acme", "gw-2", "rev-a").await;
    let mut neighbour = house.connect(&neighbour, Version::V5).await;
    for probe in PROBES {
        let (heard, said) = match probe.whose {
            Whose::Devices => (1, 0),
            Whose::EachItsOwn => (1, 0x87),
            Whose::OneDevice | Whose::Claims | Whose::Registrants | Whose::Nobody => (0x87, 0x87),
        };
        assert_eq!(neighbour.try_subscribe(&[probe.topic]).await, [heard], "{}", probe.family);
        let said = if probe.family == "fleet/..." { 0x87 } else { said };
        assert_eq!(neighbour.publish(probe.topic, "{}").await, said, "{}", probe.family);
    }
}

#[tokio::test]
async fn nobody_gets_as_far_as_a_topic() {
    let house = House::new().await;
    for version in [Version::V311, Version::V5] {
        assert_ne!(house.refused(None, "gw-1", version).await, 0);
    }
}
