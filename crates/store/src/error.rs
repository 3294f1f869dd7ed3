//! What can go wrong, in the few kinds that somebody acts upon.
//!
//! Absence is no error here (an `Option` says it), nor is a lost race that a method reports in its answer. No message
//! carries a value of a row: what the database says about values is dropped where its error is taken over.

use std::error::Error;
use std::fmt;
use std::path::PathBuf;

/// What a failed unit of work means to whoever asked for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreErrorKind {
    /// The database cannot be reached, is overloaded, or broke off a unit that collided with another. Try again later.
    Unavailable,
    /// No space for it. Nothing of the unit was kept.
    Full,
    /// A unique key is taken.
    Conflict,
    /// The database, or a row in it, is not what this program wrote.
    Corrupt,
    /// A defect of this program or of its configuration.
    Other,
}

impl fmt::Display for StoreErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unavailable => "the database is not available",
            Self::Full => "no space left for the database",
            Self::Conflict => "the key is taken",
            Self::Corrupt => "the stored data are damaged",
            Self::Other => "the statement failed",
        })
    }
}

/// A unit of work that was not done. Nothing of it was kept.
#[derive(Debug, thiserror::Error)]
#[error("{op}: {kind}")]
pub struct StoreError {
    /// The name that the caller gave the unit.
    pub op: &'static str,
    pub kind: StoreErrorKind,
    #[source]
    pub source: Box<dyn Error + Send + Sync>,
}

impl StoreError {
    pub(crate) fn new(kind: StoreErrorKind, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { op: "store", kind, source: source.into() }
    }

    pub(crate) fn other(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(StoreErrorKind::Other, source)
    }

    pub(crate) fn corrupt(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(StoreErrorKind::Corrupt, source)
    }

    pub(crate) fn unavailable(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(StoreErrorKind::Unavailable, source)
    }

    pub(crate) fn during(mut self, op: &'static str) -> Self {
        self.op = op;
        self
    }

    /// The same failure for another unit of the same batch.
    pub(crate) fn again(&self, op: &'static str) -> Self {
        Self { op, kind: self.kind, source: self.source.to_string().into() }
    }

    /// Whether the same unit may succeed later without anybody changing anything.
    pub fn retryable(&self) -> bool {
        matches!(self.kind, StoreErrorKind::Unavailable | StoreErrorKind::Full)
    }
}

/// A database that this program will not work on, with what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("{} is in use by another server (it holds {})", .database.display(), .lock.display())]
    Locked { database: PathBuf, lock: PathBuf },
    #[error(
        "the database is from a newer version (schema {found}, this program knows up to {known}): run that version, or restore a backup made before the upgrade"
    )]
    Newer { found: u64, known: u64 },
    #[error(
        "migration {version} was applied with another content than this program has: the database belongs to another build"
    )]
    Changed { version: u64 },
    #[error("{}", .path.display())]
    Io {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("the database address is not understood: {why}")]
    Address { why: String },
    #[error("the database cannot be opened")]
    Database(#[from] StoreError),
}
