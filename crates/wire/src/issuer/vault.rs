//! The PKI secrets engine of HashiCorp Vault and OpenBao: `/v1/MOUNT/sign/ROLE`, `/sign-verbatim`, `/revoke`, `/ca/pem`,
//! and the login by AppRole.
//!
//! `sign` takes the names from us and only the key from the request; `sign-verbatim` takes the request as it is, so the
//! device must have asked for its own URI.

use fleetward_base::Secret;
use serde_json::{Value, json};

use super::{BadAnswer, shown, text};

/// Vault counts from a moment that is a little before it is asked (`not_before_duration`, 30 s), and we allow none more.
pub fn sign_body(csr_pem: &str, common_name: &str, uri: &str, seconds: u64) -> Value {
    json!({
        "csr": csr_pem,
        "common_name": common_name,
        "uri_sans": uri,
        "exclude_cn_from_sans": true,
        "ttl": format!("{seconds}s"),
        "format": "pem",
    })
}

pub fn verbatim_body(csr_pem: &str, seconds: u64) -> Value {
    json!({
        "csr": csr_pem,
        "key_usage": ["DigitalSignature"],
        "ext_key_usage": ["ClientAuth"],
        "ttl": format!("{seconds}s"),
        "format": "pem",
    })
}

/// `serial` in hexadecimal; Vault names it in pairs with colons.
pub fn revoke_body(serial: &str) -> Value {
    let even = if serial.len().is_multiple_of(2) { serial.to_owned() } else { format!("0{serial}") };
    let pairs: Vec<&str> = even.as_bytes().chunks(2).filter_map(|pair| std::str::from_utf8(pair).ok()).collect();
    json!({ "serial_number": pairs.join(":") })
}

pub fn login_body(role_id: &str, secret_id: &Secret<String>) -> Value {
    json!({ "role_id": role_id, "secret_id": secret_id.expose() })
}

/// A token and for how many seconds it counts; none where it has no end.
pub struct Login {
    pub token: Secret<String>,
    pub seconds: Option<u64>,
}

/// Reads the answer to a login.
///
/// # Errors
/// [`BadAnswer`].
pub fn login(body: &[u8]) -> Result<Login, BadAnswer> {
    let token = Secret::new(text(body, "/auth/client_token", "auth.client_token")?);
    let value: Value = serde_json::from_slice(body).map_err(|_| BadAnswer("JSON"))?;
    let seconds = value.pointer("/auth/lease_duration").and_then(Value::as_u64).filter(|seconds| *seconds > 0);
    Ok(Login { token, seconds })
}

/// The certificate (PEM) out of the answer to a sign request.
///
/// # Errors
/// [`BadAnswer`].
pub fn certificate(body: &[u8]) -> Result<String, BadAnswer> {
    text(body, "/data/certificate", "data.certificate")
}

/// What a refusal says: `{"errors":["..."]}`.
pub fn refusal(body: &[u8]) -> Option<String> {
    text(body, "/errors/0", "errors").ok().map(|message| shown(&message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shapes_of_the_documentation() {
        let body = sign_body("PEM", "gw-1", "urn:fleetward:acme:gw-1", 90);
        assert_eq!(body["uri_sans"], "urn:fleetward:acme:gw-1");
        assert_eq!((body["ttl"].as_str(), body["exclude_cn_from_sans"].as_bool()), (Some("90s"), Some(true)));
        assert!(verbatim_body("PEM", 90).get("uri_sans").is_none());
        for (serial, written) in [("39dd2e", "39:dd:2e"), ("9dd2e", "09:dd:2e"), ("", "")] {
            assert_eq!(revoke_body(serial)["serial_number"], written);
        }
        let answer = br#"{"lease_id":"pki/sign/test/7a","data":{"certificate":"PEM","issuing_ca":"CA"},"auth":null}"#;
        assert_eq!(certificate(answer), Ok("PEM".to_owned()));
        assert_eq!(certificate(br#"{"data":null}"#), Err(BadAnswer("data.certificate")));
        let found = login(br#"{"auth":{"renewable":true,"lease_duration":1200,"client_token":"t"}}"#).map_err(drop);
        let found = found.expect("a login");
        assert_eq!((found.token.expose().as_str(), found.seconds), ("t", Some(1200)));
        assert!(login(br#"{"auth":null}"#).is_err());
        assert_eq!(refusal(br#"{"errors":["permission denied"]}"#).as_deref(), Some("permission denied"));
        assert_eq!(refusal(br#"{"errors":[]}"#), None);
    }
}
