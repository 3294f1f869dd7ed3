use fleetward_store::{
    DeviceDidRow, DpsRegistrationRow, EnrollmentRequestRow, EnrollmentRow, InventoryFilter, InventoryRow, MakerRow,
    StoreErrorKind,
};

use crate::support::{Fixture, at, device, token};

fn inventory(serial: &str, name: &str, batch: &str) -> InventoryRow {
    InventoryRow {
        serial: serial.into(),
        device: device(name),
        class: Some("gateway".into()),
        hardware: None,
        ek_hash: Some("ab".repeat(32)),
        batch: Some(batch.into()),
        maker: Some("maker-1".into()),
        root_of_trust: Some("tpm2".into()),
        attestation: None,
        attested_by: None,
        imported_at: at(1),
        updated_at: at(1),
    }
}

pub(crate) async fn inventory_is_replaced_and_paged(on: Fixture) {
    let again = InventoryRow { batch: Some("b2".into()), updated_at: at(5), ..inventory("s1", "gw-1", "b1") };
    let expected = again.clone();
    on.store
        .write(&on.umbrella, "test", |tx| {
            Box::pin(async move { tx.put_inventory(&inventory("s1", "gw-9", "b1")).await })
        })
        .await
        .expect("another tenant's serial number is its own");
    let (read, by_device, none, pages, count) = on
        .write(move |tx| {
            Box::pin(async move {
                tx.put_inventory(&inventory("s1", "gw-1", "b1")).await?;
                tx.put_inventory(&inventory("s2", "gw-2", "b1")).await?;
                tx.put_inventory(&again).await?;
                let all = tx.inventory_page(&InventoryFilter::default(), Some("s1"), 5).await?;
                let batch = InventoryFilter { batch: Some("b2".into()), maker: Some("maker-1".into()) };
                let pages = (all, tx.inventory_page(&batch, None, 5).await?);
                let none = tx.inventory_by_device(&device("gw-9")).await?;
                let by_device = tx.inventory_by_device(&device("gw-1")).await?;
                Ok((tx.inventory("s1").await?, by_device, none, pages, tx.count_inventory().await?))
            })
        })
        .await;
    assert_eq!((read.as_ref(), by_device.as_ref(), none, count), (Some(&expected), Some(&expected), None, 2));
    assert_eq!(pages, (vec![inventory("s2", "gw-2", "b1")], vec![expected]));
    // Both have a TPM with the same key; another tenant's device of that key is not one of them.
    let key = "ab".repeat(32);
    let (others, all, none) = on
        .write(move |tx| {
            Box::pin(async move {
                let others = tx.inventory_with_endorsement(&key, &device("gw-1"), 5).await?;
                let all = tx.inventory_with_endorsement(&key, &device("gw-7"), 5).await?;
                Ok((others, all, tx.inventory_with_endorsement("cd", &device("gw-7"), 5).await?))
            })
        })
        .await;
    assert_eq!((others, all, none), (vec![device("gw-2")], vec![device("gw-1"), device("gw-2")], Vec::new()));
    let taken = on
        .store
        .write(&on.acme, "test", |tx| Box::pin(async move { tx.put_inventory(&inventory("s3", "gw-2", "b1")).await }));
    assert_eq!(taken.await.expect_err("the device is of s2").kind, StoreErrorKind::Conflict);
    let removed = on
        .write(|tx| Box::pin(async move { Ok((tx.remove_inventory("s1").await?, tx.remove_inventory("s1").await?)) }))
        .await;
    assert_eq!(removed, (true, false));
}

pub(crate) async fn makers_have_one_key_each(on: Fixture) {
    let maker = |name: &str, key: &str| MakerRow {
        name: name.into(),
        key_id: key.into(),
        public_key: vec![0x30],
        created_by: "ops".into(),
        created_at: at(1),
    };
    let (one, rest, removed) = on
        .write(move |tx| {
            Box::pin(async move {
                tx.put_maker(&maker("m1", "k1")).await?;
                tx.put_maker(&maker("m1", "k2")).await?;
                tx.put_maker(&maker("m2", "k3")).await?;
                let rest = tx.makers(Some("m1"), 5).await?;
                let one = tx.maker("m1").await?;
                Ok((one, rest, (tx.remove_maker("m1").await?, tx.remove_maker("m1").await?)))
            })
        })
        .await;
    assert_eq!((one, rest, removed), (Some(maker("m1", "k2")), vec![maker("m2", "k3")], (true, false)));
}

