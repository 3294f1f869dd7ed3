use fleetward_store::{
    CampaignRow, CertificateRow, DeviceSelector, ExpiringRow, MemberRow, PendingRow, RenewalRequestRow, RotationRow,
    StandingRow, StoreErrorKind,
};

use crate::support::{Fixture, at, device, device_row, rollout};

fn certificate(serial: &str, name: &str, secs: i64, status: &str) -> CertificateRow {
    CertificateRow {
        serial: serial.into(),
        device: device(name),
        authority: "aa".into(),
        fingerprint: format!("f{serial}"),
        request: vec![1; 32],
        not_before: at(secs),
        not_after: at(secs + 1000),
        der: vec![0x30, 1],
        status: status.into(),
        issued_at: at(secs),
        proven_at: None,
        revoked_at: None,
        reason: None,
        way: "token".into(),
        source: None,
    }
}

fn place(serial: &str, name: &str, deadline: Option<i64>, alert: Option<i64>) -> RotationRow {
    RotationRow {
        serial: serial.into(),
        device: device(name),
        id: format!("r{serial}"),
        deadline: deadline.map(at),
        sessions: 0,
        session_at: None,
        alert_at: alert.map(at),
    }
}

pub(crate) async fn ladders_are_climbed(on: Fixture) {
    let (ladder, stepped, after) = on
        .write(|tx| {
            Box::pin(async move {
                for (serial, secs, status) in [("01", 1, "retired"), ("02", 2, "active"), ("03", 3, "issued")] {
                    tx.insert_certificate(&certificate(serial, "a", secs, status)).await?;
                    tx.insert_rotation(&place(serial, "a", Some(50), None)).await?;
                }
                // One from before there were ladders.
                tx.insert_certificate(&certificate("04", "a", 4, "superseded")).await?;
                let ladder = tx.ladder(&device("a")).await?;
                let stepped = (
                    tx.step_certificate("03", "issued", "proven", Some(at(9)), None).await?,
                    tx.step_certificate("03", "issued", "proven", Some(at(10)), None).await?,
                    tx.step_certificate("02", "active", "retired", None, Some((at(11), "superseded"))).await?,
                    tx.step_certificate("99", "issued", "proven", None, None).await?,
                );
                let moved = RotationRow { sessions: 2, session_at: Some(at(9)), ..place("03", "a", None, Some(70)) };
                let updated =
                    (tx.update_rotation(&moved).await?, tx.update_rotation(&place("99", "a", None, None)).await?);
                assert_eq!(updated, (true, false));
                let (proven, retired) = (tx.certificate("03").await?, tx.certificate("02").await?);
                Ok((ladder, stepped, (proven, retired, tx.ladder(&device("a")).await?)))
            })
        })
        .await;
    let seen: Vec<_> = ladder.iter().map(|row| (row.serial.as_str(), row.status.as_str(), row.id.as_str())).collect();
    assert_eq!(seen, [("02", "active", "r02"), ("03", "issued", "r03"), ("04", "superseded", "04")]);
    assert_eq!(ladder.get(1).and_then(|row| row.deadline), Some(at(50)));
    assert_eq!(stepped, (true, false, true, false));
    let (proven, retired, ladder) = after;
    assert_eq!(proven.expect("there").proven_at, Some(at(9)));
    let retired = retired.expect("there");
    let listed = on
        .write(|tx| {
            Box::pin(
                async move { Ok((tx.crl_pending(5).await?, tx.revoked_with_tail("aa", "02", at(1000), 5).await?)) },
            )
        })
        .await;
    let serials = |rows: Vec<PendingRow>| rows.into_iter().map(|row| row.serial).collect::<Vec<_>>();
    assert_eq!(serials(listed.0), ["02"], "what ended waits for its list");
    assert_eq!(listed.1.iter().map(|row| (row.serial.as_str(), row.revoked_at)).collect::<Vec<_>>(), [("02", at(11))]);
    assert_eq!((retired.revoked_at, retired.reason.as_deref()), (Some(at(11)), Some("superseded")));
    let first = ladder.first().expect("one");
    assert_eq!((first.sessions, first.session_at, first.deadline), (2, Some(at(9)), None));

    // The same serial number is another tenant's own matter.
    let other = on.store.write(&on.umbrella, "test", |tx| {
        Box::pin(async move {
            let none = tx.ladder(&device("a")).await?;
            let theirs = CertificateRow { fingerprint: "theirs".into(), ..certificate("02", "a", 2, "issued") };
            tx.insert_certificate(&theirs).await?;
            tx.insert_rotation(&place("02", "a", Some(20), None)).await?;
            Ok::<_, fleetward_store::StoreError>(none)
        })
    });
    assert!(other.await.expect("written").is_empty());
    let twice = on
        .store
        .write(&on.acme, "test", |tx| Box::pin(async move { tx.insert_rotation(&place("02", "a", None, None)).await }));
    assert_eq!(twice.await.expect_err("it is there").kind, StoreErrorKind::Conflict);

    on.write(|tx| {
        Box::pin(async move {
            for (serial, name, status) in
                [("05", "b", "issued"), ("06", "b", "superseded"), ("07", "c", "revoked"), ("08", "d", "issued")]
            {
                tx.insert_certificate(&certificate(serial, name, 5, status)).await?;
                let deadline = if name == "d" { 51 } else { 50 };
                tx.insert_rotation(&place(serial, name, Some(deadline), None)).await?;
            }
            Ok(())
        })
    })
    .await;
    let (due, rest) = on
        .system(|tx| {
            Box::pin(async move {
                let due = tx.due_rotations(at(50), None, 10).await?;
                let last = due.first().and_then(|of| Some((of.tenant.clone()?, of.row.clone()))).expect("one");
                Ok((due, tx.due_rotations(at(50), Some((&last.0, &last.1)), 10).await?))
            })
        })
        .await;
    let seen: Vec<_> = due.iter().map(|of| (of.tenant.clone().expect("a tenant"), of.row.clone())).collect();
    let expected = [(on.acme.clone(), device("b")), (on.umbrella.clone(), device("a"))];
    assert_eq!(seen, expected, "each device once; a revoked one waits for nothing, nor does one that is at its end");
    assert_eq!(rest.len(), 1);
    assert_eq!(rest.first().and_then(|of| of.tenant.as_ref()), Some(&on.umbrella));
}

