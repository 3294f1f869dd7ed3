//! The texts that versions of topic policies were translated from.

use fleetward_base::Timestamp;

use crate::sql::{from_row, params};
use crate::{StoreError, TenantTx};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicySourceRow {
    pub policy: String,
    pub version: u64,
    /// As it came.
    pub source: String,
    pub created_at: Timestamp,
}

from_row!(PolicySourceRow { policy: text, version: count, source: text, created_at: time });

impl TenantTx {
    /// In place of what was there for the same version of a policy of the name.
    pub async fn put_policy_source(&mut self, row: &PolicySourceRow) -> Result<(), StoreError> {
        const SQL: &str = "INSERT INTO policy_source (tenant_id, policy, version, source, created_at) \
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT (tenant_id, policy, version) \
             DO UPDATE SET source = excluded.source, created_at = excluded.created_at";
        let params = params![self.scope.key(), &row.policy, row.version, &row.source, row.created_at];
        self.conn.execute(SQL, params).await.map(drop)
    }

    pub async fn policy_source(&mut self, policy: &str, version: u64) -> Result<Option<PolicySourceRow>, StoreError> {
        const SQL: &str = "SELECT policy, version, source, created_at FROM policy_source \
             WHERE tenant_id = $1 AND policy = $2 AND version = $3";
        self.conn.query_opt(SQL, params![self.scope.key(), policy, version]).await
    }

    /// Of all versions; how many.
    pub async fn remove_policy_sources(&mut self, policy: &str) -> Result<u64, StoreError> {
        const SQL: &str = "DELETE FROM policy_source WHERE tenant_id = $1 AND policy = $2";
        self.conn.execute(SQL, params![self.scope.key(), policy]).await
    }
}
