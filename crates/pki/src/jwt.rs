//! JSON Web Tokens (RFC 7519) as somebody else's token service signs them, and the key sets that it publishes (RFC 7517).
//!
//! A token is a compact JWS ([`crate::jws`]); the key decides the algorithm, never the header: a header that names another one
//! than the key's, `none` and shared secrets among them, is refused before a signature is looked at (RFC 8725 §3.1). A set
//! with a secret or a private key in it is refused whole, since somebody has shown what nobody should see. What the claims
//! mean is not decided here.

use aws_lc_rs::signature::{RSA_PKCS1_2048_8192_SHA256, RsaPublicKeyComponents};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use const_oid::ObjectIdentifier;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::asn1;
use crate::certificate::fingerprint;
use crate::jws::{Curve, Jwk, Jws, JwsError, VerifyingKey};

const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");
/// Keys of one set that are read; the name that one has.
const KEYS: usize = 32;
const KEY_ID_BYTES: usize = 256;
/// A modulus of RSA: from 2048 to 8192 bits.
const MODULUS: std::ops::RangeInclusive<usize> = 256..=1024;

/// An algorithm that tokens are signed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    Es256,
    Es384,
    EdDsa,
    /// RSASSA-PKCS1-v1_5 with SHA-256: what most token services have.
    Rs256,
}

impl Algorithm {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
            Self::Rs256 => "RS256",
        }
    }
}

/// Why a set of keys is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadKeys {
    #[error("not a JWK Set: an object with `keys`")]
    Malformed,
    #[error("it holds a shared secret; only public keys belong there")]
    Secret,
    #[error("it holds a private key; whoever published it must replace it")]
    Private,
    #[error("more than {KEYS} keys")]
    TooMany,
    #[error("no key that is usable: P-256, P-384, Ed25519, or RSA of 2048 to 8192 bits, for signatures")]
    Empty,
}

/// Why a token is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadJwt {
    #[error("not a compact JWS with an object of claims")]
    Malformed,
    #[error("signed with an algorithm that is not accepted")]
    Algorithm,
    #[error("signed with a key that is not in the set")]
    UnknownKey,
    #[error("the signature does not fit the key")]
    Signature,
}

#[derive(Clone, Debug)]
enum Verifies {
    Curve(VerifyingKey),
    Rsa { n: Vec<u8>, e: Vec<u8> },
}

/// A public key of a set.
#[derive(Clone, Debug)]
pub struct Key {
    /// As headers name it.
    pub id: Option<String>,
    algorithm: Algorithm,
    verifies: Verifies,
    /// SHA-256 of its SubjectPublicKeyInfo, in hex.
    pub fingerprint: String,
}

impl Key {
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    fn holds(&self, jws: &Jws<'_>) -> Result<Vec<u8>, BadJwt> {
        match &self.verifies {
            Verifies::Curve(key) => jws.verified(key).map(<[u8]>::to_vec).map_err(|error| match error {
                JwsError::Algorithm => BadJwt::Algorithm,
                JwsError::Malformed | JwsError::Key | JwsError::Signature => BadJwt::Signature,
            }),
            Verifies::Rsa { n, e } => {
                let (signed, signature, payload) = jws.parts();
                let key = RsaPublicKeyComponents { n, e };
                let held = key.verify(&RSA_PKCS1_2048_8192_SHA256, signed, signature);
                held.map(|()| payload.to_vec()).map_err(|_| BadJwt::Signature)
            }
        }
    }
}

/// The public keys of a token service.
#[derive(Clone, Debug)]
pub struct KeySet {
    keys: Vec<Key>,
}

#[derive(Deserialize)]
struct Published {
    keys: Vec<Map<String, Value>>,
}

impl KeySet {
    /// Reads a JWK Set. Keys of a kind that is not known here, and those that are not for signatures, are passed over
    /// (RFC 7517 §5).
    ///
    /// # Errors
    /// [`BadKeys`].
    pub fn parse(bytes: &[u8]) -> Result<Self, BadKeys> {
        let published: Published = serde_json::from_slice(bytes).map_err(|_| BadKeys::Malformed)?;
        if published.keys.len() > KEYS {
            return Err(BadKeys::TooMany);
        }
        let mut keys = Vec::new();
        for jwk in published.keys {
            if jwk.get("kty").and_then(Value::as_str) == Some("oct") || jwk.contains_key("k") {
                return Err(BadKeys::Secret);
            }
            if jwk.contains_key("d") {
                return Err(BadKeys::Private);
            }
            keys.extend(key(&jwk));
        }
        if keys.is_empty() { Err(BadKeys::Empty) } else { Ok(Self { keys }) }
    }

