//! Campaigns of renewals, and how each device stands in one. What comes next is decided in `core::rotation::campaign`.

use fleetward_base::{DeviceId, RolloutId, TenantId, Timestamp};

use super::selector::{DeviceSelector, selected};
use super::standing::{CohortRow, StandingRow};
use super::{Of, hit};
use crate::sql::{Bulk, Column, Sql, for_update, from_row, params};
use crate::{StoreError, SystemTx, TenantTx};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CampaignRow {
    pub id: RolloutId,
    pub name: String,
    /// JSON: what it brings.
    pub renewal: String,
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

from_row!(CampaignRow {
    id: id,
    name: text,
    renewal: text,
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

/// A device in a campaign.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberRow {
    pub campaign: RolloutId,
    pub device: DeviceId,
    pub phase: u32,
    pub hardware: String,
    /// One of `core::rotation::campaign::Status`.
    pub status: String,
    pub queued_at: Timestamp,
    pub asked_at: Option<Timestamp>,
    pub finished_at: Option<Timestamp>,
}

from_row!(MemberRow {
    campaign: id,
    device: id,
    phase: small,
    hardware: text,
    status: text,
    queued_at: time,
    asked_at: opt_time,
    finished_at: opt_time,
});

macro_rules! columns {
    () => {
        "id, name, renewal, selector, policy, state, phase, phase_started_at, gate_met_at, pause_reason, \
         target_count, created_by, created_at, updated_at, revision"
    };
}

macro_rules! member_columns {
    () => {
        "campaign, device, phase, hardware, status, queued_at, asked_at, finished_at"
    };
}

macro_rules! uncovered {
    ($engine:ident) => {
        concat!(
            "SELECT d.hardware, count(*) FROM device AS d WHERE d.tenant_id = $1 AND ",
            selected!($engine),
            " AND NOT EXISTS (SELECT 1 FROM rotation_member AS m WHERE m.tenant_id = $1 AND m.device = d.id \
              AND m.campaign = $10) GROUP BY d.hardware ORDER BY d.hardware"
        )
    };
}

macro_rules! candidates {
    ($engine:ident) => {
        concat!(
            "SELECT d.id FROM device AS d WHERE d.tenant_id = $1 AND ",
            selected!($engine),
            " AND NOT EXISTS (SELECT 1 FROM rotation_member AS m WHERE m.tenant_id = $1 AND m.device = d.id \
              AND m.campaign = $10) ORDER BY d.id LIMIT $11"
        )
    };
}

impl TenantTx {
    pub async fn insert_campaign(&mut self, row: &CampaignRow) -> Result<(), StoreError> {
        const SQL: &str = concat!(
            "INSERT INTO rotation_campaign (tenant_id, ",
            columns!(),
            ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)"
        );
        let params = params![
            self.scope.key(),
            row.id,
            &row.name,
            &row.renewal,
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

    pub async fn campaign(&mut self, id: RolloutId) -> Result<Option<CampaignRow>, StoreError> {
        const SQL: &str = concat!("SELECT ", columns!(), " FROM rotation_campaign WHERE tenant_id = $1 AND id = $2");
        self.conn.query_opt(SQL, params![self.scope.key(), id]).await
    }

    /// As [`campaign`](Self::campaign), and nobody else changes it until the unit ends.
    pub async fn campaign_for_update(&mut self, id: RolloutId) -> Result<Option<CampaignRow>, StoreError> {
        const SQL: Sql = for_update!("SELECT ", columns!(), " FROM rotation_campaign WHERE tenant_id = $1 AND id = $2");
        self.conn.query_opt(SQL, params![self.scope.key(), id]).await
    }

    /// Those in one state, or all, the oldest first.
    pub async fn campaigns(
        &mut self,
        state: Option<&str>,
        after: Option<RolloutId>,
        limit: u32,
    ) -> Result<Vec<CampaignRow>, StoreError> {
        const SQL: &str = concat!(
            "SELECT ",
            columns!(),
            " FROM rotation_campaign WHERE tenant_id = $1 AND (CAST($2 AS TEXT) IS NULL OR state = $2) AND id > $3 \
             ORDER BY id LIMIT $4"
        );
        let after = after.map(|id| id.to_string()).unwrap_or_default();
        self.conn.query(SQL, params![self.scope.key(), state, after, limit]).await
    }

    /// Writes what changes in the life of a campaign.
    pub async fn update_campaign(&mut self, row: &CampaignRow, expected: u64) -> Result<bool, StoreError> {
        const SQL: &str = "UPDATE rotation_campaign SET state = $3, phase = $4, phase_started_at = $5, gate_met_at = $6, \
             pause_reason = $7, updated_at = $8, revision = $9 WHERE tenant_id = $1 AND id = $2 AND revision = $10";
        let params = params![
            self.scope.key(),
            row.id,
            &row.state,
            row.phase,
            row.phase_started_at,
            row.gate_met_at,
            &row.pause_reason,
            row.updated_at,
            row.revision,
            expected
        ];
        self.conn.execute(SQL, params).await.map(hit)
    }

    /// Takes devices into a campaign; those that are in it already are passed over.
    pub async fn insert_members(&mut self, rows: &[MemberRow]) -> Result<Vec<DeviceId>, StoreError> {
        const SQL: Bulk = Bulk {
            sqlite: concat!(
                "INSERT INTO rotation_member (tenant_id, ",
                member_columns!(),
                ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT DO NOTHING RETURNING device"
            ),
            postgres: concat!(
                "INSERT INTO rotation_member (tenant_id, ",
                member_columns!(),
                ") SELECT CAST($1 AS TEXT), * FROM UNNEST(CAST($2 AS TEXT[]), CAST($3 AS TEXT[]), CAST($4 AS BIGINT[]), \
                 CAST($5 AS TEXT[]), CAST($6 AS TEXT[]), CAST($7 AS BIGINT[]), CAST($8 AS BIGINT[]), \
                 CAST($9 AS BIGINT[])) ON CONFLICT DO NOTHING RETURNING device"
            ),
        };
        let columns = [
            Column::of(rows, |row| row.campaign),
            Column::of(rows, |row| &row.device),
            Column::of(rows, |row| row.phase),
            Column::of(rows, |row| &row.hardware),
            Column::of(rows, |row| &row.status),
            Column::of(rows, |row| row.queued_at),
            Column::of(rows, |row| row.asked_at),
            Column::of(rows, |row| row.finished_at),
        ];
        self.conn.query_rows(SQL, params![self.scope.key()], &columns).await
    }

    /// Those of a campaign by device, in one status, or all.
    pub async fn members(
        &mut self,
        campaign: RolloutId,
        status: Option<&str>,
        after: Option<&DeviceId>,
        limit: u32,
    ) -> Result<Vec<MemberRow>, StoreError> {
        const SQL: &str = concat!(
            "SELECT ",
            member_columns!(),
            " FROM rotation_member WHERE tenant_id = $1 AND campaign = $2 \
             AND (CAST($3 AS TEXT) IS NULL OR status = $3) AND device > $4 ORDER BY device LIMIT $5"
        );
        let after = after.map_or("", DeviceId::as_str);
        self.conn.query(SQL, params![self.scope.key(), campaign, status, after, limit]).await
    }

    /// Those that are not at their end and whose device is in with a certificate issued since `since`: they become
    /// `renewed`.
    pub async fn settle_members(
        &mut self,
        campaign: RolloutId,
        since: Timestamp,
        at: Timestamp,
    ) -> Result<Vec<DeviceId>, StoreError> {
        const SQL: &str = "UPDATE rotation_member SET status = 'renewed', finished_at = $4 \
             WHERE tenant_id = $1 AND campaign = $2 AND status IN ('waiting', 'asked') AND EXISTS \
             (SELECT 1 FROM certificate AS c WHERE c.tenant_id = $1 AND c.device = rotation_member.device \
             AND c.status IN ('proven', 'active') AND c.issued_at >= $3) RETURNING device";
        self.conn.query(SQL, params![self.scope.key(), campaign, since, at]).await
    }

    /// The device was asked: `waiting` becomes `asked`.
    pub async fn ask_member(
        &mut self,
        campaign: RolloutId,
        device: &DeviceId,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        const SQL: &str = "UPDATE rotation_member SET status = 'asked', asked_at = $4 \
             WHERE tenant_id = $1 AND campaign = $2 AND device = $3 AND status = 'waiting'";
        self.conn.execute(SQL, params![self.scope.key(), campaign, device, at]).await.map(hit)
    }

    /// Those asked before `before` and not renewed since: they become `failed`.
    pub async fn fail_members(
        &mut self,
        campaign: RolloutId,
        before: Timestamp,
        at: Timestamp,
    ) -> Result<Vec<DeviceId>, StoreError> {
        const SQL: &str = "UPDATE rotation_member SET status = 'failed', finished_at = $4 \
             WHERE tenant_id = $1 AND campaign = $2 AND status = 'asked' AND asked_at < $3 RETURNING device";
        self.conn.query(SQL, params![self.scope.key(), campaign, before, at]).await
    }

    /// Those that wait become `canceled`.
    pub async fn cancel_members(&mut self, campaign: RolloutId, at: Timestamp) -> Result<Vec<DeviceId>, StoreError> {
        const SQL: &str = "UPDATE rotation_member SET status = 'canceled', finished_at = $3 \
             WHERE tenant_id = $1 AND campaign = $2 AND status = 'waiting' RETURNING device";
        self.conn.query(SQL, params![self.scope.key(), campaign, at]).await
    }

    /// The devices of a campaign counted by how they stand.
    pub async fn campaign_standing(&mut self, campaign: RolloutId) -> Result<Vec<StandingRow>, StoreError> {
        const SQL: &str = "SELECT kind, phase, hardware, status, offline, silent, count(*) FROM \
             (SELECT 'renewal' AS kind, m.phase AS phase, m.hardware AS hardware, m.status AS status, \
              CAST(CASE WHEN coalesce(p.online, 0) = 0 THEN 1 ELSE 0 END AS BIGINT) AS offline, \
              CAST(0 AS BIGINT) AS silent FROM rotation_member AS m \
              LEFT JOIN device_presence AS p ON p.tenant_id = m.tenant_id AND p.device = m.device \
              WHERE m.tenant_id = $1 AND m.campaign = $2) AS s \
             GROUP BY kind, phase, hardware, status, offline, silent \
             ORDER BY kind, phase, hardware, status, offline, silent";
        self.conn.query(SQL, params![self.scope.key(), campaign]).await
    }

    /// Devices that the selector means and that are not in the campaign, counted by hardware revision.
    pub async fn uncovered_cohorts(
        &mut self,
        campaign: RolloutId,
        selector: &DeviceSelector,
    ) -> Result<Vec<CohortRow>, StoreError> {
        const SQL: Sql = Sql { sqlite: uncovered!(sqlite), postgres: uncovered!(postgres) };
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
            campaign
        ];
        self.conn.query(SQL, params).await
    }

    /// Devices that the selector means and that are not in the campaign, by name.
    pub async fn campaign_candidates(
        &mut self,
        campaign: RolloutId,
        selector: &DeviceSelector,
        limit: u32,
    ) -> Result<Vec<DeviceId>, StoreError> {
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
            campaign,
            limit
        ];
        self.conn.query(SQL, params).await
    }
}

impl SystemTx {
    /// Campaigns that may have something to do, by tenant and id: running, or at a stand with devices that were asked.
    pub async fn due_campaigns(
        &mut self,
        after: Option<(&TenantId, RolloutId)>,
        limit: u32,
    ) -> Result<Vec<Of<CampaignRow>>, StoreError> {
        const SQL: &str = concat!(
            "SELECT tenant_id, ",
            columns!(),
            " FROM rotation_campaign WHERE (state = 'running' OR (state IN ('paused', 'canceled') AND EXISTS \
             (SELECT 1 FROM rotation_member AS m WHERE m.tenant_id = rotation_campaign.tenant_id \
             AND m.campaign = rotation_campaign.id AND m.status = 'asked'))) AND (tenant_id, id) > ($1, $2) \
             ORDER BY tenant_id, id LIMIT $3"
        );
        let (tenant, id) = after.map_or(("", String::new()), |(tenant, id)| (tenant.as_str(), id.to_string()));
        self.across().await?.query(SQL, params![tenant, id, limit]).await
    }
}
