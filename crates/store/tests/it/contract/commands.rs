use fleetward_base::CommandId;
use fleetward_store::{CommandFilter, CommandRow, CommandTail, CommandTemplateRow, TenantTx};

use crate::support::{Fixture, at, command_row, device, device_row};

fn id(text: &str) -> CommandId {
    text.parse().expect("a command id")
}

fn named(name: &str, device: &str, seq: u64) -> CommandRow {
    CommandRow { seq, ..command_row(name, device) }
}

fn done(name: &str, device: &str, seq: u64, secs: i64) -> CommandRow {
    CommandRow { status: "succeeded".into(), due_at: None, updated_at: at(secs), ..named(name, device, seq) }
}

async fn insert(tx: &mut TenantTx, rows: &[CommandRow]) -> Result<(), fleetward_store::StoreError> {
    for row in rows {
        assert!(tx.insert_command(row, b"{}").await?);
    }
    Ok(())
}

pub(crate) async fn a_command_is_written_once_and_changed_by_version(on: Fixture) {
    on.elsewhere(|tx| Box::pin(async move { insert(tx, &[named("c1", "a", 7)]).await })).await;
    let next = CommandRow {
        status: "failed".into(),
        attempts: 2,
        reason_code: Some("NO_DISK".into()),
        reason_text: Some("full".into()),
        result: Some(r#"{"a":{"b":true}}"#.into()),
        version: 2,
        sent_at: Some(at(3)),
        started_at: Some(at(4)),
        updated_at: at(5),
        finished_at: Some(at(5)),
        due_at: None,
        ..named("c1", "a", 1)
    };
    let update = next.clone();
    let (twice, locked, updates, read, payload, absent) = on
        .write(move |tx| {
            Box::pin(async move {
                insert(tx, &[named("c1", "a", 1)]).await?;
                let twice = tx.insert_command(&named("c1", "a", 9), b"other").await?;
                let locked = tx.command_for_update(&device("a"), &id("c1")).await?;
                let updates = (tx.update_command(&update, 1).await?, tx.update_command(&update, 1).await?);
                let read = tx.command(&device("a"), &id("c1")).await?;
                let payload = tx.command_payload(&device("a"), &id("c1")).await?;
                let absent =
                    (tx.command(&device("b"), &id("c1")).await?, tx.command_payload(&device("a"), &id("c2")).await?);
                Ok((twice, locked, updates, read, payload, absent))
            })
        })
        .await;
    assert!(!twice, "the first one stays");
    assert_eq!(locked, Some(named("c1", "a", 1)));
    assert_eq!((updates, read), ((true, false), Some(next)));
    assert_eq!((payload, absent), (Some(b"{}".to_vec()), (None, None)));
    let other = on.elsewhere(|tx| Box::pin(async move { tx.command(&device("a"), &id("c1")).await })).await;
    assert_eq!(other, Some(named("c1", "a", 7)), "another tenant's stays");
}

pub(crate) async fn queues_have_an_order_and_an_end(on: Fixture) {
    let (open, tail, none, due, later) = {
        on.elsewhere(|tx| Box::pin(async move { insert(tx, &[named("x", "a", 1)]).await })).await;
        let (open, tail, none) = on
            .write(|tx| {
                Box::pin(async move {
                    let sent = CommandRow { status: "sent".into(), due_at: Some(at(50)), ..named("b", "a", 2) };
                    insert(tx, &[named("z", "a", 1), sent, done("y", "a", 3, 1), named("w", "b", 1)]).await?;
                    let open = tx.open_commands(&device("a")).await?;
                    Ok((open, tx.command_tail(&device("a")).await?, tx.command_tail(&device("none")).await?))
                })
            })
            .await;
        let (acme, gw) = (on.acme.clone(), device("a"));
        let (due, later) = on
            .system(move |tx| {
                Box::pin(async move {
                    let due = tx.due_commands(at(50), None, 10).await?;
                    Ok((due, tx.due_commands(at(50), Some((&acme, &gw)), 1).await?))
                })
            })
            .await;
        (open, tail, none, due, later)
    };
    assert_eq!(open.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), ["z", "b"], "in the order of their places");
    assert_eq!(tail, CommandTail { last_seq: 3, open: 2 });
    assert_eq!(none, CommandTail::default());
    let names = |rows: &[fleetward_store::Of<fleetward_base::DeviceId>]| {
        rows.iter().map(|it| format!("{}/{}", it.tenant.as_ref().expect("of a tenant"), it.row)).collect::<Vec<_>>()
    };
    assert_eq!(names(&due), ["acme/a", "acme/b", "umbrella/a"], "each device once");
    assert_eq!(names(&later), ["acme/b"]);
    let nothing = on.system(|tx| Box::pin(async move { tx.due_commands(at(0), None, 10).await })).await;
    assert!(nothing.is_empty());
}

