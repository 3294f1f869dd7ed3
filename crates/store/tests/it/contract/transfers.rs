//! Offers of devices to another tenant.

use fleetward_store::{StoreErrorKind, TransferRow};

use crate::support::{Fixture, at, device, device_row, shadow_row, tenant, transfer};

fn row(number: u32, name: &str) -> TransferRow {
    TransferRow {
        id: transfer(number),
        device: device(name),
        to_tenant: tenant("umbrella"),
        hash: vec![u8::try_from(number).expect("small"); 32],
        created_by: "ops".into(),
        created_at: at(1),
        expires_at: at(100),
        accepted_at: None,
        canceled_at: None,
    }
}

pub(crate) async fn offers_end_once(on: Fixture) {
    let (open, late, read, pages) = on
        .write(|tx| {
            Box::pin(async move {
                for (number, name) in [(1, "a"), (2, "b"), (3, "c"), (4, "c")] {
                    tx.insert_transfer(&row(number, name)).await?;
                }
                let open = tx.open_transfer(&device("a"), at(99)).await?;
                let late = tx.open_transfer(&device("a"), at(100)).await?;
                let read = (tx.transfer_for_update(transfer(2)).await?, tx.transfer_for_update(transfer(9)).await?);
                let pages = (tx.transfers(None, 2).await?, tx.transfers(Some(transfer(4)), 2).await?);
                Ok((open, late, read, pages))
            })
        })
        .await;
    assert_eq!((open, late, read), (Some(row(1, "a")), None, (Some(row(2, "b")), None)));
    assert_eq!(pages, (vec![row(1, "a"), row(2, "b")], vec![]));

    let (accepted, canceled, of_device, open) = on
        .write(|tx| {
            Box::pin(async move {
                let accepted = (
                    tx.accept_transfer(transfer(1), at(5)).await?,
                    tx.accept_transfer(transfer(1), at(6)).await?,
                    tx.cancel_transfer(transfer(1), at(6)).await?,
                );
                let canceled = (
                    tx.cancel_transfer(transfer(2), at(7)).await?,
                    tx.cancel_transfer(transfer(2), at(8)).await?,
                    tx.accept_transfer(transfer(2), at(8)).await?,
                );
                let of_device = tx.cancel_transfers(&device("c"), at(9)).await?;
                let open = (tx.open_transfer(&device("a"), at(9)).await?, tx.open_transfer(&device("b"), at(9)).await?);
                Ok((accepted, canceled, of_device, open))
            })
        })
        .await;
    assert_eq!((accepted, canceled, of_device), ((true, false, false), (true, false, false), 2));
    assert_eq!(open, (None, None));

    let found = on.system(|tx| Box::pin(async move { tx.transfer_by_hash(&[1; 32]).await })).await;
    assert_eq!(found.map(|of| (of.tenant, of.row.accepted_at)), Some((Some(on.acme.clone()), Some(at(5)))));
    let nobody = on.system(|tx| Box::pin(async move { tx.transfer_by_hash(&[9; 32]).await })).await;
    assert_eq!(nobody, None);

    let umbrella = tenant("umbrella");
    let taken = on.store.write(&umbrella, "test", |tx| {
        Box::pin(async move { tx.insert_transfer(&TransferRow { hash: vec![2; 32], ..row(1, "a") }).await })
    });
    assert_eq!(taken.await.expect_err("the code is of acme").kind, StoreErrorKind::Conflict);
    let (hidden, forgotten) = on
        .system(|tx| {
            Box::pin(async move {
                let theirs = tx.enter(&tenant("umbrella")).await?;
                let hidden =
                    (theirs.transfers(None, 5).await?.len(), theirs.cancel_transfer(transfer(3), at(9)).await?);
                let ours = tx.enter(&tenant("acme")).await?;
                Ok((hidden, (ours.forget_transfers(at(7)).await?, ours.forget_transfers(at(10)).await?)))
            })
        })
        .await;
    assert_eq!((hidden, forgotten), ((0, false), (1, 3)));
}

pub(crate) async fn the_state_of_a_device_is_forgotten(on: Fixture) {
    let (device_stays, state, others) = on
        .write(|tx| {
            Box::pin(async move {
                for name in ["a", "b"] {
                    tx.insert_device(&device_row(name)).await?;
                    tx.put_shadow(&shadow_row(name, 1), None).await?;
                }
                tx.forget_device_state(&device("a")).await?;
                let state = (tx.shadow(&device("a"), "").await?, tx.presence(&device("a")).await?);
                Ok((tx.device(&device("a")).await?.is_some(), state, tx.shadow(&device("b"), "").await?.is_some()))
            })
        })
        .await;
    assert_eq!((device_stays, state, others), (true, (None, None), true));
}
