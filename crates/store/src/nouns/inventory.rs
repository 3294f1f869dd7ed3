//! The manufacturing database: what makers say they have made, and the keys that they say it with.

use fleetward_base::{DeviceId, Timestamp};

use super::hit;
use crate::sql::{from_row, params};
use crate::{StoreError, TenantTx};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InventoryRow {
    pub serial: String,
    /// The name that the device enrols under.
    pub device: DeviceId,
    pub class: Option<String>,
    pub hardware: Option<String>,
    /// SHA-256 of the endorsement key, in lower-case hex.
    pub ek_hash: Option<String>,
    pub batch: Option<String>,
    pub maker: Option<String>,
    pub root_of_trust: Option<String>,
    /// The maker's signed statement, as it came.
    pub attestation: Option<String>,
    /// The key that the statement was verified under.
    pub attested_by: Option<String>,
    pub imported_at: Timestamp,
    pub updated_at: Timestamp,
}

from_row!(InventoryRow {
    serial: text,
    device: id,
    class: opt_text,
    hardware: opt_text,
    ek_hash: opt_text,
    batch: opt_text,
    maker: opt_text,
    root_of_trust: opt_text,
    attestation: opt_text,
    attested_by: opt_text,
    imported_at: time,
    updated_at: time,
});

macro_rules! columns {
    () => {
        "serial, device, class, hardware, ek_hash, batch, maker, root_of_trust, attestation, attested_by, \
         imported_at, updated_at"
    };
}

/// Which rows a list shows. Nothing set: all.
#[derive(Clone, Debug, Default)]
pub struct InventoryFilter {
    pub batch: Option<String>,
    pub maker: Option<String>,
}

impl TenantTx {
    /// Another row of this serial number is replaced; a device that another row has is `Conflict`.
    pub async fn put_inventory(&mut self, row: &InventoryRow) -> Result<(), StoreError> {
        const SQL: &str = concat!(
            "INSERT INTO inventory (tenant_id, ",
            columns!(),
            ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) \
             ON CONFLICT (tenant_id, serial) DO UPDATE SET device = excluded.device, class = excluded.class, \
             hardware = excluded.hardware, ek_hash = excluded.ek_hash, batch = excluded.batch, \
             maker = excluded.maker, root_of_trust = excluded.root_of_trust, attestation = excluded.attestation, \
             attested_by = excluded.attested_by, updated_at = excluded.updated_at"
        );
        let params = params![
            self.scope.key(),
            &row.serial,
            &row.device,
            &row.class,
            &row.hardware,
            &row.ek_hash,
            &row.batch,
            &row.maker,
            &row.root_of_trust,
            &row.attestation,
            &row.attested_by,
            row.imported_at,
            row.updated_at
        ];
        self.conn.execute(SQL, params).await.map(drop)
    }

    pub async fn inventory(&mut self, serial: &str) -> Result<Option<InventoryRow>, StoreError> {
        const SQL: &str = concat!("SELECT ", columns!(), " FROM inventory WHERE tenant_id = $1 AND serial = $2");
        self.conn.query_opt(SQL, params![self.scope.key(), serial]).await
    }

    pub async fn inventory_by_device(&mut self, device: &DeviceId) -> Result<Option<InventoryRow>, StoreError> {
        const SQL: &str = concat!("SELECT ", columns!(), " FROM inventory WHERE tenant_id = $1 AND device = $2");
        self.conn.query_opt(SQL, params![self.scope.key(), device]).await
    }

    /// Devices other than `but` that have a TPM with this endorsement key, by what their makers say.
    pub async fn inventory_with_endorsement(
        &mut self,
        ek_hash: &str,
        but: &DeviceId,
        limit: u32,
    ) -> Result<Vec<DeviceId>, StoreError> {
        const SQL: &str = "SELECT device FROM inventory WHERE tenant_id = $1 AND ek_hash = $2 AND device <> $3 \
             ORDER BY device LIMIT $4";
        self.conn.query(SQL, params![self.scope.key(), ek_hash, but, limit]).await
    }

    /// In the order of their serial numbers.
    pub async fn inventory_page(
        &mut self,
        filter: &InventoryFilter,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<InventoryRow>, StoreError> {
        const SQL: &str = concat!(
            "SELECT ",
            columns!(),
            " FROM inventory WHERE tenant_id = $1 AND serial > $2 \
              AND (CAST($3 AS TEXT) IS NULL OR batch = $3) AND (CAST($4 AS TEXT) IS NULL OR maker = $4) \
             ORDER BY serial LIMIT $5"
        );
        let params = params![self.scope.key(), after.unwrap_or(""), &filter.batch, &filter.maker, limit];
        self.conn.query(SQL, params).await
    }

    pub async fn count_inventory(&mut self) -> Result<u64, StoreError> {
        const SQL: &str = "SELECT count(*) FROM inventory WHERE tenant_id = $1";
        Ok(self.conn.query_opt(SQL, params![self.scope.key()]).await?.unwrap_or(0))
    }

    /// `false` where there is no such row.
    pub async fn remove_inventory(&mut self, serial: &str) -> Result<bool, StoreError> {
        const SQL: &str = "DELETE FROM inventory WHERE tenant_id = $1 AND serial = $2";
        self.conn.execute(SQL, params![self.scope.key(), serial]).await.map(hit)
    }
}

/// The key of a maker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MakerRow {
    pub name: String,
    /// SHA-256 of the key, in lower-case hex.
    pub key_id: String,
    /// A SubjectPublicKeyInfo.
    pub public_key: Vec<u8>,
    pub created_by: String,
    pub created_at: Timestamp,
}

from_row!(MakerRow { name: text, key_id: text, public_key: bytes, created_by: text, created_at: time });

impl TenantTx {
    /// Another key of this maker is replaced.
    pub async fn put_maker(&mut self, row: &MakerRow) -> Result<(), StoreError> {
        const SQL: &str = "INSERT INTO maker (tenant_id, name, key_id, public_key, created_by, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (tenant_id, name) DO UPDATE SET key_id = excluded.key_id, \
             public_key = excluded.public_key, created_by = excluded.created_by, created_at = excluded.created_at";
        let params =
            params![self.scope.key(), &row.name, &row.key_id, &row.public_key, &row.created_by, row.created_at];
        self.conn.execute(SQL, params).await.map(drop)
    }

    pub async fn maker(&mut self, name: &str) -> Result<Option<MakerRow>, StoreError> {
        const SQL: &str = "SELECT name, key_id, public_key, created_by, created_at FROM maker \
             WHERE tenant_id = $1 AND name = $2";
        self.conn.query_opt(SQL, params![self.scope.key(), name]).await
    }

    pub async fn makers(&mut self, after: Option<&str>, limit: u32) -> Result<Vec<MakerRow>, StoreError> {
        const SQL: &str = "SELECT name, key_id, public_key, created_by, created_at FROM maker \
             WHERE tenant_id = $1 AND name > $2 ORDER BY name LIMIT $3";
        self.conn.query(SQL, params![self.scope.key(), after.unwrap_or(""), limit]).await
    }

    /// `false` where there is no such maker.
    pub async fn remove_maker(&mut self, name: &str) -> Result<bool, StoreError> {
        const SQL: &str = "DELETE FROM maker WHERE tenant_id = $1 AND name = $2";
        self.conn.execute(SQL, params![self.scope.key(), name]).await.map(hit)
    }
}
