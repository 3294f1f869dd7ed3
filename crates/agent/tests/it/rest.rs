//! What the tests ask of the operators' door.

use bytes::Bytes;
use fleetward_agent::http::{self, HttpError};
use fleetward_agent::tls::{Anchors, Server};
use http_body_util::Full;
use hyper::{Method, Request};
use serde_json::{Value, json};

/// A client of one server, with a token.
pub(crate) struct Rest {
    server: Server,
    port: u16,
    pub(crate) token: String,
}

impl Rest {
    pub(crate) fn new(ca: &[u8], port: u16) -> Self {
        let server = Server { host: "localhost".into(), anchors: Anchors::from_pem(ca).expect("the server's CA") };
        Self { server, port, token: String::new() }
    }

    async fn call(&self, method: Method, path: &str, media: &str, body: Vec<u8>) -> Result<(u16, Vec<u8>), HttpError> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("authorization", format!("Bearer {}", self.token))
            .header("content-type", media)
            .body(Full::new(Bytes::from(body)))?;
        let mut answer = http::send(&self.server, ("localhost", self.port), None, request).await?;
        Ok((answer.status(), answer.body(16 * 1024 * 1024).await?))
    }

    async fn json(&self, method: Method, path: &str, body: Vec<u8>) -> Value {
        let (status, body) = self.call(method, path, "application/json", body).await.expect("an answer");
        let text = String::from_utf8_lossy(&body);
        assert!((200..300).contains(&status), "{path}: {status} {text}");
        if body.is_empty() { Value::Null } else { serde_json::from_slice(&body).expect("JSON") }
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        self.json(Method::GET, path, Vec::new()).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Value {
        self.json(Method::POST, path, body.to_string().into_bytes()).await
    }

    pub(crate) async fn delete(&self, path: &str) {
        self.json(Method::DELETE, path, Vec::new()).await;
    }

    pub(crate) async fn put_bytes(&self, path: &str, body: Vec<u8>) {
        let media = "application/octet-stream";
        let (status, answer) = self.call(Method::PUT, path, media, body).await.expect("an answer");
        assert!((200..300).contains(&status), "{path}: {status} {}", String::from_utf8_lossy(&answer));
    }

    /// Becomes the administrator of a fresh installation.
    pub(crate) async fn claim(&mut self, setup_token: &str) {
        let answer = self.post("/v1/setup", &json!({ "setup_token": setup_token })).await;
        self.token = answer.get("token").and_then(Value::as_str).expect("a token").to_owned();
    }
}
