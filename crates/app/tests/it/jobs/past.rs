//! How jobs end, what is forgotten of them, and what is told of them to those who watch.

use fleetward_app::commands::{NewCommand, send_command};
use fleetward_app::identity_policy::{amend_policy, show_policy};
use fleetward_app::reconcile::{events, retention};
use fleetward_core::job::execution::Status::{Failed, InProgress, Succeeded};
use fleetward_store::{JobExecutionRow, JobRow};
use serde_json::{Value, json};

use super::*;

const DAY: Duration = Duration::from_secs(24 * 3600);

impl Stage {
    async fn policy(&self, amend: Value) {
        let (app, admin) = (self.app(), &self.fixture.admin);
        let at = show_policy(app, admin, &self.acme).await.expect("shown").revision;
        let amend = amend.as_object().cloned().expect("an object");
        amend_policy(app, admin, &self.acme, at, amend).await.expect("amended");
    }

    async fn tag(&self, name: &str, tags: &[&str]) {
        let found = registry::device(self.app(), &self.ops, &self.acme, &device(name)).await.expect("there");
        let tags = Some(tags.iter().map(|tag| (*tag).to_owned()).collect());
        let fields = DeviceFields { tags, ..DeviceFields::default() };
        let revision = found.device.revision;
        registry::amend_device(self.app(), &self.ops, &self.acme, &device(name), revision, fields)
            .await
            .expect("amended");
    }

    /// How many jobs and executions there are.
    async fn rows(&self) -> (usize, usize) {
        let mut jobs = 0;
        let mut after = None;
        loop {
            let page =
                jobs::jobs(self.app(), &self.ops, &self.acme, (None, None), after.clone(), 1000).await.expect("a page");
            jobs += page.len();
            after = page.last().map(|job| job.id.clone());
            if after.is_none() {
                break;
            }
        }
        let (mut executions, mut after) = (0, None);
        loop {
            let (of, d0) = ((None, None), device("d0"));
            let page = jobs::device_job_executions(self.app(), &self.ops, &self.acme, &d0, of, after.clone(), 1000);
            let page = page.await.expect("a page");
            executions += page.len();
            after = page.last().map(|one| (one.job.clone(), one.number));
            if after.is_none() {
                return (jobs, executions);
            }
        }
    }
}

#[tokio::test]
async fn who_leaves_ends_what_it_began_and_counts_anew_when_it_is_back() {
    let stage = Stage::set(2).await;
    let eu = Selector { tags: ["eu".to_owned()].into(), ..Selector::default() };
    let policy = r#"{"retry":[{"failure":"failed","retries":1}]}"#;
    stage.tag("d0", &["eu"]).await;
    stage.tag("d1", &["eu"]).await;
    let job = NewJob { targets: vec![eu], ..new("join", Selection::Continuous, policy) };
    jobs::create_job(stage.app(), &stage.ops, &stage.acme, job).await.expect("made");
    stage.tick().await;
    stage.say("d0", "join", Failed).await.expect("taken");
    stage.say("d1", "join", InProgress).await.expect("taken");
    assert_eq!(stage.pending("d0").await, ["join 2 queued"]);
    stage.tag("d0", &[]).await;
    stage.tag("d1", &[]).await;
    stage.pass(5).await;
    assert_eq!(stage.show("join").await, "in_progress working 1 removed 1", "it is at it");
    stage.say("d1", "join", Succeeded).await.expect("and ends it");
    stage.tag("d0", &["eu"]).await;
    stage.pass(5).await;
    for (number, next) in [(3, Some("join 4 queued")), (4, None)] {
        assert_eq!(stage.pending("d0").await, [format!("join {number} queued")]);
        stage.say("d0", "join", Failed).await.expect("taken");
        assert_eq!(stage.pending("d0").await, next.into_iter().collect::<Vec<_>>(), "one more try, as at first");
    }
    assert_eq!(stage.show("join").await, "in_progress succeeded 1 failed 1");
}

#[tokio::test]
async fn schedules_begin_and_end_whatever_the_server_does() {
    for (at_end, then, at_last) in [
        ("stop_rollout", "in_progress queued 1 working 1", "completed succeeded 2"),
        ("cancel", "canceled working 1 canceled 1", "canceled succeeded 1 canceled 1"),
        ("force_cancel", "canceled canceled 2", "canceled canceled 2"),
    ] {
        let stage = Stage::set(2).await;
        let at = |secs: u64| stage.app().now().plus(Duration::from_secs(secs)).millis();
        let schedule = json!({"start_at_ms": at(60), "end_at_ms": at(120), "at_end": at_end});
        stage.create("timed", Selection::Continuous, &json!({ "schedule": schedule }).to_string()).await;
        stage.tick().await;
        assert_eq!(stage.show("timed").await, "scheduled");
        stage.fixture.clock.advance(Duration::from_secs(60));
        tick(&stage.fixture.restarted()).await.expect("another server's turn");
        assert_eq!(stage.show("timed").await, "in_progress queued 2");
        stage.say("d0", "timed", InProgress).await.expect("taken");
        add_device(stage.app(), &stage.acme, "late", "rev-a").await;
        stage.fixture.clock.advance(Duration::from_secs(60));
        tick(&stage.fixture.restarted()).await.expect("another server's turn");
        assert_eq!(stage.show("timed").await, then, "{at_end}: nobody is handed it any more");
        for name in ["d0", "d1"] {
            let said = stage.say(name, "timed", Succeeded).await;
            assert_eq!(
                said.is_ok(),
                at_end == "stop_rollout" || (at_end == "cancel" && name == "d0"),
                "{at_end}: {name}"
            );
        }
        // It is looked at every few seconds, should nobody say that an execution ended.
        stage.fixture.clock.advance(Duration::from_secs(5));
        tick(&stage.fixture.restarted()).await.expect("another server's turn");
        assert_eq!(stage.show("timed").await, at_last, "{at_end}");
    }
}

