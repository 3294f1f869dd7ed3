//! What each device proved last, and what it is in the middle of proving: one row a device, so nothing piles up.

use fleetward_base::{DeviceId, Timestamp};

use super::hit;
use crate::sql::{Sql, for_update, from_row, params};
use crate::{StoreError, TenantTx};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttestationRow {
    pub device: DeviceId,
    /// The nonce that waits for its answer; taken away by the first.
    pub challenge: Option<Vec<u8>>,
    pub challenge_until: Option<Timestamp>,
    /// JSON of an activation that waits for its proof.
    pub pending: Option<String>,
    /// What no other hardware has, hex.
    pub identity: Option<String>,
    /// The root of trust that it stands on.
    pub root: Option<String>,
    /// The configured root or key that vouches for it.
    pub anchor: Option<String>,
    /// TPMT_PUBLIC of the activated attestation key.
    pub attestation_key: Option<Vec<u8>>,
    /// The certificate that was issued for it, DER.
    pub key_certificate: Option<Vec<u8>>,
    pub format: Option<String>,
    pub verdict: Option<String>,
    /// JSON, a list of words.
    pub reasons: String,
    /// JSON, a list of names and digests.
    pub measurements: String,
    /// SHA-256 of the device's key (a SubjectPublicKeyInfo) that the hardware certified with it.
    pub certified_key: Option<Vec<u8>>,
    pub boots: Option<u64>,
    pub clock_ms: Option<u64>,
    pub attested_at: Option<Timestamp>,
    /// Whether it was noticed that it is overdue.
    pub lapsed: bool,
    pub updated_at: Timestamp,
}

from_row!(AttestationRow {
    device: id,
    challenge: opt_bytes,
    challenge_until: opt_time,
    pending: opt_text,
    identity: opt_text,
    root: opt_text,
    anchor: opt_text,
    attestation_key: opt_bytes,
    key_certificate: opt_bytes,
    format: opt_text,
    verdict: opt_text,
    reasons: text,
    measurements: text,
    certified_key: opt_bytes,
    boots: opt_count,
    clock_ms: opt_count,
    attested_at: opt_time,
    lapsed: bool,
    updated_at: time,
});

macro_rules! columns {
    () => {
        "device, challenge, challenge_until, pending, identity, root, anchor, attestation_key, key_certificate, format, \
         verdict, reasons, measurements, certified_key, boots, clock_ms, attested_at, lapsed, updated_at"
    };
}

impl AttestationRow {
    /// A device that proved nothing yet.
    pub fn new(device: DeviceId, now: Timestamp) -> Self {
        Self {
            device,
            challenge: None,
            challenge_until: None,
            pending: None,
            identity: None,
            root: None,
            anchor: None,
            attestation_key: None,
            key_certificate: None,
            format: None,
            verdict: None,
            reasons: String::from("[]"),
            measurements: String::from("[]"),
            certified_key: None,
            boots: None,
            clock_ms: None,
            attested_at: None,
            lapsed: false,
            updated_at: now,
        }
    }
}

impl TenantTx {
    pub async fn attestation(&mut self, device: &DeviceId) -> Result<Option<AttestationRow>, StoreError> {
        const SQL: &str = concat!("SELECT ", columns!(), " FROM attestation WHERE tenant_id = $1 AND device = $2");
        self.conn.query_opt(SQL, params![self.scope.key(), device]).await
    }

    /// As [`attestation`](Self::attestation), and nobody else changes it until the unit ends.
    pub async fn attestation_for_update(&mut self, device: &DeviceId) -> Result<Option<AttestationRow>, StoreError> {
        const SQL: Sql = for_update!("SELECT ", columns!(), " FROM attestation WHERE tenant_id = $1 AND device = $2");
        self.conn.query_opt(SQL, params![self.scope.key(), device]).await
    }

    /// Writes the row, in the place of the one before.
    pub async fn put_attestation(&mut self, row: &AttestationRow) -> Result<(), StoreError> {
        const SQL: &str = concat!(
            "INSERT INTO attestation (tenant_id, ",
            columns!(),
            ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20) \
             ON CONFLICT (tenant_id, device) DO UPDATE SET challenge = excluded.challenge, \
             challenge_until = excluded.challenge_until, pending = excluded.pending, identity = excluded.identity, \
             root = excluded.root, anchor = excluded.anchor, attestation_key = excluded.attestation_key, \
             key_certificate = excluded.key_certificate, format = excluded.format, verdict = excluded.verdict, \
             reasons = excluded.reasons, measurements = excluded.measurements, \
             certified_key = excluded.certified_key, boots = excluded.boots, clock_ms = excluded.clock_ms, \
             attested_at = excluded.attested_at, lapsed = excluded.lapsed, updated_at = excluded.updated_at"
        );
        let params = params![
            self.scope.key(),
            &row.device,
            &row.challenge,
            row.challenge_until,
            &row.pending,
            &row.identity,
            &row.root,
            &row.anchor,
            &row.attestation_key,
            &row.key_certificate,
            &row.format,
            &row.verdict,
            &row.reasons,
            &row.measurements,
            &row.certified_key,
            row.boots,
            row.clock_ms,
            row.attested_at,
            row.lapsed,
            row.updated_at
        ];
        self.conn.execute(SQL, params).await.map(drop)
    }

    /// Forgets what the device proved: it begins anew. `false` where there was nothing.
    pub async fn forget_attestation(&mut self, device: &DeviceId) -> Result<bool, StoreError> {
        const SQL: &str = "DELETE FROM attestation WHERE tenant_id = $1 AND device = $2";
        self.conn.execute(SQL, params![self.scope.key(), device]).await.map(hit)
    }

    /// Devices other than `but` that attested with this hardware before and are not at their end. One that was found to
    /// have another's hardware does not count: the first one keeps it.
    pub async fn devices_with_hardware(
        &mut self,
        identity: &str,
        but: &DeviceId,
        limit: u32,
    ) -> Result<Vec<DeviceId>, StoreError> {
        const SQL: &str = "SELECT a.device FROM attestation AS a \
             JOIN device AS d ON d.tenant_id = a.tenant_id AND d.id = a.device \
             WHERE a.tenant_id = $1 AND a.identity = $2 AND a.device <> $3 AND d.status <> 'decommissioned' \
             AND a.attested_at IS NOT NULL AND a.reasons NOT LIKE '%hardware-elsewhere%' ORDER BY a.device LIMIT $4";
        self.conn.query(SQL, params![self.scope.key(), identity, but, limit]).await
    }

    /// Devices that attested last before `before` and of which this was not noticed yet, the longest ago first.
    pub async fn lapsing_attestations(&mut self, before: Timestamp, limit: u32) -> Result<Vec<DeviceId>, StoreError> {
        const SQL: &str = "SELECT device FROM attestation WHERE tenant_id = $1 AND lapsed = 0 AND attested_at < $2 \
             ORDER BY attested_at, device LIMIT $3";
        self.conn.query(SQL, params![self.scope.key(), before, limit]).await
    }

    /// `false` where it was noticed before, or there is nothing.
    pub async fn lapse_attestation(&mut self, device: &DeviceId) -> Result<bool, StoreError> {
        const SQL: &str = "UPDATE attestation SET lapsed = 1 WHERE tenant_id = $1 AND device = $2 AND lapsed = 0";
        self.conn.execute(SQL, params![self.scope.key(), device]).await.map(hit)
    }
}