pub(crate) async fn ends_are_told(on: Fixture) {
    on.write(|tx| {
        Box::pin(async move {
            for (serial, status, alert) in [
                ("01", "active", Some(10)),
                ("02", "proven", Some(20)),
                ("03", "issued", None),
                ("04", "revoked", None),
            ] {
                tx.insert_certificate(&certificate(serial, "a", 1, status)).await?;
                tx.insert_rotation(&place(serial, "a", None, alert)).await?;
            }
            Ok(())
        })
    })
    .await;
    let (due, rest, counts) = on
        .system(|tx| {
            Box::pin(async move {
                let due = tx.due_alerts(at(20), None, 1).await?;
                let last = due.first().and_then(|of| Some((of.tenant.clone()?, of.row.serial.clone()))).expect("one");
                let rest = tx.due_alerts(at(20), Some((&last.0, &last.1)), 9).await?;
                Ok((due, rest, tx.count_expiring([at(1001), at(1002), at(5000)], at(500)).await?))
            })
        })
        .await;
    let expected = ExpiringRow {
        serial: "01".into(),
        device: device("a"),
        status: "active".into(),
        not_before: at(1),
        not_after: at(1001),
        told: None,
    };
    let first = due.into_iter().next().map(|of| of.row);
    assert_eq!((first, rest.len(), counts), (Some(expected), 1, [0, 2, 2]));
    let told = on
        .write(|tx| {
            Box::pin(async move {
                let first = tx.tell_expiry("01", Some(30), Some(at(60))).await?;
                let again = tx.tell_expiry("01", None, None).await?;
                Ok((first, again, tx.tell_expiry("99", Some(7), None).await?, tx.ladder(&device("a")).await?))
            })
        })
        .await;
    assert_eq!((told.0, told.1, told.2), (true, true, false));
    assert_eq!(told.3.first().and_then(|row| row.told), Some(30), "what was told stays told");
}

pub(crate) async fn devices_are_asked_to_renew(on: Fixture) {
    let request = |id: &str, at_once: bool, secs: i64| RenewalRequestRow {
        device: device("a"),
        id: id.into(),
        reason: "campaign".into(),
        at_once,
        asked_by: "ops".into(),
        asked_at: at(secs),
    };
    let (first, again, removed, none) = on
        .write(move |tx| {
            Box::pin(async move {
                tx.put_renewal_request(&request("1", true, 5)).await?;
                let first = tx.renewal_request(&device("a")).await?;
                tx.put_renewal_request(&request("2", false, 6)).await?;
                let again = tx.renewal_request(&device("a")).await?;
                let removed =
                    (tx.remove_renewal_request(&device("a")).await?, tx.remove_renewal_request(&device("a")).await?);
                Ok((first, again, removed, tx.renewal_request(&device("a")).await?))
            })
        })
        .await;
    assert_eq!((first, again), (Some(request("1", true, 5)), Some(request("2", true, 6))), "an emergency stays one");
    assert_eq!((removed, none), ((true, false), None));
}

fn campaign(number: u32, state: &str) -> CampaignRow {
    CampaignRow {
        id: rollout(number),
        name: format!("campaign {number}"),
        renewal: "{}".into(),
        selector: "{}".into(),
        policy: "{}".into(),
        state: state.into(),
        phase: 0,
        phase_started_at: None,
        gate_met_at: None,
        pause_reason: None,
        target_count: 3,
        created_by: "ops".into(),
        created_at: at(1),
        updated_at: at(1),
        revision: 1,
    }
}

