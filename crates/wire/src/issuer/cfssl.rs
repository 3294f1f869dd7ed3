//! cfssl: `/api/v1/cfssl/authsign`, `/sign`, `/info`, `/revoke` (cloudflare/cfssl `doc/api`).
//!
//! An authenticated request is the request's own bytes in base64 beside their HMAC-SHA-256. `hosts` takes the place of
//! the names in the request. How long a certificate lasts is the profile's alone to say.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::{Value, json};

use super::{BadAnswer, shown, text};

#[derive(Serialize)]
struct Request<'a> {
    certificate_request: &'a str,
    hosts: [&'a str; 1],
    #[serde(skip_serializing_if = "str::is_empty")]
    profile: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    label: &'a str,
}

/// The request itself: what is sent to `/sign`, and what is authenticated for `/authsign`.
pub fn request(csr_pem: &str, uri: &str, profile: &str, label: &str) -> Vec<u8> {
    let request = Request { certificate_request: csr_pem, hosts: [uri], profile, label };
    serde_json::to_vec(&request).expect("texts are JSON")
}

/// The request with the HMAC-SHA-256 over its bytes.
pub fn authenticated(request: &[u8], tag: &[u8]) -> Value {
    json!({ "token": STANDARD.encode(tag), "request": STANDARD.encode(request) })
}

pub fn info_body(profile: &str, label: &str) -> Value {
    json!({ "label": label, "profile": profile })
}

/// `serial` in decimal, `authority_key_id` in lower-case hexadecimal.
pub fn revoke_body(serial: &str, authority_key_id: &str) -> Value {
    json!({ "serial": serial, "authority_key_id": authority_key_id, "reason": "superseded" })
}

/// The certificate (PEM) out of the answer of `/authsign`, `/sign` and, there that of the signer, `/info`.
///
/// # Errors
/// [`BadAnswer`].
pub fn certificate(body: &[u8]) -> Result<String, BadAnswer> {
    text(body, "/result/certificate", "result.certificate")
}

/// What a refusal says: `{"success":false,"errors":[{"code":400,"message":"..."}]}`.
pub fn refusal(body: &[u8]) -> Option<String> {
    text(body, "/errors/0/message", "errors").ok().map(|message| shown(&message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shapes_of_the_documentation() {
        let request = request("PEM", "urn:fleetward:acme:gw-1", "device", "");
        let expected = r#"{"certificate_request":"PEM","hosts":["urn:fleetward:acme:gw-1"],"profile":"device"}"#;
        assert_eq!(String::from_utf8_lossy(&request), expected);
        assert_eq!(authenticated(b"{}", &[1, 2]), json!({ "token": "AQI=", "request": "e30=" }));
        let answer = br#"{"errors":[],"messages":[],"result":{"certificate":"PEM"},"success":true}"#;
        assert_eq!(certificate(answer), Ok("PEM".to_owned()));
        assert_eq!(certificate(br#"{"result":null}"#), Err(BadAnswer("result.certificate")));
        let refused = br#"{"success":false,"result":null,"errors":[{"code":400,"message":"invalid token"}]}"#;
        assert_eq!(refusal(refused).as_deref(), Some("invalid token"));
    }
}
