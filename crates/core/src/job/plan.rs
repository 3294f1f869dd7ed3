//! What a job does next.
//!
//! [`allowance`] says how many devices may get theirs, the caller looks who could be next, and [`plan`] decides. The rate
//! holds for everybody who is handed one for the first time, late joiners too; a retry is the same device again and waits
//! for nobody.

use std::time::Duration;

use fleetward_base::{DeviceId, Timestamp};

use super::execution::Status;
use super::policy::{AtEnd, Failure, Hundredths, Increase};
use super::{Cursor, Job, Pace, Selection, State};

const MINUTE: Duration = Duration::from_secs(60);
const MINUTE_MS: u64 = 60_000;
/// Under a rate, what is handed out goes in parts, one a second.
const PART: Duration = Duration::from_secs(1);
/// A job that waits for its devices is looked at so often, should nothing wake it.
const WAIT: Duration = Duration::from_secs(5);
/// A continuous job looks for who came and who went so often.
const SWEEP: Duration = Duration::from_secs(5);

/// The devices of a job by how their last execution stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Standing {
    pub queued: u64,
    pub in_progress: u64,
    pub succeeded: u64,
    pub failed: u64,
    pub timed_out: u64,
    pub rejected: u64,
    pub removed: u64,
    pub canceled: u64,
}

impl Standing {
    pub fn add(&mut self, status: Status, count: u64) {
        let field = match status {
            Status::Queued => &mut self.queued,
            Status::InProgress => &mut self.in_progress,
            Status::Succeeded => &mut self.succeeded,
            Status::Failed => &mut self.failed,
            Status::TimedOut => &mut self.timed_out,
            Status::Rejected => &mut self.rejected,
            Status::Removed => &mut self.removed,
            Status::Canceled => &mut self.canceled,
        };
        *field = field.saturating_add(count);
    }

    /// Not at their end.
    pub fn live(&self) -> u64 {
        self.queued.saturating_add(self.in_progress)
    }

    /// Those that came to an end by themselves or by time.
    pub fn executed(&self) -> u64 {
        self.succeeded.saturating_add(self.failures(Failure::All))
    }

    pub fn failures(&self, failure: Failure) -> u64 {
        [(Status::Failed, self.failed), (Status::TimedOut, self.timed_out), (Status::Rejected, self.rejected)]
            .into_iter()
            .filter(|(status, _)| failure.includes(*status))
            .fold(0, |sum, (_, count)| sum.saturating_add(count))
    }
}

/// Who could be next: at most as many as were allowed.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Candidates {
    /// Each with the number that its execution gets.
    pub devices: Vec<(DeviceId, u64)>,
    /// Where to go on after them.
    pub cursor: Cursor,
}

/// Which executions are to be ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ends {
    Queued,
    All,
}

/// Something that the job went through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Milestone {
    Started,
    Aborted(Failure),
    /// Its schedule ended it.
    Ended(AtEnd),
    Completed,
    /// Of one that was canceled: all that goes with it has ended.
    CancelDone,
}

/// What to do now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub after: Job,
    pub assign: Vec<(DeviceId, u64)>,
    pub end: Option<Ends>,
    /// A window opened: devices are to be told of what is queued.
    pub opened: bool,
    pub milestones: Vec<Milestone>,
}

impl Pace {
    /// Given out in the minute before `now`.
    fn in_last_minute(&self, now: Timestamp) -> u64 {
        let begin = now.minus(MINUTE);
        self.0.iter().filter(|(at, _)| *at > begin).fold(0, |sum, (_, count)| sum.saturating_add(u64::from(*count)))
    }

    fn last(&self) -> Option<Timestamp> {
        self.0.iter().map(|(at, _)| *at).max()
    }

    /// What no longer counts goes. A clock that was set back must not stop the job for hours, so nothing lies ahead.
    fn note(&mut self, now: Timestamp, count: u32) {
        let begin = now.minus(MINUTE);
        self.0.retain(|(at, _)| *at > begin);
        for (at, _) in &mut self.0 {
            *at = (*at).min(now);
        }
        if count > 0 {
            self.0.push((now, count));
        }
    }
}

