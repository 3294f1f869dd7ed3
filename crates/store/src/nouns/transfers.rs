//! Devices on offer to another tenant. A row is the giving tenant's; the other one knows it only by its code.

use fleetward_base::{DeviceId, TenantId, Timestamp, TransferId};

use super::{Of, hit};
use crate::sql::{Sql, for_update, from_row, params};
use crate::{StoreError, SystemTx, TenantTx};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransferRow {
    pub id: TransferId,
    pub device: DeviceId,
    pub to_tenant: TenantId,
    /// SHA-256 of the code.
    pub hash: Vec<u8>,
    pub created_by: String,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    pub accepted_at: Option<Timestamp>,
    pub canceled_at: Option<Timestamp>,
}

from_row!(TransferRow {
    id: id,
    device: id,
    to_tenant: id,
    hash: bytes,
    created_by: text,
    created_at: time,
    expires_at: time,
    accepted_at: opt_time,
    canceled_at: opt_time,
});

macro_rules! columns {
    () => {
        "id, device, to_tenant, hash, created_by, created_at, expires_at, accepted_at, canceled_at"
    };
}

impl TenantTx {
    pub async fn insert_transfer(&mut self, row: &TransferRow) -> Result<(), StoreError> {
        const SQL: &str = concat!(
            "INSERT INTO transfer (tenant_id, ",
            columns!(),
            ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"
        );
        let params = params![
            self.scope.key(),
            row.id,
            &row.device,
            &row.to_tenant,
            &row.hash,
            &row.created_by,
            row.created_at,
            row.expires_at,
            row.accepted_at,
            row.canceled_at
        ];
        self.conn.execute(SQL, params).await.map(drop)
    }

    /// Nobody else changes it until the unit ends.
    pub async fn transfer_for_update(&mut self, id: TransferId) -> Result<Option<TransferRow>, StoreError> {
        const SQL: Sql = for_update!("SELECT ", columns!(), " FROM transfer WHERE tenant_id = $1 AND id = $2");
        self.conn.query_opt(SQL, params![self.scope.key(), id]).await
    }

    /// The offer of the device that still stands at `now`.
    pub async fn open_transfer(
        &mut self,
        device: &DeviceId,
        now: Timestamp,
    ) -> Result<Option<TransferRow>, StoreError> {
        const SQL: &str = concat!(
            "SELECT ",
            columns!(),
            " FROM transfer WHERE tenant_id = $1 AND device = $2 AND expires_at > $3 \
             AND accepted_at IS NULL AND canceled_at IS NULL ORDER BY id LIMIT 1"
        );
        self.conn.query_opt(SQL, params![self.scope.key(), device, now]).await
    }

    pub async fn transfers(&mut self, after: Option<TransferId>, limit: u32) -> Result<Vec<TransferRow>, StoreError> {
        const SQL: &str =
            concat!("SELECT ", columns!(), " FROM transfer WHERE tenant_id = $1 AND id > $2 ORDER BY id LIMIT $3");
        let after = after.map(|id| id.to_string()).unwrap_or_default();
        self.conn.query(SQL, params![self.scope.key(), after, limit]).await
    }

    /// `false` where it was accepted or canceled before.
    pub async fn accept_transfer(&mut self, id: TransferId, at: Timestamp) -> Result<bool, StoreError> {
        const SQL: &str = "UPDATE transfer SET accepted_at = $3 \
             WHERE tenant_id = $1 AND id = $2 AND accepted_at IS NULL AND canceled_at IS NULL";
        self.conn.execute(SQL, params![self.scope.key(), id, at]).await.map(hit)
    }

    /// `false` where there is none, or it was accepted or canceled before.
    pub async fn cancel_transfer(&mut self, id: TransferId, at: Timestamp) -> Result<bool, StoreError> {
        const SQL: &str = "UPDATE transfer SET canceled_at = $3 \
             WHERE tenant_id = $1 AND id = $2 AND accepted_at IS NULL AND canceled_at IS NULL";
        self.conn.execute(SQL, params![self.scope.key(), id, at]).await.map(hit)
    }

    /// Cancels what stands of a device; how many there were.
    pub async fn cancel_transfers(&mut self, device: &DeviceId, at: Timestamp) -> Result<u64, StoreError> {
        const SQL: &str = "UPDATE transfer SET canceled_at = $3 \
             WHERE tenant_id = $1 AND device = $2 AND accepted_at IS NULL AND canceled_at IS NULL";
        self.conn.execute(SQL, params![self.scope.key(), device, at]).await
    }

    /// Forgets those that ended before `before`, one way or another; how many.
    pub async fn forget_transfers(&mut self, before: Timestamp) -> Result<u64, StoreError> {
        const SQL: &str = "DELETE FROM transfer \
             WHERE tenant_id = $1 AND COALESCE(accepted_at, canceled_at, expires_at) < $2";
        self.conn.execute(SQL, params![self.scope.key(), before]).await
    }
}

impl SystemTx {
    /// Whose offer has the code of this hash; accepted, canceled and expired ones too.
    pub async fn transfer_by_hash(&mut self, hash: &[u8]) -> Result<Option<Of<TransferRow>>, StoreError> {
        const SQL: &str = concat!("SELECT tenant_id, ", columns!(), " FROM transfer WHERE hash = $1");
        self.across().await?.query_opt(SQL, params![hash]).await
    }
}
