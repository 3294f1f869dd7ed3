use fleetward_store::{
    AnchorCount, AuthorityStandingRow, CaRotationRow, CertificateRow, DeviceRow, IssuerRow, SealedKeyRow,
    StoreErrorKind, UntoldRow,
};

use crate::support::{Fixture, at, device, device_row};

fn issuer(revision: u64) -> IssuerRow {
    IssuerRow {
        kind: "cfssl".into(),
        config: "{}".into(),
        credential: vec![1, 2],
        revision,
        updated_at: at(i64::try_from(revision).expect("small")),
    }
}

pub(crate) async fn issuers_are_written_with_their_revision(on: Fixture) {
    let (none, read, stale, updated) = on
        .write(|tx| {
            Box::pin(async move {
                let none = tx.issuer().await?;
                tx.insert_issuer(&issuer(1)).await?;
                let read = tx.issuer().await?;
                let stale = tx.update_issuer(&issuer(3), 2).await?;
                Ok((none, read, stale, tx.update_issuer(&issuer(2), 1).await?))
            })
        })
        .await;
    assert_eq!((none, read, stale, updated), (None, Some(issuer(1)), false, true));
    let revisions = on.system(|tx| Box::pin(async move { tx.issuer_revisions().await })).await;
    let seen: Vec<_> = revisions.iter().map(|of| (of.tenant.clone(), of.row.revision)).collect();
    assert_eq!(seen, [(Some(on.acme.clone()), 2)]);
    let twice = on.store.write(&on.acme, "test", |tx| Box::pin(async move { tx.insert_issuer(&issuer(1)).await }));
    assert_eq!(twice.await.expect_err("there is one").kind, StoreErrorKind::Conflict);
}

fn certificate(serial: &str, authority: &str, status: &str) -> CertificateRow {
    CertificateRow {
        serial: serial.into(),
        device: device("a"),
        authority: authority.into(),
        fingerprint: format!("f{serial}"),
        request: vec![1; 32],
        not_before: at(1),
        not_after: at(100),
        der: vec![0x30, 1],
        status: status.into(),
        issued_at: at(1),
        proven_at: None,
        revoked_at: None,
        reason: None,
        way: "token".into(),
        source: None,
    }
}

pub(crate) async fn revoked_certificates_are_told_once(on: Fixture) {
    let (before, after) = on
        .write(|tx| {
            Box::pin(async move {
                for (serial, authority, status) in
                    [("01", "aa", "revoked"), ("02", "aa", "active"), ("03", "bb", "revoked"), ("04", "aa", "retired")]
                {
                    tx.insert_certificate(&certificate(serial, authority, status)).await?;
                }
                let before = tx.untold_certificates("aa", 10).await?;
                tx.put_issuer_told("01", at(5)).await?;
                tx.put_issuer_told("01", at(6)).await?;
                Ok((before, tx.untold_certificates("aa", 10).await?))
            })
        })
        .await;
    let untold = |serial: &str| UntoldRow { serial: serial.into(), der: vec![0x30, 1] };
    assert_eq!((before, after), (vec![untold("01"), untold("04")], vec![untold("04")]));
}

/// All that `core::rotation::Standing` knows; the core's own test holds them to it.
const STANDINGS: [&str; 7] = ["pending", "issued", "proven", "active", "superseded", "retired", "revoked"];

pub(crate) async fn authorities_stand_and_fall(on: Fixture) {
    let row = |fingerprint: &str, standing: &str, secs: i64| AuthorityStandingRow {
        fingerprint: fingerprint.into(),
        standing: standing.into(),
        since: at(secs),
    };
    let key = SealedKeyRow { purpose: "infra-1".into(), sealed: vec![9], public: vec![7, 7], created_at: at(1) };
    let kept = key.clone();
    let (listed, usable, by_public, destroyed, gone) = on
        .write(move |tx| {
            Box::pin(async move {
                tx.put_authority_standing(&row("bb", "next", 1)).await?;
                tx.put_authority_standing(&row("aa", "current", 1)).await?;
                tx.put_authority_standing(&row("bb", "current", 2)).await?;
                // Every standing of `core::rotation` by itself, each under an authority of its name.
                for status in STANDINGS {
                    tx.insert_certificate(&certificate(&format!("s-{status}"), status, status)).await?;
                }
                let mut usable = Vec::new();
                for status in STANDINGS {
                    assert_eq!(tx.usable_certificates(status, at(101)).await?, 0, "{status}, after its end");
                    if tx.usable_certificates(status, at(100)).await? > 0 {
                        usable.push(status);
                    }
                }
                tx.put_sealed_key(&kept).await?;
                let by_public = (tx.sealed_key_by_public(&[7, 7]).await?, tx.sealed_key_by_public(&[7]).await?);
                let destroyed = (tx.destroy_sealed_key("infra-1").await?, tx.destroy_sealed_key("infra-1").await?);
                Ok((tx.authority_standings().await?, usable, by_public, destroyed, tx.sealed_key("infra-1").await?))
            })
        })
        .await;
    assert_eq!(listed, [row("aa", "current", 1), row("bb", "current", 2)]);
    assert_eq!(usable, ["issued", "proven", "active", "superseded"]);
    assert_eq!(by_public, (Some(key), None));
    assert_eq!((destroyed, gone), ((true, false), None));
    let all = on
        .system(move |tx| {
            Box::pin(async move {
                tx.installation().await?.put_authority_standing(&row("rr", "retiring", 3)).await?;
                tx.all_authority_standings().await
            })
        })
        .await;
    let seen: Vec<_> = all.iter().map(|of| (of.tenant.clone(), of.row.fingerprint.as_str())).collect();
    assert_eq!(seen, [(None, "rr"), (Some(on.acme.clone()), "aa"), (Some(on.acme.clone()), "bb")]);
}

