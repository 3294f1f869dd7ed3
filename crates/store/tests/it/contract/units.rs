use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use fleetward_store::{DeviceFilter, ShadowRow, StoreError, StoreErrorKind};
use futures::future::join_all;

use crate::support::{Fixture, device, device_row, entry, shadow_row, tenant};

/// The error of a caller that has reasons of its own.
#[derive(Debug)]
enum Own {
    Refused,
    Store,
}

impl From<StoreError> for Own {
    fn from(_: StoreError) -> Self {
        Self::Store
    }
}

pub(crate) async fn tenants_do_not_see_each_other(on: Fixture) {
    on.write(|tx| Box::pin(async move { tx.insert_device(&device_row("a")).await })).await;
    let outcome = on
        .store
        .write(&on.umbrella, "test", |tx| {
            Box::pin(async move {
                let read = tx.device(&device("a")).await?;
                let listed = tx.devices(&DeviceFilter::default(), None, 10).await?;
                let updated = tx.update_device(&device_row("a"), 1).await?;
                let deleted = tx.delete_device(&device("a")).await?;
                // The same name is another device here.
                tx.insert_device(&device_row("a")).await?;
                Ok::<_, StoreError>((read, listed, updated, deleted, tx.own_tenant().await?.map(|row| row.id)))
            })
        })
        .await
        .expect("the unit is written");
    assert_eq!(outcome, (None, vec![], false, false, Some(tenant("umbrella"))));
    let still = on.read(|tx| Box::pin(async move { tx.device(&device("a")).await })).await;
    assert_eq!(still, Some(device_row("a")));
}

pub(crate) async fn a_failed_unit_leaves_nothing(on: Fixture) {
    let failed = on.store.write(&on.acme, "test", |tx| {
        Box::pin(async move {
            tx.insert_device(&device_row("a")).await?;
            tx.journal(&entry("device.created")).await?;
            Err::<(), Own>(Own::Refused)
        })
    });
    assert!(matches!(failed.await, Err(Own::Refused)));
    let left =
        on.read(|tx| Box::pin(async move { Ok((tx.device(&device("a")).await?, tx.journal_head().await?)) })).await;
    assert_eq!(left, (None, 0));
}

pub(crate) async fn a_panic_fails_its_unit_alone(on: Fixture) {
    let failed: Result<(), StoreError> = on
        .store
        .write(&on.acme, "the bad one", |tx| {
            Box::pin(async move {
                tx.insert_device(&device_row("a")).await?;
                panic!("on purpose")
            })
        })
        .await;
    let failed = failed.expect_err("it panicked");
    assert_eq!((failed.op, failed.kind), ("the bad one", StoreErrorKind::Other));
    on.write(|tx| Box::pin(async move { tx.insert_device(&device_row("a")).await })).await;
}

pub(crate) async fn a_passed_over_failure_is_not_committed(on: Fixture) {
    let passed_over = on.store.write(&on.acme, "test", |tx| {
        Box::pin(async move {
            tx.insert_device(&device_row("a")).await?;
            assert!(tx.insert_device(&device_row("a")).await.is_err());
            assert!(tx.device(&device("a")).await.is_err(), "no statement runs after a failed one");
            Ok::<_, StoreError>(())
        })
    });
    assert_eq!(passed_over.await.expect_err("it is not committed").kind, StoreErrorKind::Other);
    assert_eq!(on.read(|tx| Box::pin(async move { tx.device(&device("a")).await })).await, None);
}

pub(crate) async fn units_share_a_batch_and_fail_alone(on: Fixture) {
    let units = (0..100).map(|number| {
        on.store.write(&on.acme, "test", move |tx| {
            Box::pin(async move {
                tx.insert_device(&device_row(&format!("d{number:03}"))).await?;
                // Every third one fails after it has written.
                if number % 3 == 0 { Err(Own::Refused) } else { Ok(number) }
            })
        })
    });
    let results: Vec<Result<i32, Own>> = join_all(units).await;
    let done: Vec<i32> = results.iter().filter_map(|result| result.as_ref().ok()).copied().collect();
    assert_eq!(done, (0..100).filter(|number| number % 3 != 0).collect::<Vec<_>>());
    let kept = on.read(|tx| Box::pin(async move { tx.devices(&DeviceFilter::default(), None, 1000).await })).await;
    assert_eq!(kept.len(), done.len());
}

