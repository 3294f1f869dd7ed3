//! What is refused whatever else speaks for it.

use fleetward_base::Timestamp;

use super::{Of, hit};
use crate::sql::{from_row, params};
use crate::{StoreError, SystemTx, TenantTx};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DenyRow {
    /// `serial`, `key` or `hardware`.
    pub kind: String,
    pub value: String,
    pub reason: String,
    pub created_by: String,
    pub created_at: Timestamp,
}

from_row!(DenyRow { kind: text, value: text, reason: text, created_by: text, created_at: time });

impl TenantTx {
    /// `false` where it stands there already.
    pub async fn deny(&mut self, row: &DenyRow) -> Result<bool, StoreError> {
        const SQL: &str = "INSERT INTO deny_list (tenant_id, kind, value, reason, created_by, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (tenant_id, kind, value) DO NOTHING";
        let params = params![self.scope.key(), &row.kind, &row.value, &row.reason, &row.created_by, row.created_at];
        self.conn.execute(SQL, params).await.map(hit)
    }

    /// `false` where it does not stand there.
    pub async fn undeny(&mut self, kind: &str, value: &str) -> Result<bool, StoreError> {
        const SQL: &str = "DELETE FROM deny_list WHERE tenant_id = $1 AND kind = $2 AND value = $3";
        self.conn.execute(SQL, params![self.scope.key(), kind, value]).await.map(hit)
    }

    pub async fn denial(&mut self, kind: &str, value: &str) -> Result<Option<DenyRow>, StoreError> {
        const SQL: &str = "SELECT kind, value, reason, created_by, created_at FROM deny_list \
             WHERE tenant_id = $1 AND kind = $2 AND value = $3";
        self.conn.query_opt(SQL, params![self.scope.key(), kind, value]).await
    }

    /// In the order of kind and value.
    pub async fn deny_list(&mut self, after: Option<(&str, &str)>, limit: u32) -> Result<Vec<DenyRow>, StoreError> {
        const SQL: &str = "SELECT kind, value, reason, created_by, created_at FROM deny_list \
             WHERE tenant_id = $1 AND (kind, value) > ($2, $3) ORDER BY kind, value LIMIT $4";
        let (kind, value) = after.unwrap_or(("", ""));
        self.conn.query(SQL, params![self.scope.key(), kind, value, limit]).await
    }

    pub async fn count_denied(&mut self) -> Result<u64, StoreError> {
        const SQL: &str = "SELECT count(*) FROM deny_list WHERE tenant_id = $1";
        self.conn.query_one(SQL, params![self.scope.key()]).await
    }
}

impl SystemTx {
    /// Of all tenants, for the doors' memory.
    pub async fn all_denied(&mut self) -> Result<Vec<Of<DenyRow>>, StoreError> {
        const SQL: &str = "SELECT tenant_id, kind, value, reason, created_by, created_at FROM deny_list \
             ORDER BY tenant_id, kind, value";
        self.across().await?.query(SQL, params![]).await
    }
}
