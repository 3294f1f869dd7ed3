//! Which devices hold a root as a trust anchor. A root must not be used before enough of them do.

use fleetward_base::{DeviceId, Timestamp};

use super::hit;
use crate::sql::{from_row, params};
use crate::{StoreError, SystemTx, TenantTx};

/// Devices that count, and how many of them hold the anchor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnchorCount {
    pub active: u64,
    pub holding: u64,
}

from_row!(AnchorCount { active: count, holding: count });

impl TenantTx {
    /// `true` where it was not known before.
    pub async fn hold_anchor(
        &mut self,
        device: &DeviceId,
        fingerprint: &str,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        const SQL: &str = "INSERT INTO anchor_held (tenant_id, fingerprint, device, since) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (tenant_id, fingerprint, device) DO NOTHING";
        self.conn.execute(SQL, params![self.scope.key(), fingerprint, device, at]).await.map(hit)
    }

    pub async fn holds_anchor(&mut self, device: &DeviceId, fingerprint: &str) -> Result<bool, StoreError> {
        const SQL: &str = "SELECT count(*) FROM anchor_held WHERE tenant_id = $1 AND fingerprint = $2 AND device = $3";
        let found: u64 = self.conn.query_one(SQL, params![self.scope.key(), fingerprint, device]).await?;
        Ok(found > 0)
    }

    /// The device holds it no more; `false` where that was known.
    pub async fn drop_anchor(&mut self, device: &DeviceId, fingerprint: &str) -> Result<bool, StoreError> {
        const SQL: &str = "DELETE FROM anchor_held WHERE tenant_id = $1 AND fingerprint = $2 AND device = $3";
        self.conn.execute(SQL, params![self.scope.key(), fingerprint, device]).await.map(hit)
    }

    /// Among the tenant's active devices.
    pub async fn anchor_count(&mut self, fingerprint: &str) -> Result<AnchorCount, StoreError> {
        const SQL: &str = "SELECT count(*), count(h.device) FROM device AS d LEFT JOIN anchor_held AS h \
             ON h.tenant_id = $1 AND h.fingerprint = $2 AND h.device = d.id \
             WHERE d.tenant_id = $1 AND d.status = 'active'";
        let counted = self.conn.query_opt(SQL, params![self.scope.key(), fingerprint]).await?;
        Ok(counted.unwrap_or(AnchorCount { active: 0, holding: 0 }))
    }

    /// Active devices that do not hold it, by name, after `after`.
    pub async fn without_anchor(
        &mut self,
        fingerprint: &str,
        after: Option<&DeviceId>,
        limit: u32,
    ) -> Result<Vec<DeviceId>, StoreError> {
        const SQL: &str = "SELECT d.id FROM device AS d WHERE d.tenant_id = $1 AND d.status = 'active' AND d.id > $3 \
             AND NOT EXISTS (SELECT 1 FROM anchor_held AS h WHERE h.tenant_id = $1 AND h.fingerprint = $2 \
             AND h.device = d.id) ORDER BY d.id LIMIT $4";
        let after = after.map_or("", DeviceId::as_str);
        self.conn.query(SQL, params![self.scope.key(), fingerprint, after, limit]).await
    }
}

impl SystemTx {
    /// Among the active devices of all tenants.
    pub async fn anchor_count_of_all(&mut self, fingerprint: &str) -> Result<AnchorCount, StoreError> {
        const SQL: &str = "SELECT count(*), count(h.device) FROM device AS d LEFT JOIN anchor_held AS h \
             ON h.tenant_id = d.tenant_id AND h.fingerprint = $1 AND h.device = d.id WHERE d.status = 'active'";
        let counted = self.across().await?.query_opt(SQL, params![fingerprint]).await?;
        Ok(counted.unwrap_or(AnchorCount { active: 0, holding: 0 }))
    }
}
