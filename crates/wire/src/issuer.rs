//! Messages of other people's certificate authorities: what we ask, and what they answer.
//!
//! Three APIs, all JSON over HTTP: step-ca ([`step`]), the PKI engine of Vault and OpenBao ([`vault`]), cfssl
//! ([`cfssl`]). Nothing that is read here is believed: `fleetward_pki::foreign` holds the certificate to what was asked.

pub mod cfssl;
pub mod step;
pub mod vault;

use serde_json::Value;

/// How much of what an authority says about a refusal is repeated.
const MESSAGE_CHARS: usize = 300;

/// An answer that is not of the documented shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the answer has no {0}")]
pub struct BadAnswer(pub &'static str);

/// The text at `path` of a JSON answer.
fn text(body: &[u8], path: &str, what: &'static str) -> Result<String, BadAnswer> {
    let value: Value = serde_json::from_slice(body).map_err(|_| BadAnswer("JSON"))?;
    value.pointer(path).and_then(Value::as_str).map(str::to_owned).ok_or(BadAnswer(what))
}

/// What somebody else wrote, fit for a log line and an operator's eyes.
fn shown(message: &str) -> String {
    message.chars().filter(|c| !c.is_control()).take(MESSAGE_CHARS).collect()
}
