//! Kinds of devices by name. Which device is of which stands in its attributes.

use fleetward_base::Timestamp;

use super::hit;
use crate::sql::{from_row, params};
use crate::{StoreError, TenantTx};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceTypeRow {
    pub name: String,
    pub description: Option<String>,
    /// A JSON array of names of attributes.
    pub searchable: String,
    pub created_at: Timestamp,
    /// No device becomes one of this type from here on.
    pub deprecated_at: Option<Timestamp>,
}

from_row!(DeviceTypeRow {
    name: text,
    description: opt_text,
    searchable: text,
    created_at: time,
    deprecated_at: opt_time,
});

macro_rules! columns {
    () => {
        "name, description, searchable, created_at, deprecated_at"
    };
}

impl TenantTx {
    /// `false` where the name is taken.
    pub async fn insert_device_type(&mut self, row: &DeviceTypeRow) -> Result<bool, StoreError> {
        const SQL: &str = concat!(
            "INSERT INTO device_type (tenant_id, ",
            columns!(),
            ") VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (tenant_id, name) DO NOTHING"
        );
        let params =
            params![self.scope.key(), &row.name, &row.description, &row.searchable, row.created_at, row.deprecated_at];
        self.conn.execute(SQL, params).await.map(hit)
    }

    pub async fn device_type(&mut self, name: &str) -> Result<Option<DeviceTypeRow>, StoreError> {
        const SQL: &str = concat!("SELECT ", columns!(), " FROM device_type WHERE tenant_id = $1 AND name = $2");
        self.conn.query_opt(SQL, params![self.scope.key(), name]).await
    }

    pub async fn device_types(&mut self, after: Option<&str>, limit: u32) -> Result<Vec<DeviceTypeRow>, StoreError> {
        const SQL: &str = concat!(
            "SELECT ",
            columns!(),
            " FROM device_type WHERE tenant_id = $1 AND name > $2 ORDER BY name LIMIT $3"
        );
        self.conn.query(SQL, params![self.scope.key(), after.unwrap_or_default(), limit]).await
    }

    pub async fn count_device_types(&mut self) -> Result<u64, StoreError> {
        const SQL: &str = "SELECT count(*) FROM device_type WHERE tenant_id = $1";
        self.conn.query_one(SQL, params![self.scope.key()]).await
    }

    pub async fn deprecate_device_type(&mut self, name: &str, at: Option<Timestamp>) -> Result<bool, StoreError> {
        const SQL: &str = "UPDATE device_type SET deprecated_at = $3 WHERE tenant_id = $1 AND name = $2";
        self.conn.execute(SQL, params![self.scope.key(), name, at]).await.map(hit)
    }

    pub async fn remove_device_type(&mut self, name: &str) -> Result<bool, StoreError> {
        const SQL: &str = "DELETE FROM device_type WHERE tenant_id = $1 AND name = $2";
        self.conn.execute(SQL, params![self.scope.key(), name]).await.map(hit)
    }
}
