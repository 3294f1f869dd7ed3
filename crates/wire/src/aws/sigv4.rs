//! AWS's Signature Version 4 in the `Authorization` header field: read, and checked against a secret.
//!
//! `AWS4-HMAC-SHA256 Credential=KEY/DATE/REGION/SERVICE/aws4_request, SignedHeaders=a;b, Signature=HEX`. What is signed is
//! the method, path, query, the header fields that it names and the hash of the body; `host` and `x-amz-date` must be among
//! them. Signatures in the query (presigned addresses), chunks that are signed one by one, and a body that is not signed
//! are refused: nothing that is spoken here needs them. Whoever calls has the secret and the clock.

use std::fmt;

use aws_lc_rs::{constant_time, digest, hmac};
use fleetward_base::{Timestamp, limits};
use percent_encoding::percent_decode_str;

/// What such a header field begins with.
pub const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const TERMINATOR: &str = "aws4_request";
const DATE: &str = "x-amz-date";
const BODY_HASH: &str = "x-amz-content-sha256";

/// A header field that cannot be read. Says nothing of what stood in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadAuthorization {
    #[error("the header field is too long")]
    TooLong,
    #[error("the algorithm must be AWS4-HMAC-SHA256")]
    Algorithm,
    #[error("Credential must be KEY/DATE/REGION/SERVICE/aws4_request")]
    Credential,
    #[error("SignedHeaders must name header fields in lower case, in order, host and x-amz-date among them")]
    SignedHeaders,
    #[error("Signature must be 64 hexadecimal digits")]
    Signature,
    #[error("Credential, SignedHeaders and Signature must stand there once each")]
    Parts,
}

/// Why a request does not stand by its signature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mismatch {
    #[error("X-Amz-Date must be there, as 20261127T120000Z, and on the day of the credential")]
    Date,
    #[error("the request was signed too long before or after now")]
    Skewed,
    #[error("a signed header field is missing")]
    Header,
    #[error("the path or query cannot be read")]
    Target,
    #[error("the hash of the body is another one than X-Amz-Content-SHA256 says")]
    Body,
    #[error("the signature is another one than the secret gives")]
    Signature,
}

/// A header field as it was read, not yet believed.
#[derive(Clone, PartialEq, Eq)]
pub struct Authorization {
    pub key_id: String,
    /// `20261127`.
    pub date: String,
    pub region: String,
    /// As the client signs for it: `iot`, `iotdata`, `iot-jobs-data`.
    pub service: String,
    pub signed_headers: Vec<String>,
    signature: [u8; 32],
}

/// A request as it came.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    pub method: &'a str,
    /// Still percent-encoded.
    pub path: &'a str,
    /// Behind the question mark, still percent-encoded.
    pub query: &'a str,
    /// Names in lower case; a name may stand there more than once.
    pub headers: &'a [(String, String)],
    pub body: &'a [u8],
}

impl Authorization {
    /// # Errors
    /// [`BadAuthorization`] where a part is missing, twice, or not of its kind.
    pub fn parse(text: &str) -> Result<Self, BadAuthorization> {
        if text.len() > limits::AWS_AUTHORIZATION_BYTES {
            return Err(BadAuthorization::TooLong);
        }
        let rest = text.strip_prefix(ALGORITHM).ok_or(BadAuthorization::Algorithm)?;
        let rest = rest.strip_prefix(' ').ok_or(BadAuthorization::Algorithm)?;
        let [mut credential, mut headers, mut signature] = [None; 3];
        for part in rest.split(',') {
            let (name, value) = part.trim().split_once('=').ok_or(BadAuthorization::Parts)?;
            let place = match name {
                "Credential" => &mut credential,
                "SignedHeaders" => &mut headers,
                "Signature" => &mut signature,
                _ => return Err(BadAuthorization::Parts),
            };
            if place.replace(value).is_some() {
                return Err(BadAuthorization::Parts);
            }
        }
        let (Some(credential), Some(headers), Some(signature)) = (credential, headers, signature) else {
            return Err(BadAuthorization::Parts);
        };
        let (key_id, date, region, service) = scope(credential)?;
        Ok(Self {
            key_id: key_id.to_owned(),
            date: date.to_owned(),
            region: region.to_owned(),
            service: service.to_owned(),
            signed_headers: signed_headers(headers)?,
            signature: unhex(signature).ok_or(BadAuthorization::Signature)?,
        })
    }