#[tokio::test]
async fn what_is_over_is_forgotten_and_the_journal_keeps_it() {
    let stage = Stage::set(1).await;
    stage.policy(json!({"jobs": {"retention_days": 2}})).await;
    let policy = r#"{"retry":[{"failure":"failed","retries":1}]}"#;
    stage.create("old", Selection::Snapshot, policy).await;
    stage.create("open", Selection::Continuous, policy).await;
    stage.tick().await;
    for job in ["old", "open"] {
        stage.say("d0", job, Failed).await.expect("taken");
        stage.say("d0", job, Succeeded).await.expect("of the next try");
    }
    stage.tick().await;
    assert_eq!(stage.show("old").await, "completed succeeded 1");
    stage.fixture.clock.advance(DAY);
    assert_eq!(retention::tick(stage.app()).await.expect("a turn"), 0, "its time has not come");
    stage.fixture.clock.advance(DAY + Duration::from_secs(1));
    assert_eq!(retention::tick(stage.app()).await.expect("a turn"), 4, "a job, its two tries, and one of the other");
    assert_eq!(stage.rows().await, (1, 1));
    assert_eq!(stage.show("open").await, "in_progress succeeded 1", "it had its turn, and gets no other");
    stage.pass(5).await;
    assert_eq!(stage.pending("d0").await, [""; 0]);
    let filter = JournalFilter { subject: Some("old".to_owned()), ..JournalFilter::default() };
    let kept = journal::events(stage.app(), &stage.ops, &stage.acme, filter, None, 100).await.expect("read");
    let actions: Vec<&str> = kept.iter().map(|event| event.entry.action.as_str()).collect();
    assert!(actions.contains(&"job_execution.failed") && actions.first() == Some(&"job.gone"), "{actions:?}");
    assert_eq!(retention::tick(stage.app()).await.expect("a turn"), 0);
}

/// A device that has worked on ten thousand jobs leaves as many rows as the policy says.
#[tokio::test]
async fn ten_thousand_jobs_leave_a_small_store() {
    let stage = Stage::set(1).await;
    let at = stage.app().now();
    let row = move |n: u64| JobRow {
        id: id(&format!("j{n:05}")),
        description: None,
        targets: "[{}]".into(),
        selection: "snapshot".into(),
        policy: "{}".into(),
        windowed: false,
        state: "completed".into(),
        reason_code: None,
        comment: None,
        force: false,
        rollout_over: false,
        cursor_target: 1,
        cursor_device: String::new(),
        pace: "[]".into(),
        handed: 1,
        window_open: true,
        look_at: None,
        created_by: "ops".into(),
        created_at: at,
        updated_at: at,
        started_at: Some(at),
        completed_at: Some(at.plus(Duration::from_secs(n / 100))),
        revision: 1,
    };
    let execution = move |n: u64| JobExecutionRow {
        job: id(&format!("j{n:05}")),
        device: device("d0"),
        number: 1,
        latest: true,
        status: "succeeded".into(),
        detail: None,
        version: 3,
        failed_before: 0,
        timed_out_before: 0,
        queued_at: at,
        started_at: Some(at),
        updated_at: at,
        finished_at: Some(at),
        timeout_at: None,
        step_timeout_at: None,
        due_at: None,
    };
    stage
        .app()
        .store()
        .write(&stage.acme, "ten thousand jobs", move |tx| {
            Box::pin(async move {
                for n in 0..10_000 {
                    tx.insert_job(&row(n), "{}").await?;
                }
                let executions: Vec<_> = (0..10_000).map(execution).collect();
                tx.insert_job_executions(&executions).await?;
                Ok::<_, Error>(())
            })
        })
        .await
        .expect("written");
    assert_eq!(stage.rows().await, (10_000, 10_000));
    stage.policy(json!({"jobs": {"kept": 100}})).await;
    let mut turns = 0;
    while retention::tick(stage.app()).await.expect("a turn") > 0 {
        turns += 1;
    }
    assert!(turns > 1, "a turn does a bounded piece of work");
    assert_eq!(stage.rows().await, (100, 100));
    let newest = jobs::jobs(stage.app(), &stage.ops, &stage.acme, (None, None), None, 1).await.expect("a page");
    assert_eq!(newest[0].id, id("j09900"), "the newest stay");
}

