//! Bearer secrets: how they look and what is kept of them.
//!
//! 256 random bits behind a prefix that secret scanners can find; only the SHA-256 is stored. With that much chance in
//! it a token needs no slow hash, and looking it up by its hash leaks nothing through timing.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fleetward_base::{Rng, Secret};

/// What a token is for; also its prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenKind {
    /// Operators' API.
    Api,
    /// Enrolment of one device, once.
    Enroll,
    /// Enrolment of one device by SCEP, once; stands in a request as its challenge password.
    Challenge,
    /// First administrator, once.
    Setup,
    /// What a device polls with until somebody has let it in.
    DeviceCode,
    /// Of a certificate that waits for its device.
    Ownership,
    /// Taking over a device that another tenant offers, once.
    Transfer,
}

impl TokenKind {
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::Api => "fwa_",
            Self::Enroll => "fwe_",
            Self::Challenge => "fwc_",
            Self::Setup => "fws_",
            Self::DeviceCode => "fwd_",
            Self::Ownership => "fwo_",
            Self::Transfer => "fwt_",
        }
    }
}

pub type TokenHash = [u8; 32];

/// A new token. It is shown once; afterwards only [`hash`] of it is known.
pub fn generate(kind: TokenKind, rng: &dyn Rng) -> Secret<String> {
    let mut random = [0; 32];
    rng.fill(&mut random);
    Secret::new(format!("{}{}", kind.prefix(), URL_SAFE_NO_PAD.encode(random)))
}

/// The stored form of a token of this kind; `None` for a text that cannot be one, so that nothing is looked up for it.
pub fn hash(kind: TokenKind, text: &str) -> Option<TokenHash> {
    let body = text.strip_prefix(kind.prefix())?;
    if body.len() != 43 || URL_SAFE_NO_PAD.decode(body).is_err() {
        return None;
    }
    digest(&SHA256, text.as_bytes()).as_ref().try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use fleetward_base::SeededRng;

    #[test]
    fn a_token_hashes_only_as_its_own_kind() {
        let token = generate(TokenKind::Api, &SeededRng::new(1));
        assert!(hash(TokenKind::Api, token.expose()).is_some());
        assert!(hash(TokenKind::Enroll, token.expose()).is_none());
    }

    #[test]
    fn malformed_texts_have_no_hash() {
        for text in ["", "fwa_", "fwa_short", &format!("fwa_{}", "!".repeat(43)), &"x".repeat(10_000)] {
            assert_eq!(hash(TokenKind::Api, text), None);
        }
    }
}