    /// Holds the request to its signature with the secret of the key, at `now`.
    ///
    /// # Errors
    /// [`Mismatch`].
    pub fn verify(&self, request: &Request<'_>, secret: &str, now: Timestamp) -> Result<(), Mismatch> {
        let stamp = single(request, DATE).ok_or(Mismatch::Date)?;
        let at = instant(stamp).ok_or(Mismatch::Date)?;
        if stamp.get(..8) != Some(self.date.as_str()) {
            return Err(Mismatch::Date);
        }
        let off = if at > now { at.since(now) } else { now.since(at) };
        if off > limits::AWS_CLOCK_SKEW {
            return Err(Mismatch::Skewed);
        }
        let body = hex(digest::digest(&digest::SHA256, request.body).as_ref());
        if request.headers.iter().any(|(name, value)| name == BODY_HASH && value.trim() != body) {
            return Err(Mismatch::Body);
        }
        // What decides something stands under the signature. Others may be added on the way, such as a proxy's trace.
        let decides =
            |name: &str| name.starts_with("x-amz-") || name.starts_with("x-amzn-iot-") || name == "x-amzn-principal";
        if request.headers.iter().any(|(name, _)| decides(name) && !self.signed_headers.iter().any(|it| it == name)) {
            return Err(Mismatch::Header);
        }
        let canonical = self.canonical(request, &body)?;
        let expected = self.signature_of(stamp, &canonical, secret);
        constant_time::verify_slices_are_equal(&expected, &self.signature).map_err(|_| Mismatch::Signature)
    }

    /// The canonical request of AWS's description, "Create a canonical request".
    fn canonical(&self, request: &Request<'_>, body: &str) -> Result<String, Mismatch> {
        let mut text = format!("{}\n", request.method);
        // Every service but S3 encodes the path as it is sent once more.
        encode(&path(request.path), b"/", &mut text);
        text.push('\n');
        text.push_str(&query(request.query)?);
        text.push('\n');
        for name in &self.signed_headers {
            let mut values = request.headers.iter().filter(|(known, _)| known == name).map(|(_, value)| value);
            let first = values.next().ok_or(Mismatch::Header)?;
            text.push_str(name);
            text.push(':');
            squeeze(first, &mut text);
            for value in values {
                text.push(',');
                squeeze(value, &mut text);
            }
            text.push('\n');
        }
        text.push('\n');
        text.push_str(&self.signed_headers.join(";"));
        text.push('\n');
        text.push_str(body);
        Ok(text)
    }

    fn signature_of(&self, stamp: &str, canonical: &str, secret: &str) -> [u8; 32] {
        let hash = hex(digest::digest(&digest::SHA256, canonical.as_bytes()).as_ref());
        let scope = format!("{}/{}/{}/{TERMINATOR}", self.date, self.region, self.service);
        let mut key = tag(format!("AWS4{secret}").as_bytes(), &self.date);
        for part in [self.region.as_str(), self.service.as_str(), TERMINATOR] {
            key = tag(&key, part);
        }
        tag(&key, &format!("{ALGORITHM}\n{stamp}\n{scope}\n{hash}"))
    }
}

/// A signature lets in for some minutes, so it is not shown.
impl fmt::Debug for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authorization")
            .field("key_id", &self.key_id)
            .field("region", &self.region)
            .field("service", &self.service)
            .finish_non_exhaustive()
    }
}

/// The header field with which a client signs a request: over all header fields that are there. `x-amz-date` must be one.
pub fn sign(request: &Request<'_>, (key_id, secret): (&str, &str), (region, service): (&str, &str)) -> Option<String> {
    let stamp = single(request, DATE)?;
    let mut signed_headers: Vec<String> = request.headers.iter().map(|(name, _)| name.clone()).collect();
    signed_headers.sort();
    signed_headers.dedup();
    let mut unsigned = Authorization {
        key_id: key_id.to_owned(),
        date: stamp.get(..8)?.to_owned(),
        region: region.to_owned(),
        service: service.to_owned(),
        signed_headers,
        signature: [0; 32],
    };
    let body = hex(digest::digest(&digest::SHA256, request.body).as_ref());
    let canonical = unsigned.canonical(request, &body).ok()?;
    unsigned.signature = unsigned.signature_of(stamp, &canonical, secret);
    Some(format!(
        "{ALGORITHM} Credential={key_id}/{}/{region}/{service}/{TERMINATOR}, SignedHeaders={}, Signature={}",
        unsigned.date,
        unsigned.signed_headers.join(";"),
        hex(&unsigned.signature)
    ))
}

