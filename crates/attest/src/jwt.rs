//! EAT as JWT: JSON claims in a compact JWS (RFC 7515 §7.1, RFC 9711 §7).
//!
//! The algorithm must be in the list of [`crate::signed`], and the key is one of ours, whatever the header says of keys.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use fleetward_base::{Timestamp, limits};
use serde::Deserialize;
use serde_json::Value;

use crate::claims::{BadToken, Claims, Debug};
use crate::facts::{Facts, Measurement};
use crate::signed::{Algorithm, holds};
use crate::{Key, tpm::Hash};

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<Value>,
}

#[derive(Deserialize)]
struct Payload {
    eat_nonce: Option<OneOrMore>,
    ueid: Option<String>,
    eat_profile: Option<String>,
    dbgstat: Option<String>,
    bootcount: Option<u64>,
    iat: Option<i64>,
    exp: Option<i64>,
    #[serde(default)]
    measurements: Vec<(Value, String)>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

/// Checks a token by one of `keys` for the challenge `nonce`.
///
/// # Errors
/// [`BadToken`].
pub fn verify(token: &str, keys: &[Key], nonce: &[u8], now: Timestamp) -> Result<Facts, BadToken> {
    if token.len() > limits::ATTESTATION_TOKEN_BYTES {
        return Err(BadToken::Malformed("too long"));
    }
    let (message, signature) = token.rsplit_once('.').ok_or(BadToken::Malformed("not a compact JWS"))?;
    let (header, payload) = message.split_once('.').ok_or(BadToken::Malformed("not a compact JWS"))?;
    let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| BadToken::Malformed("the header"))?;
    let algorithm = Algorithm::from_jose(&header.alg).ok_or(BadToken::Algorithm)?;
    if header.crit.is_some() {
        return Err(BadToken::Malformed("a critical header"));
    }
    let signature = decode(signature)?;
    let named = header.kid.as_deref().unwrap_or_default();
    let mut candidates = crate::candidates(keys, named.as_bytes());
    let key = candidates.find(|key| holds(algorithm, &key.spki, message.as_bytes(), &signature));
    let key = key.ok_or(BadToken::Signature)?;
    let claims = claims(&decode(payload)?)?;
    claims.check(nonce, now.secs(), false)?;
    claims.into_facts(false, key.fingerprint.clone())
}

fn decode(text: &str) -> Result<Vec<u8>, BadToken> {
    BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| BadToken::Malformed("not base64url"))
}

/// Reads the claims; the fuzz target begins here.
///
/// # Errors
/// [`BadToken::Malformed`].
pub fn claims(payload: &[u8]) -> Result<Claims, BadToken> {
    let payload: Payload = serde_json::from_slice(payload).map_err(|_| BadToken::Malformed("the claims"))?;
    let nonces = match payload.eat_nonce {
        None => Vec::new(),
        Some(OneOrMore::One(nonce)) => vec![decode(&nonce)?],
        Some(OneOrMore::More(nonces)) => nonces.iter().map(|nonce| decode(nonce)).collect::<Result<_, _>>()?,
    };
    let debug = match payload.dbgstat {
        None => None,
        Some(word) => Some(Debug::from_word(&word).ok_or(BadToken::Malformed("dbgstat"))?),
    };
    if payload.measurements.len() > limits::ATTESTATION_MEASUREMENTS {
        return Err(BadToken::Malformed("too many measurements"));
    }
    let one = |(kind, content): &(Value, String)| {
        let kind = kind.as_str().map_or_else(|| kind.to_string(), str::to_owned);
        Ok(Measurement::new(format!("software/{kind}"), &Hash::Sha256.digest(&[&decode(content)?])))
    };
    Ok(Claims {
        nonces,
        instance: payload.ueid.map(|ueid| decode(&ueid)).transpose()?,
        profile: payload.eat_profile,
        debug,
        boot_count: payload.bootcount,
        issued_at: payload.iat,
        expires_at: payload.exp,
        measurements: payload.measurements.iter().map(one).collect::<Result<_, BadToken>>()?,
        ..Claims::default()
    })
}