#[tokio::test]
async fn a_device_that_comes_again_and_again_keeps_its_last_tries() {
    let stage = Stage::set(1).await;
    let eu = Selector { tags: ["eu".to_owned()].into(), ..Selector::default() };
    let job = NewJob { targets: vec![eu], ..new("join", Selection::Continuous, "{}") };
    jobs::create_job(stage.app(), &stage.ops, &stage.acme, job).await.expect("made");
    stage.tick().await;
    for _ in 0..30 {
        stage.tag("d0", &["eu"]).await;
        stage.pass(5).await;
        stage.tag("d0", &[]).await;
        stage.pass(5).await;
    }
    let of = (None, None);
    let tries = jobs::device_job_executions(stage.app(), &stage.ops, &stage.acme, &device("d0"), of, None, 100).await;
    let numbers: Vec<u64> = tries.expect("a page").iter().map(|one| one.number).collect();
    assert_eq!(numbers, (11..=30).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_becomes_of_jobs_and_commands_is_told_to_those_who_want_it() {
    let stage = Stage::set(2).await;
    let told = Told::listen(stage.app());
    let events = || async {
        events::tick(stage.app()).await.expect("a turn");
        told.take()
    };
    stage.create("before", Selection::Snapshot, "{}").await;
    stage.tick().await;
    assert_eq!(events().await, [], "nobody wants it");
    stage.policy(json!({"jobs": {"events": true}, "commands": {"events": true}})).await;
    assert_eq!(events().await, [], "from now on");

    stage.say("d0", "before", Succeeded).await.expect("taken");
    stage.say("d1", "before", Failed).await.expect("taken");
    stage.tick().await;
    let heard = events().await;
    let topics: Vec<&str> = heard.iter().map(|(topic, _)| topic.as_str()).collect();
    let expected = ["jobExecution/before/succeeded", "jobExecution/before/failed", "job/before/completed"]
        .map(|end| format!("$aws/events/{end}"));
    assert_eq!(topics, expected);
    let (execution, job) = (&heard[0].1, &heard[2].1);
    assert_eq!((&execution["eventType"], &execution["status"]), (&json!("JOB_EXECUTION"), &json!("SUCCEEDED")));
    assert!(execution["thingArn"].as_str().is_some_and(|arn| arn.ends_with(":thing/d0")), "{execution}");
    assert_eq!((&job["status"], &job["targetSelection"]), (&json!("COMPLETED"), &json!("SNAPSHOT")));
    let counts = &job["jobProcessDetails"];
    assert_eq!((&counts["numberOfSucceededThings"], &counts["numberOfFailedThings"]), (&json!(1), &json!(1)));

    stage.create("stopped", Selection::Snapshot, "{}").await;
    stage.tick().await;
    let (app, ops, acme) = (stage.app(), &stage.ops, &stage.acme);
    jobs::cancel_job(app, ops, acme, &id("stopped"), None, (None, Some("no more".to_owned()), false))
        .await
        .expect("canceled");
    stage.tick().await;
    jobs::delete_job(app, ops, acme, &id("stopped"), None, false).await.expect("it goes");
    stage.tick().await;
    let heard = events().await;
    let words: Vec<&str> = heard
        .iter()
        .filter(|(topic, _)| topic.starts_with("$aws/events/job/"))
        .map(|(_, body)| body["operation"].as_str().expect("a word"))
        .collect();
    assert_eq!(words, ["cancellation_in_progress", "canceled", "deletion_in_progress", "deleted"]);
    assert_eq!(heard.len(), words.len() + 2, "and two executions were canceled");

    let to = Selector { devices: [device("d0")].into(), ..Selector::default() };
    let sent = NewCommand { id: Some("c1".parse().expect("an id")), op: "restart".to_owned(), ..NewCommand::default() };
    send_command(app, ops, acme, to, sent).await.expect("queued");
    stage.fixture.clock.advance(DAY);
    fleetward_app::reconcile::commands::tick(app).await.expect("a turn");
    let heard = events().await;
    let topics: Vec<&str> = heard.iter().map(|(topic, _)| topic.as_str()).collect();
    assert_eq!(
        topics,
        ["$aws/events/commandExecution/restart/CREATED", "$aws/events/commandExecution/restart/TIMED_OUT"]
    );
    assert_eq!((&heard[0].1["executionId"], &heard[0].1["status"]), (&json!("c1"), &json!("CREATED")));

    stage.policy(json!({"jobs": {"events": false}, "commands": {"events": false}})).await;
    stage.create("after", Selection::Snapshot, "{}").await;
    stage.tick().await;
    stage.say("d0", "after", Succeeded).await.expect("taken");
    assert_eq!(events().await, [], "nobody wants it any more");
}
