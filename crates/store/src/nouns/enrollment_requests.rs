//! Devices that wait until a person lets them in.

use fleetward_base::{DeviceId, Timestamp, TokenId};

use super::{Of, hit};
use crate::sql::{Sql, for_update, from_row, params};
use crate::{StoreError, SystemTx, TenantTx};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnrollmentRequestRow {
    /// In hex: SHA-256 over tenant, public key and subject, or over the device code where there is no key yet.
    pub id: String,
    /// What a person reads and types.
    pub user_code: String,
    pub device: DeviceId,
    /// The way in that it asked by.
    pub way: String,
    /// SHA-256 of the public key, in hex; none where the device sent none.
    pub key_fingerprint: Option<String>,
    /// A JSON object: what is known of it.
    pub facts: String,
    pub address: Option<String>,
    /// pending, approved, denied or used.
    pub state: String,
    /// SHA-256 of the code that the device polls with.
    pub device_code: Option<Vec<u8>>,
    pub created_at: Timestamp,
    pub expires_at: Timestamp,
    pub decided_by: Option<String>,
    pub decided_at: Option<Timestamp>,
    pub note: Option<String>,
    /// The enrolment token that was given out for it.
    pub token: Option<TokenId>,
}

from_row!(EnrollmentRequestRow {
    id: text,
    user_code: text,
    device: id,
    way: text,
    key_fingerprint: opt_text,
    facts: text,
    address: opt_text,
    state: text,
    device_code: opt_bytes,
    created_at: time,
    expires_at: time,
    decided_by: opt_text,
    decided_at: opt_time,
    note: opt_text,
    token: opt_id,
});

macro_rules! columns {
    () => {
        "id, user_code, device, way, key_fingerprint, facts, address, state, device_code, created_at, \
         expires_at, decided_by, decided_at, note, token"
    };
}

