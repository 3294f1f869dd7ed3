//! Executions of jobs: one row for each try of a device. The last one of a device at a job is marked, and at most that has
//! not ended.

use fleetward_base::{DeviceId, JobId, Timestamp};

use super::Of;
use super::selector::{DeviceSelector, json_array, selected};
use crate::sql::{Bulk, Cells, Column, FromRow, Sql, for_update, from_row, params};
use crate::{StoreError, SystemTx, TenantTx};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobExecutionRow {
    pub job: JobId,
    pub device: DeviceId,
    pub number: u64,
    /// The last one of the device.
    pub latest: bool,
    pub status: String,
    /// JSON.
    pub detail: Option<String>,
    pub version: u64,
    pub failed_before: u32,
    pub timed_out_before: u32,
    pub queued_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub updated_at: Timestamp,
    pub finished_at: Option<Timestamp>,
    pub timeout_at: Option<Timestamp>,
    pub step_timeout_at: Option<Timestamp>,
    /// The earlier of the two.
    pub due_at: Option<Timestamp>,
}

from_row!(JobExecutionRow {
    job: id,
    device: id,
    number: count,
    latest: bool,
    status: text,
    detail: opt_text,
    version: count,
    failed_before: small,
    timed_out_before: small,
    queued_at: time,
    started_at: opt_time,
    updated_at: time,
    finished_at: opt_time,
    timeout_at: opt_time,
    step_timeout_at: opt_time,
    due_at: opt_time,
});

/// Which execution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobExecutionKey {
    pub job: JobId,
    pub device: DeviceId,
    pub number: u64,
}

from_row!(JobExecutionKey { job: id, device: id, number: count });

/// One that its device is to see, unless a window of its job is closed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingJobExecutionRow {
    pub execution: JobExecutionRow,
    /// The policy of its job where that has windows: JSON.
    pub policy: Option<String>,
}

impl FromRow for PendingJobExecutionRow {
    fn from_row(cells: &mut Cells) -> Result<Self, StoreError> {
        Ok(Self { execution: JobExecutionRow::from_row(cells)?, policy: cells.opt_text()? })
    }
}

/// How many devices of a job are alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobStandingRow {
    pub status: String,
    pub count: u64,
}

from_row!(JobStandingRow { status: text, count: count });

/// A device that a job has nothing for yet, and the number of its last execution; 0 where there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobCandidateRow {
    pub device: DeviceId,
    pub last: u64,
}

from_row!(JobCandidateRow { device: id, last: count });

macro_rules! columns {
    () => {
        "job, device, number, latest, status, detail, version, failed_before, timed_out_before, queued_at, started_at, \
         updated_at, finished_at, timeout_at, step_timeout_at, due_at"
    };
}

macro_rules! candidates {
    ($engine:ident, $last:literal) => {
        concat!(
            "SELECT d.id, coalesce(x.number, 0) FROM (SELECT * FROM device WHERE tenant_id = $1) AS d LEFT JOIN ",
            $last,
            " WHERE ",
            selected!($engine),
            " AND d.id > $11 AND (x.status IS NULL OR x.status = 'removed') \
             AND (CAST($12 AS BIGINT) IS NULL OR d.created_at <= $12) ORDER BY d.id LIMIT $13"
        )
    };
}

/// What devices see: in progress, unless the job was ended by force; queued, while the job goes on.
macro_rules! pending {
    ($devices:literal) => {
        concat!(
            "SELECT ",
            columns!(),
            ", policy FROM (SELECT e.*, CASE WHEN j.windowed = 1 THEN j.policy END AS policy, row_number() OVER \
             (PARTITION BY e.device ORDER BY CASE e.status WHEN 'in_progress' THEN 0 ELSE 1 END, e.queued_at, e.job) \
             AS place FROM job_execution AS e JOIN job AS j ON j.tenant_id = $1 AND j.id = e.job \
             WHERE e.tenant_id = $1 AND e.status IN ('queued', 'in_progress') \
             AND ((e.status = 'in_progress' AND j.force = 0) OR (e.status = 'queued' AND j.state = 'in_progress')) \
             AND e.device ",
            $devices,
            ") AS q WHERE place <= $3 ORDER BY device, place"
        )
    };
}

