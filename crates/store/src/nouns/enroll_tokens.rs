//! One-time tokens with which a device enrols.

use fleetward_base::{DeviceId, Timestamp, TokenId};

use super::{Of, hit};
use crate::sql::{Sql, for_update, from_row, params};
use crate::{StoreError, SystemTx, TenantTx};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnrollTokenRow {
    pub id: TokenId,
    /// What it is presented in: `enroll`, or `scep`.
    pub kind: String,
    pub device: DeviceId,
    /// SHA-256 of the secret.
    pub hash: Vec<u8>,
    /// How often it was tried.
    pub attempts: u64,
    pub created_by: String,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    pub used_at: Option<Timestamp>,
    /// SHA-256 over what the request was about, so that the same request may come again. Before the first use: the only
    /// request that it is good for.
    pub used_csr: Option<Vec<u8>>,
    pub revoked_at: Option<Timestamp>,
}

from_row!(EnrollTokenRow {
    id: id,
    kind: text,
    device: id,
    hash: bytes,
    attempts: count,
    created_by: text,
    created_at: time,
    expires_at: time,
    used_at: opt_time,
    used_csr: opt_bytes,
    revoked_at: opt_time,
});

macro_rules! columns {
    () => {
        "id, kind, device, hash, attempts, created_by, created_at, expires_at, used_at, used_csr, revoked_at"
    };
}

impl TenantTx {
    pub async fn insert_enroll_token(&mut self, row: &EnrollTokenRow) -> Result<(), StoreError> {
        const SQL: &str = concat!(
            "INSERT INTO enroll_token (tenant_id, ",
            columns!(),
            ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)"
        );
        let params = params![
            self.scope.key(),
            row.id,
            &row.kind,
            &row.device,
            &row.hash,
            row.attempts,
            &row.created_by,
            row.created_at,
            row.expires_at,
            row.used_at,
            &row.used_csr,
            row.revoked_at
        ];
        self.conn.execute(SQL, params).await.map(drop)
    }

    pub async fn enroll_token(&mut self, id: TokenId) -> Result<Option<EnrollTokenRow>, StoreError> {
        const SQL: &str = concat!("SELECT ", columns!(), " FROM enroll_token WHERE tenant_id = $1 AND id = $2");
        self.conn.query_opt(SQL, params![self.scope.key(), id]).await
    }

    /// As [`enroll_token`](Self::enroll_token), and nobody else changes it until the unit ends.
    pub async fn enroll_token_for_update(&mut self, id: TokenId) -> Result<Option<EnrollTokenRow>, StoreError> {
        const SQL: Sql = for_update!("SELECT ", columns!(), " FROM enroll_token WHERE tenant_id = $1 AND id = $2");
        self.conn.query_opt(SQL, params![self.scope.key(), id]).await
    }

    /// Those of a kind, of one device or of all.
    pub async fn enroll_tokens(
        &mut self,
        kind: &str,
        device: Option<&DeviceId>,
        after: Option<TokenId>,
        limit: u32,
    ) -> Result<Vec<EnrollTokenRow>, StoreError> {
        const SQL: &str = concat!(
            "SELECT ",
            columns!(),
            " FROM enroll_token WHERE tenant_id = $1 AND kind = $2 AND (CAST($3 AS TEXT) IS NULL OR device = $3) \
             AND id > $4 ORDER BY id LIMIT $5"
        );
        let after = after.map(|id| id.to_string()).unwrap_or_default();
        self.conn.query(SQL, params![self.scope.key(), kind, device, after, limit]).await
    }

    /// Counts one more attempt; how many it makes, or none where there is no such token.
    pub async fn count_enroll_attempt(&mut self, id: TokenId) -> Result<Option<u64>, StoreError> {
        const SQL: &str = "UPDATE enroll_token SET attempts = attempts + 1 \
             WHERE tenant_id = $1 AND id = $2 RETURNING attempts";
        self.conn.query_opt(SQL, params![self.scope.key(), id]).await
    }

    /// `false` where it was used or revoked before.
    pub async fn use_enroll_token(&mut self, id: TokenId, csr: &[u8], at: Timestamp) -> Result<bool, StoreError> {
        const SQL: &str = "UPDATE enroll_token SET used_at = $3, used_csr = $4 \
             WHERE tenant_id = $1 AND id = $2 AND used_at IS NULL AND revoked_at IS NULL";
        self.conn.execute(SQL, params![self.scope.key(), id, at, csr]).await.map(hit)
    }

    /// `false` where there is no such token, or it was used or revoked before.
    pub async fn revoke_enroll_token(&mut self, id: TokenId, at: Timestamp) -> Result<bool, StoreError> {
        const SQL: &str = "UPDATE enroll_token SET revoked_at = $3 \
             WHERE tenant_id = $1 AND id = $2 AND used_at IS NULL AND revoked_at IS NULL";
        self.conn.execute(SQL, params![self.scope.key(), id, at]).await.map(hit)
    }

    /// Revokes all unused ones of a device; how many there were.
    pub async fn revoke_enroll_tokens(&mut self, device: &DeviceId, at: Timestamp) -> Result<u64, StoreError> {
        const SQL: &str = "UPDATE enroll_token SET revoked_at = $3 \
             WHERE tenant_id = $1 AND device = $2 AND used_at IS NULL AND revoked_at IS NULL";
        self.conn.execute(SQL, params![self.scope.key(), device, at]).await
    }

    /// Forgets those that expired before `before`, used or not; how many.
    pub async fn forget_enroll_tokens(&mut self, before: Timestamp) -> Result<u64, StoreError> {
        const SQL: &str = "DELETE FROM enroll_token WHERE tenant_id = $1 AND expires_at < $2";
        self.conn.execute(SQL, params![self.scope.key(), before]).await
    }
}

impl SystemTx {
    /// Whose token has this hash; used, revoked and expired ones too.
    pub async fn enroll_token_by_hash(&mut self, hash: &[u8]) -> Result<Option<Of<EnrollTokenRow>>, StoreError> {
        const SQL: &str = concat!("SELECT tenant_id, ", columns!(), " FROM enroll_token WHERE hash = $1");
        self.across().await?.query_opt(SQL, params![hash]).await
    }
}
