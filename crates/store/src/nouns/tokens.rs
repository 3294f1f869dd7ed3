//! API tokens of people and scripts, known by the hash of their secret.

use fleetward_base::{Timestamp, TokenId};

use super::{Of, hit};
use crate::sql::{from_row, params};
use crate::{StoreError, SystemTx, TenantTx};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiTokenRow {
    pub id: TokenId,
    pub name: String,
    pub role: String,
    /// SHA-256 of the secret.
    pub hash: Vec<u8>,
    pub created_by: String,
    pub created_at: Timestamp,
    pub expires_at: Option<Timestamp>,
    pub last_used_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
}

from_row!(ApiTokenRow {
    id: id,
    name: text,
    role: text,
    hash: bytes,
    created_by: text,
    created_at: time,
    expires_at: opt_time,
    last_used_at: opt_time,
    revoked_at: opt_time,
});

macro_rules! columns {
    () => {
        "id, name, role, hash, created_by, created_at, expires_at, last_used_at, revoked_at"
    };
}

impl TenantTx {
    pub async fn insert_api_token(&mut self, row: &ApiTokenRow) -> Result<(), StoreError> {
        const SQL: &str = concat!(
            "INSERT INTO api_token (tenant_id, ",
            columns!(),
            ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
        );
        let params = params![
            self.scope.key(),
            row.id,
            &row.name,
            &row.role,
            &row.hash,
            &row.created_by,
            row.created_at,
            row.expires_at,
            row.last_used_at,
            row.revoked_at
        ];
        self.conn.execute(SQL, params).await.map(drop)
    }

    pub async fn api_token(&mut self, id: TokenId) -> Result<Option<ApiTokenRow>, StoreError> {
        const SQL: &str = concat!("SELECT ", columns!(), " FROM api_token WHERE tenant_id = $1 AND id = $2");
        self.conn.query_opt(SQL, params![self.scope.key(), id]).await
    }

    pub async fn api_tokens(&mut self, after: Option<TokenId>, limit: u32) -> Result<Vec<ApiTokenRow>, StoreError> {
        const SQL: &str =
            concat!("SELECT ", columns!(), " FROM api_token WHERE tenant_id = $1 AND id > $2 ORDER BY id LIMIT $3");
        let after = after.map(|id| id.to_string()).unwrap_or_default();
        self.conn.query(SQL, params![self.scope.key(), after, limit]).await
    }

    /// `false` where there is no such token, or it was revoked before.
    pub async fn revoke_api_token(&mut self, id: TokenId, at: Timestamp) -> Result<bool, StoreError> {
        const SQL: &str = "UPDATE api_token SET revoked_at = $3 \
             WHERE tenant_id = $1 AND id = $2 AND revoked_at IS NULL";
        self.conn.execute(SQL, params![self.scope.key(), id, at]).await.map(hit)
    }

    /// Notes that the token was used. The time only moves on.
    pub async fn touch_api_token(&mut self, id: TokenId, at: Timestamp) -> Result<bool, StoreError> {
        const SQL: &str = "UPDATE api_token SET last_used_at = $3 \
             WHERE tenant_id = $1 AND id = $2 AND (last_used_at IS NULL OR last_used_at < $3)";
        self.conn.execute(SQL, params![self.scope.key(), id, at]).await.map(hit)
    }
}

impl SystemTx {
    /// Whose token has this hash; revoked and expired ones too.
    pub async fn api_token_by_hash(&mut self, hash: &[u8]) -> Result<Option<Of<ApiTokenRow>>, StoreError> {
        const SQL: &str = concat!("SELECT tenant_id, ", columns!(), " FROM api_token WHERE hash = $1");
        self.across().await?.query_opt(SQL, params![hash]).await
    }
}
