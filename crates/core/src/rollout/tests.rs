use std::fmt::Write as _;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::invariants;

/// A fleet that takes updates as a script says.
#[derive(Clone, Debug)]
struct Fleet {
    now: Timestamp,
    rollout: Rollout,
    devices: Vec<Candidate>,
    deployments: Vec<Run>,
}

#[derive(Clone, Debug)]
struct Run {
    device: DeviceId,
    hardware: String,
    kind: Kind,
    phase: u32,
    status: Status,
    silent: bool,
}

fn rollout(policy: &str, target_count: usize) -> Rollout {
    Rollout {
        id: "01935000-0000-7000-8000-000000000001".parse().expect("an id"),
        name: "base 2.0".to_owned(),
        release: "01935000-0000-7000-8000-000000000002".parse().expect("an id"),
        selector: Selector::default(),
        policy: serde_json::from_str(policy).expect("a policy"),
        state: State::Running,
        phase: 0,
        phase_started_at: None,
        gate_met_at: None,
        halt: Halt::default(),
        target_count: u32::try_from(target_count).expect("few"),
        created_by: "ops".to_owned(),
        created_at: Timestamp::EPOCH,
        updated_at: Timestamp::EPOCH,
        revision: 1,
    }
}

impl Fleet {
    /// `cohorts`: "rev-a 10, rev-b 2 off" is ten devices that are there and two that are not.
    fn new(cohorts: &str, policy: &str) -> Self {
        let mut devices = Vec::new();
        for cohort in cohorts.split(", ") {
            let words: Vec<&str> = cohort.split(' ').collect();
            let (hardware, online) = (words[0].to_owned(), words.get(2) != Some(&"off"));
            let count: usize = words[1].parse().expect("a count");
            for _ in 0..count {
                let device = format!("d{:03}", devices.len()).parse().expect("a name");
                devices.push(Candidate { device, hardware: hardware.clone(), online });
            }
        }
        let rollout = rollout(policy, devices.len());
        Self { now: Timestamp::EPOCH, rollout, devices, deployments: Vec::new() }
    }

    fn online(&self, device: &DeviceId) -> bool {
        self.devices.iter().any(|c| c.device == *device && c.online)
    }

    fn observed(&self) -> Observed {
        let mut observed = Observed::default();
        for run in &self.deployments {
            let tally = match run.kind {
                Kind::Update => observed.updates.entry((run.phase, run.hardware.clone())).or_default(),
                Kind::Rollback => &mut observed.rollbacks,
            };
            tally.add(run.status, !self.online(&run.device), run.silent, 1);
        }
        let has = |device: &DeviceId, kind| self.deployments.iter().any(|r| r.device == *device && r.kind == kind);
        if self.rollout.state == State::RollingBack {
            let succeeded = |run: &&Run| run.kind == Kind::Update && run.status == Status::Succeeded;
            let mut earned = self.deployments.iter().filter(succeeded);
            observed.to_roll_back = earned
                .by_ref()
                .filter(|run| !has(&run.device, Kind::Rollback))
                .filter_map(|run| self.devices.iter().find(|c| c.device == run.device).cloned())
                .collect();
        }
        observed
    }

    fn candidates(&self) -> Vec<Candidate> {
        let taken = |c: &&Candidate| !self.deployments.iter().any(|run| run.device == c.device);
        self.devices.iter().filter(taken).cloned().collect()
    }

    fn plan(&self) -> Plan {
        plan(self.now, &self.rollout, &self.observed(), &self.candidates())
    }

    fn carry_out(&mut self, plan: &Plan) {
        if plan.cancel_queued {
            let queued = |run: &&mut Run| run.kind == Kind::Update && run.status == Status::Queued;
            self.deployments.iter_mut().filter(queued).for_each(|run| run.status = Status::Canceled);
        }
        for Assignment { device, hardware, kind, phase } in plan.assign.clone() {
            self.deployments.push(Run { device, hardware, kind, phase, status: Status::Queued, silent: false });
        }
        self.rollout = plan.after.clone();
    }

    /// Up to `count` open deployments (of `hardware` where given, of devices that are there) come to `status`.
    fn report(&mut self, status: Status, count: usize, hardware: Option<&str>) {
        let online: Vec<DeviceId> = self.devices.iter().filter(|c| c.online).map(|c| c.device.clone()).collect();
        let open = |run: &&mut Run| {
            !run.status.is_terminal()
                && run.status != status
                && online.contains(&run.device)
                && hardware.is_none_or(|hardware| hardware == run.hardware)
        };
        self.deployments.iter_mut().filter(open).take(count).for_each(|run| run.status = status);
    }