    pub fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// Whether a header may name this key.
    pub fn has(&self, id: &str) -> bool {
        self.keys.iter().any(|key| key.id.as_deref() == Some(id))
    }
}

fn key(jwk: &Map<String, Value>) -> Option<Key> {
    let text = |name: &str| jwk.get(name).and_then(Value::as_str);
    // RFC 7517 §4.2 and §4.3.
    let verifies_tokens = text("use").is_none_or(|it| it == "sig")
        && jwk.get("key_ops").and_then(Value::as_array).is_none_or(|ops| ops.iter().any(|op| op == "verify"));
    let id = text("kid").map(str::to_owned);
    if !verifies_tokens || id.as_ref().is_some_and(|id| id.len() > KEY_ID_BYTES) {
        return None;
    }
    let (algorithm, verifies, spki) = match text("kty")? {
        "RSA" => {
            let part = |name| URL_SAFE_NO_PAD.decode(text(name)?).ok();
            let (n, e) = (part("n")?, part("e")?);
            // The exponents that are in use; others are slow, or weak.
            if !MODULUS.contains(&n.len()) || n.first() == Some(&0) || (e != [1, 0, 1] && e != [3]) {
                return None;
            }
            let spki = rsa_spki(&n, &e);
            (Algorithm::Rs256, Verifies::Rsa { n, e }, spki)
        }
        "EC" | "OKP" => {
            let jwk: Jwk = serde_json::from_value(Value::Object(jwk.clone())).ok()?;
            let key = VerifyingKey::from_jwk(&jwk).ok()?;
            let algorithm = match key.curve() {
                Curve::P256 => Algorithm::Es256,
                Curve::P384 => Algorithm::Es384,
                Curve::Ed25519 => Algorithm::EdDsa,
            };
            let spki = key.spki();
            (algorithm, Verifies::Curve(key), spki)
        }
        _ => return None,
    };
    // A key that says what it is for is used for nothing else (RFC 8725 §3.1).
    let fits =
        text("alg").is_none_or(|it| it == algorithm.name() || (it == "Ed25519" && algorithm == Algorithm::EdDsa));
    fits.then(|| Key { id, algorithm, verifies, fingerprint: fingerprint(&spki) })
}

fn rsa_spki(n: &[u8], e: &[u8]) -> Vec<u8> {
    let algorithm = asn1::sequence(&[&asn1::oid(RSA_ENCRYPTION), &asn1::NULL]);
    asn1::sequence(&[&algorithm, &asn1::bits(&asn1::sequence(&[&asn1::unsigned(n), &asn1::unsigned(e)]))])
}

/// A token as it was read, not yet believed.
#[derive(Clone, Debug)]
pub struct Token<'a> {
    jws: Jws<'a>,
}

impl<'a> Token<'a> {
    /// # Errors
    /// [`BadJwt::Malformed`].
    pub fn parse(compact: &'a str) -> Result<Self, BadJwt> {
        Jws::parse(compact).map(|jws| Self { jws }).map_err(|_| BadJwt::Malformed)
    }

    /// The key that the header names.
    pub fn key_id(&self) -> Option<&str> {
        self.jws.key_id.as_deref()
    }

    /// Who says to have issued it, before anybody believes it: only to find the keys that it is held against.
    pub fn unverified_issuer(&self) -> Option<String> {
        let claims: Map<String, Value> = serde_json::from_slice(self.jws.parts().2).ok()?;
        claims.get("iss")?.as_str().map(str::to_owned)
    }

    /// The claims and the key that signed them, where it is one of `keys` and its algorithm is one of `accepted`.
    ///
    /// # Errors
    /// [`BadJwt`].
    pub fn verified<'k>(&self, keys: &'k KeySet, accepted: &[Algorithm]) -> Result<(Claims, &'k Key), BadJwt> {
        let named = self.jws.algorithm();
        let fits =
            |algorithm: Algorithm| named == algorithm.name() || (algorithm == Algorithm::EdDsa && named == "Ed25519");
        if !accepted.iter().any(|algorithm| fits(*algorithm)) {
            return Err(BadJwt::Algorithm);
        }
        let mut known = false;
        for key in &keys.keys {
            if self.key_id().is_some_and(|id| key.id.as_deref() != Some(id)) {
                continue;
            }
            known = true;
            if !fits(key.algorithm) {
                continue;
            }
            if let Ok(payload) = key.holds(&self.jws) {
                return Claims::parse(&payload).map(|claims| (claims, key));
            }
        }
        Err(if known { BadJwt::Signature } else { BadJwt::UnknownKey })
    }
}