pub(crate) async fn two_writers_of_one_row(on: Fixture) {
    on.write(|tx| Box::pin(async move { tx.put_shadow(&shadow_row("a", 1), None).await })).await;
    let lost = Arc::new(AtomicU64::new(0));
    let writers = (0..4).map(|_| async {
        for _ in 0..25 {
            let lost = Arc::clone(&lost);
            on.write(move |tx| {
                Box::pin(async move {
                    let row = tx.shadow_for_update(&device("a"), "").await?.expect("it is there");
                    let next = ShadowRow { version: row.version + 1, ..row.clone() };
                    if !tx.put_shadow(&next, Some(row.version)).await? {
                        lost.fetch_add(1, Ordering::SeqCst);
                    }
                    Ok(())
                })
            })
            .await;
        }
    });
    join_all(writers).await;
    let version = on.read(|tx| Box::pin(async move { tx.shadow(&device("a"), "").await })).await;
    assert_eq!((version.map(|row| row.version), lost.load(Ordering::SeqCst)), (Some(101), 0));

    // Without the lock, one of those that read the same version loses and is told.
    let optimists = (0..8).map(|_| {
        on.write(|tx| {
            Box::pin(async move {
                let row = ShadowRow { version: 102, ..shadow_row("a", 102) };
                tx.put_shadow(&row, Some(101)).await
            })
        })
    });
    let won = join_all(optimists).await.into_iter().filter(|won| *won).count();
    assert_eq!(won, 1);
}

pub(crate) async fn an_entered_tenant_bounds_the_statements(on: Fixture) {
    let (acme, umbrella) = (on.acme.clone(), on.umbrella.clone());
    let seen = on
        .system(move |tx| {
            Box::pin(async move {
                tx.enter(&acme).await?.insert_device(&device_row("a")).await?;
                let other = tx.enter(&umbrella).await?.device(&device("a")).await?;
                let all = tx.tally_devices().await?.len();
                let back = tx.enter(&acme).await?.device(&device("a")).await?;
                Ok((other, all, back.is_some(), tx.installation().await?.journal_head().await?))
            })
        })
        .await;
    assert_eq!(seen, (None, 1, true, 0));
}

pub(crate) async fn a_reader_cannot_write(on: Fixture) {
    let refused =
        on.store.read(&on.acme, "test", |tx| Box::pin(async move { tx.insert_device(&device_row("a")).await })).await;
    assert!(refused.is_err());
    assert_eq!(on.read(|tx| Box::pin(async move { tx.device(&device("a")).await })).await, None);
    let across = on.store.system_read("test", |tx| Box::pin(async move { tx.tenants(None, 9).await })).await;
    assert_eq!(across.map(|rows: Vec<_>| rows.len()).map_err(|error: StoreError| error.kind), Ok(2));
}

pub(crate) async fn readers_see_a_snapshot(on: Fixture) {
    let (looked, look_again) = (Arc::new(tokio::sync::Notify::new()), Arc::new(tokio::sync::Notify::new()));
    let (seen, written) = (Arc::clone(&looked), Arc::clone(&look_again));
    let reading = on.read(move |tx| {
        Box::pin(async move {
            let before = tx.device(&device("a")).await?;
            seen.notify_one();
            written.notified().await;
            Ok((before, tx.device(&device("a")).await?))
        })
    });
    let writing = async {
        looked.notified().await;
        on.write(|tx| Box::pin(async move { tx.insert_device(&device_row("a")).await })).await;
        look_again.notify_one();
    };
    let (both, ()) = tokio::join!(reading, writing);
    assert_eq!(both, (None, None));
    assert!(on.read(|tx| Box::pin(async move { tx.device(&device("a")).await })).await.is_some());
}
