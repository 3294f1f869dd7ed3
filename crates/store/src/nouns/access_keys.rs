//! Keys with which requests are signed, known by their id; the secret is sealed, since the server computes with it.

use fleetward_base::{Timestamp, TokenId};

use super::{Of, hit};
use crate::sql::{from_row, params};
use crate::{StoreError, SystemTx, TenantTx};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessKeyRow {
    /// What stands in the request: `FWAK` and 16 letters and digits.
    pub id: String,
    /// What idempotency and rates are kept under.
    pub principal: TokenId,
    pub name: String,
    pub role: String,
    /// Sealed.
    pub secret: Vec<u8>,
    pub created_by: String,
    pub created_at: Timestamp,
    pub last_used_at: Option<Timestamp>,
    pub disabled_at: Option<Timestamp>,
}

from_row!(AccessKeyRow {
    id: text,
    principal: id,
    name: text,
    role: text,
    secret: bytes,
    created_by: text,
    created_at: time,
    last_used_at: opt_time,
    disabled_at: opt_time,
});

macro_rules! columns {
    () => {
        "id, principal, name, role, secret, created_by, created_at, last_used_at, disabled_at"
    };
}

impl TenantTx {
    /// An id there already, whoever has it, is `Conflict`.
    pub async fn insert_access_key(&mut self, row: &AccessKeyRow) -> Result<(), StoreError> {
        const SQL: &str = concat!(
            "INSERT INTO access_key (tenant_id, ",
            columns!(),
            ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
        );
        let params = params![
            self.scope.key(),
            &row.id,
            row.principal,
            &row.name,
            &row.role,
            &row.secret,
            &row.created_by,
            row.created_at,
            row.last_used_at,
            row.disabled_at
        ];
        self.conn.execute(SQL, params).await.map(drop)
    }

    pub async fn access_key(&mut self, id: &str) -> Result<Option<AccessKeyRow>, StoreError> {
        const SQL: &str = concat!("SELECT ", columns!(), " FROM access_key WHERE tenant_id = $1 AND id = $2");
        self.conn.query_opt(SQL, params![self.scope.key(), id]).await
    }

    pub async fn access_keys(&mut self, after: Option<&str>, limit: u32) -> Result<Vec<AccessKeyRow>, StoreError> {
        const SQL: &str =
            concat!("SELECT ", columns!(), " FROM access_key WHERE tenant_id = $1 AND id > $2 ORDER BY id LIMIT $3");
        self.conn.query(SQL, params![self.scope.key(), after.unwrap_or_default(), limit]).await
    }

    pub async fn count_access_keys(&mut self) -> Result<u64, StoreError> {
        const SQL: &str = "SELECT count(*) FROM access_key WHERE tenant_id = $1";
        self.conn.query_one(SQL, params![self.scope.key()]).await
    }

    /// `false` where there is no such key, or it was disabled before.
    pub async fn disable_access_key(&mut self, id: &str, at: Timestamp) -> Result<bool, StoreError> {
        const SQL: &str =
            "UPDATE access_key SET disabled_at = $3 WHERE tenant_id = $1 AND id = $2 AND disabled_at IS NULL";
        self.conn.execute(SQL, params![self.scope.key(), id, at]).await.map(hit)
    }

    /// Notes that the key was used. The time only moves on.
    pub async fn touch_access_key(&mut self, id: &str, at: Timestamp) -> Result<bool, StoreError> {
        const SQL: &str = "UPDATE access_key SET last_used_at = $3 \
             WHERE tenant_id = $1 AND id = $2 AND (last_used_at IS NULL OR last_used_at < $3)";
        self.conn.execute(SQL, params![self.scope.key(), id, at]).await.map(hit)
    }

    /// The same secret under another seal, where it still lies under `before`.
    pub async fn reseal_access_key(&mut self, id: &str, before: &[u8], after: &[u8]) -> Result<bool, StoreError> {
        const SQL: &str = "UPDATE access_key SET secret = $4 WHERE tenant_id = $1 AND id = $2 AND secret = $3";
        self.conn.execute(SQL, params![self.scope.key(), id, before, after]).await.map(hit)
    }

    pub async fn remove_access_key(&mut self, id: &str) -> Result<bool, StoreError> {
        const SQL: &str = "DELETE FROM access_key WHERE tenant_id = $1 AND id = $2";
        self.conn.execute(SQL, params![self.scope.key(), id]).await.map(hit)
    }
}

impl SystemTx {
    /// Whose key has this id; a disabled one too.
    pub async fn access_key_by_id(&mut self, id: &str) -> Result<Option<Of<AccessKeyRow>>, StoreError> {
        const SQL: &str = concat!("SELECT tenant_id, ", columns!(), " FROM access_key WHERE id = $1");
        self.across().await?.query_opt(SQL, params![id]).await
    }
}
