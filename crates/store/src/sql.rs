//! The seam between the statements and the two engines.
//!
//! A statement is a constant text in the subset that both engines read: `$1` placeholders, `ON CONFLICT`, `RETURNING`,
//! `CAST(.. AS ..)`. [`Sql`] holds two texts where they differ, [`Bulk`] a statement that takes many rows. Values go in
//! as [`Param`]s and come out through [`Cells`], which answers with an error where a column is not what it should be.
//! Text is never put together at run time, so no value can become a statement.

use std::borrow::Cow;
use std::str::FromStr;

use fleetward_base::{
    DeviceId, JobId, ReleaseId, RequestId, RevocationId, RolloutId, SignerId, TenantId, Timestamp, TokenId, TransferId,
};

use crate::StoreError;

/// One statement, in a text for each engine.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sql {
    pub(crate) sqlite: &'static str,
    pub(crate) postgres: &'static str,
}

impl From<&'static str> for Sql {
    fn from(both: &'static str) -> Self {
        Self { sqlite: both, postgres: both }
    }
}

/// A `SELECT` that keeps others from changing the row until the unit ends. SQLite has one writer and needs no more.
macro_rules! for_update {
    ($($sql:expr),+ $(,)?) => {
        $crate::sql::Sql { sqlite: concat!($($sql),+), postgres: concat!($($sql),+, " FOR UPDATE") }
    };
}
pub(crate) use for_update;

/// A statement over many rows. The scalars come first (`$1`..), then one parameter for each column: for SQLite the text
/// of one row, run for each (the statement stays prepared); for PostgreSQL one text over `UNNEST`, run once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bulk {
    pub(crate) sqlite: &'static str,
    pub(crate) postgres: &'static str,
}

/// A value that goes into a statement. A null has a type, as PostgreSQL wants it.
#[derive(Clone, Debug)]
pub(crate) enum Param<'a> {
    Int(Option<i64>),
    Text(Option<Cow<'a, str>>),
    Bytes(Option<&'a [u8]>),
}

/// The values of one column of a [`Bulk`] statement.
#[derive(Clone, Debug)]
pub(crate) enum Column<'a> {
    Ints(Vec<Option<i64>>),
    Texts(Vec<Option<Cow<'a, str>>>),
    Blobs(Vec<Option<&'a [u8]>>),
}

impl<'a> Column<'a> {
    /// A column out of one field of each row.
    pub(crate) fn of<T, P: Into<Param<'a>>>(rows: &'a [T], field: impl Fn(&'a T) -> P) -> Self {
        let params = || rows.iter().map(|row| field(row).into());
        match params().next() {
            Some(Param::Int(_)) | None => Self::Ints(params().map(Param::into_int).collect()),
            Some(Param::Text(_)) => Self::Texts(params().map(Param::into_text).collect()),
            Some(Param::Bytes(_)) => Self::Blobs(params().map(Param::into_bytes).collect()),
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Ints(values) => values.len(),
            Self::Texts(values) => values.len(),
            Self::Blobs(values) => values.len(),
        }
    }

    /// The value of one row, borrowed; null past the end.
    pub(crate) fn at(&self, index: usize) -> Param<'_> {
        match self {
            Self::Ints(values) => Param::Int(values.get(index).copied().flatten()),
            Self::Texts(values) => Param::Text(values.get(index).and_then(|text| text.as_deref().map(Cow::Borrowed))),
            Self::Blobs(values) => Param::Bytes(values.get(index).copied().flatten()),
        }
    }
}

impl<'a> Param<'a> {
    fn into_int(self) -> Option<i64> {
        if let Self::Int(value) = self { value } else { None }
    }

    fn into_text(self) -> Option<Cow<'a, str>> {
        if let Self::Text(value) = self { value } else { None }
    }

    fn into_bytes(self) -> Option<&'a [u8]> {
        if let Self::Bytes(value) = self { value } else { None }
    }
}

macro_rules! param_from {
    ($($from:ty => |$value:ident| $to:expr;)*) => {$(
        impl<'a> From<$from> for Param<'a> {
            fn from($value: $from) -> Self {
                $to
            }
        }
    )*};
}

