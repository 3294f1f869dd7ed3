//! SQLite: one file, one writer thread with group commit, a few readers beside it.
//!
//! The file is locked against a second server (`flock` on a `.lock` file beside it, let go by the kernel when the
//! process dies). WAL and `synchronous=FULL`: what was committed survives a power cut.

mod link;
mod readers;
#[cfg(test)]
mod tests;
mod writer;

pub(crate) use link::{SqliteLink, fault};

use std::fs::{File, OpenOptions, TryLockError};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::future::BoxFuture;
use rusqlite::{Connection, OpenFlags};
use tokio::sync::watch;

use self::readers::Readers;
use self::writer::Writer;
use super::Scoped;
use crate::{OpenError, StoreError};

/// Statements that a connection keeps prepared: all that there are, with room.
const STATEMENTS: usize = 512;
const BUSY: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(crate) struct SqliteEngine {
    writer: Writer,
    readers: Readers,
    /// Held as long as the engine lives; last, since fields are dropped in this order.
    _lock: File,
}

impl SqliteEngine {
    /// Opens and locks the file, made where it is absent; `prepare` migrates it before anybody else sees it.
    pub(crate) fn open(
        path: &Path,
        readers: usize,
        journal: watch::Sender<i64>,
        prepare: impl FnOnce(&mut Connection) -> Result<(), OpenError>,
    ) -> Result<Self, OpenError> {
        let path = resolved(path)?;
        let lock = lock(&path)?;
        create(&path)?;
        let mut connection = connect(&path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        prepare(&mut connection)?;
        let last: i64 = connection
            // across tenants: only the newest id is read, to wake those who follow the journal
            .query_row("SELECT coalesce(max(id), 0) FROM journal", (), |row| row.get(0))
            .map_err(|error| fault(&error))?;
        journal.send_replace(last);
        let connections = (0..readers.max(1))
            .map(|_| connect(&path, OpenFlags::SQLITE_OPEN_READ_ONLY))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self { writer: Writer::start(connection, journal)?, readers: Readers::new(connections), _lock: lock })
    }

    pub(crate) async fn write<S, F, T, E>(&self, op: &'static str, key: S::Key, work: F) -> Result<T, E>
    where
        S: Scoped,
        F: for<'t> FnOnce(&'t mut S) -> BoxFuture<'t, Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.writer.write(op, key, work).await
    }

    pub(crate) async fn read<S, F, T, E>(&self, op: &'static str, key: S::Key, work: F) -> Result<T, E>
    where
        S: Scoped,
        F: for<'t> FnOnce(&'t mut S) -> BoxFuture<'t, Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.readers.read(op, key, work).await
    }

    /// Finishes what is queued and closes the file.
    pub(crate) async fn close(&self) {
        self.readers.close();
        self.writer.close().await;
    }
}

/// The path with its links followed, so that the lock of one file has one name.
fn resolved(path: &Path) -> Result<PathBuf, OpenError> {
    let io = |source| OpenError::Io { path: path.to_owned(), source };
    if path.exists() {
        return path.canonicalize().map_err(io);
    }
    let name = path.file_name().ok_or_else(|| OpenError::Address { why: "a file name is missing".to_owned() })?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Ok(folder.canonicalize().map_err(io)?.join(name))
}

fn lock(database: &Path) -> Result<File, OpenError> {
    let path = database.with_extension("lock");
    let io = |source| OpenError::Io { path: path.clone(), source };
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(io)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::Locked { database: database.to_owned(), lock: path }),
        Err(TryLockError::Error(source)) => Err(io(source)),
    }
}

/// Makes the file for its owner only; SQLite gives the files beside it the same rights.
fn create(path: &Path) -> Result<(), OpenError> {
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(path);
    file.map(drop).map_err(|source| OpenError::Io { path: path.to_owned(), source })
}

fn connect(path: &Path, access: OpenFlags) -> Result<Connection, StoreError> {
    let open = || {
        let flags = access | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        let writes = access.contains(OpenFlags::SQLITE_OPEN_READ_WRITE);
        if writes {
            connection.pragma_update(None, "journal_mode", "wal")?;
            connection.pragma_update(None, "synchronous", "full")?;
            // 8 MiB of log before pages move to the file; the log file is cut back to 64 MiB after a burst.
            connection.pragma_update(None, "wal_autocheckpoint", 2000)?;
            connection.pragma_update(None, "journal_size_limit", 64 << 20)?;
        }
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.pragma_update(None, "temp_store", "memory")?;
        // KiB, negative so: 16 MiB for the writer, 4 MiB for each reader.
        connection.pragma_update(None, "cache_size", if writes { -16_384 } else { -4096 })?;
        Ok(connection)
    };
    open().map_err(|error| fault(&error))
}
