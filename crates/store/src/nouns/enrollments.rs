//! Symmetric keys with which devices enrol: of a group, from which each device has one derived, or of one device.

use fleetward_base::Timestamp;

use super::hit;
use crate::sql::{from_row, params};
use crate::{StoreError, TenantTx};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnrollmentRow {
    /// group or individual.
    pub kind: String,
    /// Of the group, or of the device.
    pub name: String,
    /// Sealed, both.
    pub primary_key: Vec<u8>,
    pub secondary_key: Vec<u8>,
    /// What its devices are, where nothing else says it.
    pub class: Option<String>,
    pub hardware: Option<String>,
    /// JSON that a device is given when it registers.
    pub payload: Option<String>,
    pub created_by: String,
    pub created_at: Timestamp,
    pub rotated_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
    pub revision: u64,
}

from_row!(EnrollmentRow {
    kind: text,
    name: text,
    primary_key: bytes,
    secondary_key: bytes,
    class: opt_text,
    hardware: opt_text,
    payload: opt_text,
    created_by: text,
    created_at: time,
    rotated_at: opt_time,
    revoked_at: opt_time,
    revision: count,
});

macro_rules! columns {
    () => {
        "kind, name, primary_key, secondary_key, class, hardware, payload, created_by, created_at, rotated_at, \
         revoked_at, revision"
    };
}

impl TenantTx {
    /// One of this kind and name there already is `Conflict`.
    pub async fn insert_enrollment(&mut self, row: &EnrollmentRow) -> Result<(), StoreError> {
        const SQL: &str = concat!(
            "INSERT INTO enrollment (tenant_id, ",
            columns!(),
            ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)"
        );
        let params = params![
            self.scope.key(),
            &row.kind,
            &row.name,
            &row.primary_key,
            &row.secondary_key,
            &row.class,
            &row.hardware,
            &row.payload,
            &row.created_by,
            row.created_at,
            row.rotated_at,
            row.revoked_at,
            row.revision
        ];
        self.conn.execute(SQL, params).await.map(drop)
    }

    pub async fn enrollment(&mut self, kind: &str, name: &str) -> Result<Option<EnrollmentRow>, StoreError> {
        const SQL: &str =
            concat!("SELECT ", columns!(), " FROM enrollment WHERE tenant_id = $1 AND kind = $2 AND name = $3");
        self.conn.query_opt(SQL, params![self.scope.key(), kind, name]).await
    }

    pub async fn enrollments(
        &mut self,
        kind: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<EnrollmentRow>, StoreError> {
        const SQL: &str = concat!(
            "SELECT ",
            columns!(),
            " FROM enrollment WHERE tenant_id = $1 AND kind = $2 AND name > $3 ORDER BY name LIMIT $4"
        );
        self.conn.query(SQL, params![self.scope.key(), kind, after.unwrap_or(""), limit]).await
    }

    /// How many of this kind there are that were not revoked.
    pub async fn count_enrollments(&mut self, kind: &str) -> Result<u64, StoreError> {
        const SQL: &str = "SELECT count(*) FROM enrollment WHERE tenant_id = $1 AND kind = $2 AND revoked_at IS NULL";
        Ok(self.conn.query_opt(SQL, params![self.scope.key(), kind]).await?.unwrap_or(0))
    }

    /// Writes keys, and the moments of rotation and revocation.
    pub async fn update_enrollment(&mut self, row: &EnrollmentRow, expected: u64) -> Result<bool, StoreError> {
        const SQL: &str = "UPDATE enrollment SET primary_key = $4, secondary_key = $5, rotated_at = $6, \
             revoked_at = $7, revision = $8 WHERE tenant_id = $1 AND kind = $2 AND name = $3 AND revision = $9";
        let params = params![
            self.scope.key(),
            &row.kind,
            &row.name,
            &row.primary_key,
            &row.secondary_key,
            row.rotated_at,
            row.revoked_at,
            row.revision,
            expected
        ];
        self.conn.execute(SQL, params).await.map(hit)
    }
}
