//! Access keys, and what AWS's control plane has beside devices: types, groups, labels.

use fleetward_base::TenantId;
use fleetward_store::{AccessKeyRow, DeviceGroupRow, DeviceTypeRow, LabelsRow, PolicySourceRow, StoreErrorKind};

use crate::support::{Fixture, at, token};

fn key(id: &str, number: u32) -> AccessKeyRow {
    AccessKeyRow {
        id: id.into(),
        principal: token(number),
        name: "ci".into(),
        role: "operator".into(),
        secret: vec![1, 2, 3],
        created_by: "root".into(),
        created_at: at(1),
        last_used_at: None,
        disabled_at: None,
    }
}

pub(crate) async fn access_keys_live_and_end(on: Fixture) {
    on.elsewhere(|tx| Box::pin(async move { tx.insert_access_key(&key("FWAKZ", 9)).await })).await;
    let (found, page, count, marks) = on
        .write(|tx| {
            Box::pin(async move {
                for (number, id) in [(1, "FWAKA"), (2, "FWAKB"), (3, "FWAKC")] {
                    tx.insert_access_key(&key(id, number)).await?;
                }
                let marks = (
                    tx.disable_access_key("FWAKA", at(5)).await?,
                    tx.disable_access_key("FWAKA", at(6)).await?,
                    tx.touch_access_key("FWAKA", at(9)).await?,
                    tx.touch_access_key("FWAKA", at(8)).await?,
                    tx.reseal_access_key("FWAKA", &[9], &[4]).await?,
                    tx.reseal_access_key("FWAKA", &[1, 2, 3], &[4]).await?,
                    tx.remove_access_key("FWAKC").await?,
                    tx.remove_access_key("FWAKZ").await?,
                );
                Ok((
                    (tx.access_key("FWAKA").await?, tx.access_key("FWAKZ").await?),
                    tx.access_keys(Some("FWAKA"), 5).await?,
                    tx.count_access_keys().await?,
                    marks,
                ))
            })
        })
        .await;
    let a = AccessKeyRow { secret: vec![4], disabled_at: Some(at(5)), last_used_at: Some(at(9)), ..key("FWAKA", 1) };
    assert_eq!(found, (Some(a.clone()), None), "another tenant's key is not there");
    assert_eq!((page, count), (vec![key("FWAKB", 2)], 2));
    assert_eq!(marks, (true, false, true, false, false, true, true, false));
    let of = on.system(|tx| Box::pin(async move { tx.access_key_by_id("FWAKZ").await })).await.expect("it is there");
    assert_eq!((of.tenant, of.row), (Some(on.umbrella.clone()), key("FWAKZ", 9)));
    let none = on.system(|tx| Box::pin(async move { tx.access_key_by_id("FWAKY").await })).await;
    assert_eq!(none, None);
    let taken = on
        .store
        .write(&on.acme, "test", |tx| Box::pin(async move { tx.insert_access_key(&key("FWAKZ", 4)).await }))
        .await;
    assert_eq!(taken.expect_err("an id is of one tenant").kind, StoreErrorKind::Conflict);
}

fn kind(name: &str) -> DeviceTypeRow {
    DeviceTypeRow {
        name: name.into(),
        description: Some("d".into()),
        searchable: "[]".into(),
        created_at: at(1),
        deprecated_at: None,
    }
}

pub(crate) async fn types_are_named_and_deprecated(on: Fixture) {
    on.elsewhere(|tx| Box::pin(async move { tx.insert_device_type(&kind("bulb")).await })).await;
    on.write(|tx| {
        Box::pin(async move {
            assert!(tx.device_type("bulb").await?.is_none());
            assert!(tx.insert_device_type(&kind("bulb")).await? && !tx.insert_device_type(&kind("bulb")).await?);
            assert!(tx.insert_device_type(&kind("pump")).await?);
            assert_eq!(tx.device_types(Some("bulb"), 5).await?, [kind("pump")]);
            assert_eq!(tx.count_device_types().await?, 2);
            assert!(tx.deprecate_device_type("bulb", Some(at(4))).await?);
            assert!(!tx.deprecate_device_type("none", Some(at(4))).await?);
            let bulb = DeviceTypeRow { deprecated_at: Some(at(4)), ..kind("bulb") };
            assert_eq!(tx.device_type("bulb").await?, Some(bulb));
            assert!(tx.remove_device_type("bulb").await? && !tx.remove_device_type("bulb").await?);
            Ok(())
        })
    })
    .await;
}

fn group(name: &str, parent: Option<&str>) -> DeviceGroupRow {
    DeviceGroupRow {
        name: name.into(),
        description: None,
        attributes: "{}".into(),
        parent: parent.map(str::to_owned),
        query: None,
        settled_at: None,
        revision: 1,
        created_at: at(1),
        updated_at: at(1),
    }
}

