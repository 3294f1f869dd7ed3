//! Refused authentications are added up.

use fleetward_base::Timestamp;
use fleetward_store::AuthFailureRow;

use crate::support::Fixture;

fn row(hour: i64, cause: &str, count: u64) -> AuthFailureRow {
    AuthFailureRow {
        hour: Timestamp::from_secs(hour * 3600),
        cause: cause.into(),
        issuer: "issuing".into(),
        region: "oslo".into(),
        count,
    }
}

pub(crate) async fn refusals_are_added_up_by_the_hour(on: Fixture) {
    on.write(|tx| {
        Box::pin(async move {
            for (hour, cause, count) in
                [(1, "expired", 2), (1, "expired", 3), (1, "unknown-token", 9), (2, "expired", 1)]
            {
                tx.add_auth_failures(&row(hour, cause, count)).await?;
            }
            Ok(())
        })
    })
    .await;
    let list = async |since: i64, after: Option<AuthFailureRow>, limit| {
        let since = Timestamp::from_secs(since * 3600);
        on.write(move |tx| Box::pin(async move { tx.auth_failures(since, after.as_ref(), limit).await })).await
    };
    let all = [row(2, "expired", 1), row(1, "expired", 5), row(1, "unknown-token", 9)];
    assert_eq!(list(0, None, 10).await, all);
    assert_eq!(list(2, None, 10).await, all[..1]);
    assert_eq!(list(0, None, 1).await, all[..1]);
    assert_eq!(list(0, Some(all[0].clone()), 10).await, all[1..]);
    assert_eq!(list(0, Some(all[1].clone()), 10).await, all[2..]);
    assert_eq!(list(0, Some(all[2].clone()), 10).await, []);
    let forgotten =
        on.write(|tx| Box::pin(async move { tx.forget_auth_failures(Timestamp::from_secs(2 * 3600)).await })).await;
    assert_eq!((forgotten, list(0, None, 10).await.len()), (2, 1));
}