impl TenantTx {
    /// One of this id or user code there already is `Conflict`.
    pub async fn insert_enrollment_request(&mut self, row: &EnrollmentRequestRow) -> Result<(), StoreError> {
        const SQL: &str = concat!(
            "INSERT INTO enrollment_request (tenant_id, ",
            columns!(),
            ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)"
        );
        let params = params![
            self.scope.key(),
            &row.id,
            &row.user_code,
            &row.device,
            &row.way,
            &row.key_fingerprint,
            &row.facts,
            &row.address,
            &row.state,
            &row.device_code,
            row.created_at,
            row.expires_at,
            &row.decided_by,
            row.decided_at,
            &row.note,
            row.token
        ];
        self.conn.execute(SQL, params).await.map(drop)
    }

    pub async fn enrollment_request(&mut self, id: &str) -> Result<Option<EnrollmentRequestRow>, StoreError> {
        const SQL: &str = concat!("SELECT ", columns!(), " FROM enrollment_request WHERE tenant_id = $1 AND id = $2");
        self.conn.query_opt(SQL, params![self.scope.key(), id]).await
    }

    /// As [`enrollment_request`](Self::enrollment_request), and nobody else changes it until the unit ends.
    pub async fn enrollment_request_for_update(
        &mut self,
        id: &str,
    ) -> Result<Option<EnrollmentRequestRow>, StoreError> {
        const SQL: Sql =
            for_update!("SELECT ", columns!(), " FROM enrollment_request WHERE tenant_id = $1 AND id = $2");
        self.conn.query_opt(SQL, params![self.scope.key(), id]).await
    }

    pub async fn enrollment_request_by_code(
        &mut self,
        user_code: &str,
    ) -> Result<Option<EnrollmentRequestRow>, StoreError> {
        const SQL: &str =
            concat!("SELECT ", columns!(), " FROM enrollment_request WHERE tenant_id = $1 AND user_code = $2");
        self.conn.query_opt(SQL, params![self.scope.key(), user_code]).await
    }

    /// Oldest first; those in `state`, or all.
    pub async fn enrollment_requests(
        &mut self,
        state: Option<&str>,
        after: Option<(Timestamp, &str)>,
        limit: u32,
    ) -> Result<Vec<EnrollmentRequestRow>, StoreError> {
        const SQL: &str = concat!(
            "SELECT ",
            columns!(),
            " FROM enrollment_request WHERE tenant_id = $1 AND (CAST($2 AS TEXT) IS NULL OR state = $2) \
              AND (created_at > $3 OR (created_at = $3 AND id > $4)) ORDER BY created_at, id LIMIT $5"
        );
        let (at, id) = after.unwrap_or((Timestamp::from_millis(i64::MIN), ""));
        self.conn.query(SQL, params![self.scope.key(), state, at, id, limit]).await
    }

    /// How many wait that have shown something, and how many of them for this device.
    pub async fn count_enrollment_requests(
        &mut self,
        device: &DeviceId,
        now: Timestamp,
    ) -> Result<[u64; 2], StoreError> {
        const ALL: &str = "SELECT count(*) FROM enrollment_request \
             WHERE tenant_id = $1 AND state = 'pending' AND expires_at > $2 AND device_code IS NULL";
        const OWN: &str = "SELECT count(*) FROM enrollment_request \
             WHERE tenant_id = $1 AND device = $3 AND state = 'pending' AND expires_at > $2 AND device_code IS NULL";
        let all = self.conn.query_opt(ALL, params![self.scope.key(), now]).await?;
        let own = self.conn.query_opt(OWN, params![self.scope.key(), now, device]).await?;
        Ok([all.unwrap_or(0), own.unwrap_or(0)])
    }

    /// As [`count_enrollment_requests`](Self::count_enrollment_requests), of those that have nothing to show and poll with a
    /// device code.
    pub async fn count_polled_enrollment_requests(
        &mut self,
        device: &DeviceId,
        now: Timestamp,
    ) -> Result<[u64; 2], StoreError> {
        const ALL: &str = "SELECT count(*) FROM enrollment_request \
             WHERE tenant_id = $1 AND state = 'pending' AND expires_at > $2 AND device_code IS NOT NULL";
        const OWN: &str = "SELECT count(*) FROM enrollment_request \
             WHERE tenant_id = $1 AND device = $3 AND state = 'pending' AND expires_at > $2 AND device_code IS NOT NULL";
        let all = self.conn.query_opt(ALL, params![self.scope.key(), now]).await?;
        let own = self.conn.query_opt(OWN, params![self.scope.key(), now, device]).await?;
        Ok([all.unwrap_or(0), own.unwrap_or(0)])
    }

    /// Writes every field but the id.
    pub async fn update_enrollment_request(&mut self, row: &EnrollmentRequestRow) -> Result<bool, StoreError> {
        const SQL: &str = "UPDATE enrollment_request SET user_code = $3, device = $4, way = $5, key_fingerprint = $6, \
             facts = $7, address = $8, state = $9, device_code = $10, created_at = $11, expires_at = $12, \
             decided_by = $13, decided_at = $14, note = $15, token = $16 WHERE tenant_id = $1 AND id = $2";
        let params = params![
            self.scope.key(),
            &row.id,
            &row.user_code,
            &row.device,
            &row.way,
            &row.key_fingerprint,
            &row.facts,
            &row.address,
            &row.state,
            &row.device_code,
            row.created_at,
            row.expires_at,
            &row.decided_by,
            row.decided_at,
            &row.note,
            row.token
        ];
        self.conn.execute(SQL, params).await.map(hit)
    }

    /// Forgets those that expired before `before`; how many.
    pub async fn forget_enrollment_requests(&mut self, before: Timestamp) -> Result<u64, StoreError> {
        const SQL: &str = "DELETE FROM enrollment_request WHERE tenant_id = $1 AND expires_at < $2";
        self.conn.execute(SQL, params![self.scope.key(), before]).await
    }
}

impl SystemTx {
    /// Whose request is polled with the code of this hash.
    pub async fn enrollment_request_by_device_code(
        &mut self,
        hash: &[u8],
    ) -> Result<Option<Of<EnrollmentRequestRow>>, StoreError> {
        const SQL: &str = concat!("SELECT tenant_id, ", columns!(), " FROM enrollment_request WHERE device_code = $1");
        self.across().await?.query_opt(SQL, params![hash]).await
    }
}
