use std::time::Duration;

use fleetward_store::{JournalEntry, JournalFilter, JournalRow, Seal, StoreErrorKind};

use crate::support::{Fixture, at, device, entry, uuid};

fn actions(rows: &[JournalRow]) -> Vec<&str> {
    rows.iter().map(|row| row.entry.action.as_str()).collect()
}

pub(crate) async fn the_journal_is_appended_and_paged(on: Fixture) {
    let full = JournalEntry {
        device: Some(device("a")),
        subject: Some("token 1".into()),
        severity: "warning".into(),
        at: at(50),
        request_id: Some(uuid(7).parse().expect("a UUID")),
        ..entry("device.enrolled")
    };
    let first = full.clone();
    let ids = on
        .write(move |tx| {
            Box::pin(async move {
                let first = tx.journal(&first).await?;
                let more = tx.journal_all(&[entry("rollout.started"), entry("rollout.paused")]).await?;
                assert!(tx.journal_all(&[]).await?.is_empty());
                Ok((first, more))
            })
        })
        .await;
    assert!(ids.1.iter().all(|id| *id > ids.0));
    let newest = on.system(|tx| Box::pin(async move { tx.newest_entry_at().await })).await;
    assert_eq!(newest, Some(entry("rollout.paused").at), "that of the last one written, not the latest of all");

    for (filter, expected) in [
        (JournalFilter::default(), vec!["rollout.paused", "rollout.started", "device.enrolled"]),
        (JournalFilter { device: Some(device("a")), ..Default::default() }, vec!["device.enrolled"]),
        (
            JournalFilter { action: Some("rollout.".into()), ..Default::default() },
            vec!["rollout.paused", "rollout.started"],
        ),
        (JournalFilter { action: Some("rollout._".into()), ..Default::default() }, vec![]),
        (JournalFilter { subject: Some("token 1".into()), ..Default::default() }, vec!["device.enrolled"]),
        (JournalFilter { severity: Some("warning".into()), ..Default::default() }, vec!["device.enrolled"]),
        (JournalFilter { since: Some(at(50)), ..Default::default() }, vec!["device.enrolled"]),
        (JournalFilter { until: Some(at(50)), ..Default::default() }, vec!["rollout.paused", "rollout.started"]),
        (JournalFilter { device: Some(device("a")), action: Some("rollout".into()), ..Default::default() }, vec![]),
    ] {
        let asked = filter.clone();
        let rows = on.read(move |tx| Box::pin(async move { tx.journal_page(&asked, None, 10).await })).await;
        assert_eq!(actions(&rows), expected, "{filter:?}");
    }
    let (newest, rest) = on
        .read(|tx| {
            Box::pin(async move {
                let newest = tx.journal_page(&JournalFilter::default(), None, 2).await?;
                let before = newest.last().map(|row| row.id);
                Ok((newest, tx.journal_page(&JournalFilter::default(), before, 2).await?))
            })
        })
        .await;
    assert_eq!(newest.len(), 2);
    assert_eq!(rest, [JournalRow { id: ids.0, seq: None, chain: None, entry: full }]);
}

pub(crate) async fn the_journal_is_followed(on: Fixture) {
    on.write(|tx| Box::pin(async move { tx.journal(&entry("a")).await })).await;
    on.store
        .write(&on.umbrella, "test", |tx| Box::pin(async move { tx.journal(&entry("other")).await }))
        .await
        .expect("the unit is written");
    on.write(|tx| Box::pin(async move { tx.journal_all(&[entry("b"), entry("c")]).await })).await;
    on.settled(3).await;
    let (all, head, rest, none) = on
        .read(|tx| {
            Box::pin(async move {
                let all = tx.journal_tail(0, 10).await?;
                let first = all.first().map_or(0, |row| row.id);
                let head = tx.journal_head().await?;
                Ok((all, head, tx.journal_tail(first, 10).await?, tx.journal_tail(head, 10).await?))
            })
        })
        .await;
    assert_eq!(actions(&all), ["a", "b", "c"]);
    assert_eq!(all.last().map(|row| row.id), Some(head));
    assert_eq!(actions(&rest), ["b", "c"]);
    assert_eq!(none, []);
}

pub(crate) async fn the_journal_is_sealed(on: Fixture) {
    on.write(|tx| Box::pin(async move { tx.journal_all(&[entry("a"), entry("b")]).await })).await;
    on.settled(2).await;
    let waiting = on.system(|tx| Box::pin(async move { tx.unsealed_tenants().await })).await;
    assert_eq!(waiting, [Some(on.acme.clone())]);

    let (none, sealed, again, last, page, open) = on
        .write(|tx| {
            Box::pin(async move {
                let none = tx.last_seal().await?;
                let rows = tx.unsealed(10).await?;
                let seals: Vec<Seal> = rows
                    .iter()
                    .zip(1..)
                    .map(|(row, seq)| Seal { id: row.id, seq, chain: vec![u8::try_from(seq).expect("small"); 32] })
                    .collect();
                let sealed = tx.seal(&seals).await?;
                let again = tx.seal(&seals).await?;
                let page = tx.sealed_page(1, 10).await?;
                Ok((none, sealed, again, tx.last_seal().await?, page, tx.unsealed(10).await?))
            })
        })
        .await;
    assert_eq!((none, sealed, again), (None, 2, 0));
    assert_eq!(last.map(|seal| (seal.seq, seal.chain)), Some((2, vec![2; 32])));
    assert_eq!((actions(&page), page.first().and_then(|row| row.seq)), (vec!["b"], Some(2)));
    assert_eq!(open, []);

    let taken = on.store.write(&on.acme, "test", |tx| {
        Box::pin(async move {
            let id = tx.journal(&entry("c")).await?;
            tx.seal(&[Seal { id, seq: 2, chain: vec![0; 32] }]).await
        })
    });
    assert_eq!(taken.await.expect_err("the number is taken").kind, StoreErrorKind::Conflict);
}

pub(crate) async fn commits_wake_followers(on: Fixture) {
    let mut watch = on.store.watch_journal();
    watch.mark_unchanged();
    let id = on.write(|tx| Box::pin(async move { tx.journal(&entry("a")).await })).await;
    // The follower of other servers may announce first that there is nothing; the row comes at the latest with its next look.
    let seen = tokio::time::timeout(Duration::from_secs(10), watch.wait_for(|last| *last >= id)).await;
    assert_eq!(*seen.expect("it comes").expect("the store is open"), id);
}
