use fleetward_store::{
    StoreErrorKind, TopicPolicyAttachmentRow, TopicPolicyRow, TopicPolicyVersionRow, TopicPolicyWeight,
};

use crate::support::{Fixture, at};

fn id(text: &str) -> fleetward_base::DeviceId {
    text.parse().expect("a name")
}

fn policy(name: &str) -> TopicPolicyRow {
    TopicPolicyRow {
        name: name.into(),
        description: None,
        default_version: 1,
        latest_version: 1,
        rules: 2,
        pattern_bytes: 30,
        created_by: "root".into(),
        created_at: at(1),
        updated_at: at(1),
    }
}

fn version(policy: &str, version: u64) -> TopicPolicyVersionRow {
    TopicPolicyVersionRow {
        policy: policy.into(),
        version,
        document: format!("{{\"v\":{version}}}"),
        created_by: "root".into(),
        created_at: at(1),
    }
}

fn attachment(policy: &str, kind: &str, target: &str) -> TopicPolicyAttachmentRow {
    TopicPolicyAttachmentRow {
        policy: policy.into(),
        kind: kind.into(),
        target: target.into(),
        attached_by: "root".into(),
        attached_at: at(2),
    }
}

pub(crate) async fn policies_have_versions(on: Fixture) {
    on.elsewhere(|tx| {
        Box::pin(async move {
            tx.insert_topic_policy(&policy("a")).await?;
            tx.insert_topic_policy_version(&version("a", 9)).await
        })
    })
    .await;
    let (updated, found, page, versions, removed) = on
        .write(|tx| {
            Box::pin(async move {
                for name in ["a", "b", "c"] {
                    tx.insert_topic_policy(&policy(name)).await?;
                    tx.insert_topic_policy_version(&version(name, 1)).await?;
                }
                tx.insert_topic_policy_version(&version("a", 2)).await?;
                let changed = TopicPolicyRow {
                    description: Some("x".into()),
                    default_version: 2,
                    latest_version: 2,
                    rules: 3,
                    pattern_bytes: 31,
                    updated_at: at(3),
                    ..policy("a")
                };
                let updated = (tx.update_topic_policy(&changed, 1).await?, tx.update_topic_policy(&changed, 1).await?);
                let found = tx.topic_policy("a").await? == Some(changed);
                tx.insert_topic_policy_version(&version("a", 3)).await?;
                let gone =
                    (tx.remove_topic_policy_version("a", 3).await?, tx.remove_topic_policy_version("a", 3).await?);
                let versions = tx.topic_policy_versions("a").await?;
                let page = tx.topic_policies(Some("a"), 1).await?;
                let removed = (tx.remove_topic_policy("a").await?, tx.remove_topic_policy("a").await?, gone);
                let none = (tx.topic_policy("a").await?, tx.topic_policy_versions("a").await?.len());
                Ok((updated, found, page, versions, (removed, none)))
            })
        })
        .await;
    assert_eq!((updated, found), ((true, false), true));
    assert_eq!(page, [policy("b")]);
    assert_eq!(versions, [version("a", 2), version("a", 1)], "the newest first, of this tenant alone");
    assert_eq!(removed, ((true, false, (true, false)), (None, 0)));
    assert!(on.elsewhere(|tx| Box::pin(async move { tx.topic_policy("a").await })).await.is_some());
    let again =
        on.store.write(&on.acme, "test", |tx| Box::pin(async move { tx.insert_topic_policy(&policy("b")).await }));
    assert_eq!(again.await.expect_err("there is one").kind, StoreErrorKind::Conflict);
}

