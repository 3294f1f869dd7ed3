//! Signed releases. A release never changes.

use fleetward_base::{DeviceId, ReleaseId, SignerId, Timestamp};

use crate::sql::{from_row, params};
use crate::{StoreError, TenantTx};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseRow {
    pub id: ReleaseId,
    pub name: String,
    pub version: String,
    pub signer: SignerId,
    pub key_id: String,
    /// The very bytes that were signed.
    pub manifest: Vec<u8>,
    pub signature: Vec<u8>,
    pub created_at: Timestamp,
    pub revision: u64,
}

from_row!(ReleaseRow {
    id: id,
    name: text,
    version: text,
    signer: id,
    key_id: text,
    manifest: bytes,
    signature: bytes,
    created_at: time,
    revision: count,
});

macro_rules! columns {
    () => {
        "id, name, version, signer, key_id, manifest, signature, created_at, revision"
    };
}

impl TenantTx {
    /// A release of this name and version there already is `Conflict`.
    pub async fn insert_release(&mut self, row: &ReleaseRow) -> Result<(), StoreError> {
        const SQL: &str = concat!(
            "INSERT INTO release (tenant_id, ",
            columns!(),
            ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
        );
        let params = params![
            self.scope.key(),
            row.id,
            &row.name,
            &row.version,
            row.signer,
            &row.key_id,
            &row.manifest,
            &row.signature,
            row.created_at,
            row.revision
        ];
        self.conn.execute(SQL, params).await.map(drop)
    }

    pub async fn release(&mut self, id: ReleaseId) -> Result<Option<ReleaseRow>, StoreError> {
        const SQL: &str = concat!("SELECT ", columns!(), " FROM release WHERE tenant_id = $1 AND id = $2");
        self.conn.query_opt(SQL, params![self.scope.key(), id]).await
    }

    pub async fn release_by_name(&mut self, name: &str, version: &str) -> Result<Option<ReleaseRow>, StoreError> {
        const SQL: &str =
            concat!("SELECT ", columns!(), " FROM release WHERE tenant_id = $1 AND name = $2 AND version = $3");
        self.conn.query_opt(SQL, params![self.scope.key(), name, version]).await
    }

    /// Those of this version, whatever their name; the newest first.
    pub async fn releases_of_version(&mut self, version: &str, limit: u32) -> Result<Vec<ReleaseRow>, StoreError> {
        const SQL: &str = concat!(
            "SELECT ",
            columns!(),
            " FROM release WHERE tenant_id = $1 AND version = $2 ORDER BY id DESC LIMIT $3"
        );
        self.conn.query(SQL, params![self.scope.key(), version, limit]).await
    }

    /// Those of one name, or all.
    pub async fn releases(
        &mut self,
        name: Option<&str>,
        after: Option<ReleaseId>,
        limit: u32,
    ) -> Result<Vec<ReleaseRow>, StoreError> {
        const SQL: &str = concat!(
            "SELECT ",
            columns!(),
            " FROM release WHERE tenant_id = $1 AND (CAST($2 AS TEXT) IS NULL OR name = $2) AND id > $3 \
             ORDER BY id LIMIT $4"
        );
        let after = after.map(|id| id.to_string()).unwrap_or_default();
        self.conn.query(SQL, params![self.scope.key(), name, after, limit]).await
    }

    /// Releases that the device has, or had, a deployment of; the newest first.
    pub async fn deployed_releases(&mut self, device: &DeviceId, limit: u32) -> Result<Vec<ReleaseRow>, StoreError> {
        const SQL: &str = concat!(
            "SELECT ",
            columns!(),
            " FROM release WHERE tenant_id = $1 AND id IN (SELECT r.release FROM deployment AS d \
             JOIN rollout AS r ON r.tenant_id = d.tenant_id AND r.id = d.rollout \
             WHERE d.tenant_id = $1 AND d.device = $2) ORDER BY id DESC LIMIT $3"
        );
        self.conn.query(SQL, params![self.scope.key(), device, limit]).await
    }
}
