//! Public keys that a tenant accepts releases from.

use fleetward_base::{SignerId, Timestamp};

use super::hit;
use crate::sql::{from_row, params};
use crate::{StoreError, TenantTx};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignerRow {
    pub id: SignerId,
    pub name: String,
    /// Derived from the key; one row for each key.
    pub key_id: String,
    pub public_key: Vec<u8>,
    pub created_at: Timestamp,
    pub revoked_at: Option<Timestamp>,
    pub revision: u64,
}

from_row!(SignerRow {
    id: id,
    name: text,
    key_id: text,
    public_key: bytes,
    created_at: time,
    revoked_at: opt_time,
    revision: count,
});

macro_rules! select {
    () => {
        "SELECT id, name, key_id, public_key, created_at, revoked_at, revision FROM signer WHERE tenant_id = $1 "
    };
}

impl TenantTx {
    /// A key that is known already is `Conflict`.
    pub async fn insert_signer(&mut self, row: &SignerRow) -> Result<(), StoreError> {
        const SQL: &str = "INSERT INTO signer (tenant_id, id, name, key_id, public_key, created_at, revoked_at, \
             revision) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
        let params = params![
            self.scope.key(),
            row.id,
            &row.name,
            &row.key_id,
            &row.public_key,
            row.created_at,
            row.revoked_at,
            row.revision
        ];
        self.conn.execute(SQL, params).await.map(drop)
    }

    pub async fn signer(&mut self, id: SignerId) -> Result<Option<SignerRow>, StoreError> {
        const SQL: &str = concat!(select!(), "AND id = $2");
        self.conn.query_opt(SQL, params![self.scope.key(), id]).await
    }

    pub async fn signer_by_key(&mut self, key_id: &str) -> Result<Option<SignerRow>, StoreError> {
        const SQL: &str = concat!(select!(), "AND key_id = $2");
        self.conn.query_opt(SQL, params![self.scope.key(), key_id]).await
    }

    pub async fn signers(&mut self, after: Option<SignerId>, limit: u32) -> Result<Vec<SignerRow>, StoreError> {
        const SQL: &str = concat!(select!(), "AND id > $2 ORDER BY id LIMIT $3");
        let after = after.map(|id| id.to_string()).unwrap_or_default();
        self.conn.query(SQL, params![self.scope.key(), after, limit]).await
    }

    /// `false` where its revision is not `expected` any more, or it was revoked before.
    pub async fn revoke_signer(&mut self, id: SignerId, expected: u64, at: Timestamp) -> Result<bool, StoreError> {
        const SQL: &str = "UPDATE signer SET revoked_at = $4, revision = revision + 1 \
             WHERE tenant_id = $1 AND id = $2 AND revision = $3 AND revoked_at IS NULL";
        self.conn.execute(SQL, params![self.scope.key(), id, expected, at]).await.map(hit)
    }
}
