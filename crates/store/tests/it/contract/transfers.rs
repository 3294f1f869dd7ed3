//! Offers of devices to another tenant.

use fleetward_store::{
    AttestationRow, DeviceDidRow, DpsRegistrationRow, EnrollmentRequestRow, EnrollmentRow, FactoryCertificateRow,
    QueueRow, RenewalRequestRow, RetainedRow, ScepTransactionRow, SessionRow, StoreError, StoreErrorKind,
    SubscriptionRow, TenantTx, TransferRow,
};

use crate::support::{Fixture, at, device, device_row, shadow_row, tenant, token, transfer};

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
        to_device: None,
        wipe: None,
        wipe_by: None,
        told_at: None,
        overdue_at: None,
        completed_at: None,
        wiped: None,
        token: None,
    }
}

/// As it is accepted: to be wiped by `by`.
fn agreed(number: u32, name: &str, by: i64) -> TransferRow {
    TransferRow {
        to_device: Some(device("other")),
        wipe: Some("required".into()),
        wipe_by: Some(at(by)),
        ..row(number, name)
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
                let read = (tx.transfer_for_update(transfer(2)).await?, tx.transfer(transfer(9)).await?);
                assert_eq!(tx.transfer(transfer(2)).await?, read.0);
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
                    tx.accept_transfer(&agreed(1, "a", 50), at(5)).await?,
                    tx.accept_transfer(&agreed(1, "a", 50), at(6)).await?,
                    tx.complete_transfer(transfer(1), "confirmed", at(6)).await?,
                    tx.complete_transfer(transfer(1), "skipped", at(7)).await?,
                    tx.cancel_transfer(transfer(1), at(7)).await?,
                );
                let canceled = (
                    tx.cancel_transfer(transfer(2), at(7)).await?,
                    tx.cancel_transfer(transfer(2), at(8)).await?,
                    tx.accept_transfer(&agreed(2, "b", 50), at(8)).await?,
                    tx.complete_transfer(transfer(2), "confirmed", at(8)).await?,
                );
                let of_device = tx.cancel_transfers(&device("c"), at(9)).await?;
                let open = (tx.open_transfer(&device("a"), at(9)).await?, tx.open_transfer(&device("b"), at(9)).await?);
                Ok((accepted, canceled, of_device, open))
            })
        })
        .await;
    assert_eq!((accepted, canceled, of_device), ((true, false, true, false, false), (true, false, false, false), 2));
    assert_eq!(open, (None, None));

    let found = on.system(|tx| Box::pin(async move { tx.transfer_by_hash(&[1; 32]).await })).await;
    let ended = TransferRow {
        accepted_at: Some(at(5)),
        completed_at: Some(at(6)),
        wiped: Some("confirmed".into()),
        ..agreed(1, "a", 50)
    };
    assert_eq!(found.map(|of| (of.tenant, of.row)), Some((Some(on.acme.clone()), ended)));
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

