//! The ladder of certificates, and devices that are asked to renew. What a step is, is decided in `core::rotation`.

use fleetward_base::{DeviceId, TenantId, Timestamp};

use super::{Of, hit};
use crate::sql::{from_row, params};
use crate::{StoreError, SystemTx, TenantTx};

/// What a certificate's next step needs to know. There is one beside every certificate that is not at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RotationRow {
    pub serial: String,
    pub device: DeviceId,
    /// Ties together what the journal says of how this certificate took the place of another.
    pub id: String,
    pub deadline: Option<Timestamp>,
    pub sessions: u32,
    pub session_at: Option<Timestamp>,
    /// When to look whether its end is to be told.
    pub alert_at: Option<Timestamp>,
}

/// A certificate that is not at its end, with its place on the ladder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LadderRow {
    pub serial: String,
    pub status: String,
    pub issued_at: Timestamp,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
    pub id: String,
    pub deadline: Option<Timestamp>,
    pub sessions: u32,
    pub session_at: Option<Timestamp>,
    /// The days before its end that were told last.
    pub told: Option<u64>,
}

from_row!(LadderRow {
    serial: text,
    status: text,
    issued_at: time,
    not_before: time,
    not_after: time,
    id: text,
    deadline: opt_time,
    sessions: small,
    session_at: opt_time,
    told: opt_count,
});

/// A certificate whose end may have to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExpiringRow {
    pub serial: String,
    pub device: DeviceId,
    pub status: String,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
    pub told: Option<u64>,
}

from_row!(ExpiringRow { serial: text, device: id, status: text, not_before: time, not_after: time, told: opt_count });

/// A device that is to renew now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenewalRequestRow {
    pub device: DeviceId,
    pub id: String,
    pub reason: String,
    /// The old certificate gets no grace.
    pub at_once: bool,
    pub asked_by: String,
    pub asked_at: Timestamp,
}

from_row!(RenewalRequestRow { device: id, id: text, reason: text, at_once: bool, asked_by: text, asked_at: time });

impl TenantTx {
    pub async fn insert_rotation(&mut self, row: &RotationRow) -> Result<(), StoreError> {
        const SQL: &str = "INSERT INTO rotation (tenant_id, serial, device, id, deadline, sessions, session_at, alert_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
        let params = params![
            self.scope.key(),
            &row.serial,
            &row.device,
            &row.id,
            row.deadline,
            row.sessions,
            row.session_at,
            row.alert_at
        ];
        self.conn.execute(SQL, params).await.map(drop)
    }

    /// The certificates of a device that are not at their end, the oldest first.
    pub async fn ladder(&mut self, device: &DeviceId) -> Result<Vec<LadderRow>, StoreError> {
        const SQL: &str = "SELECT c.serial, c.status, c.issued_at, c.not_before, c.not_after, coalesce(r.id, c.serial), \
             r.deadline, coalesce(r.sessions, 0), r.session_at, r.told FROM certificate AS c \
             LEFT JOIN rotation AS r ON r.tenant_id = c.tenant_id AND r.serial = c.serial \
             WHERE c.tenant_id = $1 AND c.device = $2 AND c.status IN ('issued', 'proven', 'active', 'superseded') \
             ORDER BY c.issued_at, c.serial";
        self.conn.query(SQL, params![self.scope.key(), device]).await
    }

    /// Takes a certificate from one standing to another; `false` where it does not stand there. What is `None` stays. One
    /// that ended waits for its list from here on.
    pub async fn step_certificate(
        &mut self,
        serial: &str,
        from: &str,
        to: &str,
        proven_at: Option<Timestamp>,
        ended: Option<(Timestamp, &str)>,
    ) -> Result<bool, StoreError> {
        const SQL: &str = "UPDATE certificate SET status = $4, proven_at = coalesce(proven_at, $5), \
             revoked_at = coalesce(revoked_at, $6), reason = coalesce(reason, $7), \
             crl_pending = CASE WHEN CAST($6 AS BIGINT) IS NULL THEN crl_pending ELSE 1 END \
             WHERE tenant_id = $1 AND serial = $2 AND status = $3";
        let (ended_at, reason) = (ended.map(|(at, _)| at), ended.map(|(_, reason)| reason));
        let params = params![self.scope.key(), serial, from, to, proven_at, ended_at, reason];
        self.conn.execute(SQL, params).await.map(hit)
    }

    /// Writes deadline, sessions and the moment of the next look.
    pub async fn update_rotation(&mut self, row: &RotationRow) -> Result<bool, StoreError> {
        const SQL: &str = "UPDATE rotation SET deadline = $3, sessions = $4, session_at = $5, alert_at = $6 \
             WHERE tenant_id = $1 AND serial = $2";
        let params = params![self.scope.key(), &row.serial, row.deadline, row.sessions, row.session_at, row.alert_at];
        self.conn.execute(SQL, params).await.map(hit)
    }

