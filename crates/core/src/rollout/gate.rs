//! The gate behind a phase: what it sees, whether it is broken, whether it may open.

use super::{CohortFinding, Gates, Observed, PauseReason, Rollout, Tally};

/// What a gate weighs: counts with what was excused taken off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
struct Weighed {
    started: u32,
    finished: u32,
    failed: u32,
    silent: u32,
    open: u32,
}

/// How the gate of the current phase stands, for people who wait for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GateView {
    pub standing: Standing,
    /// Deployments that it waits for.
    pub waiting: u32,
}

/// How a gate stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// A limit is exceeded.
    Broken(PauseReason),
    /// Devices have still to begin or to finish.
    Waiting,
    /// Everything that it asks for holds now.
    Holds,
}

/// Looks at the gate behind the current phase. `full`: nothing more can be assigned in it; `last`: nothing comes after it.
pub(super) fn look<Of>(rollout: &Rollout<Of>, observed: &Observed, full: bool, last: bool) -> GateView {
    if let Some(reason) = broken(rollout, observed) {
        return GateView { standing: Standing::Broken(reason), waiting: 0 };
    }
    let phase = observed.phase(rollout.phase);
    let all = observed.total();
    // Devices that cannot have begun hold nothing up, and silent ones are judged by their own gate; but a rollout is not
    // finished while one of its devices may still take the update.
    let waiting = if last {
        all.open()
    } else {
        all.queued.saturating_add(all.in_progress.saturating_sub(all.silent_in_progress))
    };
    // Without a result there is nothing to open a gate for: a canary that is offline proves nothing. A phase that had
    // nobody to assign, or whose devices were all canceled, has nothing to prove.
    let wanted = rollout.policy.gates.min_finished.min(phase.assigned().saturating_sub(phase.canceled));
    let holds = full && waiting == 0 && phase.finished() >= wanted;
    let waiting = waiting.max(wanted.saturating_sub(phase.finished()));
    GateView { standing: if holds { Standing::Holds } else { Standing::Waiting }, waiting }
}

/// The limit that is exceeded, if one is: failures before silence.
fn broken<Of>(rollout: &Rollout<Of>, observed: &Observed) -> Option<PauseReason> {
    let gates = rollout.policy.gates;
    let phase = rollout.phase;
    let whole = weigh(rollout, observed, |p, _| p == phase);
    let cohorts = cohorts(rollout, observed);
    let over = |bad: u32, of: u32, limit: u8| u64::from(bad) * 100 > u64::from(limit) * u64::from(of);

    let judged = whole.finished >= gates.min_finished || (whole.open == 0 && whole.finished > 0);
    let failing = findings(&cohorts, gates, |w| (w.failed, w.finished), gates.max_failure_percent);
    if !failing.is_empty() || (judged && over(whole.failed, whole.finished, gates.max_failure_percent)) {
        // A cohort may have failed in an earlier phase, for which the figures of this one would be a riddle.
        let all = weigh(rollout, observed, |_, _| true);
        let (failed, finished) =
            if whole.failed > 0 { (whole.failed, whole.finished) } else { (all.failed, all.finished) };
        let limit_percent = gates.max_failure_percent;
        let cohorts = named(failing, &cohorts, gates, |w| (w.failed, w.finished), limit_percent);
        return Some(PauseReason::Failures { phase, failed, finished, limit_percent, cohorts });
    }

    let judged = whole.started >= gates.min_finished || (whole.open == whole.silent && whole.started > 0);
    let failing = findings(&cohorts, gates, |w| (w.silent, w.started), gates.max_silent_percent);
    if !failing.is_empty() || (judged && over(whole.silent, whole.started, gates.max_silent_percent)) {
        let all = weigh(rollout, observed, |_, _| true);
        let (silent, started) =
            if whole.silent > 0 { (whole.silent, whole.started) } else { (all.silent, all.started) };
        let (limit_percent, silent_after_s) = (gates.max_silent_percent, gates.silent_after_s);
        let cohorts = named(failing, &cohorts, gates, |w| (w.silent, w.started), limit_percent);
        return Some(PauseReason::Silence { phase, silent, started, limit_percent, silent_after_s, cohorts });
    }
    None
}

