use fleetward_base::{DeviceId, JobId};
use fleetward_store::{
    DeviceRow, DeviceSelector, JobCandidateRow, JobExecutionKey, JobExecutionRow, JobKey, JobRow, JobStandingRow, Of,
};

use crate::support::{Fixture, at, device, device_row};

fn id(name: &str) -> JobId {
    name.parse().expect("a job id")
}

fn job(name: &str) -> JobRow {
    JobRow {
        id: id(name),
        description: Some("all of it".into()),
        targets: "[{}]".into(),
        selection: "snapshot".into(),
        policy: "{}".into(),
        windowed: false,
        state: "in_progress".into(),
        reason_code: None,
        comment: None,
        force: false,
        rollout_over: false,
        cursor_target: 0,
        cursor_device: String::new(),
        pace: "[]".into(),
        handed: 0,
        window_open: false,
        look_at: Some(at(5)),
        created_by: "ops".into(),
        created_at: at(1),
        updated_at: at(1),
        started_at: None,
        completed_at: None,
        revision: 1,
    }
}

fn execution(job: &str, name: &str, number: u64, status: &str) -> JobExecutionRow {
    JobExecutionRow {
        job: id(job),
        device: device(name),
        number,
        latest: true,
        status: status.into(),
        detail: None,
        version: 1,
        failed_before: 0,
        timed_out_before: 0,
        queued_at: at(2),
        started_at: None,
        updated_at: at(2),
        finished_at: None,
        timeout_at: None,
        step_timeout_at: None,
        due_at: None,
    }
}

fn named(rows: &[JobExecutionRow]) -> Vec<String> {
    rows.iter().map(|row| format!("{} {} {} {}", row.job, row.device, row.number, row.status)).collect()
}

pub(crate) async fn jobs_are_written_and_due(on: Fixture) {
    on.elsewhere(|tx| Box::pin(async move { tx.insert_job(&job("a"), "{\"b\":1}").await })).await;
    let (made, twice, read, document, absent) = on
        .write(|tx| {
            Box::pin(async move {
                let made = tx.insert_job(&job("a"), "{\"a\":1}").await?;
                let twice = tx.insert_job(&job("a"), "{}").await?;
                tx.insert_job(&JobRow { selection: "continuous".into(), look_at: None, ..job("b") }, "{}").await?;
                tx.insert_job(&JobRow { state: "canceled".into(), completed_at: Some(at(3)), ..job("c") }, "{}")
                    .await?;
                Ok((
                    made,
                    twice,
                    tx.job(&id("a")).await?,
                    tx.job_document(&id("a")).await?,
                    (tx.job(&id("z")).await?, tx.job_document(&id("z")).await?),
                ))
            })
        })
        .await;
    assert_eq!((made, twice, read, absent), (true, false, Some(job("a")), (None, None)));
    assert_eq!(document.as_deref(), Some("{\"a\":1}"));

    let later = JobRow {
        description: None,
        targets: "[]".into(),
        policy: "{\"timeout_minutes\":1}".into(),
        windowed: true,
        state: "completed".into(),
        reason_code: Some("aborted".into()),
        comment: Some("so".into()),
        force: true,
        rollout_over: true,
        cursor_target: 1,
        cursor_device: "x".into(),
        pace: "[[1,2]]".into(),
        handed: 7,
        window_open: true,
        look_at: None,
        updated_at: at(8),
        started_at: Some(at(2)),
        completed_at: Some(at(8)),
        revision: 2,
        ..job("a")
    };
    let later_in = later.clone();
    let (stale, written, read, pages, open) = on
        .write(move |tx| {
            Box::pin(async move {
                let stale = tx.update_job(&later_in, 2).await?;
                let written = tx.update_job(&later_in, 1).await?;
                let ids = |rows: Vec<JobRow>| rows.into_iter().map(|row| row.id.to_string()).collect::<Vec<_>>();
                let pages = [
                    ids(tx.jobs(None, None, None, 2).await?),
                    ids(tx.jobs(None, None, Some(&id("b")), 2).await?),
                    ids(tx.jobs(Some("canceled"), None, None, 9).await?),
                    ids(tx.jobs(None, Some("continuous"), None, 9).await?),
                    ids(tx.jobs(None, None, Some(&id("c")), 2).await?),
                ];
                Ok((stale, written, tx.job_for_update(&id("a")).await?, pages, tx.count_open_jobs().await?))
            })
        })
        .await;
    assert_eq!((stale, written, read, open), (false, true, Some(later), 1));
    assert_eq!(pages, [vec!["a", "b"], vec!["c"], vec!["c"], vec!["b"], vec![]]);

    let due = on
        .system(|tx| {
            Box::pin(async move {
                let first = tx.due_jobs(at(5), None, 1).await?;
                let after = first.first().and_then(|of| Some((of.tenant.clone()?, of.row.id.clone())));
                let rest = tx.due_jobs(at(5), after.as_ref().map(|(tenant, id)| (tenant, id)), 9).await?;
                Ok((first, rest, tx.due_jobs(at(4), None, 9).await?))
            })
        })
        .await;
    let of = |tenant: &fleetward_base::TenantId, name: &str| Of {
        tenant: Some(tenant.clone()),
        row: JobKey { id: id(name) },
    };
    assert_eq!(due, (vec![of(&on.acme, "c")], vec![of(&on.umbrella, "a")], vec![]));
    let gone = on
        .write(|tx| Box::pin(async move { Ok((tx.delete_job(&id("a")).await?, tx.delete_job(&id("a")).await?)) }))
        .await;
    assert_eq!(gone, (true, false));
}

