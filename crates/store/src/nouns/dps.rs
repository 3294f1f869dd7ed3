//! Registrations by way of Azure's provisioning messages, and the opaque names of tenants that they are addressed to.

use fleetward_base::{DeviceId, TenantId, Timestamp};

use crate::sql::{Cells, FromRow, from_row, params};
use crate::{StoreError, SystemTx, TenantTx};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DpsRegistrationRow {
    /// The registration id, which is the device's name.
    pub id: DeviceId,
    /// Of the latest request to register.
    pub operation: String,
    /// assigning or assigned.
    pub status: String,
    /// The enrolment that let it in; none for one by certificate.
    pub enrollment: Option<String>,
    /// The certificate that was issued with it.
    pub serial: Option<String>,
    /// The request for that certificate, PKCS#10 in DER.
    pub request: Option<Vec<u8>>,
    /// JSON that the device is given.
    pub payload: Option<String>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub revision: u64,
}

from_row!(DpsRegistrationRow {
    id: id,
    operation: text,
    status: text,
    enrollment: opt_text,
    serial: opt_text,
    request: opt_bytes,
    payload: opt_text,
    created_at: time,
    updated_at: time,
    revision: count,
});

macro_rules! columns {
    () => {
        "id, operation, status, enrollment, serial, request, payload, created_at, updated_at, revision"
    };
}

/// The one text of a row.
struct Text(String);

impl FromRow for Text {
    fn from_row(cells: &mut Cells) -> Result<Self, StoreError> {
        cells.text().map(Self)
    }
}

/// The tenant of a row.
struct Whose(Option<TenantId>);

impl FromRow for Whose {
    fn from_row(cells: &mut Cells) -> Result<Self, StoreError> {
        cells.tenant().map(Self)
    }
}

impl TenantTx {
    /// Another registration under this id is replaced.
    pub async fn put_dps_registration(&mut self, row: &DpsRegistrationRow) -> Result<(), StoreError> {
        const SQL: &str = concat!(
            "INSERT INTO dps_registration (tenant_id, ",
            columns!(),
            ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) \
             ON CONFLICT (tenant_id, id) DO UPDATE SET operation = excluded.operation, status = excluded.status, \
             enrollment = excluded.enrollment, serial = excluded.serial, request = excluded.request, \
             payload = excluded.payload, updated_at = excluded.updated_at, revision = excluded.revision"
        );
        let params = params![
            self.scope.key(),
            &row.id,
            &row.operation,
            &row.status,
            &row.enrollment,
            &row.serial,
            &row.request,
            &row.payload,
            row.created_at,
            row.updated_at,
            row.revision
        ];
        self.conn.execute(SQL, params).await.map(drop)
    }

    pub async fn dps_registration(&mut self, id: &DeviceId) -> Result<Option<DpsRegistrationRow>, StoreError> {
        const SQL: &str = concat!("SELECT ", columns!(), " FROM dps_registration WHERE tenant_id = $1 AND id = $2");
        self.conn.query_opt(SQL, params![self.scope.key(), id]).await
    }

    /// The opaque name of this tenant, if it was given one.
    pub async fn id_scope(&mut self) -> Result<Option<String>, StoreError> {
        const SQL: &str = "SELECT scope FROM id_scope WHERE tenant_id = $1";
        let found: Option<Text> = self.conn.query_opt(SQL, params![self.scope.key()]).await?;
        Ok(found.map(|text| text.0))
    }

    /// Gives this tenant its opaque name; nothing where it has one.
    pub async fn put_id_scope(&mut self, scope: &str, at: Timestamp) -> Result<(), StoreError> {
        const SQL: &str = "INSERT INTO id_scope (tenant_id, scope, created_at) VALUES ($1, $2, $3) \
             ON CONFLICT (tenant_id) DO NOTHING";
        self.conn.execute(SQL, params![self.scope.key(), scope, at]).await.map(drop)
    }
}

impl SystemTx {
    /// Whose opaque name this is.
    pub async fn tenant_by_id_scope(&mut self, scope: &str) -> Result<Option<TenantId>, StoreError> {
        const SQL: &str = "SELECT tenant_id FROM id_scope WHERE scope = $1";
        let found: Option<Whose> = self.across().await?.query_opt(SQL, params![scope]).await?;
        Ok(found.and_then(|whose| whose.0))
    }
}
