use fleetward_store::{ArtifactRow, IdempotencyRow, ReleaseRow, RolloutRow, SignerRow, StoreErrorKind};

use crate::support::{Fixture, at, deployment_row, device, release, release_row, rollout, rollout_row, signer};

pub(crate) async fn releases_and_their_signers(on: Fixture) {
    let key = |number: u32| SignerRow {
        id: signer(number),
        name: format!("key {number}"),
        key_id: format!("k{number}"),
        public_key: vec![4; 32],
        created_at: at(1),
        revoked_at: None,
        revision: 1,
    };
    let (by_key, page, revoked, read) = on
        .write(move |tx| {
            Box::pin(async move {
                tx.insert_signer(&key(1)).await?;
                tx.insert_signer(&key(2)).await?;
                let by_key = tx.signer_by_key("k1").await?;
                let page = tx.signers(Some(signer(1)), 10).await?;
                let revoked = (
                    tx.revoke_signer(signer(1), 5, at(9)).await?,
                    tx.revoke_signer(signer(1), 1, at(9)).await?,
                    tx.revoke_signer(signer(1), 2, at(9)).await?,
                );
                Ok((by_key, page, revoked, tx.signer(signer(1)).await?))
            })
        })
        .await;
    assert_eq!((by_key, page, revoked), (Some(key(1)), vec![key(2)], (false, true, false)));
    assert_eq!(read, Some(SignerRow { revoked_at: Some(at(9)), revision: 2, ..key(1) }));

    let artifact = |sha256: &str| ArtifactRow { sha256: sha256.into(), size: 1 << 40, created_at: at(1) };
    let outcome = on
        .write(move |tx| {
            Box::pin(async move {
                let put = (tx.put_artifact(&artifact("aa")).await?, tx.put_artifact(&artifact("aa")).await?);
                tx.put_artifact(&artifact("bb")).await?;
                Ok((put, tx.artifact("aa").await?, tx.artifact("cc").await?, tx.artifacts(Some("aa"), 10).await?))
            })
        })
        .await;
    assert_eq!(outcome, ((true, false), Some(artifact("aa")), None, vec![artifact("bb")]));

    let (read, by_name, named, page, deployed) = on
        .write(|tx| {
            Box::pin(async move {
                tx.insert_release(&release_row(1, "1.0")).await?;
                tx.insert_release(&release_row(2, "2.0")).await?;
                tx.insert_release(&ReleaseRow { name: "other".into(), ..release_row(3, "1.0") }).await?;
                tx.insert_rollout(&rollout_row(1, "running")).await?;
                tx.insert_deployments(&[deployment_row(1, "a")]).await?;
                Ok((
                    tx.release(release(2)).await?,
                    tx.release_by_name("gateway-os", "2.0").await?,
                    tx.releases(Some("other"), None, 10).await?,
                    tx.releases(None, Some(release(1)), 1).await?,
                    tx.deployed_releases(&device("a"), 10).await?,
                ))
            })
        })
        .await;
    assert_eq!((read, by_name), (Some(release_row(2, "2.0")), Some(release_row(2, "2.0"))));
    assert_eq!(named.first().map(|row| row.id), Some(release(3)));
    assert_eq!(page, [release_row(2, "2.0")]);
    assert_eq!(deployed, [release_row(1, "1.0")]);

    let taken =
        on.store.write(&on.acme, "test", |tx| Box::pin(async move { tx.insert_release(&release_row(4, "2.0")).await }));
    assert_eq!(taken.await.expect_err("the version is taken").kind, StoreErrorKind::Conflict);
}

pub(crate) async fn rollouts_are_written_and_due(on: Fixture) {
    let next = RolloutRow {
        state: "paused".into(),
        phase: 2,
        phase_started_at: Some(at(3)),
        gate_met_at: Some(at(4)),
        pause_reason: Some("too many failures".into()),
        target_count: 12,
        updated_at: at(5),
        revision: 2,
        policy: r#"{"a":1}"#.into(),
        ..rollout_row(1, "running")
    };
    let update = next.clone();
    let (before, updated, again, read, by_state, page) = on
        .write(move |tx| {
            Box::pin(async move {
                tx.insert_rollout(&rollout_row(1, "running")).await?;
                tx.insert_rollout(&rollout_row(2, "rolling_back")).await?;
                tx.insert_rollout(&rollout_row(3, "draft")).await?;
                let before = tx.rollout_for_update(rollout(1)).await?;
                let updated = tx.update_rollout(&update, 1).await?;
                let again = tx.update_rollout(&update, 1).await?;
                let by_state = tx.rollouts(Some("draft"), None, 10).await?;
                let page = tx.rollouts(None, Some(rollout(1)), 10).await?;
                Ok((before, updated, again, tx.rollout(rollout(1)).await?, by_state, page))
            })
        })
        .await;
    assert_eq!((before, updated, again, read), (Some(rollout_row(1, "running")), true, false, Some(next)));
    assert_eq!(by_state, [rollout_row(3, "draft")]);
    assert_eq!(page, [rollout_row(2, "rolling_back"), rollout_row(3, "draft")]);

    on.store
        .write(&on.umbrella, "test", |tx| Box::pin(async move { tx.insert_rollout(&rollout_row(9, "running")).await }))
        .await
        .expect("the unit is written");
    let acme = on.acme.clone();
    let (due, rest) = on
        .system(move |tx| {
            Box::pin(async move {
                let due = tx.due_rollouts(None, 10).await?;
                Ok((due, tx.due_rollouts(Some((&acme, rollout(2))), 10).await?))
            })
        })
        .await;
    let seen: Vec<_> = due.iter().map(|line| (line.tenant.clone(), line.row.id)).collect();
    assert_eq!(seen, [(Some(on.acme.clone()), rollout(2)), (Some(on.umbrella.clone()), rollout(9))]);
    assert_eq!(rest.len(), 1);
}

pub(crate) async fn idempotent_answers(on: Fixture) {
    let row = |byte: u8| IdempotencyRow {
        principal: "token 1".into(),
        key: "k".into(),
        request_hash: vec![byte; 32],
        response: vec![byte],
        created_at: at(10),
    };
    let outcome = on
        .write(move |tx| {
            Box::pin(async move {
                let put = (tx.put_idempotent_answer(&row(1)).await?, tx.put_idempotent_answer(&row(2)).await?);
                let read = tx.idempotent_answer("token 1", "k").await?;
                let other = tx.idempotent_answer("token 2", "k").await?;
                let expired =
                    (tx.expire_idempotent_answers(at(10)).await?, tx.expire_idempotent_answers(at(11)).await?);
                Ok((put, read, other, expired))
            })
        })
        .await;
    assert_eq!(outcome, ((true, false), Some(row(1)), None, (0, 1)));
}
