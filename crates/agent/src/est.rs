//! Asking for certificates by EST (RFC 7030): with the one-time token the first time, with the current certificate later.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use fleetward_base::{Secret, limits};
use fleetward_pki::{cms, est};
use http_body_util::Full;
use hyper::Request;
use rustls::pki_types::CertificateDer;

use crate::http::{self, Answer, HttpError};
use crate::identity::Credential;
use crate::tls::Server;

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum EstError {
    #[error(transparent)]
    Http(#[from] HttpError),
    /// The server asks to come back: it is busy, or somebody has to approve (RFC 7030 §4.2.3).
    #[error("the server asks to wait{}", .after.map(|span| format!(" {} s", span.as_secs())).unwrap_or_default())]
    Later { after: Option<Duration> },
    /// Asking again with the same token or certificate gives the same answer.
    #[error("the server refuses with status {status}: {reason}")]
    Refused { status: u16, reason: String },
    #[error("the server's answer is not a certificate: {0}")]
    Answer(String),
}

/// Whom the device proves to be.
pub enum Proof<'a> {
    Token(&'a Secret<String>),
    Certificate(&'a Credential),
}

/// The authorities that a server told of.
#[derive(Debug)]
pub struct Listed {
    /// DER, as they came.
    pub certificates: Vec<Vec<u8>>,
    /// The chain of the server that told of them, its own certificate first.
    pub shown: Vec<CertificateDer<'static>>,
}

/// Where the EST service is.
#[derive(Clone, Debug)]
pub struct Service {
    pub server: Server,
    pub port: u16,
    /// The tenant as an EST label; without one the server finds it by the token.
    pub label: Option<String>,
}

impl Service {
    /// Fetches the authorities' certificates (RFC 7030 §4.1), for the `Date` of the answer: the clock learns from that.
    ///
    /// # Errors
    /// What the network says.
    pub async fn ask_time(&self) -> Result<(), HttpError> {
        let label = self.label.as_ref().map(|label| format!("/{label}")).unwrap_or_default();
        let request = Request::get(format!("/.well-known/est{label}/cacerts")).body(Full::default())?;
        http::send(&self.server, (self.server.host.as_str(), self.port), None, request).await.map(drop)
    }

    /// Fetches the authorities' certificates (RFC 7030 §4.1), and what the server proved itself with. As nobody: a device that
    /// shows who it is says by that that it holds them.
    ///
    /// # Errors
    /// What the server or the network says.
    pub async fn authorities(&self) -> Result<Listed, EstError> {
        let label = self.label.as_ref().map(|label| format!("/{label}")).unwrap_or_default();
        let request = Request::get(format!("/.well-known/est{label}/cacerts")).body(Full::default());
        let to = (self.server.host.as_str(), self.port);
        let answer = http::send(&self.server, to, None, request.map_err(HttpError::from)?).await?;
        let shown = answer.shown().to_vec();
        Ok(Listed { certificates: read(answer).await?, shown })
    }

    /// Sends a certificate request (PKCS#10 in DER) and gives the certificate (DER).
    ///
    /// # Errors
    /// What the server or the network says.
    pub async fn request(&self, device: &str, proof: Proof<'_>, csr: &[u8]) -> Result<Vec<u8>, EstError> {
        let (operation, credential) = match proof {
            Proof::Token(_) => ("simpleenroll", None),
            Proof::Certificate(credential) => ("simplereenroll", Some(credential)),
        };
        let label = self.label.as_ref().map(|label| format!("/{label}")).unwrap_or_default();
        let mut request = Request::post(format!("/.well-known/est{label}/{operation}"))
            .header("content-type", "application/pkcs10")
            .header("content-transfer-encoding", "base64");
        if let Proof::Token(token) = proof {
            request = request.header("authorization", basic(device, token));
        }
        let body = Full::new(Bytes::from(est::encode(csr, est::Layout::Lines)));
        let request = request.body(body).map_err(HttpError::from)?;
        let to = (self.server.host.as_str(), self.port);
        let answer = http::send(&self.server, to, credential, request).await?;
        let certificates = read(answer).await?;
        certificates.into_iter().next().ok_or_else(|| EstError::Answer(String::from("there is none in it")))
    }
}

/// HTTP Basic credentials of a device that has a token.
pub(crate) fn basic(device: &str, token: &Secret<String>) -> String {
    format!("Basic {}", STANDARD.encode(format!("{device}:{}", token.expose())))
}

async fn read(mut answer: Answer) -> Result<Vec<Vec<u8>>, EstError> {
    let after = answer.header("retry-after").and_then(|text| text.parse().ok()).map(Duration::from_secs);
    let status = answer.status();
    let body = answer.body(limits::EST_BODY_BYTES).await?;
    match status {
        200 | 201 => {
            let bad = |error: &dyn std::fmt::Display| EstError::Answer(error.to_string());
            let der = est::decode(&body).map_err(|error| bad(&error))?;
            cms::certificates(&der).map_err(|error| bad(&error))
        }
        202 | 429 | 500..=599 => Err(EstError::Later { after }),
        _ => {
            let reason = String::from_utf8_lossy(&body).chars().filter(|c| !c.is_control()).take(200).collect();
            Err(EstError::Refused { status, reason })
        }
    }
}
