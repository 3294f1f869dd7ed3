//! Groups by name. Who is in one is not here: a device is, by having the group's name as a tag.

use fleetward_base::Timestamp;

use super::hit;
use crate::sql::{from_row, params};
use crate::{StoreError, TenantTx};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceGroupRow {
    pub name: String,
    pub description: Option<String>,
    /// A JSON object of texts.
    pub attributes: String,
    /// The group that it lies in.
    pub parent: Option<String>,
    pub revision: u64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

from_row!(DeviceGroupRow {
    name: text,
    description: opt_text,
    attributes: text,
    parent: opt_text,
    revision: count,
    created_at: time,
    updated_at: time,
});

macro_rules! columns {
    () => {
        "name, description, attributes, parent, revision, created_at, updated_at"
    };
}

impl TenantTx {
    /// `false` where the name is taken.
    pub async fn insert_device_group(&mut self, row: &DeviceGroupRow) -> Result<bool, StoreError> {
        const SQL: &str = concat!(
            "INSERT INTO device_group (tenant_id, ",
            columns!(),
            ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (tenant_id, name) DO NOTHING"
        );
        let params = params![
            self.scope.key(),
            &row.name,
            &row.description,
            &row.attributes,
            &row.parent,
            row.revision,
            row.created_at,
            row.updated_at
        ];
        self.conn.execute(SQL, params).await.map(hit)
    }

    pub async fn device_group(&mut self, name: &str) -> Result<Option<DeviceGroupRow>, StoreError> {
        const SQL: &str = concat!("SELECT ", columns!(), " FROM device_group WHERE tenant_id = $1 AND name = $2");
        self.conn.query_opt(SQL, params![self.scope.key(), name]).await
    }

    /// In the order of their names; with `parent`, those that lie right in it.
    pub async fn device_groups(
        &mut self,
        parent: Option<&str>,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<DeviceGroupRow>, StoreError> {
        const SQL: &str = concat!(
            "SELECT ",
            columns!(),
            " FROM device_group WHERE tenant_id = $1 AND name > $2 AND (CAST($3 AS TEXT) IS NULL OR parent = $3) \
             ORDER BY name LIMIT $4"
        );
        self.conn.query(SQL, params![self.scope.key(), after.unwrap_or_default(), parent, limit]).await
    }

    pub async fn count_device_groups(&mut self) -> Result<u64, StoreError> {
        const SQL: &str = "SELECT count(*) FROM device_group WHERE tenant_id = $1";
        self.conn.query_one(SQL, params![self.scope.key()]).await
    }

    /// `false` where it is not at `expected` any more.
    pub async fn update_device_group(&mut self, row: &DeviceGroupRow, expected: u64) -> Result<bool, StoreError> {
        const SQL: &str = "UPDATE device_group SET description = $3, attributes = $4, revision = $5, updated_at = $6 \
             WHERE tenant_id = $1 AND name = $2 AND revision = $7";
        let params = params![
            self.scope.key(),
            &row.name,
            &row.description,
            &row.attributes,
            row.revision,
            row.updated_at,
            expected
        ];
        self.conn.execute(SQL, params).await.map(hit)
    }

    /// `false` where there is none, or another group lies in it.
    pub async fn remove_device_group(&mut self, name: &str) -> Result<bool, StoreError> {
        const SQL: &str = "DELETE FROM device_group WHERE tenant_id = $1 AND name = $2 AND NOT EXISTS \
             (SELECT 1 FROM device_group AS c WHERE c.tenant_id = $1 AND c.parent = $2)";
        self.conn.execute(SQL, params![self.scope.key(), name]).await.map(hit)
    }
}
