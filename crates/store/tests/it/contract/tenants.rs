use fleetward_store::{StoreErrorKind, TenantRow};

use crate::support::{Fixture, deployment_row, device_row, rollout_row, tenant, tenant_row};

pub(crate) async fn tenants_are_written_and_listed(on: Fixture) {
    let taken =
        on.store.system_write("test", |tx| Box::pin(async move { tx.insert_tenant(&tenant_row("acme")).await }));
    assert_eq!(taken.await.expect_err("the name is taken").kind, StoreErrorKind::Conflict);

    let (first, rest, none) = on
        .system(|tx| {
            Box::pin(async move {
                let first = tx.tenants(None, 1).await?;
                let rest = tx.tenants(Some(&tenant("acme")), 10).await?;
                Ok((first, rest, tx.tenant(&tenant("nobody")).await?))
            })
        })
        .await;
    assert_eq!(first, [tenant_row("acme")]);
    assert_eq!(rest, [tenant_row("umbrella")]);
    assert_eq!(none, None);

    let changed = TenantRow { display_name: "Acme Inc.".into(), revision: 2, ..tenant_row("acme") };
    let expected = changed.clone();
    let (updated, again, read) = on
        .write(move |tx| {
            Box::pin(async move {
                let updated = tx.update_tenant(&changed, 1).await?;
                let again = tx.update_tenant(&changed, 1).await?;
                Ok((updated, again, tx.own_tenant().await?))
            })
        })
        .await;
    assert_eq!((updated, again, read), (true, false, Some(expected)));

    let values = on
        .system(|tx| {
            Box::pin(async move {
                let before = tx.installation_value("mark").await?;
                tx.put_installation_value("mark", b"1").await?;
                tx.put_installation_value("mark", b"2").await?;
                Ok((before, tx.installation_value("mark").await?))
            })
        })
        .await;
    assert_eq!(values, (None, Some(b"2".to_vec())));
}

pub(crate) async fn tallies(on: Fixture) {
    on.write(|tx| {
        Box::pin(async move {
            tx.insert_device(&device_row("a")).await?;
            tx.insert_device(&device_row("b")).await?;
            tx.insert_rollout(&rollout_row(1, "running")).await?;
            tx.insert_deployments(&[deployment_row(1, "a")]).await.map(drop)
        })
    })
    .await;
    let tallies = on
        .system(|tx| {
            Box::pin(async move {
                let mut all = tx.tally_devices().await?;
                all.extend(tx.tally_deployments().await?);
                all.extend(tx.tally_rollouts().await?);
                Ok(all)
            })
        })
        .await;
    let seen: Vec<_> = tallies.iter().map(|tally| (tally.tenant.clone(), tally.state.as_str(), tally.count)).collect();
    let acme = || Some(tenant("acme"));
    assert_eq!(seen, [(acme(), "active", 2), (acme(), "queued", 1), (acme(), "running", 1)]);
}
