//! Rollouts from creation to their end, with devices that ask, report, fail and stay away.

use std::collections::BTreeMap;
use std::time::Duration;

use fleetward_app::deployments::{self, ReportError};
use fleetward_app::journal::{self, JournalFilter};
use fleetward_app::presence::Arrival;
use fleetward_app::reconcile::rollouts::tick;
use fleetward_app::rollouts::{self, NewRollout};
use fleetward_app::{Ctx, Error, Idempotency, registry};
use fleetward_base::{RolloutId, TenantId};
use fleetward_core::deployment::{DeploymentId, Kind, Report, Status};
use fleetward_core::journal::Action;
use fleetward_core::rollout::{PauseReason, State};

use crate::fixture::{Fixture, device, tenant};
use crate::fleet::{Told, add_device, add_release, as_device};

struct Stage {
    fixture: Fixture,
    acme: TenantId,
    ops: Ctx,
    id: RolloutId,
}

const TWO_PHASES: &str = r#"{"phases":[{"target":{"count":2},"soak_s":60},{"target":{"percent":100}}],
    "gates":{"max_failure_percent":20,"min_finished":2,"max_silent_percent":20,"silent_after_s":120},"timeout_s":600}"#;

impl Stage {
    /// Devices d0.. of rev-a and e0.. of rev-b, all of them there, and a rollout of 2.0.
    async fn set(a: usize, b: usize, policy: &str) -> Self {
        let fixture = Fixture::new().await;
        let (app, acme) = (&fixture.app, tenant("acme"));
        fixture.clock.advance(Duration::from_secs(3600));
        for n in 0..a {
            add_device(app, &acme, &format!("d{n}"), "rev-a").await;
        }
        for n in 0..b {
            add_device(app, &acme, &format!("e{n}"), "rev-b").await;
        }
        for (n, name) in (1..).zip(names(a, b)) {
            let arrival = Arrival { epoch: n, address: None, protocol: "mqtt-5" };
            app.presence().connected(&acme, &device(&name), app.now(), arrival);
        }
        let release = add_release(app, &acme, "2.0", &["rev-a", "rev-b"]).await;
        let ops = fixture.operator("acme", "operator").await;
        let new = new(release, policy);
        let made = rollouts::create_rollout(app, &ops, &acme, new).await.expect("made");
        let id = made.rollout.id;
        Self { fixture, acme, ops, id }
    }

    async fn tick(&self) {
        let status = tick(&self.fixture.app).await.expect("a tick");
        assert_eq!(status.failed, 0);
    }

    async fn show(&self) -> String {
        let view = rollouts::rollout(&self.fixture.app, &self.ops, &self.acme, self.id).await.expect("there");
        let all = view.observed.total();
        format!(
            "{} phase {}: {} queued, {} in progress, {} succeeded, {} failed, {} canceled",
            view.rollout.state,
            view.rollout.phase + 1,
            all.queued + all.queued_offline,
            all.in_progress,
            all.succeeded,
            all.failed,
            all.canceled
        )
    }

    /// Everybody who has something pending takes it and ends it so; says how many did.
    async fn work(&self, names: &[String], end: impl Fn(&str) -> Option<Status>) -> usize {
        let mut worked = 0;
        for name in names {
            let ctx = as_device(&self.fixture.app, &self.acme, name);
            let Some(job) = deployments::start_next(&self.fixture.app, &ctx, None).await.expect("asked") else {
                continue;
            };
            worked += 1;
            let Some(status) = end(name) else { continue };
            let report = Report { status, detail: None, expected_version: Some(job.deployment.version) };
            deployments::report(&self.fixture.app, &ctx, job.deployment.id(), report).await.expect("taken");
        }
        worked
    }

    async fn actions(&self) -> Vec<Action> {
        let filter = JournalFilter { subject: Some(self.id.to_string()), ..JournalFilter::default() };
        let events =
            journal::events(&self.fixture.app, &self.ops, &self.acme, filter, None, 1000).await.expect("events");
        let mut actions: Vec<Action> = events.into_iter().map(|event| event.entry.action).collect();
        actions.reverse();
        actions
    }
}

fn names(a: usize, b: usize) -> Vec<String> {
    (0..a).map(|n| format!("d{n}")).chain((0..b).map(|n| format!("e{n}"))).collect()
}

