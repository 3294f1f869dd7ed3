use fleetward_store::{DeviceFilter, DeviceRow, HeartbeatRow, PresenceRow, SeenRow, StoreErrorKind};

use crate::support::{Fixture, at, device, device_row};

pub(crate) async fn a_device_is_written_and_read(on: Fixture) {
    let full = DeviceRow {
        firmware: Some("1.0".into()),
        owner: Some("Ada".into()),
        environment: Some("prod".into()),
        site: Some("Wien".into()),
        location: Some("48.2,16.4".into()),
        parent: Some(device("parent")),
        endpoint: Some("10.0.0.1".into()),
        tags: r#"["a","b"]"#.into(),
        attributes: r#"{"colour":"grün"}"#.into(),
        certificate_serial: Some("0a".into()),
        certificate_not_after: Some(at(9)),
        heartbeat_s: Some(60),
        provisioned_at: Some(at(2)),
        ..device_row("gw-1")
    };
    let row = full.clone();
    let changed = DeviceRow { status: "suspended".into(), revision: 2, updated_at: at(5), ..full.clone() };
    let update = changed.clone();
    let (read, locked, none) = on
        .write(move |tx| {
            Box::pin(async move {
                tx.insert_device(&row).await?;
                let read = tx.device(&row.id).await?;
                Ok((read, tx.device_for_update(&row.id).await?, tx.device(&device("none")).await?))
            })
        })
        .await;
    assert_eq!((read, locked, none), (Some(full.clone()), Some(full), None));

    let taken =
        on.store.write(&on.acme, "test", |tx| Box::pin(async move { tx.insert_device(&device_row("gw-1")).await }));
    assert_eq!(taken.await.expect_err("the name is taken").kind, StoreErrorKind::Conflict);

    let outcome = on
        .write(move |tx| {
            Box::pin(async move {
                let stale = tx.update_device(&update, 7).await?;
                let done = tx.update_device(&update, 1).await?;
                let read = tx.device(&update.id).await?;
                tx.put_presence(&[presence("gw-1", true)]).await?;
                let gone = (tx.delete_device(&update.id).await?, tx.delete_device(&update.id).await?);
                Ok((stale, done, read, gone, tx.presence(&update.id).await?))
            })
        })
        .await;
    assert_eq!(outcome, (false, true, Some(changed), (true, false), None));
}

