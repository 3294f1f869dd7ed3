//! What a rollout does next.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use fleetward_base::{DeviceId, ReleaseId, Timestamp};
use sha2::{Digest, Sha256};

use super::gate::{self, GateView, Standing};
use super::{Candidate, Observed, PauseReason, Rollout, State};
use crate::deployment::Kind;

/// A deployment to be queued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    pub device: DeviceId,
    pub hardware: String,
    pub kind: Kind,
    pub phase: u32,
}

/// What to do, and how the rollout stands afterwards. Empty means: nothing, until something changes or time passes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan<Of = ReleaseId> {
    /// Deployments to queue, in order.
    pub assign: Vec<Assignment>,
    /// Deployments in progress to be ended as timed out.
    pub time_out: Vec<(DeviceId, Kind)>,
    /// Cancel every update that is queued: the rollout is rolling back or canceled.
    pub cancel_queued: bool,
    /// Phases entered, in order.
    pub entered: Vec<u32>,
    /// The conditions of the gate began to hold, or ceased to.
    pub gate_met: Option<bool>,
    /// The gate is broken: pause, for this reason.
    pub pause: Option<PauseReason>,
    /// The rollout is at its end, in this state.
    pub finish: Option<State>,
    /// How the gate stands after all this; not a thing to do.
    pub gate: GateView,
    /// When to look again although nothing was reported: the end of a soak.
    pub look_again_at: Option<Timestamp>,
    /// The rollout as it is after this plan.
    pub after: Rollout<Of>,
}

impl<Of> Plan<Of> {
    pub fn is_empty(&self) -> bool {
        self.assign.is_empty()
            && self.time_out.is_empty()
            && !self.cancel_queued
            && self.entered.is_empty()
            && self.gate_met.is_none()
            && self.pause.is_none()
            && self.finish.is_none()
    }
}

/// What `rollout` does at `now`. `candidates` is a page of the devices that could be assigned, in any order;
/// [`Observed::more_candidates`] says whether there are others. Total: every input gives a plan.
pub fn plan<Of: Clone>(
    now: Timestamp,
    rollout: &Rollout<Of>,
    observed: &Observed,
    candidates: &[Candidate],
) -> Plan<Of> {
    let mut planner = Planner::new(now, rollout, observed, candidates);
    match rollout.state {
        State::Running => planner.run(),
        State::RollingBack => planner.roll_back(),
        State::Paused => planner.time_out(),
        State::Canceled => {
            planner.plan.cancel_queued = planner.cancel_queued();
            planner.time_out();
        }
        State::RolledBack | State::Finished => {}
    }
    planner.finish()
}

struct Planner<Of> {
    now: Timestamp,
    observed: Observed,
    waiting: VecDeque<Candidate>,
    plan: Plan<Of>,
}

impl<Of: Clone> Planner<Of> {
    fn new(now: Timestamp, rollout: &Rollout<Of>, observed: &Observed, candidates: &[Candidate]) -> Self {
        let gate = GateView { standing: Standing::Waiting, waiting: 0 };
        Self {
            now,
            observed: observed.clone(),
            waiting: in_turn(rollout, candidates),
            plan: Plan {
                assign: Vec::new(),
                time_out: Vec::new(),
                cancel_queued: false,
                entered: Vec::new(),
                gate_met: None,
                pause: None,
                finish: None,
                gate,
                look_again_at: None,
                after: rollout.clone(),
            },
        }
    }

    /// Fills the phase, looks at its gate, and goes on to the next for as long as gates are open.
    fn run(&mut self) {
        self.time_out();
        if self.plan.after.phase_started_at.is_none() {
            self.enter(self.plan.after.phase);
        }
        loop {
            let last = self.last_phase();
            let room = self.room();
            // Judged before anything is assigned: what is broken gets no more devices.
            let view = gate::look(&self.plan.after, &self.observed, false, last);
            if let Standing::Broken(reason) = &view.standing {
                self.plan.pause = Some(reason.clone());
                self.plan.after.state = State::Paused;
                self.plan.after.halt.reason = Some(reason.clone());
                self.plan.after.gate_met_at = None;
                self.plan.gate = view;
                return;
            }
            self.fill(room);
            let full = self.room() == 0 || (self.waiting.is_empty() && !self.observed.more_candidates);
            self.plan.gate = gate::look(&self.plan.after, &self.observed, full, last);
            if !self.soaked() {
                return;
            }
            if last {
                return self.end(State::Finished);
            }
            self.enter(self.plan.after.phase.saturating_add(1));
        }
    }

    fn enter(&mut self, phase: u32) {
        self.plan.after.phase = phase;
        self.plan.after.phase_started_at = Some(self.now);
        self.plan.after.gate_met_at = None;
        self.plan.gate_met = None;
        self.plan.entered.push(phase);
    }

