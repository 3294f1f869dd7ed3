use fleetward_store::{ShadowEventRow, ShadowRow};

use crate::support::{Fixture, at, device, device_row, entry, shadow_row};

pub(crate) async fn shadow_versions_decide(on: Fixture) {
    let outcome = on
        .write(|tx| {
            Box::pin(async move {
                let new = tx.put_shadow(&shadow_row("a", 1), None).await?;
                let late = tx.put_shadow(&shadow_row("a", 1), None).await?;
                let next = tx.put_shadow(&shadow_row("a", 2), Some(1)).await?;
                let stale = tx.put_shadow(&shadow_row("a", 2), Some(1)).await?;
                let absent = tx.put_shadow(&shadow_row("b", 2), Some(1)).await?;
                let read = tx.shadow(&device("a"), "").await?;
                let locked = tx.shadow_for_update(&device("a"), "").await?;
                assert_eq!(read, locked);
                Ok((new, late, next, stale, absent, read, tx.shadow_for_update(&device("b"), "").await?))
            })
        })
        .await;
    assert_eq!(outcome, (true, false, true, false, false, Some(shadow_row("a", 2)), None));

    let (names, rest, deleted) = on
        .write(|tx| {
            Box::pin(async move {
                for name in ["alpha", "beta", "gone"] {
                    let deleted_at = (name == "gone").then(|| at(9));
                    tx.put_shadow(&ShadowRow { name: name.into(), deleted_at, ..shadow_row("a", 1) }, None).await?;
                }
                let names = tx.shadow_names(&device("a"), Some(""), 10).await?;
                let rest = tx.shadow_names(&device("a"), Some("alpha"), 10).await?;
                Ok((names, rest, tx.shadow(&device("a"), "gone").await?.and_then(|row| row.deleted_at)))
            })
        })
        .await;
    assert_eq!((names, rest), (vec!["alpha".to_owned(), "beta".to_owned()], vec!["beta".to_owned()]));
    assert_eq!(deleted, Some(at(9)));
}