fn enrollment(kind: &str, name: &str) -> EnrollmentRow {
    EnrollmentRow {
        kind: kind.into(),
        name: name.into(),
        primary_key: vec![1; 40],
        secondary_key: vec![2; 40],
        class: None,
        hardware: Some("rev-b".into()),
        payload: Some("{}".into()),
        created_by: "ops".into(),
        created_at: at(1),
        rotated_at: None,
        revoked_at: None,
        revision: 1,
    }
}

pub(crate) async fn enrollments_are_changed_by_revision(on: Fixture) {
    let changed = EnrollmentRow {
        primary_key: vec![3; 40],
        rotated_at: Some(at(2)),
        revoked_at: Some(at(3)),
        revision: 2,
        ..enrollment("group", "g1")
    };
    let expected = changed.clone();
    let (updated, stale, read, page, counts) = on
        .write(move |tx| {
            Box::pin(async move {
                tx.insert_enrollment(&enrollment("group", "g1")).await?;
                tx.insert_enrollment(&enrollment("group", "g2")).await?;
                tx.insert_enrollment(&enrollment("individual", "g1")).await?;
                let updated = tx.update_enrollment(&changed, 1).await?;
                let stale = tx.update_enrollment(&changed, 1).await?;
                let page = tx.enrollments("group", Some("g1"), 5).await?;
                let counts = (tx.count_enrollments("group").await?, tx.count_enrollments("individual").await?);
                Ok((updated, stale, tx.enrollment("group", "g1").await?, page, counts))
            })
        })
        .await;
    assert_eq!((updated, stale, read), (true, false, Some(expected)));
    assert_eq!((page, counts), (vec![enrollment("group", "g2")], (1, 1)));
    let taken = on
        .store
        .write(&on.acme, "test", |tx| Box::pin(async move { tx.insert_enrollment(&enrollment("group", "g1")).await }));
    assert_eq!(taken.await.expect_err("the name is taken").kind, StoreErrorKind::Conflict);
}

fn request(id: &str, code: &str, secs: i64) -> EnrollmentRequestRow {
    EnrollmentRequestRow {
        id: id.into(),
        user_code: code.into(),
        device: device("gw-1"),
        way: "token".into(),
        key_fingerprint: Some("ff".into()),
        facts: "{}".into(),
        address: Some("192.0.2.1".into()),
        state: "pending".into(),
        device_code: None,
        created_at: at(secs),
        expires_at: at(secs + 100),
        decided_by: None,
        decided_at: None,
        note: None,
        token: None,
    }
}

