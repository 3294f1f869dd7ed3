//! A device that goes to another tenant: it is told, and when it has gone nothing of it is left here, on no server.

use fleetward_app::enroll::{Attempt, admit_device};
use fleetward_app::reconcile::ends;
use fleetward_app::transfers::{accept_transfer, complete_transfer, confirm_wiped, offer_transfer, wipe_order};
use fleetward_app::{App, Ctx};
use fleetward_base::TransferId;
use fleetward_broker::Message;
use fleetward_sim::mqtt::{Options, Version};
use fleetward_store::StoreError;
use rustls_pki_types::CertificateDer;
use serde_json::json;

use crate::house::{Device, House, id, tenant};

const TOPIC: &str = "devices/gw-1/identity/transfer";

/// Offered by acme and accepted by zenith.
async fn agreed(house: &House, app: &App) -> TransferId {
    let (admin, acme, zenith) = (&house.admin, tenant("acme"), tenant("zenith"));
    let made = offer_transfer(app, admin, &acme, id("gw-1"), zenith.clone(), None).await.expect("offered");
    accept_transfer(app, admin, &zenith, &made.code, Some(id("gw-2"))).await.expect("accepted");
    made.id
}

async fn itself(house: &House, device: &Device) -> Ctx {
    let attempt = Attempt { address: [192, 0, 2, 1].into(), request_id: house.app.new_request_id() };
    let leaf = CertificateDer::from(device.certificate.as_slice());
    let admitted = admit_device(&house.app, &attempt, &leaf).await.expect("let in");
    Ctx { principal: admitted.principal(), ..house.admin.clone() }
}

/// A device with a session that lasts, something retained and somebody who waits.
async fn lived(house: &House) -> (Device, crate::house::Link) {
    let gw = house.enroll("acme", "gw-1", "rev-a").await;
    let options = Options { version: Version::V5, clean: false, session_expiry_secs: 3600, ..Options::default() };
    let mut link = house.connect_as(Some(&gw), "gw-1", &options).await;
    link.subscribe(&[TOPIC, "shared/x"]).await;
    for topic in ["devices/gw-1/status", "devices/gw-7/status", "shared/gw-1/x"] {
        let message = Message { retain: true, ..Message::new(topic, b"{}") };
        let receipt = house.broker.publish(&tenant("acme"), message).expect("published");
        receipt.durable().await.expect("committed");
    }
    (gw, link)
}

/// What the store has of its session, and the topics that are retained.
async fn left(app: &App) -> (bool, bool, Vec<String>) {
    let acme = tenant("acme");
    let read = app.store().read(&acme, "test", |tx| {
        Box::pin(async move {
            let (session, wishes) = (tx.session("gw-1").await?.is_some(), tx.subscriptions("gw-1").await?);
            let retained = tx.retained("", None, 9).await?.into_iter().map(|row| row.topic).collect();
            Ok::<_, StoreError>((session, !wishes.is_empty(), retained))
        })
    });
    read.await.expect("reads")
}

#[tokio::test]
async fn a_device_that_goes_is_told_and_leaves_nothing() {
    let house = House::new().await;
    let (gw, mut link) = lived(&house).await;
    let before = left(&house.app).await;
    assert_eq!(
        before,
        (true, true, ["devices/gw-1/status", "devices/gw-7/status", "shared/gw-1/x"].map(str::to_owned).into())
    );
    let transfer = agreed(&house, &house.app).await;
    let notice = (TOPIC.to_owned(), json!({ "transfer": transfer.to_string() }));
    assert_eq!(link.next().await, notice);
    // And each time that it asks for it, also with the rights of quarantine.
    link.subscribe(&[TOPIC]).await;
    assert_eq!(link.next().await, notice);

    let ctx = itself(&house, &gw).await;
    let order = wipe_order(&house.app, &ctx).await.expect("an order");
    assert_eq!((order.tenant.as_str(), order.device.as_str()), ("zenith", "gw-2"));
    confirm_wiped(&house.app, &ctx, transfer).await.expect("it goes");
    assert_eq!(link.ended().await, Some(0x98), "its session has ended");
    let after = left(&house.app).await;
    assert_eq!(after, (false, false, ["devices/gw-7/status", "shared/gw-1/x"].map(str::to_owned).into()));
    assert_eq!(house.broker.stats().retained, 2, "in memory too");
    assert_eq!(house.refused(Some(&gw), "gw-1", Version::V5).await, 0x87);
}

/// Two servers, one database: the other one hands over, and this one, which has the session, hears of it.
#[tokio::test]
async fn what_another_server_handed_over_is_gone_here() {
    let (house, elsewhere) = House::with_another_server().await;
    ends::begin(&house.app).await.expect("it listens");
    let (gw, link) = lived(&house).await;
    let transfer = agreed(&house, &elsewhere).await;
    complete_transfer(&elsewhere, &house.admin, &tenant("acme"), transfer).await.expect("let go");
    let looking = async {
        loop {
            ends::tick(&house.app).await.expect("a look");
            if house.broker.stats().retained == 2 {
                break;
            }
            tokio::task::yield_now().await;
        }
    };
    let (ended, ()) = tokio::join!(link.ended(), looking);
    assert_eq!(ended, Some(0x98));
    assert!(!left(&house.app).await.0, "no session is left");
    assert_eq!(house.refused(Some(&gw), "gw-1", Version::V5).await, 0x87);
}