pub(crate) async fn devices_get_one_execution(on: Fixture) {
    let (first, rest, queued, again, standing) = on
        .write(|tx| {
            Box::pin(async move {
                tx.insert_job(&job("a"), "{}").await?;
                for (name, made, tags) in [("d1", 1, "[]"), ("d2", 1, "[\"eu\"]"), ("d3", 9, "[]"), ("d4", 1, "[]")] {
                    let row = DeviceRow { created_at: at(made), tags: tags.into(), ..device_row(name) };
                    tx.insert_device(&row).await?;
                }
                tx.insert_job_executions(&[execution("a", "d1", 1, "queued"), execution("a", "d4", 1, "removed")])
                    .await?;
                let all = DeviceSelector::default();
                let first = tx.job_candidates(&id("a"), &all, "", None, 2).await?;
                let rest = tx.job_candidates(&id("a"), &all, "d2", Some(at(5)), 9).await?;
                let eu = DeviceSelector { tags: vec!["eu".into()], ..DeviceSelector::default() };
                assert_eq!(tx.job_candidates(&id("a"), &eu, "", None, 9).await?.len(), 1);
                assert_eq!(tx.supersede_job_executions(&id("a"), &[device("d1"), device("d4")]).await?, 1);
                let rows = [
                    execution("a", "d1", 2, "queued"),
                    execution("a", "d2", 1, "queued"),
                    execution("a", "d4", 2, "queued"),
                ];
                let queued = tx.insert_job_executions(&rows).await?;
                let again = tx.insert_job_executions(&rows).await?;
                Ok((first, rest, queued, again, tx.job_standing(&id("a")).await?))
            })
        })
        .await;
    let candidate = |name: &str, last| JobCandidateRow { device: device(name), last };
    assert_eq!(first, [candidate("d2", 0), candidate("d3", 0)]);
    assert_eq!(rest, [candidate("d4", 1)], "d3 was made later");
    let devices: Vec<DeviceId> = queued;
    assert_eq!((devices, again), (vec![device("d2"), device("d4")], vec![]), "d1 has one that lives");
    assert_eq!(standing, [JobStandingRow { status: "queued".into(), count: 3 }]);
}

