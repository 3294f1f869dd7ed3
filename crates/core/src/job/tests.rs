use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fleetward_base::DeviceId;
use proptest::prelude::*;

use super::execution::{self, Applied, Report, StepTimeout};
use super::queue::{Change, Place, news};
use super::*;

fn job(selection: Selection, policy: &str) -> Job {
    let draft = Draft {
        id: "reboot".parse().expect("an id"),
        document: "{}".to_owned(),
        description: None,
        targets: vec![Selector::default()],
        selection,
        policy: serde_json::from_str(policy).expect("a policy"),
    };
    draft.check().expect("a job");
    draft.begin("ops".to_owned(), Timestamp::EPOCH)
}

fn device(n: usize) -> DeviceId {
    format!("d{n:04}").parse().expect("a name")
}

/// A fleet that works as a script says, and a job that is planned for it.
struct Fleet {
    now: Timestamp,
    job: Job,
    devices: usize,
    executions: BTreeMap<(DeviceId, u64), Execution>,
    handed: Vec<(Timestamp, u32)>,
}

impl Fleet {
    fn new(devices: usize, selection: Selection, policy: &str) -> Self {
        let (now, job) = (Timestamp::from_secs(1_795_818_600), job(selection, policy));
        Self { now, job, devices, executions: BTreeMap::new(), handed: Vec::new() }
    }

    fn last(&self, device: &DeviceId) -> Option<&Execution> {
        self.executions.values().rev().find(|execution| execution.device == *device)
    }

    fn standing(&self) -> Standing {
        let mut standing = Standing::default();
        for n in 0..self.devices {
            if let Some(last) = self.last(&device(n)) {
                standing.add(last.status, 1);
            }
        }
        standing
    }

    /// What the store would find.
    fn candidates(&self, allowed: u32) -> Candidates {
        let mut found = Candidates { devices: Vec::new(), cursor: self.job.cursor.clone() };
        if allowed == 0 || self.job.is_gone_through() {
            return found;
        }
        let wanted = usize::try_from(allowed.min(50)).expect("few");
        for n in 0..self.devices {
            let device = device(n);
            let last = self.last(&device);
            let free = last.is_none_or(|last| last.status == Status::Removed);
            if free && device.as_str() > found.cursor.device.as_str() && found.devices.len() < wanted {
                found.devices.push((device, last.map_or(0, |last| last.number) + 1));
            }
        }
        match found.devices.last() {
            Some((last, _)) if found.devices.len() == wanted => found.cursor.device = last.to_string(),
            _ => found.cursor = Cursor { target: 1, device: String::new() },
        }
        found
    }

    fn tick(&mut self) -> Plan {
        if self.job.selection == Selection::Continuous
            && self.job.is_gone_through()
            && self.job.look_at.is_some_and(|at| at <= self.now)
        {
            self.job.cursor = Cursor::default();
        }
        let standing = self.standing();
        let allowed = allowance(self.now, &self.job, &standing);
        let candidates = self.candidates(allowed);
        let plan = plan(self.now, &self.job, &standing, &candidates);
        assert!(plan.assign.len() <= usize::try_from(allowed).expect("few"));
        self.handed.push((self.now, u32::try_from(plan.assign.len()).expect("few")));
        self.job = plan.after.clone();
        for (device, number) in &plan.assign {
            let queued = Execution::queued(&self.job.id, device.clone(), *number, self.now);
            assert!(self.executions.insert((device.clone(), *number), queued).is_none(), "numbers only grow");
        }
        if let Some(ends) = plan.end {
            for execution in self.executions.values_mut() {
                if (execution.status == Status::Queued || ends == Ends::All)
                    && let Some(ended) = execution::end(execution, Status::Canceled, self.now)
                {
                    *execution = ended;
                }
            }
        }
        plan
    }

    fn report(&mut self, device: &DeviceId, status: Status) {
        let Some(last) = self.last(device).cloned() else { return };
        let report = Report { status, detail: None, expected_version: None, step_timeout: None };
        if let Ok(Applied::Changed(after)) = execution::apply(&last, &report, self.job.policy.timeout(), self.now) {
            self.put(after);
        }
    }