/// How many a minute the job hands out now; `None` where nothing limits it.
pub fn rate_now(job: &Job, standing: &Standing) -> Option<u32> {
    let rate = job.policy.rate.as_ref()?;
    let Some(exponential) = &rate.exponential else { return rate.maximum_per_minute };
    let (reached, every) = match exponential.increase_after {
        Increase::Notified(every) => (job.handed, every),
        Increase::Succeeded(every) => (standing.succeeded, every),
    };
    let times = i32::try_from(reached / u64::from(every.max(1))).unwrap_or(i32::MAX);
    let most = rate.maximum_per_minute.unwrap_or(fleetward_base::limits::JOB_RATE_PER_MINUTE);
    Some(grown(exponential.base_per_minute, exponential.increment_factor, times, most))
}

fn grown(base: u32, factor: Hundredths, times: i32, most: u32) -> u32 {
    let rate = f64::from(base) * f64::from(factor).powi(times);
    if rate >= f64::from(most) {
        return most;
    }
    #[expect(clippy::cast_possible_truncation, reason = "less than a u32 by the line above")]
    #[expect(clippy::cast_sign_loss, reason = "a product of positive numbers")]
    let rate = rate as u32;
    rate
}

/// How many devices may be handed theirs now.
pub fn allowance(now: Timestamp, job: &Job, standing: &Standing) -> u32 {
    let started = match job.state {
        State::Scheduled => job.policy.schedule.start_at.is_none_or(|start| start <= now),
        State::InProgress => true,
        _ => false,
    };
    let ended = job.rollout_over || job.policy.schedule.end_at.is_some_and(|end| end <= now);
    if !started || ended || aborts(job, standing).is_some() || !job.policy.schedule.is_open(now) {
        return 0;
    }
    let Some(rate) = rate_now(job, standing) else { return u32::MAX };
    let left = u64::from(rate).saturating_sub(job.pace.in_last_minute(now));
    // Evenly: as much of a minute's worth as has passed of one since the last part.
    let share = match job.pace.last() {
        None => u64::from(rate / 60).max(1),
        Some(last) if now.since(last) < PART => 0,
        Some(last) => {
            let passed = u64::try_from(now.since(last).as_millis()).unwrap_or(u64::MAX).min(MINUTE_MS);
            u64::from(rate).saturating_mul(passed) / MINUTE_MS
        }
    };
    u32::try_from(left.min(share)).unwrap_or(u32::MAX)
}

/// The criterion that is met, if one is.
fn aborts(job: &Job, standing: &Standing) -> Option<Failure> {
    let executed = standing.executed();
    let met = |abort: &&super::policy::Abort| {
        let failures = standing.failures(abort.failure);
        executed >= u64::from(abort.minimum_executed)
            && failures > 0
            && failures.saturating_mul(10_000) >= executed.saturating_mul(u64::from(abort.threshold_percent.0))
    };
    job.policy.abort.iter().find(met).map(|abort| abort.failure)
}

/// What the job does now. `candidates` are those that were found within the [`allowance`].
pub fn plan(now: Timestamp, job: &Job, standing: &Standing, candidates: &Candidates) -> Plan {
    let mut plan = Plan { after: job.clone(), assign: Vec::new(), end: None, opened: false, milestones: Vec::new() };
    match job.state {
        State::Completed => plan.after.look_at = None,
        // The caller takes it away page by page and then it is gone.
        State::Deleting => plan.after.look_at = Some(now),
        State::Canceled => end(&mut plan, standing),
        State::Scheduled => match job.policy.schedule.start_at {
            Some(start) if start > now => plan.after.look_at = Some(start),
            _ => {
                plan.after.state = State::InProgress;
                plan.after.started_at = Some(now);
                plan.milestones.push(Milestone::Started);
                go_on(now, &mut plan, standing, candidates);
            }
        },
        State::InProgress => go_on(now, &mut plan, standing, candidates),
    }
    if !plan.milestones.is_empty() {
        plan.after.updated_at = now;
        plan.after.revision = plan.after.revision.saturating_add(1);
    }
    plan
}

