//! Transactions of SCEP: which request a client's name for it stands for.

use fleetward_base::{DeviceId, Timestamp};

use super::hit;
use crate::sql::{from_row, params};
use crate::{StoreError, TenantTx};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScepTransactionRow {
    /// As the client named it.
    pub id: String,
    pub device: DeviceId,
    /// SHA-256 over tenant, public key and subject of the request.
    pub request: Vec<u8>,
    /// SHA-256 of the public key that signed it.
    pub asker: Vec<u8>,
    /// The request, sealed, while it waits for somebody.
    pub waiting: Option<Vec<u8>>,
    pub created_at: Timestamp,
}

from_row!(ScepTransactionRow {
    id: text,
    device: id,
    request: bytes,
    asker: bytes,
    waiting: opt_bytes,
    created_at: time
});

impl TenantTx {
    pub async fn scep_transaction(&mut self, id: &str) -> Result<Option<ScepTransactionRow>, StoreError> {
        const SQL: &str = "SELECT id, device, request, asker, waiting, created_at FROM scep_transaction \
             WHERE tenant_id = $1 AND id = $2";
        self.conn.query_opt(SQL, params![self.scope.key(), id]).await
    }

    /// Keeps a transaction, new or as it now stands; `false`, and nothing kept, where the name stands for another request.
    pub async fn keep_scep_transaction(&mut self, row: &ScepTransactionRow) -> Result<bool, StoreError> {
        const SQL: &str = "INSERT INTO scep_transaction (tenant_id, id, device, request, asker, waiting, created_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (tenant_id, id) \
             DO UPDATE SET asker = excluded.asker, waiting = excluded.waiting, created_at = excluded.created_at \
             WHERE scep_transaction.device = excluded.device AND scep_transaction.request = excluded.request";
        let params =
            params![self.scope.key(), &row.id, &row.device, &row.request, &row.asker, &row.waiting, row.created_at];
        self.conn.execute(SQL, params).await.map(hit)
    }

    /// Forgets those that were last heard of before `before`; how many.
    pub async fn forget_scep_transactions(&mut self, before: Timestamp) -> Result<u64, StoreError> {
        const SQL: &str = "DELETE FROM scep_transaction WHERE tenant_id = $1 AND created_at < $2";
        self.conn.execute(SQL, params![self.scope.key(), before]).await
    }
}
