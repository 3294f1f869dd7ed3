//! step-ca: `/1.0/sign`, `/1.0/revoke`, `/roots`, `/intermediates` (smallstep/certificates `api/`).
//!
//! Each request carries a token that is used once, a JWT by the key of a JWK provisioner. `sans` is what the certificate
//! will say; `cnf` binds the token to this one request, so that a token read on the way is good for nothing else.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use fleetward_base::{Secret, Timestamp};
use serde::Serialize;
use serde_json::{Value, json};

use super::{BadAnswer, shown, text};

/// What a token says.
#[derive(Clone, Debug)]
pub struct Claims<'a> {
    /// The provisioner's name.
    pub provisioner: &'a str,
    /// The id of its key.
    pub key_id: &'a str,
    /// The URL of the operation.
    pub audience: &'a str,
    /// The common name, or for a revocation the serial number.
    pub subject: &'a str,
    pub sans: &'a [&'a str],
    /// SHA-256 of the root, hexadecimal.
    pub root: Option<&'a str>,
    /// SHA-256 of the request (DER).
    pub request: Option<[u8; 32]>,
    pub id: &'a str,
    pub at: Timestamp,
    pub seconds: i64,
}

#[derive(Serialize)]
struct Header<'a> {
    alg: &'static str,
    kid: &'a str,
    typ: &'static str,
}

#[derive(Serialize)]
struct Payload<'a> {
    aud: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cnf: Option<Value>,
    exp: i64,
    iat: i64,
    iss: &'a str,
    jti: &'a str,
    nbf: i64,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    sans: &'a [&'a str],
    #[serde(skip_serializing_if = "Option::is_none")]
    sha: Option<&'a str>,
    sub: &'a str,
}

/// Header and payload, as they are signed with ES256 (RFC 7515 §5.1).
pub fn unsigned(claims: &Claims<'_>) -> String {
    let header = Header { alg: "ES256", kid: claims.key_id, typ: "JWT" };
    let at = claims.at.secs();
    let payload = Payload {
        aud: claims.audience,
        cnf: claims.request.map(|hash| json!({ "x5rt#S256": URL_SAFE_NO_PAD.encode(hash) })),
        exp: at.saturating_add(claims.seconds),
        iat: at,
        iss: claims.provisioner,
        jti: claims.id,
        nbf: at,
        sans: claims.sans,
        sha: claims.root,
        sub: claims.subject,
    };
    let part = |value: serde_json::Result<Vec<u8>>| URL_SAFE_NO_PAD.encode(value.expect("texts and numbers are JSON"));
    format!("{}.{}", part(serde_json::to_vec(&header)), part(serde_json::to_vec(&payload)))
}

/// The token; `signature` is r and s, 32 bytes each.
pub fn signed(unsigned: &str, signature: &[u8]) -> Secret<String> {
    Secret::new(format!("{unsigned}.{}", URL_SAFE_NO_PAD.encode(signature)))
}

pub fn sign_body(csr_pem: &str, token: &Secret<String>, not_before: Timestamp, not_after: Timestamp) -> Value {
    // Whole seconds: a certificate has no others.
    let at = |time: Timestamp| Timestamp::from_secs(time.secs()).to_string();
    json!({ "csr": csr_pem, "ott": token.expose(), "notBefore": at(not_before), "notAfter": at(not_after) })
}

/// `serial` in decimal. Passive is the only revocation there is: no renewal, and an entry in its list.
pub fn revoke_body(serial: &str, token: &Secret<String>, reason: &str) -> Value {
    json!({ "serial": serial, "ott": token.expose(), "reasonCode": 0, "reason": reason, "passive": true })
}

/// The certificate (PEM) out of the answer to a sign request.
///
/// # Errors
/// [`BadAnswer`].
pub fn certificate(body: &[u8]) -> Result<String, BadAnswer> {
    text(body, "/crt", "crt")
}

/// The certificates (PEM) of `/roots` and `/intermediates`.
///
/// # Errors
/// [`BadAnswer`].
pub fn certificates(body: &[u8]) -> Result<Vec<String>, BadAnswer> {
    let value: Value = serde_json::from_slice(body).map_err(|_| BadAnswer("JSON"))?;
    let list = value.get("crts").and_then(Value::as_array).ok_or(BadAnswer("crts"))?;
    list.iter().map(|one| one.as_str().map(str::to_owned).ok_or(BadAnswer("crts"))).collect()
}