fn scope(credential: &str) -> Result<(&str, &str, &str, &str), BadAuthorization> {
    let mut parts = credential.split('/');
    let mut next = || parts.next().filter(|part| plain(part)).ok_or(BadAuthorization::Credential);
    let (key_id, date, region, service, end) = (next()?, next()?, next()?, next()?, next()?);
    let day = date.len() == 8 && date.bytes().all(|byte| byte.is_ascii_digit());
    if !day || end != TERMINATOR || parts.next().is_some() {
        return Err(BadAuthorization::Credential);
    }
    Ok((key_id, date, region, service))
}

fn plain(part: &str) -> bool {
    (1..=128).contains(&part.len())
        && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

fn signed_headers(list: &str) -> Result<Vec<String>, BadAuthorization> {
    let named = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_' | b'.');
    let names: Vec<&str> = list.split(';').take(limits::AWS_SIGNED_HEADERS + 1).collect();
    let good = names.len() <= limits::AWS_SIGNED_HEADERS
        && names.iter().all(|name| !name.is_empty() && name.bytes().all(named))
        && names.is_sorted_by(|before, after| before < after)
        && ["host", DATE].iter().all(|needed| names.contains(needed));
    if good { Ok(names.into_iter().map(str::to_owned).collect()) } else { Err(BadAuthorization::SignedHeaders) }
}

fn single<'a>(request: &Request<'a>, name: &str) -> Option<&'a str> {
    let mut found = request.headers.iter().filter(|(known, _)| known == name);
    let (_, value) = found.next()?;
    found.next().is_none().then_some(value.trim())
}

/// `20261127T120000Z`.
fn instant(stamp: &str) -> Option<Timestamp> {
    let bytes = stamp.as_bytes();
    if bytes.len() != 16 || bytes.get(8) != Some(&b'T') || bytes.get(15) != Some(&b'Z') {
        return None;
    }
    let number = |from: usize, to: usize| -> Option<i64> {
        let digits = stamp.get(from..to)?;
        if digits.bytes().all(|byte| byte.is_ascii_digit()) { digits.parse().ok() } else { None }
    };
    let (year, month, day) = (number(0, 4)?, number(4, 6)?, number(6, 8)?);
    let (hour, minute, second) = (number(9, 11)?, number(11, 13)?, number(13, 15)?);
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    // Days since 1970 by eras of 400 years that begin in March, when the leap day comes last.
    let year = if month <= 2 { year - 1 } else { year };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    Some(Timestamp::from_secs(days * 86_400 + hour * 3600 + minute * 60 + second))
}

/// Without empty, `.` and `..` segments (RFC 3986 §5.2.4).
fn path(raw: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    for segment in raw.split('/') {
        match segment {
            "" | "." => {}
            ".." => drop(kept.pop()),
            segment => kept.push(segment),
        }
    }
    let last = if raw.ends_with('/') && !kept.is_empty() { "/" } else { "" };
    format!("/{}{last}", kept.join("/"))
}

/// Names and values decoded, encoded in the one way that AWS takes, and sorted.
fn query(raw: &str) -> Result<String, Mismatch> {
    let mut pairs = Vec::new();
    for part in raw.split('&').filter(|part| !part.is_empty()) {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        let one = |text: &str| {
            let decoded = percent_decode_str(text).decode_utf8().map_err(|_| Mismatch::Target)?;
            let mut encoded = String::new();
            encode(&decoded, b"", &mut encoded);
            Ok(encoded)
        };
        pairs.push((one(name)?, one(value)?));
    }
    pairs.sort();
    Ok(pairs.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join("&"))
}

/// All but letters, digits and `-._~` as `%XX`, in capitals.
fn encode(text: &str, safe: &[u8], out: &mut String) {
    use fmt::Write;
    for &byte in text.as_bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || safe.contains(&byte) {
            out.push(char::from(byte));
        } else {
            write!(out, "%{byte:02X}").expect("writing to a String does not fail");
        }
    }
}

/// Without blanks around it, and one where there were many in a row.
fn squeeze(value: &str, out: &mut String) {
    let mut words = value.split(' ').filter(|word| !word.is_empty());
    out.push_str(words.next().unwrap_or_default());
    for word in words {
        out.push(' ');
        out.push_str(word);
    }
}

fn tag(key: &[u8], text: &str) -> [u8; 32] {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes());
    std::array::from_fn(|at| tag.as_ref().get(at).copied().unwrap_or_default())
}

fn hex(bytes: &[u8]) -> String {
    use fmt::Write;
    bytes.iter().fold(String::new(), |mut out, byte| {
        write!(out, "{byte:02x}").expect("writing to a String does not fail");
        out
    })
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)) {
        return None;
    }
    let mut out = [0; 32];
    for (place, at) in out.iter_mut().zip((0..64).step_by(2)) {
        *place = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
    }
    Some(out)
}

#[cfg(test)]
mod tests;