    fn end(&mut self, state: State) {
        self.plan.after.state = state;
        self.plan.finish = Some(state);
        self.plan.look_again_at = None;
    }

    fn last_phase(&self) -> bool {
        usize::try_from(self.plan.after.phase).unwrap_or(usize::MAX).saturating_add(1)
            >= self.plan.after.policy.phases.len()
    }

    /// What the quota of the phases so far leaves.
    fn room(&self) -> u32 {
        let after = &self.plan.after;
        after.policy.quota(after.phase, after.target_count).saturating_sub(self.observed.assigned())
    }

    fn fill(&mut self, room: u32) {
        for _ in 0..room {
            let Some(next) = self.waiting.pop_front() else { return };
            let phase = self.plan.after.phase;
            let tally = self.observed.updates.entry((phase, next.hardware.clone())).or_default();
            let field = if next.online { &mut tally.queued } else { &mut tally.queued_offline };
            *field = field.saturating_add(1);
            let Candidate { device, hardware, .. } = next;
            self.plan.assign.push(Assignment { device, hardware, kind: Kind::Update, phase });
        }
    }

    /// Keeps the time since when the gate holds, and says whether that is long enough.
    fn soaked(&mut self) -> bool {
        let before = self.plan.after.gate_met_at;
        if self.plan.gate.standing != Standing::Holds {
            if before.is_some() {
                self.plan.after.gate_met_at = None;
                self.plan.gate_met = Some(false);
            }
            return false;
        }
        let since = before.unwrap_or(self.now);
        if before.is_none() {
            self.plan.after.gate_met_at = Some(self.now);
            self.plan.gate_met = Some(true);
        }
        let index = usize::try_from(self.plan.after.phase).unwrap_or(usize::MAX);
        let soak = self.plan.after.policy.phases.get(index).map_or(0, |phase| phase.soak_s);
        let soak = Duration::from_secs(soak.into());
        if self.now.since(since) >= soak {
            return true;
        }
        self.plan.look_again_at = Some(since.plus(soak));
        false
    }

    /// Overdue deployments end as timed out, and count as failed from now on.
    fn time_out(&mut self) {
        self.plan.time_out = self.observed.overdue.clone();
    }

    fn cancel_queued(&self) -> bool {
        let all = self.observed.total();
        all.queued.saturating_add(all.queued_offline) > 0
    }

    /// Cancels what has not begun, takes back what succeeded, waits for what is under way.
    fn roll_back(&mut self) {
        self.time_out();
        self.plan.cancel_queued = self.cancel_queued();
        let mut taken = BTreeSet::new();
        let phase = self.plan.after.phase;
        for candidate in in_turn(&self.plan.after, &self.observed.to_roll_back) {
            if taken.insert(candidate.device.clone()) {
                let Candidate { device, hardware, .. } = candidate;
                self.plan.assign.push(Assignment { device, hardware, kind: Kind::Rollback, phase });
            }
        }
        let under_way = self.observed.total().in_progress > 0 || self.observed.rollbacks.open() > 0;
        if self.plan.assign.is_empty() && !under_way && !self.observed.more_to_roll_back {
            self.end(State::RolledBack);
        }
    }

    fn finish(mut self) -> Plan<Of> {
        if !self.plan.is_empty() {
            self.plan.after.updated_at = self.now;
            self.plan.after.revision = self.plan.after.revision.saturating_add(1);
        }
        self.plan
    }
}

/// A candidate after the hash that decides its place.
type Ranked<'a> = ([u8; 32], &'a Candidate);

/// The order in which devices take their turn: those that are there first; then one of each hardware revision in turn, so
/// that a canary meets every cohort; then by a hash of rollout and device, so that it is not always the same devices that
/// go first.
fn in_turn<Of>(rollout: &Rollout<Of>, candidates: &[Candidate]) -> VecDeque<Candidate> {
    let seed = rollout.id.to_string();
    let mut cohorts: BTreeMap<(bool, &str), Vec<Ranked>> = BTreeMap::new();
    for candidate in candidates {
        let hash = Sha256::new().chain_update(&seed).chain_update(candidate.device.as_str()).finalize().into();
        cohorts.entry((!candidate.online, &candidate.hardware)).or_default().push((hash, candidate));
    }
    let mut turns = Vec::with_capacity(candidates.len());
    for ((offline, hardware), mut members) in cohorts {
        members.sort_unstable();
        members.dedup_by(|a, b| a.1.device == b.1.device);
        turns
            .extend(members.into_iter().enumerate().map(|(turn, (_, candidate))| (offline, turn, hardware, candidate)));
    }
    turns.sort_unstable_by_key(|(offline, turn, hardware, _)| (*offline, *turn, *hardware));
    turns.into_iter().map(|(.., candidate)| candidate.clone()).collect()
}
