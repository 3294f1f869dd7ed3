//! What is good: measurements of a cohort, given by an operator or taught by its first devices.

use fleetward_base::Timestamp;

use super::hit;
use crate::sql::{Sql, for_update, from_row, params};
use crate::{StoreError, TenantTx};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttestationReferenceRow {
    /// A hash of hardware and firmware, hex.
    pub id: String,
    pub hardware: String,
    /// `*` for any.
    pub firmware: String,
    /// `learning` or `locked`.
    pub state: String,
    /// How many devices teach.
    pub wanted: u64,
    /// JSON, the devices that taught.
    pub teachers: String,
    /// JSON, digests by name.
    pub measurements: String,
    pub revision: u64,
    pub created_by: String,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

from_row!(AttestationReferenceRow {
    id: text,
    hardware: text,
    firmware: text,
    state: text,
    wanted: count,
    teachers: text,
    measurements: text,
    revision: count,
    created_by: text,
    created_at: time,
    updated_at: time,
});

macro_rules! columns {
    () => {
        "id, hardware, firmware, state, wanted, teachers, measurements, revision, created_by, created_at, updated_at"
    };
}

impl TenantTx {
    /// Writes the row, in the place of the one before.
    pub async fn put_attestation_reference(&mut self, row: &AttestationReferenceRow) -> Result<(), StoreError> {
        const SQL: &str = concat!(
            "INSERT INTO attestation_reference (tenant_id, ",
            columns!(),
            ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) ON CONFLICT (tenant_id, id) DO UPDATE SET \
             state = excluded.state, wanted = excluded.wanted, teachers = excluded.teachers, \
             measurements = excluded.measurements, revision = excluded.revision, updated_at = excluded.updated_at"
        );
        let params = params![
            self.scope.key(),
            &row.id,
            &row.hardware,
            &row.firmware,
            &row.state,
            row.wanted,
            &row.teachers,
            &row.measurements,
            row.revision,
            &row.created_by,
            row.created_at,
            row.updated_at
        ];
        self.conn.execute(SQL, params).await.map(drop)
    }

    pub async fn attestation_reference(&mut self, id: &str) -> Result<Option<AttestationReferenceRow>, StoreError> {
        const SQL: &str =
            concat!("SELECT ", columns!(), " FROM attestation_reference WHERE tenant_id = $1 AND id = $2");
        self.conn.query_opt(SQL, params![self.scope.key(), id]).await
    }

    /// As [`attestation_reference`](Self::attestation_reference), and nobody else changes it until the unit ends.
    pub async fn attestation_reference_for_update(
        &mut self,
        id: &str,
    ) -> Result<Option<AttestationReferenceRow>, StoreError> {
        const SQL: Sql =
            for_update!("SELECT ", columns!(), " FROM attestation_reference WHERE tenant_id = $1 AND id = $2");
        self.conn.query_opt(SQL, params![self.scope.key(), id]).await
    }

    pub async fn attestation_references(
        &mut self,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<AttestationReferenceRow>, StoreError> {
        const SQL: &str = concat!(
            "SELECT ",
            columns!(),
            " FROM attestation_reference WHERE tenant_id = $1 AND id > $2 ORDER BY id LIMIT $3"
        );
        self.conn.query(SQL, params![self.scope.key(), after.unwrap_or_default(), limit]).await
    }

    /// `false` where there is none.
    pub async fn remove_attestation_reference(&mut self, id: &str) -> Result<bool, StoreError> {
        const SQL: &str = "DELETE FROM attestation_reference WHERE tenant_id = $1 AND id = $2";
        self.conn.execute(SQL, params![self.scope.key(), id]).await.map(hit)
    }
}