    fn put(&mut self, after: Execution) {
        if self.job.state == State::InProgress
            && let Some(next) = execution::retry(&self.job.policy, &after, self.now)
        {
            assert!(self.executions.insert((next.device.clone(), next.number), next).is_none(), "numbers only grow");
        }
        self.executions.insert((after.device.clone(), after.number), after);
    }

    fn time_out(&mut self) {
        let over: Vec<Execution> =
            self.executions.values().filter(|e| e.due_at().is_some_and(|at| at <= self.now)).cloned().collect();
        for execution in over {
            if let Some(after) = execution::end(&execution, Status::TimedOut, self.now) {
                self.put(after);
            }
        }
    }

    fn pass(&mut self, secs: u64) {
        self.now = self.now.plus(Duration::from_secs(secs));
    }

    fn show(&self) -> String {
        let s = self.standing();
        let done = s.succeeded + s.failed + s.rejected + s.timed_out;
        format!(
            "{} queued {} working {} done {} canceled {}",
            self.job.state, s.queued, s.in_progress, done, s.canceled
        )
    }
}

#[test]
fn a_snapshot_is_handed_out_and_completes() {
    let mut fleet = Fleet::new(60, Selection::Snapshot, "{}");
    assert_eq!(fleet.tick().milestones, [Milestone::Started]);
    assert_eq!(fleet.job.look_at, Some(fleet.now), "there are others");
    fleet.tick();
    assert_eq!(fleet.show(), "in_progress queued 60 working 0 done 0 canceled 0");
    fleet.devices = 61;
    fleet.pass(5);
    assert!(fleet.tick().assign.is_empty(), "who comes later is not meant");
    for n in 0..60 {
        fleet.report(&device(n), if n == 0 { Status::Failed } else { Status::Succeeded });
    }
    assert_eq!(fleet.tick().milestones, [Milestone::Completed]);
    assert_eq!((fleet.show().as_str(), fleet.job.look_at), ("completed queued 0 working 0 done 60 canceled 0", None));
    let before = fleet.job.clone();
    assert_eq!(fleet.tick().after, before, "what is planned of the end is the end");
}

#[test]
fn a_rate_is_shared_out_over_the_minute_and_holds_for_who_comes_late() {
    let mut fleet = Fleet::new(40, Selection::Continuous, r#"{"rate":{"maximum_per_minute":6}}"#);
    let mut given = Vec::new();
    for second in 0..=60 {
        if !fleet.tick().assign.is_empty() {
            given.push(second);
        }
        fleet.pass(1);
    }
    assert_eq!(given, [0, 10, 20, 30, 40, 50, 60]);
    for _ in 0..600 {
        fleet.tick();
        fleet.pass(1);
    }
    assert_eq!(fleet.standing().queued, 40);
    fleet.devices = 60;
    fleet.pass(3600);
    fleet.tick();
    assert_eq!(fleet.standing().queued, 41, "no more at once after a quiet hour");
    fleet.pass(10);
    fleet.tick();
    assert_eq!(fleet.standing().queued, 42);
}

#[test]
fn an_exponential_rate_grows() {
    let policy = r#"{"rate":{"maximum_per_minute":100,"exponential":{"base_per_minute":10,"increment_factor":2.0,
        "increase_after":{"notified":20}}}}"#;
    let mut job = job(Selection::Snapshot, policy);
    for (handed, rate) in [(0, 10), (19, 10), (20, 20), (40, 40), (60, 80), (80, 100), (u64::MAX, 100)] {
        job.handed = handed;
        assert_eq!(rate_now(&job, &Standing::default()), Some(rate), "{handed}");
    }
    let after = serde_json::json!({"succeeded": 5});
    let mut policy = serde_json::to_value(&job.policy).expect("JSON");
    policy["rate"]["exponential"]["increase_after"] = after;
    job.policy = serde_json::from_value(policy).expect("a policy");
    assert_eq!(rate_now(&job, &Standing { succeeded: 10, ..Standing::default() }), Some(40));
}

