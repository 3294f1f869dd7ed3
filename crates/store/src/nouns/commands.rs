//! Commands: one row for each device that one was sent to. Payloads are fetched by themselves; lists do not carry them.
//!
//! `due_at` is when the server is to look at a row that nobody speaks of; a row without one waits for nothing.

use fleetward_base::{CommandId, DeviceId, TenantId, Timestamp};

use super::{Of, hit};
use crate::sql::{Sql, for_update, from_row, params};
use crate::{StoreError, SystemTx, TenantTx};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandRow {
    pub device: DeviceId,
    pub id: CommandId,
    /// Its place among all commands of the device.
    pub seq: u64,
    pub op: String,
    pub content_type: String,
    pub payload_bytes: u64,
    pub lane: String,
    pub dedupe: Option<String>,
    pub not_before: Option<Timestamp>,
    pub expires_at: Timestamp,
    pub ack_timeout_ms: u64,
    pub run_timeout_ms: u64,
    pub max_attempts: u32,
    pub on_expiry: String,
    /// `queued`, `sent` and `running` are the open ones.
    pub status: String,
    pub attempts: u32,
    pub reason_code: Option<String>,
    pub reason_text: Option<String>,
    /// JSON.
    pub result: Option<String>,
    pub version: u64,
    pub created_by: String,
    pub created_at: Timestamp,
    pub sent_at: Option<Timestamp>,
    pub started_at: Option<Timestamp>,
    pub updated_at: Timestamp,
    pub finished_at: Option<Timestamp>,
    pub due_at: Option<Timestamp>,
}

/// A page by id and device, of those that the filter lets through and that $more is true of.
macro_rules! page {
    ($more:literal) => {
        concat!(
            "SELECT ",
            columns!(),
            " FROM command WHERE tenant_id = $1 AND (CAST($2 AS TEXT) IS NULL OR id = $2) \
             AND (CAST($3 AS TEXT) IS NULL OR device = $3) AND (CAST($4 AS TEXT) IS NULL OR status = $4)",
            $more,
            " AND (id, device) > ($5, $6) ORDER BY id, device LIMIT $7"
        )
    };
}

from_row!(CommandRow {
    device: id,
    id: id,
    seq: count,
    op: text,
    content_type: text,
    payload_bytes: count,
    lane: text,
    dedupe: opt_text,
    not_before: opt_time,
    expires_at: time,
    ack_timeout_ms: count,
    run_timeout_ms: count,
    max_attempts: small,
    on_expiry: text,
    status: text,
    attempts: small,
    reason_code: opt_text,
    reason_text: opt_text,
    result: opt_text,
    version: count,
    created_by: text,
    created_at: time,
    sent_at: opt_time,
    started_at: opt_time,
    updated_at: time,
    finished_at: opt_time,
    due_at: opt_time,
});

/// Which of a tenant's commands. What is `None` says nothing.
#[derive(Clone, Debug, Default)]
pub struct CommandFilter {
    pub id: Option<CommandId>,
    pub device: Option<DeviceId>,
    pub op: Option<String>,
    pub status: Option<String>,
}

/// The queue of one device in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CommandTail {
    /// The place of the last one; 0 where there is none.
    pub last_seq: u64,
    pub open: u64,
}

from_row!(CommandTail { last_seq: count, open: count });

/// What a command carries.
struct Payload(Vec<u8>);

impl crate::sql::FromRow for Payload {
    fn from_row(cells: &mut crate::sql::Cells) -> Result<Self, StoreError> {
        cells.bytes().map(Self)
    }
}

macro_rules! columns {
    () => {
        "device, id, seq, op, content_type, CAST(length(payload) AS BIGINT), lane, dedupe, not_before, expires_at, ack_timeout_ms, \
         run_timeout_ms, max_attempts, on_expiry, status, attempts, reason_code, reason_text, result, version, created_by, \
         created_at, sent_at, started_at, updated_at, finished_at, due_at"
    };
}

