use fleetward_store::ShadowRow;

use crate::support::{Fixture, at, device, shadow_row};

pub(crate) async fn shadow_versions_decide(on: Fixture) {
    let outcome = on
        .write(|tx| {
            Box::pin(async move {
                let new = tx.put_shadow(&shadow_row("a", 1), None).await?;
                let late = tx.put_shadow(&shadow_row("a", 1), None).await?;
                let next = tx.put_shadow(&shadow_row("a", 2), Some(1)).await?;
                let stale = tx.put_shadow(&shadow_row("a", 2), Some(1)).await?;
                let absent = tx.put_shadow(&shadow_row("b", 2), Some(1)).await?;
                let read = tx.shadow(&device("a"), "").await?;
                let locked = tx.shadow_for_update(&device("a"), "").await?;
                assert_eq!(read, locked);
                Ok((new, late, next, stale, absent, read, tx.shadow_for_update(&device("b"), "").await?))
            })
        })
        .await;
    assert_eq!(outcome, (true, false, true, false, false, Some(shadow_row("a", 2)), None));

    let (names, rest, deleted) = on
        .write(|tx| {
            Box::pin(async move {
                for name in ["alpha", "beta", "gone"] {
                    let deleted_at = (name == "gone").then(|| at(9));
                    tx.put_shadow(&ShadowRow { name: name.into(), deleted_at, ..shadow_row("a", 1) }, None).await?;
                }
                let names = tx.shadow_names(&device("a"), Some(""), 10).await?;
                let rest = tx.shadow_names(&device("a"), Some("alpha"), 10).await?;
                Ok((names, rest, tx.shadow(&device("a"), "gone").await?.and_then(|row| row.deleted_at)))
            })
        })
        .await;
    assert_eq!((names, rest), (vec!["alpha".to_owned(), "beta".to_owned()], vec!["beta".to_owned()]));
    assert_eq!(deleted, Some(at(9)));
}
