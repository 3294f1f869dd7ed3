//! Jobs: what devices are to work on, and how far handing out came. Their executions are in [`super::job_executions`].

use fleetward_base::{JobId, TenantId, Timestamp};

use super::{Of, hit};
use crate::sql::{Sql, for_update, from_row, params};
use crate::{StoreError, SystemTx, TenantTx};

/// A job without its document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobRow {
    pub id: JobId,
    pub description: Option<String>,
    /// JSON.
    pub targets: String,
    /// `snapshot` or `continuous`.
    pub selection: String,
    /// JSON.
    pub policy: String,
    /// The policy has windows.
    pub windowed: bool,
    pub state: String,
    pub reason_code: Option<String>,
    pub comment: Option<String>,
    pub force: bool,
    pub rollout_over: bool,
    /// How far handing out came: which target, and after which device of it.
    pub cursor_target: u32,
    pub cursor_device: String,
    /// JSON.
    pub pace: String,
    pub handed: u64,
    pub window_open: bool,
    /// When there may be something to do.
    pub look_at: Option<Timestamp>,
    pub created_by: String,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub started_at: Option<Timestamp>,
    pub completed_at: Option<Timestamp>,
    pub revision: u64,
}

from_row!(JobRow {
    id: id,
    description: opt_text,
    targets: text,
    selection: text,
    policy: text,
    windowed: bool,
    state: text,
    reason_code: opt_text,
    comment: opt_text,
    force: bool,
    rollout_over: bool,
    cursor_target: small,
    cursor_device: text,
    pace: text,
    handed: count,
    window_open: bool,
    look_at: opt_time,
    created_by: text,
    created_at: time,
    updated_at: time,
    started_at: opt_time,
    completed_at: opt_time,
    revision: count,
});

/// Which job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobKey {
    pub id: JobId,
}

from_row!(JobKey { id: id });

macro_rules! columns {
    () => {
        "id, description, targets, selection, policy, windowed, state, reason_code, comment, force, rollout_over, \
         cursor_target, cursor_device, pace, handed, window_open, look_at, created_by, created_at, updated_at, started_at, \
         completed_at, revision"
    };
}

impl TenantTx {
    /// `false` where there is one of that name.
    pub async fn insert_job(&mut self, row: &JobRow, document: &str) -> Result<bool, StoreError> {
        const SQL: &str = concat!(
            "INSERT INTO job (tenant_id, ",
            columns!(),
            ", document) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, \
             $20, $21, $22, $23, $24, $25) ON CONFLICT DO NOTHING"
        );
        let params = params![
            self.scope.key(),
            &row.id,
            &row.description,
            &row.targets,
            &row.selection,
            &row.policy,
            row.windowed,
            &row.state,
            &row.reason_code,
            &row.comment,
            row.force,
            row.rollout_over,
            row.cursor_target,
            &row.cursor_device,
            &row.pace,
            row.handed,
            row.window_open,
            row.look_at,
            &row.created_by,
            row.created_at,
            row.updated_at,
            row.started_at,
            row.completed_at,
            row.revision,
            document
        ];
        self.conn.execute(SQL, params).await.map(hit)
    }

    pub async fn job(&mut self, id: &JobId) -> Result<Option<JobRow>, StoreError> {
        const SQL: &str = concat!("SELECT ", columns!(), " FROM job WHERE tenant_id = $1 AND id = $2");
        self.conn.query_opt(SQL, params![self.scope.key(), id]).await
    }

    /// As [`job`](Self::job), and nobody else changes it until the unit ends.
    pub async fn job_for_update(&mut self, id: &JobId) -> Result<Option<JobRow>, StoreError> {
        const SQL: Sql = for_update!("SELECT ", columns!(), " FROM job WHERE tenant_id = $1 AND id = $2");
        self.conn.query_opt(SQL, params![self.scope.key(), id]).await
    }

    pub async fn job_document(&mut self, id: &JobId) -> Result<Option<String>, StoreError> {
        const SQL: &str = "SELECT document FROM job WHERE tenant_id = $1 AND id = $2";
        self.conn.query_opt(SQL, params![self.scope.key(), id]).await
    }