    /// That a certificate's end was told; `next` is when to look again.
    pub async fn tell_expiry(
        &mut self,
        serial: &str,
        told: Option<u64>,
        next: Option<Timestamp>,
    ) -> Result<bool, StoreError> {
        const SQL: &str =
            "UPDATE rotation SET told = coalesce($3, told), alert_at = $4 WHERE tenant_id = $1 AND serial = $2";
        self.conn.execute(SQL, params![self.scope.key(), serial, told, next]).await.map(hit)
    }

    /// Asks a device to renew. What was asked before is asked again, and an emergency stays one.
    pub async fn put_renewal_request(&mut self, row: &RenewalRequestRow) -> Result<(), StoreError> {
        const SQL: &str = "INSERT INTO renewal_request (tenant_id, device, id, reason, at_once, asked_by, asked_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (tenant_id, device) DO UPDATE SET id = excluded.id, \
             reason = excluded.reason, asked_by = excluded.asked_by, asked_at = excluded.asked_at, \
             at_once = CASE WHEN renewal_request.at_once = 1 THEN 1 ELSE excluded.at_once END";
        let params =
            params![self.scope.key(), &row.device, &row.id, &row.reason, row.at_once, &row.asked_by, row.asked_at];
        self.conn.execute(SQL, params).await.map(drop)
    }

    pub async fn renewal_request(&mut self, device: &DeviceId) -> Result<Option<RenewalRequestRow>, StoreError> {
        const SQL: &str = "SELECT device, id, reason, at_once, asked_by, asked_at FROM renewal_request \
             WHERE tenant_id = $1 AND device = $2";
        self.conn.query_opt(SQL, params![self.scope.key(), device]).await
    }

    /// The device renewed, or need no longer. `false` where it was not asked.
    pub async fn remove_renewal_request(&mut self, device: &DeviceId) -> Result<bool, StoreError> {
        const SQL: &str = "DELETE FROM renewal_request WHERE tenant_id = $1 AND device = $2";
        self.conn.execute(SQL, params![self.scope.key(), device]).await.map(hit)
    }
}

impl SystemTx {
    /// Devices with a certificate whose deadline is over, by tenant and name; each once.
    pub async fn due_rotations(
        &mut self,
        now: Timestamp,
        after: Option<(&TenantId, &DeviceId)>,
        limit: u32,
    ) -> Result<Vec<Of<DeviceId>>, StoreError> {
        // What was revoked meanwhile has nothing left to wait for.
        const SQL: &str = "SELECT DISTINCT r.tenant_id, r.device FROM rotation AS r JOIN certificate AS c \
             ON c.tenant_id = r.tenant_id AND c.serial = r.serial WHERE r.deadline <= $1 \
             AND c.status IN ('issued', 'proven', 'superseded') AND (r.tenant_id, r.device) > ($2, $3) \
             ORDER BY r.tenant_id, r.device LIMIT $4";
        let (tenant, device) = after.map_or(("", ""), |(tenant, device)| (tenant.as_str(), device.as_str()));
        self.across().await?.query(SQL, params![now, tenant, device, limit]).await
    }

    /// Certificates whose end may have to be told by now, by tenant and serial number.
    pub async fn due_alerts(
        &mut self,
        now: Timestamp,
        after: Option<(&TenantId, &str)>,
        limit: u32,
    ) -> Result<Vec<Of<ExpiringRow>>, StoreError> {
        const SQL: &str = "SELECT r.tenant_id, r.serial, r.device, c.status, c.not_before, c.not_after, r.told \
             FROM rotation AS r JOIN certificate AS c ON c.tenant_id = r.tenant_id AND c.serial = r.serial \
             WHERE r.alert_at <= $1 AND (r.tenant_id, r.serial) > ($2, $3) ORDER BY r.tenant_id, r.serial LIMIT $4";
        let (tenant, serial) = after.map_or(("", ""), |(tenant, serial)| (tenant.as_str(), serial));
        self.across().await?.query(SQL, params![now, tenant, serial, limit]).await
    }

    /// How many certificates that are in use end before each of these moments.
    pub async fn count_expiring(&mut self, before: [Timestamp; 3], now: Timestamp) -> Result<[u64; 3], StoreError> {
        const SQL: &str = "SELECT count(*) FROM certificate WHERE status IN ('proven', 'active') \
             AND not_after >= $2 AND not_after < $1";
        let mut counts = [0; 3];
        for (count, before) in counts.iter_mut().zip(before) {
            *count = self.across().await?.query_one(SQL, params![before, now]).await?;
        }
        Ok(counts)
    }
}
