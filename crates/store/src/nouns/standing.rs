//! How the deployments of a rollout stand beside the presence of their devices: what a rollout's tick asks.

use fleetward_base::{RolloutId, Timestamp};

use super::deployments::{DeploymentKey, DeploymentRow};
use super::selector::{DeviceSelector, selected};
use crate::sql::{Sql, from_row, params};
use crate::{StoreError, TenantTx};

/// How many deployments of a rollout are alike, their devices' presence included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandingRow {
    pub kind: String,
    pub phase: u32,
    pub hardware: String,
    pub status: String,
    /// The device has no connection, as last written.
    pub offline: bool,
    /// And gave no sign of life since the moment that was asked for; a device that never gave one is not silent.
    pub silent: bool,
    pub count: u64,
}

from_row!(StandingRow {
    kind: text,
    phase: small,
    hardware: text,
    status: text,
    offline: bool,
    silent: bool,
    count: count
});

/// Devices of one hardware revision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CohortRow {
    pub hardware: String,
    pub count: u64,
}

from_row!(CohortRow { hardware: text, count: count });

from_row!(DeploymentKey { rollout: id, device: id, kind: text });

/// Updates that succeeded, are what their device runs, and have no way back yet; of devices that are still about.
macro_rules! earned {
    () => {
        " FROM deployment AS d WHERE d.tenant_id = $1 AND d.rollout = $2 AND d.kind = 'update' \
         AND d.status = 'succeeded' AND EXISTS (SELECT 1 FROM device AS e WHERE e.tenant_id = $1 AND e.id = d.device \
         AND e.status <> 'decommissioned') AND NOT EXISTS (SELECT 1 FROM deployment AS o WHERE o.tenant_id = $1 \
         AND o.device = d.device AND ((o.rollout = $2 AND o.kind = 'rollback') OR (o.rollout <> $2 \
         AND o.status = 'succeeded' AND o.finished_at >= d.finished_at)))"
    };
}
pub(super) use earned;

macro_rules! unassigned {
    ($engine:ident) => {
        concat!(
            "SELECT d.hardware, count(*) FROM device AS d WHERE d.tenant_id = $1 AND ",
            selected!($engine),
            " AND NOT EXISTS (SELECT 1 FROM deployment AS p WHERE p.tenant_id = $1 AND p.device = d.id \
              AND p.rollout = $10) GROUP BY d.hardware ORDER BY d.hardware"
        )
    };
}

impl TenantTx {
    /// The deployments of a rollout counted by how they stand. A device is silent that was last heard of at
    /// `silent_before` or earlier.
    pub async fn deployment_standing(
        &mut self,
        rollout: RolloutId,
        silent_before: Timestamp,
    ) -> Result<Vec<StandingRow>, StoreError> {
        const SQL: &str = "SELECT kind, phase, hardware, status, offline, silent, count(*) FROM \
             (SELECT d.kind AS kind, d.phase AS phase, d.hardware AS hardware, d.status AS status, \
              CAST(CASE WHEN coalesce(p.online, 0) = 0 THEN 1 ELSE 0 END AS BIGINT) AS offline, \
              CAST(CASE WHEN p.online = 0 AND p.last_seen <= $3 THEN 1 ELSE 0 END AS BIGINT) AS silent \
              FROM deployment AS d LEFT JOIN device_presence AS p ON p.tenant_id = d.tenant_id AND p.device = d.device \
              WHERE d.tenant_id = $1 AND d.rollout = $2) AS s \
             GROUP BY kind, phase, hardware, status, offline, silent \
             ORDER BY kind, phase, hardware, status, offline, silent";
        self.conn.query(SQL, params![self.scope.key(), rollout, silent_before]).await
    }

    /// Deployments that are in progress since before `before`, in order of device.
    pub async fn overdue_deployments(
        &mut self,
        rollout: RolloutId,
        before: Timestamp,
        limit: u32,
    ) -> Result<Vec<DeploymentKey>, StoreError> {
        const SQL: &str = "SELECT rollout, device, kind FROM deployment WHERE tenant_id = $1 AND rollout = $2 \
             AND status = 'in_progress' AND started_at < $3 ORDER BY device, kind LIMIT $4";
        self.conn.query(SQL, params![self.scope.key(), rollout, before, limit]).await
    }

    /// Updates whose devices can be given their way back now: they succeeded, nothing later did, and the device has no
    /// active deployment.
    pub async fn rollback_candidates(
        &mut self,
        rollout: RolloutId,
        limit: u32,
    ) -> Result<Vec<DeploymentRow>, StoreError> {
        const SQL: &str = concat!(
            "SELECT d.rollout, d.device, d.kind, d.phase, d.status, d.step, d.hardware, d.from_version, d.detail, \
             d.version, d.queued_at, d.started_at, d.updated_at, d.finished_at",
            earned!(),
            " AND NOT EXISTS (SELECT 1 FROM deployment AS a WHERE a.tenant_id = $1 AND a.device = d.device \
              AND a.status IN ('queued', 'in_progress')) ORDER BY d.device LIMIT $3"
        );
        self.conn.query(SQL, params![self.scope.key(), rollout, limit]).await
    }

    /// How many updates there are to take back, those included whose device is busy.
    pub async fn count_to_roll_back(&mut self, rollout: RolloutId) -> Result<u64, StoreError> {
        const SQL: &str = concat!("SELECT count(*)", earned!());
        self.conn.query_one(SQL, params![self.scope.key(), rollout]).await
    }

    /// Devices that the selector means and that have nothing of this rollout, those included that are busy with another,
    /// counted by hardware revision.
    pub async fn unassigned_cohorts(
        &mut self,
        rollout: RolloutId,
        selector: &DeviceSelector,
    ) -> Result<Vec<CohortRow>, StoreError> {
        const SQL: Sql = Sql { sqlite: unassigned!(sqlite), postgres: unassigned!(postgres) };
        let arrays = selector.arrays();
        let params = params![
            self.scope.key(),
            &arrays.devices,
            &arrays.hardware,
            &arrays.statuses,
            &arrays.tags,
            &selector.class,
            &selector.environment,
            &selector.site,
            &selector.not_firmware,
            rollout
        ];
        self.conn.query(SQL, params).await
    }
}