fn new(release: fleetward_base::ReleaseId, policy: &str) -> NewRollout {
    let policy = serde_json::from_str(policy).expect("a policy");
    NewRollout { name: None, release, selector: Default::default(), policy }
}

#[tokio::test]
async fn a_good_release_reaches_everybody_and_every_step_is_written_once() {
    let stage = Stage::set(3, 1, TWO_PHASES).await;
    let told = Told::listen(&stage.fixture.app);
    stage.tick().await;
    assert_eq!(stage.show().await, "running phase 1: 2 queued, 0 in progress, 0 succeeded, 0 failed, 0 canceled");
    assert_eq!(told.take_changed().len(), 2);
    assert_eq!(stage.work(&names(3, 1), |_| Some(Status::Succeeded)).await, 2);
    stage.tick().await;
    stage.fixture.clock.advance(Duration::from_secs(59));
    stage.tick().await;
    assert_eq!(stage.show().await, "running phase 1: 0 queued, 0 in progress, 2 succeeded, 0 failed, 0 canceled");
    stage.fixture.clock.advance(Duration::from_secs(1));
    stage.tick().await;
    assert_eq!(stage.work(&names(3, 1), |_| Some(Status::Succeeded)).await, 2);
    stage.tick().await;
    assert_eq!(stage.show().await, "finished phase 2: 0 queued, 0 in progress, 4 succeeded, 0 failed, 0 canceled");
    stage.tick().await;

    use Action as A;
    assert_eq!(
        stage.actions().await,
        [
            A::RolloutCreated,
            A::RolloutPhaseStarted,
            A::DeploymentQueued,
            A::DeploymentQueued,
            A::DeploymentStarted,
            A::DeploymentSucceeded,
            A::DeploymentStarted,
            A::DeploymentSucceeded,
            A::RolloutGateMet,
            A::RolloutPhaseStarted,
            A::DeploymentQueued,
            A::DeploymentQueued,
            A::DeploymentStarted,
            A::DeploymentSucceeded,
            A::DeploymentStarted,
            A::DeploymentSucceeded,
            A::RolloutGateMet,
            A::RolloutFinished,
        ]
    );
    let seen = registry::device(&stage.fixture.app, &stage.ops, &stage.acme, &device("d0")).await.expect("there");
    assert_eq!(seen.device.firmware.as_deref(), Some("2.0"));
    // Nobody is left to update.
    let release = rollouts::rollout(&stage.fixture.app, &stage.ops, &stage.acme, stage.id).await.expect("there");
    let again = new(release.rollout.release, TWO_PHASES);
    let none = rollouts::create_rollout(&stage.fixture.app, &stage.ops, &stage.acme, again).await;
    assert!(matches!(none, Err(Error::Conflict { code: "nothing-to-update", .. })));
}

#[tokio::test]
async fn a_failing_revision_stops_the_rollout_and_is_named() {
    let stage = Stage::set(
        8,
        4,
        r#"{"phases":[{"target":{"percent":100}}],"gates":{"max_failure_percent":30,"min_finished":3}}"#,
    )
    .await;
    stage.tick().await;
    let bad = |name: &str| Some(if name.starts_with('e') { Status::Failed } else { Status::Succeeded });
    stage.work(&names(8, 3), bad).await;
    stage.tick().await;
    let view = rollouts::rollout(&stage.fixture.app, &stage.ops, &stage.acme, stage.id).await.expect("there");
    assert_eq!(view.rollout.state, State::Paused);
    let reason = view.rollout.halt.reason.expect("a reason");
    assert_eq!(reason.to_string(), "3 of 11 updates failed in phase 1 (limit 30 %): hardware rev-b (3 of 3 failed).");
    // The one that is left is not handed out any more, until somebody resumes.
    assert_eq!(stage.work(&names(8, 4), bad).await, 0);
    rollouts::resume_rollout(&stage.fixture.app, &stage.ops, &stage.acme, stage.id).await.expect("resumed");
    stage.tick().await;
    assert_eq!(stage.work(&names(8, 4), |_| Some(Status::Succeeded)).await, 1);
    stage.tick().await;
    assert_eq!(stage.show().await, "finished phase 1: 0 queued, 0 in progress, 9 succeeded, 3 failed, 0 canceled");
}