/// What a refusal says: `{"status":403,"message":"..."}`.
pub fn refusal(body: &[u8]) -> Option<String> {
    text(body, "/message", "message").ok().map(|message| shown(&message))
}

/// The key of a JWK provisioner: P-256, with its private half.
pub struct Jwk {
    pub key_id: String,
    /// The point, uncompressed.
    pub public: Vec<u8>,
    pub private: Secret<Vec<u8>>,
}

/// Something that is not a private P-256 JWK.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a private key of the kind EC P-256 as a JWK with kid, x, y and d")]
pub struct BadJwk;

/// Reads a JWK (RFC 7518 §6.2), as `step crypto jwe decrypt` shows a provisioner's.
///
/// # Errors
/// [`BadJwk`].
pub fn jwk(text: &str) -> Result<Jwk, BadJwk> {
    let value: Value = serde_json::from_str(text).map_err(|_| BadJwk)?;
    let field = |name: &str| value.get(name).and_then(Value::as_str).ok_or(BadJwk);
    if field("kty")? != "EC" || field("crv")? != "P-256" {
        return Err(BadJwk);
    }
    let number = |name: &str| {
        let bytes = URL_SAFE_NO_PAD.decode(field(name)?).map_err(|_| BadJwk)?;
        if bytes.len() == 32 { Ok(bytes) } else { Err(BadJwk) }
    };
    let key_id = field("kid")?.to_owned();
    let public = [vec![4], number("x")?, number("y")?].concat();
    Ok(Jwk { key_id, public, private: Secret::new(number("d")?) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_says_what_step_ca_reads() {
        let claims = Claims {
            provisioner: "fleetward",
            key_id: "kid-1",
            audience: "https://ca.example.com/1.0/sign",
            subject: "gw-1",
            sans: &["urn:fleetward:acme:gw-1"],
            root: Some("ab12"),
            request: Some([7; 32]),
            id: "one",
            at: Timestamp::from_secs(1_795_171_980),
            seconds: 300,
        };
        let text = unsigned(&claims);
        let (header, payload) = text.split_once('.').expect("two parts");
        let read = |part: &str| String::from_utf8(URL_SAFE_NO_PAD.decode(part).expect("base64")).expect("text");
        assert_eq!(read(header), r#"{"alg":"ES256","kid":"kid-1","typ":"JWT"}"#);
        assert_eq!(
            read(payload),
            concat!(
                r#"{"aud":"https://ca.example.com/1.0/sign","#,
                r#""cnf":{"x5rt#S256":"BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc"},"#,
                r#""exp":1795172280,"iat":1795171980,"iss":"fleetward","jti":"one","nbf":1795171980,"#,
                r#""sans":["urn:fleetward:acme:gw-1"],"sha":"ab12","sub":"gw-1"}"#
            )
        );
        assert_eq!(signed("a.b", &[0xff]).expose(), "a.b._w");
    }

    #[test]
    fn answers_and_refusals() {
        assert_eq!(certificate(br#"{"crt":"PEM","ca":"CA","certChain":["PEM","CA"]}"#), Ok("PEM".to_owned()));
        assert_eq!(certificate(br#"{"ca":"CA"}"#), Err(BadAnswer("crt")));
        assert_eq!(certificate(b"<html>"), Err(BadAnswer("JSON")));
        assert_eq!(certificates(br#"{"crts":["A","B"]}"#), Ok(vec!["A".to_owned(), "B".to_owned()]));
        assert_eq!(certificates(br#"{"crts":[1]}"#), Err(BadAnswer("crts")));
        assert_eq!(refusal(b"{\"status\":403,\"message\":\"no\\u0007\"}").as_deref(), Some("no"));
        assert_eq!(refusal(b""), None);
    }

    #[test]
    fn keys_of_provisioners() {
        let number = URL_SAFE_NO_PAD.encode([1; 32]);
        let good = format!(
            r#"{{"use":"sig","kty":"EC","kid":"k","crv":"P-256","x":"{number}","y":"{number}","d":"{number}"}}"#
        );
        let key = jwk(&good).map_err(|_| ()).expect("a key");
        assert_eq!((key.key_id.as_str(), key.public.len(), key.private.expose().len()), ("k", 65, 32));
        for bad in
            [good.replace("P-256", "P-384"), good.replace("\"d\"", "\"e\""), good.replace(&number, "AQ"), "[]".into()]
        {
            assert!(jwk(&bad).is_err(), "{bad}");
        }
    }
}