fn rotation(id: &str, secs: i64) -> CaRotationRow {
    CaRotationRow {
        id: id.into(),
        kind: "issuing".into(),
        stage: "publish".into(),
        old_ca: "aa".into(),
        new_ca: "bb".into(),
        plan: "{}".into(),
        started_at: at(secs),
        stage_at: at(secs),
        finished_at: None,
        revision: 1,
    }
}

pub(crate) async fn a_tenant_has_one_open_rotation(on: Fixture) {
    on.write(|tx| Box::pin(async move { tx.insert_ca_rotation(&rotation("1", 1)).await })).await;
    let again =
        on.store.write(&on.acme, "test", |tx| Box::pin(async move { tx.insert_ca_rotation(&rotation("2", 2)).await }));
    assert_eq!(again.await.expect_err("one is open").kind, StoreErrorKind::Conflict);
    let done = CaRotationRow {
        stage: "retired".into(),
        finished_at: Some(at(9)),
        stage_at: at(9),
        revision: 2,
        ..rotation("1", 1)
    };
    let ended = done.clone();
    let (open, stale, updated, none, last) = on
        .write(move |tx| {
            Box::pin(async move {
                let open = tx.open_ca_rotation().await?;
                let stale = tx.update_ca_rotation(&ended, 7).await?;
                let updated = tx.update_ca_rotation(&ended, 1).await?;
                let none = tx.open_ca_rotation().await?;
                let last = tx.last_ca_rotation().await?;
                tx.insert_ca_rotation(&rotation("2", 10)).await?;
                Ok((open, stale, updated, none, last))
            })
        })
        .await;
    assert_eq!((open, stale, updated, none, last), (Some(rotation("1", 1)), false, true, None, Some(done)));
    let all = on
        .system(|tx| {
            Box::pin(async move {
                tx.installation().await?.insert_ca_rotation(&rotation("3", 3)).await?;
                let all = tx.open_ca_rotations(None, 10).await?;
                let first = tx.open_ca_rotations(None, 1).await?;
                let after = first.first().map(|of| (of.tenant.clone(), of.row.id.clone()));
                let after = after.as_ref().map(|(tenant, id)| (tenant.as_ref(), id.as_str()));
                let rest = tx.open_ca_rotations(after, 10).await?;
                assert_eq!([first, rest].concat(), all);
                Ok(all)
            })
        })
        .await;
    let seen: Vec<_> = all.iter().map(|of| (of.tenant.clone(), of.row.id.as_str())).collect();
    assert_eq!(seen, [(None, "3"), (Some(on.acme.clone()), "2")]);
}

pub(crate) async fn anchors_are_counted(on: Fixture) {
    let (held, count, lag, rest) = on
        .write(|tx| {
            Box::pin(async move {
                for (name, status) in [("a", "active"), ("b", "active"), ("c", "suspended"), ("d", "active")] {
                    tx.insert_device(&DeviceRow { status: status.into(), ..device_row(name) }).await?;
                }
                let held = (
                    tx.hold_anchor(&device("b"), "ff", at(1)).await?,
                    tx.hold_anchor(&device("b"), "ff", at(2)).await?,
                    tx.hold_anchor(&device("c"), "ff", at(2)).await?,
                    tx.hold_anchor(&device("a"), "ee", at(2)).await?,
                );
                let count = tx.anchor_count("ff").await?;
                let lag = tx.without_anchor("ff", None, 10).await?;
                let rest = tx.without_anchor("ff", Some(&device("a")), 10).await?;
                Ok((held, count, lag, rest))
            })
        })
        .await;
    assert_eq!((held, count), ((true, false, true, true), AnchorCount { active: 3, holding: 1 }));
    assert_eq!((lag, rest), (vec![device("a"), device("d")], vec![device("d")]));
    let all = on.system(|tx| Box::pin(async move { tx.anchor_count_of_all("ff").await })).await;
    assert_eq!(all, AnchorCount { active: 3, holding: 1 });
    let (before, dropped, again, after) = on
        .write(|tx| {
            Box::pin(async move {
                let before = (tx.holds_anchor(&device("b"), "ff").await?, tx.holds_anchor(&device("d"), "ff").await?);
                let dropped = tx.drop_anchor(&device("b"), "ff").await?;
                Ok((
                    before,
                    dropped,
                    tx.drop_anchor(&device("b"), "ff").await?,
                    tx.holds_anchor(&device("b"), "ff").await?,
                ))
            })
        })
        .await;
    assert_eq!((before, dropped, again, after), ((true, false), true, false, false));
}
