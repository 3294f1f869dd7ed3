//! Devices on offer to another tenant, and on their way to it. A row is the giving tenant's; the other one knows it only by
//! its code.

use fleetward_base::{DeviceId, TenantId, Timestamp, TokenId, TransferId};

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
    /// Its name in the other tenant; set with the following when it was accepted.
    pub to_device: Option<DeviceId>,
    /// What the giving tenant asked of the device: required, attempted, none.
    pub wipe: Option<String>,
    /// The device is to have confirmed by then.
    pub wipe_by: Option<Timestamp>,
    /// The device fetched the order to wipe itself.
    pub told_at: Option<Timestamp>,
    /// It was noticed that the device has not confirmed in time.
    pub overdue_at: Option<Timestamp>,
    /// The device is the other tenant's.
    pub completed_at: Option<Timestamp>,
    /// confirmed, unconfirmed, unreachable, nothing, skipped.
    pub wiped: Option<String>,
    /// The enrolment token, of the other tenant, that the device was given last.
    pub token: Option<TokenId>,
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
    to_device: opt_id,
    wipe: opt_text,
    wipe_by: opt_time,
    told_at: opt_time,
    overdue_at: opt_time,
    completed_at: opt_time,
    wiped: opt_text,
    token: opt_id,
});

macro_rules! columns {
    () => {
        "id, device, to_tenant, hash, created_by, created_at, expires_at, accepted_at, canceled_at, to_device, wipe, \
         wipe_by, told_at, overdue_at, completed_at, wiped, token"
    };
}

impl TenantTx {
    pub async fn insert_transfer(&mut self, row: &TransferRow) -> Result<(), StoreError> {
        const SQL: &str = concat!(
            "INSERT INTO transfer (tenant_id, ",
            columns!(),
            ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)"
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
            row.canceled_at,
            &row.to_device,
            &row.wipe,
            row.wipe_by,
            row.told_at,
            row.overdue_at,
            row.completed_at,
            &row.wiped,
            row.token
        ];
        self.conn.execute(SQL, params).await.map(drop)
    }

    pub async fn transfer(&mut self, id: TransferId) -> Result<Option<TransferRow>, StoreError> {
        const SQL: &str = concat!("SELECT ", columns!(), " FROM transfer WHERE tenant_id = $1 AND id = $2");
        self.conn.query_opt(SQL, params![self.scope.key(), id]).await
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

    /// The transfer of the device that was accepted and waits for it.
    pub async fn wiping_transfer(&mut self, device: &DeviceId) -> Result<Option<TransferRow>, StoreError> {
        const SQL: &str = concat!(
            "SELECT ",
            columns!(),
            " FROM transfer WHERE tenant_id = $1 AND device = $2 \
             AND accepted_at IS NOT NULL AND completed_at IS NULL AND canceled_at IS NULL ORDER BY id LIMIT 1"
        );
        self.conn.query_opt(SQL, params![self.scope.key(), device]).await
    }

    /// Accepted, as `row` says from then on. `false` where it was accepted or canceled before.
    pub async fn accept_transfer(&mut self, row: &TransferRow, at: Timestamp) -> Result<bool, StoreError> {
        const SQL: &str = "UPDATE transfer SET accepted_at = $3, to_device = $4, wipe = $5, wipe_by = $6 \
             WHERE tenant_id = $1 AND id = $2 AND accepted_at IS NULL AND canceled_at IS NULL";
        let params = params![self.scope.key(), row.id, at, &row.to_device, &row.wipe, row.wipe_by];
        self.conn.execute(SQL, params).await.map(hit)
    }

    /// The device fetched its order, and the token in it. The first time counts.
    pub async fn tell_transfer(&mut self, id: TransferId, token: TokenId, at: Timestamp) -> Result<bool, StoreError> {
        const SQL: &str = "UPDATE transfer SET token = $3, told_at = COALESCE(told_at, $4) WHERE tenant_id = $1 AND id = $2 \
             AND accepted_at IS NOT NULL AND completed_at IS NULL AND canceled_at IS NULL";
        self.conn.execute(SQL, params![self.scope.key(), id, token, at]).await.map(hit)
    }

    /// `false` where that was noticed before, or it is over.
    pub async fn mark_transfer_overdue(&mut self, id: TransferId, at: Timestamp) -> Result<bool, StoreError> {
        const SQL: &str = "UPDATE transfer SET overdue_at = $3 WHERE tenant_id = $1 AND id = $2 \
             AND overdue_at IS NULL AND completed_at IS NULL AND canceled_at IS NULL";
        self.conn.execute(SQL, params![self.scope.key(), id, at]).await.map(hit)
    }

    /// `false` where it was not accepted, or is over.
    pub async fn complete_transfer(&mut self, id: TransferId, wiped: &str, at: Timestamp) -> Result<bool, StoreError> {
        const SQL: &str = "UPDATE transfer SET completed_at = $3, wiped = $4 WHERE tenant_id = $1 AND id = $2 \
             AND accepted_at IS NOT NULL AND completed_at IS NULL AND canceled_at IS NULL";
        self.conn.execute(SQL, params![self.scope.key(), id, at, wiped]).await.map(hit)
    }

    /// `false` where there is none, or it is over, one way or another.
    pub async fn cancel_transfer(&mut self, id: TransferId, at: Timestamp) -> Result<bool, StoreError> {
        const SQL: &str = "UPDATE transfer SET canceled_at = $3 \
             WHERE tenant_id = $1 AND id = $2 AND completed_at IS NULL AND canceled_at IS NULL";
        self.conn.execute(SQL, params![self.scope.key(), id, at]).await.map(hit)
    }

    /// Cancels what is on offer of a device; how many there were.
    pub async fn cancel_transfers(&mut self, device: &DeviceId, at: Timestamp) -> Result<u64, StoreError> {
        const SQL: &str = "UPDATE transfer SET canceled_at = $3 \
             WHERE tenant_id = $1 AND device = $2 AND accepted_at IS NULL AND canceled_at IS NULL";
        self.conn.execute(SQL, params![self.scope.key(), device, at]).await
    }

    /// Forgets those that ended before `before`, one way or another; how many.
    pub async fn forget_transfers(&mut self, before: Timestamp) -> Result<u64, StoreError> {
        const SQL: &str = "DELETE FROM transfer \
             WHERE tenant_id = $1 AND (COALESCE(completed_at, canceled_at) < $2 \
             OR (accepted_at IS NULL AND canceled_at IS NULL AND expires_at < $2))";
        self.conn.execute(SQL, params![self.scope.key(), before]).await
    }
}

impl SystemTx {
    /// Whose offer has the code of this hash; accepted, canceled and expired ones too.
    pub async fn transfer_by_hash(&mut self, hash: &[u8]) -> Result<Option<Of<TransferRow>>, StoreError> {
        const SQL: &str = concat!("SELECT tenant_id, ", columns!(), " FROM transfer WHERE hash = $1");
        self.across().await?.query_opt(SQL, params![hash]).await
    }

    /// Of all tenants: those whose device has not confirmed by `now`, of which that was not noticed yet.
    pub async fn overdue_transfers(&mut self, now: Timestamp, limit: u32) -> Result<Vec<Of<TransferRow>>, StoreError> {
        const SQL: &str = concat!(
            "SELECT tenant_id, ",
            columns!(),
            " FROM transfer WHERE accepted_at IS NOT NULL AND completed_at IS NULL AND canceled_at IS NULL \
             AND overdue_at IS NULL AND wipe_by <= $1 ORDER BY wipe_by, tenant_id, id LIMIT $2"
        );
        self.across().await?.query(SQL, params![now, limit]).await
    }
}
