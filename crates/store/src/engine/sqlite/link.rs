//! Statements on one SQLite connection.

use std::borrow::Cow;

use rusqlite::types::{ToSqlOutput, Value, ValueRef};
use rusqlite::{CachedStatement, Connection, ErrorCode, ToSql, ffi};

use crate::sql::{Column, Param, Row};
use crate::{StoreError, StoreErrorKind};

/// A connection that one unit has for itself.
#[derive(Debug)]
pub(crate) struct SqliteLink(pub(crate) Box<Connection>);

impl SqliteLink {
    pub(crate) fn execute(&mut self, sql: &'static str, params: &[Param<'_>]) -> Result<u64, StoreError> {
        let mut statement = self.prepare(sql)?;
        bind(&mut statement, |number| params.get(number).map(borrowed))?;
        run(&mut statement)
    }

    pub(crate) fn execute_rows(
        &mut self,
        sql: &'static str,
        scalars: &[Param<'_>],
        columns: &[Column<'_>],
    ) -> Result<u64, StoreError> {
        let mut statement = self.prepare(sql)?;
        let mut changed = 0;
        for row in 0..height(columns) {
            bind(&mut statement, |number| of_row(scalars, columns, row, number))?;
            changed += run(&mut statement)?;
        }
        Ok(changed)
    }

    pub(crate) fn query_rows(
        &mut self,
        sql: &'static str,
        scalars: &[Param<'_>],
        columns: &[Column<'_>],
    ) -> Result<Vec<Row>, StoreError> {
        let mut statement = self.prepare(sql)?;
        let mut found = Vec::new();
        for row in 0..height(columns) {
            bind(&mut statement, |number| of_row(scalars, columns, row, number))?;
            collect(&mut statement, &mut found)?;
        }
        Ok(found)
    }

    pub(crate) fn query(&mut self, sql: &'static str, params: &[Param<'_>]) -> Result<Vec<Row>, StoreError> {
        let mut statement = self.prepare(sql)?;
        bind(&mut statement, |number| params.get(number).map(borrowed))?;
        let mut found = Vec::new();
        collect(&mut statement, &mut found)?;
        Ok(found)
    }

    fn prepare(&mut self, sql: &'static str) -> Result<CachedStatement<'_>, StoreError> {
        self.0.prepare_cached(sql).map_err(|error| fault(&error))
    }
}

/// Binds `$N` to the value numbered N - 1. SQLite takes `$N` for a name and numbers names by first appearance, so each
/// place is asked for its name.
fn bind<'p>(statement: &mut CachedStatement<'_>, value: impl Fn(usize) -> Option<Param<'p>>) -> Result<(), StoreError> {
    for place in 1..=statement.parameter_count() {
        let number = statement.parameter_name(place).and_then(|name| name.strip_prefix('$')?.parse::<usize>().ok());
        let bound = number.and_then(|number| value(number.checked_sub(1)?));
        let bound = bound.ok_or_else(|| StoreError::other("a placeholder of the statement has no parameter"))?;
        statement.raw_bind_parameter(place, bound).map_err(|error| fault(&error))?;
    }
    Ok(())
}

/// Runs a statement without rows; one that gives rows is an error, on PostgreSQL it would be none.
fn run(statement: &mut CachedStatement<'_>) -> Result<u64, StoreError> {
    let changed = statement.raw_execute().map_err(|error| fault(&error))?;
    Ok(u64::try_from(changed).unwrap_or(u64::MAX))
}

fn collect(statement: &mut CachedStatement<'_>, found: &mut Vec<Row>) -> Result<(), StoreError> {
    let width = statement.column_count();
    let mut rows = statement.raw_query();
    while let Some(row) = rows.next().map_err(|error| fault(&error))? {
        let values = (0..width).map(|at| row.get::<_, Value>(at)).collect::<Result<Vec<_>, _>>();
        found.push(Row::Sqlite(values.map_err(|error| fault(&error))?));
    }
    Ok(())
}

fn height(columns: &[Column<'_>]) -> usize {
    columns.iter().map(Column::len).max().unwrap_or(0)
}

/// The value of a placeholder in one row of a bulk statement.
fn of_row<'p>(scalars: &'p [Param<'_>], columns: &'p [Column<'_>], row: usize, number: usize) -> Option<Param<'p>> {
    match number.checked_sub(scalars.len()) {
        None => scalars.get(number).map(borrowed),
        Some(column) => columns.get(column).map(|column| column.at(row)),
    }
}

fn borrowed<'p>(param: &'p Param<'_>) -> Param<'p> {
    match param {
        Param::Int(value) => Param::Int(*value),
        Param::Text(value) => Param::Text(value.as_deref().map(Cow::Borrowed)),
        Param::Bytes(value) => Param::Bytes(*value),
    }
}

impl ToSql for Param<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Param::Int(Some(value)) => ValueRef::Integer(*value),
            Param::Text(Some(value)) => ValueRef::Text(value.as_bytes()),
            Param::Bytes(Some(value)) => ValueRef::Blob(value),
            Param::Int(None) | Param::Text(None) | Param::Bytes(None) => ValueRef::Null,
        }))
    }
}

/// Takes over an error of SQLite. Its messages name tables and columns, not values; SQL text is left out.
pub(crate) fn fault(error: &rusqlite::Error) -> StoreError {
    let rusqlite::Error::SqliteFailure(code, message) = error else {
        return StoreError::other(without_sql(error));
    };
    let kind = match code.code {
        ErrorCode::DiskFull => StoreErrorKind::Full,
        // A file that may not grow any further says so with an I/O error.
        ErrorCode::SystemIoFailure
            if matches!(code.extended_code, ffi::SQLITE_IOERR_WRITE | ffi::SQLITE_IOERR_SHMSIZE) =>
        {
            StoreErrorKind::Full
        }
        ErrorCode::SystemIoFailure
        | ErrorCode::CannotOpen
        | ErrorCode::DatabaseBusy
        | ErrorCode::DatabaseLocked
        | ErrorCode::OutOfMemory
        | ErrorCode::ReadOnly => StoreErrorKind::Unavailable,
        ErrorCode::ConstraintViolation
            if matches!(
                code.extended_code,
                ffi::SQLITE_CONSTRAINT_UNIQUE | ffi::SQLITE_CONSTRAINT_PRIMARYKEY | ffi::SQLITE_CONSTRAINT_ROWID
            ) =>
        {
            StoreErrorKind::Conflict
        }
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => StoreErrorKind::Corrupt,
        _ => StoreErrorKind::Other,
    };
    let text = message.clone().unwrap_or_else(|| code.to_string());
    StoreError::new(kind, format!("SQLite: {text} (code {})", code.extended_code))
}

fn without_sql(error: &rusqlite::Error) -> String {
    match error {
        rusqlite::Error::SqlInputError { msg, offset, .. } => format!("SQLite: {msg} at {offset}"),
        other => format!("SQLite: {other}"),
    }
}
