//! Shadows: the stored documents. What an update makes of them is decided in `core::shadow`.

use fleetward_base::{DeviceId, Timestamp};

use super::hit;
use crate::sql::{Cells, FromRow, Sql, for_update, from_row, params};
use crate::{StoreError, TenantTx};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShadowRow {
    pub device: DeviceId,
    /// Empty: the classic shadow.
    pub name: String,
    pub version: u64,
    /// JSON: the state.
    pub document: String,
    /// JSON: when each leaf was set.
    pub metadata: String,
    /// A deleted shadow stays, since its version must not start again.
    pub deleted_at: Option<Timestamp>,
    pub updated_at: Timestamp,
}

from_row!(ShadowRow {
    device: id,
    name: text,
    version: count,
    document: text,
    metadata: text,
    deleted_at: opt_time,
    updated_at: time,
});

macro_rules! select {
    () => {
        "SELECT device, name, version, document, metadata, deleted_at, updated_at FROM shadow \
         WHERE tenant_id = $1 AND device = $2 AND name = $3"
    };
}

struct Name(String);

impl FromRow for Name {
    fn from_row(cells: &mut Cells) -> Result<Self, StoreError> {
        cells.text().map(Self)
    }
}

impl TenantTx {
    /// The shadow, deleted or not.
    pub async fn shadow(&mut self, device: &DeviceId, name: &str) -> Result<Option<ShadowRow>, StoreError> {
        const SQL: &str = select!();
        self.conn.query_opt(SQL, params![self.scope.key(), device, name]).await
    }

    /// As [`shadow`](Self::shadow), and nobody else changes it until the unit ends.
    pub async fn shadow_for_update(&mut self, device: &DeviceId, name: &str) -> Result<Option<ShadowRow>, StoreError> {
        const SQL: Sql = for_update!(select!());
        self.conn.query_opt(SQL, params![self.scope.key(), device, name]).await
    }

    /// Writes the shadow: a new one where `expected` is none, else in place of that version. `false`: somebody was
    /// faster.
    pub async fn put_shadow(&mut self, row: &ShadowRow, expected: Option<u64>) -> Result<bool, StoreError> {
        const INSERT: &str = "INSERT INTO shadow \
             (tenant_id, device, name, version, document, metadata, deleted_at, updated_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (tenant_id, device, name) DO NOTHING";
        const UPDATE: &str = "UPDATE shadow SET version = $4, document = $5, metadata = $6, deleted_at = $7, \
             updated_at = $8 WHERE tenant_id = $1 AND device = $2 AND name = $3 AND version = $9";
        let key = self.scope.key();
        let changed = match expected {
            None => {
                let params = params![
                    key,
                    &row.device,
                    &row.name,
                    row.version,
                    &row.document,
                    &row.metadata,
                    row.deleted_at,
                    row.updated_at
                ];
                self.conn.execute(INSERT, params).await?
            }
            Some(expected) => {
                let params = params![
                    key,
                    &row.device,
                    &row.name,
                    row.version,
                    &row.document,
                    &row.metadata,
                    row.deleted_at,
                    row.updated_at,
                    expected
                ];
                self.conn.execute(UPDATE, params).await?
            }
        };
        Ok(hit(changed))
    }

    /// Names of the named shadows that are not deleted.
    pub async fn shadow_names(
        &mut self,
        device: &DeviceId,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<String>, StoreError> {
        const SQL: &str = "SELECT name FROM shadow WHERE tenant_id = $1 AND device = $2 AND name > $3 \
             AND deleted_at IS NULL ORDER BY name LIMIT $4";
        let names: Vec<Name> =
            self.conn.query(SQL, params![self.scope.key(), device, after.unwrap_or(""), limit]).await?;
        Ok(names.into_iter().map(|name| name.0).collect())
    }
}
