//! How a rollout proceeds: phases, gates, times.

use std::time::Duration;

use fleetward_base::limits;
use serde::{Deserialize, Serialize};

use crate::registry::Invalid;

/// What an operator decides before a rollout begins. Stored as JSON; it does not change afterwards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    pub phases: Vec<Phase>,
    #[serde(default)]
    pub gates: Gates,
    /// An update in progress for longer counts as failed (`timed_out`).
    #[serde(default = "timeout_s_default")]
    pub timeout_s: u32,
}

/// One step of the rollout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Phase {
    pub target: Target,
    /// How long the gate's conditions must hold before it opens, in seconds.
    #[serde(default)]
    pub soak_s: u32,
}

/// How many devices have the update at the end of a phase, those of earlier phases included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    Count(u32),
    /// Of the devices that the rollout was meant for when it was created, rounded up.
    Percent(u8),
}

/// When a rollout is to stop by itself. Each gate is judged for the phase as a whole and for each hardware revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Gates {
    /// More failures than this, of those that finished, break the gate.
    pub max_failure_percent: u8,
    /// Nothing is judged on fewer devices than this, unless the phase has no more of them.
    pub min_finished: u32,
    /// More devices than this fallen silent, of those that began, break the gate.
    pub max_silent_percent: u8,
    /// A device with no connection and no sign of life for this long has fallen silent.
    pub silent_after_s: u32,
}

impl Default for Gates {
    fn default() -> Self {
        Self { max_failure_percent: 10, min_finished: 3, max_silent_percent: 10, silent_after_s: 600 }
    }
}

const fn timeout_s_default() -> u32 {
    3600
}

impl Default for Policy {
    /// A canary of three devices, then 5, 25, 50 and 100 percent (requirement O4).
    fn default() -> Self {
        let phase = |target, soak_s| Phase { target, soak_s };
        Self {
            phases: vec![
                phase(Target::Count(3), 600),
                phase(Target::Percent(5), 600),
                phase(Target::Percent(25), 600),
                phase(Target::Percent(50), 600),
                phase(Target::Percent(100), 0),
            ],
            gates: Gates::default(),
            timeout_s: timeout_s_default(),
        }
    }
}

/// No soak, silence or time-out is longer than this (30 days).
const LONGEST_S: u32 = 30 * 24 * 3600;

impl Policy {
    /// The first thing that is wrong with it.
    pub fn check(&self) -> Result<(), Invalid> {
        let bad = |field, why: &str| Err(Invalid { field, why: why.to_owned() });
        if self.phases.is_empty() {
            return bad("phases", "at least one is needed");
        }
        if self.phases.len() > limits::ROLLOUT_PHASES {
            return bad("phases", "more than 32");
        }
        let (mut count, mut percent) = (0, 0);
        for phase in &self.phases {
            match phase.target {
                Target::Count(0) | Target::Percent(0) => return bad("phases.target", "must not be zero"),
                Target::Percent(101..) => return bad("phases.target", "must not be more than 100 percent"),
                Target::Count(next) if next < count => return bad("phases.target", "must not go down"),
                Target::Percent(next) if next < percent => return bad("phases.target", "must not go down"),
                Target::Count(next) => count = next,
                Target::Percent(next) => percent = next,
            }
            if phase.soak_s > LONGEST_S {
                return bad("phases.soak_s", "longer than 30 days");
            }
        }
        if self.gates.max_failure_percent > 100 || self.gates.max_silent_percent > 100 {
            return bad("gates", "a percentage is at most 100");
        }
        if self.gates.min_finished == 0 {
            return bad("gates.min_finished", "must not be zero");
        }
        if !(1..=LONGEST_S).contains(&self.gates.silent_after_s) {
            return bad("gates.silent_after_s", "between 1 second and 30 days");
        }
        if !(1..=LONGEST_S).contains(&self.timeout_s) {
            return bad("timeout_s", "between 1 second and 30 days");
        }
        Ok(())
    }

    pub fn timeout(&self) -> Duration {
        Duration::from_secs(self.timeout_s.into())
    }

    pub fn silent_after(&self) -> Duration {
        Duration::from_secs(self.gates.silent_after_s.into())
    }

    /// How many of `target_count` devices may have been assigned by the end of `phase`: never less than in the phase
    /// before it, never more than there are.
    pub fn quota(&self, phase: u32, target_count: u32) -> u32 {
        let upto = usize::try_from(phase).unwrap_or(usize::MAX).saturating_add(1);
        self.phases.iter().take(upto).map(|phase| phase.target.of(target_count)).max().unwrap_or(0)
    }
}

impl Target {
    fn of(self, target_count: u32) -> u32 {
        match self {
            Self::Count(count) => count.min(target_count),
            Self::Percent(percent) => {
                let exact = u64::from(target_count) * u64::from(percent.min(100));
                u32::try_from(exact.div_ceil(100)).unwrap_or(target_count)
            }
        }
    }
}