pub(crate) async fn groups_lie_in_groups(on: Fixture) {
    on.elsewhere(|tx| Box::pin(async move { tx.insert_device_group(&group("eu", None)).await })).await;
    on.write(|tx| {
        Box::pin(async move {
            assert!(tx.device_group("eu").await?.is_none());
            for row in [group("eu", None), group("eu-de", Some("eu")), group("us", None)] {
                assert!(tx.insert_device_group(&row).await?);
            }
            assert!(!tx.insert_device_group(&group("us", None)).await?);
            assert_eq!(tx.count_device_groups().await?, 3);
            assert_eq!(tx.device_groups(Some("eu"), None, 9).await?, [group("eu-de", Some("eu"))]);
            assert_eq!(tx.device_groups(None, Some("eu-de"), 9).await?, [group("us", None)]);
            let after = DeviceGroupRow { description: Some("x".into()), revision: 2, ..group("us", None) };
            assert!(tx.update_device_group(&after, 1).await? && !tx.update_device_group(&after, 1).await?);
            assert_eq!(tx.device_group("us").await?, Some(after));
            assert!(!tx.remove_device_group("eu").await?, "another lies in it");
            assert!(tx.remove_device_group("eu-de").await? && tx.remove_device_group("eu").await?);
            Ok(())
        })
    })
    .await;
}

pub(crate) async fn questions_decide_who_is_in_a_group(on: Fixture) {
    let asks = |name: &str| DeviceGroupRow { query: Some("site:berlin".into()), ..group(name, None) };
    let (theirs, ours) = (asks("old"), asks("old"));
    on.elsewhere(move |tx| Box::pin(async move { tx.insert_device_group(&theirs).await })).await;
    on.write(move |tx| {
        Box::pin(async move {
            tx.insert_device_group(&ours).await?;
            tx.insert_device_group(&group("plain", None)).await?;
            assert_eq!(tx.count_dynamic_groups().await?, 1);
            assert!(!tx.settle_device_group("old", "site:rome", at(5)).await?, "the question is another");
            assert!(tx.settle_device_group("old", "site:berlin", at(5)).await?);
            assert_eq!(tx.device_group("old").await?.and_then(|row| row.settled_at), Some(at(5)));
            let other = DeviceGroupRow { query: Some("site:rome".into()), revision: 2, ..group("old", None) };
            assert!(tx.update_device_group(&other, 1).await?);
            assert_eq!(tx.device_group("old").await?, Some(other));
            Ok(())
        })
    })
    .await;
    let all = on.system(|tx| Box::pin(async move { tx.dynamic_groups(None, 9).await })).await;
    let names: Vec<_> = all.into_iter().map(|of| (of.tenant.expect("a tenant"), of.row.name)).collect();
    let old = |tenant: &TenantId| (tenant.clone(), "old".to_owned());
    assert_eq!(names, [old(&on.acme), old(&on.umbrella)]);
    let acme = on.acme.clone();
    let rest = on.system(move |tx| Box::pin(async move { tx.dynamic_groups(Some((&acme, "old")), 9).await })).await;
    assert_eq!(rest.iter().filter_map(|of| of.tenant.as_ref()).collect::<Vec<_>>(), [&on.umbrella]);
}

pub(crate) async fn labels_are_replaced_whole(on: Fixture) {
    let row =
        |labels: &str| LabelsRow { kind: "group".into(), name: "eu".into(), labels: labels.into(), updated_at: at(1) };
    let other = row("{}");
    on.elsewhere(move |tx| Box::pin(async move { tx.put_labels(&other).await })).await;
    on.write(move |tx| {
        Box::pin(async move {
            assert_eq!(tx.labels("group", "eu").await?, None);
            tx.put_labels(&row("{}")).await?;
            tx.put_labels(&row(r#"{"a":"b"}"#)).await?;
            assert_eq!(tx.labels("group", "eu").await?, Some(row(r#"{"a":"b"}"#)));
            assert!(tx.remove_labels("group", "eu").await? && !tx.remove_labels("group", "eu").await?);
            Ok(())
        })
    })
    .await;
}

pub(crate) async fn sources_of_policies_are_kept_by_version(on: Fixture) {
    let row = |version, source: &str| PolicySourceRow {
        policy: "p".into(),
        version,
        source: source.into(),
        created_at: at(1),
    };
    let other = row(1, "other");
    on.elsewhere(move |tx| Box::pin(async move { tx.put_policy_source(&other).await })).await;
    on.write(move |tx| {
        Box::pin(async move {
            assert_eq!(tx.policy_source("p", 1).await?, None);
            tx.put_policy_source(&row(1, "a")).await?;
            tx.put_policy_source(&row(1, "b")).await?;
            tx.put_policy_source(&row(2, "c")).await?;
            assert_eq!(tx.policy_source("p", 1).await?, Some(row(1, "b")));
            assert_eq!((tx.remove_policy_sources("p").await?, tx.remove_policy_sources("p").await?), (2, 0));
            Ok(())
        })
    })
    .await;
}
