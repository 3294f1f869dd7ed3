//! A release on its way through the fleet, in phases with a gate behind each.
//!
//! [`plan`](plan()) looks at what is and says what to do next; it is pure, total and ordered, so that the operators' dry
//! run, the reconciler and the simulation see the same answer. [`control`] holds what operators may ask for. What both
//! keep to, and [`crate::invariants`] states as predicates:
//!
//! - what was assigned in the phases so far never exceeds their cumulative target;
//! - a gate that has not opened is never passed, and a rollout that is not running assigns no updates;
//! - a broken gate pauses the rollout by itself, with a reason that names the cohort (hardware revision) that fails;
//! - a device gets one update, and at most one way back, of one rollout.

pub mod control;
mod gate;
mod plan;
mod policy;
mod reason;

use std::collections::BTreeMap;

use fleetward_base::{DeviceId, ReleaseId, RolloutId, Timestamp};
use serde::{Deserialize, Serialize};

pub use gate::{GateView, Standing};
pub use plan::{Assignment, Plan, plan};
pub use policy::{Gates, Phase, Policy, Target};
pub use reason::{CohortFinding, PauseReason};

use crate::deployment::{Kind, Status};
use crate::selector::Selector;
use crate::text::text_enum;

text_enum! {
    /// Where a rollout stands.
    pub enum State("rollout state") {
        Running => "running",
        /// Assigns nothing and hands nothing out until somebody resumes it.
        Paused => "paused",
        /// Takes the devices that succeeded back.
        RollingBack => "rolling_back",
        RolledBack => "rolled_back",
        Canceled => "canceled",
        Finished => "finished",
    }
}

impl State {
    /// Nothing is left to be planned.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::RolledBack | Self::Canceled | Self::Finished)
    }

    /// Whether devices are given what this rollout queued for them, of this kind.
    pub const fn delivers(self, kind: Kind) -> bool {
        match kind {
            Kind::Update => matches!(self, Self::Running),
            Kind::Rollback => matches!(self, Self::RollingBack),
        }
    }
}

/// One rollout, of a release where nothing else is said ([`crate::rotation::campaign`] is one of renewals).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rollout<Of = ReleaseId> {
    pub id: RolloutId,
    pub name: String,
    /// What it brings.
    pub release: Of,
    pub selector: Selector,
    pub policy: Policy,
    pub state: State,
    /// Index of the current phase in the policy.
    pub phase: u32,
    pub phase_started_at: Option<Timestamp>,
    /// Since when the conditions of the phase's gate hold; the soak counts from here.
    pub gate_met_at: Option<Timestamp>,
    /// Why it is paused, and what was forgiven when it was resumed. Stored as JSON in `pause_reason`.
    pub halt: Halt,
    /// How many devices it was meant for when it was created; percentages are of this.
    pub target_count: u32,
    pub created_by: String,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub revision: u64,
}

/// Why a rollout stands still, and what no longer counts against it.
#[derive(Clone, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Halt {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<PauseReason>,
    /// What had gone wrong when an operator resumed: gates judge what came after.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub excused: Vec<Excuse>,
}

/// Deployments of one phase and cohort that no longer count for its gates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Excuse {
    pub phase: u32,
    pub hardware: String,
    pub started: u32,
    pub finished: u32,
    pub failed: u32,
    pub silent: u32,
}

/// How the deployments of one phase and cohort stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Tally {
    /// Queued, and the device is there to take it.
    pub queued: u32,
    /// Queued, and the device has no connection: it cannot have begun.
    pub queued_offline: u32,
    pub in_progress: u32,
    pub succeeded: u32,
    /// Failed, rejected or timed out.
    pub failed: u32,
    pub canceled: u32,
    /// Of those that began (in progress, succeeded or failed): devices fallen silent since.
    pub silent: u32,
    /// Of those in progress: devices fallen silent.
    pub silent_in_progress: u32,
}

impl Tally {
    /// Everything that was ever assigned.
    pub fn assigned(&self) -> u32 {
        self.open().saturating_add(self.finished()).saturating_add(self.canceled)
    }

    pub fn open(&self) -> u32 {
        self.queued.saturating_add(self.queued_offline).saturating_add(self.in_progress)
    }

    pub fn finished(&self) -> u32 {
        self.succeeded.saturating_add(self.failed)
    }

    pub fn started(&self) -> u32 {
        self.in_progress.saturating_add(self.finished())
    }

    /// Adds `count` deployments of one status. `offline`: the device has no connection; `silent`: and has had none for
    /// longer than the policy allows.
    pub fn add(&mut self, status: Status, offline: bool, silent: bool, count: u32) {
        let field = match status {
            Status::Queued if offline => &mut self.queued_offline,
            Status::Queued => &mut self.queued,
            Status::InProgress => &mut self.in_progress,
            Status::Succeeded => &mut self.succeeded,
            Status::Failed | Status::Rejected | Status::TimedOut => &mut self.failed,
            Status::Canceled => &mut self.canceled,
        };
        *field = field.saturating_add(count);
        if silent && !matches!(status, Status::Queued | Status::Canceled) {
            self.silent = self.silent.saturating_add(count);
            if status == Status::InProgress {
                self.silent_in_progress = self.silent_in_progress.saturating_add(count);
            }
        }
    }

    fn plus(self, other: Self) -> Self {
        Self {
            queued: self.queued.saturating_add(other.queued),
            queued_offline: self.queued_offline.saturating_add(other.queued_offline),
            in_progress: self.in_progress.saturating_add(other.in_progress),
            succeeded: self.succeeded.saturating_add(other.succeeded),
            failed: self.failed.saturating_add(other.failed),
            canceled: self.canceled.saturating_add(other.canceled),
            silent: self.silent.saturating_add(other.silent),
            silent_in_progress: self.silent_in_progress.saturating_add(other.silent_in_progress),
        }
    }
}

/// What is known of a rollout's deployments.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Observed {
    /// Updates, by phase and hardware revision.
    pub updates: BTreeMap<(u32, String), Tally>,
    /// Ways back, all together.
    pub rollbacks: Tally,
    /// Devices that are meant exist beyond the page of candidates, or are busy with another rollout: the phase is not full
    /// only because no candidate is left.
    pub more_candidates: bool,
    /// Deployments that are in progress for longer than the policy allows, in order of device; a bounded page.
    pub overdue: Vec<(DeviceId, Kind)>,
    /// Devices whose update succeeded and that have no way back yet, while the rollout is rolling back; a bounded page.
    pub to_roll_back: Vec<Candidate>,
    /// Such devices exist beyond the page, or cannot take their way back yet.
    pub more_to_roll_back: bool,
}

impl Observed {
    /// Everything that was assigned, in all phases.
    pub fn assigned(&self) -> u32 {
        self.total().assigned()
    }

    /// All updates together.
    pub fn total(&self) -> Tally {
        self.updates.values().fold(Tally::default(), |sum, tally| sum.plus(*tally))
    }

    /// The updates of one phase together.
    pub fn phase(&self, phase: u32) -> Tally {
        self.updates.iter().filter(|((p, _), _)| *p == phase).fold(Tally::default(), |sum, (_, t)| sum.plus(*t))
    }
}

/// A device that could be assigned: it matches, the release fits its hardware, it is active, runs something else, has no
/// deployment of this rollout and no open one of another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Candidate {
    pub device: DeviceId,
    pub hardware: String,
    /// Has a connection now: taken before those that have none.
    pub online: bool,
}

#[cfg(test)]
mod tests;
