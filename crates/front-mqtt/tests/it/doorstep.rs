//! Who gets in, and who hears whom.

use fleetward_app::journal::{self, JournalFilter};
use fleetward_app::provisioning::claims::revoke_claim;
use fleetward_app::provisioning::factories::revoke_factory;
use fleetward_app::reconcile::{ends, revocations};
use fleetward_app::registry;
use fleetward_app::revocation::{self, NewRevocation};
use fleetward_app::transfers::{accept_transfer, complete_transfer, offer_transfer};
use fleetward_core::lifecycle::Transition;
use fleetward_core::provisioning::Mode;
use fleetward_core::revocation::Target;
use fleetward_core::selector::Selector;
use fleetward_sim::mqtt::{Options, Version};
use serde_json::json;

use crate::house::{House, Link, id, tenant, within};
use crate::provisioning::Maker;

#[tokio::test]
async fn the_certificate_is_the_identity() {
    let house = House::new().await;
    let gw = house.enroll("acme", "gw-1", "rev-a").await;
    assert_eq!(house.refused(None, "gw-1", Version::V5).await, 0x87);
    assert_eq!(house.refused(None, "gw-1", Version::V311).await, 5);
    assert_eq!(house.refused(Some(&gw), "gw-2", Version::V5).await, 0x85);
    assert_eq!(house.refused(Some(&gw), "gw-2", Version::V311).await, 2);
    // AWS SDKs say who they are in the user name.
    let options = Options { username: Some("?SDK=PythonV2&Version=1.0".to_owned()), ..Options::default() };
    let client = fleetward_sim::mqtt::Client::connect(house.open(Some(&gw)), "gw-1", &options);
    within(client).await.expect("connected");
}

#[tokio::test]
async fn a_certificate_of_nobody_is_refused() {
    let house = House::new().await;
    let mut gw = house.enroll("acme", "gw-1", "rev-a").await;
    gw.certificate = vec![0x30, 0x03, 0x02, 0x01, 0x01];
    assert_eq!(house.refused(Some(&gw), "gw-1", Version::V5).await, 0x87);
    let other = House::new().await;
    let stranger = other.enroll("acme", "gw-1", "rev-a").await;
    assert_eq!(house.refused(Some(&stranger), "gw-1", Version::V5).await, 0x87, "another installation's");
}

#[tokio::test]
async fn a_revoked_device_is_out_and_stays_out() {
    let house = House::new().await;
    let (one, two) = (house.enroll("acme", "gw-1", "rev-a").await, house.enroll("acme", "gw-2", "rev-a").await);
    let (link, older) = (house.connect(&one, Version::V5).await, house.connect(&two, Version::V311).await);
    for name in ["gw-1", "gw-2"] {
        registry::revoke_device(&house.app, &house.admin, &tenant("acme"), &id(name), "stolen").await.expect("revoked");
    }
    assert_eq!(link.ended().await, Some(0x98), "administrative action");
    assert_eq!(older.ended().await, None, "3.1.1 has no word for it");
    assert_eq!(house.refused(Some(&one), "gw-1", Version::V5).await, 0x87);
    // A new token brings it back.
    let again = house.enroll("acme", "gw-1", "rev-a").await;
    house.connect(&again, Version::V5).await.expect_nothing().await;
}

