use fleetward_store::{
    ApiTokenRow, AuthorityRow, CertificateRow, EnrollTokenRow, ScepTransactionRow, SealedKeyRow, StoreErrorKind,
};

use crate::support::{Fixture, at, device, token};

pub(crate) fn authority(fingerprint: &str, secs: i64) -> AuthorityRow {
    AuthorityRow {
        fingerprint: fingerprint.into(),
        kind: "issuing".into(),
        der: vec![0x30, 0],
        key_purpose: "issuing".into(),
        not_after: at(secs + 100),
        created_at: at(secs),
    }
}

pub(crate) async fn keys_and_authorities(on: Fixture) {
    let key = |byte: u8| SealedKeyRow {
        purpose: "issuing".into(),
        sealed: vec![byte; 40],
        public: vec![byte],
        created_at: at(1),
    };
    let (none, read, new, again, listed) = on
        .write(move |tx| {
            Box::pin(async move {
                let none = tx.sealed_key("issuing").await?;
                tx.put_sealed_key(&key(1)).await?;
                tx.put_sealed_key(&key(2)).await?;
                let new = tx.put_authority(&authority("aa", 1)).await?;
                let again = tx.put_authority(&authority("aa", 1)).await?;
                tx.put_authority(&authority("bb", 2)).await?;
                Ok((none, tx.sealed_key("issuing").await?, new, again, tx.authorities().await?))
            })
        })
        .await;
    assert_eq!((none, read, new, again), (None, Some(key(2)), true, false));
    assert_eq!(listed, [authority("bb", 2), authority("aa", 1)]);

    let all = on
        .system(move |tx| {
            Box::pin(async move {
                let own = tx.installation().await?;
                own.put_authority(&AuthorityRow { kind: "root".into(), ..authority("rr", 0) }).await?;
                own.put_sealed_key(&SealedKeyRow { purpose: "root".into(), ..key(3) }).await?;
                assert_eq!(own.tenant(), None);
                assert_eq!(own.sealed_key("issuing").await?, None);
                tx.all_authorities().await
            })
        })
        .await;
    let seen: Vec<_> = all.iter().map(|line| (line.tenant.clone(), line.row.fingerprint.as_str())).collect();
    assert_eq!(seen, [(None, "rr"), (Some(on.acme.clone()), "aa"), (Some(on.acme.clone()), "bb")]);
}

pub(crate) async fn api_tokens_live_and_end(on: Fixture) {
    let row = |number: u32| ApiTokenRow {
        id: token(number),
        name: format!("token {number}"),
        role: "operator".into(),
        hash: vec![u8::try_from(number).expect("small"); 32],
        created_by: "root".into(),
        created_at: at(1),
        expires_at: (number == 1).then(|| at(100)),
        last_used_at: None,
        revoked_at: None,
    };
    let outcome = on
        .write(move |tx| {
            Box::pin(async move {
                tx.insert_api_token(&row(1)).await?;
                tx.insert_api_token(&row(2)).await?;
                let page = tx.api_tokens(Some(token(1)), 5).await?;
                let touched =
                    (tx.touch_api_token(token(1), at(50)).await?, tx.touch_api_token(token(1), at(40)).await?);
                let revoked = (
                    tx.revoke_api_token(token(1), at(60)).await?,
                    tx.revoke_api_token(token(1), at(70)).await?,
                    tx.revoke_api_token(token(9), at(70)).await?,
                );
                Ok((page, touched, revoked, tx.api_token(token(1)).await?))
            })
        })
        .await;
    let ended = ApiTokenRow { last_used_at: Some(at(50)), revoked_at: Some(at(60)), ..row(1) };
    assert_eq!(outcome, (vec![row(2)], (true, false), (true, false, false), Some(ended.clone())));

    let found = on
        .system(|tx| {
            Box::pin(async move {
                let found = tx.api_token_by_hash(&[1; 32]).await?;
                Ok((found, tx.api_token_by_hash(&[9; 32]).await?))
            })
        })
        .await;
    assert_eq!(found.0.map(|line| (line.tenant, line.row)), Some((Some(on.acme.clone()), ended)));
    assert_eq!(found.1, None);

    // The hash is unique across tenants.
    let taken = on.store.write(&on.umbrella, "test", move |tx| {
        Box::pin(async move { tx.insert_api_token(&ApiTokenRow { id: token(3), ..row(1) }).await })
    });
    assert_eq!(taken.await.expect_err("the hash is taken").kind, StoreErrorKind::Conflict);
}

