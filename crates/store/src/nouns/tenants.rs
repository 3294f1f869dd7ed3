//! Tenants, and the few values that the installation keeps for itself.

use fleetward_base::{TenantId, Timestamp};

use super::hit;
use crate::sql::{FromRow, from_row, params};
use crate::{StoreError, SystemTx, TenantTx};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TenantRow {
    pub id: TenantId,
    pub display_name: String,
    /// A JSON object.
    pub settings: String,
    pub revision: u64,
    pub created_at: Timestamp,
}

from_row!(TenantRow { id: id, display_name: text, settings: text, revision: count, created_at: time });

macro_rules! select {
    () => {
        // across tenants: this is the list of them
        "SELECT tenant_id, display_name, settings, revision, created_at FROM tenant "
    };
}

struct Value(Vec<u8>);

impl FromRow for Value {
    fn from_row(cells: &mut crate::sql::Cells) -> Result<Self, StoreError> {
        cells.bytes().map(Self)
    }
}

impl SystemTx {
    /// A tenant of this name there already is `Conflict`.
    pub async fn insert_tenant(&mut self, row: &TenantRow) -> Result<(), StoreError> {
        const SQL: &str = "INSERT INTO tenant (tenant_id, display_name, settings, revision, created_at) \
             VALUES ($1, $2, $3, $4, $5)";
        let params = params![&row.id, &row.display_name, &row.settings, row.revision, row.created_at];
        self.across().await?.execute(SQL, params).await.map(drop)
    }

    pub async fn tenant(&mut self, id: &TenantId) -> Result<Option<TenantRow>, StoreError> {
        const SQL: &str = concat!(select!(), "WHERE tenant_id = $1");
        self.across().await?.query_opt(SQL, params![id]).await
    }

    pub async fn tenants(&mut self, after: Option<&TenantId>, limit: u32) -> Result<Vec<TenantRow>, StoreError> {
        const SQL: &str = concat!(select!(), "WHERE tenant_id > $1 ORDER BY tenant_id LIMIT $2");
        let after = after.map_or("", TenantId::as_str);
        self.across().await?.query(SQL, params![after, limit]).await
    }

    /// A value of the installation, such as the mark of its first administrator.
    pub async fn installation_value(&mut self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        const SQL: &str = "SELECT value FROM installation WHERE key = $1";
        let value: Option<Value> = self.across().await?.query_opt(SQL, params![key]).await?;
        Ok(value.map(|value| value.0))
    }

    pub async fn put_installation_value(&mut self, key: &str, value: &[u8]) -> Result<(), StoreError> {
        const SQL: &str = "INSERT INTO installation (key, value) VALUES ($1, $2) \
             ON CONFLICT (key) DO UPDATE SET value = excluded.value";
        self.across().await?.execute(SQL, params![key, value]).await.map(drop)
    }
}

impl TenantTx {
    /// The tenant's own row.
    pub async fn own_tenant(&mut self) -> Result<Option<TenantRow>, StoreError> {
        const SQL: &str = concat!(select!(), "WHERE tenant_id = $1");
        self.conn.query_opt(SQL, params![self.scope.key()]).await
    }

    /// Writes the display name, the settings and the new revision.
    pub async fn update_tenant(&mut self, row: &TenantRow, expected: u64) -> Result<bool, StoreError> {
        const SQL: &str = "UPDATE tenant SET display_name = $2, settings = $3, revision = $4 \
             WHERE tenant_id = $1 AND revision = $5";
        let params = params![self.scope.key(), &row.display_name, &row.settings, row.revision, expected];
        self.conn.execute(SQL, params).await.map(hit)
    }
}
