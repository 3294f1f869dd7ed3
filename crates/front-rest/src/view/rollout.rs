//! Rollouts and what each device does in one.

use std::collections::BTreeMap;

use fleetward_app::rollouts::{DryRun, RolloutView as Found};
use fleetward_core::deployment::Deployment;
use fleetward_core::rollout::{Observed, Phase, Rollout, Tally, Target};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::Time;

/// A release on its way through the fleet.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Rollout)]
pub struct RolloutView {
    pub id: String,
    pub name: String,
    pub release: ReleaseRefView,
    /// Which devices it is for; every condition that is given must hold.
    #[schema(value_type = Object)]
    pub selector: Value,
    /// Phases, gates and time-out.
    #[schema(value_type = Object)]
    pub policy: Value,
    /// running, paused, rolling_back, rolled_back, canceled or finished.
    pub state: &'static str,
    /// Index of the current phase.
    pub phase: u32,
    pub phase_started_at: Option<Time>,
    /// Since when the conditions of the phase's gate hold; the soak counts from here.
    pub gate_met_at: Option<Time>,
    /// Why it stands still.
    pub pause: Option<PauseView>,
    /// Devices that it was meant for when it was created.
    pub target_count: u32,
    /// Updates by status.
    pub counts: CountsView,
    /// Ways back by status.
    pub rollbacks: CountsView,
    pub phases: Vec<PhaseView>,
    /// By hardware revision.
    pub hardware: Vec<CohortView>,
    pub created_by: String,
    pub created_at: Time,
    pub updated_at: Time,
    pub revision: u64,
}

/// The release of a rollout.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ReleaseRef)]
pub struct ReleaseRefView {
    pub id: String,
    pub name: String,
    pub version: String,
}

/// Why a rollout is paused.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Pause)]
pub struct PauseView {
    /// One sentence for people; names the hardware revisions that fail.
    pub text: String,
    /// The same for programs: `kind` is operator, failures or silence.
    #[schema(value_type = Object)]
    pub reason: Value,
}

/// Deployments by how they stand.
#[derive(Clone, Copy, Debug, Default, Serialize, ToSchema)]
#[schema(as = DeploymentCounts)]
pub struct CountsView {
    pub queued: u32,
    pub in_progress: u32,
    pub succeeded: u32,
    /// Failed, rejected or timed out.
    pub failed: u32,
    pub canceled: u32,
}

/// One phase.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RolloutPhase)]
pub struct PhaseView {
    /// `{"count": N}` or `{"percent": N}`, cumulative.
    #[schema(value_type = Object)]
    pub target: Value,
    pub soak_s: u32,
    /// How many devices may have been assigned by its end, those of earlier phases included.
    pub quota: u32,
    /// Of this phase and those before it.
    #[serde(flatten)]
    pub counts: CountsView,
}

/// One hardware revision.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RolloutCohort)]
pub struct CohortView {
    pub hardware: String,
    #[serde(flatten)]
    pub counts: CountsView,
}

/// What one device does in a rollout.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Deployment)]
pub struct DeploymentView {
    pub device: String,
    /// update or rollback.
    pub kind: &'static str,
    pub phase: u32,
    /// queued, in_progress, succeeded, failed, rejected, timed_out or canceled.
    pub status: &'static str,
    /// Where the device is within the update, as it says.
    pub step: Option<String>,
    pub hardware: String,
    pub from_version: Option<String>,
    /// What the device said of it.
    pub detail: BTreeMap<String, String>,
    pub queued_at: Time,
    pub started_at: Option<Time>,
    pub updated_at: Time,
    pub finished_at: Option<Time>,
}

/// What creating a rollout would do.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RolloutPlan)]
pub struct PlanView {
    /// Devices that match and that the release fits.
    pub target_count: u32,
    /// Devices that match and that the release has no artifact for.
    pub without_artifact: u32,
    /// By hardware revision, those that would be updated.
    pub hardware: Vec<PlannedCohortView>,
    /// How many devices each phase would have reached by its end.
    pub phases: Vec<PlannedPhaseView>,
    /// The devices that the first phase would begin with, at most 100.
    pub first: Vec<String>,
}

/// One hardware revision of a plan.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PlannedCohort)]
pub struct PlannedCohortView {
    pub hardware: String,
    pub devices: u32,
}

