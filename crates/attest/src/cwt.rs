//! EAT and PSA tokens as CWT: CBOR claims in a COSE_Sign1 (RFC 8392, RFC 9711 §7, RFC 9783).

use ciborium::Value;
use coset::iana;
use coset::{CborSerializable as _, CoseSign1, RegisteredLabelWithPrivate, TaggedCborSerializable as _};
use fleetward_base::{Timestamp, limits};

use crate::claims::{BadToken, Claims, Debug};
use crate::facts::{Facts, Measurement};
use crate::signed::{Algorithm, holds};
use crate::{Key, tpm::Hash};

/// The CWT tag, before the COSE tag (RFC 8392 §6): 61.
const CWT_TAG: [u8; 2] = [0xd8, 0x3d];

/// Which claims a token has to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Profile {
    Eat,
    Psa,
}

/// Checks a token by one of `keys` for the challenge `nonce`.
///
/// # Errors
/// [`BadToken`].
pub fn verify(token: &[u8], profile: Profile, keys: &[Key], nonce: &[u8], now: Timestamp) -> Result<Facts, BadToken> {
    let sign1 = parse(token)?;
    let algorithm = match sign1.protected.header.alg.as_ref().ok_or(BadToken::Algorithm)? {
        RegisteredLabelWithPrivate::Assigned(iana::Algorithm::ES256) => Algorithm::Es256,
        RegisteredLabelWithPrivate::Assigned(iana::Algorithm::ES384) => Algorithm::Es384,
        RegisteredLabelWithPrivate::Assigned(iana::Algorithm::EdDSA) => Algorithm::EdDsa,
        _ => return Err(BadToken::Algorithm),
    };
    // A header that must be understood and is not would change what the token means (RFC 9052 §3.1).
    if !sign1.protected.header.crit.is_empty() {
        return Err(BadToken::Malformed("a critical header"));
    }
    let key = crate::candidates(keys, &sign1.protected.header.key_id).find(|key| {
        sign1.verify_signature(
            &[],
            |signature, message| {
                if holds(algorithm, &key.spki, message, signature) { Ok(()) } else { Err(()) }
            },
        ) == Ok(())
    });
    let key = key.ok_or(BadToken::Signature)?;
    let payload = sign1.payload.as_deref().ok_or(BadToken::Malformed("no payload"))?;
    let claims = claims(payload)?;
    claims.check(nonce, now.secs(), profile == Profile::Psa)?;
    claims.into_facts(profile == Profile::Psa, key.fingerprint.clone())
}

fn parse(token: &[u8]) -> Result<CoseSign1, BadToken> {
    if token.len() > limits::ATTESTATION_TOKEN_BYTES {
        return Err(BadToken::Malformed("too long"));
    }
    let inner = token.strip_prefix(&CWT_TAG).unwrap_or(token);
    let tagged = CoseSign1::from_tagged_slice(inner);
    tagged.or_else(|_| CoseSign1::from_slice(inner)).map_err(|_| BadToken::Malformed("not a COSE_Sign1"))
}

/// Reads the claims; the fuzz target begins here.
///
/// # Errors
/// [`BadToken::Malformed`].
pub fn claims(payload: &[u8]) -> Result<Claims, BadToken> {
    let value: Value = ciborium::de::from_reader_with_recursion_limit(payload, 16)
        .map_err(|_| BadToken::Malformed("the claims are not CBOR"))?;
    let Value::Map(entries) = value else { return Err(BadToken::Malformed("the claims are not a map")) };
    let mut claims = Claims::default();
    let mut seen = Vec::new();
    for (label, value) in entries {
        let Value::Integer(label) = label else { continue };
        let label = i128::from(label);
        // Two values of one claim are two readings of one token.
        if seen.contains(&label) {
            return Err(BadToken::Malformed("a claim that is there twice"));
        }
        seen.push(label);
        claim(&mut claims, label, value)?;
    }
    Ok(claims)
}

fn claim(claims: &mut Claims, label: i128, value: Value) -> Result<(), BadToken> {
    const WRONG: BadToken = BadToken::Malformed("a claim of another type than it has");
    match label {
        4 => claims.expires_at = Some(seconds(&value).ok_or(WRONG)?),
        6 => claims.issued_at = Some(seconds(&value).ok_or(WRONG)?),
        10 => claims.nonces = nonces(value).ok_or(WRONG)?,
        256 => claims.instance = Some(value.into_bytes().map_err(|_| WRONG)?),
        263 => claims.debug = Some(number(&value).and_then(Debug::from_number).ok_or(WRONG)?),
        265 => claims.profile = Some(value.into_text().map_err(|_| WRONG)?),
        267 => claims.boot_count = Some(unsigned(&value).ok_or(WRONG)?),
        273 => claims.measurements.extend(measurements(value).ok_or(WRONG)?),
        2395 => claims.lifecycle = Some(unsigned(&value).ok_or(WRONG)?),
        2396 => claims.implementation = Some(value.into_bytes().map_err(|_| WRONG)?),
        2399 => claims.measurements.extend(components(value).ok_or(WRONG)?),
        _ => {}
    }
    if claims.measurements.len() > limits::ATTESTATION_MEASUREMENTS {
        return Err(BadToken::Malformed("too many measurements"));
    }
    Ok(())
}

fn number(value: &Value) -> Option<i128> {
    value.as_integer().map(i128::from)
}

fn unsigned(value: &Value) -> Option<u64> {
    number(value).and_then(|number| u64::try_from(number).ok())
}

fn seconds(value: &Value) -> Option<i64> {
    number(value).and_then(|number| i64::try_from(number).ok())
}

/// One nonce, or one for each of several verifiers.
fn nonces(value: Value) -> Option<Vec<Vec<u8>>> {
    match value {
        Value::Bytes(nonce) => Some(vec![nonce]),
        Value::Array(all) => all.into_iter().map(|one| one.into_bytes().ok()).collect(),
        _ => None,
    }
}

/// Pairs of a content type and bytes (RFC 9711 §4.2.16). What the bytes hold differs from maker to maker: they count by
/// their hash.
fn measurements(value: Value) -> Option<Vec<Measurement>> {
    let pairs = value.into_array().ok()?;
    let one = |pair: Value| {
        let pair = pair.into_array().ok()?;
        let [kind, Value::Bytes(content)] = pair.as_slice() else { return None };
        let kind = match kind {
            Value::Text(text) => text.clone(),
            Value::Integer(number) => i128::from(*number).to_string(),
            _ => return None,
        };
        Some(Measurement::new(format!("software/{kind}"), &Hash::Sha256.digest(&[content])))
    };
    pairs.into_iter().map(one).collect()
}

/// PSA's software components (RFC 9783 §4.4.1): type 1, measurement value 2.
fn components(value: Value) -> Option<Vec<Measurement>> {
    let one = |(at, component): (usize, Value)| {
        let (mut kind, mut digest) = (format!("component-{at}"), None);
        for (label, value) in component.into_map().ok()? {
            match (number(&label), value) {
                (Some(1), Value::Text(text)) => kind = text,
                (Some(2), Value::Bytes(bytes)) => digest = Some(bytes),
                (Some(1 | 2), _) => return None,
                _ => {}
            }
        }
        Some(Measurement::new(format!("software/{kind}"), &digest?))
    };
    value.into_array().ok()?.into_iter().enumerate().map(one).collect()
}
