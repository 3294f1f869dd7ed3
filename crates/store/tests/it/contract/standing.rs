use fleetward_store::{CohortRow, DeploymentRow, DeviceRow, DeviceSelector, PresenceRow, StandingRow};

use crate::support::{Fixture, at, deployment_row, device, device_row, rollout};

fn presence(name: &str, online: bool, secs: i64) -> PresenceRow {
    PresenceRow {
        device: device(name),
        online,
        last_seen: Some(at(secs)),
        connected_at: None,
        disconnected_at: None,
        reason: None,
        address: None,
    }
}

pub(crate) async fn deployments_stand_beside_presence(on: Fixture) {
    let (standing, overdue, unassigned) = on
        .write(|tx| {
            Box::pin(async move {
                for name in ["a", "b", "c", "d", "e"] {
                    tx.insert_device(&device_row(name)).await?;
                }
                tx.put_presence(&[presence("a", true, 1), presence("b", false, 1), presence("c", false, 9)]).await?;
                let started = |name: &str, secs| DeploymentRow {
                    status: "in_progress".into(),
                    started_at: Some(at(secs)),
                    ..deployment_row(1, name)
                };
                let rows = [started("a", 3), started("b", 4), started("c", 8), deployment_row(1, "d")];
                tx.insert_deployments(&rows).await?;
                Ok((
                    tx.deployment_standing(rollout(1), at(5)).await?,
                    tx.overdue_deployments(rollout(1), at(8), 10).await?,
                    tx.unassigned_cohorts(rollout(1), &DeviceSelector::default()).await?,
                ))
            })
        })
        .await;
    let line = |status: &str, offline, silent| StandingRow {
        kind: "update".into(),
        phase: 0,
        hardware: "r1".into(),
        status: status.into(),
        offline,
        silent,
        count: 1,
    };
    let expected = [
        line("in_progress", false, false),
        line("in_progress", true, false),
        line("in_progress", true, true),
        // It never gave a sign of life, which is not the same as falling silent.
        line("queued", true, false),
    ];
    assert_eq!(standing, expected);
    let overdue: Vec<_> = overdue.into_iter().map(|key| (key.device, key.kind)).collect();
    let update = |name: &str| (device(name), "update".to_owned());
    assert_eq!(overdue, [update("a"), update("b")]);
    assert_eq!(unassigned, [CohortRow { hardware: "r1".into(), count: 1 }]);
}

pub(crate) async fn updates_are_taken_back_once(on: Fixture) {
    let done = |number: u32, name: &str, secs| DeploymentRow {
        status: "succeeded".into(),
        finished_at: Some(at(secs)),
        ..deployment_row(number, name)
    };
    let (candidates, count, rest) = on
        .write(move |tx| {
            Box::pin(async move {
                // `b` has a later update, `c` is busy with another rollout, `d` failed, `e` is at its end, `f` is gone.
                for name in ["a", "b", "c", "d"] {
                    tx.insert_device(&device_row(name)).await?;
                }
                let ended = DeviceRow { status: "decommissioned".into(), ..device_row("e") };
                tx.insert_device(&ended).await?;
                let failed = DeploymentRow { status: "failed".into(), ..deployment_row(1, "d") };
                let rows = [
                    done(1, "a", 2),
                    done(1, "b", 2),
                    done(2, "b", 3),
                    done(1, "c", 2),
                    done(1, "e", 2),
                    done(1, "f", 2),
                    deployment_row(3, "c"),
                    failed,
                ];
                tx.insert_deployments(&rows).await?;
                let candidates = tx.rollback_candidates(rollout(1), 10).await?;
                let count = tx.count_to_roll_back(rollout(1)).await?;
                let back = DeploymentRow { kind: "rollback".into(), ..deployment_row(1, "a") };
                tx.insert_deployments(&[back]).await?;
                Ok((candidates, count, tx.rollback_candidates(rollout(1), 10).await?))
            })
        })
        .await;
    assert_eq!((candidates, count, rest), (vec![done(1, "a", 2)], 2, vec![]));
}
