use fleetward_store::{StoreErrorKind, TokenIssuerRow};

use crate::support::{Fixture, at};

fn row(name: &str, issuer: &str) -> TokenIssuerRow {
    TokenIssuerRow {
        name: name.into(),
        issuer: issuer.into(),
        rules: "{}".into(),
        jwks: Some("{}".into()),
        jwks_url: None,
        anchors: None,
        created_by: "root".into(),
        created_at: at(1),
        updated_at: at(1),
        disabled_at: None,
    }
}

pub(crate) async fn token_issuers_are_replaced_and_paged(on: Fixture) {
    on.elsewhere(|tx| Box::pin(async move { tx.put_token_issuer(&row("a", "https://a")).await })).await;
    let (found, by_issuer, page, removed, none) = on
        .write(|tx| {
            Box::pin(async move {
                for (name, issuer) in [("b", "https://b"), ("c", "https://c"), ("d", "https://d")] {
                    tx.put_token_issuer(&row(name, issuer)).await?;
                }
                let changed = TokenIssuerRow { disabled_at: Some(at(5)), updated_at: at(5), ..row("b", "https://b2") };
                tx.put_token_issuer(&TokenIssuerRow { created_by: "other".into(), ..changed }).await?;
                Ok((
                    tx.token_issuer("b").await?,
                    tx.token_issuer_of("https://c").await?,
                    tx.token_issuers(Some("b"), 1).await?,
                    (tx.remove_token_issuer("d").await?, tx.remove_token_issuer("d").await?),
                    (tx.token_issuer_of("https://b").await?, tx.token_issuer("a").await?),
                ))
            })
        })
        .await;
    let expected = TokenIssuerRow { disabled_at: Some(at(5)), updated_at: at(5), ..row("b", "https://b2") };
    assert_eq!(found, Some(expected), "who made it first stays");
    assert_eq!((by_issuer, page), (Some(row("c", "https://c")), vec![row("c", "https://c")]));
    assert_eq!((removed, none), ((true, false), (None, None)));
    let marks = on.system(|tx| Box::pin(async move { tx.token_issuer_marks().await })).await;
    let marks: Vec<_> =
        marks.iter().map(|of| (of.tenant.clone(), of.row.count, of.row.disabled, of.row.updated_at)).collect();
    assert_eq!(marks, [(Some(on.acme.clone()), 2, 1, at(5)), (Some(on.umbrella.clone()), 1, 0, at(1))]);
    let taken = on
        .store
        .write(&on.acme, "test", |tx| Box::pin(async move { tx.put_token_issuer(&row("e", "https://c")).await }));
    assert_eq!(taken.await.expect_err("one name for an issuer").kind, StoreErrorKind::Conflict);
}

pub(crate) async fn a_token_is_exchanged_once(on: Fixture) {
    let (uses, read, forgotten) = on
        .write(|tx| {
            Box::pin(async move {
                let uses = [
                    tx.use_token("a", "1", &[1], at(5)).await?,
                    tx.use_token("a", "1", &[2], at(6)).await?,
                    tx.use_token("b", "1", &[3], at(7)).await?,
                ];
                let read = (tx.token_use("a", "1").await?, tx.token_use("a", "2").await?);
                Ok((uses, read, (tx.forget_token_uses(at(6)).await?, tx.token_use("a", "1").await?)))
            })
        })
        .await;
    assert_eq!((uses, read, forgotten), ([true, false, true], (Some(vec![1]), None), (1, None)));
    assert_eq!(on.elsewhere(|tx| Box::pin(async move { tx.token_use("b", "1").await })).await, None);
}