    fn command(&mut self, line: &str) -> Option<String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let count = words.get(1).and_then(|word| word.parse().ok()).unwrap_or(usize::MAX);
        let hardware = words.get(2).copied();
        let decided = match words[0] {
            "tick" => {
                let plan = self.plan();
                self.carry_out(&plan);
                return Some(self.show(&plan));
            }
            "wait" => {
                self.now = self.now.plus(Duration::from_secs(u64::try_from(count).expect("a number")));
                return None;
            }
            "start" => return self.told(Status::InProgress, count, hardware),
            "ok" => return self.told(Status::Succeeded, count, hardware),
            "bad" => return self.told(Status::Failed, count, hardware),
            "silent" => {
                let started = |run: &&mut Run| {
                    run.status == Status::InProgress && hardware.is_none_or(|hardware| hardware == run.hardware)
                };
                self.deployments.iter_mut().filter(started).take(count).for_each(|run| run.silent = true);
                return None;
            }
            "online" => {
                self.devices.iter_mut().for_each(|c| c.online = true);
                return None;
            }
            "pause" => control::pause(self.now, &self.rollout, "ops", None),
            "resume" => control::resume(self.now, &self.rollout, &self.observed()),
            "cancel" => control::cancel(self.now, &self.rollout),
            "rollback" => control::roll_back(self.now, &self.rollout),
            other => panic!("no such command: {other}"),
        };
        match decided {
            Ok(Some(next)) => {
                self.rollout = next;
                None
            }
            Ok(None) => Some("nothing to do".to_owned()),
            Err(refused) => Some(refused.to_string()),
        }
    }

    fn told(&mut self, status: Status, count: usize, hardware: Option<&str>) -> Option<String> {
        self.report(status, count, hardware);
        None
    }

    /// One line for the rollout, one for each phase that has devices: how many of each hardware revision stand where.
    fn show(&self, plan: &Plan) -> String {
        let mut text = format!("{}s {} phase {}", self.now.secs(), self.rollout.state, self.rollout.phase + 1);
        for (what, said) in [
            (format!(", {} assigned", plan.assign.len()), !plan.assign.is_empty()),
            (", gate met".to_owned(), plan.gate_met == Some(true)),
            (", gate lost".to_owned(), plan.gate_met == Some(false)),
            (format!(", waits for {}", plan.gate.waiting), plan.gate.waiting > 0),
        ] {
            if said {
                text.push_str(&what);
            }
        }
        if let Some(reason) = &self.rollout.halt.reason {
            write!(text, ": {reason}").expect("a string takes it");
        }
        text
    }
}

/// Plays `script` (commands separated by semicolons) and compares what the ticks and refusals say, line by line.
fn check(cohorts: &str, policy: &str, script: &str, expect: &[&str]) {
    let mut fleet = Fleet::new(cohorts, policy);
    let said: Vec<String> = script.split(';').filter_map(|line| fleet.command(line.trim())).collect();
    assert_eq!(said, expect, "{cohorts}\n{script}");
}

const CANARY: &str = r#"{"phases":[{"target":{"count":3},"soak_s":60},{"target":{"percent":50},"soak_s":60},
    {"target":{"percent":100}}],"gates":{"max_failure_percent":10,"min_finished":3,"max_silent_percent":20,"silent_after_s":30}}"#;

#[test]
fn a_good_release_goes_through_its_phases() {
    check(
        "rev-a 10, rev-b 10",
        CANARY,
        "tick; tick; start; ok 2; tick; ok; tick; wait 59; tick; wait 1; tick; ok; tick; wait 60; tick; ok 9; tick; ok; tick; tick",
        &[
            "0s running phase 1, 3 assigned, waits for 3",
            "0s running phase 1, waits for 3",
            "0s running phase 1, waits for 1",
            "0s running phase 1, gate met",
            "59s running phase 1",
            "60s running phase 2, 7 assigned, waits for 7",
            "60s running phase 2, gate met",
            "120s running phase 3, 10 assigned, waits for 10",
            "120s running phase 3, waits for 1",
            "120s finished phase 3, gate met",
            "120s finished phase 3",
        ],
    );
}

