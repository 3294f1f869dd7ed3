//! Labels: what people write on things that are no devices, key by key.

use fleetward_base::Timestamp;

use super::hit;
use crate::sql::{from_row, params};
use crate::{StoreError, TenantTx};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelsRow {
    /// What it is that they stand on.
    pub kind: String,
    pub name: String,
    /// A JSON object of texts.
    pub labels: String,
    pub updated_at: Timestamp,
}

from_row!(LabelsRow { kind: text, name: text, labels: text, updated_at: time });

impl TenantTx {
    pub async fn labels(&mut self, kind: &str, name: &str) -> Result<Option<LabelsRow>, StoreError> {
        const SQL: &str =
            "SELECT kind, name, labels, updated_at FROM label_set WHERE tenant_id = $1 AND kind = $2 AND name = $3";
        self.conn.query_opt(SQL, params![self.scope.key(), kind, name]).await
    }

    pub async fn put_labels(&mut self, row: &LabelsRow) -> Result<(), StoreError> {
        const SQL: &str = "INSERT INTO label_set (tenant_id, kind, name, labels, updated_at) \
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT (tenant_id, kind, name) \
             DO UPDATE SET labels = excluded.labels, updated_at = excluded.updated_at";
        let params = params![self.scope.key(), &row.kind, &row.name, &row.labels, row.updated_at];
        self.conn.execute(SQL, params).await.map(drop)
    }

    pub async fn remove_labels(&mut self, kind: &str, name: &str) -> Result<bool, StoreError> {
        const SQL: &str = "DELETE FROM label_set WHERE tenant_id = $1 AND kind = $2 AND name = $3";
        self.conn.execute(SQL, params![self.scope.key(), kind, name]).await.map(hit)
    }
}