pub(crate) async fn a_transfer_waits_for_its_device(on: Fixture) {
    let (waits, told, waiting) = on
        .write(|tx| {
            Box::pin(async move {
                for (number, name) in [(1, "a"), (2, "b"), (3, "c")] {
                    tx.insert_transfer(&row(number, name)).await?;
                }
                let before = tx.wiping_transfer(&device("a")).await?;
                tx.accept_transfer(&agreed(1, "a", 20), at(5)).await?;
                tx.accept_transfer(&agreed(2, "b", 10), at(5)).await?;
                let waits = (before, tx.wiping_transfer(&device("a")).await?.map(|row| row.id));
                let told = (
                    tx.tell_transfer(transfer(1), token(7), at(6)).await?,
                    tx.tell_transfer(transfer(1), token(8), at(9)).await?,
                    tx.tell_transfer(transfer(9), token(8), at(9)).await?,
                );
                Ok((waits, told, tx.wiping_transfer(&device("a")).await?))
            })
        })
        .await;
    assert_eq!((waits, told), ((None, Some(transfer(1))), (true, true, false)));
    let waiting = waiting.expect("it waits");
    assert_eq!((waiting.told_at, waiting.token), (Some(at(6)), Some(token(8))));

    let overdue = |now, limit| on.system(move |tx| Box::pin(async move { tx.overdue_transfers(now, limit).await }));
    let ids = |rows: Vec<fleetward_store::Of<TransferRow>>| rows.into_iter().map(|of| of.row.id).collect::<Vec<_>>();
    assert_eq!(ids(overdue(at(9), 9).await), []);
    assert_eq!(ids(overdue(at(20), 9).await), [transfer(2), transfer(1)]);
    assert_eq!(ids(overdue(at(20), 1).await), [transfer(2)]);
    let (marked, forgotten, gone) = on
        .write(|tx| {
            Box::pin(async move {
                let marked = (
                    tx.mark_transfer_overdue(transfer(2), at(10)).await?,
                    tx.mark_transfer_overdue(transfer(2), at(11)).await?,
                    tx.mark_transfer_overdue(transfer(9), at(11)).await?,
                );
                // What waits for its device is not forgotten, however old.
                let forgotten = tx.forget_transfers(at(1000)).await?;
                tx.cancel_transfer(transfer(1), at(12)).await?;
                let gone = (
                    tx.wiping_transfer(&device("a")).await?.is_some(),
                    tx.complete_transfer(transfer(1), "confirmed", at(13)).await?,
                    tx.tell_transfer(transfer(1), token(8), at(13)).await?,
                );
                Ok((marked, forgotten, gone))
            })
        })
        .await;
    assert_eq!((marked, forgotten, gone), ((true, false, false), 1, (false, false, false)));
    assert_eq!(ids(overdue(at(20), 9).await), []);
}

fn session(name: &str) -> SessionRow {
    SessionRow {
        client: name.into(),
        expiry_s: 60,
        disconnected_at: None,
        acked_seq: 0,
        protocol: 5,
        created_at: at(1),
    }
}

/// All that a device may leave behind.
async fn live(tx: &mut TenantTx, name: &str) -> Result<(), StoreError> {
    let text = |rest: &str| format!("{name}-{rest}");
    tx.insert_device(&device_row(name)).await?;
    tx.put_shadow(&shadow_row(name, 1), None).await?;
    tx.put_attestation(&AttestationRow::new(device(name), at(1))).await?;
    let did = DeviceDidRow {
        did: text("did"),
        device: device(name),
        key_id: "k".into(),
        public_key: vec![0x30],
        added_by: "ops".into(),
        added_at: at(1),
    };
    tx.insert_device_did(&did).await?;
    tx.hold_anchor(&device(name), "ff", at(1)).await?;
    let asked = RenewalRequestRow {
        device: device(name),
        id: "r".into(),
        reason: String::new(),
        at_once: false,
        asked_by: "ops".into(),
        asked_at: at(1),
    };
    tx.put_renewal_request(&asked).await?;
    let registration = DpsRegistrationRow {
        id: device(name),
        operation: "o".into(),
        status: "assigned".into(),
        enrollment: None,
        serial: None,
        request: None,
        payload: None,
        created_at: at(1),
        updated_at: at(1),
        revision: 1,
    };
    tx.put_dps_registration(&registration).await?;
    for kind in ["individual", "group"] {
        let keys = EnrollmentRow {
            kind: kind.into(),
            name: name.into(),
            primary_key: vec![1; 40],
            secondary_key: vec![2; 40],
            class: None,
            hardware: None,
            payload: None,
            created_by: "ops".into(),
            created_at: at(1),
            rotated_at: None,
            revoked_at: None,
            revision: 1,
        };
        tx.insert_enrollment(&keys).await?;
    }
    let request = EnrollmentRequestRow {
        id: text("request"),
        user_code: text("code"),
        device: device(name),
        way: "token".into(),
        key_fingerprint: None,
        facts: "{}".into(),
        address: None,
        state: "pending".into(),
        device_code: None,
        created_at: at(1),
        expires_at: at(100),
        decided_by: None,
        decided_at: None,
        note: None,
        token: None,
    };
    tx.insert_enrollment_request(&request).await?;
    let transaction = ScepTransactionRow {
        id: text("scep"),
        device: device(name),
        request: vec![1; 32],
        asker: vec![2; 32],
        waiting: None,
        created_at: at(1),
    };
    tx.keep_scep_transaction(&transaction).await?;
    let factory = FactoryCertificateRow {
        id: text("factory"),
        authority: "f".into(),
        name: name.into(),
        serial_number: None,
        device: Some(device(name)),
        der: vec![0x30],
        status: "active".into(),
        address: None,
        first_seen_at: at(1),
        activated_at: None,
        activated_by: None,
    };
    tx.insert_factory_certificate(&factory).await?;
    tx.put_sessions(&[session(name)]).await?;
    let subscription = SubscriptionRow { client: name.into(), filter: "x".into(), qos: 1, options: 0, identifier: 0 };
    tx.put_subscription(&subscription).await?;
    tx.append_queue(&[QueueRow { client: name.into(), first_seq: 1, last_seq: 1, messages: vec![1] }]).await
}

