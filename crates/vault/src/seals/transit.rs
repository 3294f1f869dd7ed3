//! The root key under a transit key of HashiCorp Vault or OpenBao, over its HTTP API.
//!
//! `POST /v1/MOUNT/encrypt/KEY` and `/decrypt/KEY`, with a token or an AppRole login. The root key is sent there to be wrapped
//! and comes back from there, within TLS; the transit key never leaves the service. Redirects are not followed: what is sent
//! is for the configured host alone. Body: the ciphertext as the service writes it, `vault:v1:…`.

use std::path::PathBuf;
use std::time::Duration;

use async_trait::async_trait;
use base::Secret;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::{Client, StatusCode, Url};
use serde::Deserialize;
use serde_json::{Value, json};

use fleetward_base as base;

use crate::root::{RootKey, RootSeal, RootSealError, SealKind};

const DEADLINE: Duration = Duration::from_secs(10);
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// How the service knows us.
#[derive(Clone, Debug)]
pub enum TransitAuth {
    Token(Secret<String>),
    AppRole { role_id: String, secret_id: Secret<String> },
}

/// Where the transit key is.
#[derive(Clone, Debug)]
pub struct TransitSealConfig {
    /// `https://vault.example.com:8200`
    pub address: String,
    /// Where the transit engine is mounted.
    pub mount: String,
    pub key: String,
    pub namespace: Option<String>,
    pub auth: TransitAuth,
    /// PEM of the authorities that the service's certificate is checked against, instead of the system's.
    pub ca_file: Option<PathBuf>,
}

/// Seals by a transit key.
pub struct TransitSeal {
    config: TransitSealConfig,
    base: Url,
    http: Client,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    data: Value,
    #[serde(default)]
    auth: Value,
    #[serde(default)]
    errors: Vec<String>,
}

impl TransitSeal {
    /// # Errors
    /// Where the address is none of HTTPS, a name is none, or the file of authorities cannot be used.
    pub fn new(config: TransitSealConfig) -> Result<Self, RootSealError> {
        let seal = format!("transit:{}", config.address);
        let refused = |reason: String| RootSealError::Refused { seal: seal.clone(), reason };
        let base = Url::parse(&config.address).map_err(|error| refused(error.to_string()))?;
        if base.scheme() != "https" || base.host_str().is_none() || !base.username().is_empty() {
            return Err(refused("its address must be https://HOST[:PORT]".to_owned()));
        }
        let named = |text: &str| {
            let good = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
            !text.is_empty() && text.bytes().all(good) && !text.contains("..")
        };
        if !named(&config.mount) || !named(&config.key) || config.key.contains('/') {
            return Err(refused("mount and key are made of letters, digits, '-', '_' and '.'".to_owned()));
        }
        let mut http =
            Client::builder().https_only(true).no_proxy().redirect(reqwest::redirect::Policy::none()).timeout(DEADLINE);
        if let Some(path) = &config.ca_file {
            let pem = std::fs::read(path).map_err(|error| refused(format!("{}: {error}", path.display())))?;
            let authorities = reqwest::Certificate::from_pem_bundle(&pem);
            http = http.tls_certs_only(authorities.map_err(|error| refused(format!("{}: {error}", path.display())))?);
        }
        let http = http.build().map_err(|error| refused(error.to_string()))?;
        Ok(Self { config, base, http })
    }

    async fn token(&self) -> Result<Secret<String>, RootSealError> {
        match &self.config.auth {
            TransitAuth::Token(token) => Ok(token.clone()),
            TransitAuth::AppRole { role_id, secret_id } => {
                let body = json!({ "role_id": role_id, "secret_id": secret_id.expose() });
                let answer = self.post("auth/approle/login", None, &body).await?;
                let token = answer.auth.get("client_token").and_then(Value::as_str);
                token
                    .map(|token| Secret::new(token.to_owned()))
                    .ok_or_else(|| self.unreachable("the login gave no token"))
            }
        }
    }

