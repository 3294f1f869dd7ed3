//! Reading connections, each for one reader at a time, on the runtime's blocking threads.

use std::sync::{Arc, Mutex, PoisonError};

use futures::executor::block_on;
use futures::future::BoxFuture;
use rusqlite::Connection;
use tokio::sync::Semaphore;

use super::link::{SqliteLink, fault};
use crate::StoreError;
use crate::conn::Link;
use crate::engine::{Scoped, run_unit};

#[derive(Debug)]
pub(crate) struct Readers {
    free: Arc<Mutex<Vec<Connection>>>,
    /// As many permits as connections.
    permits: Arc<Semaphore>,
}

impl Readers {
    pub(crate) fn new(connections: Vec<Connection>) -> Self {
        let permits = Arc::new(Semaphore::new(connections.len()));
        Self { free: Arc::new(Mutex::new(connections)), permits }
    }

    /// Lets nobody in any more.
    pub(crate) fn close(&self) {
        self.permits.close();
    }

    /// Runs a unit on one snapshot of the database. Writing fails.
    pub(crate) async fn read<S, F, T, E>(&self, op: &'static str, key: S::Key, work: F) -> Result<T, E>
    where
        S: Scoped,
        F: for<'t> FnOnce(&'t mut S) -> BoxFuture<'t, Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let permit = Arc::clone(&self.permits).acquire_owned().await;
        let permit = permit.map_err(|_| StoreError::unavailable("the store is closed").during(op))?;
        let free = Arc::clone(&self.free);
        let reading = tokio::task::spawn_blocking(move || {
            let connection = free.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let connection = connection.expect("there are as many connections as permits");
            let (connection, result) = snapshot::<S, F, T, E>(Box::new(connection), op, key, work);
            free.lock().unwrap_or_else(PoisonError::into_inner).push(*connection);
            drop(permit);
            result
        });
        match reading.await {
            Ok(result) => result,
            Err(_) => Err(StoreError::unavailable("the runtime is stopping").during(op).into()),
        }
    }
}

fn snapshot<S, F, T, E>(
    connection: Box<Connection>,
    op: &'static str,
    key: S::Key,
    work: F,
) -> (Box<Connection>, Result<T, E>)
where
    S: Scoped,
    F: for<'t> FnOnce(&'t mut S) -> BoxFuture<'t, Result<T, E>>,
    E: From<StoreError>,
{
    if let Err(error) = connection.execute_batch("BEGIN") {
        return (connection, Err(fault(&error).during(op).into()));
    }
    let link = Link::Sqlite(SqliteLink(connection));
    let (link, _, result) = block_on(run_unit::<S, F, T, E>(link, op, key, work));
    let Link::Sqlite(SqliteLink(connection)) = link else { unreachable!("the link went in as SQLite's") };
    // Nothing was written, so there is nothing that a failure here could lose.
    if connection.execute_batch("ROLLBACK").is_err() {
        tracing::warn!(op, "a reading transaction did not end as it should");
    }
    (connection, result)
}
