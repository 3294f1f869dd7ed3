//! The story from the first key to the last report.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use fleetward_base::{Clock as _, SystemClock};
use serde_json::Value;

use super::agents::Agent;
use super::cast::{Cast, Ending, SITE_BACK_IN_PHASE, Tenant};
use super::check;
use super::fleet::Fleet;
use super::releases::{self, Published};
use super::report::{Ledger, Report};
use super::view::{Scene, View};
use crate::device::World;
use crate::json::{at, count};
use crate::net::Door;
use crate::rest::Rest;
use crate::server::{Endpoints, Server};
use crate::tls::Trust;

/// How long each step of an update takes on a simulated device: to be seen, and not to be waited for.
const PACE: Duration = Duration::from_millis(250);
/// How often the API is asked how things stand.
const LOOK: Duration = Duration::from_millis(300);
/// No chapter takes longer than this; where one does, the report says what is missing.
const CHAPTER: Duration = Duration::from_secs(120);

/// Where the site is that loses its link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Site {
    Away,
    /// Its agents are on their way; they connect before the others, so that they are among the first to be updated.
    Returning,
    Back,
}

/// Everything that the story needs.
pub(super) struct Story {
    pub(super) cast: Cast,
    pub(super) rest: Arc<Rest>,
    pub(super) device_door: Door,
    mqtt_door: Door,
    pub(super) trust: Trust,
    endpoints: Endpoints,
    folder: PathBuf,
    agent_bin: PathBuf,
    pub(super) fleet: Option<Fleet>,
    agents: Vec<Agent>,
    /// By the tenant's place in the cast.
    pub(super) published: BTreeMap<usize, Published>,
    /// The rollouts' ids by the tenant's place in the cast.
    pub(super) rollouts: BTreeMap<usize, String>,
    clock: SystemClock,
}

