//! The public API over HTTPS: one place for trust, credentials, retries and problems.
//!
//! What may be repeated is repeated when the connection fails: reads, writes that name a revision or a hash, and posts,
//! which carry one `Idempotency-Key` through all their tries. Nothing is ever sent without verifying the server.

use std::path::Path;
use std::time::Duration;

use fleetward_base::{RequestId, SystemClock, SystemRng};
use reqwest::{Method, Response, StatusCode, header};
use serde_json::Value;

use crate::failure::{Failure, Problem};
use crate::output::note;

/// Waits between the tries of one request.
const PAUSES: [Duration; 3] = [Duration::from_millis(200), Duration::from_secs(1), Duration::from_secs(3)];
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A resource and the tag that a change of it must name.
#[derive(Debug)]
pub(crate) struct Tagged {
    pub(crate) value: Value,
    pub(crate) etag: Option<String>,
}

#[derive(Debug)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
    token: Option<String>,
    timeout: Duration,
}

impl Client {
    pub(crate) fn new(
        base: &str,
        token: Option<String>,
        ca_file: Option<&Path>,
        timeout: Duration,
    ) -> Result<Self, Failure> {
        let base = base.trim_end_matches('/').to_owned();
        if !base.starts_with("https://") && !is_loopback(&base) {
            return Err(Failure::usage(format!("{base}: the address must begin with https://")));
        }
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("wardctl/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none());
        if let Some(path) = ca_file {
            let pem = std::fs::read(path)
                .map_err(|error| Failure::usage(format!("cannot read the CA file {}: {error}", path.display())))?;
            let roots = reqwest::Certificate::from_pem_bundle(&pem)
                .ok()
                .filter(|roots| !roots.is_empty())
                .ok_or_else(|| Failure::usage(format!("{} holds no PEM certificate", path.display())))?;
            builder = builder.tls_certs_only(roots);
        }
        let http = builder.build().map_err(|error| Failure::other(format!("cannot set up TLS: {error}")))?;
        Ok(Self { http, base, token, timeout })
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Tagged, Failure> {
        let response = self.send(self.request(Method::GET, path)).await?;
        tagged(response).await
    }

    /// Every row of a listing up to `limit`, page by page.
    pub(crate) async fn list(&self, path: &str, limit: usize) -> Result<Vec<Value>, Failure> {
        let joint = if path.contains('?') { '&' } else { '?' };
        let mut rows = Vec::new();
        let mut cursor: Option<String> = None;
        loop {
            let page_rows = limit.saturating_sub(rows.len()).clamp(1, 1000);
            let more = cursor.as_deref().map(|cursor| format!("&cursor={cursor}")).unwrap_or_default();
            let mut page = self.get(&format!("{path}{joint}limit={page_rows}{more}")).await?.value;
            if let Some(Value::Array(items)) = page.get_mut("items").map(Value::take) {
                rows.extend(items);
            }
            cursor = page.get("next").and_then(Value::as_str).map(str::to_owned);
            if cursor.is_none() || rows.len() >= limit {
                if cursor.is_some() || rows.len() > limit {
                    note(&format!("there are more than {limit}: see --limit"));
                }
                rows.truncate(limit);
                return Ok(rows);
            }
        }
    }

    /// Posts once, however often it has to be sent.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Tagged, Failure> {
        let key = RequestId::generate(&SystemClock::new(), &SystemRng).to_string();
        let request = self.request(Method::POST, path).header("idempotency-key", key).json(body);
        tagged(self.send(request).await?).await
    }

    /// As [`Self::post`], for what may take longer than a request does.
    pub(crate) async fn post_within(&self, path: &str, body: &Value, within: Duration) -> Result<Tagged, Failure> {
        let key = RequestId::generate(&SystemClock::new(), &SystemRng).to_string();
        let request = self.request(Method::POST, path).header("idempotency-key", key).json(body);
        tagged(self.send_within(request, within.max(self.timeout)).await?).await
    }

    /// Posts a step from the state with this tag; sent twice it is refused the second time.
    pub(crate) async fn post_at(&self, path: &str, etag: &str, body: &Value) -> Result<Tagged, Failure> {
        tagged(self.send(self.request(Method::POST, path).header(header::IF_MATCH, etag).json(body)).await?).await
    }

    pub(crate) async fn patch(&self, path: &str, etag: &str, body: &Value) -> Result<Tagged, Failure> {
        tagged(self.send(self.request(Method::PATCH, path).header(header::IF_MATCH, etag).json(body)).await?).await
    }

    pub(crate) async fn put(&self, path: &str, etag: &str, body: &Value) -> Result<Tagged, Failure> {
        tagged(self.send(self.request(Method::PUT, path).header(header::IF_MATCH, etag).json(body)).await?).await
    }

    pub(crate) async fn delete(&self, path: &str, etag: Option<&str>) -> Result<Tagged, Failure> {
        let mut request = self.request(Method::DELETE, path);
        if let Some(etag) = etag {
            request = request.header(header::IF_MATCH, etag);
        }
        tagged(self.send(request).await?).await
    }

    /// Whether the resource is there.
    pub(crate) async fn has(&self, path: &str) -> Result<bool, Failure> {
        match self.send(self.request(Method::HEAD, path)).await {
            Ok(_) => Ok(true),
            Err(failure) if failure.is_not_found() => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    /// Sends a stream; the caller repeats it, because only it can read its source again.
    pub(crate) async fn put_stream(&self, path: &str, size: u64, body: reqwest::Body) -> Result<Tagged, Failure> {
        let request = self
            .request(Method::PUT, path)
            .header(header::CONTENT_TYPE, "application/octet-stream")
            .header(header::CONTENT_LENGTH, size)
            .body(body);
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        tagged(accepted(response).await?).await
    }

    /// Posts a stream; what was taken until it broke off stays, and it can be sent again.
    pub(crate) async fn post_stream(
        &self,
        path: &str,
        kind: &str,
        size: u64,
        body: reqwest::Body,
    ) -> Result<Tagged, Failure> {
        let request = self
            .request(Method::POST, path)
            .header(header::CONTENT_TYPE, kind)
            .header(header::CONTENT_LENGTH, size)
            .body(body);
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        tagged(accepted(response).await?).await
    }

    /// An open event stream from after the given event.
    pub(crate) async fn stream(&self, path: &str, last_id: Option<&str>) -> Result<Response, Failure> {
        let mut request = self.request(Method::GET, path).header(header::ACCEPT, "text/event-stream");
        if let Some(id) = last_id {
            request = request.header("last-event-id", id);
        }
        let response = request.send().await.map_err(|error| self.unreachable(&error))?;
        accepted(response).await
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<Response, Failure> {
        self.send_within(request, self.timeout).await
    }

    async fn send_within(&self, request: reqwest::RequestBuilder, within: Duration) -> Result<Response, Failure> {
        let request = request.timeout(within);
        let mut pauses = PAUSES.iter();
        loop {
            let attempt = request.try_clone().expect("a body in memory can be sent again");
            let outcome = attempt.send().await;
            let worth_another = match &outcome {
                Ok(response) => response.status() == StatusCode::SERVICE_UNAVAILABLE,
                Err(error) => !error.is_builder() && !error.is_timeout() && !is_tls(error),
            };
            match (outcome, pauses.next().filter(|_| worth_another)) {
                (_, Some(after)) => pause(*after).await,
                (Ok(response), None) => return accepted(response).await,
                (Err(error), None) => return Err(self.unreachable(&error)),
            }
        }
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        if error.is_timeout() {
            return Failure::TimedOut(format!("{} did not answer in time", self.base));
        }
        let hint = if is_tls(error) {
            "the server's certificate is not trusted: give its CA with --ca-file or FLEETWARD_CA_FILE"
        } else {
            "check --url or FLEETWARD_URL, and that the server runs"
        };
        Failure::Unreachable { url: self.base.clone(), cause: innermost(error), hint }
    }
}

/// Plain HTTP is for a server on this very machine behind a proxy that ends TLS, and for tests.
fn is_loopback(base: &str) -> bool {
    ["http://127.0.0.1", "http://localhost", "http://[::1]"].iter().any(|stem| {
        base.strip_prefix(stem).is_some_and(|rest| rest.is_empty() || rest.starts_with(':') || rest.starts_with('/'))
    })
}

fn innermost(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

fn is_tls(error: &reqwest::Error) -> bool {
    let text = innermost(error);
    text.contains("certificate") || text.contains("UnknownIssuer")
}

/// Waits that long.
pub(crate) async fn pause(span: Duration) {
    // Nothing ever completes it: only the time-out ends it.
    tokio::time::timeout(span, std::future::pending::<()>()).await.unwrap_or_default();
}

async fn accepted(response: Response) -> Result<Response, Failure> {
    let status = response.status();
    if status.is_success() || status == StatusCode::NOT_MODIFIED {
        return Ok(response);
    }
    let document = response.json().await.unwrap_or(Value::Null);
    Err(Failure::Refused(Box::new(Problem { status: status.as_u16(), document })))
}

async fn tagged(response: Response) -> Result<Tagged, Failure> {
    let etag = response.headers().get(header::ETAG).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let bytes = response.bytes().await.map_err(|error| Failure::other(format!("the answer broke off: {error}")))?;
    let value = match bytes.is_empty() {
        true => Value::Null,
        false => {
            serde_json::from_slice(&bytes).map_err(|_| Failure::other("the answer is not JSON; is this the API?"))?
        }
    };
    Ok(Tagged { value, etag })
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// Reads one request to the end of its head and body, and gives it back.
    async fn request(listener: &TcpListener, answer: Option<&str>) -> String {
        let (mut socket, _) = listener.accept().await.expect("a connection");
        let mut text = String::new();
        while !text.ends_with("{}") {
            let mut chunk = [0; 4096];
            let read = socket.read(&mut chunk).await.expect("bytes");
            assert!(read > 0, "the request ended early: {text}");
            text.push_str(&String::from_utf8_lossy(&chunk[..read]));
        }
        if let Some(answer) = answer {
            socket.write_all(answer.as_bytes()).await.expect("sent");
            socket.shutdown().await.expect("closed");
        }
        text
    }

    #[tokio::test]
    async fn a_post_whose_answer_was_lost_is_sent_again_under_the_same_key() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        let client = Client::new(&base, Some("secret".into()), None, Duration::from_secs(10)).expect("a client");
        let body = serde_json::json!({});
        let server = async {
            let first = request(&listener, None).await;
            let head = "HTTP/1.1 201 Created\r\ncontent-type: application/json\r\ncontent-length: 8\r\n\r\n";
            (first, request(&listener, Some(&format!("{head}{{\"a\": 1}}"))).await)
        };
        let (answer, (first, second)) = tokio::join!(client.post("/v1/x", &body), server);
        assert_eq!(answer.expect("answered").value, serde_json::json!({ "a": 1 }));
        assert_eq!(first, second, "the same request, key and all");
        assert!(first.contains("idempotency-key: ") && first.contains("authorization: Bearer secret"), "{first}");
    }

    #[tokio::test]
    async fn a_server_that_is_not_there_is_told_with_what_to_do() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        drop(listener);
        let client = Client::new(&base, None, None, Duration::from_secs(10)).expect("a client");
        let failure = client.get("/v1/whoami").await.expect_err("nobody is there");
        assert_eq!(failure.code(), 1);
        assert!(failure.to_string().contains("check --url"), "{failure}");
    }

    #[test]
    fn plain_http_stays_on_this_machine() {
        let client = |base| Client::new(base, None, None, Duration::from_secs(1));
        assert!(client("http://127.0.0.1:1/").is_ok());
        assert!(client("http://127.0.0.1.example.com").is_err());
        assert!(client("http://example.com").is_err());
        assert!(client("https://example.com").is_ok());
    }
}