impl TenantTx {
    /// `false` where the device has one of that id, which stays as it is.
    pub async fn insert_command(&mut self, row: &CommandRow, payload: &[u8]) -> Result<bool, StoreError> {
        const SQL: &str = "INSERT INTO command (tenant_id, device, id, seq, op, content_type, payload, lane, dedupe, \
             not_before, expires_at, ack_timeout_ms, run_timeout_ms, max_attempts, on_expiry, status, attempts, reason_code, \
             reason_text, result, version, created_by, created_at, sent_at, started_at, updated_at, finished_at, due_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, \
             $23, $24, $25, $26, $27, $28) ON CONFLICT (tenant_id, device, id) DO NOTHING";
        let params = params![
            self.scope.key(),
            &row.device,
            &row.id,
            row.seq,
            &row.op,
            &row.content_type,
            payload,
            &row.lane,
            &row.dedupe,
            row.not_before,
            row.expires_at,
            row.ack_timeout_ms,
            row.run_timeout_ms,
            row.max_attempts,
            &row.on_expiry,
            &row.status,
            row.attempts,
            &row.reason_code,
            &row.reason_text,
            &row.result,
            row.version,
            &row.created_by,
            row.created_at,
            row.sent_at,
            row.started_at,
            row.updated_at,
            row.finished_at,
            row.due_at
        ];
        self.conn.execute(SQL, params).await.map(hit)
    }

    pub async fn command(&mut self, device: &DeviceId, id: &CommandId) -> Result<Option<CommandRow>, StoreError> {
        const SQL: &str =
            concat!("SELECT ", columns!(), " FROM command WHERE tenant_id = $1 AND device = $2 AND id = $3");
        self.conn.query_opt(SQL, params![self.scope.key(), device, id]).await
    }

    /// As [`command`](Self::command), and nobody else changes it until the unit ends.
    pub async fn command_for_update(
        &mut self,
        device: &DeviceId,
        id: &CommandId,
    ) -> Result<Option<CommandRow>, StoreError> {
        const SQL: Sql =
            for_update!("SELECT ", columns!(), " FROM command WHERE tenant_id = $1 AND device = $2 AND id = $3");
        self.conn.query_opt(SQL, params![self.scope.key(), device, id]).await
    }

    pub async fn command_payload(&mut self, device: &DeviceId, id: &CommandId) -> Result<Option<Vec<u8>>, StoreError> {
        const SQL: &str = "SELECT payload FROM command WHERE tenant_id = $1 AND device = $2 AND id = $3";
        let found: Option<Payload> = self.conn.query_opt(SQL, params![self.scope.key(), device, id]).await?;
        Ok(found.map(|payload| payload.0))
    }

    /// The open ones of a device in their order; nobody else changes them until the unit ends.
    pub async fn open_commands(&mut self, device: &DeviceId) -> Result<Vec<CommandRow>, StoreError> {
        const SQL: Sql = for_update!(
            "SELECT ",
            columns!(),
            " FROM command WHERE tenant_id = $1 AND device = $2 AND due_at IS NOT NULL \
             AND status IN ('queued', 'sent', 'running') ORDER BY seq"
        );
        self.conn.query(SQL, params![self.scope.key(), device]).await
    }

    /// Where the queue of a device ends.
    pub async fn command_tail(&mut self, device: &DeviceId) -> Result<CommandTail, StoreError> {
        const SQL: &str = "SELECT coalesce(max(seq), 0), \
             count(CASE WHEN status IN ('queued', 'sent', 'running') THEN 1 END) \
             FROM command WHERE tenant_id = $1 AND device = $2";
        self.conn.query_one(SQL, params![self.scope.key(), device]).await
    }

    /// Writes all that changes: where it stands, why, what came of it, its version, its times.
    pub async fn update_command(&mut self, row: &CommandRow, expected: u64) -> Result<bool, StoreError> {
        const SQL: &str = "UPDATE command SET status = $4, attempts = $5, reason_code = $6, reason_text = $7, result = $8, \
             version = $9, sent_at = $10, started_at = $11, updated_at = $12, finished_at = $13, due_at = $14 \
             WHERE tenant_id = $1 AND device = $2 AND id = $3 AND version = $15";
        let params = params![
            self.scope.key(),
            &row.device,
            &row.id,
            &row.status,
            row.attempts,
            &row.reason_code,
            &row.reason_text,
            &row.result,
            row.version,
            row.sent_at,
            row.started_at,
            row.updated_at,
            row.finished_at,
            row.due_at,
            expected
        ];
        self.conn.execute(SQL, params).await.map(hit)
    }

