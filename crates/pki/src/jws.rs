//! Compact JWS (RFC 7515 §7.1): a statement that somebody signed, and the keys that sign such.
//!
//! ES256, ES384 and EdDSA with Ed25519, and nothing else: `none`, shared secrets and RSA are refused, and so is a header
//! with `crit`, since nothing critical is known here. The algorithm must fit the key; the header alone decides nothing.

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519 as ED25519_VERIFY, ParsedPublicKey, VerificationAlgorithm,
};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use const_oid::ObjectIdentifier;
use der::Decode;
use serde::Deserialize;
use spki::SubjectPublicKeyInfoRef;

use crate::asn1;

const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");
/// Longer ones are not read.
const BYTES: usize = 64 * 1024;

/// Why a statement is not believed, or a key not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwsError {
    #[error("not a compact JWS")]
    Malformed,
    #[error("signed with an algorithm that is not accepted: ES256, ES384 and EdDSA are")]
    Algorithm,
    #[error("the key is none of P-256, P-384 and Ed25519")]
    Key,
    #[error("the signature does not fit the key")]
    Signature,
}

/// A key that checks signatures.
#[derive(Clone)]
pub struct VerifyingKey {
    curve: Curve,
    /// A SEC 1 point, or the 32 bytes of Ed25519.
    bytes: Vec<u8>,
    parsed: ParsedPublicKey,
}

/// What a key is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Curve {
    P256,
    P384,
    Ed25519,
}

impl Curve {
    fn algorithm(self) -> &'static dyn VerificationAlgorithm {
        match self {
            Self::P256 => &ECDSA_P256_SHA256_FIXED,
            Self::P384 => &ECDSA_P384_SHA384_FIXED,
            Self::Ed25519 => &ED25519_VERIFY,
        }
    }

    /// Its name in a header (RFC 7518 §3.1, RFC 8037 §3.1).
    fn name(self) -> &'static str {
        match self {
            Self::P256 => "ES256",
            Self::P384 => "ES384",
            Self::Ed25519 => "EdDSA",
        }
    }
}

/// A public key as JSON (RFC 7517), as far as it is looked at.
#[derive(Clone, Debug, Deserialize)]
pub struct Jwk {
    kty: String,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl VerifyingKey {
    /// # Errors
    /// [`JwsError::Key`] where these are not the bytes of such a key; a point may be compressed.
    pub fn new(curve: Curve, bytes: &[u8]) -> Result<Self, JwsError> {
        let lengths: &[usize] = match curve {
            Curve::P256 => &[33, 65],
            Curve::P384 => &[49, 97],
            Curve::Ed25519 => &[32],
        };
        if !lengths.contains(&bytes.len()) {
            return Err(JwsError::Key);
        }
        let parsed = ParsedPublicKey::new(curve.algorithm(), bytes).map_err(|_| JwsError::Key)?;
        Ok(Self { curve, bytes: bytes.to_vec(), parsed })
    }

    /// # Errors
    /// [`JwsError::Key`] where it is not the SubjectPublicKeyInfo of such a key.
    pub fn from_spki(der: &[u8]) -> Result<Self, JwsError> {
        let spki = SubjectPublicKeyInfoRef::from_der(der).map_err(|_| JwsError::Key)?;
        let bytes = spki.subject_public_key.as_bytes().ok_or(JwsError::Key)?;
        let curve = match spki.algorithm.oid {
            ED25519 => Curve::Ed25519,
            EC_PUBLIC_KEY => match spki.algorithm.parameters_oid().map_err(|_| JwsError::Key)? {
                P256 => Curve::P256,
                P384 => Curve::P384,
                _ => return Err(JwsError::Key),
            },
            _ => return Err(JwsError::Key),
        };
        Self::new(curve, bytes)
    }

    /// # Errors
    /// [`JwsError::Key`] where it is no such key (RFC 7518 §6.2, RFC 8037 §2).
    pub fn from_jwk(jwk: &Jwk) -> Result<Self, JwsError> {
        let part = |text: &Option<String>, length: usize| {
            let bytes = URL_SAFE_NO_PAD.decode(text.as_deref().unwrap_or_default()).map_err(|_| JwsError::Key)?;
            if bytes.len() == length { Ok(bytes) } else { Err(JwsError::Key) }
        };
        let point = |length: usize| Ok([vec![4], part(&jwk.x, length)?, part(&jwk.y, length)?].concat());
        match (jwk.kty.as_str(), jwk.crv.as_deref()) {
            ("EC", Some("P-256")) => Self::new(Curve::P256, &point(32)?),
            ("EC", Some("P-384")) => Self::new(Curve::P384, &point(48)?),
            ("OKP", Some("Ed25519")) => Self::new(Curve::Ed25519, &part(&jwk.x, 32)?),
            _ => Err(JwsError::Key),
        }
    }

    pub fn curve(&self) -> Curve {
        self.curve
    }

    /// As a SubjectPublicKeyInfo; a compressed point stays one (RFC 5480 §2.2).
    pub fn spki(&self) -> Vec<u8> {
        let algorithm = match self.curve {
            Curve::P256 => asn1::sequence(&[&asn1::oid(EC_PUBLIC_KEY), &asn1::oid(P256)]),
            Curve::P384 => asn1::sequence(&[&asn1::oid(EC_PUBLIC_KEY), &asn1::oid(P384)]),
            Curve::Ed25519 => asn1::sequence(&[&asn1::oid(ED25519)]),
        };
        asn1::sequence(&[&algorithm, &asn1::bits(&self.bytes)])
    }
}

impl std::fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VerifyingKey").field("curve", &self.curve).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<serde_json::Value>,
    /// RFC 7797: a payload that is not encoded. Not known here.
    b64: Option<serde_json::Value>,
}

