use std::collections::BTreeSet;

use fleetward_store::{
    QueueRow, QueueSize, RetainedRow, SessionRow, StoreError, StoreErrorKind, SubscriptionRow, WillRow,
};

use crate::support::{Fixture, at};

fn session(client: &str, expiry_s: u64) -> SessionRow {
    SessionRow {
        client: client.into(),
        expiry_s,
        disconnected_at: Some(at(5)),
        acked_seq: 0,
        protocol: 5,
        created_at: at(1),
    }
}

fn subscription(client: &str, filter: &str, qos: u32) -> SubscriptionRow {
    SubscriptionRow { client: client.into(), filter: filter.into(), qos, options: 4, identifier: 7 + qos }
}

pub(crate) async fn sessions_outlive_connections(on: Fixture) {
    let outcome = on
        .write(|tx| {
            Box::pin(async move {
                tx.put_sessions(&[]).await?;
                tx.put_sessions(&[session("a", 1), session("b", 2), session("a", 3)]).await?;
                tx.put_subscription(&subscription("a", "x/#", 1)).await?;
                tx.put_subscription(&subscription("a", "x/#", 0)).await?;
                tx.put_subscription(&subscription("a", "y", 1)).await?;
                let removed = (tx.remove_subscription("a", "y").await?, tx.remove_subscription("a", "y").await?);
                Ok((tx.session("a").await?, tx.subscriptions("a").await?, removed))
            })
        })
        .await;
    assert_eq!(outcome, (Some(session("a", 3)), vec![subscription("a", "x/#", 0)], (true, false)));

    let acme = on.acme.clone();
    let (sessions, after_a, subscriptions, after) = on
        .system(move |tx| {
            Box::pin(async move {
                Ok((
                    tx.all_sessions(None, 10).await?,
                    tx.all_sessions(Some((&acme, "a")), 10).await?,
                    tx.all_subscriptions(None, 10).await?,
                    tx.all_subscriptions(Some((&acme, "a", "x/#")), 10).await?,
                ))
            })
        })
        .await;
    assert_eq!(sessions.iter().map(|line| line.row.client.as_str()).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(after_a.len(), 1);
    assert_eq!(subscriptions.first().map(|line| line.tenant.clone()), Some(Some(on.acme.clone())));
    assert_eq!(after.len(), 0);

    let (kept, none) = on
        .write(|tx| {
            Box::pin(async move {
                let kept = tx.save_exchanges("a", Some(&[1, 2])).await?;
                tx.save_exchanges("b", Some(&[3])).await?;
                tx.save_exchanges("b", None).await?;
                // Coming back leaves it as it is.
                tx.put_sessions(&[session("a", 9)]).await?;
                Ok((kept, tx.save_exchanges("nobody", Some(&[4])).await?))
            })
        })
        .await;
    assert_eq!((kept, none), (true, false));
    let exchanges = on.system(|tx| Box::pin(async move { tx.all_exchanges(None, 10).await })).await;
    let exchanges: Vec<_> = exchanges.into_iter().map(|of| (of.row.client, of.row.exchanges)).collect();
    assert_eq!(exchanges, [("a".to_owned(), vec![1, 2])]);

    let gone = on
        .write(|tx| {
            Box::pin(async move {
                let gone = (tx.delete_session("a").await?, tx.delete_session("a").await?);
                Ok((gone, tx.subscriptions("a").await?))
            })
        })
        .await;
    assert_eq!(gone, ((true, false), Vec::new()));
}

fn chunk(client: &str, first_seq: u64, last_seq: u64) -> QueueRow {
    QueueRow { client: client.into(), first_seq, last_seq, messages: vec![7; 100] }
}

pub(crate) async fn queues_are_appended_read_and_consumed(on: Fixture) {
    let (size, from_4, empty) = on
        .write(|tx| {
            Box::pin(async move {
                tx.put_sessions(&[session("a", 1)]).await?;
                tx.append_queue(&[]).await?;
                tx.append_queue(&[chunk("a", 1, 3), chunk("b", 1, 1), chunk("a", 4, 9)]).await?;
                Ok((tx.queue_size("a").await?, tx.queue("a", 4, 10).await?, tx.queue_size("none").await?))
            })
        })
        .await;
    assert_eq!(size, QueueSize { rows: 2, bytes: 200, last_seq: 9 });
    let totals = on.system(|tx| Box::pin(async move { tx.all_queue_sizes(None, 10).await })).await;
    let totals: Vec<_> = totals.into_iter().map(|of| (of.row.client, of.row.bytes, of.row.last_seq)).collect();
    assert_eq!(totals, [("a".to_owned(), 200, 9), ("b".to_owned(), 100, 1)]);
    assert_eq!(from_4, [chunk("a", 4, 9)]);
    assert_eq!(empty, QueueSize::default());

    let (left, acked) = on
        .write(|tx| {
            Box::pin(async move {
                tx.acknowledge_queue("a", 5).await?;
                tx.acknowledge_queue("a", 2).await?;
                Ok((tx.queue("a", 0, 10).await?, tx.session("a").await?.map(|row| row.acked_seq)))
            })
        })
        .await;
    assert_eq!((left, acked), (vec![chunk("a", 4, 9)], Some(5)));

    let taken =
        on.store.write(&on.acme, "test", |tx| Box::pin(async move { tx.append_queue(&[chunk("a", 4, 4)]).await }));
    assert_eq!(taken.await.expect_err("the number is taken").kind, StoreErrorKind::Conflict);
}

pub(crate) async fn retained_messages(on: Fixture) {
    let row = |topic: &str, byte: u8| RetainedRow {
        topic: topic.into(),
        payload: vec![byte],
        qos: 1,
        properties: (byte == 2).then(|| vec![1]),
        stored_at: at(1),
    };
    let (all, under, page, gone, count) = on
        .write(move |tx| {
            Box::pin(async move {
                for (topic, byte) in [("a/b", 1), ("a/b", 2), ("a/ü", 3), ("ab", 4), ("", 5)] {
                    tx.put_retained(&row(topic, byte)).await?;
                }
                let all = tx.retained("", None, 10).await?;
                let under = tx.retained("a/", None, 10).await?;
                let page = tx.retained("a/", Some("a/b"), 10).await?;
                let gone = (tx.delete_retained("a/b").await?, tx.delete_retained("a/b").await?);
                Ok((all, under, page, gone, tx.count_retained().await?))
            })
        })
        .await;
    let topics = |rows: &[RetainedRow]| rows.iter().map(|row| row.topic.clone()).collect::<Vec<_>>();
    assert_eq!(topics(&all), ["a/b", "a/ü", "ab"]);
    assert_eq!(under.first(), Some(&row("a/b", 2)));
    assert_eq!((topics(&under), topics(&page)), (vec!["a/b".to_owned(), "a/ü".to_owned()], vec!["a/ü".to_owned()]));
    assert_eq!((gone, count), ((true, false), 3));
    let kept = on.system(|tx| Box::pin(async move { tx.all_retained(None, 10).await })).await;
    let kept: Vec<_> = kept.into_iter().map(|of| (of.tenant, of.row.topic)).collect();
    assert_eq!(kept.len(), 3);
    assert!(kept.iter().all(|(tenant, _)| tenant.as_ref() == Some(&on.acme)));
}

pub(crate) async fn wills_are_kept_and_taken(on: Fixture) {
    on.elsewhere(|tx| Box::pin(async move { tx.keep_will("a", &[9], "s1").await })).await;
    let dropped = on
        .write(|tx| {
            Box::pin(async move {
                tx.keep_will("a", &[1], "s1").await?;
                tx.keep_will("a", &[2], "s1").await?;
                tx.keep_will("b", &[3], "s1").await?;
                assert!(!tx.drop_will("b", &[3], "s2").await?, "it is another server's");
                Ok((
                    tx.drop_will("a", &[1], "s1").await?,
                    tx.drop_will("b", &[3], "s1").await?,
                    tx.drop_will("c", &[], "s1").await?,
                ))
            })
        })
        .await;
    assert_eq!(dropped, (false, true, false), "only the one that is meant");
    let acme = on.acme.clone();
    let (first, rest) = on
        .system(move |tx| {
            Box::pin(
                async move { Ok((tx.wills_of("s1", None, 1).await?, tx.wills_of("s1", Some((&acme, "a")), 5).await?)) },
            )
        })
        .await;
    let told = |page: Vec<fleetward_store::Of<WillRow>>| -> Vec<_> {
        page.into_iter().map(|of| (of.tenant, of.row.client, of.row.will)).collect()
    };
    assert_eq!(told(first), [(Some(on.acme.clone()), "a".to_owned(), vec![2])]);
    assert_eq!(told(rest), [(Some(on.umbrella.clone()), "a".to_owned(), vec![9])]);
}

pub(crate) async fn servers_beat_and_are_missed(on: Fixture) {
    on.elsewhere(|tx| Box::pin(async move { tx.keep_will("a", &[1], "s1").await })).await;
    on.write(|tx| {
        Box::pin(async move {
            tx.keep_will("a", &[2], "s1").await?;
            tx.keep_will("b", &[3], "s2").await?;
            tx.keep_will("c", &[4], "s1").await?;
            // Whoever connects to another server has its will there.
            tx.keep_will("c", &[5], "s2").await
        })
    })
    .await;
    let beats = on.store.system_write("test", |tx| {
        Box::pin(async move {
            let tx = tx.installation().await?;
            let beats = (tx.beat_server("s1").await?, tx.beat_server("s1").await?, tx.beat_server("s2").await?);
            let found: Vec<_> = tx.servers().await?.into_iter().map(|row| (row.id, row.beat)).collect();
            let removed = (tx.remove_server("s1", 1).await?, tx.remove_server("s1", 2).await?);
            let missed = (tx.miss_server("s2", 9).await?, tx.miss_server("s2", 1).await?, tx.beat_server("s2").await?);
            assert_eq!(missed, (false, true, 1), "nor is it missed; one that was sees it");
            Ok::<_, StoreError>((beats, found, removed, tx.beat_server("s1").await?))
        })
    });
    let (beats, found, removed, again) = beats.await.expect("beats");
    assert_eq!(beats, (1, 2, 1));
    assert_eq!(found, [("s1".to_owned(), 2), ("s2".to_owned(), 1)]);
    assert_eq!((removed, again), ((false, true), 1), "one that beats is not removed; one that was sees it");
    let first = take(&on, "s1", "s2", 1).await;
    let rest = take(&on, "s1", "s2", 9).await;
    assert_eq!((first.len(), rest.len()), (1, 1), "in every tenant, a bounded number");
    assert_eq!(first.into_iter().chain(rest).collect::<BTreeSet<_>>(), [vec![1], vec![2]].into());
    assert!(take(&on, "s1", "s3", 9).await.is_empty(), "nobody else gets them");
    let all = on.store.system_write("test", |tx| {
        Box::pin(async move {
            tx.take_all_wills("s4").await?;
            let left = tx.installation().await?.servers().await?.len();
            Ok::<_, StoreError>((left, tx.wills_of("s4", None, 9).await?))
        })
    });
    let (left, all) = all.await.expect("taken");
    let all: BTreeSet<_> = all.into_iter().map(|of| of.row.will).collect();
    assert_eq!((left, all), (0, [vec![1], vec![2], vec![3], vec![5]].into()));
}

async fn take(on: &Fixture, from: &'static str, to: &'static str, limit: u32) -> Vec<Vec<u8>> {
    let taken = on.store.system_write("test", move |tx| Box::pin(async move { tx.take_wills(from, to, limit).await }));
    taken.await.expect("taken").into_iter().map(|of| of.row.will).collect()
}