pub(crate) fn enroll_token(number: u32, name: &str) -> EnrollTokenRow {
    EnrollTokenRow {
        id: token(number),
        kind: if number == 4 { "scep".into() } else { "enroll".into() },
        device: device(name),
        hash: vec![u8::try_from(number).expect("small"); 32],
        attempts: 0,
        created_by: "root".into(),
        created_at: at(1),
        expires_at: at(100),
        used_at: None,
        used_csr: None,
        revoked_at: None,
    }
}

pub(crate) async fn enroll_tokens_are_used_once(on: Fixture) {
    let row = enroll_token;
    let (attempts, uses, read, locked) = on
        .write(move |tx| {
            Box::pin(async move {
                for (number, name) in [(1, "a"), (2, "a"), (3, "b"), (4, "b")] {
                    tx.insert_enroll_token(&row(number, name)).await?;
                }
                let attempts = (
                    tx.count_enroll_attempt(token(1)).await?,
                    tx.count_enroll_attempt(token(1)).await?,
                    tx.count_enroll_attempt(token(9)).await?,
                );
                let uses = (
                    tx.use_enroll_token(token(1), &[7; 32], at(5)).await?,
                    tx.use_enroll_token(token(1), &[7; 32], at(6)).await?,
                );
                let read = tx.enroll_token(token(1)).await?;
                Ok((attempts, uses, read, tx.enroll_token_for_update(token(1)).await?))
            })
        })
        .await;
    let used = EnrollTokenRow { attempts: 2, used_at: Some(at(5)), used_csr: Some(vec![7; 32]), ..row(1, "a") };
    assert_eq!((attempts, uses), ((Some(1), Some(2), None), (true, false)));
    assert_eq!((read, locked), (Some(used.clone()), Some(used.clone())));

    let (of_a, all, of_scep, revoked, of_device) = on
        .write(move |tx| {
            Box::pin(async move {
                let of_a = tx.enroll_tokens("enroll", Some(&device("a")), None, 10).await?;
                let all = tx.enroll_tokens("enroll", None, Some(token(1)), 10).await?;
                let of_scep = tx.enroll_tokens("scep", None, None, 10).await?;
                let revoked =
                    (tx.revoke_enroll_token(token(1), at(9)).await?, tx.revoke_enroll_token(token(3), at(9)).await?);
                Ok((of_a, all, of_scep, revoked, tx.revoke_enroll_tokens(&device("a"), at(9)).await?))
            })
        })
        .await;
    assert_eq!(of_a, [used, row(2, "a")]);
    assert_eq!(all, [row(2, "a"), row(3, "b")]);
    assert_eq!(of_scep, [row(4, "b")]);
    assert_eq!((revoked, of_device), ((false, true), 1));

    let found = on.system(|tx| Box::pin(async move { tx.enroll_token_by_hash(&[3; 32]).await })).await;
    assert_eq!(found.map(|line| (line.tenant, line.row.revoked_at)), Some((Some(on.acme.clone()), Some(at(9)))));

    let forgotten = on
        .write(|tx| {
            Box::pin(
                async move { Ok((tx.forget_enroll_tokens(at(100)).await?, tx.forget_enroll_tokens(at(101)).await?)) },
            )
        })
        .await;
    assert_eq!(forgotten, (0, 4));
}

pub(crate) async fn scep_transactions_stand_for_one_request(on: Fixture) {
    let row = |id: &str, name: &str, request: u8, secs: i64| ScepTransactionRow {
        id: id.into(),
        device: device(name),
        request: vec![request; 32],
        asker: vec![9; 32],
        waiting: Some(vec![1, 2, 3]),
        created_at: at(secs),
    };
    let done = move |secs| ScepTransactionRow { waiting: None, asker: vec![8; 32], ..row("T1", "a", 1, secs) };
    let (kept, read, none) = on
        .write(move |tx| {
            Box::pin(async move {
                let kept = [
                    tx.keep_scep_transaction(&row("T1", "a", 1, 1)).await?,
                    tx.keep_scep_transaction(&row("T1", "a", 2, 2)).await?,
                    tx.keep_scep_transaction(&row("T1", "b", 1, 3)).await?,
                    tx.keep_scep_transaction(&done(4)).await?,
                    tx.keep_scep_transaction(&row("T2", "b", 2, 5)).await?,
                ];
                Ok((kept, tx.scep_transaction("T1").await?, tx.scep_transaction("T3").await?))
            })
        })
        .await;
    assert_eq!(kept, [true, false, false, true, true]);
    assert_eq!((read, none), (Some(done(4)), None));
    let (forgotten, left) = on
        .write(|tx| {
            Box::pin(async move {
                Ok((tx.forget_scep_transactions(at(5)).await?, tx.scep_transaction("T2").await?.is_some()))
            })
        })
        .await;
    assert_eq!((forgotten, left), (1, true));
}

