//! Rotations and how each device stands in one.

use std::collections::BTreeMap;

use fleetward_app::rotation::{Member, RotationView as Found};
use fleetward_core::rollout::Tally;
use fleetward_core::rotation::campaign;
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::{PauseView, Time};

/// Certificates on their way through the fleet.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Rotation)]
pub struct RotationView {
    pub id: String,
    pub name: String,
    /// The old certificates get no grace: an emergency.
    pub at_once: bool,
    /// Which devices it is for; every condition that is given must hold.
    #[schema(value_type = Object)]
    pub selector: Value,
    /// Phases, gates and time-out.
    #[schema(value_type = Object)]
    pub policy: Value,
    /// running, paused, canceled or finished.
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
    pub counts: RotationCountsView,
    pub phases: Vec<RotationPhaseView>,
    /// By hardware revision.
    pub hardware: Vec<RotationCohortView>,
    pub created_by: String,
    pub created_at: Time,
    pub updated_at: Time,
    pub revision: u64,
}

/// Devices by how they stand.
#[derive(Clone, Copy, Debug, Default, Serialize, ToSchema)]
#[schema(as = RotationCounts)]
pub struct RotationCountsView {
    /// To be asked as soon as they are connected.
    pub waiting: u32,
    pub asked: u32,
    pub renewed: u32,
    /// Asked, and not renewed in time.
    pub failed: u32,
    pub canceled: u32,
}

/// One phase.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RotationPhase)]
pub struct RotationPhaseView {
    /// `{"count": N}` or `{"percent": N}`, cumulative.
    #[schema(value_type = Object)]
    pub target: Value,
    pub soak_s: u32,
    /// How many devices may have been taken in by its end, those of earlier phases included.
    pub quota: u32,
    /// Of this phase and those before it.
    #[serde(flatten)]
    pub counts: RotationCountsView,
}

/// One hardware revision.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RotationCohort)]
pub struct RotationCohortView {
    pub hardware: String,
    #[serde(flatten)]
    pub counts: RotationCountsView,
}

/// A device in a rotation.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RotationDevice)]
pub struct RotationDeviceView {
    pub device: String,
    pub phase: u32,
    pub hardware: String,
    /// waiting, asked, renewed, failed or canceled.
    pub status: &'static str,
    pub queued_at: Time,
    pub asked_at: Option<Time>,
    pub finished_at: Option<Time>,
}

impl RotationView {
    pub fn new(found: Found) -> Self {
        let Found { campaign, observed } = found;
        let mut by_hardware: BTreeMap<&str, RotationCountsView> = BTreeMap::new();
        for ((_, hardware), tally) in &observed.updates {
            by_hardware.entry(hardware).or_default().add(*tally);
        }
        let cohort = |(hardware, counts): (&str, _)| RotationCohortView { hardware: hardware.to_owned(), counts };
        let (mut counts, mut phases) = (RotationCountsView::default(), Vec::new());
        for (index, phase) in (0..).zip(&campaign.policy.phases) {
            counts.add(observed.phase(index));
            let quota = campaign.policy.quota(index, campaign.target_count);
            phases.push(RotationPhaseView { target: json!(phase.target), soak_s: phase.soak_s, quota, counts });
        }
        let pause = campaign.halt.reason.as_ref();
        Self {
            id: campaign.id.to_string(),
            name: campaign.name.clone(),
            at_once: campaign.release.at_once,
            selector: json!(campaign.selector),
            policy: json!(campaign.policy),
            state: campaign.state.as_str(),
            phase: campaign.phase,
            phase_started_at: campaign.phase_started_at.map(Time),
            gate_met_at: campaign.gate_met_at.map(Time),
            pause: pause.map(|reason| PauseView { text: campaign::reason(reason), reason: json!(reason) }),
            target_count: campaign.target_count,
            counts: RotationCountsView::of(observed.total()),
            phases,
            hardware: by_hardware.into_iter().map(cohort).collect(),
            created_by: campaign.created_by,
            created_at: Time(campaign.created_at),
            updated_at: Time(campaign.updated_at),
            revision: campaign.revision,
        }
    }
}

impl RotationCountsView {
    fn of(tally: Tally) -> Self {
        let mut counts = Self::default();
        counts.add(tally);
        counts
    }

    fn add(&mut self, tally: Tally) {
        self.waiting = self.waiting.saturating_add(tally.queued).saturating_add(tally.queued_offline);
        self.asked = self.asked.saturating_add(tally.in_progress);
        self.renewed = self.renewed.saturating_add(tally.succeeded);
        self.failed = self.failed.saturating_add(tally.failed);
        self.canceled = self.canceled.saturating_add(tally.canceled);
    }
}

impl RotationDeviceView {
    pub fn new(member: Member) -> Self {
        Self {
            device: member.device.to_string(),
            phase: member.phase,
            hardware: member.hardware,
            status: member.status.as_str(),
            queued_at: Time(member.queued_at),
            asked_at: member.asked_at.map(Time),
            finished_at: member.finished_at.map(Time),
        }
    }
}