pub(crate) async fn requests_wait_for_a_decision(on: Fixture) {
    let polled = EnrollmentRequestRow { device_code: Some(vec![7; 32]), ..request("b", "CODE-B", 2) };
    let inserted = polled.clone();
    let decided = EnrollmentRequestRow {
        state: "approved".into(),
        decided_by: Some("ops".into()),
        decided_at: Some(at(4)),
        note: Some("seen it".into()),
        token: Some(token(1)),
        ..request("a", "CODE-A", 1)
    };
    let expected = decided.clone();
    let (updated, read, by_code, pages, counts) = on
        .write(move |tx| {
            Box::pin(async move {
                tx.insert_enrollment_request(&request("a", "CODE-A", 1)).await?;
                tx.insert_enrollment_request(&inserted).await?;
                let before = tx.count_enrollment_requests(&device("gw-1"), at(50)).await?;
                let updated = tx.update_enrollment_request(&decided).await?;
                let after = tx.count_enrollment_requests(&device("gw-2"), at(50)).await?;
                let late = tx.count_polled_enrollment_requests(&device("gw-1"), at(500)).await?;
                let polls = tx.count_polled_enrollment_requests(&device("gw-2"), at(50)).await?;
                let pages = (
                    tx.enrollment_requests(Some("pending"), None, 5).await?.len(),
                    tx.enrollment_requests(None, Some((at(1), "a")), 5).await?.len(),
                    tx.enrollment_requests(None, Some((at(2), "b")), 5).await?.len(),
                );
                let read = tx.enrollment_request_for_update("a").await?;
                assert_eq!(tx.enrollment_request("a").await?, read);
                let by_code = tx.enrollment_request_by_code("CODE-B").await?;
                Ok((updated, read, by_code, pages, [before, after, late, polls]))
            })
        })
        .await;
    assert_eq!((updated, read, by_code), (true, Some(expected), Some(polled.clone())));
    assert_eq!((pages, counts), ((1, 1, 0), [[1, 1], [0, 0], [0, 0], [1, 0]]));
    let (found, nobody) = on
        .system(|tx| {
            Box::pin(async move {
                let found = tx.enrollment_request_by_device_code(&[7; 32]).await?;
                Ok((found, tx.enrollment_request_by_device_code(&[8; 32]).await?))
            })
        })
        .await;
    assert_eq!(found.map(|of| (of.tenant, of.row)), Some((Some(on.acme.clone()), polled)));
    assert_eq!(nobody, None);
    let forgotten = on.write(|tx| Box::pin(async move { tx.forget_enrollment_requests(at(102)).await })).await;
    assert_eq!(forgotten, 1);
}

pub(crate) async fn registrations_and_scopes(on: Fixture) {
    let row = |operation: &str, revision: u64| DpsRegistrationRow {
        id: device("gw-1"),
        operation: operation.into(),
        status: "assigned".into(),
        enrollment: Some("g1".into()),
        serial: None,
        request: Some(vec![1; 32]),
        payload: None,
        created_at: at(1),
        updated_at: at(1),
        revision,
    };
    let (none, read, scopes) = on
        .write(move |tx| {
            Box::pin(async move {
                let none = tx.dps_registration(&device("gw-1")).await?;
                tx.put_dps_registration(&row("o1", 1)).await?;
                tx.put_dps_registration(&row("o2", 2)).await?;
                let before = tx.id_scope().await?;
                tx.put_id_scope("0ne1", at(1)).await?;
                tx.put_id_scope("0ne2", at(2)).await?;
                Ok((none, tx.dps_registration(&device("gw-1")).await?, (before, tx.id_scope().await?)))
            })
        })
        .await;
    assert_eq!((none, read, scopes), (None, Some(row("o2", 2)), (None, Some("0ne1".to_owned()))));
    let found = on
        .system(|tx| {
            Box::pin(async move { Ok((tx.tenant_by_id_scope("0ne1").await?, tx.tenant_by_id_scope("0ne2").await?)) })
        })
        .await;
    assert_eq!(found, (Some(on.acme.clone()), None));
}

pub(crate) async fn identifiers_are_of_one_device(on: Fixture) {
    let row = |did: &str, name: &str| DeviceDidRow {
        did: did.into(),
        device: device(name),
        key_id: format!("{did}#1"),
        public_key: vec![0x30],
        added_by: "ops".into(),
        added_at: at(1),
    };
    let (listed, read, removed) = on
        .write(move |tx| {
            Box::pin(async move {
                tx.insert_device_did(&row("did:key:a", "gw-1")).await?;
                tx.insert_device_did(&row("did:key:b", "gw-2")).await?;
                let listed = tx.device_dids(&device("gw-1"), 5).await?;
                let read = tx.device_did("did:key:b").await?;
                let removed = (
                    tx.remove_device_did(&device("gw-2"), "did:key:a").await?,
                    tx.remove_device_did(&device("gw-2"), "did:key:b").await?,
                );
                Ok((listed, read, removed))
            })
        })
        .await;
    assert_eq!(listed, [row("did:key:a", "gw-1")]);
    assert_eq!((read, removed), (Some(row("did:key:b", "gw-2")), (false, true)));
    let taken = on.store.write(&on.acme, "test", move |tx| {
        Box::pin(async move { tx.insert_device_did(&row("did:key:a", "gw-2")).await })
    });
    assert_eq!(taken.await.expect_err("it is of gw-1").kind, StoreErrorKind::Conflict);
}