    /// Those in one state, or all.
    pub async fn jobs(
        &mut self,
        state: Option<&str>,
        selection: Option<&str>,
        after: Option<&JobId>,
        limit: u32,
    ) -> Result<Vec<JobRow>, StoreError> {
        const SQL: &str = concat!(
            "SELECT ",
            columns!(),
            " FROM job WHERE tenant_id = $1 AND (CAST($2 AS TEXT) IS NULL OR state = $2) \
             AND (CAST($3 AS TEXT) IS NULL OR selection = $3) AND id > $4 ORDER BY id LIMIT $5"
        );
        let after = after.map_or("", JobId::as_str);
        self.conn.query(SQL, params![self.scope.key(), state, selection, after, limit]).await
    }

    /// How many have not ended.
    pub async fn count_open_jobs(&mut self) -> Result<u64, StoreError> {
        const SQL: &str = "SELECT count(*) FROM job WHERE tenant_id = $1 AND completed_at IS NULL";
        self.conn.query_one(SQL, params![self.scope.key()]).await
    }

    /// Writes what changes in a job, which is all but its name, its document and who made it when.
    pub async fn update_job(&mut self, row: &JobRow, expected: u64) -> Result<bool, StoreError> {
        const SQL: &str = "UPDATE job SET description = $3, targets = $4, policy = $5, windowed = $6, state = $7, \
             reason_code = $8, comment = $9, force = $10, rollout_over = $11, cursor_target = $12, cursor_device = $13, \
             pace = $14, handed = $15, window_open = $16, look_at = $17, updated_at = $18, started_at = $19, \
             completed_at = $20, revision = $21 WHERE tenant_id = $1 AND id = $2 AND revision = $22";
        let params = params![
            self.scope.key(),
            &row.id,
            &row.description,
            &row.targets,
            &row.policy,
            row.windowed,
            &row.state,
            &row.reason_code,
            &row.comment,
            row.force,
            row.rollout_over,
            row.cursor_target,
            &row.cursor_device,
            &row.pace,
            row.handed,
            row.window_open,
            row.look_at,
            row.updated_at,
            row.started_at,
            row.completed_at,
            row.revision,
            expected
        ];
        self.conn.execute(SQL, params).await.map(hit)
    }

    /// Jobs that are over, with no device at them any more, and ended before then or before the newest `keep`; the oldest first.
    pub async fn stale_jobs(&mut self, before: Timestamp, keep: u32, limit: u32) -> Result<Vec<JobKey>, StoreError> {
        const SQL: &str = "SELECT id FROM job AS j WHERE tenant_id = $1 AND completed_at IS NOT NULL \
             AND state IN ('completed', 'canceled') AND (completed_at < $2 OR (completed_at, id) <= \
             (SELECT n.completed_at, n.id FROM job AS n WHERE n.tenant_id = $1 AND n.completed_at IS NOT NULL \
             ORDER BY n.completed_at DESC, n.id DESC LIMIT 1 OFFSET $3)) AND NOT EXISTS (SELECT 1 FROM job_execution AS e \
             WHERE e.tenant_id = $1 AND e.job = j.id AND e.latest = 1 AND e.status IN ('queued', 'in_progress')) \
             ORDER BY completed_at, id LIMIT $4";
        self.conn.query(SQL, params![self.scope.key(), before, keep, limit]).await
    }

    /// Takes the job away; its executions are gone before.
    pub async fn delete_job(&mut self, id: &JobId) -> Result<bool, StoreError> {
        const SQL: &str = "DELETE FROM job WHERE tenant_id = $1 AND id = $2";
        self.conn.execute(SQL, params![self.scope.key(), id]).await.map(hit)
    }
}

impl SystemTx {
    /// Jobs that may have something to do, by tenant and id.
    pub async fn due_jobs(
        &mut self,
        now: Timestamp,
        after: Option<(&TenantId, &JobId)>,
        limit: u32,
    ) -> Result<Vec<Of<JobKey>>, StoreError> {
        const SQL: &str = "SELECT tenant_id, id FROM job WHERE look_at IS NOT NULL AND look_at <= $1 \
             AND (tenant_id, id) > ($2, $3) ORDER BY tenant_id, id LIMIT $4";
        let (tenant, id) = after.map_or(("", ""), |(tenant, id)| (tenant.as_str(), id.as_str()));
        self.across().await?.query(SQL, params![now, tenant, id, limit]).await
    }
}
