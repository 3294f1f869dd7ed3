use fleetward_base::RevocationId;
use fleetward_store::{
    CertificateRow, CrlRow, DenyRow, DeviceRow, DeviceSelector, HeldRow, JournalEntry, LeafRow, LogRow, Of, PendingRow,
    Place, Reach, ResponderRow, RevocationRow, RevokedRow, StoreErrorKind, TileRow,
};

use super::identity::{authority, certificate};
use crate::support::{Fixture, at, device, device_row, entry, uuid};

fn job(number: u32) -> RevocationId {
    uuid(number).parse().expect("a UUID")
}

pub(crate) async fn lists_only_move_on(on: Fixture) {
    let list = |label: &str, number: u64| CrlRow {
        authority: "aa".into(),
        label: label.into(),
        number,
        this_update: at(10),
        next_update: at(20),
        entries: 1,
        der: vec![7; 3],
    };
    let (kept, read, states, none) = on
        .write(move |tx| {
            Box::pin(async move {
                let mut kept = Vec::new();
                for (label, number) in [("", 1), ("", 1), ("", 3), ("", 2), ("a3", 1)] {
                    kept.push(tx.put_crl(&list(label, number)).await?);
                }
                Ok((kept, tx.crl("aa", "").await?, tx.crl_states("aa").await?, tx.crl("bb", "").await?))
            })
        })
        .await;
    assert_eq!((kept, read, none), (vec![true, false, true, false, true], Some(list("", 3)), None));
    let states: Vec<_> = states.iter().map(|state| (state.label.as_str(), state.number)).collect();
    assert_eq!(states, [("", 3), ("a3", 1)]);

    let responder = |byte: u8| ResponderRow {
        authority: "aa".into(),
        der: vec![byte],
        key_purpose: "ocsp-1".into(),
        renew_at: at(5),
    };
    let found = on
        .write(move |tx| {
            Box::pin(async move {
                assert_eq!(tx.ocsp_responder("aa").await?, None);
                tx.put_ocsp_responder(&responder(1)).await?;
                tx.put_ocsp_responder(&responder(2)).await?;
                tx.ocsp_responder("aa").await
            })
        })
        .await;
    assert_eq!(found, Some(responder(2)));
}

pub(crate) async fn revoked_ones_wait_for_their_list(on: Fixture) {
    let (pending, listed, rest, tail, expired) = on
        .write(|tx| {
            Box::pin(async move {
                for serial in ["01a3", "02a3", "03b3"] {
                    tx.insert_certificate(&certificate(serial, "a", 1)).await?;
                    tx.revoke_certificate(serial, "lost", at(7)).await?;
                }
                let pending = tx.crl_pending(2).await?;
                let listed = tx.crl_listed(&pending).await?;
                let rest = tx.crl_pending(5).await?;
                let tail = tx.revoked_with_tail("aa", "a3", at(1000), 5).await?;
                Ok((pending, listed, rest, tail, tx.revoked_with_tail("aa", "a3", at(1002), 5).await?))
            })
        })
        .await;
    let row = |serial: &str| PendingRow { authority: "aa".into(), serial: serial.into() };
    assert_eq!((pending, listed, rest), (vec![row("01a3"), row("02a3")], 2, vec![row("03b3")]));
    let line = |serial: &str| RevokedRow { serial: serial.into(), revoked_at: at(7), reason: Some("lost".into()) };
    assert_eq!((tail, expired), (vec![line("01a3"), line("02a3")], Vec::new()));
    assert_eq!(
        on.system(|tx| Box::pin(async move { tx.crl_pending_tenants().await })).await,
        std::slice::from_ref(&on.acme)
    );

    let (first, again) = on
        .write(|tx| {
            Box::pin(async move {
                tx.put_authority(&authority("aa", 1)).await?;
                let first = tx.revoke_authority("aa", "ca_compromise", at(9)).await?;
                Ok((first, tx.revoke_authority("aa", "ca_compromise", at(9)).await?))
            })
        })
        .await;
    assert_eq!((first, again), (true, false));
    let gone = on.system(|tx| Box::pin(async move { tx.revoked_authorities().await })).await;
    let gone: Vec<_> = gone.iter().map(|of| (of.tenant.clone(), of.row.revoked_at)).collect();
    assert_eq!(gone, [(Some(on.acme.clone()), at(9))]);
}

