//! Who is in the story: tenants, their devices, and how the rollout in each is meant to end.

use fleetward_base::{DeviceId, TenantId};
use serde_json::{Value, json};

/// The hardware revision that everything works on.
pub(super) const GOOD_HARDWARE: &str = "b-2";
/// The older hardware revision, whose 2.0 does not start in one tenant.
pub(super) const OTHER_HARDWARE: &str = "a-1";
pub(super) const RELEASE_NAME: &str = "gateway-os";
pub(super) const BASELINE: &str = "1.0";
pub(super) const NEW: &str = "2.0";
/// Devices of the canary, and the percentages after it.
pub(super) const CANARY: u32 = 3;
const PERCENTS: [u32; 4] = [5, 25, 50, 100];
/// The phase after whose assignments the site comes back, so that the next one meets its hardware.
pub(super) const SITE_BACK_IN_PHASE: u64 = 1;
/// Simulated devices at the site that loses its link, at most. In a small tenant the agents are alone there: the phase
/// that meets its hardware takes few devices, and the agents must be among them whatever order the rollout draws.
const SITE: usize = 8;
/// Smaller tenants judge a cohort by its first result, or it would never be judged.
const SMALL: usize = 50;

/// How a tenant's rollout is meant to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Every device that it is for runs 2.0.
    Finished,
    /// The gate stops it because of [`OTHER_HARDWARE`].
    Stopped,
}

/// A simulated device or an agent.
#[derive(Clone, Debug)]
pub(super) struct Member {
    pub(super) id: DeviceId,
    pub(super) hardware: &'static str,
    /// At the site that loses its link before the rollout begins.
    pub(super) at_site: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Tenant {
    pub(super) id: TenantId,
    pub(super) display_name: &'static str,
    pub(super) ending: Ending,
    /// The rollout is for this hardware only.
    pub(super) only: Option<&'static str>,
    pub(super) simulated: Vec<Member>,
    pub(super) agents: Vec<Member>,
}

/// Everybody.
#[derive(Clone, Debug)]
pub(super) struct Cast {
    pub(super) tenants: Vec<Tenant>,
}

impl Cast {
    /// `devices` simulated ones, shared out evenly.
    pub(super) fn new(devices: u32) -> anyhow::Result<Self> {
        let all = usize::try_from(devices)?;
        anyhow::ensure!(all >= 30, "the story needs 30 devices at least");
        let (third, rest) = (all / 3, all % 3);
        let tenants = vec![
            Tenant::new("acme", "Acme Robotics", Ending::Finished, None, third + rest, 1)?,
            Tenant::new("borealis", "Borealis Power", Ending::Stopped, None, third, 2)?,
            Tenant::new("cumulus", "Cumulus Weather", Ending::Finished, Some(GOOD_HARDWARE), third, 0)?,
        ];
        Ok(Self { tenants })
    }

    /// The tenant that `demo.env` names.
    pub(super) fn first(&self) -> &Tenant {
        self.tenants.first().expect("the cast has three tenants")
    }

    pub(super) fn stopped(&self) -> &Tenant {
        self.tenants.iter().find(|tenant| tenant.ending == Ending::Stopped).expect("one tenant's rollout stops")
    }

    pub(super) fn simulated(&self) -> usize {
        self.tenants.iter().map(|tenant| tenant.simulated.len()).sum()
    }

    pub(super) fn agents(&self) -> usize {
        self.tenants.iter().map(|tenant| tenant.agents.len()).sum()
    }
}

impl Tenant {
    fn new(
        name: &str,
        display_name: &'static str,
        ending: Ending,
        only: Option<&'static str>,
        simulated: usize,
        agents: usize,
    ) -> anyhow::Result<Self> {
        let site = SITE.min(site_room(simulated + agents).saturating_sub(agents));
        let member = |number: usize| {
            let at_site = ending == Ending::Stopped && number < site;
            // Where the site is, nobody else has its hardware; elsewhere it is half and half.
            let other = if ending == Ending::Stopped { at_site } else { number % 2 == 1 };
            let hardware = if other { OTHER_HARDWARE } else { GOOD_HARDWARE };
            anyhow::Ok(Member { id: format!("{name}-{:04}", number + 1).parse()?, hardware, at_site })
        };
        let agent = |number: usize| {
            let id = format!("{name}-agent-{}", number + 1).parse()?;
            anyhow::Ok(Member { id, hardware: OTHER_HARDWARE, at_site: ending == Ending::Stopped })
        };
        Ok(Self {
            id: name.parse()?,
            display_name,
            ending,
            only,
            simulated: (0..simulated).map(member).collect::<Result<_, _>>()?,
            agents: (0..agents).map(agent).collect::<Result<_, _>>()?,
        })
    }

