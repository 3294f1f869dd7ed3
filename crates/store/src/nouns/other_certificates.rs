//! Certificates that authorities of ours signed and that are no device's: of claims, of attestation keys, of who answers for
//! an authority, of servers, and those that waited for a device and got none. A row is never removed.

use fleetward_base::Timestamp;

use super::hit;
use crate::sql::{from_row, params};
use crate::{StoreError, TenantTx};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OtherCertificateRow {
    /// The serial number, hex.
    pub serial: String,
    /// Fingerprint of the authority that signed it; empty where that was not written down.
    pub authority: String,
    /// SHA-256 of the certificate, hex.
    pub fingerprint: String,
    /// `claim`, `attestation-key`, `registration`, `ocsp`, `server` or `forgotten`.
    pub kind: String,
    pub der: Vec<u8>,
    pub issued_at: Timestamp,
    pub not_after: Timestamp,
    pub revoked_at: Option<Timestamp>,
    pub reason: Option<String>,
}

from_row!(OtherCertificateRow {
    serial: text,
    authority: text,
    fingerprint: text,
    kind: text,
    der: bytes,
    issued_at: time,
    not_after: time,
    revoked_at: opt_time,
    reason: opt_text,
});

macro_rules! columns {
    () => {
        "serial, authority, fingerprint, kind, der, issued_at, not_after, revoked_at, reason"
    };
}

impl TenantTx {
    /// One that is revoked already waits for its list. A serial number there already is `Conflict`.
    pub async fn insert_other_certificate(&mut self, row: &OtherCertificateRow) -> Result<(), StoreError> {
        const SQL: &str = concat!(
            "INSERT INTO other_certificate (tenant_id, ",
            columns!(),
            ", crl_pending) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"
        );
        let params = params![
            self.scope.key(),
            &row.serial,
            &row.authority,
            &row.fingerprint,
            &row.kind,
            &row.der,
            row.issued_at,
            row.not_after,
            row.revoked_at,
            &row.reason,
            row.revoked_at.is_some()
        ];
        self.conn.execute(SQL, params).await.map(drop)
    }

    pub async fn other_certificate(&mut self, serial: &str) -> Result<Option<OtherCertificateRow>, StoreError> {
        const SQL: &str =
            concat!("SELECT ", columns!(), " FROM other_certificate WHERE tenant_id = $1 AND serial = $2");
        self.conn.query_opt(SQL, params![self.scope.key(), serial]).await
    }

    /// It waits for its list from here on; `false` where there is none, or it was revoked before.
    pub async fn revoke_other_certificate(
        &mut self,
        serial: &str,
        reason: &str,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        const SQL: &str = "UPDATE other_certificate SET revoked_at = $3, reason = $4, crl_pending = 1 \
             WHERE tenant_id = $1 AND serial = $2 AND revoked_at IS NULL";
        self.conn.execute(SQL, params![self.scope.key(), serial, at, reason]).await.map(hit)
    }

    /// What rests on an authority beside certificates of devices, at `now`: claims that count, and certificates that wait
    /// for their device. A claim of which nobody wrote down the authority rests on each.
    pub async fn resting_claims(&mut self, authority: &str, now: Timestamp) -> Result<u64, StoreError> {
        const SQL: &str = "SELECT (SELECT count(*) FROM other_certificate WHERE tenant_id = $1 \
             AND authority IN ($2, '') AND kind = 'claim' AND revoked_at IS NULL AND not_after >= $3) \
             + (SELECT count(*) FROM pending_certificate WHERE tenant_id = $1 AND authority = $2 AND expires_at > $3)";
        Ok(self.conn.query_opt(SQL, params![self.scope.key(), authority, now]).await?.unwrap_or(0))
    }
}
