//! One door to all verifiers: evidence and what is configured in, [`Facts`] or the reason in one word out.

use std::collections::BTreeSet;

use fleetward_base::{Timestamp, limits};

use crate::claims::BadToken;
use crate::cwt::{self, Profile};
use crate::dice::{self, BadChain};
use crate::evidence::{Evidence, Tpm2};
use crate::facts::{Facts, Measurement};
use crate::tpm::certified::{self, NotCertified};
use crate::tpm::quote::{self, BadQuote};
use crate::tpm::{Malformed, Public};
use crate::{Key, jwt};

/// An attestation key that a device activated, and what stands behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Activated {
    pub key: Public,
    /// The hash of the endorsement key in whose TPM it is.
    pub identity: Vec<u8>,
    /// What vouches for that one.
    pub anchor: String,
}

/// What is known beforehand.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    pub activated: Option<&'a Activated>,
    /// The PCRs that a quote is to be about.
    pub pcrs: &'a BTreeSet<u8>,
    /// Keys of tokens.
    pub keys: &'a [Key],
    /// Roots of DICE chains, DER.
    pub dice_roots: &'a [Vec<u8>],
    /// The key of the certificate that the device uses.
    pub device_key: &'a [u8],
}

/// Why evidence proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unproven {
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("no attestation key was activated; ask POST /v1/attest/activate first")]
    NotActivated,
    #[error(transparent)]
    Quote(#[from] BadQuote),
    #[error(transparent)]
    Certified(#[from] NotCertified),
    #[error(transparent)]
    Token(#[from] BadToken),
    #[error(transparent)]
    Chain(#[from] BadChain),
    #[error("more than {} measurements", limits::ATTESTATION_MEASUREMENTS)]
    TooMany,
}

impl Unproven {
    /// A stable word for verdicts, logs and metrics.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_)
            | Self::TooMany
            | Self::Quote(BadQuote::Malformed(_))
            | Self::Certified(NotCertified::Malformed(_))
            | Self::Token(BadToken::Malformed(_) | BadToken::Missing(_))
            | Self::Chain(BadChain::Malformed | BadChain::Length | BadChain::NoTcbInfo) => "malformed",
            Self::NotActivated => "not-activated",
            Self::Quote(BadQuote::Nonce) | Self::Certified(NotCertified::Nonce) | Self::Token(BadToken::Nonce) => {
                "nonce"
            }
            Self::Quote(BadQuote::Signature)
            | Self::Certified(NotCertified::Signature)
            | Self::Token(BadToken::Signature | BadToken::Algorithm)
            | Self::Chain(BadChain::Signature) => "signature",
            Self::Quote(BadQuote::NotAQuote | BadQuote::Pcrs | BadQuote::Missing(_)) => "pcrs",
            Self::Quote(BadQuote::Log(_) | BadQuote::Replay(_)) => "event-log",
            Self::Certified(NotCertified::OtherKey | NotCertified::Attributes) => "certified-key",
            Self::Token(BadToken::Time) | Self::Chain(BadChain::Time(_)) => "time",
            Self::Token(BadToken::Profile(_)) => "profile",
            Self::Chain(BadChain::Broken(_) | BadChain::CriticalExtension(_) | BadChain::Root) => "chain",
        }
    }
}

/// Checks evidence for the challenge `nonce`.
///
/// # Errors
/// [`Unproven`].
pub fn verify(evidence: &Evidence, known: Known<'_>, nonce: &[u8], now: Timestamp) -> Result<Facts, Unproven> {
    let facts = match evidence {
        Evidence::Tpm2(evidence) => tpm2(evidence, known, nonce)?,
        Evidence::EatCwt(token) => cwt::verify(&token.0, Profile::Eat, known.keys, nonce, now)?,
        Evidence::Psa(token) => cwt::verify(&token.0, Profile::Psa, known.keys, nonce, now)?,
        Evidence::EatJwt(token) => jwt::verify(token, known.keys, nonce, now)?,
        Evidence::Dice(evidence) => dice::verify(&evidence.chain(), known.dice_roots, nonce, now)?,
    };
    if facts.measurements.len() > limits::ATTESTATION_MEASUREMENTS { Err(Unproven::TooMany) } else { Ok(facts) }
}

fn tpm2(evidence: &Tpm2, known: Known<'_>, nonce: &[u8]) -> Result<Facts, Unproven> {
    let activated = known.activated.ok_or(Unproven::NotActivated)?;
    let sent = evidence.quote().ok_or(Malformed("list of PCRs in hex"))?;
    let quoted = quote::verify(&activated.key, nonce, known.pcrs, &sent)?;
    let certified_key = match evidence.certified() {
        None => false,
        Some(key) => certified::verify(&activated.key, nonce, known.device_key, &key).map(|()| true)?,
    };
    let mut measurements: Vec<Measurement> =
        quoted.pcrs.iter().map(|(pcr, value)| Measurement::new(format!("pcr/{pcr}"), value)).collect();
    for event in quoted.events.iter().flatten() {
        measurements.push(Measurement::new(format!("event/{}", event.pcr), &event.digest));
    }
    // The same event more than once, as separators are, is one thing to know.
    measurements.sort();
    measurements.dedup();
    Ok(Facts {
        identity: activated.identity.clone(),
        anchor: activated.anchor.clone(),
        measurements,
        has_log: quoted.events.is_some(),
        boots: Some(quoted.clock.resets),
        clock_ms: Some(quoted.clock.clock_ms),
        certified_key,
        ..Facts::default()
    })
}
