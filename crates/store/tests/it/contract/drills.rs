use fleetward_store::{CertificateRow, DeploymentRow, DeviceRow, PresenceRow, TookRow};

use super::identity::certificate;
use crate::support::{Fixture, at, deployment_row, device, device_row, rollout};

pub(crate) async fn a_drill_sees_what_a_revocation_takes(on: Fixture) {
    on.elsewhere(|tx| {
        Box::pin(async move {
            tx.insert_device(&device_row("a")).await?;
            tx.insert_certificate(&certificate("09", "a", 1)).await
        })
    })
    .await;
    let (met, before, revoked, after) = on
        .write(|tx| {
            Box::pin(async move {
                for name in ["a", "b", "c"] {
                    tx.insert_device(&device_row(name)).await?;
                }
                let seen = PresenceRow {
                    device: device("a"),
                    online: true,
                    last_seen: Some(at(7)),
                    connected_at: None,
                    disconnected_at: None,
                    reason: None,
                    address: None,
                };
                tx.put_presence(&[seen]).await?;
                for (serial, name, status) in
                    [("01", "a", "active"), ("02", "a", "retired"), ("03", "b", "revoked"), ("04", "c", "active")]
                {
                    tx.insert_certificate(&CertificateRow { status: status.into(), ..certificate(serial, name, 1) })
                        .await?;
                }
                let names = [device("a"), device("b"), device("nobody")];
                let met = tx.met_devices(&names).await?;
                let before = tx.prospects_of(&names).await?;
                let revoked = tx.revoke_certificates_of(&names, "lost", at(9)).await?;
                Ok((met, before, revoked, tx.prospects_of(&names).await?))
            })
        })
        .await;
    let met: Vec<_> = met.iter().map(|row| (row.device.as_str(), row.online, row.last_seen)).collect();
    assert_eq!(met, [("a", true, Some(at(7))), ("b", false, None)]);
    let rows: Vec<_> = before.iter().map(|row| (row.serial.as_str(), row.revocable, row.replaceable)).collect();
    assert_eq!(rows, [("01", true, true), ("02", true, false), ("03", false, false)]);
    let mut taken: Vec<_> = revoked.iter().map(|row| row.serial.as_str()).collect();
    taken.sort_unstable();
    let foretold: Vec<_> = before.iter().filter(|row| row.revocable).map(|row| row.serial.as_str()).collect();
    assert_eq!(taken, foretold);
    assert!(after.iter().all(|row| !row.revocable && !row.replaceable));
}

pub(crate) async fn a_drill_sees_who_goes_back(on: Fixture) {
    let done = |number: u32, name: &str, secs: i64| DeploymentRow {
        status: "succeeded".into(),
        from_version: Some("1.0".into()),
        started_at: Some(at(secs - 1)),
        finished_at: Some(at(secs)),
        ..deployment_row(number, name)
    };
    let (all, rest, took, nothing) = on
        .write(move |tx| {
            Box::pin(async move {
                for name in ["a", "b", "c"] {
                    let row = DeviceRow { firmware: Some("2.0".into()), ..device_row(name) };
                    tx.insert_device(&row).await?;
                }
                let tried = DeploymentRow {
                    status: "failed".into(),
                    started_at: Some(at(6)),
                    finished_at: Some(at(7)),
                    ..deployment_row(2, "b")
                };
                tx.insert_deployments(&[done(1, "a", 5), done(1, "b", 5), done(1, "c", 9), tried]).await?;
                Ok((
                    tx.ways_back(rollout(1), "", 2).await?,
                    tx.ways_back(rollout(1), "b", 2).await?,
                    tx.deployments_took(rollout(1), "update").await?,
                    tx.deployments_took(rollout(1), "rollback").await?,
                ))
            })
        })
        .await;
    let lines: Vec<_> = all.iter().map(|row| (row.device.as_str(), row.firmware.as_deref(), row.overwritten)).collect();
    assert_eq!(lines, [("a", Some("2.0"), false), ("b", Some("2.0"), true)]);
    assert_eq!(rest.iter().map(|row| row.device.as_str()).collect::<Vec<_>>(), ["c"]);
    assert_eq!((took, nothing), (TookRow { count: 3, millis: 3000 }, TookRow::default()));
}

pub(crate) async fn a_drill_sees_tokens_that_wait(on: Fixture) {
    let waiting = on
        .write(|tx| {
            Box::pin(async move {
                for (number, name) in [(1, "a"), (2, "b"), (3, "c")] {
                    tx.insert_enroll_token(&super::identity::enroll_token(number, name)).await?;
                }
                tx.revoke_enroll_tokens_of(&[device("b")], at(2)).await?;
                let names = [device("a"), device("b"), device("d")];
                Ok((tx.with_waiting_token(&names, at(1)).await?, tx.with_waiting_token(&names, at(1_000_000)).await?))
            })
        })
        .await;
    assert_eq!(waiting, (vec![device("a")], vec![]));
}
