//! A batch that cannot be committed, and what the writer does afterwards.

use std::sync::mpsc;

use fleetward_base::{TenantId, Timestamp};
use futures::future::join_all;
use tempfile::TempDir;
use tokio::sync::watch;

use super::SqliteEngine;
use crate::sql::params;
use crate::{OpenError, StoreError, StoreErrorKind, TenantTx, migrate};

/// An engine whose `child` rows are held against `parent` only by the `COMMIT`.
fn engine() -> (SqliteEngine, watch::Receiver<i64>, TempDir) {
    let folder = TempDir::new().expect("a folder");
    let (sender, journal) = watch::channel(0);
    let engine = SqliteEngine::open(&folder.path().join("test.db"), 1, sender, |connection| {
        migrate::sqlite(connection, Timestamp::EPOCH)?;
        connection
            .execute_batch(
                "CREATE TABLE parent (id INTEGER PRIMARY KEY); CREATE TABLE child (id INTEGER PRIMARY KEY, \
                 parent INTEGER REFERENCES parent (id) DEFERRABLE INITIALLY DEFERRED)",
            )
            .map_err(|error| OpenError::Database(super::fault(&error)))
    });
    (engine.expect("it opens"), journal, folder)
}

fn acme() -> TenantId {
    "acme".parse().expect("a name")
}

async fn insert(engine: &SqliteEngine, id: i64, parent: Option<i64>) -> Result<(), StoreError> {
    engine
        .write("insert", acme(), move |tx: &mut TenantTx| {
            Box::pin(async move {
                let sql = "INSERT INTO child (id, parent) VALUES ($1, $2)";
                tx.conn.execute(sql, params![id, parent]).await.map(drop)
            })
        })
        .await
}

async fn count(engine: &SqliteEngine) -> u64 {
    engine
        .read("count", acme(), |tx: &mut TenantTx| {
            Box::pin(async move { tx.conn.query_one("SELECT count(*) FROM child", &[]).await })
        })
        .await
        .map_err(|error: StoreError| error)
        .expect("it is read")
}

/// Keeps the writer busy, so that what follows gathers in one batch; the sender lets it go.
async fn hold(engine: &SqliteEngine) -> (impl Future<Output = Result<(), StoreError>> + use<'_>, mpsc::Sender<()>) {
    let (go, wait) = mpsc::channel::<()>();
    let (started, running) = tokio::sync::oneshot::channel();
    let mut held = Box::pin(engine.write("hold", acme(), move |_: &mut TenantTx| {
        Box::pin(async move {
            started.send(()).ok();
            wait.recv().ok();
            Ok::<_, StoreError>(())
        })
    }));
    tokio::select! {
        _ = &mut held => unreachable!("it waits"),
        running = running => running.expect("it runs"),
    }
    (held, go)
}

#[tokio::test]
async fn a_failed_commit_fails_its_whole_batch_and_no_other() {
    let (engine, _journal, _folder) = engine();
    let (held, go) = hold(&engine).await;
    let batch = join_all((0..20).map(|id| insert(&engine, id, (id == 13).then_some(99))));
    let release = async {
        tokio::task::yield_now().await;
        drop(go);
    };
    let (held, results, ()) = tokio::join!(held, batch, release);
    held.expect("its batch was committed");
    for result in results {
        let error = result.expect_err("nothing of the batch was kept");
        assert_eq!((error.op, error.kind), ("insert", StoreErrorKind::Other), "{error:?}");
    }
    assert_eq!(count(&engine).await, 0);

    insert(&engine, 1, None).await.expect("the next batch is committed");
    assert_eq!(count(&engine).await, 1);
}

#[tokio::test]
async fn followers_hear_nothing_of_a_failed_commit() {
    let (engine, journal, _folder) = engine();
    let (held, go) = hold(&engine).await;
    let append = engine.write("append", acme(), |tx: &mut TenantTx| {
        Box::pin(async move {
            let sql = "INSERT INTO journal (tenant_id, at, actor_kind, actor, action, outcome, severity, detail) \
                 VALUES ($1, 0, '', '', '', '', '', '') RETURNING id";
            let id = tx.conn.query_one(sql, params!["acme"]).await?;
            tx.conn.appended(id);
            Ok::<_, StoreError>(())
        })
    });
    let release = async {
        tokio::task::yield_now().await;
        drop(go);
    };
    let (held, appended, broken, ()) = tokio::join!(held, append, insert(&engine, 1, Some(99)), release);
    held.expect("its batch was committed");
    assert!(appended.is_err() && broken.is_err());
    assert_eq!(*journal.borrow(), 0);
}

#[tokio::test]
async fn a_unit_is_done_although_nobody_waits() {
    let (engine, _journal, _folder) = engine();
    let (held, go) = hold(&engine).await;
    {
        let unit = insert(&engine, 1, None);
        tokio::select! {
            biased;
            _ = unit => unreachable!("the writer is held"),
            () = std::future::ready(()) => {}
        }
    }
    drop(go);
    held.await.expect("it ends");
    engine.close().await;
    let late = insert(&engine, 2, None).await.expect_err("it is closed");
    assert_eq!(late.kind, StoreErrorKind::Unavailable);
}
