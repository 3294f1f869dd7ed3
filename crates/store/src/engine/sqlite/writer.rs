//! The one thread that writes, with group commit.
//!
//! It takes what is queued, up to a limit, and runs it in one transaction, each unit within a savepoint of its own: a unit
//! that fails takes back only itself. Nobody is answered before the `COMMIT`, and if that fails, everybody is told. While
//! it waits for the disk the next batch gathers, so that the batch grows with the load and a lone caller waits for nobody.

use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;

use futures::executor::block_on;
use futures::future::BoxFuture;
use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot, watch};

use super::link::{SqliteLink, fault};
use crate::conn::{Effects, Link};
use crate::engine::{Scoped, run_unit};
use crate::{OpenError, StoreError};

/// Units in one transaction, and units that wait for the next; callers above that wait in their own tasks.
const BATCH: usize = 256;
const QUEUE: usize = 1024;

#[derive(Debug)]
pub(crate) struct Writer {
    queue: Mutex<Option<mpsc::Sender<Box<dyn Unit>>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Writer {
    pub(crate) fn start(connection: Connection, journal: watch::Sender<i64>) -> Result<Self, OpenError> {
        let (queue, units) = mpsc::channel(QUEUE);
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || work_off(Box::new(connection), units, &journal))
            .map_err(StoreError::unavailable)?;
        Ok(Self { queue: Mutex::new(Some(queue)), thread: Mutex::new(Some(thread)) })
    }

    /// Runs a unit. It is done even if the caller stops waiting.
    pub(crate) async fn write<S, F, T, E>(&self, op: &'static str, key: S::Key, work: F) -> Result<T, E>
    where
        S: Scoped,
        F: for<'t> FnOnce(&'t mut S) -> BoxFuture<'t, Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        let closed = || StoreError::unavailable("the store is closed").during(op);
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let queue = queue.ok_or_else(closed)?;
        let (answer, answered) = oneshot::channel();
        let unit = Write::<S, F, T, E> { op, work: Some((key, work)), result: None, answer };
        queue.send(Box::new(unit)).await.map_err(|_| closed())?;
        match answered.await {
            Ok(result) => result,
            Err(_) => Err(closed().into()),
        }
    }

    /// Takes nothing more, finishes what is queued, and closes the connection.
    pub(crate) async fn close(&self) {
        drop(self.queue.lock().unwrap_or_else(PoisonError::into_inner).take());
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(thread) = thread else { return };
        if !matches!(tokio::task::spawn_blocking(move || thread.join()).await, Ok(Ok(()))) {
            tracing::error!("the writer of the store ended badly");
        }
    }
}

impl Drop for Writer {
    /// Waits for what is queued, so that the file is closed before its lock is let go.
    fn drop(&mut self) {
        drop(self.queue.get_mut().unwrap_or_else(PoisonError::into_inner).take());
        let thread = self.thread.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        // The last owner may have been a unit; the thread cannot wait for itself, and ends when it returns from here.
        if let Some(thread) = thread.filter(|thread| thread.thread().id() != std::thread::current().id())
            && thread.join().is_err()
        {
            tracing::error!("the writer of the store ended badly");
        }
    }
}

/// A unit of work without its types.
trait Unit: Send {
    /// Runs the closure and keeps its result.
    fn run(&mut self, connection: Box<Connection>) -> (Box<Connection>, Effects);
    /// Hands over the result, or the reason why nothing of the batch was kept.
    fn answer(self: Box<Self>, lost: Option<&StoreError>);
}

struct Write<S: Scoped, F, T, E> {
    op: &'static str,
    work: Option<(S::Key, F)>,
    result: Option<Result<T, E>>,
    answer: oneshot::Sender<Result<T, E>>,
}

