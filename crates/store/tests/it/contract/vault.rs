use fleetward_store::{IdempotencyRow, SealedKeyRow, VaultHoldRow, VaultKeyRow};

use crate::support::{Fixture, at};

fn key(kind: &str, version: u64, root: &str) -> VaultKeyRow {
    VaultKeyRow {
        kind: kind.into(),
        version,
        key_id: format!("{kind}{version}"),
        wrapped: vec![u8::try_from(version).expect("small"); 40],
        wrapped_by: root.into(),
        active: true,
        created_at: at(1),
        retired_at: None,
    }
}

pub(crate) async fn vault_keys_are_versioned_and_wrapped_again(on: Fixture) {
    let acme = on.acme.clone();
    on.system(move |tx| {
        Box::pin(async move {
            assert_eq!(tx.vault_epoch().await?, 0);
            let own = tx.installation().await?;
            own.touch_vault().await?;
            assert!(own.insert_vault_key(&key("root", 1, "file")).await?);
            assert!(own.insert_vault_key(&key("owner", 1, "root1")).await?);
            let without = tx.tenants_without_vault_key(10).await?;
            assert!(without.contains(&acme));
            let tenant = tx.enter(&acme).await?;
            assert!(tenant.insert_vault_key(&key("owner", 1, "root1")).await?);
            assert!(!tenant.insert_vault_key(&key("owner", 1, "other")).await?, "a version is not replaced");
            assert!(tenant.insert_vault_key(&key("owner", 2, "root1")).await?);
            assert_eq!(tenant.retire_vault_keys("owner", 2, at(5)).await?, 1);
            let old = VaultKeyRow { active: false, retired_at: Some(at(5)), ..key("owner", 1, "root1") };
            assert_eq!(tenant.vault_keys().await?, [old, key("owner", 2, "root1")]);
            assert!(!tx.tenants_without_vault_key(10).await?.contains(&acme));

            let beside = tx.vault_keys_beside("root2", 10).await?;
            assert_eq!(beside.len(), 3, "the root key itself is not one of them");
            assert_eq!(beside.first().map(|of| of.tenant.clone()), Some(None));
            let again = VaultKeyRow { wrapped: vec![9; 40], wrapped_by: "root2".into(), ..key("owner", 2, "root1") };
            let tenant = tx.enter(&acme).await?;
            assert!(tenant.rewrap_vault_key(&again).await?);
            assert!(!tenant.rewrap_vault_key(&key("owner", 3, "root2")).await?);
            assert!(tenant.delete_vault_key("owner", 1).await?);
            assert!(!tenant.delete_vault_key("owner", 1).await?);
            assert_eq!(tenant.vault_keys().await?, [again]);
            assert_eq!(tx.all_vault_keys().await?.len(), 3);
            tx.installation().await?.touch_vault().await?;
            assert_eq!(tx.vault_epoch().await?, 2);
            Ok(())
        })
    })
    .await;
}

pub(crate) async fn vault_keys_are_held(on: Fixture) {
    let row = |reason: &str| VaultHoldRow { reason: reason.into(), held_by: "ops".into(), held_at: at(3) };
    let (first, again, seen) = on
        .write(move |tx| {
            Box::pin(async move {
                assert_eq!(tx.vault_hold().await?, None);
                let first = tx.hold_vault(&row("theft")).await?;
                Ok((first, tx.hold_vault(&row("other")).await?, tx.vault_hold().await?))
            })
        })
        .await;
    assert_eq!((first, again, seen), (true, false, Some(row("theft"))));
    let acme = on.acme.clone();
    on.system(move |tx| {
        Box::pin(async move {
            tx.installation().await?.hold_vault(&row("all")).await?;
            let all = tx.vault_holds().await?;
            let whose: Vec<_> = all.iter().map(|of| (of.tenant.clone(), of.row.reason.as_str())).collect();
            assert_eq!(whose, [(None, "all"), (Some(acme.clone()), "theft")]);
            assert!(tx.enter(&acme).await?.release_vault().await?);
            assert!(!tx.enter(&acme).await?.release_vault().await?);
            assert_eq!(tx.vault_holds().await?.len(), 1);
            Ok(())
        })
    })
    .await;
}

pub(crate) async fn seals_of_a_key_are_counted(on: Fixture) {
    let acme = on.acme.clone();
    on.system(move |tx| {
        Box::pin(async move {
            let header = [2, 1, 2, 3, 4, 5, 6, 7, 8];
            assert_eq!(tx.seals_under(&header).await?, 0);
            let sealed = [&header[..], &[0; 60]].concat();
            let tenant = tx.enter(&acme).await?;
            let of_key = SealedKeyRow {
                purpose: "issuing".into(),
                sealed: sealed.clone(),
                public: Vec::new(),
                created_at: at(1),
            };
            tenant.put_sealed_key(&of_key).await?;
            let answer = IdempotencyRow {
                principal: "ops".into(),
                key: "k".into(),
                request_hash: vec![0; 32],
                response: sealed,
                created_at: at(1),
            };
            tenant.put_idempotent_answer(&answer).await?;
            assert_eq!(tx.seals_under(&header).await?, 2);
            assert_eq!(tx.seals_under(&[1, 1, 2, 3, 4, 5, 6, 7, 8]).await?, 0);
            Ok(())
        })
    })
    .await;
}