pub(crate) fn certificate(serial: &str, name: &str, secs: i64) -> CertificateRow {
    CertificateRow {
        serial: serial.into(),
        device: device(name),
        authority: "aa".into(),
        fingerprint: format!("f{serial}"),
        request: vec![1; 32],
        not_before: at(secs),
        not_after: at(secs + 1000),
        der: vec![0x30, 1],
        status: "issued".into(),
        issued_at: at(secs),
        proven_at: None,
        revoked_at: None,
        reason: None,
        way: "token".into(),
        source: Some("t1".into()),
    }
}

pub(crate) async fn certificates_live_and_end(on: Fixture) {
    let (by_serial, by_fingerprint, by_request, listed) = on
        .write(|tx| {
            Box::pin(async move {
                for (serial, name, secs) in [("01", "a", 1), ("02", "a", 2), ("03", "b", 3)] {
                    tx.insert_certificate(&certificate(serial, name, secs)).await?;
                }
                assert_eq!(tx.all_certificates(Some("02"), 9).await?, [certificate("03", "b", 3)]);
                assert_eq!(tx.all_certificates(None, 2).await?.len(), 2);
                Ok((
                    tx.certificate("01").await?,
                    tx.certificate_by_fingerprint("f02").await?,
                    tx.certificate_by_request(&device("a"), &[1; 32]).await?,
                    tx.certificates(&device("a"), 10).await?,
                ))
            })
        })
        .await;
    assert_eq!(by_serial, Some(certificate("01", "a", 1)));
    assert_eq!(by_fingerprint, Some(certificate("02", "a", 2)));
    assert_eq!(by_request, Some(certificate("02", "a", 2)));
    assert_eq!(listed, [certificate("02", "a", 2), certificate("01", "a", 1)]);

    let (one, mut all, again, read, by_request) = on
        .write(|tx| {
            Box::pin(async move {
                let one = tx.revoke_certificate("03", "lost", at(20)).await?;
                let all = tx.revoke_certificates(&device("a"), "stolen", at(21)).await?;
                let again = tx.revoke_certificates(&device("a"), "stolen", at(22)).await?;
                let by_request = tx.certificate_by_request(&device("a"), &[1; 32]).await?;
                Ok((one, all, again, tx.certificate("02").await?, by_request))
            })
        })
        .await;
    all.sort();
    assert_eq!((one, all, again, by_request), (true, vec!["01".to_owned(), "02".to_owned()], Vec::new(), None));
    let read = read.expect("it is there");
    assert_eq!((read.status.as_str(), read.proven_at, read.revoked_at), ("revoked", None, Some(at(21))));
    assert_eq!(read.reason.as_deref(), Some("stolen"));
}

pub(crate) async fn sealed_keys_are_listed_and_sealed_again(on: Fixture) {
    let key = |purpose: &str, byte: u8| SealedKeyRow {
        purpose: purpose.into(),
        sealed: [&[2; 9][..], &[byte; 4]].concat(),
        public: vec![byte],
        created_at: at(1),
    };
    let (first, rest, moved, late) = on
        .write(move |tx| {
            Box::pin(async move {
                tx.put_sealed_key(&key("a", 1)).await?;
                tx.put_sealed_key(&key("b", 2)).await?;
                let first = tx.sealed_keys("", 1).await?;
                let rest = tx.sealed_keys("a", 9).await?;
                let moved = tx.reseal_key("a", &key("a", 1).sealed, &[3; 12]).await?;
                let late = tx.reseal_key("a", &key("a", 1).sealed, &[4; 12]).await?;
                Ok((first, rest, moved, late))
            })
        })
        .await;
    assert_eq!((first, rest, moved, late), (vec![key("a", 1)], vec![key("b", 2)], true, false));
}
