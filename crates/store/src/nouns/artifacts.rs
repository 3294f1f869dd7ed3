//! Which artifacts a tenant has uploaded. The bytes are in the object store.

use fleetward_base::Timestamp;

use super::hit;
use crate::sql::{from_row, params};
use crate::{StoreError, TenantTx};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArtifactRow {
    /// Hex.
    pub sha256: String,
    pub size: u64,
    pub created_at: Timestamp,
}

from_row!(ArtifactRow { sha256: text, size: count, created_at: time });

impl TenantTx {
    /// `false` where it is known already.
    pub async fn put_artifact(&mut self, row: &ArtifactRow) -> Result<bool, StoreError> {
        const SQL: &str = "INSERT INTO artifact (tenant_id, sha256, size, created_at) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (tenant_id, sha256) DO NOTHING";
        self.conn.execute(SQL, params![self.scope.key(), &row.sha256, row.size, row.created_at]).await.map(hit)
    }

    pub async fn artifact(&mut self, sha256: &str) -> Result<Option<ArtifactRow>, StoreError> {
        const SQL: &str = "SELECT sha256, size, created_at FROM artifact WHERE tenant_id = $1 AND sha256 = $2";
        self.conn.query_opt(SQL, params![self.scope.key(), sha256]).await
    }

    pub async fn artifacts(&mut self, after: Option<&str>, limit: u32) -> Result<Vec<ArtifactRow>, StoreError> {
        const SQL: &str = "SELECT sha256, size, created_at FROM artifact WHERE tenant_id = $1 AND sha256 > $2 \
             ORDER BY sha256 LIMIT $3";
        self.conn.query(SQL, params![self.scope.key(), after.unwrap_or(""), limit]).await
    }
}
