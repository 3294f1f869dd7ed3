//! HTTP/1.1 over one kept-alive TLS connection, and a small pool of such.
//!
//! One request is under way per connection at a time, as with a plain client. Answers are read whole and have a limit.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use anyhow::Context as _;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;

use crate::net::{Door, tcp};

/// The largest answer that is read.
const ANSWER_BYTES: usize = 64 * 1024 * 1024;

/// An answer, read whole.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    /// The body when the status is a success; otherwise an error with the status and the beginning of the body.
    pub fn success(self) -> anyhow::Result<Self> {
        if self.status.is_success() {
            return Ok(self);
        }
        let text: String = String::from_utf8_lossy(&self.body).chars().take(600).collect();
        anyhow::bail!("{} {text}", self.status)
    }

    pub fn json(&self) -> anyhow::Result<serde_json::Value> {
        serde_json::from_slice(&self.body).context("the answer is not JSON")
    }
}

/// One connection; it closes when it is dropped.
#[derive(Debug)]
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
    authority: String,
    /// Drives the connection; aborted on drop.
    _driver: JoinSet<()>,
}

impl Connection {
    pub async fn open(door: &Door, tls: &Arc<ClientConfig>, source: Option<Ipv4Addr>) -> anyhow::Result<Self> {
        let stream = door.open(tls, source).await?;
        Self::over(stream, format!("{}:{}", door.name.to_str(), door.address.port())).await
    }

    /// Without TLS, for what is signed anyway.
    pub async fn plain(address: SocketAddr, source: Option<Ipv4Addr>) -> anyhow::Result<Self> {
        Self::over(tcp(address, source).await?, address.to_string()).await
    }

    async fn over<S>(stream: S, authority: String) -> anyhow::Result<Self>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            // A failure of the connection reaches the caller as the failure of its request.
            let _closed = connection.await;
        });
        Ok(Self { sender, authority, _driver: driver })
    }

    pub fn is_open(&self) -> bool {
        !self.sender.is_closed()
    }

    /// Sends one request and reads the whole answer. `path` begins with a slash.
    pub async fn send(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> anyhow::Result<Answer> {
        let mut request = Request::builder().method(method).uri(path).header(http::header::HOST, &self.authority);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body.into())).context("building the request")?;
        self.sender.ready().await?;
        let (parts, body) = self.sender.send_request(request).await?.into_parts();
        let body = Limited::new(body, ANSWER_BYTES).collect().await.map_err(|cause| anyhow::anyhow!(cause))?.to_bytes();
        Ok(Answer { status: parts.status, headers: parts.headers, body })
    }
}

/// Connections of one client that are taken and given back; there are as many as requests under way at once.
#[derive(Debug)]
pub struct Pool {
    door: Door,
    tls: Arc<ClientConfig>,
    idle: Mutex<Vec<Connection>>,
}

impl Pool {
    pub fn new(door: Door, tls: Arc<ClientConfig>) -> Self {
        Self { door, tls, idle: Mutex::new(Vec::new()) }
    }

    /// As [`Connection::send`], on an idle connection or a new one. A reading request whose idle connection turns out to
    /// be closed is sent again on a new one.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> anyhow::Result<Answer> {
        let body = body.into();
        if let Some(connection) = self.take() {
            match self.send_on(connection, method.clone(), path, headers, body.clone()).await {
                Err(_closed) if method.is_safe() => {}
                outcome => return outcome,
            }
        }
        let connection = Connection::open(&self.door, &self.tls, None).await?;
        self.send_on(connection, method, path, headers, body).await
    }

    async fn send_on(
        &self,
        mut connection: Connection,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> anyhow::Result<Answer> {
        let answer = connection.send(method, path, headers, body).await?;
        self.idle.lock().push(connection);
        Ok(answer)
    }

    fn take(&self) -> Option<Connection> {
        let mut idle = self.idle.lock();
        loop {
            let connection = idle.pop()?;
            if connection.is_open() {
                return Some(connection);
            }
        }
    }
}