pub(crate) async fn the_log_grows_by_its_end(on: Fixture) {
    let log = |size: u64| LogRow { size, root: vec![1; 32], checkpoint: format!("note {size}"), signed_at: at(3) };
    let tile = |place: u64, byte: u8| TileRow { level: 0, place, hashes: vec![byte; 64] };
    let (begun, locked, grown, stale, tiles) = on
        .write(move |tx| {
            Box::pin(async move {
                assert_eq!(tx.transparency_log().await?, None);
                tx.begin_transparency_log(&log(0)).await?;
                let grown = tx.grow_transparency_log(&log(2), 0).await?;
                let stale = tx.grow_transparency_log(&log(3), 0).await?;
                tx.put_transparency_tiles(&[tile(0, 1), tile(1, 1)]).await?;
                tx.put_transparency_tiles(&[tile(1, 2)]).await?;
                let tiles = (tx.transparency_tile(0, 1).await?, tx.transparency_tile(0, 2).await?);
                Ok((tx.transparency_log().await?, tx.transparency_log_for_update().await?, grown, stale, tiles))
            })
        })
        .await;
    assert_eq!((begun, locked, grown, stale), (Some(log(2)), Some(log(2)), true, false));
    assert_eq!(tiles, (Some(tile(1, 2)), None));

    let (waiting, placed, again, leaf, leaves) = on
        .write(|tx| {
            Box::pin(async move {
                for (serial, secs) in [("02", 1), ("01", 1), ("03", 2)] {
                    tx.insert_certificate(&certificate(serial, "a", secs)).await?;
                }
                let mut waiting = tx.unlogged_certificates(2).await?;
                for (index, row) in (0..).zip(&mut waiting) {
                    row.index = Some(index);
                }
                let placed = tx.log_certificates(&waiting).await?;
                let again = tx.log_certificates(&waiting).await?;
                Ok((waiting, placed, again, tx.log_leaf("02").await?, tx.log_leaves(1, 9).await?))
            })
        })
        .await;
    let row = |serial: &str, index: u64| LeafRow {
        serial: serial.into(),
        der: vec![0x30, 1],
        issued_at: at(1),
        index: Some(index),
    };
    assert_eq!((waiting, placed, again), (vec![row("01", 0), row("02", 1)], 2, 0));
    assert_eq!((leaf, leaves), (Some(row("02", 1)), vec![row("02", 1)]));
    assert_eq!(
        on.system(|tx| Box::pin(async move { tx.unlogged_tenants().await })).await,
        std::slice::from_ref(&on.acme)
    );
    let taken = on.store.write(&on.acme, "test", move |tx| {
        Box::pin(async move { tx.log_certificates(&[LeafRow { index: Some(1), ..row("03", 1) }]).await })
    });
    assert_eq!(taken.await.expect_err("the place is taken").kind, StoreErrorKind::Conflict);
}

pub(crate) async fn the_deny_list(on: Fixture) {
    let row = |kind: &str, value: &str| DenyRow {
        kind: kind.into(),
        value: value.into(),
        reason: "stolen".into(),
        created_by: "ops".into(),
        created_at: at(1),
    };
    let (first, again, page, count, gone, absent) = on
        .write(move |tx| {
            Box::pin(async move {
                let first = tx.deny(&row("serial", "01")).await?;
                let again = tx.deny(&row("serial", "01")).await?;
                tx.deny(&row("key", "ff")).await?;
                let page = tx.deny_list(Some(("key", "ff")), 5).await?;
                let count = tx.count_denied().await?;
                assert_eq!(tx.denial("serial", "01").await?, Some(row("serial", "01")));
                assert_eq!(tx.denial("key", "01").await?, None);
                let gone = tx.undeny("key", "ff").await?;
                Ok((first, again, page, count, gone, tx.undeny("key", "ff").await?))
            })
        })
        .await;
    assert_eq!((first, again, count, gone, absent), (true, false, 2, true, false));
    assert_eq!(page, [row("serial", "01")]);
    let all = on.system(|tx| Box::pin(async move { tx.all_denied().await })).await;
    assert_eq!(
        all.into_iter().map(|of| (of.tenant, of.row)).collect::<Vec<_>>(),
        [(Some(on.acme.clone()), row("serial", "01"))]
    );
}

fn revocation(number: u32) -> RevocationRow {
    RevocationRow {
        id: job(number),
        kind: "revoke".into(),
        target: "{}".into(),
        reason: "key_compromise".into(),
        status: "running".into(),
        total: 10,
        done: 0,
        certificates: 0,
        cursor: String::new(),
        due_at: None,
        created_by: "ops".into(),
        created_at: at(1),
        updated_at: at(1),
        finished_at: None,
    }
}