pub(crate) async fn executions_change_at_their_version(on: Fixture) {
    let begun = JobExecutionRow {
        status: "in_progress".into(),
        detail: Some("{\"step\":\"1\"}".into()),
        version: 2,
        started_at: Some(at(3)),
        updated_at: at(3),
        timeout_at: Some(at(9)),
        step_timeout_at: Some(at(7)),
        due_at: Some(at(7)),
        ..execution("a", "d1", 1, "queued")
    };
    let begun_in = begun.clone();
    let (written, stale, read, none) = on
        .write(move |tx| {
            Box::pin(async move {
                tx.insert_job(&job("a"), "{}").await?;
                tx.insert_job_executions(&[execution("a", "d1", 1, "queued"), execution("a", "d2", 1, "queued")])
                    .await?;
                let other = JobExecutionRow { version: 5, ..begun_in.clone() };
                let other = JobExecutionRow { device: device("d2"), ..other };
                let written = tx.update_job_executions(&[begun_in.clone(), other]).await?;
                let stale = tx.update_job_executions(&[begun_in]).await?;
                let read = tx.job_execution(&id("a"), &device("d1"), None).await?;
                Ok((written, stale, read, tx.job_execution(&id("a"), &device("d1"), Some(2)).await?))
            })
        })
        .await;
    let key = |number| JobExecutionKey { job: id("a"), device: device("d1"), number };
    assert_eq!((written, stale, read, none), (vec![key(1)], vec![], Some(begun.clone()), None));

    let (last, first, all, live, of_device) = on
        .write(move |tx| {
            Box::pin(async move {
                let failed = JobExecutionRow {
                    latest: false,
                    status: "failed".into(),
                    version: 3,
                    finished_at: Some(at(4)),
                    ..begun
                };
                tx.update_job_executions(&[failed]).await?;
                tx.insert_job_executions(&[execution("a", "d1", 2, "queued")]).await?;
                let last = tx.job_execution_for_update(&id("a"), &device("d1"), None).await?.map(|row| row.number);
                let first = tx.job_execution_for_update(&id("a"), &device("d1"), Some(1)).await?.map(|row| row.status);
                let all = [
                    named(&tx.job_executions(&id("a"), None, None, 2).await?),
                    named(&tx.job_executions(&id("a"), None, Some((&device("d1"), 2)), 9).await?),
                    named(&tx.job_executions(&id("a"), Some("failed"), None, 9).await?),
                ];
                let live = [
                    named(&tx.live_job_executions(&id("a"), true, "", 1).await?),
                    named(&tx.live_job_executions(&id("a"), false, "d1", 9).await?),
                    named(&tx.live_executions_of(&device("d1"), 9).await?),
                ];
                let (d1, a) = (device("d1"), id("a"));
                let of_device = [
                    named(&tx.device_job_executions(&d1, None, None, None, 1).await?),
                    named(&tx.device_job_executions(&d1, Some("queued"), Some(&a), Some((&a, 1)), 9).await?),
                    named(&tx.device_job_executions(&d1, None, Some(&id("b")), None, 9).await?),
                ];
                Ok((last, first, all, live, of_device))
            })
        })
        .await;
    assert_eq!((last, first.as_deref()), (Some(2), Some("failed")));
    assert_eq!(all, [vec!["a d1 1 failed", "a d1 2 queued"], vec!["a d2 1 queued"], vec!["a d1 1 failed"]]);
    assert_eq!(live, [vec!["a d1 2 queued"], vec!["a d2 1 queued"], vec!["a d1 2 queued"]]);
    assert_eq!(of_device, [vec!["a d1 1 failed"], vec!["a d1 2 queued"], vec![]]);
}

pub(crate) async fn devices_see_what_is_pending(on: Fixture) {
    let pending = on
        .write(|tx| {
            Box::pin(async move {
                for (name, state, force) in [
                    ("a", "in_progress", false),
                    ("b", "in_progress", false),
                    ("c", "canceled", false),
                    ("d", "canceled", true),
                ] {
                    let windowed = name == "b";
                    tx.insert_job(&JobRow { state: state.into(), force, windowed, ..job(name) }, "{}").await?;
                }
                let later = |row: JobExecutionRow| JobExecutionRow { queued_at: at(4), ..row };
                tx.insert_job_executions(&[
                    execution("a", "d1", 1, "queued"),
                    later(execution("b", "d1", 1, "in_progress")),
                    execution("c", "d1", 1, "queued"),
                    execution("d", "d1", 1, "in_progress"),
                    execution("c", "d2", 1, "in_progress"),
                    later(execution("a", "d2", 1, "queued")),
                    execution("b", "d2", 1, "queued"),
                    execution("a", "d3", 1, "succeeded"),
                    execution("a", "d4", 1, "queued"),
                ])
                .await?;
                tx.pending_job_executions(&[device("d1"), device("d2"), device("d3")], 2).await
            })
        })
        .await;
    let rows: Vec<_> = pending.iter().map(|row| row.execution.clone()).collect();
    let expected = ["b d1 1 in_progress", "a d1 1 queued", "c d2 1 in_progress", "b d2 1 queued"];
    assert_eq!(named(&rows), expected);
    let policies: Vec<_> = pending.iter().map(|row| row.policy.as_deref()).collect();
    assert_eq!(policies, [Some("{}"), None, None, Some("{}")]);
}

