use fleetward_store::{
    AuthorityRow, ClaimCodeRow, ClaimRow, FactoryAuthorityRow, FactoryCertificateRow, OtherCertificateRow,
    PendingCertificateRow, RegistrationCodeRow, TemplateRow,
};

use crate::support::{Fixture, at, device, token};

fn template(name: &str) -> TemplateRow {
    TemplateRow {
        name: name.into(),
        body: "{}".into(),
        hook_url: Some("https://hook.example".into()),
        hook_secret: Some(vec![1, 2]),
        hook_ca: None,
        enabled: true,
        revision: 1,
        created_by: "ops".into(),
        created_at: at(1),
        updated_at: at(1),
    }
}

pub(crate) async fn templates_change_at_their_revision(on: Fixture) {
    let other = on.elsewhere(|tx| Box::pin(async move { tx.insert_template(&template("line")).await })).await;
    assert!(other, "a name belongs to each tenant");
    on.write(|tx| {
        Box::pin(async move {
            assert!(tx.insert_template(&template("line")).await?);
            assert!(!tx.insert_template(&template("line")).await?);
            assert!(tx.insert_template(&template("a")).await?);
            assert_eq!(tx.template("line").await?, Some(template("line")));
            let next = TemplateRow { hook_secret: None, enabled: false, revision: 2, ..template("line") };
            assert!(tx.update_template(&next, 1).await?);
            assert!(!tx.update_template(&next, 1).await?);
            assert_eq!(tx.templates(None, 9).await?, [template("a"), next.clone()]);
            assert_eq!(tx.templates(Some("a"), 9).await?, [next]);
            assert!(!tx.delete_template("line", 1).await?);
            assert!(tx.delete_template("line", 2).await?);
            assert_eq!(tx.template("line").await?, None);
            Ok(())
        })
    })
    .await;
}

fn claim(name: &str, count_cap: Option<u64>) -> ClaimRow {
    ClaimRow {
        name: name.into(),
        kind: "claim".into(),
        template: "line".into(),
        serial: format!("{name}01"),
        fingerprint: format!("{name}ff"),
        der: vec![0x30],
        count_cap,
        used: 0,
        created_by: "ops".into(),
        created_at: at(1),
        expires_at: at(100),
        revoked_at: None,
    }
}

pub(crate) async fn claims_count_to_their_cap(on: Fixture) {
    on.write(|tx| {
        Box::pin(async move {
            assert!(tx.insert_claim(&claim("a", Some(2))).await?);
            assert!(!tx.insert_claim(&claim("a", None)).await?);
            assert!(tx.insert_claim(&claim("b", None)).await?);
            let counted = [tx.use_claim("a").await?, tx.use_claim("a").await?, tx.use_claim("a").await?];
            assert_eq!(counted, [Some(1), Some(2), None]);
            assert_eq!(tx.use_claim("b").await?, Some(1));
            assert!(tx.revoke_claim("b", at(5)).await?);
            assert!(!tx.revoke_claim("b", at(6)).await?);
            assert_eq!(tx.use_claim("b").await?, None);
            assert_eq!(tx.claim("b").await?.and_then(|row| row.revoked_at), Some(at(5)));
            assert_eq!(tx.claim_for_update("a").await?.map(|row| row.used), Some(2));
            let names = |rows: Vec<ClaimRow>| rows.into_iter().map(|row| row.name).collect::<Vec<_>>();
            assert_eq!(names(tx.claims(None, 1).await?), ["a"]);
            assert_eq!(names(tx.claims(Some("a"), 9).await?), ["b"]);
            assert_eq!(tx.forget_claims("user", at(1000)).await?, 0);
            assert_eq!(tx.forget_claims("claim", at(1000)).await?, 2);
            Ok(())
        })
    })
    .await;
}