pub(crate) async fn revocations_of_many_go_on(on: Fixture) {
    let (page, read, locked) = on
        .write(|tx| {
            Box::pin(async move {
                tx.insert_revocation(&revocation(1)).await?;
                tx.insert_revocation(&revocation(2)).await?;
                let ended = RevocationRow {
                    status: "finished".into(),
                    done: 9,
                    certificates: 8,
                    cursor: "z".into(),
                    updated_at: at(5),
                    finished_at: Some(at(5)),
                    ..revocation(1)
                };
                assert_eq!(tx.count_open_revocations().await?, 2);
                tx.advance_revocation(&ended).await?;
                assert_eq!(tx.count_open_revocations().await?, 1);
                let page = tx.revocations(Some(job(2)), 5).await?;
                Ok((page, tx.revocation(job(2)).await?, tx.revocation_for_update(job(9)).await?))
            })
        })
        .await;
    let first = page.first().map(|row| (row.done, row.finished_at));
    assert_eq!((page.len(), first), (1, Some((9, Some(at(5))))));
    assert_eq!((read, locked), (Some(revocation(2)), None));
    // What waits for its moment is in nobody's way.
    on.write(|tx| {
        Box::pin(async move {
            for number in 3..6 {
                let waits = RevocationRow { status: "waiting".into(), due_at: Some(at(50)), ..revocation(number) };
                tx.insert_revocation(&waits).await?;
            }
            Ok(())
        })
    })
    .await;
    on.elsewhere(|tx| Box::pin(async move { tx.insert_revocation(&revocation(6)).await })).await;
    let (page, rest, later) = on
        .system(|tx| {
            Box::pin(async move {
                let page = tx.due_revocations(at(49), None, 1).await?;
                let after = page.first().and_then(|of| Some((of.tenant.clone()?, of.row.id)));
                let after = after.as_ref().map(|(tenant, id)| (tenant, *id));
                Ok((page, tx.due_revocations(at(49), after, 5).await?, tx.due_revocations(at(50), None, 9).await?))
            })
        })
        .await;
    let ids = |rows: &[Of<RevocationRow>]| rows.iter().map(|of| of.row.id).collect::<Vec<_>>();
    assert_eq!((ids(&page), ids(&rest)), (vec![job(2)], vec![job(6)]));
    assert_eq!(ids(&later), [job(2), job(3), job(4), job(5), job(6)]);
}

pub(crate) async fn pages_of_devices_are_revoked(on: Fixture) {
    let berlin = DeviceSelector { site: Some("berlin".into()), ..DeviceSelector::default() };
    let (page, reach, revoked, moved, tokens, rest) = on
        .write(move |tx| {
            Box::pin(async move {
                for (name, site) in [("a", Some("berlin")), ("b", None), ("c", Some("berlin"))] {
                    let row = DeviceRow { site: site.map(str::to_owned), ..device_row(name) };
                    tx.insert_device(&row).await?;
                }
                for (serial, name) in [("01", "a"), ("02", "b"), ("03", "c"), ("04", "c")] {
                    tx.insert_certificate(&certificate(serial, name, 1)).await?;
                }
                let reach = tx.reach_of_devices(&berlin).await?;
                let page = tx.selected_devices(&berlin, "a", 5).await?;
                let both = [device("a"), device("c")];
                tx.revoke_certificate("04", "before", at(2)).await?;
                let mut revoked = tx.revoke_certificates_of(&both, "lost", at(7)).await?;
                revoked.sort_by(|one, other| one.serial.cmp(&other.serial));
                let from = page.first().map(|row| row.status.clone()).unwrap_or_default();
                let moved = tx.move_devices(&[device("c")], &from, "suspended", at(7)).await?;
                let tokens = tx.revoke_enroll_tokens_of(&both, at(7)).await?;
                let rest = tx.device(&device("c")).await?.map(|row| (row.status, row.revision));
                Ok((page, reach, revoked, moved, tokens, rest))
            })
        })
        .await;
    let held = |serial: &str, name: &str| HeldRow { serial: serial.into(), device: device(name) };
    assert_eq!(page.iter().map(|row| row.device.clone()).collect::<Vec<_>>(), [device("c")]);
    assert_eq!(reach, Reach { certificates: 3, devices: 2 });
    assert_eq!(revoked, [held("01", "a"), held("03", "c")]);
    assert_eq!((moved, tokens), (vec![device("c")], 0));
    assert_eq!(rest, Some(("suspended".into(), device_row("c").revision + 1)));
}