pub(crate) async fn timers_and_ends(on: Fixture) {
    let timed = |name: &str, due| JobExecutionRow { due_at: Some(at(due)), ..execution("a", name, 1, "in_progress") };
    on.write(move |tx| {
        Box::pin(async move {
            tx.insert_job(&job("a"), "{}").await?;
            tx.insert_job_executions(&[
                timed("d1", 9),
                timed("d2", 3),
                timed("d3", 5),
                execution("a", "d4", 1, "queued"),
            ])
            .await
        })
    })
    .await;
    let due = on.system(|tx| Box::pin(async move { tx.due_job_executions(at(5), 9).await })).await;
    let due: Vec<_> = due.into_iter().map(|of| of.row.device.to_string()).collect();
    assert_eq!(due, ["d2", "d3"]);
    let (gone, twice, restored, pages) = on
        .write(|tx| {
            Box::pin(async move {
                tx.supersede_job_executions(&id("a"), &[device("d4")]).await?;
                let ended = JobExecutionRow { latest: false, ..execution("a", "d5", 1, "failed") };
                tx.insert_job_executions(&[ended, execution("a", "d5", 2, "queued")]).await?;
                let key = JobExecutionKey { job: id("a"), device: device("d5"), number: 2 };
                let gone = tx.delete_job_execution(&key).await?;
                let twice = tx.delete_job_execution(&key).await?;
                tx.restore_last_job_execution(&id("a"), &device("d5")).await?;
                let restored = tx.job_execution(&id("a"), &device("d5"), None).await?.map(|row| row.number);
                let pages = [
                    tx.delete_job_executions(&id("a"), 3).await?.len(),
                    tx.delete_job_executions(&id("a"), 3).await?.len(),
                    tx.delete_job_executions(&id("a"), 3).await?.len(),
                ];
                Ok((gone, twice, restored, pages))
            })
        })
        .await;
    assert_eq!((gone, twice, restored, pages), (true, false, Some(1), [3, 2, 0]));
}

pub(crate) async fn what_is_over_goes_the_oldest_first(on: Fixture) {
    let over =
        |name: &str, ended: i64| JobRow { state: "completed".into(), completed_at: Some(at(ended)), ..job(name) };
    let earlier = |name: &str, number: u64, ended: i64| JobExecutionRow {
        latest: false,
        finished_at: Some(at(ended)),
        ..execution("open", name, number, "failed")
    };
    on.elsewhere(move |tx| {
        Box::pin(async move {
            tx.insert_job(&over("old", 1), "{}").await?;
            tx.insert_job_executions(&[earlier("d1", 1, 1)]).await
        })
    })
    .await;
    let (by_age, by_count, pages, tries, left) = on
        .write(move |tx| {
            Box::pin(async move {
                for row in [over("e", 5), over("d", 5), over("c", 4), over("b", 3), over("a", 2), job("open")] {
                    tx.insert_job(&row, "{}").await?;
                }
                tx.insert_job(&JobRow { state: "canceled".into(), ..over("works", 1) }, "{}").await?;
                tx.insert_job(&JobRow { state: "deletion_in_progress".into(), ..over("goes", 1) }, "{}").await?;
                tx.insert_job_executions(&[
                    execution("works", "d1", 1, "in_progress"),
                    execution("a", "d1", 1, "failed"),
                ])
                .await?;
                let names = |rows: Vec<JobKey>| rows.into_iter().map(|key| key.id.to_string()).collect::<Vec<_>>();
                let by_age = names(tx.stale_jobs(at(4), 99, 9).await?);
                let by_count = names(tx.stale_jobs(at(0), 1, 9).await?);
                let page = names(tx.stale_jobs(at(9), 99, 2).await?);
                tx.insert_job_executions(&[earlier("d1", 1, 2), earlier("d1", 2, 3), earlier("d2", 1, 9)]).await?;
                let last = JobExecutionRow { finished_at: Some(at(1)), ..execution("open", "d1", 3, "succeeded") };
                tx.insert_job_executions(&[last]).await?;
                let tries = [
                    tx.forget_tries(at(9), 1).await?,
                    tx.forget_tries(at(9), 9).await?,
                    tx.forget_tries(at(9), 9).await?,
                ];
                tx.insert_job_executions(&[earlier("d1", 1, 2), earlier("d1", 2, 3)]).await?;
                let oldest = JobExecutionKey { job: id("open"), device: device("d1"), number: 2 };
                let trimmed = [tx.trim_tries(&oldest).await?, tx.trim_tries(&oldest).await?];
                let left = named(&tx.job_executions(&id("open"), None, None, 9).await?);
                Ok((by_age, by_count, page, (tries, trimmed), left))
            })
        })
        .await;
    assert_eq!(by_age, ["a", "b"], "c ended just then, and somebody works on another");
    assert_eq!(by_count, ["a", "b", "c", "d"], "those that ended together have an order");
    assert_eq!(pages, ["a", "b"]);
    assert_eq!(tries, ([1, 1, 0], [1, 0]));
    assert_eq!(
        left,
        ["open d1 2 failed", "open d1 3 succeeded", "open d2 1 failed"],
        "the last one stays whatever its age"
    );
    let other = on.elsewhere(|tx| Box::pin(async move { tx.forget_tries(at(9), 9).await })).await;
    assert_eq!(other, 1, "another tenant's were left alone");
}