pub(crate) async fn the_oldest_that_wait_make_room(on: Fixture) {
    on.write(|tx| {
        Box::pin(async move {
            for (id, created) in [("x", 1), ("y", 3), ("z", 2)] {
                let row = PendingCertificateRow { created_at: at(created), ..pending(id, 50) };
                tx.insert_pending_certificate(&row).await?;
            }
            assert_eq!(tx.end_pending_certificates("a", 1, at(10)).await?, 2);
            assert_eq!(tx.end_pending_certificates("a", 1, at(10)).await?, 0);
            assert_eq!(tx.count_pending_certificates("a", at(10)).await?, 1);
            assert_eq!(tx.pending_certificate_by_token(b"y").await?.map(|row| row.expires_at), Some(at(50)));
            assert_eq!(tx.end_pending_certificates("a", 0, at(11)).await?, 1);
            assert_eq!(tx.forget_pending_certificates(at(11)).await?, 3);
            Ok(())
        })
    })
    .await;
}

fn other(serial: &str, kind: &str) -> OtherCertificateRow {
    OtherCertificateRow {
        serial: serial.into(),
        authority: "aa".into(),
        fingerprint: format!("f{serial}"),
        kind: kind.into(),
        der: vec![0x30, 2],
        issued_at: at(5),
        not_after: at(100),
        revoked_at: None,
        reason: None,
    }
}

pub(crate) async fn other_certificates_are_kept_listed_and_logged(on: Fixture) {
    on.elsewhere(|tx| Box::pin(async move { tx.insert_other_certificate(&other("c1a3", "claim")).await })).await;
    on.write(|tx| {
        Box::pin(async move {
            assert_eq!(tx.other_certificate("c1a3").await?, None, "another tenant's");
            for (serial, kind) in [("c1a3", "claim"), ("c2a3", "claim"), ("03a3", "ocsp")] {
                tx.insert_other_certificate(&other(serial, kind)).await?;
            }
            let unknown = OtherCertificateRow { authority: String::new(), ..other("c3", "claim") };
            tx.insert_other_certificate(&unknown).await?;
            assert_eq!(tx.other_certificate("c1a3").await?, Some(other("c1a3", "claim")));
            let resting = [tx.resting_claims("aa", at(100)).await?, tx.resting_claims("bb", at(1)).await?];
            assert_eq!(resting, [3, 1], "whose authority nobody knows rests on each");
            assert_eq!(tx.resting_claims("aa", at(101)).await?, 0, "they ended");
            assert!(tx.revoke_other_certificate("c1a3", "privilege_withdrawn", at(7)).await?);
            assert!(!tx.revoke_other_certificate("c1a3", "privilege_withdrawn", at(8)).await?);
            assert_eq!(tx.resting_claims("aa", at(7)).await?, 2);
            let pending = tx.crl_pending(9).await?;
            assert_eq!(pending.iter().map(|row| row.serial.as_str()).collect::<Vec<_>>(), ["c1a3"]);
            assert_eq!(tx.crl_listed(&pending).await?, 1);
            let tail = tx.revoked_with_tail("aa", "a3", at(100), 9).await?;
            assert_eq!(
                tail.iter().map(|row| (row.serial.as_str(), row.revoked_at)).collect::<Vec<_>>(),
                [("c1a3", at(7))]
            );
            assert_eq!(tx.revoked_with_tail("aa", "a3", at(101), 9).await?, []);
            let mut rows = tx.unlogged_certificates(9).await?;
            assert_eq!(rows.len(), 4);
            for (index, row) in (0..).zip(&mut rows) {
                row.index = Some(index);
            }
            assert_eq!(tx.log_certificates(&rows).await?, 4);
            assert_eq!(tx.log_leaves(0, 9).await?, rows);
            assert_eq!(
                tx.log_leaf("c2a3").await?.and_then(|row| row.index),
                rows.iter().find(|row| row.serial == "c2a3").and_then(|row| row.index)
            );
            assert!(tx.unlogged_certificates(9).await?.is_empty());
            Ok(())
        })
    })
    .await;
    let unlogged = on.system(|tx| Box::pin(async move { tx.unlogged_tenants().await })).await;
    assert_eq!(unlogged.len(), 1, "the other tenant's");
}

fn pending(id: &str, expires: i64) -> PendingCertificateRow {
    PendingCertificateRow {
        id: id.into(),
        token: id.as_bytes().to_vec(),
        claim: "a".into(),
        connection: "c1".into(),
        serial: format!("{id}01"),
        authority: "aa".into(),
        request: vec![7],
        not_before: at(0),
        not_after: at(1000),
        der: vec![0x30],
        created_at: at(1),
        expires_at: at(expires),
    }
}

