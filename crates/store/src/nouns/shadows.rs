//! Shadows: the stored documents. What an update makes of them is decided in `core::shadow`.

use fleetward_base::{DeviceId, Timestamp};

use super::hit;
use crate::sql::{Bulk, Cells, Column, FromRow, Sql, for_update, from_row, params};
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
    /// The number of its newest change.
    pub changes: u64,
    /// JSON: what goes to and fro; none where nothing does.
    pub watch: Option<String>,
}

from_row!(ShadowRow {
    device: id,
    name: text,
    version: count,
    document: text,
    metadata: text,
    deleted_at: opt_time,
    updated_at: time,
    changes: count,
    watch: opt_text,
});

macro_rules! columns {
    () => {
        "device, name, version, document, metadata, deleted_at, updated_at, changes, watch"
    };
}

macro_rules! select {
    () => {
        concat!("SELECT ", columns!(), " FROM shadow WHERE tenant_id = $1 AND device = $2 AND name = $3")
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

    /// Those of these shadows that there are, in the order of devices and names, which is also the order in which they are
    /// locked: two servers that take some of the same do not wait for each other.
    pub async fn shadows_for_update(&mut self, keys: &[(&DeviceId, &str)]) -> Result<Vec<ShadowRow>, StoreError> {
        const SQL: Bulk = Bulk {
            sqlite: select!(),
            postgres: "SELECT s.device, s.name, s.version, s.document, s.metadata, s.deleted_at, s.updated_at, s.changes, \
                 s.watch FROM UNNEST(CAST($2 AS TEXT[]), CAST($3 AS TEXT[])) AS k (device, name) \
                 JOIN shadow AS s ON s.tenant_id = $1 AND s.device = k.device AND s.name = k.name \
                 ORDER BY s.device, s.name FOR UPDATE OF s",
        };
        let columns = [Column::of(keys, |(device, _)| *device), Column::of(keys, |(_, name)| *name)];
        self.conn.query_rows(SQL, params![self.scope.key()], &columns).await
    }

    /// Makes a shadow. `false`: somebody was faster.
    pub async fn insert_shadow(&mut self, row: &ShadowRow) -> Result<bool, StoreError> {
        const SQL: &str = "INSERT INTO shadow \
             (tenant_id, device, name, version, document, metadata, deleted_at, updated_at, changes, watch) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (tenant_id, device, name) DO NOTHING";
        let params = params![
            self.scope.key(),
            &row.device,
            &row.name,
            row.version,
            &row.document,
            &row.metadata,
            row.deleted_at,
            row.updated_at,
            row.changes,
            &row.watch
        ];
        self.conn.execute(SQL, params).await.map(hit)
    }

    /// Writes shadows, each in place of the version beside it; how many were still at theirs.
    pub async fn update_shadows(&mut self, rows: &[(ShadowRow, u64)]) -> Result<u64, StoreError> {
        const SQL: Bulk = Bulk {
            sqlite: "UPDATE shadow SET version = $4, document = $5, metadata = $6, deleted_at = $7, updated_at = $8, \
                 changes = $9, watch = $10 WHERE tenant_id = $1 AND device = $2 AND name = $3 AND version = $11",
            postgres: "UPDATE shadow AS s SET version = n.version, document = n.document, metadata = n.metadata, \
                 deleted_at = n.deleted_at, updated_at = n.updated_at, changes = n.changes, watch = n.watch \
                 FROM UNNEST(CAST($2 AS TEXT[]), CAST($3 AS TEXT[]), CAST($4 AS BIGINT[]), CAST($5 AS TEXT[]), \
                 CAST($6 AS TEXT[]), CAST($7 AS BIGINT[]), CAST($8 AS BIGINT[]), CAST($9 AS BIGINT[]), \
                 CAST($10 AS TEXT[]), CAST($11 AS BIGINT[])) AS n (device, name, version, document, metadata, deleted_at, \
                 updated_at, changes, watch, before) \
                 WHERE s.tenant_id = $1 AND s.device = n.device AND s.name = n.name AND s.version = n.before",
        };
        let columns = [
            Column::of(rows, |(row, _)| &row.device),
            Column::of(rows, |(row, _)| &row.name),
            Column::of(rows, |(row, _)| row.version),
            Column::of(rows, |(row, _)| &row.document),
            Column::of(rows, |(row, _)| &row.metadata),
            Column::of(rows, |(row, _)| row.deleted_at),
            Column::of(rows, |(row, _)| row.updated_at),
            Column::of(rows, |(row, _)| row.changes),
            Column::of(rows, |(row, _)| &row.watch),
            Column::of(rows, |(_, before)| *before),
        ];
        self.conn.execute_rows(SQL, params![self.scope.key()], &columns).await
    }

    /// Writes the shadow: a new one where `expected` is none, else in place of that version. `false`: somebody was
    /// faster.
    pub async fn put_shadow(&mut self, row: &ShadowRow, expected: Option<u64>) -> Result<bool, StoreError> {
        match expected {
            None => self.insert_shadow(row).await,
            Some(expected) => self.update_shadows(&[(row.clone(), expected)]).await.map(hit),
        }
    }

    /// Shadows called `config`, deleted or not, in the order of their devices.
    pub async fn config_shadows(&mut self, after: Option<&DeviceId>, limit: u32) -> Result<Vec<ShadowRow>, StoreError> {
        const SQL: &str = concat!(
            "SELECT ",
            columns!(),
            " FROM shadow WHERE tenant_id = $1 AND name = 'config' AND device > $2 ORDER BY device LIMIT $3"
        );
        let after = after.map_or("", DeviceId::as_str);
        self.conn.query(SQL, params![self.scope.key(), after, limit]).await
    }

    /// How many shadows, `most` at most, belong to no device.
    pub async fn unregistered_shadows(&mut self, most: u64) -> Result<u64, StoreError> {
        const SQL: &str = "SELECT COUNT(*) FROM (SELECT 1 FROM shadow AS s WHERE s.tenant_id = $1 AND s.deleted_at IS NULL \
             AND NOT EXISTS (SELECT 1 FROM device AS d WHERE d.tenant_id = s.tenant_id AND d.id = s.device) \
             LIMIT $2) AS stray";
        Ok(self.conn.query_opt(SQL, params![self.scope.key(), most]).await?.unwrap_or(0))
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
