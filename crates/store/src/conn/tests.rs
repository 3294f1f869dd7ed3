//! The seam itself, the same on both engines: placeholders, types, what a wrong row or a missing parameter gives.

use futures::future::BoxFuture;

use crate::conn::Conn;
use crate::sql::{Bulk, Cells, Column, FromRow, Param, from_row, params};
use crate::testing::TestStore;
use crate::{StoreError, StoreErrorKind};

const TABLE: &str = "CREATE TEMPORARY TABLE seam (id BIGINT PRIMARY KEY, word TEXT, data {blob})";

#[derive(Debug, PartialEq)]
struct Seam {
    id: i64,
    word: Option<String>,
    data: Option<Vec<u8>>,
}

from_row!(Seam { id: int, word: opt_text, data: opt_bytes });

/// Runs `work` in a unit on each engine, with the table there.
async fn on_both<T, F>(work: F) -> [Result<T, StoreError>; 2]
where
    F: for<'t> Fn(&'t mut Conn) -> BoxFuture<'t, Result<T, StoreError>> + Clone + Send + 'static,
    T: Send + 'static,
{
    let mut results = Vec::new();
    for (under, table) in [
        (TestStore::sqlite().await, TABLE.replace("{blob}", "BLOB")),
        (TestStore::postgres().await, TABLE.replace("{blob}", "BYTEA")),
    ] {
        let (work, table) = (work.clone(), &*Box::leak(table.into_boxed_str()));
        let unit = under.store.system_write("seam", move |tx| {
            Box::pin(async move {
                let conn = tx.across().await?;
                conn.execute(table, &[]).await?;
                work(conn).await
            })
        });
        results.push(unit.await);
    }
    results.try_into().map_err(|_| "two engines").expect("two engines")
}

struct Text(String);

impl FromRow for Text {
    fn from_row(cells: &mut Cells) -> Result<Self, StoreError> {
        cells.text().map(Self)
    }
}

#[tokio::test]
async fn placeholders_are_numbered_not_counted() {
    for rows in on_both(|conn| {
        Box::pin(async move {
            // $2 comes before $1, and each stands more than once.
            let sql = "INSERT INTO seam (word, id) VALUES ($2, $1) ON CONFLICT (id) DO UPDATE SET word = $2 \
                 WHERE seam.id = $1";
            for word in ["one", "two"] {
                conn.execute(sql, params![7_i64, word]).await?;
            }
            let sql = "SELECT id, word, data FROM seam WHERE word = $3 AND id > $1 AND id < $2 AND id <> $1";
            conn.query::<Seam>(sql, params![1_i64, 10_i64, "two"]).await
        })
    })
    .await
    {
        assert_eq!(rows.expect("it runs"), [Seam { id: 7, word: Some("two".into()), data: None }]);
    }
}

#[tokio::test]
async fn more_than_nine_placeholders() {
    for word in on_both(|conn| {
        Box::pin(async move {
            let sql = "SELECT CAST($11 AS TEXT) || CAST($10 AS TEXT) || CAST($1 AS TEXT) || CAST($2 AS TEXT) || \
                 CAST($3 AS TEXT) || CAST($4 AS TEXT) || CAST($5 AS TEXT) || CAST($6 AS TEXT) || CAST($7 AS TEXT) || \
                 CAST($8 AS TEXT) || CAST($9 AS TEXT)";
            conn.query_one::<Text>(sql, params!["1", "2", "3", "4", "5", "6", "7", "8", "9", "a", "b"]).await
        })
    })
    .await
    {
        assert_eq!(word.expect("it runs").0, "ba123456789");
    }
}

#[tokio::test]
async fn values_come_back_as_they_went() {
    for rows in on_both(|conn| {
        Box::pin(async move {
            let sql = "INSERT INTO seam (id, word, data) VALUES ($1, $2, $3)";
            conn.execute(sql, params![i64::MAX, "a'b\"c\u{0301}\u{10ffff}", &b"\0\xff"[..]]).await?;
            conn.execute(sql, params![i64::MIN, "", &b""[..]]).await?;
            let nothing: Option<&str> = None;
            conn.execute(sql, params![0_i64, nothing, None::<&[u8]>]).await?;
            conn.query::<Seam>("SELECT id, word, data FROM seam ORDER BY id", &[]).await
        })
    })
    .await
    {
        let expected = [
            Seam { id: i64::MIN, word: Some(String::new()), data: Some(Vec::new()) },
            Seam { id: 0, word: None, data: None },
            Seam { id: i64::MAX, word: Some("a'b\"c\u{0301}\u{10ffff}".into()), data: Some(b"\0\xff".to_vec()) },
        ];
        assert_eq!(rows.expect("it runs"), expected);
    }
}