#[test]
fn criteria_abort_a_job() {
    let policy = r#"{"abort":[{"failure":"failed","threshold_percent":50,"minimum_executed":4}]}"#;
    for (failed, rejected, succeeded, aborts) in
        [(3, 0, 0, false), (2, 0, 2, true), (2, 1, 2, false), (0, 4, 0, false), (4, 0, 0, true)]
    {
        let mut fleet = Fleet::new(10, Selection::Snapshot, policy);
        fleet.tick();
        let outcomes = [(Status::Failed, failed), (Status::Rejected, rejected), (Status::Succeeded, succeeded)];
        let statuses = outcomes.iter().flat_map(|(status, count)| std::iter::repeat_n(*status, *count));
        for (n, status) in statuses.enumerate() {
            fleet.report(&device(n), status);
        }
        fleet.report(&device(9), Status::InProgress);
        let plan = fleet.tick();
        let case = format!("{failed} failed {rejected} rejected {succeeded} succeeded");
        assert_eq!(plan.end, aborts.then_some(Ends::Queued), "{case}");
        assert_eq!(fleet.standing().in_progress, 1, "{case}: what began goes on");
        assert_eq!(fleet.standing().queued == 0, aborts, "{case}");
    }
}

#[test]
fn schedules_begin_end_and_have_windows() {
    let start = 1_795_818_600_000_i64 + 60_000;
    for (at_end, state, canceled, working) in [
        ("stop_rollout", State::InProgress, 0, 1),
        ("cancel", State::Canceled, 1, 1),
        ("force_cancel", State::Canceled, 2, 0),
    ] {
        let policy =
            format!(r#"{{"schedule":{{"start_at":{start},"end_at":{},"at_end":"{at_end}"}}}}"#, start + 60_000);
        let mut fleet = Fleet::new(2, Selection::Snapshot, &policy);
        fleet.tick();
        assert_eq!((fleet.job.state, fleet.job.look_at), (State::Scheduled, Some(Timestamp::from_millis(start))));
        fleet.pass(60);
        fleet.tick();
        fleet.report(&device(0), Status::InProgress);
        fleet.devices = 3;
        fleet.pass(60);
        fleet.tick();
        let standing = fleet.standing();
        assert_eq!((fleet.job.state, standing.canceled, standing.in_progress), (state, canceled, working), "{at_end}");
    }

    // It is 22:30; the window opens at 23:00 for ten minutes.
    let policy = r#"{"schedule":{"windows":[{"start":"cron(0 23 * * ? *)","duration_minutes":10}]}}"#;
    let mut fleet = Fleet::new(1, Selection::Continuous, policy);
    fleet.tick();
    assert_eq!((fleet.standing().queued, fleet.job.look_at), (0, Some(fleet.now.plus(Duration::from_secs(1800)))));
    fleet.pass(1800);
    assert!(!fleet.tick().opened, "nothing was hidden");
    assert_eq!(fleet.standing().queued, 1);
    fleet.pass(600);
    fleet.devices = 2;
    assert!(fleet.tick().assign.is_empty(), "it is closed");
    fleet.pass(86_400 - 600);
    let plan = fleet.tick();
    assert!(plan.opened && plan.assign.len() == 1);
}

#[test]
fn operators_end_jobs() {
    let at = Timestamp::from_secs(9);
    for (from, asked, expect) in [
        (State::Scheduled, "cancel", "canceled"),
        (State::InProgress, "cancel", "canceled"),
        (State::Canceled, "cancel", "nothing"),
        (State::Canceled, "cancel force", "canceled"),
        (State::Completed, "cancel", "a job that is completed cannot be canceled"),
        (State::InProgress, "delete", "a job that is in_progress cannot be deleted without force"),
        (State::InProgress, "delete force", "deletion_in_progress"),
        (State::Completed, "delete", "deletion_in_progress"),
        (State::Deleting, "delete force", "nothing"),
        (State::Deleting, "cancel", "a job that is deletion_in_progress cannot be canceled"),
    ] {
        let mut job = job(Selection::Snapshot, "{}");
        job.state = from;
        let force = asked.ends_with("force");
        let done = if asked.starts_with("cancel") { cancel(&job, force, at) } else { delete(&job, force, at) };
        let found = match done {
            Ok(Some(after)) => {
                assert_eq!((after.revision, after.look_at), (2, Some(at)));
                after.state.to_string()
            }
            Ok(None) => "nothing".to_owned(),
            Err(refused) => refused.to_string(),
        };
        assert_eq!(found, expect, "{asked} while {from}");
    }
}

#[test]
fn drafts_are_held_to_their_rules() {
    let check = |change: &dyn Fn(&mut Draft)| {
        let mut draft = Draft {
            id: "reboot".parse().expect("an id"),
            document: "{}".to_owned(),
            description: None,
            targets: vec![Selector::default()],
            selection: Selection::Snapshot,
            policy: Policy::default(),
        };
        change(&mut draft);
        draft.check().err().map_or_else(String::new, |invalid| invalid.to_string())
    };
    let policy = |text: &'static str| move |draft: &mut Draft| draft.policy = serde_json::from_str(text).expect("JSON");
    assert_eq!(check(&|_| {}), "");
    assert_eq!(check(&|draft| draft.document = "[]".to_owned()), "document: not a JSON object");
    assert_eq!(check(&|draft| draft.document = " ".repeat(32_769)), "document: longer than 32768 characters");
    assert_eq!(check(&|draft| draft.targets.clear()), "targets: must be 1 to 100");
    for (text, expect) in [
        (r#"{"timeout_minutes":0}"#, "policy.timeout_minutes: must be 1 to 10080"),
        (r#"{"rate":{"maximum_per_minute":0}}"#, "policy.rate.maximum_per_minute: must be 1 to 1000000"),
        (
            r#"{"retry":[{"failure":"rejected","retries":1}]}"#,
            "policy.retry: 0 to 10 retries of failed, timed_out or all",
        ),
        (
            r#"{"retry":[{"failure":"failed","retries":11}]}"#,
            "policy.retry: 0 to 10 retries of failed, timed_out or all",
        ),
        (r#"{"schedule":{"start_at":5,"end_at":5}}"#, "policy.schedule.end_at: must be after the start"),
        (r#"{"schedule":{"at_end":"cancel"}}"#, "policy.schedule.at_end: there is no end"),
    ] {
        assert_eq!(check(&policy(text)), expect, "{text}");
    }
    for bad in [r#"{"retries":[]}"#, r#"{"abort":[{"failure":"failed","threshold_percent":-1,"minimum_executed":1}]}"#]
    {
        assert!(serde_json::from_str::<Policy>(bad).is_err(), "{bad}");
    }
}

fn execution(status: Status, version: u64) -> Execution {
    let queued = Execution::queued(&"reboot".parse().expect("an id"), device(1), 1, Timestamp::from_secs(1));
    Execution { status, version, ..queued }
}

#[test]
fn reports() {
    let check = |from: Status, version, to: Status, expected_version, expect: &str| {
        let report = Report { status: to, detail: None, expected_version, step_timeout: None };
        let found = match execution::apply(&execution(from, version), &report, None, Timestamp::from_secs(2)) {
            Ok(Applied::Changed(next)) => format!("{} v{}", next.status, next.version),
            Ok(Applied::Repeated) => "repeated".to_owned(),
            Err(refused) => refused.to_string(),
        };
        assert_eq!(found, expect, "{from} v{version} -> {to} expecting {expected_version:?}");
    };
    use Status::{Canceled, Failed, InProgress, Queued, Rejected, Removed, Succeeded, TimedOut};
    check(Queued, 1, InProgress, None, "in_progress v2");
    check(Queued, 1, Succeeded, Some(1), "succeeded v2");
    check(InProgress, 2, InProgress, None, "in_progress v3");
    check(InProgress, 2, InProgress, Some(1), "repeated");
    check(InProgress, 2, Failed, Some(1), "expected version 1, found 2");
    check(InProgress, 2, Rejected, Some(2), "rejected v3");
    check(Succeeded, 3, Succeeded, None, "repeated");
    check(Succeeded, 3, Failed, None, "an execution that is succeeded cannot become failed");
    check(TimedOut, 3, Succeeded, Some(3), "an execution that is timed_out cannot become succeeded");
    check(Removed, 2, InProgress, None, "an execution that is removed cannot become in_progress");
    for to in [Queued, TimedOut, Removed, Canceled] {
        check(InProgress, 2, to, None, &format!("an execution that is in_progress cannot become {to}"));
    }
}

#[test]
fn steps_never_outlast_their_job() {
    let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
    let (job, at) = (Some(minutes(30)), |m| Timestamp::from_secs(1).plus(minutes(m)));
    let report = |step| {
        let step_timeout = Some(StepTimeout::of_minutes(step).expect("minutes"));
        Report { status: Status::InProgress, detail: None, expected_version: None, step_timeout }
    };
    let go = |before: &Execution, report: &Report, now| match execution::apply(before, report, job, now) {
        Ok(Applied::Changed(after)) => after,
        other => panic!("{other:?}"),
    };
    let begun = go(&execution(Status::Queued, 1), &report(10), at(0));
    assert_eq!(begun.due_at(), Some(at(10)));
    let longer = go(&begun, &report(100), at(5));
    assert_eq!(longer.due_at(), Some(at(30)), "the first limit stays");
    let cleared = go(&begun, &report(-1), at(5));
    assert_eq!(cleared.due_at(), Some(at(30)));
    let kept = go(&begun, &Report { step_timeout: None, ..report(1) }, at(5));
    assert_eq!(kept.due_at(), Some(at(10)), "a report that says nothing leaves it");
    let ended = go(&kept, &Report { status: Status::Failed, step_timeout: None, ..report(1) }, at(6));
    assert_eq!((ended.due_at(), ended.finished_at), (None, Some(at(6))));
    for bad in [0, -2, 10_081, i64::MIN] {
        assert!(StepTimeout::of_minutes(bad).is_err(), "{bad}");
    }
}

#[test]
fn tries_are_counted_by_how_they_ended() {
    let policy: Policy =
        serde_json::from_str(r#"{"retry":[{"failure":"failed","retries":2},{"failure":"timed_out","retries":1}]}"#)
            .expect("a policy");
    let mut last = execution(Status::Queued, 1);
    let mut seen = Vec::new();
    for status in [Status::Failed, Status::TimedOut, Status::Failed, Status::TimedOut] {
        let ended = Execution { status, ..last.clone() };
        match execution::retry(&policy, &ended, Timestamp::from_secs(3)) {
            Some(next) => {
                seen.push((next.number, next.status, next.version));
                last = next;
            }
            None => break,
        }
    }
    assert_eq!(seen, [(2, Status::Queued, 1), (3, Status::Queued, 1), (4, Status::Queued, 1)]);
    assert_eq!(execution::retry(&policy, &execution(Status::Rejected, 2), Timestamp::EPOCH), None);
}

/// The example of the AWS IoT developer guide, "Jobs notifications": three jobs of one device.
#[test]
fn the_worked_sequence_of_notifications() {
    let place = |status, id: &str, queued| Place::of(status, Timestamp::from_secs(queued), id, 1);
    let (queued, working) = (Status::Queued, Status::InProgress);
    let step = |queue: &[(Status, &str, i64)], before: Option<Place>, after: Option<Place>| {
        let queue: Vec<Place> = queue.iter().filter_map(|(status, id, at)| place(*status, id, *at)).collect();
        assert!(queue.is_sorted());
        let news = news(
            &queue,
            &Change { before: before.into_iter().collect(), after: after.into_iter().collect(), unknown: false },
        );
        (news.list, news.next)
    };
    let (j1, j2, j3) = ((queued, "job1", 1), (queued, "job2", 2), (queued, "job3", 3));
    let (w1, w3) = ((working, "job1", 1), (working, "job3", 3));
    let at = |(status, id, at): (Status, &str, i64)| place(status, id, at);
    assert_eq!(step(&[j1], None, at(j1)), (true, true), "the first comes");
    assert_eq!(step(&[j1, j2], None, at(j2)), (true, false), "the second comes");
    assert_eq!(step(&[w1, j2], at(j1), at(w1)), (false, false), "the first begins");
    assert_eq!(step(&[w1, j2, j3], None, at(j3)), (true, false), "the third comes");
    assert_eq!(step(&[j2, j3], at(w1), None), (true, true), "the first succeeds");
    assert_eq!(step(&[w3, j2], at(j3), at(w3)), (false, true), "the third begins before the second");
    assert_eq!(step(&[w3], at(j2), None), (true, false), "the second is rejected");
    assert_eq!(step(&[], at(w3), None), (true, true), "the third is deleted");
    let retried = Place::of(queued, Timestamp::from_secs(9), "job1", 2);
    let change =
        Change { before: at(w1).into_iter().collect(), after: retried.clone().into_iter().collect(), unknown: false };
    let told = news(&retried.into_iter().collect::<Vec<_>>(), &change);
    assert_eq!((told.list, told.next), (true, true), "another try is another one");
}

/// What a fleet does between two ticks.
#[derive(Clone, Debug)]
enum Act {
    Report(usize, usize),
    Grow(usize),
    Pass(u64),
    Cancel(bool),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        6 => (0..60_usize, 0..4_usize).prop_map(|(device, status)| Act::Report(device, status)),
        1 => (1..10_usize).prop_map(Act::Grow),
        4 => (0..45_u64).prop_map(Act::Pass),
        1 => prop_oneof![9 => Just(None), 1 => any::<bool>().prop_map(Some)]
            .prop_map(|force| force.map_or(Act::Pass(1), Act::Cancel)),
    ];
    prop::collection::vec(act, 1..150)
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(96) })]

    #[test]
    fn no_minute_is_over_its_rate_and_no_device_works_twice(
        acts in acts(), rate in 1..200_u32, continuous: bool, retries in 0..3_u32, threshold in 1..100_u32,
    ) {
        let policy = format!(
            r#"{{"rate":{{"maximum_per_minute":{rate}}},"retry":[{{"failure":"all","retries":{retries}}}],"timeout_minutes":1,
            "abort":[{{"failure":"all","threshold_percent":{threshold},"minimum_executed":5}}]}}"#
        );
        let selection = if continuous { Selection::Continuous } else { Selection::Snapshot };
        let mut fleet = Fleet::new(40, selection, &policy);
        for act in acts {
            match act {
                Act::Report(n, status) => {
                    let to = [Status::InProgress, Status::Succeeded, Status::Failed, Status::Rejected][status];
                    fleet.report(&device(n), to);
                }
                Act::Grow(more) => fleet.devices += more,
                Act::Pass(secs) => fleet.pass(secs),
                Act::Cancel(force) => if let Ok(Some(after)) = cancel(&fleet.job, force, fleet.now) { fleet.job = after },
            }
            fleet.time_out();
            let over = fleet.job.state.is_over();
            let plan = fleet.tick();
            prop_assert!(!over || plan.assign.is_empty(), "nothing is handed out after the end");
            let begin = fleet.now.minus(Duration::from_secs(60));
            let minute: u32 = fleet.handed.iter().filter(|(at, _)| *at > begin).map(|(_, count)| count).sum();
            prop_assert!(minute <= rate, "{minute} in a minute");
            let mut live = BTreeSet::new();
            for execution in fleet.executions.values().filter(|execution| !execution.status.is_terminal()) {
                prop_assert!(live.insert(execution.device.clone()), "{} works twice", execution.device);
            }
            let standing = fleet.standing();
            let failures = standing.failures(Failure::All);
            if fleet.job.state == State::InProgress && plan.milestones.is_empty() {
                let met = standing.executed() >= 5 && failures * 100 >= standing.executed() * u64::from(threshold) && failures > 0;
                prop_assert!(!met, "it should have aborted: {standing:?}");
            }
            // Planning what was planned plans nothing more at the same moment.
            let again = super::plan(fleet.now, &fleet.job, &fleet.standing(), &Candidates { cursor: fleet.job.cursor.clone(), ..Candidates::default() });
            prop_assert!(again.assign.is_empty());
        }
    }
}
