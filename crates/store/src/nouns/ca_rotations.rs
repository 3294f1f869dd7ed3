//! Rotations of authorities: one that is open for each tenant, and one for the installation's root.

use fleetward_base::{TenantId, Timestamp};

use super::{Of, hit};
use crate::sql::{from_row, params};
use crate::{StoreError, SystemTx, TenantTx};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaRotationRow {
    pub id: String,
    /// `issuing` or `root`.
    pub kind: String,
    /// `publish`, `issue`, `retired`, `canceled`.
    pub stage: String,
    /// Fingerprints.
    pub old_ca: String,
    pub new_ca: String,
    /// A JSON object.
    pub plan: String,
    pub started_at: Timestamp,
    pub stage_at: Timestamp,
    pub finished_at: Option<Timestamp>,
    pub revision: u64,
}

from_row!(CaRotationRow {
    id: text,
    kind: text,
    stage: text,
    old_ca: text,
    new_ca: text,
    plan: text,
    started_at: time,
    stage_at: time,
    finished_at: opt_time,
    revision: count,
});

macro_rules! columns {
    () => {
        "id, kind, stage, old_ca, new_ca, plan, started_at, stage_at, finished_at, revision"
    };
}

impl TenantTx {
    /// Where one is open already it is `Conflict`.
    pub async fn insert_ca_rotation(&mut self, row: &CaRotationRow) -> Result<(), StoreError> {
        const SQL: &str = concat!(
            "INSERT INTO ca_rotation (tenant_id, ",
            columns!(),
            ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"
        );
        let params = params![
            self.scope.key(),
            &row.id,
            &row.kind,
            &row.stage,
            &row.old_ca,
            &row.new_ca,
            &row.plan,
            row.started_at,
            row.stage_at,
            row.finished_at,
            row.revision
        ];
        self.conn.execute(SQL, params).await.map(drop)
    }

    pub async fn open_ca_rotation(&mut self) -> Result<Option<CaRotationRow>, StoreError> {
        const SQL: &str =
            concat!("SELECT ", columns!(), " FROM ca_rotation WHERE tenant_id = $1 AND finished_at IS NULL");
        self.conn.query_opt(SQL, params![self.scope.key()]).await
    }

    /// The one that began last.
    pub async fn last_ca_rotation(&mut self) -> Result<Option<CaRotationRow>, StoreError> {
        const SQL: &str = concat!(
            "SELECT ",
            columns!(),
            " FROM ca_rotation WHERE tenant_id = $1 ORDER BY started_at DESC, id DESC LIMIT 1"
        );
        self.conn.query_opt(SQL, params![self.scope.key()]).await
    }

    /// Writes the stage, the plan and their times.
    pub async fn update_ca_rotation(&mut self, row: &CaRotationRow, expected: u64) -> Result<bool, StoreError> {
        const SQL: &str = "UPDATE ca_rotation SET stage = $3, plan = $4, stage_at = $5, finished_at = $6, revision = $7, \
             new_ca = $9 WHERE tenant_id = $1 AND id = $2 AND revision = $8";
        let params = params![
            self.scope.key(),
            &row.id,
            &row.stage,
            &row.plan,
            row.stage_at,
            row.finished_at,
            row.revision,
            expected,
            &row.new_ca
        ];
        self.conn.execute(SQL, params).await.map(hit)
    }
}

impl SystemTx {
    /// All that are open, the installation's first, then by tenant; behind that of `after`.
    pub async fn open_ca_rotations(
        &mut self,
        after: Option<(Option<&TenantId>, &str)>,
        limit: u32,
    ) -> Result<Vec<Of<CaRotationRow>>, StoreError> {
        const SQL: &str = concat!(
            "SELECT tenant_id, ",
            columns!(),
            " FROM ca_rotation WHERE finished_at IS NULL AND (tenant_id, id) > ($1, $2) ORDER BY tenant_id, id LIMIT $3"
        );
        let (tenant, id) = after.map_or(("", ""), |(tenant, id)| (tenant.map_or("", TenantId::as_str), id));
        self.across().await?.query(SQL, params![tenant, id, limit]).await
    }
}