fn member(number: u32, name: &str, status: &str) -> MemberRow {
    MemberRow {
        campaign: rollout(number),
        device: device(name),
        phase: 0,
        hardware: "r1".into(),
        status: status.into(),
        queued_at: at(2),
        asked_at: None,
        finished_at: None,
    }
}

pub(crate) async fn campaigns_are_written_and_due(on: Fixture) {
    let (read, listed, running, updated, stale) = on
        .write(|tx| {
            Box::pin(async move {
                tx.insert_campaign(&campaign(1, "running")).await?;
                tx.insert_campaign(&campaign(2, "paused")).await?;
                let read = (tx.campaign(rollout(1)).await?, tx.campaign(rollout(9)).await?);
                let listed = tx.campaigns(None, Some(rollout(1)), 10).await?;
                let running = tx.campaigns(Some("running"), None, 10).await?;
                let mut row = tx.campaign_for_update(rollout(1)).await?.expect("there");
                (row.phase, row.phase_started_at, row.revision) = (1, Some(at(7)), 2);
                let updated = tx.update_campaign(&row, 1).await?;
                Ok((read, listed, running, updated, tx.update_campaign(&row, 1).await?))
            })
        })
        .await;
    assert_eq!(read, (Some(campaign(1, "running")), None));
    assert_eq!((listed, running), (vec![campaign(2, "paused")], vec![campaign(1, "running")]));
    assert_eq!((updated, stale), (true, false));

    let due = on.system(|tx| Box::pin(async move { tx.due_campaigns(None, 10).await })).await;
    assert_eq!(due.len(), 1, "nothing was asked in the paused one");
    on.write(|tx| Box::pin(async move { tx.insert_members(&[member(2, "a", "asked")]).await })).await;
    let due = on.system(|tx| Box::pin(async move { tx.due_campaigns(None, 10).await })).await;
    assert_eq!(due.iter().map(|of| of.row.id).collect::<Vec<_>>(), [rollout(1), rollout(2)]);
}

pub(crate) async fn members_renew_or_fail(on: Fixture) {
    let names = ["a", "b", "c", "d"];
    let (taken, cohorts, free) = on
        .write(move |tx| {
            Box::pin(async move {
                for name in names {
                    tx.insert_device(&device_row(name)).await?;
                }
                tx.insert_campaign(&campaign(1, "running")).await?;
                let rows = [member(1, "a", "waiting"), member(1, "b", "waiting"), member(1, "c", "waiting")];
                let taken = (tx.insert_members(&rows).await?.len(), tx.insert_members(&rows[..1]).await?.len());
                let all = DeviceSelector::default();
                let cohorts = tx.uncovered_cohorts(rollout(1), &all).await?;
                Ok((taken, cohorts, tx.campaign_candidates(rollout(1), &all, 10).await?))
            })
        })
        .await;
    assert_eq!(taken, (3, 0));
    let cohorts: Vec<_> = cohorts.iter().map(|cohort| (cohort.hardware.as_str(), cohort.count)).collect();
    assert_eq!((cohorts, free), (vec![("r1", 1)], vec![device("d")]));

    let (asked, settled, failed, canceled) = on
        .write(|tx| {
            Box::pin(async move {
                tx.insert_certificate(&certificate("01", "a", 5, "proven")).await?;
                tx.insert_certificate(&certificate("02", "b", 0, "active")).await?;
                let asked = (
                    tx.ask_member(rollout(1), &device("a"), at(4)).await?,
                    tx.ask_member(rollout(1), &device("b"), at(4)).await?,
                    tx.ask_member(rollout(1), &device("b"), at(5)).await?,
                );
                let settled = tx.settle_members(rollout(1), at(1), at(6)).await?;
                let early = tx.fail_members(rollout(1), at(4), at(7)).await?;
                assert!(early.is_empty());
                let failed = tx.fail_members(rollout(1), at(5), at(7)).await?;
                Ok((asked, settled, failed, tx.cancel_members(rollout(1), at(8)).await?))
            })
        })
        .await;
    assert_eq!(asked, (true, true, false));
    assert_eq!((settled, failed, canceled), (vec![device("a")], vec![device("b")], vec![device("c")]));
    let (standing, page, failed) = on
        .read(|tx| {
            Box::pin(async move {
                let page = tx.members(rollout(1), None, Some(&device("a")), 10).await?;
                let failed = tx.members(rollout(1), Some("failed"), None, 10).await?;
                Ok((tx.campaign_standing(rollout(1)).await?, page, failed))
            })
        })
        .await;
    let seen: Vec<_> = standing.iter().map(|StandingRow { status, count, .. }| (status.as_str(), *count)).collect();
    assert_eq!(seen, [("canceled", 1), ("failed", 1), ("renewed", 1)]);
    assert_eq!(page.iter().map(|row| row.device.clone()).collect::<Vec<_>>(), [device("b"), device("c")]);
    let ended = MemberRow { asked_at: Some(at(4)), finished_at: Some(at(7)), ..member(1, "b", "failed") };
    assert_eq!(failed, [ended]);
}
