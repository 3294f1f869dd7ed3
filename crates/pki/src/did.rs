//! Decentralised identifiers (DID Core 1.0) of two methods: `did:key`, which is its key, and `did:web`, whose document lies
//! under a host of its owner.
//!
//! Only read here: nothing is fetched. A name gives either its key or the address of its document ([`Did::parse`]), and a
//! document gives the keys by which its subject authenticates ([`document`]). Fragments, queries and paths of a DID URL are
//! no part of a name and are refused.

pub mod document;

use std::fmt;

use crate::jws::{Curve, JwsError, VerifyingKey};

/// Why a text is no identifier that is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DidError {
    #[error("not a DID")]
    Malformed,
    #[error("only did:key and did:web are known")]
    Method,
    #[error("the key in it is none of P-256, P-384 and Ed25519")]
    Key,
    #[error("the host in it is no name that a document may lie under")]
    Host,
    #[error("the DID document cannot be read, or is of another subject")]
    Document,
}

impl From<JwsError> for DidError {
    fn from(_: JwsError) -> Self {
        Self::Key
    }
}

/// An identifier, and where its key comes from.
#[derive(Clone, Debug)]
pub enum Did {
    Key { text: String, key: VerifyingKey },
    Web { text: String, url: String, host: String, port: u16 },
}

const BYTES: usize = 512;

impl Did {
    /// # Errors
    /// [`DidError`].
    pub fn parse(text: &str) -> Result<Self, DidError> {
        let rest = text.strip_prefix("did:").ok_or(DidError::Malformed)?;
        if text.len() > BYTES || text.contains(['#', '?', '/']) {
            return Err(DidError::Malformed);
        }
        match rest.split_once(':').ok_or(DidError::Malformed)? {
            ("key", value) => Ok(Self::Key { key: multikey(value)?, text: text.to_owned() }),
            ("web", value) => web(text, value),
            _ => Err(DidError::Method),
        }
    }

    pub fn as_str(&self) -> &str {
        match self {
            Self::Key { text, .. } | Self::Web { text, .. } => text,
        }
    }
}

impl fmt::Display for Did {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A key in multibase (base58-btc) with its multicodec before it, as did:key and `publicKeyMultibase` have it.
///
/// # Errors
/// [`DidError::Key`] where it is another kind of key, [`DidError::Malformed`] where it is none.
pub(crate) fn multikey(text: &str) -> Result<VerifyingKey, DidError> {
    let encoded = text.strip_prefix('z').filter(|rest| rest.len() <= 128).ok_or(DidError::Malformed)?;
    let bytes = bs58::decode(encoded).into_vec().map_err(|_| DidError::Malformed)?;
    // The codes as unsigned varints: ed25519-pub 0xed, p256-pub 0x1200, p384-pub 0x1201.
    let (curve, key) = match bytes.split_first_chunk::<2>().ok_or(DidError::Malformed)? {
        ([0xed, 0x01], key) => (Curve::Ed25519, key),
        ([0x80, 0x24], key) => (Curve::P256, key),
        ([0x81, 0x24], key) => (Curve::P384, key),
        _ => return Err(DidError::Key),
    };
    Ok(VerifyingKey::new(curve, key)?)
}

/// `did:web:HOST[%3APORT][:PATH]*` (did:web §3.2): `https://HOST[:PORT]/PATH/did.json`, or below `/.well-known`.
fn web(text: &str, value: &str) -> Result<Did, DidError> {
    let mut parts = value.split(':');
    let authority = parts.next().unwrap_or_default().to_ascii_lowercase();
    let (host, port) = match authority.split_once("%3a") {
        Some((host, port)) => (host, port.parse().ok().filter(|port| *port > 0).ok_or(DidError::Host)?),
        None => (authority.as_str(), 443),
    };
    if !host_name(host) {
        return Err(DidError::Host);
    }
    let path: Vec<&str> = parts.collect();
    let plain = |part: &&str| {
        let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~');
        !part.is_empty() && !matches!(*part, "." | "..") && part.bytes().all(good)
    };
    if !path.iter().all(plain) {
        return Err(DidError::Malformed);
    }
    let folder = if path.is_empty() { ".well-known".to_owned() } else { path.join("/") };
    let at = if port == 443 { host.to_owned() } else { format!("{host}:{port}") };
    let url = format!("https://{at}/{folder}/did.json");
    Ok(Did::Web { text: text.to_owned(), url, host: host.to_owned(), port })
}

/// A name of the DNS with a dot in it. An address is none (did:web §3.1), and neither is a name of the local network.
fn host_name(host: &str) -> bool {
    let label = |label: &str| {
        let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        (1..=63).contains(&label.len()) && label.bytes().all(good) && !label.starts_with('-') && !label.ends_with('-')
    };
    let last = host.rsplit('.').next().unwrap_or_default();
    host.len() <= 253
        && host.contains('.')
        && host.split('.').all(label)
        && !last.bytes().all(|byte| byte.is_ascii_digit())
        && !matches!(last, "local" | "localhost" | "internal")
}

#[cfg(test)]
mod tests;