    /// A page by id and device; ids that the server chose are in the order of time.
    pub async fn commands(
        &mut self,
        filter: &CommandFilter,
        after: Option<(&CommandId, &DeviceId)>,
        limit: u32,
    ) -> Result<Vec<CommandRow>, StoreError> {
        let (id, device) = after.map_or(("", ""), |(id, device)| (id.as_str(), device.as_str()));
        let (of_id, of_device) = (filter.id.as_ref().map(CommandId::as_str), filter.device.as_ref());
        let Some(op) = &filter.op else {
            let params = params![self.scope.key(), of_id, of_device, &filter.status, id, device, limit];
            return self.conn.query(page!(""), params).await;
        };
        // Of one operation there may be few: they are found by their own index.
        let params = params![self.scope.key(), of_id, of_device, &filter.status, id, device, limit, op.as_str()];
        self.conn.query(page!(" AND op = $8"), params).await
    }

    /// Those of a device, the newest first, older than `before`; in one status, or all.
    pub async fn device_commands(
        &mut self,
        device: &DeviceId,
        status: Option<&str>,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<CommandRow>, StoreError> {
        const SQL: &str = concat!(
            "SELECT ",
            columns!(),
            " FROM command WHERE tenant_id = $1 AND device = $2 AND (CAST($3 AS TEXT) IS NULL OR status = $3) \
             AND seq < $4 ORDER BY seq DESC LIMIT $5"
        );
        let before = before.unwrap_or(u64::MAX);
        self.conn.query(SQL, params![self.scope.key(), device, status, before, limit]).await
    }

    /// Forgets one that nothing can follow.
    pub async fn delete_command(&mut self, device: &DeviceId, id: &CommandId) -> Result<bool, StoreError> {
        const SQL: &str = "DELETE FROM command WHERE tenant_id = $1 AND device = $2 AND id = $3 AND due_at IS NULL";
        self.conn.execute(SQL, params![self.scope.key(), device, id]).await.map(hit)
    }

    /// Forgets a page of those that wait for nothing and have not changed since `before`, the oldest first; how many.
    pub async fn forget_commands(&mut self, before: Timestamp, limit: u32) -> Result<u64, StoreError> {
        const SQL: &str = "DELETE FROM command WHERE tenant_id = $1 AND (device, id) IN \
             (SELECT c.device, c.id FROM command AS c WHERE c.tenant_id = $1 AND c.due_at IS NULL AND c.updated_at < $2 \
             ORDER BY c.updated_at LIMIT $3)";
        self.conn.execute(SQL, params![self.scope.key(), before, limit]).await
    }

    /// Forgets those of a device that wait for nothing, but for the newest `keep`; how many.
    pub async fn trim_commands(&mut self, device: &DeviceId, keep: u32) -> Result<u64, StoreError> {
        const SQL: &str = "DELETE FROM command WHERE tenant_id = $1 AND device = $2 AND due_at IS NULL AND seq <= \
             (SELECT c.seq FROM command AS c WHERE c.tenant_id = $1 AND c.device = $2 AND c.due_at IS NULL \
             ORDER BY c.seq DESC LIMIT 1 OFFSET $3)";
        self.conn.execute(SQL, params![self.scope.key(), device, keep]).await
    }
}

impl SystemTx {
    /// Devices with a command that is to be looked at by now, by tenant and name; each once.
    pub async fn due_commands(
        &mut self,
        now: Timestamp,
        after: Option<(&TenantId, &DeviceId)>,
        limit: u32,
    ) -> Result<Vec<Of<DeviceId>>, StoreError> {
        const SQL: &str = "SELECT DISTINCT tenant_id, device FROM command WHERE due_at <= $1 \
             AND (tenant_id, device) > ($2, $3) ORDER BY tenant_id, device LIMIT $4";
        let (tenant, device) = after.map_or(("", ""), |(tenant, device)| (tenant.as_str(), device.as_str()));
        self.across().await?.query(SQL, params![now, tenant, device, limit]).await
    }
}
