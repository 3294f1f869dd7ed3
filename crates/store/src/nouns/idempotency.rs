//! Answers kept under their `Idempotency-Key`, sealed by the vault.

use fleetward_base::Timestamp;

use super::hit;
use crate::sql::{from_row, params};
use crate::{StoreError, TenantTx};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyRow {
    /// Who asked; the same key of another is another.
    pub principal: String,
    pub key: String,
    /// SHA-256 of the request: the same key with another request is refused.
    pub request_hash: Vec<u8>,
    pub response: Vec<u8>,
    pub created_at: Timestamp,
}

from_row!(IdempotencyRow { principal: text, key: text, request_hash: bytes, response: bytes, created_at: time });

impl TenantTx {
    pub async fn idempotent_answer(
        &mut self,
        principal: &str,
        key: &str,
    ) -> Result<Option<IdempotencyRow>, StoreError> {
        const SQL: &str = "SELECT principal, key, request_hash, response, created_at FROM idempotency \
             WHERE tenant_id = $1 AND principal = $2 AND key = $3";
        self.conn.query_opt(SQL, params![self.scope.key(), principal, key]).await
    }

    /// `false` where the key is taken.
    pub async fn put_idempotent_answer(&mut self, row: &IdempotencyRow) -> Result<bool, StoreError> {
        const SQL: &str = "INSERT INTO idempotency (tenant_id, principal, key, request_hash, response, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (tenant_id, principal, key) DO NOTHING";
        let params =
            params![self.scope.key(), &row.principal, &row.key, &row.request_hash, &row.response, row.created_at];
        self.conn.execute(SQL, params).await.map(hit)
    }

    /// Forgets the answers from before `before`; how many.
    pub async fn expire_idempotent_answers(&mut self, before: Timestamp) -> Result<u64, StoreError> {
        const SQL: &str = "DELETE FROM idempotency WHERE tenant_id = $1 AND created_at < $2";
        self.conn.execute(SQL, params![self.scope.key(), before]).await
    }
}