fn event(of: &str, number: u64) -> ShadowEventRow {
    ShadowEventRow {
        device: device(of),
        name: String::new(),
        number,
        version: number,
        at: at(i64::try_from(number).expect("small")),
        actor_kind: "device".into(),
        actor: of.into(),
        patch: format!(r#"{{"reported":{{"n":{number}}}}}"#),
    }
}

/// Sixty-four updates with their history and journal wait for PostgreSQL five times, not two hundred and fifty.
pub(crate) async fn many_shadows_are_one_round(on: Fixture) {
    let names: Vec<String> = (0..64).map(|n| format!("gw-{n:02}")).collect();
    let rows: Vec<ShadowRow> = names.iter().map(|name| shadow_row(name, 1)).collect();
    let made = rows.clone();
    on.write(|tx| {
        Box::pin(async move {
            for row in &made {
                assert!(tx.insert_shadow(row).await?);
            }
            assert!(!tx.insert_shadow(&shadow_row("gw-00", 1)).await?);
            Ok(())
        })
    })
    .await;
    on.elsewhere(|tx| Box::pin(async move { tx.insert_shadow(&shadow_row("gw-00", 7)).await })).await;

    let before = on.store.round_trips();
    let (keys, expected) = (names.clone(), rows.clone());
    on.write(|tx| {
        Box::pin(async move {
            let absent = device("absent");
            let ids: Vec<_> = keys.iter().map(|name| device(name)).collect();
            // In whatever order they are asked for, and with one that is not there.
            let asked: Vec<_> = ids.iter().rev().chain([&absent]).map(|id| (id, "")).collect();
            let mut found = tx.shadows_for_update(&asked).await?;
            found.sort_by(|one, other| one.device.cmp(&other.device));
            assert_eq!(found, expected);
            let next: Vec<(ShadowRow, u64)> =
                found.into_iter().map(|row| (ShadowRow { version: 2, ..row }, 1)).collect();
            assert_eq!(tx.update_shadows(&next).await?, 64);
            let events: Vec<_> = keys.iter().map(|name| event(name, 2)).collect();
            assert_eq!(tx.add_shadow_events(&events).await?, 64);
            let entries: Vec<_> = keys.iter().map(|_| entry("shadow.updated")).collect();
            tx.journal_all(&entries).await?;
            Ok(())
        })
    })
    .await;
    let waited = on.store.round_trips() - before;
    assert!(waited == 0 || waited == 5, "waited {waited} times");

    // One that is no longer at its version is not counted, and its neighbour in another tenant is as it was.
    let stale = [(shadow_row("gw-00", 3), 1), (shadow_row("gw-01", 3), 2)];
    let written = on.write(|tx| Box::pin(async move { tx.update_shadows(&stale).await })).await;
    assert_eq!(written, 1);
    let neighbour = on.elsewhere(|tx| Box::pin(async move { tx.shadow(&device("gw-00"), "").await })).await;
    assert_eq!(neighbour.map(|row| row.version), Some(7));
}

pub(crate) async fn histories_are_numbered_paged_and_thinned_out(on: Fixture) {
    on.write(|tx| {
        Box::pin(async move {
            let mut events: Vec<_> = (1..=10).map(|number| event("a", number)).collect();
            events.push(ShadowEventRow { name: "config".into(), ..event("a", 1) });
            events.push(event("b", 1));
            tx.add_shadow_events(&events).await
        })
    })
    .await;
    on.elsewhere(|tx| Box::pin(async move { tx.add_shadow_events(&[event("a", 5)]).await })).await;

    let numbers = |rows: Vec<ShadowEventRow>| rows.into_iter().map(|row| row.number).collect::<Vec<_>>();
    let (first, next, last, oldest) = on
        .write(|tx| {
            Box::pin(async move {
                let a = device("a");
                Ok((
                    tx.shadow_history(&a, "", None, 4).await?,
                    tx.shadow_history(&a, "", Some(7), 4).await?,
                    tx.shadow_history(&a, "", Some(1), 4).await?,
                    tx.oldest_shadow_events(&a, "", 2).await?,
                ))
            })
        })
        .await;
    assert_eq!(first.first(), Some(&event("a", 10)));
    assert_eq!((numbers(first), numbers(next), numbers(last)), (vec![10, 9, 8, 7], vec![6, 5, 4, 3], vec![]));
    assert_eq!(oldest, [event("a", 1), event("a", 2)]);

    let (dropped, rewritten, left, all, rest) = on
        .write(|tx| {
            Box::pin(async move {
                let a = device("a");
                let dropped = tx.drop_shadow_events(&a, "", &[1, 2, 3, 5, 99]).await?;
                let patches = [(4, "{}".to_owned()), (6, r#"{"x":1}"#.to_owned()), (99, "{}".to_owned())];
                let rewritten = tx.rewrite_shadow_events(&a, "", &patches).await?;
                let all = tx.shadow_histories(None, 10).await?;
                let rest = tx.shadow_histories(Some((&a, "")), 1).await?;
                Ok((dropped, rewritten, tx.oldest_shadow_events(&a, "", 3).await?, all, rest))
            })
        })
        .await;
    assert_eq!((dropped, rewritten), (4, 2));
    let patches: Vec<_> = left.iter().map(|row| (row.number, row.patch.as_str())).collect();
    assert_eq!(patches, [(4, "{}"), (6, r#"{"x":1}"#), (7, r#"{"reported":{"n":7}}"#)]);
    let seen: Vec<_> = all.iter().map(|row| (row.device.as_str(), row.name.as_str(), row.events, row.oldest)).collect();
    assert_eq!(seen, [("a", "", 6, at(4)), ("a", "config", 1, at(1)), ("b", "", 1, at(1))]);
    assert_eq!(rest.first().map(|row| row.name.as_str()), Some("config"));
    let foreign = on.elsewhere(|tx| Box::pin(async move { tx.shadow_history(&device("a"), "", None, 10).await })).await;
    assert_eq!(numbers(foreign), [5]);

    let (configs, past, strays) = on
        .write(|tx| {
            Box::pin(async move {
                tx.insert_device(&device_row("a")).await?;
                for (of, name) in [("a", "config"), ("b", "config"), ("b", ""), ("c", "config")] {
                    let deleted_at = (of == "c").then(|| at(9));
                    let row = ShadowRow { name: name.into(), deleted_at, ..shadow_row(of, 1) };
                    tx.insert_shadow(&row).await?;
                }
                let configs = tx.config_shadows(None, 10).await?;
                let past = tx.config_shadows(Some(&device("a")), 10).await?;
                Ok((configs, past, (tx.unregistered_shadows(10).await?, tx.unregistered_shadows(1).await?)))
            })
        })
        .await;
    let devices: Vec<_> = configs.iter().map(|row| row.device.as_str()).collect();
    assert_eq!((devices, past.len(), strays), (vec!["a", "b", "c"], 2, (2, 1)));
    // What a device leaves goes with it.
    let gone = on
        .write(|tx| {
            Box::pin(async move {
                tx.forget_device_state(&device("a")).await?;
                tx.shadow_histories(None, 10).await
            })
        })
        .await;
    assert_eq!(gone.iter().map(|row| row.device.as_str()).collect::<Vec<_>>(), ["b"]);
}
