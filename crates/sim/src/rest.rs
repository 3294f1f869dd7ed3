//! The operators' API as the story and the benchmarks use it. Every call is a public route.

use std::sync::Arc;

use anyhow::Context as _;
use bytes::Bytes;
use fleetward_base::{DeviceId, TenantId};
use http::Method;
use rustls::ClientConfig;
use serde_json::{Value, json};

use crate::http::{Answer, Pool};
use crate::json::{self, text};
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

    /// Every row of a listing, page by page. `path` may have a query.
    pub async fn list(&self, path: &str) -> anyhow::Result<Vec<Value>> {
        let joint = if path.contains('?') { '&' } else { '?' };
        let mut next = format!("{path}{joint}limit=1000");
        let mut rows = Vec::new();
        loop {
            let page = self.read(&next).await?;
            rows.extend(json::at(&page, "/items").as_array().into_iter().flatten().cloned());
            match json::at(&page, "/next").as_str() {
                Some(cursor) => next = format!("{path}{joint}limit=1000&cursor={cursor}"),
                None => return Ok(rows),
            }
        }
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

    /// Allows releases of this key: PEM.
    pub async fn create_signer(&self, tenant: &TenantId, name: &str, public_key: &str) -> anyhow::Result<()> {
        let body = json!({ "name": name, "public_key": public_key });
        self.post(&format!("/v1/tenants/{tenant}/signers"), &body).await?;
        Ok(())
    }

    pub async fn upload(&self, tenant: &TenantId, sha256: &str, content: Bytes) -> anyhow::Result<()> {
        let path = format!("/v1/tenants/{tenant}/artifacts/{sha256}");
        let headers = [("content-type", "application/octet-stream")];
        self.send(Method::PUT, &path, &headers, content).await?.success().context("uploading an artifact")?;
        Ok(())
    }

    /// The rollout's id.
    pub async fn create_rollout(&self, tenant: &TenantId, body: &Value) -> anyhow::Result<String> {
        text(&self.post(&format!("/v1/tenants/{tenant}/rollouts"), body).await?, "id")
    }

    pub async fn rollout(&self, tenant: &TenantId, id: &str) -> anyhow::Result<Value> {
        self.read(&format!("/v1/tenants/{tenant}/rollouts/{id}")).await
    }

    pub async fn devices(&self, tenant: &TenantId) -> anyhow::Result<Vec<Value>> {
        self.list(&format!("/v1/tenants/{tenant}/devices")).await
    }

    pub async fn device(&self, tenant: &TenantId, device: &DeviceId) -> anyhow::Result<Value> {
        self.read(&format!("/v1/tenants/{tenant}/devices/{device}")).await
    }

    pub async fn revoke(&self, tenant: &TenantId, device: &DeviceId) -> anyhow::Result<()> {
        self.post(&format!("/v1/tenants/{tenant}/devices/{device}/revoke"), &json!({})).await?;
        Ok(())
    }
}
