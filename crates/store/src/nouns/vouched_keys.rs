//! Keys that a TPM vouched for, so that a certificate may be issued for them: one row a name, and forgotten soon. The name
//! need not be that of a device yet.

use fleetward_base::{DeviceId, Timestamp};

use crate::sql::{Sql, for_update, from_row, params};
use crate::{StoreError, TenantTx};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VouchedKeyRow {
    pub device: DeviceId,
    /// JSON of an activation that waits for its proof: of whoever is no device yet.
    pub pending: Option<String>,
    /// SHA-256 of the SubjectPublicKeyInfo, hex.
    pub key: Option<String>,
    /// The hash of the TPM's endorsement key, hex.
    pub identity: Option<String>,
    /// Until when a certificate is issued on it.
    pub until: Option<Timestamp>,
    pub updated_at: Timestamp,
}

from_row!(VouchedKeyRow {
    device: id,
    pending: opt_text,
    key: opt_text,
    identity: opt_text,
    until: opt_time,
    updated_at: time,
});

macro_rules! columns {
    () => {
        "device, pending, key, identity, until, updated_at"
    };
}

impl VouchedKeyRow {
    /// A name of which nothing is known.
    pub fn new(device: DeviceId, now: Timestamp) -> Self {
        Self { device, pending: None, key: None, identity: None, until: None, updated_at: now }
    }
}

impl TenantTx {
    pub async fn vouched_key(&mut self, device: &DeviceId) -> Result<Option<VouchedKeyRow>, StoreError> {
        const SQL: &str = concat!("SELECT ", columns!(), " FROM vouched_key WHERE tenant_id = $1 AND device = $2");
        self.conn.query_opt(SQL, params![self.scope.key(), device]).await
    }

    /// As [`vouched_key`](Self::vouched_key), and nobody else changes it until the unit ends.
    pub async fn vouched_key_for_update(&mut self, device: &DeviceId) -> Result<Option<VouchedKeyRow>, StoreError> {
        const SQL: Sql = for_update!("SELECT ", columns!(), " FROM vouched_key WHERE tenant_id = $1 AND device = $2");
        self.conn.query_opt(SQL, params![self.scope.key(), device]).await
    }

    /// Writes the row, in the place of the one before.
    pub async fn put_vouched_key(&mut self, row: &VouchedKeyRow) -> Result<(), StoreError> {
        const SQL: &str = concat!(
            "INSERT INTO vouched_key (tenant_id, ",
            columns!(),
            ") VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (tenant_id, device) DO UPDATE SET \
             pending = excluded.pending, key = excluded.key, identity = excluded.identity, until = excluded.until, \
             updated_at = excluded.updated_at"
        );
        let params =
            params![self.scope.key(), &row.device, &row.pending, &row.key, &row.identity, row.until, row.updated_at];
        self.conn.execute(SQL, params).await.map(drop)
    }

    /// Forgets those that nobody touched since `before`; how many.
    pub async fn forget_vouched_keys(&mut self, before: Timestamp) -> Result<u64, StoreError> {
        const SQL: &str = "DELETE FROM vouched_key WHERE tenant_id = $1 AND updated_at < $2";
        self.conn.execute(SQL, params![self.scope.key(), before]).await
    }
}
