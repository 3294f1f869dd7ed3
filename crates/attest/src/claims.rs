//! What a token claims, whichever way it was written down (EAT, RFC 9711; PSA, RFC 9783).

use crate::facts::{Facts, Measurement};

/// The state of debugging (RFC 9711 §4.2.9): numbers in CBOR, words in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Debug {
    Enabled,
    Disabled,
    DisabledSinceBoot,
    DisabledPermanently,
    DisabledFully,
}

impl Debug {
    const WORDS: [(&'static str, Self); 5] = [
        ("enabled", Self::Enabled),
        ("disabled", Self::Disabled),
        ("disabled-since-boot", Self::DisabledSinceBoot),
        ("disabled-permanently", Self::DisabledPermanently),
        ("disabled-fully-and-permanently", Self::DisabledFully),
    ];

    pub(crate) fn from_word(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(known, _)| *known == word).map(|(_, debug)| *debug)
    }

    pub(crate) fn from_number(number: i128) -> Option<Self> {
        usize::try_from(number).ok().and_then(|at| Self::WORDS.get(at)).map(|(_, debug)| *debug)
    }

    /// Whether somebody may have looked in since the device booted.
    pub const fn may_be_open(self) -> bool {
        matches!(self, Self::Enabled | Self::Disabled)
    }
}

/// The claims that are looked at; others may be there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    pub nonces: Vec<Vec<u8>>,
    /// ueid, or the instance id of PSA.
    pub instance: Option<Vec<u8>>,
    pub profile: Option<String>,
    pub debug: Option<Debug>,
    pub boot_count: Option<u64>,
    pub issued_at: Option<i64>,
    pub expires_at: Option<i64>,
    /// PSA's security lifecycle.
    pub lifecycle: Option<u64>,
    /// PSA's implementation id.
    pub implementation: Option<Vec<u8>>,
    pub measurements: Vec<Measurement>,
}

/// Why a token proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadToken {
    #[error("the token cannot be read: {0}")]
    Malformed(&'static str),
    #[error("tokens are signed with ES256, ES384 or EdDSA")]
    Algorithm,
    #[error("the token is not signed by a known key")]
    Signature,
    #[error("the token does not answer the challenge")]
    Nonce,
    #[error("the token has expired, or is not valid yet")]
    Time,
    #[error("the profile {0:?} is not known here")]
    Profile(String),
    #[error("the token lacks the claim {0}")]
    Missing(&'static str),
}

/// PSA tokens name their profile (RFC 9783 §4.5.1), those before the RFC another.
pub(crate) const PSA_PROFILES: [&str; 2] = ["tag:psacertified.org,2023:psa#tfm", "http://arm.com/psa/2.0.0"];
/// An EAT without one is taken as claims of RFC 9711; one that has one must be understood.
const EAT_PROFILES: [&str; 1] = ["urn:ietf:rfc:rfc9711"];
/// PSA lifecycle: secured (RFC 9783 §4.3.1).
const SECURED: std::ops::RangeInclusive<u64> = 0x3000..=0x30ff;
/// How far the clock of a device may be ahead of ours.
const SKEW_SECS: i64 = 300;

impl Claims {
    /// Holds the claims to the challenge and the time.
    pub(crate) fn check(&self, nonce: &[u8], now_secs: i64, is_psa: bool) -> Result<(), BadToken> {
        if !self.nonces.iter().any(|given| given == nonce) {
            return Err(BadToken::Nonce);
        }
        let expired = self.expires_at.is_some_and(|at| at <= now_secs);
        let early = self.issued_at.is_some_and(|at| at > now_secs.saturating_add(SKEW_SECS));
        if expired || early {
            return Err(BadToken::Time);
        }
        let known = if is_psa { PSA_PROFILES.as_slice() } else { EAT_PROFILES.as_slice() };
        match &self.profile {
            Some(profile) if !known.contains(&profile.as_str()) => Err(BadToken::Profile(profile.clone())),
            None if is_psa => Err(BadToken::Missing("profile")),
            _ => Ok(()),
        }
    }

    /// # Errors
    /// [`BadToken::Missing`] where a device does not say which one it is.
    pub(crate) fn into_facts(self, is_psa: bool, key: String) -> Result<Facts, BadToken> {
        let identity = self.instance.ok_or(BadToken::Missing("ueid"))?;
        if is_psa && (self.lifecycle.is_none() || self.implementation.is_none()) {
            return Err(BadToken::Missing("security lifecycle and implementation id"));
        }
        Ok(Facts {
            identity,
            anchor: key,
            measurements: self.measurements,
            debug: self.debug.map(Debug::may_be_open),
            secured: self.lifecycle.map(|state| SECURED.contains(&state)),
            boots: self.boot_count.and_then(|count| u32::try_from(count).ok()),
            ..Facts::default()
        })
    }
}
