//! Jobs from creation to their end, with devices that ask, report, stay silent and come and go.

use std::time::Duration;

use fleetward_app::jobs::{self, CancelExecution, JobChange, NewJob, ReportError};
use fleetward_app::journal::{self, JournalFilter};
use fleetward_app::reconcile::jobs::tick;
use fleetward_app::registry;
use fleetward_app::{App, Ctx, Error, Idempotency};
use fleetward_base::{JobId, TenantId};
use fleetward_core::job::execution::{Report, StepTimeout};
use fleetward_core::job::{Selection, State, Status};
use fleetward_core::registry::DeviceFields;
use fleetward_core::selector::Selector;

use crate::fixture::{Fixture, device, tenant};
use crate::fleet::{Told, add_device, as_device, hang_up};

mod past;

struct Stage {
    fixture: Fixture,
    acme: TenantId,
    ops: Ctx,
}

fn id(name: &str) -> JobId {
    name.parse().expect("a job id")
}

fn new(name: &str, selection: Selection, policy: &str) -> NewJob {
    NewJob {
        id: id(name),
        document: r#"{"operation":"reboot"}"#.to_owned(),
        description: None,
        targets: vec![Selector::default()],
        selection,
        policy: serde_json::from_str(policy).expect("a policy"),
    }
}

fn report(status: Status) -> Report {
    Report { status, detail: None, expected_version: None, step_timeout: None }
}

impl Stage {
    /// Devices d0.. that are there.
    async fn set(devices: usize) -> Self {
        let fixture = Fixture::new().await;
        let acme = tenant("acme");
        for n in 0..devices {
            add_device(&fixture.app, &acme, &format!("d{n}"), "rev-a").await;
        }
        let ops = fixture.operator("acme", "operator").await;
        Self { fixture, acme, ops }
    }

    fn app(&self) -> &App {
        &self.fixture.app
    }

    async fn create(&self, name: &str, selection: Selection, policy: &str) {
        let made = jobs::create_job(self.app(), &self.ops, &self.acme, new(name, selection, policy)).await;
        assert_eq!(made.expect("made").job.id, id(name));
    }

    async fn tick(&self) {
        assert_eq!(tick(self.app()).await.expect("a turn").failed, 0);
    }

    async fn pass(&self, secs: u64) {
        self.fixture.clock.advance(Duration::from_secs(secs));
        self.tick().await;
    }

    async fn show(&self, name: &str) -> String {
        let view = jobs::job(self.app(), &self.ops, &self.acme, &id(name)).await.expect("there");
        let s = view.standing;
        let fields = [
            ("queued", s.queued),
            ("working", s.in_progress),
            ("succeeded", s.succeeded),
            ("failed", s.failed),
            ("timed_out", s.timed_out),
            ("removed", s.removed),
            ("canceled", s.canceled),
        ];
        let said = fields.iter().filter(|(_, count)| *count > 0).map(|(word, count)| format!(" {word} {count}"));
        format!("{}{}", view.job.state, said.collect::<String>())
    }

    async fn pending(&self, name: &str) -> Vec<String> {
        let ctx = as_device(self.app(), &self.acme, name);
        let works = jobs::pending(self.app(), &ctx).await.expect("answered");
        works.iter().map(|work| format!("{} {} {}", work.id, work.number, work.status)).collect()
    }

    async fn say(&self, name: &str, job: &str, status: Status) -> Result<u64, ReportError> {
        let ctx = as_device(self.app(), &self.acme, name);
        jobs::report(self.app(), &ctx, job, None, report(status)).await.map(|work| work.version)
    }
}

