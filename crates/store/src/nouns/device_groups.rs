//! Groups by name. Who is in one is not here: a device is, by having the group's name as a tag. Those with a question are
//! dynamic: the server gives the tag and takes it.

use fleetward_base::{TenantId, Timestamp};

use super::hit;
use crate::sql::{from_row, params};
use crate::{Of, StoreError, SystemTx, TenantTx};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceGroupRow {
    pub name: String,
    pub description: Option<String>,
    /// A JSON object of texts.
    pub attributes: String,
    /// The group that it lies in.
    pub parent: Option<String>,
    /// What decides who is in it; none where people do.
    pub query: Option<String>,
    /// When everybody was last asked, for the question as it is.
    pub settled_at: Option<Timestamp>,
    pub revision: u64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

from_row!(DeviceGroupRow {
    name: text,
    description: opt_text,
    attributes: text,
    parent: opt_text,
    query: opt_text,
    settled_at: opt_time,
    revision: count,
    created_at: time,
    updated_at: time,
});

macro_rules! columns {
    () => {
        "name, description, attributes, parent, query, settled_at, revision, created_at, updated_at"
    };
}

impl TenantTx {
    /// `false` where the name is taken.
    pub async fn insert_device_group(&mut self, row: &DeviceGroupRow) -> Result<bool, StoreError> {
        const SQL: &str = concat!(
            "INSERT INTO device_group (tenant_id, ",
            columns!(),
            ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (tenant_id, name) DO NOTHING"
        );
        let params = params![
            self.scope.key(),
            &row.name,
            &row.description,
            &row.attributes,
            &row.parent,
            &row.query,
            row.settled_at,
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

    pub async fn count_dynamic_groups(&mut self) -> Result<u64, StoreError> {
        const SQL: &str = "SELECT count(*) FROM device_group WHERE tenant_id = $1 AND query IS NOT NULL";
        self.conn.query_one(SQL, params![self.scope.key()]).await
    }

    /// Notes that everybody was asked, if its question is still this one.
    pub async fn settle_device_group(&mut self, name: &str, query: &str, at: Timestamp) -> Result<bool, StoreError> {
        const SQL: &str = "UPDATE device_group SET settled_at = $4 WHERE tenant_id = $1 AND name = $2 AND query = $3";
        self.conn.execute(SQL, params![self.scope.key(), name, query, at]).await.map(hit)
    }

    /// `false` where it is not at `expected` any more.
    pub async fn update_device_group(&mut self, row: &DeviceGroupRow, expected: u64) -> Result<bool, StoreError> {
        const SQL: &str = "UPDATE device_group SET description = $3, attributes = $4, query = $5, settled_at = $6, \
             revision = $7, updated_at = $8 WHERE tenant_id = $1 AND name = $2 AND revision = $9";
        let params = params![
            self.scope.key(),
            &row.name,
            &row.description,
            &row.attributes,
            &row.query,
            row.settled_at,
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

impl SystemTx {
    /// A page of the groups of all tenants whose devices a question decides, after the last of the page before.
    pub async fn dynamic_groups(
        &mut self,
        after: Option<(&TenantId, &str)>,
        limit: u32,
    ) -> Result<Vec<Of<DeviceGroupRow>>, StoreError> {
        const SQL: &str = concat!(
            "SELECT tenant_id, ",
            columns!(),
            " FROM device_group WHERE query IS NOT NULL AND (tenant_id, name) > ($1, $2) ORDER BY tenant_id, name LIMIT $3"
        );
        let (tenant, name) = after.map_or(("", ""), |(tenant, name)| (tenant.as_str(), name));
        self.across().await?.query(SQL, params![tenant, name, limit]).await
    }
}