#[tokio::test]
async fn devices_that_fall_silent_stop_the_rollout() {
    let stage = Stage::set(2, 0, TWO_PHASES).await;
    stage.tick().await;
    stage.work(&names(2, 0), |_| None).await;
    for (epoch, name) in (1..).zip(names(2, 0)) {
        let presence = stage.fixture.app.presence();
        presence.disconnected(&stage.acme, &device(&name), stage.fixture.app.now(), epoch, "connection_lost");
    }
    stage.fixture.clock.advance(Duration::from_secs(119));
    stage.tick().await;
    assert_eq!(stage.show().await, "running phase 1: 0 queued, 2 in progress, 0 succeeded, 0 failed, 0 canceled");
    stage.fixture.clock.advance(Duration::from_secs(1));
    stage.tick().await;
    let view = rollouts::rollout(&stage.fixture.app, &stage.ops, &stage.acme, stage.id).await.expect("there");
    assert!(matches!(view.rollout.halt.reason, Some(PauseReason::Silence { silent: 2, started: 2, .. })));
}

#[tokio::test]
async fn an_update_that_never_ends_times_out() {
    let stage = Stage::set(
        1,
        0,
        r#"{"phases":[{"target":{"percent":100}}],"gates":{"max_failure_percent":100},"timeout_s":600}"#,
    )
    .await;
    let told = Told::listen(&stage.fixture.app);
    stage.tick().await;
    stage.work(&names(1, 0), |_| None).await;
    stage.fixture.clock.advance(Duration::from_secs(601));
    told.take_changed();
    stage.tick().await;
    assert_eq!(stage.show().await, "running phase 1: 0 queued, 0 in progress, 0 succeeded, 1 failed, 0 canceled");
    assert_eq!(told.take_changed(), [device("d0")]);
    // Too late now.
    let ctx = as_device(&stage.fixture.app, &stage.acme, "d0");
    let id = DeploymentId { rollout: stage.id, kind: Kind::Update };
    let late = Report { status: Status::Succeeded, detail: None, expected_version: None };
    let late = deployments::report(&stage.fixture.app, &ctx, id, late).await;
    assert!(matches!(late, Err(ReportError::Refused { deployment, .. }) if deployment.status == Status::TimedOut));
    stage.tick().await;
    assert_eq!(stage.show().await, "finished phase 1: 0 queued, 0 in progress, 0 succeeded, 1 failed, 0 canceled");
}