#[tokio::test]
async fn a_job_reaches_everybody_and_completes() {
    let stage = Stage::set(3).await;
    let told = Told::listen(stage.app());
    stage.create("reboot", Selection::Snapshot, "{}").await;
    stage.tick().await;
    assert_eq!(stage.show("reboot").await, "in_progress queued 3");
    assert_eq!(told.take_changed(), [device("d0"), device("d1"), device("d2")]);

    let d0 = as_device(stage.app(), &stage.acme, "d0");
    let started = jobs::start_next(stage.app(), &d0, None, None).await.expect("answered").expect("there is one");
    assert_eq!((started.work.version, started.document), (2, serde_json::json!({"operation": "reboot"})));
    let again = jobs::start_next(stage.app(), &d0, None, None).await.expect("answered").expect("the same");
    assert_eq!(again.work, started.work, "begun is begun");
    assert_eq!(stage.say("d0", "reboot", Status::Succeeded).await.expect("taken"), 3);
    assert_eq!(stage.say("d0", "reboot", Status::Succeeded).await.expect("repeated"), 3);
    let late = stage.say("d0", "reboot", Status::Failed).await;
    assert!(matches!(late, Err(ReportError::Refused { .. })), "{late:?}");
    stage.say("d1", "reboot", Status::Rejected).await.expect("taken");
    stage.say("d2", "reboot", Status::Succeeded).await.expect("taken");
    stage.tick().await;
    assert_eq!(stage.show("reboot").await, "completed succeeded 2");
    assert_eq!(jobs::start_next(stage.app(), &d0, None, None).await.expect("answered"), None);

    let filter = JournalFilter { subject: Some("reboot".to_owned()), ..JournalFilter::default() };
    let events =
        journal::events(stage.app(), &stage.fixture.admin, &stage.acme, filter, None, 100).await.expect("read");
    let mut actions: Vec<&str> = events.iter().map(|event| event.entry.action.as_str()).collect();
    actions.sort_unstable();
    let mut expected = vec!["job.completed", "job.created", "job.started", "job_execution.rejected"];
    expected.extend(["job_execution.queued"; 3]);
    expected.extend(["job_execution.started", "job_execution.succeeded", "job_execution.succeeded"]);
    expected.sort_unstable();
    assert_eq!(actions, expected, "every step once");
}