pub(crate) async fn certificates_are_found_by_where_they_came_from(on: Fixture) {
    let (by_source, by_any, reach, by_authority, of_authority, revoked) = on
        .write(|tx| {
            Box::pin(async move {
                for (serial, name, authority) in [("01", "a", "aa"), ("02", "b", "aa"), ("03", "b", "bb")] {
                    let row = CertificateRow { authority: authority.into(), ..certificate(serial, name, 1) };
                    tx.insert_certificate(&row).await?;
                }
                let (way, source) = ("token", "t1");
                let by_source = tx.certificates_by_source(Some(way), source, "01", 5).await?;
                let by_any = tx.certificates_by_source(None, source, "", 5).await?.len();
                let reach = tx.reach_of_source(Some(way), source).await?;
                let by_authority = tx.certificates_by_authority("aa", "01", 5).await?;
                let of_authority = tx.reach_of_authority("aa").await?;
                let revoked = tx.revoke_serials(&["02".into(), "09".into()], "lost", at(5)).await?;
                Ok((by_source, by_any, reach, by_authority, of_authority, revoked))
            })
        })
        .await;
    let held = |serial: &str, name: &str| HeldRow { serial: serial.into(), device: device(name) };
    assert_eq!((by_source, by_any), (vec![held("02", "b"), held("03", "b")], 3));
    assert_eq!(reach, Reach { certificates: 3, devices: 2 });
    assert_eq!((by_authority, of_authority), (vec![held("02", "b")], Reach { certificates: 2, devices: 2 }));
    assert_eq!(revoked, [held("02", "b")]);
}

pub(crate) async fn replacements_are_asked_for(on: Fixture) {
    let (marked, left, by, none, after_proof) = on
        .write(|tx| {
            Box::pin(async move {
                for (serial, name) in [("01", "a"), ("02", "b")] {
                    tx.insert_certificate(&certificate(serial, name, 1)).await?;
                }
                let marked = tx.mark_replacements(&[device("a"), device("b")], job(1), at(50)).await?.len();
                let left = (tx.count_unreplaced(job(1)).await?, tx.unreplaced(job(1), "01", 5).await?);
                let newer = CertificateRow { proven_at: Some(at(3)), ..certificate("03", "a", 2) };
                tx.insert_certificate(&newer).await?;
                let by = tx.replace_by("01").await?;
                Ok((marked, left, by, tx.replace_by("03").await?, tx.count_unreplaced(job(1)).await?))
            })
        })
        .await;
    let held = HeldRow { serial: "02".into(), device: device("b") };
    assert_eq!((marked, left), (2, (2, vec![held])));
    assert_eq!((by, none, after_proof), (Some(at(50)), None, 1));
}

pub(crate) async fn what_ends_sessions_is_followed(on: Fixture) {
    let head = on.system(|tx| Box::pin(async move { tx.ends_head().await })).await;
    let ends = [
        "device.revoked",
        "deny_list.changed",
        "attestation.overdue",
        "attestation.verdict",
        "certificate.forgotten",
        "certificate.retired",
        "certificate.revoked",
        "claim.revoked",
        "device.decommissioned",
        "device.status_changed",
        "device.transferred",
        "factory_authority.revoked",
    ];
    for action in ["device.connected"].into_iter().chain(ends) {
        on.write(move |tx| {
            Box::pin(async move {
                let row = fleetward_store::JournalEntry { action: action.into(), ..entry(action) };
                tx.journal(&row).await
            })
        })
        .await;
    }
    // A transaction of whichever test holds back what began after it: it is heard of when that one is over.
    let mut heard = Vec::new();
    while heard.len() < ends.len() {
        tokio::task::yield_now().await;
        heard = on.system(move |tx| Box::pin(async move { tx.ends_after(head, 50).await })).await;
    }
    let actions: Vec<_> = heard.iter().map(|of| of.row.action.as_str()).collect();
    assert_eq!(actions, ends);
    let (first, after) = heard.split_first().expect("two of them");
    let place = Place { xid: first.row.xid, id: first.row.id };
    let rest = on.system(move |tx| Box::pin(async move { tx.ends_after(place, 50).await })).await;
    assert_eq!(rest, after);
}

pub(crate) async fn what_waited_for_its_device_is_known(on: Fixture) {
    let row = |action: &str, serial: &str| JournalEntry { subject: Some(serial.into()), ..entry(action) };
    let rows = [row("certificate.pending", "01"), row("certificate.issued", "02")];
    let abroad = row("certificate.pending", "03");
    on.store
        .write(&on.umbrella, "test", move |tx| Box::pin(async move { tx.journal(&abroad).await }))
        .await
        .expect("written");
    let waited = on
        .write(move |tx| {
            Box::pin(async move {
                for row in &rows {
                    tx.journal(row).await?;
                }
                Ok((tx.waited("01").await?, tx.waited("02").await?, tx.waited("03").await?))
            })
        })
        .await;
    assert_eq!(waited, (true, false, false), "issued to a claim; issued to a device; another tenant's");
}