param_from! {
    i64 => |v| Param::Int(Some(v));
    Option<i64> => |v| Param::Int(v);
    u32 => |v| Param::Int(Some(i64::from(v)));
    // A number past i64 does not fit the column; the largest that does is nearest to the truth.
    u64 => |v| Param::Int(Some(i64::try_from(v).unwrap_or(i64::MAX)));
    Option<u64> => |v| Param::Int(v.map(|v| i64::try_from(v).unwrap_or(i64::MAX)));
    bool => |v| Param::Int(Some(i64::from(v)));
    Timestamp => |v| Param::Int(Some(v.millis()));
    Option<Timestamp> => |v| Param::Int(v.map(Timestamp::millis));
    &'a str => |v| Param::Text(Some(Cow::Borrowed(v)));
    Option<&'a str> => |v| Param::Text(v.map(Cow::Borrowed));
    String => |v| Param::Text(Some(Cow::Owned(v)));
    Option<String> => |v| Param::Text(v.map(Cow::Owned));
    &'a String => |v| Param::Text(Some(Cow::Borrowed(v)));
    &'a Option<String> => |v| Param::Text(v.as_deref().map(Cow::Borrowed));
    &'a TenantId => |v| Param::Text(Some(Cow::Borrowed(v.as_str())));
    &'a DeviceId => |v| Param::Text(Some(Cow::Borrowed(v.as_str())));
    Option<&'a DeviceId> => |v| Param::Text(v.map(|v| Cow::Borrowed(v.as_str())));
    &'a Option<DeviceId> => |v| Param::Text(v.as_ref().map(|v| Cow::Borrowed(v.as_str())));
    &'a JobId => |v| Param::Text(Some(Cow::Borrowed(v.as_str())));
    TokenId => |v| Param::Text(Some(Cow::Owned(v.to_string())));
    TransferId => |v| Param::Text(Some(Cow::Owned(v.to_string())));
    SignerId => |v| Param::Text(Some(Cow::Owned(v.to_string())));
    ReleaseId => |v| Param::Text(Some(Cow::Owned(v.to_string())));
    RevocationId => |v| Param::Text(Some(Cow::Owned(v.to_string())));
    RolloutId => |v| Param::Text(Some(Cow::Owned(v.to_string())));
    Option<TokenId> => |v| Param::Text(v.map(|v| Cow::Owned(v.to_string())));
    Option<SignerId> => |v| Param::Text(v.map(|v| Cow::Owned(v.to_string())));
    Option<ReleaseId> => |v| Param::Text(v.map(|v| Cow::Owned(v.to_string())));
    Option<RolloutId> => |v| Param::Text(v.map(|v| Cow::Owned(v.to_string())));
    Option<RequestId> => |v| Param::Text(v.map(|v| Cow::Owned(v.to_string())));
    &'a [u8] => |v| Param::Bytes(Some(v));
    &'a Vec<u8> => |v| Param::Bytes(Some(v));
    &'a Option<Vec<u8>> => |v| Param::Bytes(v.as_deref());
    Option<&'a [u8]> => |v| Param::Bytes(v);
}

/// The parameters of one statement, each by its own conversion.
macro_rules! params {
    ($($value:expr),* $(,)?) => { &[$($crate::sql::Param::from($value)),*] };
}
pub(crate) use params;

/// A row as an engine gave it.
#[derive(Debug)]
pub(crate) enum Row {
    Sqlite(Vec<rusqlite::types::Value>),
    Postgres(tokio_postgres::Row),
}

impl Row {
    pub(crate) fn cells(self) -> Cells {
        Cells { row: self, next: 0 }
    }
}

/// A type that one row becomes.
pub(crate) trait FromRow: Sized {
    fn from_row(cells: &mut Cells) -> Result<Self, StoreError>;
}

/// Says in which order the columns of a `SELECT` fill a struct, and with which getter of [`Cells`].
macro_rules! from_row {
    ($name:ident { $($field:ident: $getter:ident),+ $(,)? }) => {
        impl $crate::sql::FromRow for $name {
            fn from_row(cells: &mut $crate::sql::Cells) -> Result<Self, $crate::StoreError> {
                Ok(Self { $($field: cells.$getter()?),+ })
            }
        }
    };
}
pub(crate) use from_row;

/// A single number, such as a count.
impl FromRow for u64 {
    fn from_row(cells: &mut Cells) -> Result<Self, StoreError> {
        cells.count()
    }
}

impl FromRow for i64 {
    fn from_row(cells: &mut Cells) -> Result<Self, StoreError> {
        cells.int()
    }
}

/// A single text.
impl FromRow for String {
    fn from_row(cells: &mut Cells) -> Result<Self, StoreError> {
        cells.text()
    }
}

impl FromRow for DeviceId {
    fn from_row(cells: &mut Cells) -> Result<Self, StoreError> {
        cells.id()
    }
}