#[tokio::test]
async fn jobs_are_refused_that_cannot_be() {
    let stage = Stage::set(1).await;
    let create = |ctx: Ctx, new: NewJob| {
        let (app, acme) = (stage.app().clone(), stage.acme.clone());
        async move { jobs::create_job(&app, &ctx, &acme, new).await.map(drop) }
    };
    stage.create("reboot", Selection::Snapshot, "{}").await;
    let twice = create(stage.ops.clone(), new("reboot", Selection::Snapshot, "{}")).await;
    assert!(matches!(twice, Err(Error::Conflict { code: "job-exists", .. })), "{twice:?}");
    let nobody = Selector { devices: [device("d9")].into(), ..Selector::default() };
    let absent =
        create(stage.ops.clone(), NewJob { targets: vec![nobody], ..new("x", Selection::Snapshot, "{}") }).await;
    assert!(matches!(&absent, Err(Error::Invalid { field, .. }) if field == "targets"), "{absent:?}");
    let text =
        create(stage.ops.clone(), NewJob { document: "reboot".to_owned(), ..new("x", Selection::Snapshot, "{}") });
    assert!(matches!(text.await, Err(Error::Invalid { .. })));
    let over = create(stage.ops.clone(), new("x", Selection::Snapshot, r#"{"schedule":{"end_at_ms":5}}"#)).await;
    assert!(matches!(over, Err(Error::Invalid { .. })), "{over:?}");
    let viewer = stage.fixture.operator("acme", "viewer").await;
    assert!(matches!(create(viewer.clone(), new("x", Selection::Snapshot, "{}")).await, Err(Error::Denied { .. })));
    let abroad = stage.fixture.operator("zenith", "owner").await;
    assert!(matches!(create(abroad, new("x", Selection::Snapshot, "{}")).await, Err(Error::NotFound { .. })));
    jobs::job(stage.app(), &viewer, &stage.acme, &id("reboot")).await.expect("a viewer looks");
    let asked = jobs::cancel_job(stage.app(), &viewer, &stage.acme, &id("reboot"), None, (None, None, false)).await;
    assert!(matches!(asked, Err(Error::Denied { .. })));

    let promise = Idempotency { key: "k".to_owned(), request_hash: [1; 32] };
    let once = Ctx { idempotency: Some(promise), ..stage.ops.clone() };
    create(once.clone(), new("once", Selection::Snapshot, "{}")).await.expect("made");
    create(once, new("once", Selection::Snapshot, "{}")).await.expect("the same again");
}

#[tokio::test]
async fn time_ends_what_is_in_progress_and_another_try_follows() {
    let stage = Stage::set(1).await;
    let policy = r#"{"timeout_minutes":30,"retry":[{"failure":"timed_out","retries":1}]}"#;
    stage.create("update", Selection::Snapshot, policy).await;
    stage.tick().await;
    let ctx = as_device(stage.app(), &stage.acme, "d0");
    let step = StepTimeout::of_minutes(10).expect("minutes");
    let next = jobs::start_next(stage.app(), &ctx, None, Some(step)).await.expect("answered").expect("one");
    assert_eq!(next.work.due_at, Some(stage.app().now().plus(Duration::from_secs(600))));
    stage.pass(599).await;
    assert_eq!(stage.pending("d0").await, ["update 1 in_progress"]);
    // The server is another one by now: the timer is a row.
    stage.fixture.clock.advance(Duration::from_secs(1));
    assert_eq!(tick(&stage.fixture.restarted()).await.expect("a turn").timed_out, 1);
    assert_eq!(stage.pending("d0").await, ["update 2 queued"]);
    let late = stage.say("d0", "update", Status::Succeeded).await.expect("of the try that stands");
    assert_eq!(late, 2);
    let first = jobs::describe(stage.app(), &ctx, "update", Some(1)).await.expect("kept");
    assert_eq!((first.work.status, first.work.version), (Status::TimedOut, 3));
    stage.tick().await;
    assert_eq!(stage.show("update").await, "completed succeeded 1");
}

#[tokio::test]
async fn continuous_jobs_follow_their_members() {
    let stage = Stage::set(2).await;
    let eu = Selector { tags: ["eu".to_owned()].into(), ..Selector::default() };
    let tag = |name: &'static str, tags: &'static [&'static str]| {
        let (app, ops, acme) = (stage.app().clone(), stage.ops.clone(), stage.acme.clone());
        async move {
            let found = registry::device(&app, &ops, &acme, &device(name)).await.expect("there");
            let tags = Some(tags.iter().map(|tag| (*tag).to_owned()).collect());
            let fields = DeviceFields { tags, ..DeviceFields::default() };
            registry::amend_device(&app, &ops, &acme, &device(name), found.device.revision, fields)
                .await
                .expect("amended");
        }
    };
    tag("d0", &["eu"]).await;
    let job = NewJob { targets: vec![eu], ..new("join", Selection::Continuous, "{}") };
    jobs::create_job(stage.app(), &stage.ops, &stage.acme, job).await.expect("made");
    stage.tick().await;
    assert_eq!(stage.show("join").await, "in_progress queued 1");
    tag("d1", &["eu"]).await;
    stage.pass(5).await;
    assert_eq!(stage.show("join").await, "in_progress queued 2");
    stage.say("d1", "join", Status::Succeeded).await.expect("taken");
    tag("d0", &[]).await;
    tag("d1", &[]).await;
    stage.pass(5).await;
    assert_eq!(stage.show("join").await, "in_progress succeeded 1 removed 1", "what is done stays done");
    assert_eq!(stage.pending("d0").await, [""; 0]);
    tag("d0", &["eu"]).await;
    stage.pass(5).await;
    assert_eq!(stage.pending("d0").await, ["join 2 queued"]);
    stage.pass(3600).await;
    assert_eq!(stage.show("join").await, "in_progress queued 1 succeeded 1", "it never completes");
}

#[tokio::test]
async fn jobs_end_with_what_belongs_to_them() {
    let stage = Stage::set(3).await;
    let (app, ops, acme) = (stage.app(), &stage.ops, &stage.acme);
    stage.create("first", Selection::Snapshot, "{}").await;
    stage.tick().await;
    stage.say("d0", "first", Status::InProgress).await.expect("taken");
    let cancel = |device: &'static str, force| {
        let asked = CancelExecution { force, ..CancelExecution::default() };
        async move { jobs::cancel_job_execution(app, ops, acme, &id("first"), &crate::fixture::device(device), asked).await }
    };
    assert!(matches!(cancel("d0", false).await, Err(Error::Conflict { code: "execution-state", .. })));
    cancel("d2", false).await.expect("it was queued");
    assert!(matches!(cancel("d2", true).await, Err(Error::Conflict { code: "execution-state", .. })));
    assert_eq!(stage.show("first").await, "in_progress queued 1 working 1 canceled 1");

    let reason = Some("wrong".to_owned());
    let view = jobs::cancel_job(app, ops, acme, &id("first"), Some(2), (reason, None, false)).await.expect("canceled");
    assert_eq!((view.job.state, view.job.reason_code.as_deref()), (State::Canceled, Some("wrong")));
    assert_eq!(stage.pending("d1").await, [""; 0], "hidden at once");
    let queued = stage.say("d1", "first", Status::InProgress).await;
    assert!(matches!(queued, Err(ReportError::Refused { .. })), "{queued:?}");
    stage.tick().await;
    assert_eq!(stage.show("first").await, "canceled working 1 canceled 2");
    let stale = jobs::update_job(app, ops, acme, &id("first"), Some(1), JobChange::default()).await;
    assert!(matches!(stale, Err(Error::Stale { .. })), "{stale:?}");
    let over = jobs::update_job(app, ops, acme, &id("first"), None, JobChange::default()).await;
    assert!(matches!(over, Err(Error::Conflict { code: "job-state", .. })), "{over:?}");
    stage.say("d0", "first", Status::Succeeded).await.expect("what began goes on");

    jobs::delete_job_execution(app, ops, acme, &id("first"), &device("d0"), Some(1), false).await.expect("gone");
    jobs::delete_job(app, ops, acme, &id("first"), None, false).await.expect("it goes");
    stage.tick().await;
    let gone = jobs::job(app, ops, acme, &id("first")).await;
    assert!(matches!(gone, Err(Error::NotFound { .. })), "{gone:?}");
    assert!(jobs::describe(app, &as_device(app, acme, "d1"), "first", None).await.is_err());

    stage.create("second", Selection::Snapshot, "{}").await;
    stage.tick().await;
    stage.say("d0", "second", Status::InProgress).await.expect("taken");
    assert!(jobs::delete_job(app, ops, acme, &id("second"), None, false).await.is_err(), "it is under way");
    jobs::delete_job(app, ops, acme, &id("second"), None, true).await.expect("by force");
    assert_eq!(stage.pending("d0").await, [""; 0]);
    stage.tick().await;
    assert!(jobs::job(app, ops, acme, &id("second")).await.is_err());
}

#[tokio::test]
async fn many_devices_take_many_pages() {
    let stage = Stage::set(0).await;
    for n in 0..1203 {
        add_device(stage.app(), &stage.acme, &format!("m{n:04}"), "rev-a").await;
    }
    stage.create("wide", Selection::Snapshot, "{}").await;
    stage.tick().await;
    assert_eq!(stage.show("wide").await, "in_progress queued 1203");
    let cancel = jobs::cancel_job(stage.app(), &stage.ops, &stage.acme, &id("wide"), None, (None, None, true)).await;
    cancel.expect("canceled");
    stage.tick().await;
    assert_eq!(stage.show("wide").await, "canceled canceled 1203");
}

#[tokio::test]
async fn devices_are_told_of_their_queue_though_the_caller_hangs_up() {
    let stage = Stage::set(1).await;
    let told = Told::listen(stage.app());
    stage.create("reboot", Selection::Snapshot, "{}").await;
    stage.tick().await;
    told.take_changed();
    let report = stage.say("d0", "reboot", Status::InProgress);
    hang_up(stage.app(), report, async |_| stage.pending("d0").await == ["reboot 1 in_progress"]).await;
    while told.take_changed() != [device("d0")] {
        tokio::task::yield_now().await;
    }
}