pub(crate) async fn devices_are_filtered_and_paged(on: Fixture) {
    on.write(|tx| {
        Box::pin(async move {
            for (name, hardware, status, tags, firmware) in [
                ("B-2", "r2", "active", r#"["blue","x"]"#, Some("2.0")),
                ("a-1", "r1", "active", r#"["blue"]"#, Some("1.0")),
                ("a-2", "r1", "suspended", "[]", None),
                ("a_3", "r1", "active", r#"["x\",\"blue"]"#, None),
            ] {
                let row = DeviceRow {
                    hardware: hardware.into(),
                    status: status.into(),
                    tags: tags.into(),
                    firmware: firmware.map(str::to_owned),
                    site: (name == "a-2").then(|| "Wien".to_owned()),
                    ..device_row(name)
                };
                tx.insert_device(&row).await?;
            }
            tx.put_presence(&[presence("a-1", true), presence("a-2", false)]).await
        })
    })
    .await;
    let some = |text: &str| Some(text.to_owned());
    for (filter, expected) in [
        // Both engines sort and compare bytewise.
        (DeviceFilter::default(), vec!["B-2", "a-1", "a-2", "a_3"]),
        (DeviceFilter { status: some("suspended"), ..Default::default() }, vec!["a-2"]),
        (DeviceFilter { hardware: some("r2"), ..Default::default() }, vec!["B-2"]),
        (DeviceFilter { firmware: some("1.0"), ..Default::default() }, vec!["a-1"]),
        (DeviceFilter { class: some("gateway"), prefix: some("a-"), ..Default::default() }, vec!["a-1", "a-2"]),
        (DeviceFilter { class: some("none"), ..Default::default() }, vec![]),
        (DeviceFilter { environment: some("prod"), ..Default::default() }, vec![]),
        (DeviceFilter { site: some("Wien"), ..Default::default() }, vec!["a-2"]),
        (DeviceFilter { tags: vec!["blue".into()], ..Default::default() }, vec!["B-2", "a-1"]),
        (DeviceFilter { tags: vec!["x".into(), "blue".into()], ..Default::default() }, vec!["B-2"]),
        (DeviceFilter { tags: vec!["x\",\"blue".into()], ..Default::default() }, vec!["a_3"]),
        (DeviceFilter { online: Some(true), ..Default::default() }, vec!["a-1"]),
        (DeviceFilter { online: Some(false), ..Default::default() }, vec!["B-2", "a-2", "a_3"]),
        (DeviceFilter { prefix: some("'; DROP TABLE device; --"), ..Default::default() }, vec![]),
    ] {
        let asked = filter.clone();
        let rows = on.read(move |tx| Box::pin(async move { tx.devices(&asked, None, 10).await })).await;
        assert_eq!(rows.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), expected, "{filter:?}");
    }
    let page = on
        .read(|tx| Box::pin(async move { tx.devices(&DeviceFilter::default(), Some(&device("a-1")), 1).await }))
        .await;
    assert_eq!(page.first().map(|row| row.id.clone()), Some(device("a-2")));
    assert_eq!(page.len(), 1);
}

pub(crate) async fn devices_are_found_by_their_last_change(on: Fixture) {
    on.elsewhere(|tx| Box::pin(async move { tx.insert_device(&device_row("a-1")).await })).await;
    let found = on.write(|tx| {
        Box::pin(async move {
            for (name, second) in [("a-1", 3), ("a-2", 5), ("a-3", 5), ("a-4", 1)] {
                tx.insert_device(&DeviceRow { updated_at: at(second), ..device_row(name) }).await?;
            }
            let first = tx.devices_changed((at(3), ""), 2).await?;
            let rest = tx.devices_changed((at(5), "a-2"), 9).await?;
            Ok((first, rest))
        })
    });
    let (first, rest) = found.await;
    let names = |rows: &[DeviceRow]| rows.iter().map(|row| row.id.to_string()).collect::<Vec<_>>();
    assert_eq!((names(&first), names(&rest)), (vec!["a-1".to_owned(), "a-2".to_owned()], vec!["a-3".to_owned()]));
}

pub(crate) async fn only_those_with_a_heartbeat_are_expected(on: Fixture) {
    on.write(|tx| {
        Box::pin(async move {
            for (name, heartbeat_s) in [("a-1", Some(60)), ("a-2", None), ("a-3", Some(5))] {
                tx.insert_device(&DeviceRow { heartbeat_s, ..device_row(name) }).await?;
            }
            Ok(())
        })
    })
    .await;
    let (all, rest) = on
        .read(|tx| {
            Box::pin(async move { Ok((tx.heartbeats(None, 1).await?, tx.heartbeats(Some(&device("a-1")), 9).await?)) })
        })
        .await;
    assert_eq!(all, [HeartbeatRow { device: device("a-1"), every_s: 60 }]);
    assert_eq!(rest, [HeartbeatRow { device: device("a-3"), every_s: 5 }]);
}

pub(crate) async fn presence_only_moves_on(on: Fixture) {
    let all = on
        .write(|tx| {
            Box::pin(async move {
                tx.put_presence(&[]).await?;
                tx.put_presence(&[presence("a", true), presence("a", false), presence("b", true)]).await?;
                let seen = |name: &str, secs| SeenRow { device: device(name), at: at(secs) };
                tx.flush_last_seen(&[seen("a", 20), seen("b", 5), seen("c", 7), seen("c", 6)]).await?;
                Ok((
                    tx.presence(&device("a")).await?,
                    tx.presence(&device("b")).await?,
                    tx.presence(&device("c")).await?,
                ))
            })
        })
        .await;
    let seen_later = PresenceRow { last_seen: Some(at(20)), ..presence("a", false) };
    let new = PresenceRow {
        device: device("c"),
        online: false,
        last_seen: Some(at(7)),
        connected_at: None,
        disconnected_at: None,
        reason: None,
        address: None,
    };
    assert_eq!(all, (Some(seen_later), Some(presence("b", true)), Some(new)));

    let acme = on.acme.clone();
    let pages = on
        .system(move |tx| {
            Box::pin(async move {
                let first = tx.presences(None, 2).await?;
                Ok((first, tx.presences(Some((&acme, &device("b"))), 2).await?))
            })
        })
        .await;
    let names = |page: &[fleetward_store::Of<PresenceRow>]| {
        page.iter().map(|line| (line.tenant.clone(), line.row.device.to_string())).collect::<Vec<_>>()
    };
    let acme = Some(on.acme.clone());
    assert_eq!(names(&pages.0), [(acme.clone(), "a".to_owned()), (acme.clone(), "b".to_owned())]);
    assert_eq!(names(&pages.1), [(acme, "c".to_owned())]);
}

fn presence(name: &str, online: bool) -> PresenceRow {
    PresenceRow {
        device: device(name),
        online,
        last_seen: Some(at(10)),
        connected_at: Some(at(9)),
        disconnected_at: (!online).then(|| at(10)),
        reason: (!online).then(|| "closed".to_owned()),
        address: Some("192.0.2.1:5".into()),
    }
}
