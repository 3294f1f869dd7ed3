//! What a drill wants to know of devices that an incident command would meet. Everything here only reads; which certificates
//! are met is the condition of the statements that work on them ([`super::revocations`]).

use fleetward_base::{DeviceId, RolloutId, Timestamp};

use super::revocations::{replaceable, revocable};
use super::selector::json_array;
use super::standing::earned;
use crate::sql::{Sql, from_row, params};
use crate::{StoreError, TenantTx};

/// A device with where it belongs and when it was heard of, as last written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetRow {
    pub device: DeviceId,
    pub status: String,
    pub class: String,
    pub hardware: String,
    pub environment: Option<String>,
    pub site: Option<String>,
    pub online: bool,
    pub last_seen: Option<Timestamp>,
}

from_row!(MetRow {
    device: id,
    status: text,
    class: text,
    hardware: text,
    environment: opt_text,
    site: opt_text,
    online: bool,
    last_seen: opt_time,
});

/// A certificate with what a command would do to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProspectRow {
    pub serial: String,
    pub device: DeviceId,
    pub authority: String,
    pub status: String,
    pub not_after: Timestamp,
    pub issued_at: Timestamp,
    pub way: String,
    pub source: Option<String>,
    /// A revocation takes it.
    pub revocable: bool,
    /// A replacement asks for another one.
    pub replaceable: bool,
}

from_row!(ProspectRow {
    serial: text,
    device: id,
    authority: text,
    status: text,
    not_after: time,
    issued_at: time,
    way: text,
    source: opt_text,
    revocable: bool,
    replaceable: bool,
});

/// An update that would be taken back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WayBackRow {
    pub device: DeviceId,
    pub hardware: String,
    /// What it ran before.
    pub from_version: Option<String>,
    /// What it says that it runs.
    pub firmware: Option<String>,
    /// Another update began on it since.
    pub overwritten: bool,
    pub online: bool,
    pub last_seen: Option<Timestamp>,
}

from_row!(WayBackRow {
    device: id,
    hardware: text,
    from_version: opt_text,
    firmware: opt_text,
    overwritten: bool,
    online: bool,
    last_seen: opt_time,
});

/// Deployments of one kind that succeeded, and how long they took together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TookRow {
    pub count: u64,
    pub millis: u64,
}

from_row!(TookRow { count: count, millis: count });

macro_rules! met {
    ($among:literal) => {
        concat!(
            "SELECT d.id, d.status, d.class, d.hardware, d.environment, d.site, coalesce(p.online, 0), p.last_seen \
             FROM device AS d LEFT JOIN device_presence AS p ON p.tenant_id = $1 AND p.device = d.id \
             WHERE d.tenant_id = $1 AND d.id ",
            $among,
            " ORDER BY d.id"
        )
    };
}

macro_rules! prospects {
    ($among:literal) => {
        concat!(
            "SELECT serial, device, authority, status, not_after, issued_at, way, source, \
             CAST(CASE WHEN ",
            revocable!(),
            " THEN 1 ELSE 0 END AS BIGINT), CAST(CASE WHEN ",
            replaceable!(),
            " THEN 1 ELSE 0 END AS BIGINT) FROM certificate WHERE tenant_id = $1 AND device ",
            $among,
            " ORDER BY device, issued_at DESC, serial"
        )
    };
}

macro_rules! waiting {
    ($among:literal) => {
        concat!(
            "SELECT DISTINCT device FROM enroll_token WHERE tenant_id = $1 AND used_at IS NULL AND revoked_at IS NULL \
             AND expires_at > $3 AND device ",
            $among,
            " ORDER BY device"
        )
    };
}

fn names(devices: &[DeviceId]) -> String {
    json_array(&devices.iter().map(|id| id.as_str().to_owned()).collect::<Vec<_>>())
}

impl TenantTx {
    /// These devices, by name.
    pub async fn met_devices(&mut self, devices: &[DeviceId]) -> Result<Vec<MetRow>, StoreError> {
        const SQL: Sql = Sql {
            sqlite: met!("IN (SELECT value FROM json_each($2))"),
            postgres: met!("= ANY (ARRAY(SELECT jsonb_array_elements_text(CAST(CAST($2 AS TEXT) AS jsonb))))"),
        };
        self.conn.query(SQL, params![self.scope.key(), names(devices)]).await
    }

    /// All certificates of these devices, of each the newest first.
    pub async fn prospects_of(&mut self, devices: &[DeviceId]) -> Result<Vec<ProspectRow>, StoreError> {
        const SQL: Sql = Sql {
            sqlite: prospects!("IN (SELECT value FROM json_each($2))"),
            postgres: prospects!("= ANY (ARRAY(SELECT jsonb_array_elements_text(CAST(CAST($2 AS TEXT) AS jsonb))))"),
        };
        self.conn.query(SQL, params![self.scope.key(), names(devices)]).await
    }

    /// Those of these devices that a one-time token was given out for, which counts at `now`.
    pub async fn with_waiting_token(
        &mut self,
        devices: &[DeviceId],
        now: Timestamp,
    ) -> Result<Vec<DeviceId>, StoreError> {
        const SQL: Sql = Sql {
            sqlite: waiting!("IN (SELECT value FROM json_each($2))"),
            postgres: waiting!("= ANY (ARRAY(SELECT jsonb_array_elements_text(CAST(CAST($2 AS TEXT) AS jsonb))))"),
        };
        self.conn.query(SQL, params![self.scope.key(), names(devices), now]).await
    }

    /// Updates of a rollout that would be taken back now or when their device is free, by device, after `after`.
    pub async fn ways_back(
        &mut self,
        rollout: RolloutId,
        after: &str,
        limit: u32,
    ) -> Result<Vec<WayBackRow>, StoreError> {
        const SQL: &str = concat!(
            "SELECT d.device, d.hardware, d.from_version, (SELECT f.firmware FROM device AS f WHERE f.tenant_id = $1 \
             AND f.id = d.device), CAST(CASE WHEN EXISTS (SELECT 1 FROM deployment AS b WHERE b.tenant_id = $1 \
             AND b.device = d.device AND b.rollout <> $2 AND b.started_at >= d.finished_at) THEN 1 ELSE 0 END AS BIGINT), \
             coalesce((SELECT p.online FROM device_presence AS p WHERE p.tenant_id = $1 AND p.device = d.device), 0), \
             (SELECT s.last_seen FROM device_presence AS s WHERE s.tenant_id = $1 AND s.device = d.device)",
            earned!(),
            " AND d.device > $3 ORDER BY d.device LIMIT $4"
        );
        self.conn.query(SQL, params![self.scope.key(), rollout, after, limit]).await
    }

    /// How long the deployments of one kind of a rollout took that succeeded, from the moment the device began.
    pub async fn deployments_took(&mut self, rollout: RolloutId, kind: &str) -> Result<TookRow, StoreError> {
        const SQL: &str = "SELECT count(*), CAST(coalesce(sum(finished_at - started_at), 0) AS BIGINT) FROM deployment \
             WHERE tenant_id = $1 AND rollout = $2 AND kind = $3 AND status = 'succeeded' AND started_at IS NOT NULL \
             AND finished_at >= started_at";
        self.conn.query_one(SQL, params![self.scope.key(), rollout, kind]).await
    }
}