/// What of it is there, and what has to be there whatever happens: the record and the keys of a group of that name.
async fn left(tx: &mut TenantTx, name: &str) -> Result<([bool; 13], [bool; 2]), StoreError> {
    let (of, text) = (device(name), |rest: &str| format!("{name}-{rest}"));
    let state = [
        tx.shadow(&of, "").await?.is_some(),
        tx.attestation(&of).await?.is_some(),
        !tx.device_dids(&of, 9).await?.is_empty(),
        tx.holds_anchor(&of, "ff").await?,
        tx.renewal_request(&of).await?.is_some(),
        tx.dps_registration(&of).await?.is_some(),
        tx.enrollment("individual", name).await?.is_some(),
        tx.enrollment_request(&text("request")).await?.is_some(),
        tx.scep_transaction(&text("scep")).await?.is_some(),
        tx.factory_certificate(&text("factory")).await?.is_some(),
        tx.session(name).await?.is_some(),
        !tx.subscriptions(name).await?.is_empty(),
        tx.queue_size(name).await?.rows > 0,
    ];
    Ok((state, [tx.device(&of).await?.is_some(), tx.enrollment("group", name).await?.is_some()]))
}

pub(crate) async fn the_state_of_a_device_is_forgotten(on: Fixture) {
    const TOPICS: [&str; 9] = [
        "a/b",
        "devices/a",
        "devices/a/status",
        "devices/aa/status",
        "devices/b/a",
        "fleet/a/x",
        "shared/a/x",
        "telemetry/a/cpu/1",
        "telemetry/A/cpu",
    ];
    let (before, gone, stays, retained) = on
        .write(|tx| {
            Box::pin(async move {
                live(tx, "a").await?;
                live(tx, "b").await?;
                for topic in TOPICS {
                    let topic = topic.to_owned();
                    let row = RetainedRow { topic, payload: vec![1], qos: 1, properties: None, stored_at: at(1) };
                    tx.put_retained(&row).await?;
                }
                let before = left(tx, "a").await?;
                tx.forget_device_state(&device("a")).await?;
                assert_eq!(tx.forget_retained_of(&device("a")).await?, 0, "with the rest");
                let retained = tx.retained("", None, 20).await?.into_iter().map(|row| row.topic).collect::<Vec<_>>();
                Ok((before, left(tx, "a").await?, left(tx, "b").await?, retained))
            })
        })
        .await;
    assert_eq!(before, ([true; 13], [true; 2]));
    assert_eq!((gone, stays), (([false; 13], [true; 2]), ([true; 13], [true; 2])));
    assert_eq!(retained, ["a/b", "devices/aa/status", "devices/b/a", "fleet/a/x", "shared/a/x", "telemetry/A/cpu"]);
}
