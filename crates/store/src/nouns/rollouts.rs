//! Rollouts. What comes next in one is decided in `core::rollout`.

use fleetward_base::{ReleaseId, RolloutId, TenantId, Timestamp};

use super::{Of, hit};
use crate::sql::{Sql, for_update, from_row, params};
use crate::{StoreError, SystemTx, TenantTx};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolloutRow {
    pub id: RolloutId,
    pub name: String,
    pub release: ReleaseId,
    /// JSON.
    pub selector: String,
    /// JSON.
    pub policy: String,
    /// One of `core::rollout::State`.
    pub state: String,
    pub phase: u32,
    pub phase_started_at: Option<Timestamp>,
    pub gate_met_at: Option<Timestamp>,
    pub pause_reason: Option<String>,
    pub target_count: u64,
    pub created_by: String,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub revision: u64,
}

from_row!(RolloutRow {
    id: id,
    name: text,
    release: id,
    selector: text,
    policy: text,
    state: text,
    phase: small,
    phase_started_at: opt_time,
    gate_met_at: opt_time,
    pause_reason: opt_text,
    target_count: count,
    created_by: text,
    created_at: time,
    updated_at: time,
    revision: count,
});

macro_rules! columns {
    () => {
        "id, name, release, selector, policy, state, phase, phase_started_at, gate_met_at, pause_reason, \
         target_count, created_by, created_at, updated_at, revision"
    };
}

impl TenantTx {
    pub async fn insert_rollout(&mut self, row: &RolloutRow) -> Result<(), StoreError> {
        const SQL: &str = concat!(
            "INSERT INTO rollout (tenant_id, ",
            columns!(),
            ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)"
        );
        let params = params![
            self.scope.key(),
            row.id,
            &row.name,
            row.release,
            &row.selector,
            &row.policy,
            &row.state,
            row.phase,
            row.phase_started_at,
            row.gate_met_at,
            &row.pause_reason,
            row.target_count,
            &row.created_by,
            row.created_at,
            row.updated_at,
            row.revision
        ];
        self.conn.execute(SQL, params).await.map(drop)
    }

    pub async fn rollout(&mut self, id: RolloutId) -> Result<Option<RolloutRow>, StoreError> {
        const SQL: &str = concat!("SELECT ", columns!(), " FROM rollout WHERE tenant_id = $1 AND id = $2");
        self.conn.query_opt(SQL, params![self.scope.key(), id]).await
    }

    /// As [`rollout`](Self::rollout), and nobody else changes it until the unit ends.
    pub async fn rollout_for_update(&mut self, id: RolloutId) -> Result<Option<RolloutRow>, StoreError> {
        const SQL: Sql = for_update!("SELECT ", columns!(), " FROM rollout WHERE tenant_id = $1 AND id = $2");
        self.conn.query_opt(SQL, params![self.scope.key(), id]).await
    }

    /// Those in one state, or all.
    pub async fn rollouts(
        &mut self,
        state: Option<&str>,
        after: Option<RolloutId>,
        limit: u32,
    ) -> Result<Vec<RolloutRow>, StoreError> {
        const SQL: &str = concat!(
            "SELECT ",
            columns!(),
            " FROM rollout WHERE tenant_id = $1 AND (CAST($2 AS TEXT) IS NULL OR state = $2) AND id > $3 \
             ORDER BY id LIMIT $4"
        );
        let after = after.map(|id| id.to_string()).unwrap_or_default();
        self.conn.query(SQL, params![self.scope.key(), state, after, limit]).await
    }

    /// Writes what changes in a rollout: state, phase, gate, reason, target, policy, revision.
    pub async fn update_rollout(&mut self, row: &RolloutRow, expected: u64) -> Result<bool, StoreError> {
        const SQL: &str = "UPDATE rollout SET policy = $3, state = $4, phase = $5, phase_started_at = $6, \
             gate_met_at = $7, pause_reason = $8, target_count = $9, updated_at = $10, revision = $11 \
             WHERE tenant_id = $1 AND id = $2 AND revision = $12";
        let params = params![
            self.scope.key(),
            row.id,
            &row.policy,
            &row.state,
            row.phase,
            row.phase_started_at,
            row.gate_met_at,
            &row.pause_reason,
            row.target_count,
            row.updated_at,
            row.revision,
            expected
        ];
        self.conn.execute(SQL, params).await.map(hit)
    }
}

impl SystemTx {
    /// Rollouts that may have something to do, by tenant and id: running or rolling back, or at a stand with deployments
    /// that are still open.
    pub async fn due_rollouts(
        &mut self,
        after: Option<(&TenantId, RolloutId)>,
        limit: u32,
    ) -> Result<Vec<Of<RolloutRow>>, StoreError> {
        const SQL: &str = concat!(
            "SELECT tenant_id, ",
            columns!(),
            " FROM rollout WHERE (state IN ('running', 'rolling_back') OR (state IN ('paused', 'canceled') AND EXISTS \
             (SELECT 1 FROM deployment AS d WHERE d.tenant_id = rollout.tenant_id AND d.rollout = rollout.id \
             AND d.status IN ('queued', 'in_progress')))) AND (tenant_id, id) > ($1, $2) \
             ORDER BY tenant_id, id LIMIT $3"
        );
        let (tenant, id) = after.map_or(("", String::new()), |(tenant, id)| (tenant.as_str(), id.to_string()));
        self.across().await?.query(SQL, params![tenant, id, limit]).await
    }
}
