//! Deployments: one row for each device of a rollout and kind. At most one of a device is active (queued or in progress).

use fleetward_base::{DeviceId, RolloutId, Timestamp};

use super::devices::{DeviceRow, device_columns};
use super::hit;
use super::selector::{DeviceSelector, json_array, selected};
use crate::sql::{Bulk, Column, Sql, for_update, from_row, params};
use crate::{StoreError, TenantTx};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeploymentRow {
    pub rollout: RolloutId,
    pub device: DeviceId,
    /// `update` or `rollback`.
    pub kind: String,
    pub phase: u32,
    /// `queued` and `in_progress` are the active ones.
    pub status: String,
    /// What the device said it was doing.
    pub step: Option<String>,
    /// The device's revision when it was assigned: the cohort.
    pub hardware: String,
    pub from_version: Option<String>,
    /// JSON.
    pub detail: Option<String>,
    pub version: u64,
    pub queued_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub updated_at: Timestamp,
    pub finished_at: Option<Timestamp>,
}

from_row!(DeploymentRow {
    rollout: id,
    device: id,
    kind: text,
    phase: small,
    status: text,
    step: opt_text,
    hardware: text,
    from_version: opt_text,
    detail: opt_text,
    version: count,
    queued_at: time,
    started_at: opt_time,
    updated_at: time,
    finished_at: opt_time,
});

/// Which deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeploymentKey {
    pub rollout: RolloutId,
    pub device: DeviceId,
    pub kind: String,
}

/// How many deployments of a rollout are alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeploymentCount {
    pub kind: String,
    pub phase: u32,
    pub hardware: String,
    pub status: String,
    pub count: u64,
    /// When the one of them that changed longest ago last changed.
    pub oldest_update: Timestamp,
}

from_row!(DeploymentCount {
    kind: text,
    phase: small,
    hardware: text,
    status: text,
    count: count,
    oldest_update: time
});

macro_rules! columns {
    () => {
        "rollout, device, kind, phase, status, step, hardware, from_version, detail, version, queued_at, started_at, \
         updated_at, finished_at"
    };
}

macro_rules! candidates {
    ($engine:ident) => {
        concat!(
            "SELECT ",
            device_columns!(),
            " FROM device AS d WHERE d.tenant_id = $1 AND ",
            selected!($engine),
            " AND d.id > $10 AND NOT EXISTS (SELECT 1 FROM deployment AS p WHERE p.tenant_id = $1 \
              AND p.device = d.id AND (p.status IN ('queued', 'in_progress') OR p.rollout = $11)) \
              ORDER BY d.id LIMIT $12"
        )
    };
}

macro_rules! count_selected {
    ($engine:ident) => {
        concat!("SELECT count(*) FROM device AS d WHERE d.tenant_id = $1 AND ", selected!($engine))
    };
}