/// Reads the columns of a row from left to right.
#[derive(Debug)]
pub(crate) struct Cells {
    row: Row,
    next: usize,
}

impl Cells {
    pub(crate) fn opt_int(&mut self) -> Result<Option<i64>, StoreError> {
        let at = self.step();
        match &mut self.row {
            Row::Sqlite(values) => match values.get(at) {
                Some(rusqlite::types::Value::Null) => Ok(None),
                Some(rusqlite::types::Value::Integer(value)) => Ok(Some(*value)),
                _ => Err(wrong(at, "an integer")),
            },
            Row::Postgres(row) => row.try_get(at).map_err(|_| wrong(at, "an integer")),
        }
    }

    pub(crate) fn opt_text(&mut self) -> Result<Option<String>, StoreError> {
        let at = self.step();
        match &mut self.row {
            Row::Sqlite(values) => match values.get_mut(at).map(taken) {
                Some(rusqlite::types::Value::Null) => Ok(None),
                Some(rusqlite::types::Value::Text(value)) => Ok(Some(value)),
                _ => Err(wrong(at, "text")),
            },
            Row::Postgres(row) => row.try_get(at).map_err(|_| wrong(at, "text")),
        }
    }

    pub(crate) fn opt_bytes(&mut self) -> Result<Option<Vec<u8>>, StoreError> {
        let at = self.step();
        match &mut self.row {
            Row::Sqlite(values) => match values.get_mut(at).map(taken) {
                Some(rusqlite::types::Value::Null) => Ok(None),
                Some(rusqlite::types::Value::Blob(value)) => Ok(Some(value)),
                _ => Err(wrong(at, "bytes")),
            },
            Row::Postgres(row) => row.try_get(at).map_err(|_| wrong(at, "bytes")),
        }
    }

    pub(crate) fn int(&mut self) -> Result<i64, StoreError> {
        self.opt_int()?.ok_or_else(|| self.null())
    }

    pub(crate) fn text(&mut self) -> Result<String, StoreError> {
        self.opt_text()?.ok_or_else(|| self.null())
    }

    pub(crate) fn bytes(&mut self) -> Result<Vec<u8>, StoreError> {
        self.opt_bytes()?.ok_or_else(|| self.null())
    }

    pub(crate) fn bool(&mut self) -> Result<bool, StoreError> {
        Ok(self.int()? != 0)
    }

    pub(crate) fn count(&mut self) -> Result<u64, StoreError> {
        u64::try_from(self.int()?).map_err(|_| wrong(self.next - 1, "a count"))
    }

    pub(crate) fn opt_count(&mut self) -> Result<Option<u64>, StoreError> {
        self.opt_int()?.map(u64::try_from).transpose().map_err(|_| wrong(self.next - 1, "a count"))
    }

    pub(crate) fn small(&mut self) -> Result<u32, StoreError> {
        u32::try_from(self.int()?).map_err(|_| wrong(self.next - 1, "a small count"))
    }

    pub(crate) fn time(&mut self) -> Result<Timestamp, StoreError> {
        self.int().map(Timestamp::from_millis)
    }

    pub(crate) fn opt_time(&mut self) -> Result<Option<Timestamp>, StoreError> {
        Ok(self.opt_int()?.map(Timestamp::from_millis))
    }

    /// An id of any kind that is read from text.
    pub(crate) fn id<T: FromStr>(&mut self) -> Result<T, StoreError> {
        self.text()?.parse().map_err(|_| wrong(self.next - 1, "an id"))
    }

    pub(crate) fn opt_id<T: FromStr>(&mut self) -> Result<Option<T>, StoreError> {
        self.opt_text()?.map(|text| text.parse()).transpose().map_err(|_| wrong(self.next - 1, "an id"))
    }

    /// The tenant that a row belongs to; none for the installation.
    pub(crate) fn tenant(&mut self) -> Result<Option<TenantId>, StoreError> {
        let text = self.text()?;
        if text.is_empty() {
            return Ok(None);
        }
        text.parse().map(Some).map_err(|_| wrong(self.next - 1, "a tenant"))
    }

    fn step(&mut self) -> usize {
        let at = self.next;
        self.next += 1;
        at
    }

    fn null(&self) -> StoreError {
        wrong(self.next - 1, "a value: it is null")
    }
}

fn taken(value: &mut rusqlite::types::Value) -> rusqlite::types::Value {
    std::mem::replace(value, rusqlite::types::Value::Null)
}

fn wrong(column: usize, wanted: &str) -> StoreError {
    StoreError::corrupt(format!("column {} of the row is not {wanted}", column + 1))
}