pub(crate) async fn pending_certificates_are_taken_once(on: Fixture) {
    on.elsewhere(|tx| Box::pin(async move { tx.insert_pending_certificate(&pending("x", 50)).await })).await;
    on.write(|tx| {
        Box::pin(async move {
            assert_eq!(tx.pending_certificate_by_token(b"x").await?, None, "another tenant's");
            tx.insert_pending_certificate(&pending("x", 50)).await?;
            tx.insert_pending_certificate(&pending("y", 10)).await?;
            assert_eq!(tx.pending_certificate_by_token(b"x").await?, Some(pending("x", 50)));
            assert_eq!(tx.pending_certificate("x").await?, Some(pending("x", 50)));
            assert_eq!(tx.pending_certificate_by_serial("x01").await?, Some(pending("x", 50)));
            assert_eq!(tx.pending_certificates("a", None, at(20), 9).await?, [pending("x", 50)], "y's hour is over");
            assert_eq!(tx.pending_certificates("a", Some("x"), at(2), 9).await?, [pending("y", 10)]);
            assert!(!tx.end_pending_certificate("y", at(20)).await? && !tx.end_pending_certificate("z", at(1)).await?);
            tx.insert_pending_certificate(&pending("w", 50)).await?;
            assert!(tx.end_pending_certificate("w", at(30)).await?);
            assert!(tx.take_pending_certificate("w").await?);
            assert_eq!(tx.count_pending_certificates("a", at(20)).await?, 1);
            assert_eq!(tx.resting_claims("aa", at(20)).await?, 1, "x waits");
            assert_eq!(tx.forget_pending_certificates(at(20)).await?, 1);
            let forgotten = tx.other_certificate("y01").await?.expect("it is remembered");
            assert_eq!((forgotten.kind.as_str(), forgotten.revoked_at), ("forgotten", Some(at(20))));
            assert_eq!(tx.crl_pending(9).await?.len(), 1, "and waits for its list");
            assert!(tx.take_pending_certificate("x").await?);
            assert!(!tx.take_pending_certificate("x").await?);
            Ok(())
        })
    })
    .await;
}

fn factory(id: &str) -> FactoryAuthorityRow {
    FactoryAuthorityRow {
        id: id.into(),
        name: "Maker".into(),
        der: vec![0x30],
        mode: "provision".into(),
        template: Some("line".into()),
        status: "active".into(),
        not_after: at(1000),
        revision: 1,
        created_by: "ops".into(),
        created_at: at(1),
        revoked_at: None,
    }
}

fn seen(id: &str, name: &str) -> FactoryCertificateRow {
    FactoryCertificateRow {
        id: id.into(),
        authority: "f1".into(),
        name: name.into(),
        serial_number: Some(format!("sn-{name}")),
        device: None,
        der: vec![0x30],
        status: "pending_activation".into(),
        address: Some("192.0.2.1".into()),
        first_seen_at: at(1),
        activated_at: None,
        activated_by: None,
    }
}

pub(crate) async fn factories_and_what_they_made(on: Fixture) {
    on.write(|tx| {
        Box::pin(async move {
            assert!(tx.insert_factory_authority(&factory("f1")).await?);
            assert!(!tx.insert_factory_authority(&factory("f1")).await?);
            let next =
                FactoryAuthorityRow { status: "revoked".into(), revoked_at: Some(at(9)), revision: 2, ..factory("f1") };
            assert!(tx.update_factory_authority(&next, 1).await?);
            assert!(!tx.update_factory_authority(&next, 1).await?);
            assert_eq!(tx.factory_authority("f1").await?, Some(next.clone()));
            assert_eq!(tx.factory_authorities(None, 9).await?, [next]);
            assert_eq!(tx.factory_authorities(Some("f1"), 9).await?, []);
            let anchor = AuthorityRow {
                fingerprint: "f1".into(),
                kind: "factory".into(),
                der: vec![0x30],
                key_purpose: String::new(),
                not_after: at(1000),
                created_at: at(1),
            };
            assert!(tx.put_authority(&anchor).await?);
            assert!(tx.remove_authority("f1").await?);
            assert!(!tx.remove_authority("f1").await?);

            assert!(tx.insert_factory_certificate(&seen("c1", "gw-1")).await?);
            assert!(!tx.insert_factory_certificate(&seen("c1", "gw-1")).await?);
            assert!(tx.insert_factory_certificate(&seen("c2", "gw-2")).await?);
            assert_eq!(tx.count_factory_certificates("f1").await?, 2);
            assert_eq!(tx.factory_certificates_of("device", "gw-1", 9).await?, [seen("c1", "gw-1")]);
            assert_eq!(tx.factory_certificates_of("serial", "sn-gw-2", 9).await?, [seen("c2", "gw-2")]);
            assert!(tx.activate_factory_certificate("c1", &device("gw-1"), "ops", at(3)).await?);
            assert!(!tx.activate_factory_certificate("c1", &device("gw-1"), "ops", at(3)).await?);
            let row = tx.factory_certificate("c1").await?.expect("it is there");
            assert_eq!(
                (row.status.as_str(), row.device, row.activated_at),
                ("active", Some(device("gw-1")), Some(at(3)))
            );
            assert_eq!(tx.factory_certificates(Some("pending_activation"), None, 9).await?, [seen("c2", "gw-2")]);
            assert_eq!(tx.factory_certificates(None, Some("c1"), 9).await?, [seen("c2", "gw-2")]);
            assert_eq!(tx.forget_factory_certificates(at(2)).await?, 1);
            Ok(())
        })
    })
    .await;
}