    async fn transit(&self, verb: &str, body: &Value, field: &str) -> Result<Secret<String>, RootSealError> {
        let token = self.token().await?;
        let path = format!("{}/{verb}/{}", self.config.mount, self.config.key);
        let answer = self.post(&path, Some(&token), body).await?;
        let text = answer.data.get(field).and_then(Value::as_str);
        text.map(|text| Secret::new(text.to_owned()))
            .ok_or_else(|| self.unreachable(&format!("the answer has no {field}")))
    }

    async fn post(&self, path: &str, token: Option<&Secret<String>>, body: &Value) -> Result<Answer, RootSealError> {
        let url = self.base.join(&format!("/v1/{path}")).map_err(|error| self.unreachable(&error.to_string()))?;
        // Vault asks for this header where it is configured to refuse requests that a browser could be tricked into.
        let mut request = self.http.post(url).header("X-Vault-Request", "true").json(body);
        if let Some(token) = token {
            request = request.header("X-Vault-Token", token.expose());
        }
        if let Some(namespace) = &self.config.namespace {
            request = request.header("X-Vault-Namespace", namespace);
        }
        let mut answer = request.send().await.map_err(|error| self.unreachable(&chain(&error)))?;
        let status = answer.status();
        let mut bytes = Secret::new(Vec::new());
        while let Some(piece) = answer.chunk().await.map_err(|error| self.unreachable(&chain(&error)))? {
            if bytes.expose().len() + piece.len() > ANSWER_BYTES_MAX {
                return Err(self.unreachable("its answer is too large"));
            }
            bytes.expose_mut().extend_from_slice(&piece);
        }
        let read = serde_json::from_slice::<Answer>(bytes.expose());
        if status.is_success() {
            return read.map_err(|_| self.unreachable("its answer is no JSON of this API"));
        }
        let said = read.map(|answer| answer.errors.join("; ")).unwrap_or_default();
        let said: String = said.chars().filter(|c| !c.is_control()).take(200).collect();
        let reason = if said.is_empty() { status.to_string() } else { format!("{status}: {said}") };
        // 503 is sealed or in maintenance, 429 and 472 to 473 a standby, 307 a standby that sends elsewhere.
        let no = matches!(status, StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND);
        Err(if no { RootSealError::Refused { seal: self.describe(), reason } } else { self.unreachable(&reason) })
    }

    fn unreachable(&self, reason: &str) -> RootSealError {
        RootSealError::Unreachable { seal: self.describe(), reason: reason.to_owned() }
    }
}

/// What went wrong and why, without the address, which the seal's name has already.
fn chain(error: &reqwest::Error) -> String {
    let mut said = String::from("no answer");
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        said = format!("{said}: {inner}");
        cause = inner.source();
    }
    said
}

#[async_trait]
impl RootSeal for TransitSeal {
    fn kind(&self) -> SealKind {
        SealKind::Transit
    }

    fn describe(&self) -> String {
        format!("transit:{}/{}/{}", self.config.address.trim_end_matches('/'), self.config.mount, self.config.key)
    }

    async fn wrap(&self, key: &RootKey) -> Result<Vec<u8>, RootSealError> {
        let plaintext = Secret::new(STANDARD.encode(key.expose()));
        let sealed = self.transit("encrypt", &json!({ "plaintext": plaintext.expose() }), "ciphertext").await?;
        Ok(sealed.expose().clone().into_bytes())
    }

    async fn unwrap(&self, body: &[u8]) -> Result<RootKey, RootSealError> {
        let sealed = std::str::from_utf8(body).map_err(|_| RootSealError::Malformed)?;
        let plain = self.transit("decrypt", &json!({ "ciphertext": sealed }), "plaintext").await?;
        let plain = STANDARD.decode(plain.expose()).map_err(|_| self.unreachable("its answer is no base64"))?;
        RootKey::from_bytes(&Secret::new(plain))
    }
}
