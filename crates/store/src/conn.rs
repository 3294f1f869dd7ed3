//! One connection for the length of one unit of work, whichever engine it belongs to.
//!
//! It remembers whether a statement failed: such a unit is never committed, even where the closure went on and answered
//! `Ok`. PostgreSQL refuses the rest of a transaction after an error and SQLite does not; here both refuse.

use crate::StoreError;
use crate::engine::postgres::PgLink;
use crate::engine::sqlite::SqliteLink;
use crate::sql::{Bulk, Column, FromRow, Param, Row, Sql};

/// The engine's side of a unit.
#[derive(Debug)]
pub(crate) enum Link {
    Sqlite(SqliteLink),
    Postgres(Box<PgLink>),
}

/// What the unit left behind for whoever commits it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Effects {
    /// The greatest journal id that the unit appended.
    pub(crate) journaled: Option<i64>,
    /// A statement failed: the unit must not be committed.
    pub(crate) failed: bool,
}

#[derive(Debug)]
pub(crate) struct Conn {
    link: Link,
    op: &'static str,
    effects: Effects,
}

impl Conn {
    pub(crate) fn new(link: Link, op: &'static str) -> Self {
        Self { link, op, effects: Effects::default() }
    }

    pub(crate) fn into_parts(self) -> (Link, Effects) {
        (self.link, self.effects)
    }

    pub(crate) fn appended(&mut self, journal_id: i64) {
        self.effects.journaled = self.effects.journaled.max(Some(journal_id));
    }

    /// Runs a statement that answers with no rows; says how many rows it changed.
    pub(crate) async fn execute(&mut self, sql: impl Into<Sql>, params: &[Param<'_>]) -> Result<u64, StoreError> {
        self.sound()?;
        let sql = sql.into();
        let done = match &mut self.link {
            Link::Sqlite(link) => link.execute(sql.sqlite, params),
            Link::Postgres(link) => link.execute(sql.postgres, params).await,
        };
        self.checked(done)
    }

    /// Runs one statement for many rows (see [`Bulk`]); says how many rows it changed.
    pub(crate) async fn execute_rows(
        &mut self,
        sql: Bulk,
        scalars: &[Param<'_>],
        columns: &[Column<'_>],
    ) -> Result<u64, StoreError> {
        self.sound()?;
        if columns.first().is_none_or(|column| column.len() == 0) {
            return Ok(0);
        }
        let done = match &mut self.link {
            Link::Sqlite(link) => link.execute_rows(sql.sqlite, scalars, columns),
            Link::Postgres(link) => link.execute_rows(sql.postgres, scalars, columns).await,
        };
        self.checked(done)
    }

    /// Runs one statement for many rows and reads what its `RETURNING` gives.
    pub(crate) async fn query_rows<T: FromRow>(
        &mut self,
        sql: Bulk,
        scalars: &[Param<'_>],
        columns: &[Column<'_>],
    ) -> Result<Vec<T>, StoreError> {
        self.sound()?;
        if columns.first().is_none_or(|column| column.len() == 0) {
            return Ok(Vec::new());
        }
        let rows = match &mut self.link {
            Link::Sqlite(link) => link.query_rows(sql.sqlite, scalars, columns),
            Link::Postgres(link) => link.query_rows(sql.postgres, scalars, columns).await,
        };
        let rows = self.checked(rows)?;
        let read = rows.into_iter().map(|row| T::from_row(&mut row.cells())).collect();
        self.checked(read)
    }

    async fn rows(&mut self, sql: Sql, params: &[Param<'_>]) -> Result<Vec<Row>, StoreError> {
        self.sound()?;
        let rows = match &mut self.link {
            Link::Sqlite(link) => link.query(sql.sqlite, params),
            Link::Postgres(link) => link.query(sql.postgres, params).await,
        };
        self.checked(rows)
    }

    pub(crate) async fn query<T: FromRow>(
        &mut self,
        sql: impl Into<Sql>,
        params: &[Param<'_>],
    ) -> Result<Vec<T>, StoreError> {
        let rows = self.rows(sql.into(), params).await?;
        let read = rows.into_iter().map(|row| T::from_row(&mut row.cells())).collect();
        self.checked(read)
    }

    /// The first row, if there is one.
    pub(crate) async fn query_opt<T: FromRow>(
        &mut self,
        sql: impl Into<Sql>,
        params: &[Param<'_>],
    ) -> Result<Option<T>, StoreError> {
        let rows = self.rows(sql.into(), params).await?;
        let read = rows.into_iter().next().map(|row| T::from_row(&mut row.cells())).transpose();
        self.checked(read)
    }

    /// The row of a statement that always has one.
    pub(crate) async fn query_one<T: FromRow>(
        &mut self,
        sql: impl Into<Sql>,
        params: &[Param<'_>],
    ) -> Result<T, StoreError> {
        let found = self.query_opt(sql, params).await?;
        let one = found.ok_or_else(|| StoreError::other("a statement that always has a row had none"));
        self.checked(one)
    }

    /// Says to PostgreSQL whose rows the statements that follow may see. SQLite has no such thing.
    pub(crate) async fn set_scope(&mut self, setting: &str) -> Result<(), StoreError> {
        self.sound()?;
        let done = match &mut self.link {
            Link::Sqlite(_) => Ok(()),
            Link::Postgres(link) => link.set_scope(setting).await,
        };
        self.checked(done)
    }

    /// Says so at the very start, before the first statement, without a round trip of its own.
    pub(crate) fn start_in_scope(&mut self, setting: &str) {
        if let Link::Postgres(link) = &mut self.link {
            link.start_in_scope(setting);
        }
    }

    fn sound(&self) -> Result<(), StoreError> {
        if self.effects.failed {
            return Err(StoreError::other("an earlier statement of this unit failed").during(self.op));
        }
        Ok(())
    }

    fn checked<T>(&mut self, done: Result<T, StoreError>) -> Result<T, StoreError> {
        done.map_err(|error| {
            self.effects.failed = true;
            error.during(self.op)
        })
    }
}

#[cfg(test)]
mod tests;