pub(crate) async fn policies_are_attached(on: Fixture) {
    on.elsewhere(|tx| {
        Box::pin(async move {
            tx.insert_topic_policy(&policy("x")).await?;
            tx.insert_topic_policy_version(&version("x", 1)).await?;
            tx.attach_topic_policy(&attachment("x", "tenant", "")).await
        })
    })
    .await;
    let none = on.write(|tx| Box::pin(async move { tx.topic_policies_any().await })).await;
    assert!(!none, "what another tenant attached is not seen");
    let (once, pages, at_device, many, of_device, detached, left) = on
        .write(|tx| {
            Box::pin(async move {
                for name in ["a", "b"] {
                    tx.insert_topic_policy(&policy(name)).await?;
                    tx.insert_topic_policy_version(&version(name, 1)).await?;
                    tx.insert_topic_policy_version(&version(name, 2)).await?;
                }
                for row in [
                    attachment("a", "device", "gw-1"),
                    attachment("a", "device", "gw-2"),
                    attachment("a", "certificate", "0a"),
                    attachment("b", "selector", "{}"),
                    attachment("b", "tenant", ""),
                ] {
                    tx.attach_topic_policy(&row).await?;
                }
                assert!(tx.topic_policies_any().await?);
                let once = tx.attach_topic_policy(&attachment("a", "device", "gw-1")).await?;
                let first = tx.topic_policy_attachments("a", None, 2).await?;
                let rest = tx.topic_policy_attachments("a", Some(("device", "gw-1")), 9).await?;
                let of = tx.topic_policies_of(&id("gw-1"), "0a").await?;
                let of: Vec<_> = of.into_iter().map(|row| (row.policy, row.version, row.kind, row.target)).collect();
                Ok((
                    once,
                    (first, rest),
                    tx.topic_policies_at("device", "gw-2").await?,
                    tx.topic_policies_for_many().await?,
                    of,
                    (
                        tx.detach_topic_policy("a", "device", "gw-2").await?,
                        tx.detach_topic_policy("a", "device", "gw-2").await?,
                        tx.detach_topic_policies_of(&id("gw-1")).await?,
                    ),
                    tx.topic_policies_of(&id("gw-1"), "none").await?.len(),
                ))
            })
        })
        .await;
    assert!(!once);
    let (certificate, one, two) =
        (attachment("a", "certificate", "0a"), attachment("a", "device", "gw-1"), attachment("a", "device", "gw-2"));
    assert_eq!(pages, (vec![certificate, one], vec![two.clone()]));
    assert_eq!((at_device, many), (vec![two], 2));
    let told = |policy: &str, kind: &str, target: &str| (policy.to_owned(), 1_u64, kind.to_owned(), target.to_owned());
    let expected = [("a", "certificate", "0a"), ("a", "device", "gw-1"), ("b", "selector", "{}"), ("b", "tenant", "")];
    assert_eq!(of_device, expected.map(|(policy, kind, target)| told(policy, kind, target)));
    assert_eq!((detached, left), ((true, false, 1), 2));
}

pub(crate) async fn what_is_attached_is_weighed(on: Fixture) {
    on.elsewhere(|tx| {
        Box::pin(async move {
            tx.insert_topic_policy(&TopicPolicyRow { rules: 900, ..policy("a") }).await?;
            for kind in ["tenant", "device"] {
                tx.attach_topic_policy(&attachment("a", kind, "gw-1")).await?;
            }
            Ok(())
        })
    })
    .await;
    let weight = |rules, pattern_bytes| TopicPolicyWeight { rules, pattern_bytes };
    let (at, none, many, found) = on
        .write(move |tx| {
            Box::pin(async move {
                for name in ["a", "b", "c"] {
                    tx.insert_topic_policy(&policy(name)).await?;
                }
                for row in [
                    attachment("a", "device", "gw-1"),
                    attachment("b", "device", "gw-1"),
                    attachment("a", "certificate", "0a"),
                    attachment("c", "selector", "{}"),
                    attachment("c", "tenant", ""),
                    attachment("a", "tenant", ""),
                ] {
                    tx.attach_topic_policy(&row).await?;
                }
                let over = async |tx: &mut fleetward_store::TenantTx, name, rules, bytes| {
                    tx.topic_policy_overweight(name, weight(rules, bytes)).await
                };
                let found = [
                    over(tx, "a", 4, 60).await?,
                    over(tx, "a", 3, 60).await?,
                    over(tx, "b", 4, 59).await?,
                    over(tx, "a", 1, 99).await?,
                    over(tx, "c", 0, 0).await?,
                ];
                Ok((
                    tx.topic_policy_weight_at("device", "gw-1").await?,
                    tx.topic_policy_weight_at("device", "gw-2").await?,
                    tx.topic_policy_weight_for_many().await?,
                    found,
                ))
            })
        })
        .await;
    assert_eq!((at, none), (weight(4, 60), weight(0, 0)));
    assert_eq!(many, weight(4, 60), "each policy once");
    let told = |target: &str, rules, bytes| Some((target.to_owned(), weight(rules, bytes)));
    let expected = [None, told("gw-1", 4, 60), told("gw-1", 4, 60), told("0a", 2, 30), None];
    assert_eq!(found, expected, "those for many are counted by themselves");
}

pub(crate) async fn changes_are_counted(on: Fixture) {
    on.elsewhere(|tx| Box::pin(async move { tx.touch_topic_policies().await })).await;
    let counted = on
        .write(|tx| Box::pin(async move { Ok((tx.touch_topic_policies().await?, tx.touch_topic_policies().await?)) }))
        .await;
    assert_eq!(counted, (1, 2));
    let all = on.system(|tx| Box::pin(async move { tx.topic_policy_generations().await })).await;
    let all: Vec<_> = all.into_iter().map(|of| (of.tenant, of.row.0)).collect();
    assert_eq!(all, [(Some(on.acme.clone()), 2), (Some(on.umbrella.clone()), 1)]);
}
