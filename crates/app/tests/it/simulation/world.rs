//! The world around the server: a clock, a fleet, operators, and whoever pulls the plug.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use fleetward_app::reconcile::{rollouts::tick, seals};
use fleetward_app::rollouts::{self, NewRollout};
use fleetward_app::{App, DeviceLinks, EndReason, Error, Settings, presence};
use fleetward_base::{Clock, DeviceId, ManualClock, Rng, RolloutId, SeededRng, TenantId, Timestamp};
use fleetward_core::job::queue::Change;
use fleetward_core::access::DeviceRights;
use fleetward_core::rollout::State;
use fleetward_core::topic_policy::Act;
use fleetward_store::{OpenError, Store, TenantRow};
use fleetward_vault::{MasterKey, Vault};
use object_store::memory::InMemory;
use tempfile::TempDir;

use super::device::{Device, Nature};
use super::look::{Look, check_journal};
use crate::fixture::tenant;
use crate::fleet::{add_device, add_release};

const POLICY: &str = r#"{"phases":[{"target":{"count":2},"soak_s":30},{"target":{"percent":40},"soak_s":30},
    {"target":{"percent":100}}],"gates":{"max_failure_percent":25,"min_finished":2,"max_silent_percent":40,
    "silent_after_s":120},"timeout_s":600}"#;

pub(super) struct World {
    seed: u64,
    dir: TempDir,
    clock: Arc<ManualClock>,
    rng: Arc<SeededRng>,
    dice: SeededRng,
    /// The server while it runs.
    server: Option<App>,
    fuse: Arc<Fuse>,
    fleet: Vec<Device>,
    before: BTreeMap<TenantId, Look>,
    step: usize,
}

/// Telling a device is an effect; the server can die at each.
#[derive(Debug, Default)]
struct Fuse {
    /// Devices that may still be told; `u64::MAX` for all.
    left: AtomicU64,
}

#[async_trait]
impl DeviceLinks for Fuse {
    fn end_claim(&self, _tenant: &TenantId, _serial: &str) {}

    fn end_sessions(&self, _: &TenantId, _: &DeviceId, _: EndReason) {}

    fn end_certificate(&self, _: &TenantId, _: &DeviceId, _: &str) {}

    fn live(&self, _: &TenantId, _: &DeviceId) -> Option<String> {
        None
    }

    fn recheck(&self, _: &TenantId, _: &DeviceId) {}

    fn recheck_all(&self, _: &TenantId) {}

    fn built_in(&self, _: DeviceRights, _: &DeviceId, _: Act, _: &str) -> bool {
        false
    }

    async fn forget(&self, _: &TenantId, _: &DeviceId) {}

    async fn publish(&self, _: &TenantId, _: String, _: Bytes) {}

    async fn queue_changed(&self, _: &TenantId, changes: &[(DeviceId, Change)]) {
        for _ in changes {
            let left = self.left.load(Ordering::SeqCst);
            if left == 0 {
                std::future::pending::<()>().await;
            }
            self.left.store(left.saturating_sub(1), Ordering::SeqCst);
        }
    }
}

