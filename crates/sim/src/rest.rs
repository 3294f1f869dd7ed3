//! The operators' API as the story and the benchmarks use it. Every call is a public route.

use std::sync::Arc;

use anyhow::Context as _;
use bytes::Bytes;
use fleetward_base::{DeviceId, TenantId};
use http::Method;
use rustls::ClientConfig;
use serde_json::{Value, json};

use crate::http::{Answer, Pool};
use crate::json::text;
use crate::net::Door;

/// A client with one bearer token; requests may run beside each other.
#[derive(Debug)]
pub struct Rest {
    pool: Pool,
    authorization: String,
}

impl Rest {
    pub fn new(door: Door, tls: Arc<ClientConfig>, token: &str) -> Self {
        Self { pool: Pool::new(door, tls), authorization: format!("Bearer {token}") }
    }

    /// Any request; `headers` come after the token's.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> anyhow::Result<Answer> {
        let mut all = vec![("authorization", self.authorization.as_str())];
        all.extend_from_slice(headers);
        self.pool.send(method, path, &all, body).await
    }

    pub async fn read(&self, path: &str) -> anyhow::Result<Value> {
        let answer = self.send(Method::GET, path, &[], Vec::new()).await?;
        answer.success().with_context(|| format!("GET {path}"))?.json()
    }

    pub async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let headers = [("content-type", "application/json")];
        let answer = self.send(Method::POST, path, &headers, body.to_string()).await?;
        let answer = answer.success().with_context(|| format!("POST {path}"))?;
        if answer.body.is_empty() { Ok(Value::Null) } else { answer.json() }
    }

    pub async fn setup(&self, setup_token: &str) -> anyhow::Result<String> {
        text(&self.post("/v1/setup", &json!({ "setup_token": setup_token })).await?, "token")
    }

    pub async fn create_tenant(&self, tenant: &TenantId, display_name: &str) -> anyhow::Result<()> {
        self.post("/v1/tenants", &json!({ "name": tenant.as_str(), "display_name": display_name })).await?;
        Ok(())
    }

    /// A one-time token for a device, which is registered with it.
    pub async fn enroll_token(&self, tenant: &TenantId, device: &DeviceId, hardware: &str) -> anyhow::Result<String> {
        let body = json!({ "device": device.as_str(), "hardware": hardware });
        text(&self.post(&format!("/v1/tenants/{tenant}/enroll-tokens"), &body).await?, "token")
    }

    pub async fn device(&self, tenant: &TenantId, device: &DeviceId) -> anyhow::Result<Value> {
        self.read(&format!("/v1/tenants/{tenant}/devices/{device}")).await
    }

    pub async fn revoke(&self, tenant: &TenantId, device: &DeviceId) -> anyhow::Result<()> {
        self.post(&format!("/v1/tenants/{tenant}/devices/{device}/revoke"), &json!({})).await?;
        Ok(())
    }
}