impl TenantTx {
    /// How the devices of a job stand, by the status of their last execution.
    pub async fn job_standing(&mut self, job: &JobId) -> Result<Vec<JobStandingRow>, StoreError> {
        const SQL: &str = "SELECT status, count(*) FROM job_execution WHERE tenant_id = $1 AND job = $2 AND latest = 1 \
             GROUP BY status ORDER BY status";
        self.conn.query(SQL, params![self.scope.key(), job]).await
    }

    /// Devices that the selector means and that have no execution of the job, or one that was removed; made by
    /// `created_by` where that is given.
    pub async fn job_candidates(
        &mut self,
        job: &JobId,
        selector: &DeviceSelector,
        after: &str,
        created_by: Option<Timestamp>,
        limit: u32,
    ) -> Result<Vec<JobCandidateRow>, StoreError> {
        // PostgreSQL knows nothing of a job that has just begun. Joined by `latest`, it goes through all executions for each
        // device; for the one of the highest number it has no other way than the index of the device.
        const SQL: Sql = Sql {
            sqlite: candidates!(
                sqlite,
                "job_execution AS x ON x.tenant_id = $1 AND x.job = $10 AND x.device = d.id AND x.latest = 1"
            ),
            postgres: candidates!(
                postgres,
                "LATERAL (SELECT e.number, e.status FROM job_execution AS e WHERE e.tenant_id = $1 AND e.job = $10 \
                 AND e.device = d.id ORDER BY e.number DESC LIMIT 1) AS x ON TRUE"
            ),
        };
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
            job,
            after,
            created_by,
            limit
        ];
        self.conn.query(SQL, params).await
    }

    /// Queues executions, and passes over devices that have a last one already. The devices that got theirs.
    pub async fn insert_job_executions(&mut self, rows: &[JobExecutionRow]) -> Result<Vec<DeviceId>, StoreError> {
        const SQL: Bulk = Bulk {
            sqlite: concat!(
                "INSERT INTO job_execution (tenant_id, ",
                columns!(),
                ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17) \
                 ON CONFLICT DO NOTHING RETURNING device"
            ),
            postgres: concat!(
                "INSERT INTO job_execution (tenant_id, ",
                columns!(),
                ") SELECT CAST($1 AS TEXT), * FROM UNNEST(CAST($2 AS TEXT[]), CAST($3 AS TEXT[]), CAST($4 AS BIGINT[]), \
                 CAST($5 AS BIGINT[]), CAST($6 AS TEXT[]), CAST($7 AS TEXT[]), CAST($8 AS BIGINT[]), \
                 CAST($9 AS BIGINT[]), CAST($10 AS BIGINT[]), CAST($11 AS BIGINT[]), CAST($12 AS BIGINT[]), \
                 CAST($13 AS BIGINT[]), CAST($14 AS BIGINT[]), CAST($15 AS BIGINT[]), CAST($16 AS BIGINT[]), \
                 CAST($17 AS BIGINT[])) ON CONFLICT DO NOTHING RETURNING device"
            ),
        };
        let columns = [
            Column::of(rows, |row| &row.job),
            Column::of(rows, |row| &row.device),
            Column::of(rows, |row| row.number),
            Column::of(rows, |row| row.latest),
            Column::of(rows, |row| &row.status),
            Column::of(rows, |row| &row.detail),
            Column::of(rows, |row| row.version),
            Column::of(rows, |row| row.failed_before),
            Column::of(rows, |row| row.timed_out_before),
            Column::of(rows, |row| row.queued_at),
            Column::of(rows, |row| row.started_at),
            Column::of(rows, |row| row.updated_at),
            Column::of(rows, |row| row.finished_at),
            Column::of(rows, |row| row.timeout_at),
            Column::of(rows, |row| row.step_timeout_at),
            Column::of(rows, |row| row.due_at),
        ];
        self.conn.query_rows(SQL, params![self.scope.key()], &columns).await
    }

    /// Writes executions in place of what was read: each with its version less one, as every change adds one. Those that
    /// were changed meanwhile are passed over; the keys of the others.
    pub async fn update_job_executions(
        &mut self,
        rows: &[JobExecutionRow],
    ) -> Result<Vec<JobExecutionKey>, StoreError> {
        const SQL: Bulk = Bulk {
            sqlite: "UPDATE job_execution SET latest = $5, status = $6, detail = $7, version = $8, started_at = $9, \
                 updated_at = $10, finished_at = $11, timeout_at = $12, step_timeout_at = $13, due_at = $14 \
                 WHERE tenant_id = $1 AND job = $2 AND device = $3 AND number = $4 AND version = $8 - 1 \
                 RETURNING job, device, number",
            postgres: "UPDATE job_execution AS e SET latest = u.latest, status = u.status, detail = u.detail, \
                 version = u.version, started_at = u.started_at, updated_at = u.updated_at, \
                 finished_at = u.finished_at, timeout_at = u.timeout_at, step_timeout_at = u.step_timeout_at, \
                 due_at = u.due_at FROM UNNEST(CAST($2 AS TEXT[]), CAST($3 AS TEXT[]), CAST($4 AS BIGINT[]), \
                 CAST($5 AS BIGINT[]), CAST($6 AS TEXT[]), CAST($7 AS TEXT[]), CAST($8 AS BIGINT[]), \
                 CAST($9 AS BIGINT[]), CAST($10 AS BIGINT[]), CAST($11 AS BIGINT[]), CAST($12 AS BIGINT[]), \
                 CAST($13 AS BIGINT[]), CAST($14 AS BIGINT[])) AS u (job, device, number, latest, status, detail, \
                 version, started_at, updated_at, finished_at, timeout_at, step_timeout_at, due_at) \
                 WHERE e.tenant_id = $1 AND e.job = u.job AND e.device = u.device AND e.number = u.number \
                 AND e.version = u.version - 1 RETURNING e.job, e.device, e.number",
        };
        let columns = [
            Column::of(rows, |row| &row.job),
            Column::of(rows, |row| &row.device),
            Column::of(rows, |row| row.number),
            Column::of(rows, |row| row.latest),
            Column::of(rows, |row| &row.status),
            Column::of(rows, |row| &row.detail),
            Column::of(rows, |row| row.version),
            Column::of(rows, |row| row.started_at),
            Column::of(rows, |row| row.updated_at),
            Column::of(rows, |row| row.finished_at),
            Column::of(rows, |row| row.timeout_at),
            Column::of(rows, |row| row.step_timeout_at),
            Column::of(rows, |row| row.due_at),
        ];
        self.conn.query_rows(SQL, params![self.scope.key()], &columns).await
    }

    /// The last executions of these devices are no longer the last: others follow.
    pub async fn supersede_job_executions(&mut self, job: &JobId, devices: &[DeviceId]) -> Result<u64, StoreError> {
        const SQL: Sql = Sql {
            sqlite: "UPDATE job_execution SET latest = 0 WHERE tenant_id = $1 AND job = $2 AND latest = 1 \
                 AND status NOT IN ('queued', 'in_progress') AND device IN (SELECT value FROM json_each($3))",
            postgres: "UPDATE job_execution SET latest = 0 WHERE tenant_id = $1 AND job = $2 AND latest = 1 \
                 AND status NOT IN ('queued', 'in_progress') \
                 AND device = ANY (ARRAY(SELECT jsonb_array_elements_text(CAST(CAST($3 AS TEXT) AS jsonb))))",
        };
        self.conn.execute(SQL, params![self.scope.key(), job, names(devices)]).await
    }

    /// One execution: of this number, or the last.
    pub async fn job_execution(
        &mut self,
        job: &JobId,
        device: &DeviceId,
        number: Option<u64>,
    ) -> Result<Option<JobExecutionRow>, StoreError> {
        const SQL: &str = concat!(
            "SELECT ",
            columns!(),
            " FROM job_execution WHERE tenant_id = $1 AND job = $2 AND device = $3 \
             AND ((CAST($4 AS BIGINT) IS NULL AND latest = 1) OR number = $4)"
        );
        self.conn.query_opt(SQL, params![self.scope.key(), job, device, number]).await
    }

    /// As [`job_execution`](Self::job_execution), and nobody else changes it until the unit ends.
    pub async fn job_execution_for_update(
        &mut self,
        job: &JobId,
        device: &DeviceId,
        number: Option<u64>,
    ) -> Result<Option<JobExecutionRow>, StoreError> {
        const SQL: Sql = for_update!(
            "SELECT ",
            columns!(),
            " FROM job_execution WHERE tenant_id = $1 AND job = $2 AND device = $3 \
             AND ((CAST($4 AS BIGINT) IS NULL AND latest = 1) OR number = $4)"
        );
        self.conn.query_opt(SQL, params![self.scope.key(), job, device, number]).await
    }

    /// Those of a job, in the order of device and number; in one status, or all.
    pub async fn job_executions(
        &mut self,
        job: &JobId,
        status: Option<&str>,
        after: Option<(&DeviceId, u64)>,
        limit: u32,
    ) -> Result<Vec<JobExecutionRow>, StoreError> {
        const SQL: &str = concat!(
            "SELECT ",
            columns!(),
            " FROM job_execution WHERE tenant_id = $1 AND job = $2 AND (CAST($3 AS TEXT) IS NULL OR status = $3) \
             AND (device, number) > ($4, $5) ORDER BY device, number LIMIT $6"
        );
        let (device, number) = after.map_or(("", 0), |(device, number)| (device.as_str(), number));
        self.conn.query(SQL, params![self.scope.key(), job, status, device, number, limit]).await
    }

    /// Those of a job that have not ended, by device; `queued` alone where that is asked for.
    pub async fn live_job_executions(
        &mut self,
        job: &JobId,
        only_queued: bool,
        after: &str,
        limit: u32,
    ) -> Result<Vec<JobExecutionRow>, StoreError> {
        const SQL: &str = concat!(
            "SELECT ",
            columns!(),
            " FROM job_execution WHERE tenant_id = $1 AND job = $2 AND latest = 1 \
             AND (status = 'queued' OR (status = 'in_progress' AND CAST($3 AS BIGINT) = 0)) AND device > $4 ORDER BY device LIMIT $5"
        );
        self.conn.query(SQL, params![self.scope.key(), job, only_queued, after, limit]).await
    }

    /// Those of a device, in the order of job and number; in one status, of one job, or all.
    pub async fn device_job_executions(
        &mut self,
        device: &DeviceId,
        status: Option<&str>,
        job: Option<&JobId>,
        after: Option<(&JobId, u64)>,
        limit: u32,
    ) -> Result<Vec<JobExecutionRow>, StoreError> {
        const SQL: &str = concat!(
            "SELECT ",
            columns!(),
            " FROM job_execution WHERE tenant_id = $1 AND device = $2 AND (CAST($3 AS TEXT) IS NULL OR status = $3) \
             AND (CAST($4 AS TEXT) IS NULL OR job = $4) AND (job, number) > ($5, $6) ORDER BY job, number LIMIT $7"
        );
        let (after, number) = after.map_or(("", 0), |(job, number)| (job.as_str(), number));
        let job = job.map(JobId::as_str);
        self.conn.query(SQL, params![self.scope.key(), device, status, job, after, number, limit]).await
    }

    /// Those of a device that have not ended.
    pub async fn live_executions_of(
        &mut self,
        device: &DeviceId,
        limit: u32,
    ) -> Result<Vec<JobExecutionRow>, StoreError> {
        const SQL: &str = concat!(
            "SELECT ",
            columns!(),
            " FROM job_execution WHERE tenant_id = $1 AND device = $2 AND status IN ('queued', 'in_progress') \
             ORDER BY queued_at, job LIMIT $3"
        );
        self.conn.query(SQL, params![self.scope.key(), device, limit]).await
    }

    /// What each of the devices has before it, in its order; at most `limit` of each.
    pub async fn pending_job_executions(
        &mut self,
        devices: &[DeviceId],
        limit: u32,
    ) -> Result<Vec<PendingJobExecutionRow>, StoreError> {
        const SQL: Sql = Sql {
            sqlite: pending!("IN (SELECT value FROM json_each($2))"),
            postgres: pending!("= ANY (ARRAY(SELECT jsonb_array_elements_text(CAST(CAST($2 AS TEXT) AS jsonb))))"),
        };
        self.conn.query(SQL, params![self.scope.key(), names(devices), limit]).await
    }

    /// Takes one execution away.
    pub async fn delete_job_execution(&mut self, key: &JobExecutionKey) -> Result<bool, StoreError> {
        const SQL: &str = "DELETE FROM job_execution WHERE tenant_id = $1 AND job = $2 AND device = $3 AND number = $4";
        let params = params![self.scope.key(), &key.job, &key.device, key.number];
        self.conn.execute(SQL, params).await.map(super::hit)
    }

    /// The one of a device that came before is the last again.
    pub async fn restore_last_job_execution(&mut self, job: &JobId, device: &DeviceId) -> Result<u64, StoreError> {
        const SQL: &str = "UPDATE job_execution SET latest = 1 WHERE tenant_id = $1 AND job = $2 AND device = $3 \
             AND number = (SELECT max(o.number) FROM job_execution AS o WHERE o.tenant_id = $1 AND o.job = $2 \
             AND o.device = $3)";
        self.conn.execute(SQL, params![self.scope.key(), job, device]).await
    }

    /// Forgets tries that others followed, which ended before then; how many.
    pub async fn forget_tries(&mut self, before: Timestamp, limit: u32) -> Result<u64, StoreError> {
        const SQL: &str = "DELETE FROM job_execution WHERE tenant_id = $1 AND latest = 0 AND (job, device, number) IN \
             (SELECT o.job, o.device, o.number FROM job_execution AS o WHERE o.tenant_id = $1 AND o.latest = 0 \
             AND o.finished_at < $2 ORDER BY o.finished_at LIMIT $3)";
        self.conn.execute(SQL, params![self.scope.key(), before, limit]).await
    }

    /// Forgets the tries of a device at a job that are older than this one; how many.
    pub async fn trim_tries(&mut self, oldest: &JobExecutionKey) -> Result<u64, StoreError> {
        const SQL: &str = "DELETE FROM job_execution WHERE tenant_id = $1 AND job = $2 AND device = $3 AND number < $4 \
             AND latest = 0";
        let params = params![self.scope.key(), &oldest.job, &oldest.device, oldest.number];
        self.conn.execute(SQL, params).await
    }

    /// Takes a page of the executions of a job away, and says which they were.
    pub async fn delete_job_executions(&mut self, job: &JobId, limit: u32) -> Result<Vec<JobExecutionRow>, StoreError> {
        const SQL: &str = concat!(
            "DELETE FROM job_execution WHERE tenant_id = $1 AND job = $2 AND (device, number) IN \
             (SELECT o.device, o.number FROM job_execution AS o WHERE o.tenant_id = $1 AND o.job = $2 \
             ORDER BY o.device, o.number LIMIT $3) RETURNING ",
            columns!()
        );
        self.conn.query(SQL, params![self.scope.key(), job, limit]).await
    }
}

impl SystemTx {
    /// Executions whose time is over, the longest first.
    pub async fn due_job_executions(
        &mut self,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<Of<JobExecutionKey>>, StoreError> {
        const SQL: &str = "SELECT tenant_id, job, device, number FROM job_execution \
             WHERE due_at IS NOT NULL AND due_at <= $1 ORDER BY due_at, tenant_id, job, device LIMIT $2";
        self.across().await?.query(SQL, params![now, limit]).await
    }
}

fn names(devices: &[DeviceId]) -> String {
    json_array(&devices.iter().map(|id| id.as_str().to_owned()).collect::<Vec<_>>())
}
