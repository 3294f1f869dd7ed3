//! The pre-provisioning check: somebody else's yes or no, by a signed request.
//!
//! The body is the input of AWS's hook, so that the function behind it can stay as it is; the signature is that of Standard
//! Webhooks (`webhook-id`, `webhook-timestamp`, `webhook-signature: v1,…`). Whatever is not a clear yes is a no.

use std::collections::BTreeMap;

use aws_lc_rs::hmac::{HMAC_SHA256, Key, sign};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fleetward_base::{Rng, Secret, TenantId};
use fleetward_store::TemplateRow;
use fleetward_vault::Purpose;
use serde::{Deserialize, Serialize};

use super::outbound;
use crate::App;
use crate::error::{Error, Result};

/// What every secret begins with (Standard Webhooks).
const PREFIX: &str = "whsec_";
const SECRET_BYTES: usize = 32;

/// What the hook is told, in AWS's words.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Question<'a> {
    pub(super) claim_certificate_id: &'a str,
    pub(super) certificate_id: &'a str,
    pub(super) certificate_pem: &'a str,
    pub(super) template_arn: String,
    pub(super) client_id: &'a str,
    pub(super) parameters: &'a BTreeMap<String, String>,
}

/// What the hook says.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    allow_provisioning: bool,
    #[serde(default)]
    parameter_overrides: Option<BTreeMap<String, String>>,
}

/// A new secret, as it is shown once.
pub(super) fn new_secret(rng: &dyn Rng) -> Secret<String> {
    let mut bytes = [0; SECRET_BYTES];
    rng.fill(&mut bytes);
    Secret::new(format!("{PREFIX}{}", STANDARD.encode(bytes)))
}

/// The secret as it is kept.
///
/// # Errors
/// Where the tenant's key is switched off.
pub(super) fn seal(app: &App, tenant: &TenantId, template: &str, secret: &Secret<String>) -> Result<Vec<u8>> {
    let bound = [tenant.as_str(), "provisioning-hook", template];
    Ok(app.vault().seal(app.rng().as_ref(), Purpose::Secret, &bound, secret.expose().as_bytes())?)
}

/// The secret of a template's hook under the tenant's newest key; none where it is already, or there is no hook.
///
/// # Errors
/// Where it does not open.
pub(super) fn reseal(app: &App, tenant: &TenantId, template: &TemplateRow) -> Result<Option<Vec<u8>>> {
    let Some(sealed) = &template.hook_secret else { return Ok(None) };
    let bound = [tenant.as_str(), "provisioning-hook", template.name.as_str()];
    Ok(app.vault().reseal(app.rng().as_ref(), Purpose::Secret, &bound, sealed)?)
}

/// Asks the hook of a template: the parameters that it adds or changes, or why it said no.
///
/// # Errors
/// `Ok(Err(…))` is a no with its reason, for the journal; `Err` a fault of ours.
pub(super) async fn ask(
    app: &App,
    tenant: &TenantId,
    template: &TemplateRow,
    question: &Question<'_>,
) -> Result<std::result::Result<BTreeMap<String, String>, String>> {
    let (Some(url), Some(sealed)) = (&template.hook_url, &template.hook_secret) else { return Ok(Ok(BTreeMap::new())) };
    let bound = [tenant.as_str(), "provisioning-hook", template.name.as_str()];
    let secret = app.vault().open(Purpose::Secret, &bound, sealed)?;
    let body = serde_json::to_vec(question).map_err(Error::internal)?;
    let headers = signed(app, secret.expose(), &body)?;
    let allowed = &app.settings()?.hook_networks;
    let answer = match outbound::post(url, template.hook_ca.as_deref(), allowed, &headers, body).await {
        Ok(answer) => answer,
        Err(error) => return Ok(Err(error.to_string())),
    };
    Ok(match serde_json::from_slice::<Answer>(&answer) {
        Ok(Answer { allow_provisioning: true, parameter_overrides }) => Ok(parameter_overrides.unwrap_or_default()),
        Ok(_) => Err("it said no".to_owned()),
        Err(_) => Err("the answer is no JSON with allowProvisioning".to_owned()),
    })
}

fn signed(app: &App, secret: &[u8], body: &[u8]) -> Result<[(&'static str, String); 3]> {
    let id = format!("msg_{}", app.new_request_id());
    let at = app.now().secs().to_string();
    let signature = signature(secret, &id, &at, body).ok_or_else(|| Error::internal("a hook's secret that is none"))?;
    Ok([("webhook-id", id), ("webhook-timestamp", at), ("webhook-signature", signature)])
}

/// `v1,` and the HMAC-SHA-256 of `ID.TIMESTAMP.BODY` in base64.
fn signature(secret: &[u8], id: &str, at: &str, body: &[u8]) -> Option<String> {
    let encoded = std::str::from_utf8(secret).ok()?.strip_prefix(PREFIX)?;
    let key = Key::new(HMAC_SHA256, &STANDARD.decode(encoded).ok()?);
    let text = [id.as_bytes(), b".", at.as_bytes(), b".", body].concat();
    Some(format!("v1,{}", STANDARD.encode(sign(&key, &text))))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the Standard Webhooks specification.
    #[test]
    fn signatures_are_those_of_the_standard() {
        let signature = signature(
            b"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            "msg_p5jXN8AQM9LWM0D4loKWxJek",
            "1614265330",
            br#"{"test": 2432232314}"#,
        );
        assert_eq!(signature.as_deref(), Some("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="));
    }
}