impl TenantTx {
    /// Queues deployments, and passes over devices that have one in this rollout and kind, or an active one anywhere.
    /// The devices that got theirs.
    pub async fn insert_deployments(&mut self, rows: &[DeploymentRow]) -> Result<Vec<DeviceId>, StoreError> {
        const SQL: Bulk = Bulk {
            sqlite: concat!(
                "INSERT INTO deployment (tenant_id, ",
                columns!(),
                ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15) \
                 ON CONFLICT DO NOTHING RETURNING device"
            ),
            postgres: concat!(
                "INSERT INTO deployment (tenant_id, ",
                columns!(),
                ") SELECT CAST($1 AS TEXT), * FROM UNNEST(CAST($2 AS TEXT[]), CAST($3 AS TEXT[]), CAST($4 AS TEXT[]), \
                 CAST($5 AS BIGINT[]), CAST($6 AS TEXT[]), CAST($7 AS TEXT[]), CAST($8 AS TEXT[]), CAST($9 AS TEXT[]), \
                 CAST($10 AS TEXT[]), CAST($11 AS BIGINT[]), CAST($12 AS BIGINT[]), CAST($13 AS BIGINT[]), \
                 CAST($14 AS BIGINT[]), CAST($15 AS BIGINT[])) ON CONFLICT DO NOTHING RETURNING device"
            ),
        };
        let columns = [
            Column::of(rows, |row| row.rollout),
            Column::of(rows, |row| &row.device),
            Column::of(rows, |row| &row.kind),
            Column::of(rows, |row| row.phase),
            Column::of(rows, |row| &row.status),
            Column::of(rows, |row| &row.step),
            Column::of(rows, |row| &row.hardware),
            Column::of(rows, |row| &row.from_version),
            Column::of(rows, |row| &row.detail),
            Column::of(rows, |row| row.version),
            Column::of(rows, |row| row.queued_at),
            Column::of(rows, |row| row.started_at),
            Column::of(rows, |row| row.updated_at),
            Column::of(rows, |row| row.finished_at),
        ];
        self.conn.query_rows(SQL, params![self.scope.key()], &columns).await
    }

    pub async fn deployment(&mut self, key: &DeploymentKey) -> Result<Option<DeploymentRow>, StoreError> {
        const SQL: &str = concat!(
            "SELECT ",
            columns!(),
            " FROM deployment WHERE tenant_id = $1 AND rollout = $2 AND device = $3 AND kind = $4"
        );
        self.conn.query_opt(SQL, params![self.scope.key(), key.rollout, &key.device, &key.kind]).await
    }

    /// As [`deployment`](Self::deployment), and nobody else changes it until the unit ends.
    pub async fn deployment_for_update(&mut self, key: &DeploymentKey) -> Result<Option<DeploymentRow>, StoreError> {
        const SQL: Sql = for_update!(
            "SELECT ",
            columns!(),
            " FROM deployment WHERE tenant_id = $1 AND rollout = $2 AND device = $3 AND kind = $4"
        );
        self.conn.query_opt(SQL, params![self.scope.key(), key.rollout, &key.device, &key.kind]).await
    }

    /// The one that the device is to work on: in progress, else queued.
    pub async fn active_deployment(&mut self, device: &DeviceId) -> Result<Option<DeploymentRow>, StoreError> {
        const SQL: &str = concat!(
            "SELECT ",
            columns!(),
            " FROM deployment WHERE tenant_id = $1 AND device = $2 AND status IN ('queued', 'in_progress') \
             ORDER BY CASE status WHEN 'in_progress' THEN 0 ELSE 1 END, queued_at, rollout LIMIT 1"
        );
        self.conn.query_opt(SQL, params![self.scope.key(), device]).await
    }

    /// Those of the devices that have an active one.
    pub async fn devices_with_deployment(&mut self, devices: &[DeviceId]) -> Result<Vec<DeviceId>, StoreError> {
        const SQL: Sql = Sql {
            sqlite: "SELECT device FROM deployment WHERE tenant_id = $1 AND status IN ('queued', 'in_progress') \
                 AND device IN (SELECT value FROM json_each($2)) ORDER BY device",
            postgres: "SELECT device FROM deployment WHERE tenant_id = $1 AND status IN ('queued', 'in_progress') \
                 AND device = ANY (ARRAY(SELECT jsonb_array_elements_text(CAST($2 AS jsonb)))) ORDER BY device",
        };
        let names: Vec<String> = devices.iter().map(|id| id.as_str().to_owned()).collect();
        self.conn.query(SQL, params![self.scope.key(), json_array(&names)]).await
    }

    /// Those of a device, the newest rollout first.
    pub async fn device_deployments(
        &mut self,
        device: &DeviceId,
        limit: u32,
    ) -> Result<Vec<DeploymentRow>, StoreError> {
        const SQL: &str = concat!(
            "SELECT ",
            columns!(),
            " FROM deployment WHERE tenant_id = $1 AND device = $2 ORDER BY rollout DESC, kind LIMIT $3"
        );
        self.conn.query(SQL, params![self.scope.key(), device, limit]).await
    }

    /// Those of a rollout, in the order of device and kind; in one status, or all.
    pub async fn deployments(
        &mut self,
        rollout: RolloutId,
        status: Option<&str>,
        after: Option<(&DeviceId, &str)>,
        limit: u32,
    ) -> Result<Vec<DeploymentRow>, StoreError> {
        const SQL: &str = concat!(
            "SELECT ",
            columns!(),
            " FROM deployment WHERE tenant_id = $1 AND rollout = $2 \
             AND (CAST($3 AS TEXT) IS NULL OR status = $3) AND (device, kind) > ($4, $5) \
             ORDER BY device, kind LIMIT $6"
        );
        let (device, kind) = after.map_or(("", ""), |(device, kind)| (device.as_str(), kind));
        self.conn.query(SQL, params![self.scope.key(), rollout, status, device, kind, limit]).await
    }

    /// Writes status, step, detail, version and times.
    pub async fn update_deployment(&mut self, row: &DeploymentRow, expected: u64) -> Result<bool, StoreError> {
        const SQL: &str = "UPDATE deployment SET status = $5, step = $6, detail = $7, version = $8, started_at = $9, \
             updated_at = $10, finished_at = $11 \
             WHERE tenant_id = $1 AND rollout = $2 AND device = $3 AND kind = $4 AND version = $12";
        let params = params![
            self.scope.key(),
            row.rollout,
            &row.device,
            &row.kind,
            &row.status,
            &row.step,
            &row.detail,
            row.version,
            row.started_at,
            row.updated_at,
            row.finished_at,
            expected
        ];
        self.conn.execute(SQL, params).await.map(hit)
    }

    /// The deployments of a rollout counted by kind, phase, hardware and status.
    pub async fn deployment_counts(&mut self, rollout: RolloutId) -> Result<Vec<DeploymentCount>, StoreError> {
        const SQL: &str = "SELECT kind, phase, hardware, status, count(*), min(updated_at) FROM deployment \
             WHERE tenant_id = $1 AND rollout = $2 GROUP BY kind, phase, hardware, status \
             ORDER BY kind, phase, hardware, status";
        self.conn.query(SQL, params![self.scope.key(), rollout]).await
    }

    /// Active ones of a rollout that have not changed since `before`: devices that fell silent.
    pub async fn silent_deployments(
        &mut self,
        rollout: RolloutId,
        before: Timestamp,
        limit: u32,
    ) -> Result<Vec<DeploymentRow>, StoreError> {
        const SQL: &str = concat!(
            "SELECT ",
            columns!(),
            " FROM deployment WHERE tenant_id = $1 AND rollout = $2 AND status IN ('queued', 'in_progress') \
             AND updated_at < $3 ORDER BY updated_at, device LIMIT $4"
        );
        self.conn.query(SQL, params![self.scope.key(), rollout, before, limit]).await
    }

    /// Devices that the selector means and that can be given a deployment of this rollout now: they have none of it yet
    /// and no active one of another.
    pub async fn candidates(
        &mut self,
        rollout: RolloutId,
        selector: &DeviceSelector,
        after: Option<&DeviceId>,
        limit: u32,
    ) -> Result<Vec<DeviceRow>, StoreError> {
        const SQL: Sql = Sql { sqlite: candidates!(sqlite), postgres: candidates!(postgres) };
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
            after.map_or("", DeviceId::as_str),
            rollout,
            limit
        ];
        self.conn.query(SQL, params).await
    }

    /// How many devices the selector means.
    pub async fn count_selected(&mut self, selector: &DeviceSelector) -> Result<u64, StoreError> {
        const SQL: Sql = Sql { sqlite: count_selected!(sqlite), postgres: count_selected!(postgres) };
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
            &selector.not_firmware
        ];
        self.conn.query_one(SQL, params).await
    }
}