#[tokio::test]
async fn a_quarantined_device_keeps_what_it_needs_to_be_looked_at() {
    let house = House::new().await;
    let gw = house.enroll("acme", "gw-1", "rev-a").await;
    let link = house.connect(&gw, Version::V5).await;
    let step = async |step| registry::change_status(&house.app, &house.admin, &tenant("acme"), &id("gw-1"), step).await;
    step(Transition::Quarantine).await.expect("quarantined");
    assert_eq!(link.ended().await, Some(0x98), "its session had more rights");

    let mut link = house.connect(&gw, Version::V5).await;
    link.subscribe(&["devices/gw-1/diagnostics/#", "$aws/things/gw-1/jobs/#"]).await;
    assert_eq!(link.publish("devices/gw-1/diagnostics/log", "1").await, 0);
    link.expect("devices/gw-1/diagnostics/log").await;
    for denied in ["devices/gw-1/x", "telemetry/gw-1/cpu", "shared/x", "$aws/things/gw-1/shadow/get"] {
        assert_eq!(link.publish(denied, "{}").await, 0x87, "{denied}");
    }
    for denied in ["devices/gw-1/#", "shared/#", "fleet/#", "$aws/things/gw-1/#", "$aws/things/gw-1/shadow/#"] {
        assert_eq!(link.try_subscribe(&[denied]).await, [0x87], "{denied}");
    }

    step(Transition::Reinstate).await.expect("reinstated");
    assert_eq!(link.ended().await, Some(0x98), "it comes back with all its rights");
    let mut link = house.connect(&gw, Version::V5).await;
    link.subscribe(&["shared/#"]).await;
}

/// Two servers, one database: the other one revokes, and this one, which holds the connections, hears of it.
#[tokio::test]
async fn what_another_server_revoked_is_out_here() {
    let (house, elsewhere) = House::with_another_server().await;
    ends::begin(&house.app).await.expect("it listens");
    let (one, two) = (house.enroll("acme", "gw-1", "rev-a").await, house.enroll("acme", "gw-2", "rev-a").await);
    let three = house.enroll("acme", "gw-3", "rev-a").await;
    let (first, second) = (house.connect(&one, Version::V5).await, house.connect(&two, Version::V5).await);
    let mut kept = house.connect(&three, Version::V5).await;
    registry::revoke_device(&elsewhere, &house.admin, &tenant("acme"), &id("gw-1"), "stolen").await.expect("revoked");
    let target = Target::Group { selector: Selector { devices: [id("gw-2")].into(), ..Selector::default() } };
    let many = NewRevocation { target, reason: "key_compromise".to_owned(), replace_by: None };
    revocation::begin(&elsewhere, &house.admin, &tenant("acme"), many).await.expect("it begins");
    revocations::tick(&elsewhere).await.expect("a turn");
    let looking = async {
        loop {
            ends::tick(&house.app).await.expect("a look");
            tokio::task::yield_now().await;
        }
    };
    let both = async { (first.ended().await, second.ended().await) };
    let ended = tokio::select! { ended = both => ended, () = looking => unreachable!("it looks for ever") };
    assert_eq!(ended, (Some(0x98), Some(0x98)));
    kept.expect_nothing().await;
    assert_eq!(house.refused(Some(&one), "gw-1", Version::V5).await, 0x87);
}

/// Waits for the end of a session while this server follows what the other one did.
async fn ended_by_following(house: &House, link: Link) -> Option<u8> {
    let looking = async {
        loop {
            ends::tick(&house.app).await.expect("a look");
            tokio::task::yield_now().await;
        }
    };
    tokio::select! { ended = link.ended() => ended, () = looking => unreachable!("it looks for ever") }
}

#[tokio::test]
async fn what_another_server_gave_away_or_ended_is_out_here() {
    let (house, elsewhere) = House::with_another_server().await;
    ends::begin(&house.app).await.expect("it listens");
    let (admin, acme) = (&house.admin, tenant("acme"));

    let given = house.enroll("acme", "gw-1", "rev-a").await;
    let link = house.connect(&given, Version::V5).await;
    let offer = offer_transfer(&elsewhere, admin, &acme, id("gw-1"), tenant("zenith"), None).await.expect("offered");
    accept_transfer(&elsewhere, admin, &tenant("zenith"), &offer.code, None).await.expect("accepted");
    complete_transfer(&elsewhere, admin, &acme, offer.id).await.expect("let go");
    assert_eq!(ended_by_following(&house, link).await, Some(0x98), "transferred");

    let body = json!({ "Resources": { "thing": { "Type": "AWS::IoT::Thing", "Properties": { "ThingName": "x" } } } });
    house.template("acme", "line", &body).await;
    let claim = house.claim("acme", "line-4", "line", None).await;
    let link = house.connect(&claim, Version::V5).await;
    revoke_claim(&elsewhere, admin, &acme, "line-4").await.expect("revoked");
    assert_eq!(ended_by_following(&house, link).await, Some(0x98), "the claim ended");

    let maker = Maker::new();
    let factory = maker.register(&house, "acme", Mode::Provision).await;
    let link = house.connect(&maker.device("sn-1"), Version::V5).await;
    revoke_factory(&elsewhere, admin, &acme, &factory).await.expect("revoked");
    assert_eq!(ended_by_following(&house, link).await, Some(0x98), "its factory ended");
    assert_eq!(house.refused(Some(&maker.device("sn-2")), "sn-2", Version::V5).await, 0x87, "here too");
}

