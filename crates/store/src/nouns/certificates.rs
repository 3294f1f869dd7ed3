//! Certificates of devices. A row is never removed: who held which certificate when is evidence.

use fleetward_base::{DeviceId, Timestamp};

use super::hit;
use crate::sql::{Cells, FromRow, from_row, params};
use crate::{StoreError, TenantTx};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateRow {
    /// The serial number, hex.
    pub serial: String,
    pub device: DeviceId,
    /// Fingerprint of the authority that issued it.
    pub authority: String,
    /// SHA-256 of the certificate, hex.
    pub fingerprint: String,
    /// SHA-256 over tenant, public key and subject: the same request gets the same certificate.
    pub request: Vec<u8>,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
    pub der: Vec<u8>,
    /// One of `core::rotation::Standing`.
    pub status: String,
    pub issued_at: Timestamp,
    pub proven_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
    /// Why it was revoked.
    pub reason: Option<String>,
    /// The way in by which it was asked for, or `renewal`.
    pub way: String,
    /// What was shown on that way: the id of a token, of a claim, of a factory's authority; the serial that was renewed.
    pub source: Option<String>,
}

from_row!(CertificateRow {
    serial: text,
    device: id,
    authority: text,
    fingerprint: text,
    request: bytes,
    not_before: time,
    not_after: time,
    der: bytes,
    status: text,
    issued_at: time,
    proven_at: opt_time,
    revoked_at: opt_time,
    reason: opt_text,
    way: text,
    source: opt_text,
});

macro_rules! columns {
    () => {
        "serial, device, authority, fingerprint, request, not_before, not_after, der, status, issued_at, proven_at, \
         revoked_at, reason, way, source"
    };
}

struct Serial(String);

impl FromRow for Serial {
    fn from_row(cells: &mut Cells) -> Result<Self, StoreError> {
        cells.text().map(Self)
    }
}

impl TenantTx {
    /// A serial number or fingerprint there already is `Conflict`.
    pub async fn insert_certificate(&mut self, row: &CertificateRow) -> Result<(), StoreError> {
        const SQL: &str = concat!(
            "INSERT INTO certificate (tenant_id, ",
            columns!(),
            ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)"
        );
        let params = params![
            self.scope.key(),
            &row.serial,
            &row.device,
            &row.authority,
            &row.fingerprint,
            &row.request,
            row.not_before,
            row.not_after,
            &row.der,
            &row.status,
            row.issued_at,
            row.proven_at,
            row.revoked_at,
            &row.reason,
            &row.way,
            &row.source
        ];
        self.conn.execute(SQL, params).await.map(drop)
    }

    pub async fn certificate(&mut self, serial: &str) -> Result<Option<CertificateRow>, StoreError> {
        const SQL: &str = concat!("SELECT ", columns!(), " FROM certificate WHERE tenant_id = $1 AND serial = $2");
        self.conn.query_opt(SQL, params![self.scope.key(), serial]).await
    }

    pub async fn certificate_by_fingerprint(
        &mut self,
        fingerprint: &str,
    ) -> Result<Option<CertificateRow>, StoreError> {
        const SQL: &str = concat!("SELECT ", columns!(), " FROM certificate WHERE tenant_id = $1 AND fingerprint = $2");
        self.conn.query_opt(SQL, params![self.scope.key(), fingerprint]).await
    }

    /// The newest one that the device got for the same request and that is not revoked.
    pub async fn certificate_by_request(
        &mut self,
        device: &DeviceId,
        request: &[u8],
    ) -> Result<Option<CertificateRow>, StoreError> {
        const SQL: &str = concat!(
            "SELECT ",
            columns!(),
            " FROM certificate WHERE tenant_id = $1 AND device = $2 AND request = $3 AND status <> 'revoked' \
             ORDER BY issued_at DESC, serial LIMIT 1"
        );
        self.conn.query_opt(SQL, params![self.scope.key(), device, request]).await
    }

    /// Those of a device, the newest first.
    pub async fn certificates(&mut self, device: &DeviceId, limit: u32) -> Result<Vec<CertificateRow>, StoreError> {
        const SQL: &str = concat!(
            "SELECT ",
            columns!(),
            " FROM certificate WHERE tenant_id = $1 AND device = $2 ORDER BY issued_at DESC, serial LIMIT $3"
        );
        self.conn.query(SQL, params![self.scope.key(), device, limit]).await
    }

    /// Those of all devices, in the order of their serial numbers.
    pub async fn all_certificates(
        &mut self,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<CertificateRow>, StoreError> {
        const SQL: &str = concat!(
            "SELECT ",
            columns!(),
            " FROM certificate WHERE tenant_id = $1 AND serial > $2 ORDER BY serial LIMIT $3"
        );
        self.conn.query(SQL, params![self.scope.key(), after.unwrap_or_default(), limit]).await
    }

    /// `false` where there is no such certificate, or it was revoked before.
    pub async fn revoke_certificate(&mut self, serial: &str, reason: &str, at: Timestamp) -> Result<bool, StoreError> {
        const SQL: &str = "UPDATE certificate SET status = 'revoked', revoked_at = $3, reason = $4, crl_pending = 1 \
             WHERE tenant_id = $1 AND serial = $2 AND status <> 'revoked'";
        self.conn.execute(SQL, params![self.scope.key(), serial, at, reason]).await.map(hit)
    }

    /// Revokes all of a device; the serial numbers of those that were not revoked before.
    pub async fn revoke_certificates(
        &mut self,
        device: &DeviceId,
        reason: &str,
        at: Timestamp,
    ) -> Result<Vec<String>, StoreError> {
        const SQL: &str = "UPDATE certificate SET status = 'revoked', revoked_at = $3, reason = $4, crl_pending = 1 \
             WHERE tenant_id = $1 AND device = $2 AND status <> 'revoked' RETURNING serial";
        let serials: Vec<Serial> = self.conn.query(SQL, params![self.scope.key(), device, at, reason]).await?;
        Ok(serials.into_iter().map(|serial| serial.0).collect())
    }
}