/// What is weighed of each hardware revision, over all phases.
fn cohorts<Of>(rollout: &Rollout<Of>, observed: &Observed) -> Vec<(String, Weighed)> {
    let mut names: Vec<&String> = observed.updates.keys().map(|(_, hardware)| hardware).collect();
    names.sort_unstable();
    names.dedup();
    names.into_iter().map(|name| (name.clone(), weigh(rollout, observed, |_, hardware| hardware == name))).collect()
}

/// The cohorts over `limit` with enough devices to judge, the worst first.
fn findings(
    cohorts: &[(String, Weighed)],
    gates: Gates,
    measure: impl Fn(&Weighed) -> (u32, u32),
    limit: u8,
) -> Vec<CohortFinding> {
    let mut found: Vec<CohortFinding> = cohorts
        .iter()
        .map(|(hardware, weighed)| (hardware, measure(weighed)))
        .filter(|(_, (bad, of))| *of >= gates.min_finished && u64::from(*bad) * 100 > u64::from(limit) * u64::from(*of))
        .map(|(hardware, (bad, of))| CohortFinding { hardware: hardware.clone(), bad, of })
        .collect();
    // a/b > c/d without division; names decide between equals.
    found.sort_by(|a, b| {
        let (left, right) = (u64::from(a.bad) * u64::from(b.of), u64::from(b.bad) * u64::from(a.of));
        right.cmp(&left).then_with(|| a.hardware.cmp(&b.hardware))
    });
    found
}

/// Whom the reason names. Where it is the phase as a whole that broke the gate, a cohort of too few devices to be judged
/// alone is named all the same; but nobody is where all of several are over the limit: then it is not the hardware.
fn named(
    judged: Vec<CohortFinding>,
    cohorts: &[(String, Weighed)],
    gates: Gates,
    measure: impl Fn(&Weighed) -> (u32, u32),
    limit: u8,
) -> Vec<CohortFinding> {
    if !judged.is_empty() {
        return judged;
    }
    let seen = cohorts.iter().filter(|(_, weighed)| measure(weighed).1 > 0).count();
    let found = findings(cohorts, Gates { min_finished: 1, ..gates }, measure, limit);
    if seen > 1 && found.len() == seen { Vec::new() } else { found }
}

/// The counts of all phases and cohorts that `which` takes, less what was excused there.
fn weigh<Of>(rollout: &Rollout<Of>, observed: &Observed, which: impl Fn(u32, &str) -> bool) -> Weighed {
    let mut sum = Weighed::default();
    for ((phase, hardware), tally) in observed.updates.iter().filter(|((p, h), _)| which(*p, h)) {
        let one = excuse(rollout, *phase, hardware, tally);
        sum.started = sum.started.saturating_add(one.started);
        sum.finished = sum.finished.saturating_add(one.finished);
        sum.failed = sum.failed.saturating_add(one.failed);
        sum.silent = sum.silent.saturating_add(one.silent);
        sum.open = sum.open.saturating_add(one.open);
    }
    sum
}

fn excuse<Of>(rollout: &Rollout<Of>, phase: u32, hardware: &str, tally: &Tally) -> Weighed {
    let mut weighed = Weighed {
        started: tally.started(),
        finished: tally.finished(),
        failed: tally.failed,
        silent: tally.silent,
        open: tally.open(),
    };
    for excuse in rollout.halt.excused.iter().filter(|e| e.phase == phase && e.hardware == hardware) {
        weighed.started = weighed.started.saturating_sub(excuse.started);
        weighed.finished = weighed.finished.saturating_sub(excuse.finished);
        weighed.failed = weighed.failed.saturating_sub(excuse.failed);
        weighed.silent = weighed.silent.saturating_sub(excuse.silent);
    }
    weighed
}
