//! What can go wrong in a use case, by meaning.
//!
//! A door maps each meaning to its protocol's code in one exhaustive table. A resource that the principal may not see is
//! [`Error::NotFound`], never [`Error::Denied`]. No variant carries a payload or a secret.

use std::time::Duration;

use fleetward_core::access::Permission;
use fleetward_store::{StoreError, StoreErrorKind};
use fleetward_vault::{KeyError, OpenError, RootSealError, SignerError, TokenError};

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// The outcome of a use case that did not do what was asked. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such thing, or the principal must not know of it.
    #[error("no such {what}")]
    NotFound { what: &'static str },

    /// No credential, or one that does not count. `reason` is for the journal and the log; doors say less.
    #[error("not authenticated: {reason}")]
    Unauthenticated { reason: &'static str },

    /// The principal may see the resource and may not do this with it.
    #[error("the permission {} is missing", .permission.as_str())]
    Denied { permission: Permission },

    /// A value that cannot be. `field` is a path such as `phases[2].percent`; empty for the whole.
    #[error("{field}: {reason}")]
    Invalid { field: String, reason: String },

    /// It cannot be done in the present state. `code` is stable, e.g. `device-exists`.
    #[error("{reason}")]
    Conflict { code: &'static str, reason: String },

    /// The resource is not at the revision that the caller expected.
    #[error("expected revision {expected}, found {found}")]
    Stale { expected: u64, found: u64 },

    /// A signature, hash or certificate that does not hold. `code` is stable.
    #[error("{reason}")]
    Untrusted { code: &'static str, reason: String },

    /// Somebody has to let it happen first; the same request is worth another try after `retry_after`.
    #[error("waits for approval; ask again in {} s", .retry_after.as_secs())]
    Pending { retry_after: Duration },

    /// Too often; `retry_after` says when it is worth another try.
    #[error("too many {what}; try again in {} s", .retry_after.as_secs())]
    TooMany { what: &'static str, retry_after: Duration },

    /// Larger than a limit of `base::limits`.
    #[error("{what} is larger than {limit} bytes")]
    TooLarge { what: &'static str, limit: u64 },

    /// There is no room to store it.
    #[error("the server's storage is full")]
    StorageFull,

    /// Something that the use case needs is out of reach for now.
    #[error("{what} is not available just now")]
    Unavailable { what: &'static str },

    /// A fault of ours. The cause goes to the log, never to the caller.
    #[error("internal fault")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl Error {
    pub fn invalid(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Invalid { field: field.into(), reason: reason.into() }
    }

    pub fn conflict(code: &'static str, reason: impl Into<String>) -> Self {
        Self::Conflict { code, reason: reason.into() }
    }

    pub fn untrusted(code: &'static str, reason: impl Into<String>) -> Self {
        Self::Untrusted { code, reason: reason.into() }
    }

    pub fn internal(cause: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Internal(cause.into())
    }
}

impl From<KeyError> for Error {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Disabled { .. } => Self::Unavailable { what: "what needs the tenant's keys (they are disabled)" },
            KeyError::Closed | KeyError::Unknown { .. } => Self::Unavailable { what: "the tenant's key" },
        }
    }
}

impl From<OpenError> for Error {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Key(error) => error.into(),
            other => Self::internal(other),
        }
    }
}

impl From<SignerError> for Error {
    fn from(error: SignerError) -> Self {
        match error {
            SignerError::Sealed(error) => error.into(),
            SignerError::NotAKey => Self::internal(error),
        }
    }
}

impl From<RootSealError> for Error {
    fn from(error: RootSealError) -> Self {
        match error {
            RootSealError::Unreachable { .. } => {
                tracing::warn!(%error, "the root key's seal does not answer");
                Self::Unavailable { what: "the root key's seal" }
            }
            other => Self::internal(other),
        }
    }
}

impl From<TokenError> for Error {
    fn from(error: TokenError) -> Self {
        match error {
            TokenError::Uri(error) => Self::invalid("issuing_key", error.to_string()),
            other => {
                tracing::warn!(error = %other, "a key in a token cannot be used");
                Self::Unavailable { what: "the token with the authority's key" }
            }
        }
    }
}

/// Holds a name or a reason that somebody wrote to its limit.
///
/// # Errors
/// `Invalid` with the field.
pub(crate) fn check_line(field: &str, text: &str, most: usize) -> Result<()> {
    fleetward_core::text::check_line(text, most).map_err(|bad| Error::invalid(field, bad.to_string()))
}

/// As [`check_line`], for a note that may be empty.
///
/// # Errors
/// `Invalid` with the field.
pub(crate) fn check_note(field: &str, text: &str, most: usize) -> Result<()> {
    fleetward_core::text::check_note(text, most).map_err(|bad| Error::invalid(field, bad.to_string()))
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error.kind {
            StoreErrorKind::Full => Self::StorageFull,
            StoreErrorKind::Unavailable => {
                tracing::warn!(error = %error, "the store is not available");
                Self::Unavailable { what: "the store" }
            }
            StoreErrorKind::Conflict | StoreErrorKind::Corrupt | StoreErrorKind::Other => Self::internal(error),
        }
    }
}