/// Cancels what the end of the job takes with it, until nothing of it is left.
fn end(plan: &mut Plan, standing: &Standing) {
    let scope = if plan.after.force { Ends::All } else { Ends::Queued };
    let left = match scope {
        Ends::All => standing.live(),
        Ends::Queued => standing.queued,
    };
    plan.end = (left > 0).then_some(scope);
    if left == 0 && plan.after.look_at.take().is_some() {
        plan.milestones.push(Milestone::CancelDone);
    }
}

fn go_on(now: Timestamp, plan: &mut Plan, standing: &Standing, candidates: &Candidates) {
    if let Some(failure) = aborts(&plan.after, standing) {
        plan.milestones.push(Milestone::Aborted(failure));
        plan.after.reason_code = Some("aborted".to_owned());
        return cancel(now, plan, standing);
    }
    let schedule = plan.after.policy.schedule.clone();
    if !plan.after.rollout_over && schedule.end_at.is_some_and(|end| end <= now) {
        let at_end = schedule.at_end.unwrap_or(AtEnd::StopRollout);
        plan.milestones.push(Milestone::Ended(at_end));
        match at_end {
            AtEnd::StopRollout => plan.after.rollout_over = true,
            AtEnd::Cancel | AtEnd::ForceCancel => {
                plan.after.force = at_end == AtEnd::ForceCancel;
                plan.after.reason_code = Some("schedule_ended".to_owned());
                return cancel(now, plan, standing);
            }
        }
    }
    let open = schedule.is_open(now);
    plan.opened = open && !plan.after.window_open && standing.queued > 0;
    plan.after.window_open = open;
    hand_out(now, plan, standing, candidates);

    let through = plan.after.is_gone_through() || plan.after.rollout_over;
    let ends = plan.after.selection == Selection::Snapshot || plan.after.rollout_over;
    if through && ends && plan.assign.is_empty() && standing.live() == 0 {
        plan.milestones.push(Milestone::Completed);
        plan.after.state = State::Completed;
        plan.after.completed_at = Some(now);
        plan.after.look_at = None;
        return;
    }
    let next = if through {
        // A window that opens shows again what is queued.
        let opens = (!open).then(|| schedule.opens_after(now)).flatten();
        let wait = now.plus(if ends { WAIT } else { SWEEP });
        opens.map_or(wait, |opens| opens.min(wait))
    } else if !open {
        schedule.opens_after(now).unwrap_or_else(|| now.plus(WAIT))
    } else if plan.after.policy.rate.is_some() {
        now.plus(PART)
    } else {
        now
    };
    let end = schedule.end_at.filter(|_| !plan.after.rollout_over);
    // A look before its time, as after a report, does not put off the one that stands.
    let stands = plan.after.look_at.filter(|at| *at > now);
    plan.after.look_at = [Some(next), end, stands].into_iter().flatten().min();
}

fn cancel(now: Timestamp, plan: &mut Plan, standing: &Standing) {
    plan.after.state = State::Canceled;
    plan.after.completed_at = Some(now);
    plan.after.look_at = Some(now);
    end(plan, standing);
}

fn hand_out(now: Timestamp, plan: &mut Plan, standing: &Standing, candidates: &Candidates) {
    let allowed = usize::try_from(allowance(now, &plan.after, standing)).unwrap_or(usize::MAX);
    if allowed == 0 {
        return plan.after.pace.note(now, 0);
    }
    // More than was allowed is never found; if it were, those beyond keep their turn.
    if candidates.devices.len() <= allowed {
        plan.assign.clone_from(&candidates.devices);
        plan.after.cursor = candidates.cursor.clone();
    }
    let given = u32::try_from(plan.assign.len()).unwrap_or(u32::MAX);
    plan.after.handed = plan.after.handed.saturating_add(u64::from(given));
    if plan.after.policy.rate.is_some() {
        plan.after.pace.note(now, given);
    }
}