#[test]
fn a_canary_meets_every_hardware_revision() {
    let fleet = Fleet::new("rev-a 50, rev-b 5, rev-c 1", CANARY);
    let plan = fleet.plan();
    let mut cohorts: Vec<&str> = plan.assign.iter().map(|a| a.hardware.as_str()).collect();
    cohorts.sort_unstable();
    assert_eq!(cohorts, ["rev-a", "rev-b", "rev-c"]);
    assert_eq!(plan, fleet.plan(), "the same question has the same answer");
    let mut turned = fleet.clone();
    turned.devices.reverse();
    assert_eq!(plan, turned.plan(), "whatever order it is asked in");
}

#[test]
fn a_bad_release_stops_at_the_canary() {
    check(
        "rev-a 20",
        CANARY,
        "tick; ok 2; bad 1; tick; tick; wait 1000; tick",
        &[
            "0s running phase 1, 3 assigned, waits for 3",
            "0s paused phase 1: 1 of 3 updates failed in phase 1 (limit 10 %): hardware rev-a (1 of 3 failed).",
            "0s paused phase 1: 1 of 3 updates failed in phase 1 (limit 10 %): hardware rev-a (1 of 3 failed).",
            "1000s paused phase 1: 1 of 3 updates failed in phase 1 (limit 10 %): hardware rev-a (1 of 3 failed).",
        ],
    );
    // Fewer devices than the minimum are judged once they are all there is.
    let single = CANARY.replace(r#""count":3"#, r#""count":1"#);
    check(
        "rev-a 20",
        &single,
        "tick; bad; tick",
        &[
            "0s running phase 1, 1 assigned, waits for 1",
            "0s paused phase 1: 1 of 1 updates failed in phase 1 (limit 10 %): hardware rev-a (1 of 1 failed).",
        ],
    );
}

#[test]
fn the_reason_names_hardware_and_nobody_where_it_is_not_the_hardware() {
    // Too few of rev-b to be judged alone; but the phase is over its limit, and they are why.
    check(
        "rev-a 10, rev-b 10",
        CANARY,
        "tick; ok 2 rev-a; bad 1 rev-b; tick",
        &[
            "0s running phase 1, 3 assigned, waits for 3",
            "0s paused phase 1: 1 of 3 updates failed in phase 1 (limit 10 %): hardware rev-b (1 of 1 failed).",
        ],
    );
    check(
        "rev-a 10, rev-b 10",
        CANARY,
        "tick; ok 1 rev-a; bad 1 rev-a; bad 1 rev-b; tick",
        &[
            "0s running phase 1, 3 assigned, waits for 3",
            "0s paused phase 1: 2 of 3 updates failed in phase 1 (limit 10 %).",
        ],
    );
}

#[test]
fn a_failing_cohort_is_named_among_many_that_do_well() {
    check(
        "rev-a 90, rev-b 10",
        r#"{"phases":[{"target":{"percent":100}}]}"#,
        "tick; ok 60 rev-a; bad 2 rev-b; tick; bad 2 rev-b; tick",
        &[
            "0s running phase 1, 100 assigned, waits for 100",
            "0s running phase 1, waits for 38",
            "0s paused phase 1: 4 of 64 updates failed in phase 1 (limit 10 %): hardware rev-b (4 of 4 failed).",
        ],
    );
}

#[test]
fn devices_that_fall_silent_break_the_gate() {
    check(
        "rev-a 8, rev-b 2",
        r#"{"phases":[{"target":{"percent":100}}],"gates":{"max_silent_percent":20,"silent_after_s":30}}"#,
        "tick; start; silent 2; tick; silent 3; tick",
        &[
            "0s running phase 1, 10 assigned, waits for 10",
            "0s running phase 1, waits for 10",
            "0s paused phase 1: 3 of 10 devices fell silent for 30 s or more in phase 1 (limit 20 %): hardware rev-a (2 of 8 silent).",
        ],
    );
}

#[test]
fn offline_devices_hold_up_the_end_and_not_the_phases() {
    check(
        "rev-a 4, rev-b 6 off",
        r#"{"phases":[{"target":{"count":6}},{"target":{"percent":100}}]}"#,
        "tick; ok; tick; wait 100000; tick; online; tick; ok; tick",
        &[
            "0s running phase 1, 6 assigned, waits for 4",
            "0s running phase 2, 4 assigned, waits for 6",
            "100000s running phase 2, waits for 6",
            "100000s running phase 2, waits for 6",
            "100000s finished phase 2, gate met",
        ],
    );
    // A canary that nobody of took proves nothing.
    check(
        "rev-a 10 off",
        CANARY,
        "tick; wait 100000; tick",
        &["0s running phase 1, 3 assigned, waits for 3", "100000s running phase 1, waits for 3"],
    );
}

#[test]
fn a_soak_begins_again_when_the_gate_is_lost() {
    check(
        "rev-a 4",
        r#"{"phases":[{"target":{"percent":100},"soak_s":60}],"gates":{"max_failure_percent":50}}"#,
        "tick; ok; tick; wait 30; pause; tick; resume; tick; wait 59; tick; wait 1; tick",
        &[
            "0s running phase 1, 4 assigned, waits for 4",
            "0s running phase 1, gate met",
            "30s paused phase 1: Paused by ops.",
            "30s running phase 1, gate met",
            "89s running phase 1",
            "90s finished phase 1",
        ],
    );
}

#[test]
fn resuming_excuses_what_had_failed() {
    check(
        "rev-a 20",
        CANARY,
        "tick; ok 2; bad 1; tick; resume; tick; wait 60; tick; bad 1; ok 6; tick",
        &[
            "0s running phase 1, 3 assigned, waits for 3",
            "0s paused phase 1: 1 of 3 updates failed in phase 1 (limit 10 %): hardware rev-a (1 of 3 failed).",
            "0s running phase 1, gate met",
            "60s running phase 2, 7 assigned, waits for 7",
            "60s paused phase 2: 1 of 7 updates failed in phase 2 (limit 10 %): hardware rev-a (1 of 7 failed).",
        ],
    );
}

#[test]
fn rolling_back_takes_back_what_succeeded_and_cancels_what_did_not_begin() {
    let mut fleet = Fleet::new("rev-a 6", r#"{"phases":[{"target":{"percent":100}}]}"#);
    let mut said = Vec::new();
    for line in "tick; start 4; ok 3; rollback; tick; ok 1; tick; ok; tick; tick".split("; ") {
        said.extend(fleet.command(line));
    }
    assert_eq!(
        said,
        [
            "0s running phase 1, 6 assigned, waits for 6",
            "0s rolling_back phase 1, 3 assigned",
            "0s rolling_back phase 1, 1 assigned",
            "0s rolled_back phase 1",
            "0s rolled_back phase 1",
        ]
    );
    let count = |kind, status| fleet.deployments.iter().filter(|r| r.kind == kind && r.status == status).count();
    assert_eq!(count(Kind::Update, Status::Canceled), 2);
    assert_eq!(count(Kind::Rollback, Status::Succeeded), 4);
}

#[test]
fn what_operators_may_ask() {
    let policy = r#"{"phases":[{"target":{"percent":100}}]}"#;
    check("rev-a 1", policy, "resume; pause; pause; resume", &["nothing to do", "nothing to do"]);
    check(
        "rev-a 1",
        policy,
        "cancel; cancel; pause; resume; tick",
        &[
            "nothing to do",
            "a rollout that is canceled cannot be paused",
            "a rollout that is canceled cannot be resumed",
            "0s canceled phase 1",
        ],
    );
    check(
        "rev-a 1",
        policy,
        "tick; ok; tick; cancel; pause; rollback; tick; pause",
        &[
            "0s running phase 1, 1 assigned, waits for 1",
            "0s finished phase 1, gate met",
            "a rollout that is finished cannot be canceled",
            "a rollout that is finished cannot be paused",
            "0s rolling_back phase 1, 1 assigned",
            "a rollout that is rolling_back cannot be paused",
        ],
    );
}

#[test]
fn a_page_of_candidates_is_not_the_end_of_them() {
    let fleet = Fleet::new("rev-a 10", r#"{"phases":[{"target":{"percent":50}},{"target":{"percent":100}}]}"#);
    let busy = Observed { more_candidates: true, ..Observed::default() };
    let plan = plan(fleet.now, &fleet.rollout, &busy, &[]);
    assert_eq!((plan.after.phase, plan.assign.len(), plan.finish), (0, 0, None));
}

#[test]
fn policies() {
    let check = |policy: &str, expect: &str| {
        let policy: Policy = serde_json::from_str(policy).expect("a policy");
        assert_eq!(policy.check().map_err(|e| e.to_string()).err().unwrap_or_default(), expect);
    };
    check(r#"{"phases":[{"target":{"percent":100}}]}"#, "");
    check(r#"{"phases":[{"target":{"count":5}},{"target":{"percent":1}},{"target":{"percent":1}}]}"#, "");
    check(r#"{"phases":[]}"#, "phases: at least one is needed");
    check(r#"{"phases":[{"target":{"count":0}}]}"#, "phases.target: must not be zero");
    check(r#"{"phases":[{"target":{"percent":101}}]}"#, "phases.target: must not be more than 100 percent");
    check(
        r#"{"phases":[{"target":{"percent":50}},{"target":{"count":9}},{"target":{"percent":49}}]}"#,
        "phases.target: must not go down",
    );
    check(
        r#"{"phases":[{"target":{"percent":1}}],"gates":{"min_finished":0}}"#,
        "gates.min_finished: must not be zero",
    );
    check(r#"{"phases":[{"target":{"percent":1}}],"timeout_s":0}"#, "timeout_s: between 1 second and 30 days");
    assert_eq!(Policy::default().check(), Ok(()));
    assert!(serde_json::from_str::<Policy>(r#"{"phases":[],"gate":{}}"#).is_err(), "a misspelt gate is no gate");
}

#[test]
fn quotas_round_up_and_never_go_down() {
    let policy = Policy::default();
    let quotas = |target| (0..6).map(|phase| policy.quota(phase, target)).collect::<Vec<_>>();
    assert_eq!(quotas(1000), [3, 50, 250, 500, 1000, 1000]);
    assert_eq!(quotas(30), [3, 3, 8, 15, 30, 30]);
    assert_eq!(quotas(2), [2, 2, 2, 2, 2, 2]);
    assert_eq!(quotas(0), [0, 0, 0, 0, 0, 0]);
    assert_eq!(policy.quota(4, u32::MAX), u32::MAX);
}

#[test]
fn a_reason_survives_the_store() {
    let cohorts = vec![CohortFinding { hardware: "rev-b".to_owned(), bad: 3, of: 4 }];
    let reason = PauseReason::Failures { phase: 1, failed: 3, finished: 9, limit_percent: 10, cohorts };
    let halt = Halt { reason: Some(reason), excused: Vec::new() };
    let text = serde_json::to_string(&halt).expect("JSON");
    assert_eq!(
        text,
        r#"{"reason":{"kind":"failures","phase":1,"failed":3,"finished":9,"limit_percent":10,"cohorts":[{"hardware":"rev-b","bad":3,"of":4}]}}"#
    );
    assert_eq!(serde_json::from_str::<Halt>(&text).expect("own output"), halt);
    assert_eq!(serde_json::from_str::<Halt>("{}").expect("nothing"), Halt::default());
}

const COMMANDS: &[&str] = &[
    "tick",
    "tick",
    "tick",
    "start 3",
    "ok 1",
    "ok 5",
    "ok 5",
    "bad 1",
    "bad 1 rev-b",
    "silent 1",
    "wait 30",
    "wait 90",
    "pause",
    "resume",
    "resume",
    "cancel",
    "rollback",
    "online",
];

fn any_policy() -> impl Strategy<Value = Policy> {
    let phases = prop::collection::vec((1u32..6, 0u32..2), 1..5);
    (phases, 0u8..60, 1u32..4).prop_map(|(phases, percent, min_finished)| {
        let mut reach = 0;
        let mut phases: Vec<Phase> = phases
            .into_iter()
            .map(|(more, soak)| {
                reach += more;
                Phase { target: Target::Count(reach), soak_s: soak * 60 }
            })
            .collect();
        phases.push(Phase { target: Target::Percent(100), soak_s: 0 });
        let gates =
            Gates { max_failure_percent: percent, min_finished, max_silent_percent: percent, silent_after_s: 30 };
        Policy { phases, gates, timeout_s: 60 }
    })
}

fn any_fleet() -> impl Strategy<Value = Fleet> {
    (any_policy(), 0usize..12, 0usize..6, 0usize..4).prop_map(|(policy, a, b, off)| {
        let mut fleet = Fleet::new(&format!("rev-a {a}, rev-b {b}, rev-a {off} off"), r#"{"phases":[]}"#);
        fleet.rollout.policy = policy;
        fleet
    })
}

fn any_script() -> impl Strategy<Value = Vec<&'static str>> {
    prop::collection::vec(prop::sample::select(COMMANDS), 1..40)
}

impl Fleet {
    fn rows(&self) -> Vec<crate::deployment::Deployment> {
        let row = |run: &Run| crate::deployment::Deployment {
            rollout: self.rollout.id,
            device: run.device.clone(),
            kind: run.kind,
            phase: run.phase,
            status: run.status,
            step: None,
            hardware: run.hardware.clone(),
            from_version: None,
            detail: BTreeMap::new(),
            version: 1,
            queued_at: Timestamp::EPOCH,
            started_at: None,
            updated_at: Timestamp::EPOCH,
            finished_at: None,
        };
        self.deployments.iter().map(row).collect()
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever devices and operators do: quotas hold, gates are not passed unopened, one open deployment a device, the
    /// plan of a plan that was carried out is empty, and a rollout that stands still assigns nothing.
    #[test]
    fn the_invariants_hold(mut fleet in any_fleet(), script in any_script()) {
        for line in script {
            let before = fleet.clone();
            let plan = (line == "tick").then(|| fleet.plan());
            fleet.command(line);
            let rows = fleet.rows();
            for held in [
                invariants::quota_is_kept(&fleet.rollout, &rows),
                invariants::one_open_deployment(&rows),
                invariants::rollbacks_are_earned(&rows),
                invariants::rollout_moved_forward(&before.rollout, &fleet.rollout),
            ] {
                held.map_err(TestCaseError::fail)?;
            }
            let Some(plan) = plan else { continue };
            let again = fleet.plan();
            prop_assert!(again.is_empty(), "{again:?}");
            let updates = plan.assign.iter().filter(|a| a.kind == Kind::Update).count();
            prop_assert!(updates == 0 || before.rollout.state == State::Running);
            for phase in &plan.entered {
                let Some(passed) = phase.checked_sub(1) else { continue };
                let room = fleet.rollout.policy.quota(passed, fleet.rollout.target_count);
                let assigned: u32 = (0..=passed).map(|p| fleet.observed().phase(p).assigned()).sum();
                prop_assert!(assigned >= room || fleet.candidates().is_empty());
                prop_assert_eq!(before.observed().phase(passed).queued, 0);
                prop_assert_eq!(before.observed().phase(passed).in_progress, before.observed().phase(passed).silent_in_progress);
            }
        }
    }

    /// A plan that halts still halts when more went wrong, and assigns nothing either way.
    #[test]
    fn halting_is_monotone(mut fleet in any_fleet(), script in any_script(), worse in 1usize..5) {
        for line in script {
            fleet.command(line);
        }
        let plan = fleet.plan();
        if plan.pause.is_some() {
            prop_assert!(plan.assign.is_empty());
            let turn = |run: &&mut Run| run.kind == Kind::Update && run.status == Status::Succeeded;
            fleet.deployments.iter_mut().filter(turn).take(worse).for_each(|run| run.status = Status::Failed);
            prop_assert!(fleet.plan().pause.is_some());
        }
    }

    /// Any counts at all give a plan, and never more than the quota.
    #[test]
    fn planning_is_total(counts in prop::collection::vec(any::<u32>(), 8), phase: u32, target: u32, started: bool,
                         mut fleet in any_fleet(), now: i64, state in prop::sample::select(State::ALL)) {
        let tally = Tally {
            queued: counts[0], queued_offline: counts[1], in_progress: counts[2], succeeded: counts[3], failed: counts[4],
            canceled: counts[5], silent: counts[6], silent_in_progress: counts[7],
        };
        let updates = [(0, "rev-a"), (phase, "rev-b")].map(|(phase, hardware)| ((phase, hardware.to_owned()), tally));
        let observed = Observed { updates: updates.into(), ..Observed::default() };
        fleet.rollout.phase = phase;
        fleet.rollout.target_count = target;
        fleet.rollout.state = state;
        fleet.rollout.phase_started_at = started.then_some(Timestamp::EPOCH);
        let plan = plan(Timestamp::from_millis(now), &fleet.rollout, &observed, &fleet.devices);
        let assigned = u32::try_from(plan.assign.len()).expect("few");
        prop_assert!(assigned <= target);
        prop_assert!(assigned == 0 || observed.assigned().saturating_add(assigned) <= target);
    }
}
