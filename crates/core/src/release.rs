//! A release as it stands in the store, and the rules of its names.
//!
//! What the manifest says and whether its signature holds is the supply crate's business; this crate never opens it.

use fleetward_base::{ReleaseId, SignerId, Timestamp};

use crate::registry::Invalid;

/// A public key that a tenant accepts releases from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signer {
    pub id: SignerId,
    pub name: String,
    /// 32 hex digits: the first half of the SHA-256 of the raw public key.
    pub key_id: String,
    /// The raw Ed25519 public key, 32 bytes.
    pub public_key: Vec<u8>,
    pub created_at: Timestamp,
    pub revoked_at: Option<Timestamp>,
    pub revision: u64,
}

/// A signed release. The manifest is kept byte for byte: that is what was signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    pub id: ReleaseId,
    pub name: String,
    pub version: String,
    pub signer: SignerId,
    pub key_id: String,
    pub manifest: Vec<u8>,
    pub signature: Vec<u8>,
    pub created_at: Timestamp,
    pub revision: u64,
}

/// The longest name, and the longest version.
pub const NAME_BYTES: usize = 128;

/// Whether `value` can be the name or the version of a release: it ends up in paths, tables and topics.
pub fn check_name(field: &'static str, value: &str) -> Result<(), Invalid> {
    let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '+' | '~' | ':');
    if value.is_empty() || value.len() > NAME_BYTES || !value.chars().all(good) || value.starts_with('.') {
        let why = format!("1 to {NAME_BYTES} of a-z, A-Z, 0-9, . _ - + ~ and :, not beginning with a dot");
        return Err(Invalid { field, why });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for good in ["base", "2.0.0-rc1+git~5", "1:2"] {
            assert!(check_name("name", good).is_ok(), "{good}");
        }
        for bad in ["", "../x", ".hidden", "a b", "a/b", "ü", &"x".repeat(129)] {
            assert!(check_name("name", bad).is_err(), "{bad}");
        }
    }
}
