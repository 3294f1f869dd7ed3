use fleetward_store::{AttestationAnchorRow, AttestationReferenceRow, AttestationRow, ReleaseRow, VouchedKeyRow};

use crate::support::{Fixture, at, device, device_row, release, signer};

fn row(name: &str) -> AttestationRow {
    AttestationRow {
        challenge: Some(vec![1; 32]),
        challenge_until: Some(at(20)),
        pending: Some("{}".into()),
        identity: Some("aa".into()),
        root: Some("tpm2".into()),
        anchor: Some("bb".into()),
        attestation_key: Some(vec![2]),
        key_certificate: Some(vec![3]),
        format: Some("tpm2".into()),
        verdict: Some("affirming".into()),
        certified_key: Some(vec![4; 32]),
        boots: Some(4),
        clock_ms: Some(5),
        attested_at: Some(at(10)),
        ..AttestationRow::new(device(name), at(1))
    }
}

pub(crate) async fn a_device_has_one_attestation(on: Fixture) {
    on.write(move |tx| {
        Box::pin(async move {
            for name in ["a", "b", "c"] {
                tx.insert_device(&device_row(name)).await?;
            }
            assert_eq!(tx.attestation(&device("a")).await?, None);
            tx.put_attestation(&AttestationRow::new(device("a"), at(1))).await?;
            tx.put_attestation(&row("a")).await?;
            assert_eq!(tx.attestation(&device("a")).await?, Some(row("a")));
            assert_eq!(tx.attestation_for_update(&device("a")).await?, Some(row("a")));
            tx.put_attestation(&AttestationRow { attested_at: Some(at(5)), ..row("b") }).await?;
            tx.put_attestation(&AttestationRow { attested_at: None, identity: None, ..row("c") }).await?;
            assert_eq!(tx.devices_with_hardware("aa", &device("b"), 9).await?, [device("a")]);
            assert_eq!(tx.devices_with_hardware("cc", &device("b"), 9).await?, []);
            let second = AttestationRow { reasons: r#"["hardware-elsewhere"]"#.into(), ..row("b") };
            tx.put_attestation(&second).await?;
            assert_eq!(tx.devices_with_hardware("aa", &device("a"), 9).await?, [], "the first keeps it");
            tx.put_attestation(&AttestationRow { attested_at: Some(at(5)), ..row("b") }).await?;
            assert_eq!(tx.lapsing_attestations(at(10), 9).await?, [device("b")]);
            assert_eq!(tx.lapsing_attestations(at(11), 9).await?, [device("b"), device("a")]);
            assert_eq!(tx.lapsing_attestations(at(11), 1).await?, [device("b")]);
            assert!(tx.lapse_attestation(&device("b")).await?);
            assert!(!tx.lapse_attestation(&device("b")).await?);
            assert_eq!(tx.lapsing_attestations(at(11), 9).await?, [device("a")]);
            assert!(tx.forget_attestation(&device("b")).await?);
            assert!(!tx.forget_attestation(&device("b")).await?);
            assert!(tx.delete_device(&device("a")).await?);
            assert_eq!(tx.attestation(&device("a")).await?, None, "it goes with its device");
            Ok(())
        })
    })
    .await;
}

pub(crate) async fn anchors_and_references(on: Fixture) {
    let anchor = |id: &str, kind: &str| AttestationAnchorRow {
        id: id.into(),
        kind: kind.into(),
        name: "maker".into(),
        root: "tpm2".into(),
        value: vec![1],
        created_by: "root".into(),
        created_at: at(1),
    };
    let reference = |id: &str| AttestationReferenceRow {
        id: id.into(),
        hardware: "r1".into(),
        firmware: "*".into(),
        state: "learning".into(),
        wanted: 2,
        teachers: "[]".into(),
        measurements: "{}".into(),
        revision: 1,
        created_by: "root".into(),
        created_at: at(1),
        updated_at: at(1),
    };
    let made = |number: u32, version: &str| ReleaseRow {
        id: release(number),
        name: format!("n{number}"),
        version: version.into(),
        signer: signer(1),
        key_id: "k".into(),
        manifest: vec![1],
        signature: vec![2],
        created_at: at(1),
        revision: 1,
    };
    on.write(move |tx| {
        Box::pin(async move {
            assert!(tx.insert_attestation_anchor(&anchor("aa", "tpm-root")).await?);
            assert!(!tx.insert_attestation_anchor(&anchor("aa", "token-key")).await?);
            assert!(tx.insert_attestation_anchor(&anchor("bb", "token-key")).await?);
            assert_eq!(tx.attestation_anchor("aa").await?, Some(anchor("aa", "tpm-root")));
            assert_eq!(tx.attestation_anchors(None, Some("aa"), 9).await?, [anchor("bb", "token-key")]);
            assert_eq!(tx.attestation_anchors(Some("tpm-root"), None, 9).await?, [anchor("aa", "tpm-root")]);
            assert!(tx.remove_attestation_anchor("aa").await?);
            assert!(!tx.remove_attestation_anchor("aa").await?);

            tx.put_attestation_reference(&reference("11")).await?;
            tx.put_attestation_reference(&reference("22")).await?;
            let locked = AttestationReferenceRow { state: "locked".into(), revision: 2, ..reference("11") };
            tx.put_attestation_reference(&locked).await?;
            assert_eq!(tx.attestation_reference("11").await?, Some(locked.clone()));
            assert_eq!(tx.attestation_reference_for_update("33").await?, None);
            assert_eq!(tx.attestation_references(Some("11"), 9).await?, [reference("22")]);
            assert!(tx.remove_attestation_reference("11").await?);
            assert!(!tx.remove_attestation_reference("11").await?);

            tx.insert_release(&made(1, "1.0")).await?;
            tx.insert_release(&made(2, "2.0")).await?;
            tx.insert_release(&made(3, "1.0")).await?;
            assert_eq!(tx.releases_of_version("1.0", 9).await?, [made(3, "1.0"), made(1, "1.0")]);
            Ok(())
        })
    })
    .await;
}

pub(crate) async fn vouched_keys_are_forgotten_soon(on: Fixture) {
    let fresh = VouchedKeyRow::new(device("gw-1"), at(5));
    let known = VouchedKeyRow {
        key: Some("ab".repeat(32)),
        identity: Some("cd".repeat(32)),
        until: Some(at(60)),
        pending: None,
        updated_at: at(6),
        ..fresh.clone()
    };
    let begun = VouchedKeyRow { pending: Some("{}".into()), ..fresh };
    let foreign = begun.clone();
    on.store
        .write(&on.umbrella, "test", move |tx| Box::pin(async move { tx.put_vouched_key(&foreign).await }))
        .await
        .expect("another tenant's device of this name");
    let (expected, first) = (known.clone(), begun.clone());
    let (waits, read, early, late, gone) = on
        .write(move |tx| {
            Box::pin(async move {
                tx.put_vouched_key(&begun).await?;
                let waits = tx.vouched_key_for_update(&device("gw-1")).await?;
                tx.put_vouched_key(&known).await?;
                let read = tx.vouched_key(&device("gw-1")).await?;
                let early = tx.forget_vouched_keys(at(6)).await?;
                let late = tx.forget_vouched_keys(at(7)).await?;
                Ok((waits, read, early, late, tx.vouched_key(&device("gw-1")).await?))
            })
        })
        .await;
    assert_eq!((waits, read), (Some(first), Some(expected)));
    assert_eq!((early, late, gone), (0, 1, None));
}
