//! Last wills where several servers share a database.

use std::time::Duration;

use fleetward_app::reconcile::servers;
use fleetward_base::limits;
use fleetward_sim::mqtt::Version;
use tokio::io::DuplexStream;
use tokio::runtime::{Builder, Runtime};

use crate::house::{Device, House, Link, within};

const WILL: &str = "shared/wills/gw-1";

/// A server in a runtime of its own, with a device that leaves a will, so that it can die as a process does.
struct Other {
    runtime: Runtime,
    house: House,
    device: DuplexStream,
}

impl Other {
    async fn start(config: &fleetward_store::Config, house: &House, device: &Device) -> Self {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let (config, admin, device) = (config.clone(), house.admin.clone(), device.clone());
        let started = runtime.spawn(async move {
            let house = House::beside(&config, admin).await;
            let device = house.connect_with_will(&device, WILL, "gone", false).await;
            (house, device)
        });
        let (house, device) = started.await.expect("it runs");
        Self { runtime, house, device }
    }

    async fn beat(&self) {
        let app = self.house.app.clone();
        let beats = self.runtime.spawn(async move { servers::tick(&app).await });
        beats.await.expect("it runs").expect("a store");
    }

    /// The process dies: nothing of it runs on, and its connections to the database break.
    fn kill(self) -> DuplexStream {
        self.runtime.shutdown_background();
        self.device
    }
}

async fn house() -> (House, fleetward_store::Config, Device, Link) {
    let (house, config) = House::on_postgres().await;
    let gw = house.enroll("acme", "gw-1", "rev-a").await;
    let watcher = house.enroll("acme", "watcher", "rev-a").await;
    let mut watching = house.connect(&watcher, Version::V5).await;
    watching.subscribe(&["shared/wills/+"]).await;
    (house, config, gw, watching)
}

/// Time passes on the server that lives; how many wills it took over.
async fn pass(house: &House, span: Duration) -> u64 {
    let mut taken = 0;
    // It looks often enough not to take itself for one that was away.
    for _ in 0..4 {
        house.clock.advance(span / 4);
        taken += servers::tick(&house.app).await.expect("a store");
    }
    house.clock.advance(Duration::from_secs(1));
    house.broker.tick();
    taken
}

#[tokio::test]
async fn what_a_server_that_dies_leaves_another_one_says() {
    let (house, config, gw, mut watching) = house().await;
    let other = Other::start(&config, &house, &gw).await;
    let half = limits::SERVER_SILENCE / 2;
    for _ in 0..4 {
        other.beat().await;
        assert_eq!(pass(&house, half).await, 0, "it lives");
    }
    watching.expect_nothing().await;
    let _device = other.kill();
    assert_eq!(pass(&house, half).await, 0, "it may be slow");
    assert_eq!(pass(&house, limits::SERVER_SILENCE).await, 1);
    assert_eq!(watching.next_bytes().await, (WILL.to_owned(), b"gone".to_vec()));
    assert_eq!(pass(&house, limits::SERVER_SILENCE).await, 0, "once");
    watching.expect_nothing().await;
}

#[tokio::test]
async fn who_was_away_itself_takes_nobody_for_gone() {
    let (house, config, gw, mut watching) = house().await;
    let other = Other::start(&config, &house, &gw).await;
    assert_eq!(pass(&house, Duration::ZERO).await, 0, "it is heard of");
    // Stopped, or without its database, for as long as the other one has said nothing that it could hear.
    house.clock.advance(limits::SERVER_SILENCE * 2);
    assert_eq!(pass(&house, Duration::ZERO).await, 0);
    other.beat().await;
    assert_eq!(pass(&house, limits::SERVER_SILENCE / 2).await, 0);
    watching.expect_nothing().await;
    let _device = other.kill();
}

#[tokio::test]
async fn a_server_that_was_only_slow_still_has_its_wills() {
    let (house, config, gw, mut watching) = house().await;
    let other = Other::start(&config, &house, &gw).await;
    pass(&house, Duration::ZERO).await;
    assert_eq!(pass(&house, limits::SERVER_SILENCE).await, 1, "taken for gone");
    assert_eq!(watching.next_bytes().await.0, WILL);
    // It finds that out with its next beat, and dies in earnest later.
    other.beat().await;
    let again = async {
        while pass(&house, limits::SERVER_SILENCE).await == 0 {
            other.beat().await;
            tokio::task::yield_now().await;
            pass(&house, Duration::ZERO).await;
        }
    };
    within(again).await;
    assert_eq!(watching.next_bytes().await.0, WILL);
    drop(other.kill());
}

#[tokio::test]
async fn a_server_that_starts_beside_another_leaves_its_wills_alone() {
    let (house, config, gw, mut watching) = house().await;
    let _lives = house.connect_with_will(&gw, WILL, "gone", false).await;
    let admin = house.admin.clone();
    let other = House::beside(&config, admin).await;
    other.clock.advance(Duration::from_secs(1));
    other.broker.tick();
    watching.expect_nothing().await;
    assert_eq!(servers::tick(&other.app).await.expect("a store"), 0);
    assert_eq!(pass(&house, Duration::ZERO).await, 0);
    watching.expect_nothing().await;
}
