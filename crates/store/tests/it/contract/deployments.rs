use fleetward_store::{DeploymentCount, DeploymentKey, DeploymentRow, DeviceRow, DeviceSelector};

use crate::support::{Fixture, at, deployment_row, device, device_row, rollout};

fn key(number: u32, name: &str) -> DeploymentKey {
    DeploymentKey { rollout: rollout(number), device: device(name), kind: "update".into() }
}

pub(crate) async fn deployments_are_queued_once(on: Fixture) {
    let outcome = on
        .write(|tx| {
            Box::pin(async move {
                let first = tx.insert_deployments(&[deployment_row(1, "a"), deployment_row(1, "b")]).await?;
                let again = tx.insert_deployments(&[deployment_row(1, "a"), deployment_row(1, "c")]).await?;
                // Another rollout: `a` has an active one.
                let busy = tx.insert_deployments(&[deployment_row(2, "a"), deployment_row(2, "d")]).await?;
                let none = tx.insert_deployments(&[]).await?;
                Ok((first, again, busy, none))
            })
        })
        .await;
    let names = |names: &[&str]| names.iter().map(|name| device(name)).collect::<Vec<_>>();
    assert_eq!(outcome, (names(&["a", "b"]), names(&["c"]), names(&["d"]), vec![]));

    let (active, done, next) = on
        .write(|tx| {
            Box::pin(async move {
                let active = tx.active_deployment(&device("a")).await?;
                let having = tx.devices_with_deployment(&[device("a"), device("zz")]).await?;
                assert_eq!(having, [device("a")]);
                let done = DeploymentRow {
                    status: "succeeded".into(),
                    version: 2,
                    finished_at: Some(at(9)),
                    ..deployment_row(1, "a")
                };
                let done = tx.update_deployment(&done, 1).await?;
                tx.insert_deployments(&[deployment_row(3, "a")]).await?;
                Ok((active, done, tx.active_deployment(&device("a")).await?))
            })
        })
        .await;
    assert_eq!((active, done, next), (Some(deployment_row(1, "a")), true, Some(deployment_row(3, "a"))));
    let of_a = on.read(|tx| Box::pin(async move { tx.device_deployments(&device("a"), 10).await })).await;
    assert_eq!(of_a.iter().map(|row| row.rollout).collect::<Vec<_>>(), [rollout(3), rollout(1)]);
}

pub(crate) async fn a_report_needs_the_version_it_read(on: Fixture) {
    let next = DeploymentRow {
        status: "in_progress".into(),
        step: Some("downloading".into()),
        detail: Some("{}".into()),
        version: 2,
        started_at: Some(at(4)),
        updated_at: at(4),
        ..deployment_row(1, "a")
    };
    let update = next.clone();
    let outcome = on
        .write(move |tx| {
            Box::pin(async move {
                tx.insert_deployments(&[deployment_row(1, "a")]).await?;
                let locked = tx.deployment_for_update(&key(1, "a")).await?;
                let done = (tx.update_deployment(&update, 1).await?, tx.update_deployment(&update, 1).await?);
                Ok((locked, done, tx.deployment(&key(1, "a")).await?, tx.deployment(&key(2, "a")).await?))
            })
        })
        .await;
    assert_eq!(outcome, (Some(deployment_row(1, "a")), (true, false), Some(next), None));
}

pub(crate) async fn candidates_meet_every_piece(on: Fixture) {
    on.write(|tx| {
        Box::pin(async move {
            for (name, hardware, status, tags) in [
                ("a", "r1", "active", r#"["x","y"]"#),
                ("b", "r1", "active", r#"["x"]"#),
                ("c", "r2", "active", r#"["x"]"#),
                ("d", "r1", "suspended", r#"["x"]"#),
                ("e", "r1", "active", "[]"),
            ] {
                let row = DeviceRow {
                    hardware: hardware.into(),
                    status: status.into(),
                    tags: tags.into(),
                    ..device_row(name)
                };
                tx.insert_device(&row).await?;
            }
            // `b` is done with rollout 1 and free for others; `e` is busy with rollout 2.
            let done = DeploymentRow { status: "succeeded".into(), ..deployment_row(1, "b") };
            tx.insert_deployments(&[done, deployment_row(2, "e")]).await.map(drop)
        })
    })
    .await;
    let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
    for (number, selector, expected, count) in [
        (1, DeviceSelector::default(), vec!["a", "c", "d"], 5),
        (3, DeviceSelector::default(), vec!["a", "b", "c", "d"], 5),
        (3, DeviceSelector { hardware: texts(&["r1", "r9"]), ..Default::default() }, vec!["a", "b", "d"], 4),
        (3, DeviceSelector { statuses: texts(&["active"]), ..Default::default() }, vec!["a", "b", "c"], 4),
        (3, DeviceSelector { tags: texts(&["x", "y"]), ..Default::default() }, vec!["a"], 1),
        (3, DeviceSelector { devices: vec![device("c"), device("e")], ..Default::default() }, vec!["c"], 2),
        (3, DeviceSelector { class: Some("sensor".into()), ..Default::default() }, vec![], 0),
        (3, DeviceSelector { environment: Some("prod".into()), ..Default::default() }, vec![], 0),
        (3, DeviceSelector { site: Some("Wien".into()), ..Default::default() }, vec![], 0),
    ] {
        let asked = selector.clone();
        let (rows, counted) = on
            .read(move |tx| {
                Box::pin(async move {
                    let rows = tx.candidates(rollout(number), &asked, None, 10).await?;
                    Ok((rows, tx.count_selected(&asked).await?))
                })
            })
            .await;
        assert_eq!(rows.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), expected, "{selector:?}");
        assert_eq!(counted, count, "{selector:?}");
    }
    let page = on
        .read(|tx| {
            Box::pin(async move { tx.candidates(rollout(3), &DeviceSelector::default(), Some(&device("a")), 1).await })
        })
        .await;
    assert_eq!(page.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), ["b"]);
}

pub(crate) async fn deployments_are_counted_and_paged(on: Fixture) {
    let (counts, queued, page, silent) = on
        .write(|tx| {
            Box::pin(async move {
                let failed = DeploymentRow {
                    status: "failed".into(),
                    hardware: "r2".into(),
                    updated_at: at(3),
                    ..deployment_row(1, "c")
                };
                let later = DeploymentRow { updated_at: at(8), ..deployment_row(1, "b") };
                tx.insert_deployments(&[deployment_row(1, "a"), later, failed]).await?;
                Ok((
                    tx.deployment_counts(rollout(1)).await?,
                    tx.deployments(rollout(1), Some("queued"), None, 10).await?,
                    tx.deployments(rollout(1), None, Some((&device("a"), "update")), 1).await?,
                    tx.silent_deployments(rollout(1), at(5), 10).await?,
                ))
            })
        })
        .await;
    let count = |hardware: &str, status: &str, count, secs| DeploymentCount {
        kind: "update".into(),
        phase: 0,
        hardware: hardware.into(),
        status: status.into(),
        count,
        oldest_update: at(secs),
    };
    assert_eq!(counts, [count("r1", "queued", 2, 1), count("r2", "failed", 1, 3)]);
    let names = |rows: &[DeploymentRow]| rows.iter().map(|row| row.device.to_string()).collect::<Vec<_>>();
    assert_eq!(
        (names(&queued), names(&page), names(&silent)),
        (vec!["a".into(), "b".into()], vec!["b".into()], vec!["a".into()])
    );
}
