//! Statements in one PostgreSQL transaction.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use deadpool_postgres::{ClientWrapper, Object};
use futures::future::join;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;

use crate::sql::{Column, Param, Row};
use crate::{StoreError, StoreErrorKind};

/// A connection that one unit has for itself. Dropped before the transaction ended, it takes the connection along.
pub(crate) struct PgLink {
    client: Option<Object>,
    /// What opens the transaction; sent together with the first statement, which saves a round trip.
    begin: Option<String>,
    ended: bool,
    /// Of the engine: how often the server was waited for.
    round_trips: Arc<AtomicU64>,
}

impl std::fmt::Debug for PgLink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PgLink").field("begun", &self.begin.is_none()).finish_non_exhaustive()
    }
}

impl PgLink {
    pub(crate) fn new(client: Object, begin: &'static str, round_trips: Arc<AtomicU64>) -> Self {
        Self { client: Some(client), begin: Some(begin.to_owned()), ended: false, round_trips }
    }

    /// `scope` is a tenant's name or a sign of ours; neither can hold a quote, and where one did it would be refused.
    pub(crate) fn start_in_scope(&mut self, scope: &str) {
        if let Some(begin) = &mut self.begin {
            begin.push_str("; ");
            begin.push_str(&set_scope_sql(scope));
        }
    }

    pub(crate) async fn set_scope(&mut self, scope: &str) -> Result<(), StoreError> {
        if self.begin.is_some() {
            self.start_in_scope(scope);
            return Ok(());
        }
        self.round_trips.fetch_add(1, Ordering::Relaxed);
        self.client()?.batch_execute(&set_scope_sql(scope)).await.map_err(|error| fault(&error))
    }

    pub(crate) async fn execute(&mut self, sql: &'static str, params: &[Param<'_>]) -> Result<u64, StoreError> {
        let params: Vec<_> = params.iter().map(|param| param as &(dyn ToSql + Sync)).collect();
        self.run(sql, &params).await
    }

    pub(crate) async fn execute_rows(
        &mut self,
        sql: &'static str,
        scalars: &[Param<'_>],
        columns: &[Column<'_>],
    ) -> Result<u64, StoreError> {
        self.run(sql, &bulk(scalars, columns)).await
    }

    async fn run(&mut self, sql: &'static str, params: &[&(dyn ToSql + Sync)]) -> Result<u64, StoreError> {
        let begin = self.begin.take();
        self.round_trips.fetch_add(1, Ordering::Relaxed);
        let client = self.client()?;
        let statement = client.prepare_cached(sql).await.map_err(|error| fault(&error))?;
        let done = match begin {
            None => client.execute(&statement, params).await,
            Some(begin) => after(client, &begin, client.execute(&statement, params)).await,
        };
        done.map_err(|error| fault(&error))
    }

    pub(crate) async fn query(&mut self, sql: &'static str, params: &[Param<'_>]) -> Result<Vec<Row>, StoreError> {
        let params: Vec<_> = params.iter().map(|param| param as &(dyn ToSql + Sync)).collect();
        self.fetch(sql, &params).await
    }

    pub(crate) async fn query_rows(
        &mut self,
        sql: &'static str,
        scalars: &[Param<'_>],
        columns: &[Column<'_>],
    ) -> Result<Vec<Row>, StoreError> {
        self.fetch(sql, &bulk(scalars, columns)).await
    }

    async fn fetch(&mut self, sql: &'static str, params: &[&(dyn ToSql + Sync)]) -> Result<Vec<Row>, StoreError> {
        let begin = self.begin.take();
        self.round_trips.fetch_add(1, Ordering::Relaxed);
        let client = self.client()?;
        let statement = client.prepare_cached(sql).await.map_err(|error| fault(&error))?;
        let rows = match begin {
            None => client.query(&statement, params).await,
            Some(begin) => after(client, &begin, client.query(&statement, params)).await,
        };
        Ok(rows.map_err(|error| fault(&error))?.into_iter().map(Row::Postgres).collect())
    }

    pub(crate) async fn commit(mut self) -> Result<(), StoreError> {
        if self.begin.is_none() {
            self.round_trips.fetch_add(1, Ordering::Relaxed);
            self.client()?.batch_execute("COMMIT").await.map_err(|error| fault(&error))?;
        }
        self.ended = true;
        Ok(())
    }

    pub(crate) async fn roll_back(mut self) {
        self.ended = match (&self.begin, self.client()) {
            (Some(_), _) => true,
            // A connection that cannot even roll back is thrown away, which rolls back as well.
            (None, Ok(client)) => client.batch_execute("ROLLBACK").await.is_ok(),
            (None, Err(_)) => false,
        };
    }

    fn client(&self) -> Result<&ClientWrapper, StoreError> {
        self.client.as_deref().ok_or_else(|| StoreError::other("the connection was given up"))
    }
}

impl Drop for PgLink {
    fn drop(&mut self) {
        if let Some(client) = self.client.take()
            && !self.ended
        {
            drop(Object::take(client));
        }
    }
}

fn bulk<'p>(scalars: &'p [Param<'_>], columns: &'p [Column<'_>]) -> Vec<&'p (dyn ToSql + Sync)> {
    let scalars = scalars.iter().map(|param| param as &(dyn ToSql + Sync));
    scalars.chain(columns.iter().map(|column| column as &(dyn ToSql + Sync))).collect()
}

/// Sends `BEGIN` and the statement in one go. If the first failed, the second had no transaction and no scope, so that
/// the policies let it see and change nothing.
async fn after<T>(
    client: &ClientWrapper,
    begin: &str,
    statement: impl Future<Output = Result<T, tokio_postgres::Error>>,
) -> Result<T, tokio_postgres::Error> {
    let (begun, done) = join(client.batch_execute(begin), statement).await;
    begun.and(done)
}

fn set_scope_sql(scope: &str) -> String {
    let plain = scope.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '@' | '*'));
    format!("SELECT set_config('app.tenant', '{}', true)", if plain { scope } else { "" })
}

/// Takes over an error of PostgreSQL: its code, message and constraint, never the detail, which quotes values.
pub(crate) fn fault(error: &tokio_postgres::Error) -> StoreError {
    let Some(db) = error.as_db_error() else {
        let gone = error.is_closed() || std::error::Error::source(error).is_some_and(|s| s.is::<std::io::Error>());
        let kind = if gone { StoreErrorKind::Unavailable } else { StoreErrorKind::Other };
        let cause = std::error::Error::source(error).map(|source| format!(": {source}")).unwrap_or_default();
        return StoreError::new(kind, format!("PostgreSQL: {error}{cause}"));
    };
    let code = db.code();
    let kind = match code.code().get(..2).unwrap_or_default() {
        _ if *code == SqlState::UNIQUE_VIOLATION => StoreErrorKind::Conflict,
        _ if *code == SqlState::DISK_FULL => StoreErrorKind::Full,
        _ if *code == SqlState::READ_ONLY_SQL_TRANSACTION => StoreErrorKind::Unavailable,
        _ if *code == SqlState::LOCK_NOT_AVAILABLE => StoreErrorKind::Unavailable,
        // Connection, transaction rollback (serialization, deadlock), resources, operator intervention, system.
        "08" | "40" | "53" | "57" | "58" => StoreErrorKind::Unavailable,
        "XX" => StoreErrorKind::Corrupt,
        _ => StoreErrorKind::Other,
    };
    let constraint = db.constraint().map(|name| format!(" ({name})")).unwrap_or_default();
    StoreError::new(kind, format!("PostgreSQL: {}{constraint} [{}]", db.message(), code.code()))
}