#[tokio::test]
async fn many_rows_in_one_statement() {
    const SQL: Bulk = Bulk {
        sqlite: "INSERT INTO seam (id, word, data) VALUES ($2 + $1, $3, $4) RETURNING id",
        postgres: "INSERT INTO seam (id, word, data) SELECT i + CAST($1 AS BIGINT), w, d \
             FROM UNNEST(CAST($2 AS BIGINT[]), CAST($3 AS TEXT[]), CAST($4 AS BYTEA[])) AS t (i, w, d) RETURNING id",
    };
    const QUIET: Bulk = Bulk {
        sqlite: "INSERT INTO seam (id, word, data) VALUES ($2 + $1, $3, $4)",
        postgres: "INSERT INTO seam (id, word, data) SELECT i + CAST($1 AS BIGINT), w, d \
             FROM UNNEST(CAST($2 AS BIGINT[]), CAST($3 AS TEXT[]), CAST($4 AS BYTEA[])) AS t (i, w, d)",
    };
    for outcome in on_both(|conn| {
        Box::pin(async move {
            let rows = [(1_i64, Some("a"), None), (2, None, Some(&b"x"[..]))];
            let columns =
                [Column::of(&rows, |row| row.0), Column::of(&rows, |row| row.1), Column::of(&rows, |row| row.2)];
            let ids: Vec<i64> = conn.query_rows(SQL, params![10_i64], &columns).await?;
            let more = conn.execute_rows(QUIET, params![20_i64], &columns).await?;
            Ok((ids, more, conn.query::<Seam>("SELECT id, word, data FROM seam WHERE id < 20 ORDER BY id", &[]).await?))
        })
    })
    .await
    {
        let (ids, more, rows) = outcome.expect("it runs");
        let expected = [
            Seam { id: 11, word: Some("a".into()), data: None },
            Seam { id: 12, word: None, data: Some(b"x".to_vec()) },
        ];
        assert_eq!((ids, more), (vec![11, 12], 2));
        assert_eq!(rows, expected);
    }
}

#[tokio::test]
async fn a_wrong_row_is_an_error() {
    for sql in ["SELECT 'text', 'b', NULL", "SELECT NULL, 'b', NULL", "SELECT 1"] {
        for outcome in on_both(move |conn| Box::pin(async move { conn.query::<Seam>(sql, &[]).await })).await {
            let error = outcome.expect_err("the row is not a Seam");
            assert!(matches!(error.kind, StoreErrorKind::Corrupt), "{sql}: {error:?}");
        }
    }
}

#[tokio::test]
async fn a_missing_parameter_is_an_error() {
    for outcome in on_both(|conn| {
        Box::pin(async move {
            conn.query::<Seam>("SELECT id, word, data FROM seam WHERE word = $2 AND id = $1", params![1_i64]).await
        })
    })
    .await
    {
        let error = outcome.expect_err("$2 has no value");
        assert_eq!((error.op, error.kind), ("seam", StoreErrorKind::Other));
    }
}

#[tokio::test]
async fn no_error_shows_a_value() {
    for outcome in on_both(|conn| {
        Box::pin(async move {
            let sql = "INSERT INTO seam (id, word) VALUES (1234567, $1)";
            conn.execute(sql, params!["hunter2"]).await?;
            conn.execute(sql, params!["hunter2"]).await
        })
    })
    .await
    {
        let error = outcome.expect_err("the key is taken");
        assert_eq!(error.kind, StoreErrorKind::Conflict);
        let shown = format!("{error:?} {error} {}", error.source);
        assert!(!shown.contains("1234567") && !shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn numbers_past_the_column_are_cut_not_wrapped() {
    assert!(matches!(Param::from(u64::MAX), Param::Int(Some(i64::MAX))));
}
