//! Decentralised identifiers whose keys a device has proved to hold.

use fleetward_base::{DeviceId, Timestamp};

use super::hit;
use crate::sql::{from_row, params};
use crate::{StoreError, TenantTx};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceDidRow {
    pub did: String,
    pub device: DeviceId,
    /// The verification method that proved it.
    pub key_id: String,
    /// Its key at that moment, as a SubjectPublicKeyInfo.
    pub public_key: Vec<u8>,
    pub added_by: String,
    pub added_at: Timestamp,
}

from_row!(DeviceDidRow { did: text, device: id, key_id: text, public_key: bytes, added_by: text, added_at: time });

macro_rules! columns {
    () => {
        "did, device, key_id, public_key, added_by, added_at"
    };
}

impl TenantTx {
    /// An identifier that a device of the tenant has already is `Conflict`.
    pub async fn insert_device_did(&mut self, row: &DeviceDidRow) -> Result<(), StoreError> {
        const SQL: &str =
            concat!("INSERT INTO device_did (tenant_id, ", columns!(), ") VALUES ($1, $2, $3, $4, $5, $6, $7)");
        let params =
            params![self.scope.key(), &row.did, &row.device, &row.key_id, &row.public_key, &row.added_by, row.added_at];
        self.conn.execute(SQL, params).await.map(drop)
    }

    pub async fn device_did(&mut self, did: &str) -> Result<Option<DeviceDidRow>, StoreError> {
        const SQL: &str = concat!("SELECT ", columns!(), " FROM device_did WHERE tenant_id = $1 AND did = $2");
        self.conn.query_opt(SQL, params![self.scope.key(), did]).await
    }

    /// Those of one device.
    pub async fn device_dids(&mut self, device: &DeviceId, limit: u32) -> Result<Vec<DeviceDidRow>, StoreError> {
        const SQL: &str = concat!(
            "SELECT ",
            columns!(),
            " FROM device_did WHERE tenant_id = $1 AND device = $2 ORDER BY did LIMIT $3"
        );
        self.conn.query(SQL, params![self.scope.key(), device, limit]).await
    }

    /// `false` where the device has no such identifier.
    pub async fn remove_device_did(&mut self, device: &DeviceId, did: &str) -> Result<bool, StoreError> {
        const SQL: &str = "DELETE FROM device_did WHERE tenant_id = $1 AND device = $2 AND did = $3";
        self.conn.execute(SQL, params![self.scope.key(), device, did]).await.map(hit)
    }
}
