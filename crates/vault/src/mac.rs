//! Keys that authenticate: a text with a tag that only this installation can make.

use aws_lc_rs::hmac::{self, HMAC_SHA256};
use base::Secret;

use fleetward_base as base;

/// What a tag is for. A tag of one purpose means nothing to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MacPurpose {
    /// Cursors of listings, which go out to callers and come back.
    Cursor,
    /// What the store keeps of a token instead of the token: without the master key a copy of it checks nothing.
    TokenPepper,
    /// Fingerprints of requests that hold secrets.
    Request,
}

impl MacPurpose {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Cursor => "cursor",
            Self::TokenPepper => "token-pepper",
            Self::Request => "request",
        }
    }
}

/// HMAC-SHA-256 under the key of one purpose. Cheap to clone.
#[derive(Clone)]
pub struct Mac(hmac::Key);

impl Mac {
    pub(crate) fn new(key: Secret<[u8; 32]>) -> Self {
        Self(hmac::Key::new(HMAC_SHA256, key.expose()))
    }

    /// The tag of `text`.
    pub fn tag(&self, text: &[u8]) -> [u8; 32] {
        hmac::sign(&self.0, text).as_ref().try_into().expect("SHA-256 has 32 bytes")
    }

    /// Whether `tag` is that of `text`, in a time that tells nothing of where they differ.
    pub fn verifies(&self, text: &[u8], tag: &[u8]) -> bool {
        hmac::verify(&self.0, text, tag).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MasterKey, Vault};
    use base::SeededRng;

    #[test]
    fn a_tag_holds_for_its_text_purpose_and_installation() {
        let vault = Vault::new(&MasterKey::random(&SeededRng::new(1)));
        let cursor = vault.mac(MacPurpose::Cursor);
        let tag = cursor.tag(b"after=7");
        assert!(cursor.verifies(b"after=7", &tag));
        assert!(!cursor.verifies(b"after=8", &tag));
        assert!(!cursor.verifies(b"after=7", &tag[..31]));
        assert!(!vault.mac(MacPurpose::TokenPepper).verifies(b"after=7", &tag));
        let other = Vault::new(&MasterKey::random(&SeededRng::new(2)));
        assert!(!other.mac(MacPurpose::Cursor).verifies(b"after=7", &tag));
    }
}