pub(crate) async fn commands_are_filtered_and_paged(on: Fixture) {
    on.write(|tx| {
        Box::pin(async move {
            insert(tx, &[named("c1", "a", 1), named("c1", "b", 1), done("c2", "a", 2, 1), named("c3", "a", 3)]).await
        })
    })
    .await;
    let filter = |id_: Option<&str>, of: Option<&str>, status: Option<&str>| CommandFilter {
        id: id_.map(id),
        device: of.map(device),
        status: status.map(str::to_owned),
        op: None,
    };
    let by_op = |op: &str| CommandFilter { op: Some(op.to_owned()), ..CommandFilter::default() };
    for (filter, after, limit, expected) in [
        (filter(None, None, None), None, 9, vec!["c1/a", "c1/b", "c2/a", "c3/a"]),
        (filter(None, None, None), Some(("c1", "a")), 2, vec!["c1/b", "c2/a"]),
        (filter(Some("c1"), None, None), None, 9, vec!["c1/a", "c1/b"]),
        (filter(None, Some("a"), Some("queued")), None, 9, vec!["c1/a", "c3/a"]),
        (filter(None, None, None), Some(("c3", "a")), 9, vec![]),
        (by_op("nothing"), None, 9, vec![]),
        (by_op("restart"), None, 2, vec!["c1/a", "c1/b"]),
    ] {
        let rows = on
            .read(move |tx| {
                Box::pin(async move {
                    let after = after.map(|(command, of)| (id(command), device(of)));
                    tx.commands(&filter, after.as_ref().map(|(command, of)| (command, of)), limit).await
                })
            })
            .await;
        assert_eq!(rows.iter().map(|row| format!("{}/{}", row.id, row.device)).collect::<Vec<_>>(), expected);
    }
    let (all, older, queued) = on
        .read(|tx| {
            Box::pin(async move {
                Ok((
                    tx.device_commands(&device("a"), None, None, 9).await?,
                    tx.device_commands(&device("a"), None, Some(3), 1).await?,
                    tx.device_commands(&device("a"), Some("queued"), None, 9).await?,
                ))
            })
        })
        .await;
    let names = |rows: &[CommandRow]| rows.iter().map(|row| row.id.to_string()).collect::<Vec<_>>();
    assert_eq!(
        (names(&all), names(&older), names(&queued)),
        (vec!["c3".into(), "c2".into(), "c1".into()], vec!["c2".into()], vec!["c3".into(), "c1".into()])
    );
}

pub(crate) async fn what_is_over_is_forgotten(on: Fixture) {
    on.elsewhere(|tx| Box::pin(async move { insert(tx, &[done("c1", "a", 1, 1)]).await })).await;
    let (trimmed, again, forgotten, left) = on
        .write(|tx| {
            Box::pin(async move {
                insert(tx, &[named("open", "a", 1), done("c2", "a", 2, 1), done("c3", "a", 3, 5)]).await?;
                insert(tx, &[done("c4", "a", 4, 9), done("c5", "a", 5, 9), done("c1", "b", 1, 1)]).await?;
                let trimmed = tx.trim_commands(&device("a"), 3).await?;
                let again = tx.trim_commands(&device("a"), 3).await?;
                let forgotten = [tx.forget_commands(at(6), 1).await?, tx.forget_commands(at(6), 9).await?];
                Ok((trimmed, again, forgotten, tx.commands(&CommandFilter::default(), None, 9).await?))
            })
        })
        .await;
    assert_eq!((trimmed, again, forgotten), (1, 0, [1, 1]), "c2, then that of b and c3");
    assert_eq!(left.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), ["c4", "c5", "open"], "what waits stays");
    let one = on
        .write(|tx| {
            Box::pin(async move {
                let of = device("a");
                let (over, open) =
                    (tx.delete_command(&of, &id("c4")).await?, tx.delete_command(&of, &id("open")).await?);
                Ok((over, open, tx.delete_command(&device("b"), &id("c5")).await?))
            })
        })
        .await;
    assert_eq!(one, (true, false, false), "one that is over, of its own device");
    let gone = on
        .write(|tx| {
            Box::pin(async move {
                tx.insert_device(&device_row("a")).await?;
                tx.forget_device_state(&device("a")).await?;
                tx.command_tail(&device("a")).await
            })
        })
        .await;
    assert_eq!(gone, CommandTail::default(), "a device that goes takes them along");
    let other = on.elsewhere(|tx| Box::pin(async move { tx.command_tail(&device("a")).await })).await;
    assert_eq!(other, CommandTail { last_seq: 1, open: 0 });
}

fn template(name: &str) -> CommandTemplateRow {
    CommandTemplateRow {
        name: name.into(),
        title: None,
        description: Some("d".into()),
        content_type: "application/json".into(),
        payload: vec![0, 1, 255],
        deprecated: false,
        created_by: "root".into(),
        revision: 1,
        created_at: at(1),
        updated_at: at(1),
    }
}

pub(crate) async fn templates_are_named_and_changed_by_revision(on: Fixture) {
    on.elsewhere(|tx| Box::pin(async move { tx.insert_command_template(&template("reboot")).await })).await;
    on.write(|tx| {
        Box::pin(async move {
            assert_eq!(tx.command_template("reboot").await?, None);
            for name in ["reboot", "update"] {
                assert!(tx.insert_command_template(&template(name)).await?);
            }
            assert!(!tx.insert_command_template(&template("reboot")).await?);
            assert_eq!(tx.count_command_templates().await?, 2);
            assert_eq!(tx.command_templates(Some("reboot"), 9).await?, [template("update")]);
            let after =
                CommandTemplateRow { deprecated: true, title: Some("t".into()), revision: 2, ..template("reboot") };
            assert!(tx.update_command_template(&after, 1).await? && !tx.update_command_template(&after, 1).await?);
            assert_eq!(tx.command_template("reboot").await?, Some(after));
            assert!(tx.remove_command_template("reboot").await? && !tx.remove_command_template("reboot").await?);
            Ok(())
        })
    })
    .await;
}
