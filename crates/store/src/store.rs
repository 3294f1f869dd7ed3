//! The store: open it, give it units of work, follow its journal.

use std::path::PathBuf;
use std::sync::Arc;

use fleetward_base::{Clock, TenantId};
use futures::future::BoxFuture;
use tokio::sync::watch;

use crate::engine::Scoped;
use crate::engine::postgres::PostgresEngine;
use crate::engine::sqlite::SqliteEngine;
use crate::{OpenError, StoreError, SystemTx, TenantTx, migrate};

/// Which database.
#[derive(Clone, Debug)]
pub enum Database {
    /// A file, made where it is absent; its folder must exist.
    Sqlite(PathBuf),
    /// An address as `libpq` has it: `postgres://user:password@host:port/name?sslmode=require`.
    Postgres { address: String, ca_file: Option<PathBuf> },
}

/// What the store is opened with.
#[derive(Clone, Debug)]
pub struct Config {
    pub database: Database,
    /// Connections: for SQLite those that read beside the writer, for PostgreSQL all.
    pub connections: usize,
}

impl Config {
    pub fn sqlite(file: impl Into<PathBuf>) -> Self {
        Self { database: Database::Sqlite(file.into()), connections: 4 }
    }

    pub fn postgres(address: impl Into<String>) -> Self {
        Self { database: Database::Postgres { address: address.into(), ca_file: None }, connections: 16 }
    }

    /// The address of `--database`: `postgres://..` or `postgresql://..`, `sqlite:FILE`, or the path of a file.
    pub fn from_address(address: &str) -> Result<Self, OpenError> {
        if address.starts_with("postgres://") || address.starts_with("postgresql://") {
            return Ok(Self::postgres(address));
        }
        let file = address.strip_prefix("sqlite:").unwrap_or(address);
        if file.is_empty() || file.contains("://") {
            return Err(OpenError::Address { why: "neither postgres://.. nor the path of a file".to_owned() });
        }
        Ok(Self::sqlite(file))
    }
}

#[derive(Debug)]
enum Engine {
    Sqlite(SqliteEngine),
    Postgres(PostgresEngine),
}

/// The database of an installation. Clones share it.
#[derive(Clone, Debug)]
pub struct Store {
    engine: Arc<Engine>,
    journal: watch::Receiver<i64>,
}

impl Store {
    /// Opens the database and brings it up to date.
    pub async fn open(config: &Config, clock: &dyn Clock) -> Result<Self, OpenError> {
        let (sender, journal) = watch::channel(0);
        let engine = match &config.database {
            Database::Sqlite(file) => {
                let (file, readers, now) = (file.clone(), config.connections, clock.now());
                let opening = tokio::task::spawn_blocking(move || {
                    SqliteEngine::open(&file, readers, sender, |connection| migrate::sqlite(connection, now))
                });
                Engine::Sqlite(opening.await.map_err(|error| StoreError::other(error.to_string()))??)
            }
            Database::Postgres { address, ca_file } => {
                let engine = PostgresEngine::open(address, ca_file.as_deref(), config.connections, sender).await?;
                migrate::postgres(&mut engine.client().await?, clock.now()).await?;
                engine.follow_journal();
                Engine::Postgres(engine)
            }
        };
        Ok(Self { engine: Arc::new(engine), journal })
    }

    /// Runs `work` in one transaction on the rows of `tenant`. Once this answers `Ok`, the unit is durable; after an
    /// error nothing of it was kept, except that a connection to PostgreSQL which broke during the commit leaves it open.
    ///
    /// The closure must wait for nothing but its transaction: on SQLite every other writer waits for it. It is run even
    /// if the caller stops waiting.
    pub async fn write<F, T, E>(&self, tenant: &TenantId, op: &'static str, work: F) -> Result<T, E>
    where
        F: for<'t> FnOnce(&'t mut TenantTx) -> BoxFuture<'t, Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.run_write::<TenantTx, _, _, _>(op, tenant.clone(), work).await
    }

    /// Reads the rows of `tenant` in one snapshot. A statement that writes fails.
    pub async fn read<F, T, E>(&self, tenant: &TenantId, op: &'static str, work: F) -> Result<T, E>
    where
        F: for<'t> FnOnce(&'t mut TenantTx) -> BoxFuture<'t, Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.run_read::<TenantTx, _, _, _>(op, tenant.clone(), work).await
    }

    /// As [`write`](Self::write), across tenants.
    pub async fn system_write<F, T, E>(&self, op: &'static str, work: F) -> Result<T, E>
    where
        F: for<'t> FnOnce(&'t mut SystemTx) -> BoxFuture<'t, Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.run_write::<SystemTx, _, _, _>(op, (), work).await
    }

    /// As [`read`](Self::read), across tenants.
    pub async fn system_read<F, T, E>(&self, op: &'static str, work: F) -> Result<T, E>
    where
        F: for<'t> FnOnce(&'t mut SystemTx) -> BoxFuture<'t, Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.run_read::<SystemTx, _, _, _>(op, (), work).await
    }

    /// The greatest journal id that was committed. It changes when there may be something new to read; several changes
    /// may be seen as one. With PostgreSQL it follows other servers within about a second.
    pub fn watch_journal(&self) -> watch::Receiver<i64> {
        self.journal.clone()
    }

    /// Whether no other server was at the database when this one first asked: always with SQLite, whose file is locked. Others
    /// see from then on that this one is there.
    ///
    /// # Errors
    /// Where the database does not answer.
    pub async fn came_alone(&self) -> Result<bool, StoreError> {
        match &*self.engine {
            Engine::Sqlite(_) => Ok(true),
            Engine::Postgres(engine) => engine.came_alone().await,
        }
    }

    /// Whether other servers may be at the same database.
    pub fn is_shared(&self) -> bool {
        matches!(&*self.engine, Engine::Postgres(_))
    }

    /// How often units have waited for PostgreSQL, commits included; 0 with SQLite, which is in the process.
    pub fn round_trips(&self) -> u64 {
        match &*self.engine {
            Engine::Sqlite(_) => 0,
            Engine::Postgres(engine) => engine.round_trips(),
        }
    }

    /// Finishes what is under way and lets go of the database. Later units fail.
    pub async fn close(&self) {
        match &*self.engine {
            Engine::Sqlite(engine) => engine.close().await,
            Engine::Postgres(engine) => engine.close().await,
        }
    }

    async fn run_write<S, F, T, E>(&self, op: &'static str, key: S::Key, work: F) -> Result<T, E>
    where
        S: Scoped,
        F: for<'t> FnOnce(&'t mut S) -> BoxFuture<'t, Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        match &*self.engine {
            Engine::Sqlite(engine) => engine.write::<S, F, T, E>(op, key, work).await,
            Engine::Postgres(engine) => engine.write::<S, F, T, E>(op, key, work).await,
        }
    }

    async fn run_read<S, F, T, E>(&self, op: &'static str, key: S::Key, work: F) -> Result<T, E>
    where
        S: Scoped,
        F: for<'t> FnOnce(&'t mut S) -> BoxFuture<'t, Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        match &*self.engine {
            Engine::Sqlite(engine) => engine.read::<S, F, T, E>(op, key, work).await,
            Engine::Postgres(engine) => engine.read::<S, F, T, E>(op, key, work).await,
        }
    }
}