#[tokio::test]
async fn two_that_take_each_others_place_are_noticed() {
    let house = House::new().await;
    let gw = house.enroll("acme", "gw-1", "rev-a").await;
    let mut links = Vec::new();
    for _ in 0..7 {
        links.push(house.connect(&gw, Version::V5).await);
    }
    let filter = JournalFilter { action: Some("security.".to_owned()), ..JournalFilter::default() };
    let found = within(async {
        loop {
            let acme = tenant("acme");
            let events =
                journal::events(&house.app, &house.admin, &acme, filter.clone(), None, 10).await.expect("events");
            if let Some(event) = events.into_iter().next() {
                return event.entry;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!((found.action.as_str(), found.device), ("security.takeover_flapping", Some(id("gw-1"))));
}

#[tokio::test]
async fn presence_follows_the_connection() {
    let house = House::new().await;
    let gw = house.enroll("acme", "gw-1", "rev-a").await;
    let mut link = house.connect(&gw, Version::V5).await;
    link.expect_nothing().await;
    let presence = || house.app.presence().of(&tenant("acme"), &id("gw-1"));
    assert!(presence().online);
    assert_eq!(presence().address.as_deref(), Some("192.0.2.1"));
    registry::revoke_device(&house.app, &house.admin, &tenant("acme"), &id("gw-1"), "test").await.expect("revoked");
    link.ended().await;
    within(async {
        while presence().online {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(presence().reason.as_deref(), Some("administrative_action"));
}

#[tokio::test]
async fn devices_hear_what_is_theirs_and_nothing_else() {
    let house = House::new().await;
    let (one, two) = (house.enroll("acme", "gw-1", "rev-a").await, house.enroll("acme", "gw-2", "rev-a").await);
    let abroad = house.enroll("zenith", "gw-1", "rev-a").await;
    let (mut one, mut two) = (house.connect(&one, Version::V5).await, house.connect(&two, Version::V5).await);
    let mut abroad = house.connect(&abroad, Version::V5).await;
    let all = ["devices/gw-1/#", "shared/#", "fleet/#", "$aws/things/gw-1/#"];
    one.subscribe(&all).await;
    abroad.subscribe(&all).await;
    two.subscribe(&["shared/#"]).await;

    assert_eq!(two.publish("shared/x", "1").await, 0);
    one.expect("shared/x").await;
    two.expect("shared/x").await;
    assert_eq!(one.publish("devices/gw-1/x", "1").await, 0);
    one.expect("devices/gw-1/x").await;
    for denied in ["devices/gw-1/x", "fleet/x", "x", "$aws/things/gw-1/shadow/get", "$SYS/x"] {
        assert_eq!(two.publish(denied, "1").await, 0x87, "{denied}");
    }
    for denied in
        ["#", "+/x", "devices/#", "devices/gw-1/#", "$aws/things/gw-1/#", "$aws/things/+/shadow/get", "$SYS/#"]
    {
        assert_eq!(two.try_subscribe(&[denied]).await, [0x87], "{denied}");
    }
    one.expect_nothing().await;
    two.expect_nothing().await;
    abroad.expect_nothing().await;
}