impl World {
    pub(super) async fn new(seed: u64) -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let clock = Arc::new(ManualClock::at(Timestamp::from_secs(1_795_171_980)));
        let (rng, dice) = (Arc::new(SeededRng::new(seed)), SeededRng::new(seed ^ 0x5EED));
        let (app, fuse) = open(&dir, &clock, &rng).await;
        let mut fleet = Vec::new();
        for (home, count) in [("acme", 14), ("zenith", 4)] {
            let home = tenant(home);
            insert_tenant(&app, &home).await;
            for n in 0..count {
                let (name, hardware) = (format!("d{n:02}"), if n % 4 == 3 { "rev-b" } else { "rev-a" });
                add_device(&app, &home, &name, hardware).await;
                let nature = match (hardware, dice.next_u64() % 12) {
                    ("rev-b", 0..=5) => Nature::Fails,
                    (_, 0) => Nature::FallsSilent,
                    (_, 1) => Nature::Fails,
                    _ => Nature::Good,
                };
                fleet.push(Device::new(home.clone(), name.parse().expect("a name"), nature));
            }
            for version in ["2.0", "3.0"] {
                let release = add_release(&app, &home, version, &["rev-a", "rev-b"]).await;
                let policy = serde_json::from_str(POLICY).expect("a policy");
                let new = NewRollout { name: None, release, selector: Default::default(), policy };
                rollouts::create_rollout(&app, &app.system("simulation"), &home, new).await.expect("made");
            }
        }
        Self { seed, dir, clock, rng, dice, server: Some(app), fuse, fleet, before: BTreeMap::new(), step: 0 }
    }

    fn pick(&self, among: usize) -> usize {
        usize::try_from(self.roll(among as u64)).expect("less than it was")
    }

    fn roll(&self, sides: u64) -> u64 {
        self.dice.next_u64() % sides
    }

    fn app(&self) -> &App {
        self.server.as_ref().expect("it runs")
    }

    /// One thing that happens, and a look at what it left.
    pub(super) async fn step(&mut self, step: usize) {
        self.step = step;
        match self.roll(20) {
            0..=3 => return self.clock.advance(Duration::from_secs(self.roll(60))),
            4..=7 => self.tick().await,
            8 => {
                self.tick_and_die().await;
                self.restart().await;
            }
            9 => self.restart().await,
            10 => self.operate().await,
            11 => {
                presence::flush(self.app()).await.expect("written");
                seals::seal(self.app()).await.expect("sealed");
            }
            _ => self.move_device().await,
        }
        self.look().await;
    }

    async fn tick(&self) {
        let status = tick(self.app()).await.expect("a tick");
        assert_eq!(status.failed, 0, "SEED={} step {}", self.seed, self.step);
    }

    /// A tick that is cut off: after some device was told, or at some point where it waits for the store.
    async fn tick_and_die(&mut self) {
        let mut polls = self.roll(30);
        if self.roll(2) == 0 {
            self.fuse.left.store(self.roll(4), Ordering::SeqCst);
            polls = 10_000;
        }
        let mut work = pin!(tick(self.app()));
        let fuse = Arc::clone(&self.fuse);
        std::future::poll_fn(|context| {
            polls = polls.saturating_sub(1);
            let polled = work.as_mut().poll(context);
            let burnt = fuse.left.load(Ordering::SeqCst) == 0;
            if polled.is_pending() && polls > 0 && !burnt { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
    }

    /// The process is gone with everything in memory; a new one opens the same file.
    async fn restart(&mut self) {
        // Whoever else held it would keep the file's lock.
        let server = self.server.take().expect("it runs");
        server.store().close().await;
        drop(server);
        let (app, fuse) = open(&self.dir, &self.clock, &self.rng).await;
        (self.server, self.fuse) = (Some(app), fuse);
        self.fleet.iter_mut().for_each(Device::lost);
    }

    async fn operate(&self) {
        let (app, ctx) = (self.app(), self.app().system("simulation"));
        let home = tenant(if self.roll(3) == 0 { "zenith" } else { "acme" });
        let ids: Vec<RolloutId> = Look::at(app, &home).await.rollouts.into_keys().collect();
        let id = *ids.get(self.pick(ids.len())).expect("there are rollouts");
        let done = match self.roll(10) {
            0..=2 => rollouts::pause_rollout(app, &ctx, &home, id, None).await,
            3..=7 => rollouts::resume_rollout(app, &ctx, &home, id).await,
            8 => rollouts::roll_back_rollout(app, &ctx, &home, id).await,
            _ => rollouts::cancel_rollout(app, &ctx, &home, id).await,
        };
        match done {
            Ok(_) | Err(Error::Conflict { code: "rollout-state", .. }) => {}
            Err(error) => panic!("SEED={} step {}: {error:?}", self.seed, self.step),
        }
    }

    async fn move_device(&mut self) {
        let which = self.pick(self.fleet.len());
        let (turn, dice) = (self.roll(10), self.dice.next_u64());
        let (app, device) =
            (self.server.as_ref().expect("it runs"), self.fleet.get_mut(which).expect("one of the fleet"));
        match (device.online, turn) {
            (true, 0) => device.go(app),
            (true, _) => device.act(app, dice).await,
            (false, 0..=5) => {
                device.come(app);
                device.act(app, dice).await;
            }
            (false, _) => {}
        }
    }

    async fn look(&mut self) {
        for home in [tenant("acme"), tenant("zenith")] {
            let now = Look::at(self.app(), &home).await;
            let before = self.before.remove(&home).unwrap_or_else(|| now.clone());
            if let Err(broken) = now.check(&before) {
                panic!("SEED={} step {}: {home}: {broken}", self.seed, self.step);
            }
            self.before.insert(home, now);
        }
    }

    /// The storm is over: everybody is well and there, and operators resume what stands still. Every rollout ends.
    pub(super) async fn settle(&mut self) {
        for device in &mut self.fleet {
            device.nature = Nature::Good;
        }
        for round in 0..60 {
            self.step = round;
            self.clock.advance(Duration::from_secs(31));
            for which in 0..self.fleet.len() {
                let dice = self.dice.next_u64();
                let (app, device) =
                    (self.server.as_ref().expect("it runs"), self.fleet.get_mut(which).expect("one of the fleet"));
                if !device.online {
                    device.come(app);
                }
                device.act(app, dice).await;
            }
            self.tick().await;
            self.look().await;
            if self.before.values().all(Look::all_ended) {
                return self.account().await;
            }
            self.resume_all().await;
            self.look().await;
        }
        panic!("SEED={}: rollouts do not come to their end", self.seed);
    }

    async fn resume_all(&self) {
        let ctx = self.app().system("simulation");
        for (home, look) in &self.before {
            let paused = look.rollouts.values().filter(|(rollout, _)| rollout.state == State::Paused);
            for (rollout, _) in paused {
                rollouts::resume_rollout(self.app(), &ctx, home, rollout.id).await.expect("resumed");
            }
        }
    }

    async fn account(&self) {
        presence::flush(self.app()).await.expect("written");
        for (home, look) in &self.before {
            if let Err(broken) = check_journal(self.app(), home, look).await {
                panic!("SEED={}: {home}: {broken}", self.seed);
            }
        }
    }
}

async fn open(dir: &TempDir, clock: &Arc<ManualClock>, rng: &Arc<SeededRng>) -> (App, Arc<Fuse>) {
    let config = fleetward_store::Config::sqlite(dir.path().join("fleetward.db"));
    // A unit that was under way when its server died still holds the file until it is done.
    let store = loop {
        match Store::open(&config, clock.as_ref()).await {
            Err(OpenError::Locked { .. }) => tokio::task::yield_now().await,
            opened => break opened.expect("a store"),
        }
    };
    let (clock, rng) = (Arc::clone(clock) as Arc<dyn Clock>, Arc::clone(rng) as Arc<dyn Rng>);
    let vault = Vault::new(&MasterKey::random(rng.as_ref()));
    let app = App::new(store, vault, clock, rng, Arc::new(InMemory::new()));
    app.configure(Settings {
        operator_url: "https://localhost:8080".to_owned(),
        device_host: "localhost".to_owned(),
        device_port: 8443,
        mqtt_port: 8883,
        server_names: vec!["localhost".to_owned()],
        pki_url: None,
        default_tenant: None,
        hook_networks: Vec::new(),
    });
    let fuse = Arc::new(Fuse { left: AtomicU64::new(u64::MAX) });
    app.connect_links(Arc::clone(&fuse) as Arc<dyn DeviceLinks>);
    presence::load(&app).await.expect("loaded");
    (app, fuse)
}

async fn insert_tenant(app: &App, id: &TenantId) {
    let created_at = app.now();
    let row =
        TenantRow { id: id.clone(), display_name: id.to_string(), settings: "{}".to_owned(), revision: 1, created_at };
    let made = app
        .store()
        .system_write("a tenant", move |tx| Box::pin(async move { Ok::<_, Error>(tx.insert_tenant(&row).await?) }));
    made.await.expect("made");
}