/// One phase of a plan.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = PlannedPhase)]
pub struct PlannedPhaseView {
    #[schema(value_type = Object)]
    pub target: Value,
    pub soak_s: u32,
    pub quota: u32,
}

impl RolloutView {
    pub fn new(found: Found) -> Self {
        let Found { rollout, release_name, release_version, observed } = found;
        Self {
            id: rollout.id.to_string(),
            name: rollout.name.clone(),
            release: ReleaseRefView { id: rollout.release.to_string(), name: release_name, version: release_version },
            selector: json!(rollout.selector),
            policy: json!(rollout.policy),
            state: rollout.state.as_str(),
            phase: rollout.phase,
            phase_started_at: rollout.phase_started_at.map(Time),
            gate_met_at: rollout.gate_met_at.map(Time),
            pause: rollout
                .halt
                .reason
                .as_ref()
                .map(|reason| PauseView { text: reason.to_string(), reason: json!(reason) }),
            target_count: rollout.target_count,
            counts: observed.total().into(),
            rollbacks: observed.rollbacks.into(),
            phases: phases(&rollout, &observed),
            hardware: cohorts(&observed),
            created_by: rollout.created_by,
            created_at: Time(rollout.created_at),
            updated_at: Time(rollout.updated_at),
            revision: rollout.revision,
        }
    }
}

/// Each phase with what was reached by it: targets are cumulative, so the counts are too.
fn phases(rollout: &Rollout, observed: &Observed) -> Vec<PhaseView> {
    let mut counts = CountsView::default();
    let mut views = Vec::new();
    for (index, phase) in (0..).zip(&rollout.policy.phases) {
        counts.add(observed.phase(index));
        let quota = rollout.policy.quota(index, rollout.target_count);
        views.push(PhaseView { target: target(phase.target), soak_s: phase.soak_s, quota, counts });
    }
    views
}

fn cohorts(observed: &Observed) -> Vec<CohortView> {
    let mut by_hardware: BTreeMap<&str, CountsView> = BTreeMap::new();
    for ((_, hardware), tally) in &observed.updates {
        by_hardware.entry(hardware).or_default().add(*tally);
    }
    by_hardware.into_iter().map(|(hardware, counts)| CohortView { hardware: hardware.to_owned(), counts }).collect()
}

fn target(target: Target) -> Value {
    json!(target)
}

impl CountsView {
    fn add(&mut self, tally: Tally) {
        self.queued = self.queued.saturating_add(tally.queued).saturating_add(tally.queued_offline);
        self.in_progress = self.in_progress.saturating_add(tally.in_progress);
        self.succeeded = self.succeeded.saturating_add(tally.succeeded);
        self.failed = self.failed.saturating_add(tally.failed);
        self.canceled = self.canceled.saturating_add(tally.canceled);
    }
}

impl From<Tally> for CountsView {
    fn from(tally: Tally) -> Self {
        let mut counts = Self::default();
        counts.add(tally);
        counts
    }
}

impl DeploymentView {
    pub fn new(deployment: Deployment) -> Self {
        Self {
            device: deployment.device.to_string(),
            kind: deployment.kind.as_str(),
            phase: deployment.phase,
            status: deployment.status.as_str(),
            step: deployment.step,
            hardware: deployment.hardware,
            from_version: deployment.from_version,
            detail: deployment.detail,
            queued_at: Time(deployment.queued_at),
            started_at: deployment.started_at.map(Time),
            updated_at: Time(deployment.updated_at),
            finished_at: deployment.finished_at.map(Time),
        }
    }
}

impl PlanView {
    pub fn new(found: DryRun) -> Self {
        let phase = |(phase, quota): (Phase, u32)| PlannedPhaseView {
            target: target(phase.target),
            soak_s: phase.soak_s,
            quota,
        };
        let cohort = |(hardware, devices)| PlannedCohortView { hardware, devices };
        Self {
            target_count: found.target_count,
            without_artifact: found.without_artifact,
            hardware: found.hardware.into_iter().map(cohort).collect(),
            phases: found.phases.into_iter().map(phase).collect(),
            first: found.first.iter().map(ToString::to_string).collect(),
        }
    }
}
