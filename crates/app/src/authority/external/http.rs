//! Requests to an external issuer: a pinned authority, deadlines, a limit on the answer, no redirects and no proxies.
//!
//! A request whose connection failed is sent once more: it carries the same certificate request, and what an issuer
//! signed twice is two certificates of which one is kept.

use std::time::Duration;

use fleetward_base::{Secret, limits};
use reqwest::{Certificate, Client, Method, Response, StatusCode, header};
use serde_json::Value;

use crate::error::{Error, Result};

const CONNECT_DEADLINE: Duration = Duration::from_secs(3);

/// Why there is no answer that can be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Failure {
    #[error("does not answer: {reason}")]
    Down { reason: String, wait: Option<Duration> },
    #[error("refuses with status {status}: {message}")]
    Refused { status: u16, message: String },
    /// Including a certificate that is not what was asked for.
    #[error("answers with something else than was asked for: {0}")]
    Answer(String),
}

impl Failure {
    pub(super) fn answer(error: impl std::fmt::Display) -> Self {
        Self::Answer(error.to_string())
    }
}

pub(super) struct Http {
    client: Client,
    base: String,
}

/// One request.
pub(super) struct Call<'a> {
    pub(super) method: Method,
    /// From the slash after the issuer's address.
    pub(super) path: &'a str,
    pub(super) headers: Vec<(&'static str, Secret<String>)>,
    pub(super) body: Option<Value>,
    /// Finds the reason in the body of a refusal.
    pub(super) refusal: fn(&[u8]) -> Option<String>,
}

impl Http {
    /// # Errors
    /// `Invalid` where the pinned authority cannot be read.
    pub(super) fn new(url: &str, tls_ca: Option<&str>) -> Result<Self> {
        let mut builder = Client::builder()
            .user_agent(concat!("fleetward/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_DEADLINE)
            .timeout(limits::ISSUER_DEADLINE)
            .pool_max_idle_per_host(limits::ISSUER_REQUESTS_AT_ONCE)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy();
        if let Some(pem) = tls_ca {
            let anchors = Certificate::from_pem_bundle(pem.as_bytes()).ok().filter(|anchors| !anchors.is_empty());
            let anchors = anchors.ok_or_else(|| Error::invalid("tls_ca", "holds no certificate in PEM"))?;
            builder = builder.tls_certs_only(anchors);
        }
        let client = builder.build().map_err(|error| Error::invalid("tls_ca", error.to_string()))?;
        Ok(Self { client, base: url.trim_end_matches('/').to_owned() })
    }

    /// The URL of a path, as a token names it.
    pub(super) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    pub(super) async fn send(&self, call: &Call<'_>) -> Result<Vec<u8>, Failure> {
        let response = match self.once(call).await {
            Err(error) if error.is_connect() || error.is_request() => self.once(call).await,
            other => other,
        };
        read(response.map_err(|error| down(&error))?, call.refusal).await
    }

    async fn once(&self, call: &Call<'_>) -> Result<Response, reqwest::Error> {
        let mut request = self.client.request(call.method.clone(), self.url(call.path));
        for (name, value) in &call.headers {
            let mut value =
                header::HeaderValue::from_str(value.expose()).unwrap_or(header::HeaderValue::from_static(""));
            value.set_sensitive(true);
            request = request.header(*name, value);
        }
        if let Some(body) = &call.body {
            request = request.json(body);
        }
        request.send().await
    }
}

async fn read(mut response: Response, refusal: fn(&[u8]) -> Option<String>) -> Result<Vec<u8>, Failure> {
    let status = response.status();
    let wait = response.headers().get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    let wait = wait.map(Duration::from_secs);
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| down(&error))? {
        if body.len() + chunk.len() > limits::ISSUER_ANSWER_BYTES {
            return Err(Failure::Answer("the answer is too long".to_owned()));
        }
        body.extend_from_slice(&chunk);
    }
    let message = || refusal(&body).unwrap_or_else(|| "no reason was given".to_owned());
    if status.is_success() {
        return Ok(body);
    }
    if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() {
        return Err(Failure::Down { reason: format!("status {}: {}", status.as_u16(), message()), wait });
    }
    Err(Failure::Refused { status: status.as_u16(), message: message() })
}

/// The kind of fault and its cause, without the address, which may name what is nobody's business.
fn down(error: &reqwest::Error) -> Failure {
    let kind = match error {
        error if error.is_timeout() => "it took too long",
        error if error.is_connect() => "no connection",
        _ => "the connection broke",
    };
    let mut cause: &dyn std::error::Error = error;
    while let Some(below) = cause.source() {
        cause = below;
    }
    Failure::Down { reason: format!("{kind} ({cause})"), wait: None }
}