/// What a token says (RFC 7519 §4.1). Absent is absent; what is there and is not what it should be is refused.
#[derive(Clone, Debug, PartialEq)]
pub struct Claims {
    pub issuer: Option<String>,
    pub subject: Option<String>,
    pub audience: Vec<String>,
    /// In seconds since 1970.
    pub expires_at: Option<i64>,
    pub not_before: Option<i64>,
    pub issued_at: Option<i64>,
    pub id: Option<String>,
    all: Map<String, Value>,
}

impl Claims {
    /// # Errors
    /// [`BadJwt::Malformed`] where it is no object, or a registered claim has another type than it should.
    pub fn parse(payload: &[u8]) -> Result<Self, BadJwt> {
        let all: Map<String, Value> = serde_json::from_slice(payload).map_err(|_| BadJwt::Malformed)?;
        let text = |name: &str| match all.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(_) => Err(BadJwt::Malformed),
        };
        let date = |name: &str| match all.get(name) {
            None => Ok(None),
            Some(value) => seconds(value).map(Some).ok_or(BadJwt::Malformed),
        };
        let audience = match all.get("aud") {
            None => Vec::new(),
            Some(Value::String(one)) => vec![one.clone()],
            Some(Value::Array(several)) => {
                let texts = several.iter().map(|it| it.as_str().map(str::to_owned).ok_or(BadJwt::Malformed));
                texts.collect::<Result<_, _>>()?
            }
            Some(_) => return Err(BadJwt::Malformed),
        };
        Ok(Self {
            issuer: text("iss")?,
            subject: text("sub")?,
            audience,
            expires_at: date("exp")?,
            not_before: date("nbf")?,
            issued_at: date("iat")?,
            id: text("jti")?,
            all,
        })
    }

    /// A claim of any name that is a text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.all.get(name).and_then(Value::as_str)
    }
}

