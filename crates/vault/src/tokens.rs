//! The way to private keys that lie in PKCS#11 tokens and never leave them.

use std::sync::Arc;

use async_trait::async_trait;
use fleetward_pki::Signer;

/// Why a key in a token cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    #[error("{0}")]
    Uri(#[from] crate::uri::UriError),
    /// The library or the token is not there; it may come back.
    #[error("the token is out of reach: {0}")]
    Unreachable(String),
    /// It answers and says no.
    #[error("the token refuses: {0}")]
    Refused(String),
    #[error("there is no such key in the token: {0}")]
    NoKey(String),
}

/// Signing keys in tokens, named by RFC 7512 URIs.
#[async_trait]
pub trait Tokens: Send + Sync {
    /// The key that `uri` names.
    async fn signer(&self, uri: &str) -> Result<Arc<dyn Signer>, TokenError>;

    /// A new P-256 key pair, made in the token under the label in `uri`, which must not be taken.
    async fn generate(&self, uri: &str) -> Result<Arc<dyn Signer>, TokenError>;
}