/// A statement as it was read, not yet believed.
#[derive(Clone, Debug)]
pub struct Jws<'a> {
    signed: &'a str,
    algorithm: String,
    /// The key that the header names.
    pub key_id: Option<String>,
    payload: Vec<u8>,
    signature: Vec<u8>,
}

impl<'a> Jws<'a> {
    /// # Errors
    /// [`JwsError::Malformed`].
    pub fn parse(compact: &'a str) -> Result<Self, JwsError> {
        let (signed, signature) = compact.rsplit_once('.').ok_or(JwsError::Malformed)?;
        let (header, payload) = signed.split_once('.').ok_or(JwsError::Malformed)?;
        if compact.len() > BYTES || payload.contains('.') {
            return Err(JwsError::Malformed);
        }
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| JwsError::Malformed);
        let header = decode(header)?;
        let header = Some(&header).filter(|text| text.first() == Some(&b'{')).ok_or(JwsError::Malformed)?;
        let header: Header = serde_json::from_slice(header).map_err(|_| JwsError::Malformed)?;
        if header.crit.is_some() || header.b64.is_some() {
            return Err(JwsError::Malformed);
        }
        Ok(Self {
            signed,
            algorithm: header.alg,
            key_id: header.kid,
            payload: decode(payload)?,
            signature: decode(signature)?,
        })
    }

    /// The algorithm that the header names.
    pub(crate) fn algorithm(&self) -> &str {
        &self.algorithm
    }

    /// What was signed over, the signature, and the payload that nobody believes yet.
    pub(crate) fn parts(&self) -> (&[u8], &[u8], &[u8]) {
        (self.signed.as_bytes(), &self.signature, &self.payload)
    }

    /// What was signed, once the signature is seen to be that of `key`.
    ///
    /// # Errors
    /// [`JwsError::Algorithm`] where the header names another one than the key's, [`JwsError::Signature`].
    pub fn verified(&self, key: &VerifyingKey) -> Result<&[u8], JwsError> {
        // RFC 9864 has a name of its own for Ed25519.
        let named = self.algorithm == key.curve.name() || (key.curve == Curve::Ed25519 && self.algorithm == "Ed25519");
        if !named {
            return Err(JwsError::Algorithm);
        }
        let held = key.parsed.verify_sig(self.signed.as_bytes(), &self.signature);
        held.map(|()| self.payload.as_slice()).map_err(|_| JwsError::Signature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8037, Appendix A.4 and A.5.
    const ED25519_JWK: &str = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    const ED25519_JWS: &str = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc.\
        hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
    /// RFC 7515, Appendix A.3.
    const P256_JWK: &str = r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;
    const P256_JWS: &str = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFt\
        cGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";

    fn key(jwk: &str) -> VerifyingKey {
        VerifyingKey::from_jwk(&serde_json::from_str(jwk).expect("a JWK")).expect("a key")
    }

    #[test]
    fn examples_of_the_standards() {
        let jws = Jws::parse(ED25519_JWS).expect("a JWS");
        assert_eq!(jws.verified(&key(ED25519_JWK)), Ok(&b"Example of Ed25519 signing"[..]));
        let jws = Jws::parse(P256_JWS).expect("a JWS");
        assert!(jws.verified(&key(P256_JWK)).is_ok_and(|payload| payload.starts_with(b"{\"iss\":\"joe\"")));
        assert_eq!(jws.verified(&key(ED25519_JWK)), Err(JwsError::Algorithm));
    }

    #[test]
    fn what_was_changed_is_not_believed() {
        let changed = ED25519_JWS.replace("RXhhbXBs", "RXhhbXBt");
        assert_eq!(Jws::parse(&changed).expect("a JWS").verified(&key(ED25519_JWK)), Err(JwsError::Signature));
        let none = format!("{}.{}.", URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#), URL_SAFE_NO_PAD.encode("x"));
        assert_eq!(Jws::parse(&none).expect("a JWS").verified(&key(ED25519_JWK)), Err(JwsError::Algorithm));
        for header in [r#"{"alg":"ES256","crit":["x"]}"#, r#"{"alg":"ES256","b64":false}"#, "{}", r#"["ES256"]"#] {
            let text = format!("{}.e30.AA", URL_SAFE_NO_PAD.encode(header));
            assert_eq!(Jws::parse(&text).map(|_| ()), Err(JwsError::Malformed), "{header}");
        }
        for bad in ["", "a", "a.b", "e30.e30.e30.e30", "!.e30.AA"] {
            assert_eq!(Jws::parse(bad).map(|_| ()), Err(JwsError::Malformed), "{bad}");
        }
    }

    #[test]
    fn keys_are_read_as_they_are_written() {
        for jwk in [ED25519_JWK, P256_JWK] {
            let key = key(jwk);
            let again = VerifyingKey::from_spki(&key.spki()).expect("its own SPKI");
            assert_eq!((again.curve(), again.bytes), (key.curve(), key.bytes));
        }
        let off_curve = P256_JWK.replace("x_FE", "x_FF");
        let jwk: Jwk = serde_json::from_str(&off_curve).expect("a JWK");
        assert_eq!(VerifyingKey::from_jwk(&jwk).map(|_| ()), Err(JwsError::Key));
        assert_eq!(VerifyingKey::new(Curve::P256, &[4; 64]).map(|_| ()), Err(JwsError::Key));
        assert_eq!(VerifyingKey::from_spki(b"").map(|_| ()), Err(JwsError::Key));
    }
}