    pub(super) fn members(&self) -> impl Iterator<Item = &Member> {
        self.simulated.iter().chain(&self.agents)
    }

    /// Those whom the rollout is for.
    pub(super) fn meant(&self) -> impl Iterator<Item = &Member> {
        self.members().filter(|member| self.only.is_none_or(|only| member.hardware == only))
    }

    /// The body that creates its rollout.
    pub(super) fn rollout(&self, release: &str) -> Value {
        let mut targets = vec![json!({ "count": CANARY })];
        targets.extend(PERCENTS.map(|percent| json!({ "percent": percent })));
        let phases: Vec<Value> = targets
            .into_iter()
            .enumerate()
            .map(|(phase, target)| json!({ "target": target, "soak_s": self.soak_s(phase) }))
            .collect();
        let min_finished = if self.simulated.len() < SMALL { 1 } else { 3 };
        let selector = self.only.map_or(json!({}), |only| json!({ "hardware": [only] }));
        json!({
            "name": format!("{RELEASE_NAME} {NEW}"),
            "release": release,
            "selector": selector,
            "policy": {
                "phases": phases,
                "gates": { "max_failure_percent": 10, "min_finished": min_finished },
                "timeout_s": 120,
            },
        })
    }

    /// Seconds that a phase must look good. The site is back within the longer one.
    fn soak_s(&self, phase: usize) -> u32 {
        let site_comes_back = self.ending == Ending::Stopped && phase as u64 == SITE_BACK_IN_PHASE;
        if site_comes_back { 5 } else { 1 }
    }
}

/// How many devices of the site the first phase after its return takes: hardware revisions take turns by name, and the
/// site's comes first. All of the site is to be among them, the agents above all.
fn site_room(members: usize) -> usize {
    let quota = |percent: u32| {
        let percent = usize::try_from(percent).unwrap_or(100);
        (members * percent).div_ceil(100).max(CANARY as usize)
    };
    let mut before = quota(PERCENTS[0]);
    for percent in PERCENTS {
        let room = quota(percent).saturating_sub(before);
        if room > 0 {
            return room.div_ceil(2);
        }
        before = quota(percent);
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_is_there_once() {
        for devices in [30, 100, 300, 301] {
            let cast = Cast::new(devices).expect("a cast");
            assert_eq!(cast.simulated(), usize::try_from(devices).expect("it fits"));
            assert_eq!(cast.agents(), 3);
            let all: Vec<_> = cast.tenants.iter().flat_map(Tenant::members).map(|member| &member.id).collect();
            let distinct: std::collections::BTreeSet<_> = all.iter().collect();
            assert_eq!(distinct.len(), all.len());
        }
        assert!(Cast::new(29).is_err());
    }

    /// The phase that the site comes back for has room for all of it: the agents, which are there first, take the image.
    #[test]
    fn the_site_fits_into_the_phase_that_it_comes_back_for() {
        for (devices, site) in [(30, 2), (60, 2), (90, 3), (150, 5), (300, 10), (3000, 10)] {
            let cast = Cast::new(devices).expect("a cast");
            let tenant = cast.stopped();
            let at_site: Vec<_> = tenant.members().filter(|member| member.at_site).collect();
            assert_eq!(at_site.len(), site, "{devices}");
            assert!(site <= site_room(tenant.members().count()), "{devices}");
            assert!(at_site.iter().all(|member| member.hardware == OTHER_HARDWARE));
            assert!(tenant.agents.iter().all(|agent| agent.at_site));
            let elsewhere = tenant.members().filter(|member| !member.at_site);
            assert!(elsewhere.into_iter().all(|member| member.hardware == GOOD_HARDWARE));
        }
        assert!(OTHER_HARDWARE < GOOD_HARDWARE, "or its turn would be the second");
    }
}
