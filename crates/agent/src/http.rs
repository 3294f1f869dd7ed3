//! One HTTP request on a connection of its own, over TLS to the server.
//!
//! Enrolment and downloads are rare, so nothing is pooled. Bodies are streamed; whoever reads one sets the limit.

use std::time::Duration;

use bytes::Bytes;
use fleetward_pki::Certificate;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::pki_types::CertificateDer;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::clock::parse_date;
use crate::identity::Credential;
use crate::tls::Server;

/// Longest wait for a connection, for an answer's head, and between two pieces of its body.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Why there is no answer. All of it is worth another attempt, later.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    #[error("no connection: {0}")]
    Connect(#[source] std::io::Error),
    #[error("no answer: {0}")]
    Exchange(#[from] hyper::Error),
    #[error("no answer in {} seconds", PATIENCE.as_secs())]
    Slow,
    #[error("the answer is longer than {0} bytes")]
    TooLong(usize),
    #[error("not an https address: {0}")]
    Address(String),
    #[error("the request cannot be built: {0}")]
    Request(#[from] hyper::http::Error),
}

/// An answer whose connection lives as long as it does.
#[derive(Debug)]
pub struct Answer {
    response: Response<Incoming>,
    shown: Vec<CertificateDer<'static>>,
    _connection: JoinSet<()>,
}

impl Answer {
    pub fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    /// The certificates with which the server proved itself, its own first.
    pub fn shown(&self) -> &[CertificateDer<'static>] {
        &self.shown
    }

    /// A header as text, where it is there and is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.response.headers().get(name)?.to_str().ok()
    }

    /// The next bytes of the body; none at its end.
    ///
    /// # Errors
    /// Where the connection breaks or stands still for [`PATIENCE`].
    pub async fn piece(&mut self) -> Result<Option<Bytes>, HttpError> {
        loop {
            let Some(frame) = timeout(PATIENCE, self.response.frame()).await.map_err(|_slow| HttpError::Slow)? else {
                return Ok(None);
            };
            if let Ok(data) = frame?.into_data() {
                return Ok(Some(data));
            }
        }
    }

    /// The whole body, of `limit` bytes at most.
    ///
    /// # Errors
    /// As [`Self::piece`], or where it is longer.
    pub async fn body(&mut self, limit: usize) -> Result<Vec<u8>, HttpError> {
        let mut body = Vec::new();
        while let Some(piece) = self.piece().await? {
            if body.len() + piece.len() > limit {
                return Err(HttpError::TooLong(limit));
            }
            body.extend_from_slice(&piece);
        }
        Ok(body)
    }
}

/// Sends a request to the server's `port`; its target must be a path. `host` is the server's unless an address said otherwise.
///
/// # Errors
/// Where no answer begins within [`PATIENCE`].
pub async fn send(
    server: &Server,
    (host, port): (&str, u16),
    credential: Option<&Credential>,
    mut request: Request<Full<Bytes>>,
) -> Result<Answer, HttpError> {
    let authority = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let value =
        hyper::header::HeaderValue::from_str(&authority).map_err(|error| HttpError::Address(error.to_string()))?;
    request.headers_mut().insert(hyper::header::HOST, value);
    let connect = server.connect(host, port, b"http/1.1", credential);
    let stream = timeout(PATIENCE, connect).await.map_err(|_slow| HttpError::Slow)?.map_err(HttpError::Connect)?;
    let shown = Server::shown(&stream);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "connection ended");
        }
    });
    let response = timeout(PATIENCE, sender.send_request(request)).await.map_err(|_slow| HttpError::Slow)??;
    let said = response.headers().get(hyper::header::DATE).and_then(|date| parse_date(date.to_str().ok()?));
    let proven = shown.first().and_then(|leaf| Certificate::parse(leaf).ok());
    if let (Some(said), Some(proven)) = (said, proven) {
        server.learn(said, &proven);
    }
    Ok(Answer { response, shown, _connection: tasks })
}

/// Host, port and path of an absolute https address.
///
/// # Errors
/// Where it is none.
pub fn split_address(url: &str) -> Result<(String, u16, String), HttpError> {
    let bad = || HttpError::Address(url.chars().take(200).collect());
    let uri: hyper::Uri = url.parse().map_err(|_bad| bad())?;
    if uri.scheme_str() != Some("https") {
        return Err(bad());
    }
    let host = uri.host().ok_or_else(bad)?.trim_start_matches('[').trim_end_matches(']').to_owned();
    let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    Ok((host, uri.port_u16().unwrap_or(443), path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        assert_eq!(
            split_address("https://h.example:8443/artifacts/ab?x=1").unwrap(),
            ("h.example".into(), 8443, "/artifacts/ab?x=1".into())
        );
        assert_eq!(split_address("https://[::1]:8443/a").unwrap().0, "::1");
        assert_eq!(split_address("https://h").unwrap(), ("h".into(), 443, "/".into()));
        for bad in ["", "http://h/a", "/a", "file:///etc/passwd", "https://"] {
            assert!(split_address(bad).is_err(), "{bad}");
        }
    }
}