impl<S, F, T, E> Unit for Write<S, F, T, E>
where
    S: Scoped,
    F: for<'t> FnOnce(&'t mut S) -> BoxFuture<'t, Result<T, E>> + Send + 'static,
    T: Send + 'static,
    E: From<StoreError> + Send + 'static,
{
    fn run(&mut self, connection: Box<Connection>) -> (Box<Connection>, Effects) {
        let (key, work) = self.work.take().expect("a unit runs once");
        let link = Link::Sqlite(SqliteLink(connection));
        let (link, effects, result) = block_on(run_unit::<S, F, T, E>(link, self.op, key, work));
        self.result = Some(result);
        let Link::Sqlite(SqliteLink(connection)) = link else { unreachable!("the link went in as SQLite's") };
        (connection, effects)
    }

    fn answer(self: Box<Self>, lost: Option<&StoreError>) {
        let result = match (lost, self.result) {
            (None, Some(result)) => result,
            // What a failed unit has to say still holds only if what it saw was kept.
            (Some(error), _) => Err(error.again(self.op).into()),
            (None, None) => Err(StoreError::other("the unit did not run").during(self.op).into()),
        };
        // A caller that went away wants no answer.
        drop(self.answer.send(result));
    }
}

fn work_off(mut connection: Box<Connection>, mut queue: mpsc::Receiver<Box<dyn Unit>>, journal: &watch::Sender<i64>) {
    let mut batch = Vec::with_capacity(BATCH);
    while let Some(first) = queue.blocking_recv() {
        batch.push(first);
        while batch.len() < BATCH
            && let Ok(unit) = queue.try_recv()
        {
            batch.push(unit);
        }
        connection = commit_batch(connection, &mut batch, journal);
    }
    if let Err((_, error)) = connection.close() {
        tracing::warn!(error = %fault(&error), "the database was not closed cleanly");
    }
}

/// Runs one batch and answers everybody in it.
fn commit_batch(
    mut connection: Box<Connection>,
    batch: &mut Vec<Box<dyn Unit>>,
    journal: &watch::Sender<i64>,
) -> Box<Connection> {
    let mut journaled = None;
    let mut lost = step(&connection, "BEGIN IMMEDIATE").err();
    for unit in batch.iter_mut() {
        if lost.is_some() {
            break;
        }
        (connection, lost) = run_in_savepoint(connection, unit.as_mut(), &mut journaled);
    }
    let lost = lost.or_else(|| step(&connection, "COMMIT").err());
    if let Some(error) = &lost {
        tracing::error!(error = %error.source, kind = %error.kind, units = batch.len(), "a batch was not committed");
        if !connection.is_autocommit() && step(&connection, "ROLLBACK").is_err() {
            tracing::error!("the failed batch could not be rolled back");
        }
    } else if let Some(id) = journaled {
        journal.send_if_modified(|last| {
            let newer = *last < id;
            *last = id.max(*last);
            newer
        });
    }
    for unit in batch.drain(..) {
        unit.answer(lost.as_ref());
    }
    connection
}

/// Runs one unit. The error is one that breaks the whole batch: SQLite gave up the transaction (as it does when the disk
/// is full), or the savepoint could not be handled.
fn run_in_savepoint(
    connection: Box<Connection>,
    unit: &mut dyn Unit,
    journaled: &mut Option<i64>,
) -> (Box<Connection>, Option<StoreError>) {
    if let Err(error) = step(&connection, "SAVEPOINT unit") {
        return (connection, Some(error));
    }
    let (connection, effects) = unit.run(connection);
    if connection.is_autocommit() {
        return (connection, Some(StoreError::new(crate::StoreErrorKind::Full, "SQLite gave up the transaction")));
    }
    let ended = if effects.failed {
        step(&connection, "ROLLBACK TO unit").and_then(|()| step(&connection, "RELEASE unit"))
    } else {
        *journaled = effects.journaled.max(*journaled);
        step(&connection, "RELEASE unit")
    };
    (connection, ended.err())
}

fn step(connection: &Connection, sql: &'static str) -> Result<(), StoreError> {
    connection.prepare_cached(sql).and_then(|mut statement| statement.raw_execute()).map(drop).map_err(|e| fault(&e))
}