/// A NumericDate, which may have a fraction (RFC 7519 §2): whole seconds, towards the past.
fn seconds(value: &Value) -> Option<i64> {
    if let Some(whole) = value.as_i64() {
        return Some(whole);
    }
    let number = value.as_f64().filter(|number| number.abs() < 1e15)?;
    format!("{:.0}", number.floor()).parse().ok()
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::rand::SystemRandom;
    use aws_lc_rs::signature::{KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
    use der::asn1::UintRef;
    use der::{Decode, Reader};
    use serde_json::json;

    use super::*;

    /// RFC 8037, Appendix A.
    const ED25519: &str = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    /// RFC 7515, Appendix A.3: key and token.
    const P256: &str = r#"{"kty":"EC","crv":"P-256","kid":"a3","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}"#;
    const P256_JWT: &str = "eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFt\
        cGxlLmNvbS9pc19yb290Ijp0cnVlfQ.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
    const ALL: [Algorithm; 4] = [Algorithm::Es256, Algorithm::Es384, Algorithm::EdDsa, Algorithm::Rs256];

    fn set(keys: &[&str]) -> Result<KeySet, BadKeys> {
        KeySet::parse(format!(r#"{{"keys":[{}]}}"#, keys.join(",")).as_bytes())
    }

    fn encoded(value: &Value) -> String {
        URL_SAFE_NO_PAD.encode(value.to_string())
    }

    #[test]
    fn the_example_of_the_standard() {
        let keys = set(&[ED25519, P256]).expect("two keys");
        let token = Token::parse(P256_JWT).expect("a token");
        assert_eq!((token.key_id(), token.unverified_issuer().as_deref()), (None, Some("joe")));
        let (claims, key) = token.verified(&keys, &ALL).expect("signed");
        assert_eq!((claims.issuer.as_deref(), claims.expires_at), (Some("joe"), Some(1_300_819_380)));
        assert_eq!((key.id.as_deref(), key.algorithm()), (Some("a3"), Algorithm::Es256));
        let found = |accepted: &[Algorithm]| token.verified(&keys, accepted).map(|_| ()).expect_err("refused");
        assert_eq!((found(&[Algorithm::EdDsa]), found(&[])), (BadJwt::Algorithm, BadJwt::Algorithm));
        let other = set(&[ED25519]).expect("a key");
        assert_eq!(token.verified(&other, &ALL).map(|_| ()), Err(BadJwt::Signature));
    }

    #[test]
    fn rsa_and_what_is_confused_with_it() {
        let pair = RsaKeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).expect("a key");
        let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let public = pair.public_key();
        let (n, e) = der::SliceReader::new(public.as_ref())
            .and_then(|mut reader| {
                reader.sequence(|inner| {
                    let mut part = || UintRef::decode(inner).map(|it| it.as_bytes().to_vec());
                    Ok((part()?, part()?))
                })
            })
            .expect("an RSAPublicKey");
        let jwk =
            json!({"kty": "RSA", "kid": "k1", "use": "sig", "alg": "RS256", "n": part(&n), "e": part(&e)}).to_string();
        let keys = set(&[&jwk]).expect("a key");
        let spki = aws_lc_rs::encoding::AsDer::<aws_lc_rs::encoding::PublicKeyX509Der>::as_der(public).expect("DER");
        assert_eq!(keys.keys()[0].fingerprint, fingerprint(spki.as_ref()), "the DER that others write");
        let sign = |header: Value, claims: &Value| {
            let signed = format!("{}.{}", encoded(&header), encoded(claims));
            let mut signature = vec![0; pair.public_modulus_len()];
            pair.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature).expect("signs");
            format!("{signed}.{}", part(&signature))
        };
        let claims = json!({"iss": "x", "aud": ["a", "b"], "exp": 12.9, "nbf": -1, "jti": "1", "device": "gw-1"});
        let good = sign(json!({"alg": "RS256", "kid": "k1"}), &claims);
        let (read, _) = Token::parse(&good).expect("a token").verified(&keys, &ALL).expect("signed");
        assert_eq!((read.audience.len(), read.expires_at, read.not_before), (2, Some(12), Some(-1)));
        assert_eq!((read.text("device"), read.text("aud")), (Some("gw-1"), None));
        let refused =
            |token: &str| Token::parse(token).and_then(|it| it.verified(&keys, &ALL).map(|_| ())).expect_err("refused");
        assert_eq!(refused(&sign(json!({"alg": "RS256", "kid": "k2"}), &claims)), BadJwt::UnknownKey);
        // The public key as a shared secret: the header asks for it, and nobody heeds it.
        for alg in ["HS256", "none", "RS512", "PS256", "ES256", ""] {
            let expect = if alg == "ES256" { BadJwt::Signature } else { BadJwt::Algorithm };
            assert_eq!(refused(&sign(json!({"alg": alg, "kid": "k1"}), &claims)), expect, "{alg}");
        }
        let changed = good.replacen(&encoded(&claims), &encoded(&json!({"iss": "y"})), 1);
        assert_eq!(refused(&changed), BadJwt::Signature);
        for bad in ["", "a.b.c", "..", "e30.e30.AA.AA"] {
            assert_eq!(refused(bad), BadJwt::Malformed, "{bad}");
        }
        for (claims, fine) in [
            (json!({"exp": "tomorrow"}), false),
            (json!({"exp": 1e300}), false),
            (json!({"aud": [1]}), false),
            (json!({"sub": 7}), false),
            (json!([1]), false),
            (json!({}), true),
        ] {
            let token = sign(json!({"alg": "RS256"}), &claims);
            let read = Token::parse(&token).expect("a token").verified(&keys, &ALL);
            assert_eq!(read.is_ok(), fine, "{claims}");
        }
    }

    #[test]
    fn sets_of_keys() {
        let refused = |keys: &[&str]| set(keys).map(|set| set.keys().len());
        assert_eq!(refused(&[P256, ED25519]), Ok(2));
        assert_eq!(refused(&[r#"{"kty":"oct","k":"AAAA"}"#, P256]), Err(BadKeys::Secret));
        assert_eq!(refused(&[r#"{"kty":"EC","crv":"P-256","x":"AA","y":"AA","d":"AA"}"#]), Err(BadKeys::Private));
        assert_eq!(refused(&[]), Err(BadKeys::Empty));
        assert_eq!(refused(&[&P256.replace("a3\"", "a3\",\"use\":\"enc\"")]), Err(BadKeys::Empty));
        assert_eq!(refused(&[&P256.replace("a3\"", "a3\",\"alg\":\"ES512\"")]), Err(BadKeys::Empty));
        assert_eq!(refused(&[&P256.replace("a3\"", "a3\",\"key_ops\":[\"sign\"]")]), Err(BadKeys::Empty));
        assert_eq!(refused(&[r#"{"kty":"LWE"}"#, P256]), Ok(1), "what is not known is passed over");
        let short = json!({"kty": "RSA", "n": URL_SAFE_NO_PAD.encode([0x80; 128]), "e": "AQAB"}).to_string();
        assert_eq!(refused(&[&short]), Err(BadKeys::Empty));
        let odd = json!({"kty": "RSA", "n": URL_SAFE_NO_PAD.encode([0x80; 256]), "e": "AQ"}).to_string();
        assert_eq!(refused(&[&odd]), Err(BadKeys::Empty));
        assert_eq!(refused(&[P256; 33]), Err(BadKeys::TooMany));
        for bad in ["", "[]", "{}", r#"{"keys":{}}"#, r#"{"keys":[1]}"#] {
            assert_eq!(KeySet::parse(bad.as_bytes()).map(|_| ()), Err(BadKeys::Malformed), "{bad}");
        }
    }
}