pub(crate) async fn codes_are_used_once(on: Fixture) {
    let row = |number: u32| ClaimCodeRow {
        id: token(number),
        hash: vec![u8::try_from(number).expect("small"); 32],
        subject_kind: "serial".into(),
        subject: format!("sn-{number}"),
        created_by: "ops".into(),
        created_at: at(1),
        expires_at: at(50),
        used_at: None,
        used_by: None,
        revoked_at: None,
        certificate: None,
    };
    on.write(move |tx| {
        Box::pin(async move {
            tx.insert_registration_code("abc", "ops", at(1), at(10)).await?;
            tx.insert_registration_code("old", "ops", at(1), at(2)).await?;
            assert!(!tx.use_registration_code("old", at(5)).await?);
            let standing = Some(RegistrationCodeRow { code: "abc".to_owned(), expires_at: at(10) });
            assert_eq!(tx.standing_registration_code(at(5)).await?, standing);
            assert_eq!(tx.standing_registration_code(at(10)).await?, None, "over by then");
            assert!(tx.use_registration_code("abc", at(5)).await?);
            assert!(!tx.use_registration_code("abc", at(5)).await?);
            assert_eq!(tx.standing_registration_code(at(1)).await?.map(|row| row.code).as_deref(), Some("old"));
            assert_eq!(tx.forget_registration_codes(at(5)).await?, 1);

            tx.insert_claim_code(&row(1)).await?;
            tx.insert_claim_code(&row(2)).await?;
            assert_eq!(tx.claim_code(token(1)).await?, Some(row(1)));
            assert_eq!(tx.claim_code_by_hash(&[2; 32]).await?, Some(row(2)));
            assert_eq!(tx.used_claim_code("serial", "sn-1").await?, None);
            assert!(tx.use_claim_code(token(1), "ops", at(4)).await?);
            assert!(!tx.use_claim_code(token(1), "ops", at(4)).await?);
            assert_eq!(tx.used_claim_code("serial", "sn-1").await?.map(|row| row.id), Some(token(1)));
            assert_eq!(tx.used_claim_code("device", "sn-1").await?, None);
            assert!(!tx.bind_claim_code(token(2), "ff").await?, "nobody used it");
            assert!(tx.bind_claim_code(token(1), "ff").await?);
            assert!(!tx.bind_claim_code(token(1), "ee").await?);
            assert_eq!(tx.used_claim_code("serial", "sn-1").await?, None, "it let one in");
            assert_eq!(tx.claim_code(token(1)).await?.and_then(|row| row.certificate).as_deref(), Some("ff"));
            assert!(!tx.revoke_claim_code(token(1), at(5)).await?);
            assert!(tx.revoke_claim_code(token(2), at(5)).await?);
            assert_eq!(tx.claim_codes(Some(token(1)), 9).await?.len(), 1);
            assert_eq!(tx.forget_claim_codes(at(60)).await?, 2);
            Ok(())
        })
    })
    .await;
}