impl Story {
    pub(super) fn new(
        cast: Cast,
        rest: Rest,
        server: &Server,
        folder: &Path,
        agent_bin: PathBuf,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            cast,
            rest: Arc::new(rest),
            device_door: server.device_door()?,
            mqtt_door: server.mqtt_door()?,
            trust: server.trust.clone(),
            endpoints: server.endpoints.clone(),
            folder: folder.join("agents"),
            agent_bin,
            fleet: None,
            agents: Vec::new(),
            published: BTreeMap::new(),
            rollouts: BTreeMap::new(),
            clock: SystemClock::new(),
        })
    }

    pub(super) async fn tell(&mut self, view: &mut View) -> anyhow::Result<Report> {
        let begun = self.clock.monotonic();
        let mut ledger = Ledger::default();
        self.gather(view).await?;
        let members = self.cast.simulated() + self.cast.agents();
        let online = self.until_online(view, |online, members| online == members).await?;
        ledger.same("devices and agents enrolled and online", members, online);
        self.cut_site(view, &mut ledger).await?;
        for (place, tenant) in self.cast.tenants.iter().enumerate() {
            let release = &self.published.get(&place).context("a tenant without a release")?.release;
            let id = self.rest.create_rollout(&tenant.id, &tenant.rollout(release)).await?;
            self.rollouts.insert(place, id);
        }
        view.say("Three rollouts of 2.0 begin: a canary of 3, then 5, 25, 50 and 100 percent");
        self.roll_out(view).await?;
        view.keep();
        let online = self.until_online(view, |online, members| online == members).await?;
        ledger.same("devices and agents online at the end", members, online);
        check::everything(self, &mut ledger).await?;
        let troubles = self.fleet.as_ref().map(|fleet| fleet.world().troubles()).unwrap_or_default();
        Ok(ledger.report(self.clock.monotonic().saturating_sub(begun).as_secs_f64(), troubles))
    }

    pub(super) async fn stop(&mut self) {
        for agent in &mut self.agents {
            // It is killed with this program at the latest.
            let _ended = agent.stop().await;
        }
        if let Some(fleet) = &self.fleet {
            fleet.stop().await;
        }
    }

    /// Releases, devices, agents: everybody enrolled and on the way to connect.
    async fn gather(&mut self, view: &mut View) -> anyhow::Result<()> {
        for (place, tenant) in self.cast.tenants.iter().enumerate() {
            let published = releases::publish(&self.rest, tenant).await;
            self.published.insert(place, published.with_context(|| format!("releases of {}", tenant.id))?);
        }
        let world = World::new(self.mqtt_door.clone(), self.trust.clone(), PACE);
        let fleet = Fleet::enroll(&self.cast, &self.rest, &self.device_door, world, view).await?;
        fleet.wake(&self.cast, &self.published)?;
        self.fleet = Some(fleet);
        for (place, tenant) in self.cast.tenants.iter().enumerate() {
            let published = self.published.get(&place).context("a tenant without a signer")?;
            for member in &tenant.agents {
                let (bin, folder) = (&self.agent_bin, &self.folder);
                let mut agent =
                    Agent::prepare(bin, folder, &self.rest, &self.endpoints, tenant, member, published).await?;
                agent.start()?;
                self.agents.push(agent);
            }
        }
        view.say(&format!("{} real agents started", self.agents.len()));
        Ok(())
    }

    /// The site with the other hardware loses its link, and the server sees it.
    async fn cut_site(&mut self, view: &mut View, ledger: &mut Ledger) -> anyhow::Result<()> {
        let tenant = self.cast.stopped().clone();
        let away = tenant.members().filter(|member| member.at_site).count();
        view.say(&format!("A site of {} with {away} devices loses its link", tenant.display_name));
        if let Some(fleet) = &mut self.fleet {
            fleet.cut_site();
        }
        for agent in self.agents.iter_mut().filter(|agent| agent.member.at_site) {
            agent.stop().await?;
        }
        let members = self.cast.simulated() + self.cast.agents();
        let online = self.until_online(view, |online, members| online == members - away).await?;
        ledger.same("devices seen offline when a site loses its link", away, members - online);
        Ok(())
    }

    /// Watches the rollouts until each is where it is meant to end.
    async fn roll_out(&mut self, view: &mut View) -> anyhow::Result<()> {
        let begun = self.clock.monotonic();
        let mut tick = tokio::time::interval(LOOK);
        let mut site = Site::Away;
        loop {
            tick.tick().await;
            let scenes = self.scenes().await?;
            view.show(&scenes);
            self.watch_agents()?;
            site = self.move_site(site, &scenes, view).await?;
            let ended = self.cast.tenants.iter().zip(&scenes).all(|(tenant, scene)| is_at_end(tenant, &scene.rollout));
            if ended || self.clock.monotonic().saturating_sub(begun) > CHAPTER {
                return Ok(());
            }
        }
    }

    async fn move_site(&mut self, site: Site, scenes: &[Scene], view: &mut View) -> anyhow::Result<Site> {
        let stopped = self.cast.tenants.iter().position(|tenant| tenant.ending == Ending::Stopped).unwrap_or(0);
        let phase = scenes.get(stopped).map_or(0, |scene| count(&scene.rollout, "/phase"));
        match site {
            Site::Away if phase >= SITE_BACK_IN_PHASE => {
                for agent in self.agents.iter_mut().filter(|agent| agent.member.at_site) {
                    agent.start()?;
                }
                view.say(&format!("The site of {} is back", self.cast.stopped().display_name));
                Ok(Site::Returning)
            }
            Site::Returning if self.agents_online().await? => {
                if let Some(fleet) = &self.fleet {
                    fleet.wake_site(&self.cast, &self.published)?;
                }
                Ok(Site::Back)
            }
            same => Ok(same),
        }
    }

    async fn agents_online(&self) -> anyhow::Result<bool> {
        let tenant = self.cast.stopped();
        for member in &tenant.agents {
            if at(&self.rest.device(&tenant.id, &member.id).await?, "/presence") != "online" {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// An agent that ends by itself is not part of the story.
    fn watch_agents(&mut self) -> anyhow::Result<()> {
        for agent in &mut self.agents {
            if let Some(why) = agent.ended()? {
                anyhow::bail!(why);
            }
        }
        Ok(())
    }

    /// Waits until so many are online, shows how it goes, and returns how many there are at last.
    async fn until_online(&mut self, view: &mut View, enough: impl Fn(usize, usize) -> bool) -> anyhow::Result<usize> {
        let begun = self.clock.monotonic();
        let mut tick = tokio::time::interval(LOOK);
        loop {
            tick.tick().await;
            self.watch_agents()?;
            let mut online = 0;
            for tenant in &self.cast.tenants {
                online += self.online(tenant).await?;
            }
            let members = self.cast.simulated() + self.cast.agents();
            view.progress("Devices online", online, members);
            if enough(online, members) || self.clock.monotonic().saturating_sub(begun) > CHAPTER {
                return Ok(online);
            }
        }
    }

    async fn online(&self, tenant: &Tenant) -> anyhow::Result<usize> {
        Ok(self.rest.list(&format!("/v1/tenants/{}/devices?presence=online", tenant.id)).await?.len())
    }

    async fn scenes(&self) -> anyhow::Result<Vec<Scene>> {
        let mut scenes = Vec::new();
        for (place, tenant) in self.cast.tenants.iter().enumerate() {
            let rollout = match self.rollouts.get(&place) {
                Some(id) => self.rest.rollout(&tenant.id, id).await?,
                None => Value::Null,
            };
            scenes.push(Scene::new(tenant, self.online(tenant).await?, rollout));
        }
        Ok(scenes)
    }
}

/// Nothing more will happen by itself.
fn is_at_end(tenant: &Tenant, rollout: &Value) -> bool {
    let state = at(rollout, "/state").as_str().unwrap_or_default();
    match tenant.ending {
        Ending::Finished => matches!(state, "finished" | "paused"),
        Ending::Stopped => state == "finished" || state == "paused" && count(rollout, "/counts/in_progress") == 0,
    }
}