#[tokio::test]
async fn rolling_back_takes_back_what_succeeded() {
    let stage = Stage::set(4, 0, r#"{"phases":[{"target":{"percent":100}}]}"#).await;
    stage.tick().await;
    stage.work(&names(2, 0), |_| Some(Status::Succeeded)).await;
    rollouts::roll_back_rollout(&stage.fixture.app, &stage.ops, &stage.acme, stage.id).await.expect("begun");
    stage.tick().await;
    assert_eq!(stage.show().await, "rolling_back phase 1: 0 queued, 0 in progress, 2 succeeded, 0 failed, 2 canceled");
    let ctx = as_device(&stage.fixture.app, &stage.acme, "d0");
    let job = deployments::start_next(&stage.fixture.app, &ctx, None).await.expect("asked").expect("a way back");
    assert_eq!(job.deployment.id().to_string(), format!("{}-rollback", stage.id));
    assert!(job.document.artifact.is_none());
    assert_eq!(stage.work(&names(4, 0), |_| Some(Status::Succeeded)).await, 2);
    stage.tick().await;
    assert_eq!(stage.show().await, "rolled_back phase 1: 0 queued, 0 in progress, 2 succeeded, 0 failed, 2 canceled");
    let seen = registry::device(&stage.fixture.app, &stage.ops, &stage.acme, &device("d0")).await.expect("there");
    assert_eq!(seen.device.firmware.as_deref(), Some("1.0"));
}

#[tokio::test]
async fn canceling_leaves_devices_alone_that_began() {
    let stage = Stage::set(3, 0, r#"{"phases":[{"target":{"percent":100}}]}"#).await;
    stage.tick().await;
    stage.work(&names(1, 0), |_| None).await;
    rollouts::cancel_rollout(&stage.fixture.app, &stage.ops, &stage.acme, stage.id).await.expect("canceled");
    stage.tick().await;
    assert_eq!(stage.show().await, "canceled phase 1: 0 queued, 1 in progress, 0 succeeded, 0 failed, 2 canceled");
    assert_eq!(stage.work(&names(3, 0), |_| Some(Status::Succeeded)).await, 1);
    assert_eq!(stage.show().await, "canceled phase 1: 0 queued, 0 in progress, 1 succeeded, 0 failed, 2 canceled");
}

#[tokio::test]
async fn an_update_that_never_ends_is_ended_also_where_its_rollout_stands_still() {
    let policy = r#"{"phases":[{"target":{"percent":100}}],"timeout_s":60}"#;
    for paused in [true, false] {
        let stage = Stage::set(1, 0, policy).await;
        stage.tick().await;
        stage.work(&names(1, 0), |_| None).await;
        let (app, ops) = (&stage.fixture.app, &stage.ops);
        if paused {
            rollouts::pause_rollout(app, ops, &stage.acme, stage.id, None).await.expect("paused");
        } else {
            rollouts::cancel_rollout(app, ops, &stage.acme, stage.id).await.expect("canceled");
        }
        stage.fixture.clock.advance(Duration::from_secs(61));
        stage.tick().await;
        assert!(stage.show().await.ends_with("0 in progress, 0 succeeded, 1 failed, 0 canceled"));
    }
}

#[tokio::test]
async fn a_report_is_taken_once_and_only_from_its_device() {
    let stage = Stage::set(2, 0, r#"{"phases":[{"target":{"percent":100}}]}"#).await;
    let app = &stage.fixture.app;
    stage.tick().await;
    let (d0, d1) = (as_device(app, &stage.acme, "d0"), as_device(app, &stage.acme, "d1"));
    let abroad = as_device(app, &tenant("zenith"), "d0");
    let id = DeploymentId { rollout: stage.id, kind: Kind::Update };
    let said = BTreeMap::from([("step".to_owned(), "downloading".to_owned())]);
    let report = Report { status: Status::InProgress, detail: Some(said), expected_version: Some(1) };
    let first = deployments::report(app, &d0, id, report.clone()).await.expect("taken");
    let again = deployments::report(app, &d0, id, report).await.expect("taken");
    assert_eq!((first.changed, again.changed, again.deployment.version), (true, false, 2));
    let stale = Report { status: Status::Succeeded, detail: None, expected_version: Some(1) };
    let stale = deployments::report(app, &d0, id, stale).await;
    assert!(matches!(stale, Err(ReportError::Refused { .. })));
    let done = Report { status: Status::Succeeded, detail: None, expected_version: None };
    let foreign = deployments::report(app, &abroad, id, done.clone()).await;
    assert!(matches!(foreign, Err(ReportError::App(Error::NotFound { .. }))));
    deployments::report(app, &d1, id, done).await.expect("its own");
    let operator = deployments::pending(app, &stage.ops).await;
    assert!(matches!(operator, Err(Error::Unauthenticated { .. })));
    let started = stage.actions().await.into_iter().filter(|action| *action == Action::DeploymentStarted).count();
    assert_eq!(started, 1);
}

#[tokio::test]
async fn a_device_works_on_one_update_at_a_time() {
    let stage = Stage::set(2, 0, r#"{"phases":[{"target":{"percent":100}}]}"#).await;
    let app = &stage.fixture.app;
    let release = add_release(app, &stage.acme, "3.0", &["rev-a"]).await;
    let second = new(release, r#"{"phases":[{"target":{"percent":100}}]}"#);
    let second = rollouts::create_rollout(app, &stage.ops, &stage.acme, second).await.expect("made").rollout.id;
    stage.tick().await;
    stage.tick().await;
    let of = |id| rollouts::deployments(app, &stage.ops, &stage.acme, id, None, None, 10);
    let (first, other) = (of(stage.id).await.expect("there"), of(second).await.expect("there"));
    assert_eq!((first.len(), other.len()), (2, 0), "busy devices are waited for, and the second does not end early");
    stage.work(&names(2, 0), |_| Some(Status::Succeeded)).await;
    stage.tick().await;
    assert_eq!(of(second).await.expect("there").len(), 2);
}

#[tokio::test]
async fn asking_first_shows_what_would_happen() {
    let stage = Stage::set(3, 2, TWO_PHASES).await;
    let app = &stage.fixture.app;
    let release = add_release(app, &stage.acme, "3.0", &["rev-a"]).await;
    let plan = rollouts::plan_rollout(app, &stage.ops, &stage.acme, new(release, TWO_PHASES)).await.expect("planned");
    assert_eq!((plan.target_count, plan.without_artifact), (3, 2));
    assert_eq!(plan.hardware, [("rev-a".to_owned(), 3)]);
    assert_eq!(plan.phases.iter().map(|(_, quota)| *quota).collect::<Vec<_>>(), [2, 3]);
    assert_eq!(plan.first.len(), 2);
    let all = rollouts::rollouts(app, &stage.ops, &stage.acme, None, None, 10).await.expect("listed");
    assert_eq!(all.len(), 1, "nothing was made");
}

#[tokio::test]
async fn bad_requests_are_refused_with_the_field() {
    let stage = Stage::set(1, 0, TWO_PHASES).await;
    let app = &stage.fixture.app;
    let release = rollouts::rollout(app, &stage.ops, &stage.acme, stage.id).await.expect("there").rollout.release;
    let create = |new| rollouts::create_rollout(app, &stage.ops, &stage.acme, new);
    let empty = create(new(release, r#"{"phases":[]}"#)).await;
    assert!(matches!(empty, Err(Error::Invalid { field, .. }) if field == "policy.phases"));
    let unnamed = create(NewRollout { name: Some(" ".to_owned()), ..new(release, TWO_PHASES) }).await;
    assert!(matches!(unnamed, Err(Error::Invalid { field, .. }) if field == "name"));
    let absent = stage.id.to_string().parse().expect("a UUID");
    let absent = create(new(absent, TWO_PHASES)).await;
    assert!(matches!(absent, Err(Error::NotFound { what: "release" })));
    let viewer = stage.fixture.operator("acme", "viewer").await;
    let denied = rollouts::create_rollout(app, &viewer, &stage.acme, new(release, TWO_PHASES)).await;
    assert!(matches!(denied, Err(Error::Denied { .. })));
    let denied = rollouts::pause_rollout(app, &viewer, &stage.acme, stage.id, None).await;
    assert!(matches!(denied, Err(Error::Denied { .. })));
    let foreign = stage.fixture.operator("zenith", "owner").await;
    let hidden = rollouts::pause_rollout(app, &foreign, &tenant("zenith"), stage.id, None).await;
    assert!(matches!(hidden, Err(Error::NotFound { what: "rollout" })));
}

#[tokio::test]
async fn the_same_request_twice_makes_one_rollout() {
    let stage = Stage::set(1, 0, TWO_PHASES).await;
    let app = &stage.fixture.app;
    let release = rollouts::rollout(app, &stage.ops, &stage.acme, stage.id).await.expect("there").rollout.release;
    let mut ops = stage.ops.clone();
    ops.idempotency = Some(Idempotency { key: "k".to_owned(), request_hash: [3; 32] });
    let make = || rollouts::create_rollout(app, &ops, &stage.acme, new(release, TWO_PHASES));
    let (one, two) = (make().await.expect("made"), make().await.expect("kept"));
    assert_eq!(one.rollout.id, two.rollout.id);
}

#[tokio::test]
async fn nobody_waits_for_a_device_at_its_end() {
    let stage = Stage::set(2, 0, r#"{"phases":[{"target":{"percent":100}}]}"#).await;
    let app = &stage.fixture.app;
    stage.tick().await;
    let owner = stage.fixture.operator("acme", "owner").await;
    let end = fleetward_core::lifecycle::Transition::Decommission;
    registry::change_status(app, &owner, &stage.acme, &device("d1"), end).await.expect("ended");
    stage.work(&names(1, 0), |_| Some(Status::Succeeded)).await;
    stage.tick().await;
    assert_eq!(stage.show().await, "finished phase 1: 0 queued, 0 in progress, 1 succeeded, 0 failed, 1 canceled");
}
