//! The device record.

use fleetward_base::{DeviceId, Timestamp};

use super::hit;
use super::selector::json_array;
use crate::sql::{Sql, for_update, from_row, params};
use crate::{StoreError, TenantTx};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceRow {
    pub id: DeviceId,
    pub class: String,
    pub hardware: String,
    /// The version that the device last reported.
    pub firmware: Option<String>,
    pub status: String,
    pub owner: Option<String>,
    pub environment: Option<String>,
    pub site: Option<String>,
    pub location: Option<String>,
    pub parent: Option<DeviceId>,
    pub endpoint: Option<String>,
    /// A JSON array of strings, sorted.
    pub tags: String,
    /// A JSON object of scalars.
    pub attributes: String,
    /// Of the certificate that the device last used.
    pub certificate_serial: Option<String>,
    pub certificate_not_after: Option<Timestamp>,
    /// How often it is expected to be heard of, in seconds.
    pub heartbeat_s: Option<u64>,
    pub revision: u64,
    pub provisioned_at: Option<Timestamp>,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

from_row!(DeviceRow {
    id: id,
    class: text,
    hardware: text,
    firmware: opt_text,
    status: text,
    owner: opt_text,
    environment: opt_text,
    site: opt_text,
    location: opt_text,
    parent: opt_id,
    endpoint: opt_text,
    tags: text,
    attributes: text,
    certificate_serial: opt_text,
    certificate_not_after: opt_time,
    heartbeat_s: opt_count,
    revision: count,
    provisioned_at: opt_time,
    created_at: time,
    updated_at: time,
});

macro_rules! device_columns {
    () => {
        "id, class, hardware, firmware, status, owner, environment, site, location, parent, endpoint, tags, \
         attributes, certificate_serial, certificate_not_after, heartbeat_s, revision, provisioned_at, created_at, \
         updated_at"
    };
}
pub(super) use device_columns;

/// A device that is expected to be heard of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeartbeatRow {
    pub device: DeviceId,
    /// How often, in seconds.
    pub every_s: u64,
}

from_row!(HeartbeatRow { device: id, every_s: count });

/// Which devices a list shows. Nothing set: all.
#[derive(Clone, Debug, Default)]
pub struct DeviceFilter {
    pub status: Option<String>,
    pub hardware: Option<String>,
    pub firmware: Option<String>,
    pub class: Option<String>,
    pub environment: Option<String>,
    pub site: Option<String>,
    /// All of these.
    pub tags: Vec<String>,
    /// The beginning of the name.
    pub prefix: Option<String>,
    /// As last written to the store; who is online this moment is known in memory.
    pub online: Option<bool>,
}

macro_rules! list {
    ($tags:literal) => {
        concat!(
            "SELECT ",
            device_columns!(),
            " FROM device AS d WHERE tenant_id = $1 AND id > $2 AND id >= $3 AND id < $4 \
              AND (CAST($5 AS TEXT) IS NULL OR status = $5) \
              AND (CAST($6 AS TEXT) IS NULL OR hardware = $6) \
              AND (CAST($7 AS TEXT) IS NULL OR firmware = $7) \
              AND (CAST($8 AS TEXT) IS NULL OR class = $8) \
              AND (CAST($9 AS TEXT) IS NULL OR environment = $9) \
              AND (CAST($10 AS TEXT) IS NULL OR site = $10) \
              AND (CAST($11 AS BIGINT) IS NULL OR $11 = coalesce((SELECT p.online FROM device_presence AS p \
                   WHERE p.tenant_id = d.tenant_id AND p.device = d.id), 0)) \
              AND (CAST($12 AS TEXT) IS NULL OR ",
            $tags,
            ") ORDER BY id LIMIT $13"
        )
    };
}

impl TenantTx {
    /// A device of this name there already is `Conflict`.
    pub async fn insert_device(&mut self, row: &DeviceRow) -> Result<(), StoreError> {
        const SQL: &str = concat!(
            "INSERT INTO device (tenant_id, ",
            device_columns!(),
            ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21)"
        );
        let params = params![
            self.scope.key(),
            &row.id,
            &row.class,
            &row.hardware,
            &row.firmware,
            &row.status,
            &row.owner,
            &row.environment,
            &row.site,
            &row.location,
            &row.parent,
            &row.endpoint,
            &row.tags,
            &row.attributes,
            &row.certificate_serial,
            row.certificate_not_after,
            row.heartbeat_s,
            row.revision,
            row.provisioned_at,
            row.created_at,
            row.updated_at
        ];
        self.conn.execute(SQL, params).await.map(drop)
    }

    pub async fn device(&mut self, id: &DeviceId) -> Result<Option<DeviceRow>, StoreError> {
        const SQL: &str = concat!("SELECT ", device_columns!(), " FROM device WHERE tenant_id = $1 AND id = $2");
        self.conn.query_opt(SQL, params![self.scope.key(), id]).await
    }

    /// As [`device`](Self::device), and nobody else changes it until the unit ends.
    pub async fn device_for_update(&mut self, id: &DeviceId) -> Result<Option<DeviceRow>, StoreError> {
        const SQL: Sql = for_update!("SELECT ", device_columns!(), " FROM device WHERE tenant_id = $1 AND id = $2");
        self.conn.query_opt(SQL, params![self.scope.key(), id]).await
    }

    /// Those that are expected to be heard of, in the order of their names. In a fleet where none is, that is one walk over
    /// the table and no row.
    pub async fn heartbeats(&mut self, after: Option<&DeviceId>, limit: u32) -> Result<Vec<HeartbeatRow>, StoreError> {
        const SQL: &str = "SELECT id, heartbeat_s FROM device WHERE tenant_id = $1 AND id > $2 \
             AND heartbeat_s IS NOT NULL ORDER BY id LIMIT $3";
        self.conn.query(SQL, params![self.scope.key(), after.map_or("", DeviceId::as_str), limit]).await
    }

    /// In the order of their names.
    pub async fn devices(
        &mut self,
        filter: &DeviceFilter,
        after: Option<&DeviceId>,
        limit: u32,
    ) -> Result<Vec<DeviceRow>, StoreError> {
        const SQL: Sql = Sql {
            sqlite: list!(
                "NOT EXISTS (SELECT 1 FROM json_each($12) AS w WHERE NOT EXISTS \
                 (SELECT 1 FROM json_each(d.tags) AS t WHERE t.value = w.value))"
            ),
            postgres: list!("CAST(tags AS jsonb) @> CAST($12 AS jsonb)"),
        };
        let prefix = filter.prefix.as_deref().unwrap_or("");
        let tags = (!filter.tags.is_empty()).then(|| json_array(&filter.tags));
        let params = params![
            self.scope.key(),
            after.map_or("", DeviceId::as_str),
            prefix,
            // No name holds a character past `z`.
            format!("{prefix}\u{7f}"),
            &filter.status,
            &filter.hardware,
            &filter.firmware,
            &filter.class,
            &filter.environment,
            &filter.site,
            filter.online.map(i64::from),
            tags,
            limit
        ];
        self.conn.query(SQL, params).await
    }

    /// Those that were written at `since` or later, in the order of that; with a name, those of that moment after it.
    pub async fn devices_changed(
        &mut self,
        (since, after): (Timestamp, &str),
        limit: u32,
    ) -> Result<Vec<DeviceRow>, StoreError> {
        const SQL: &str = concat!(
            "SELECT ",
            device_columns!(),
            " FROM device WHERE tenant_id = $1 AND (updated_at, id) > ($2, $3) ORDER BY updated_at, id LIMIT $4"
        );
        self.conn.query(SQL, params![self.scope.key(), since, after, limit]).await
    }

    /// Writes every field but the name and the time of creation.
    pub async fn update_device(&mut self, row: &DeviceRow, expected: u64) -> Result<bool, StoreError> {
        const SQL: &str = "UPDATE device SET class = $3, hardware = $4, firmware = $5, status = $6, owner = $7, \
             environment = $8, site = $9, location = $10, parent = $11, endpoint = $12, tags = $13, attributes = $14, \
             certificate_serial = $15, certificate_not_after = $16, heartbeat_s = $17, revision = $18, \
             provisioned_at = $19, updated_at = $20 WHERE tenant_id = $1 AND id = $2 AND revision = $21";
        let params = params![
            self.scope.key(),
            &row.id,
            &row.class,
            &row.hardware,
            &row.firmware,
            &row.status,
            &row.owner,
            &row.environment,
            &row.site,
            &row.location,
            &row.parent,
            &row.endpoint,
            &row.tags,
            &row.attributes,
            &row.certificate_serial,
            row.certificate_not_after,
            row.heartbeat_s,
            row.revision,
            row.provisioned_at,
            row.updated_at,
            expected
        ];
        self.conn.execute(SQL, params).await.map(hit)
    }

    /// Removes the record with its state. Certificates, deployments and the journal stay.
    pub async fn delete_device(&mut self, id: &DeviceId) -> Result<bool, StoreError> {
        const DEVICE: &str = "DELETE FROM device WHERE tenant_id = $1 AND id = $2";
        self.forget_device_state(id).await?;
        self.conn.execute(DEVICE, params![self.scope.key(), id]).await.map(hit)
    }

    /// Removes all that was kept for a device and is no history: presence, shadows, commands, attestation, MQTT session and retained
    /// messages, identifiers, keys and requests with which it could come back. Its record, certificates, deployments and
    /// journal stay.
    pub async fn forget_device_state(&mut self, id: &DeviceId) -> Result<(), StoreError> {
        const STATE: [&str; 13] = [
            "DELETE FROM device_presence WHERE tenant_id = $1 AND device = $2",
            "DELETE FROM shadow WHERE tenant_id = $1 AND device = $2",
            "DELETE FROM shadow_event WHERE tenant_id = $1 AND device = $2",
            "DELETE FROM attestation WHERE tenant_id = $1 AND device = $2",
            "DELETE FROM command WHERE tenant_id = $1 AND device = $2",
            "DELETE FROM device_did WHERE tenant_id = $1 AND device = $2",
            "DELETE FROM anchor_held WHERE tenant_id = $1 AND device = $2",
            "DELETE FROM renewal_request WHERE tenant_id = $1 AND device = $2",
            "DELETE FROM dps_registration WHERE tenant_id = $1 AND id = $2",
            "DELETE FROM enrollment WHERE tenant_id = $1 AND kind = 'individual' AND name = $2",
            "DELETE FROM enrollment_request WHERE tenant_id = $1 AND device = $2",
            "DELETE FROM scep_transaction WHERE tenant_id = $1 AND device = $2",
            "DELETE FROM factory_certificate WHERE tenant_id = $1 AND device = $2",
        ];
        for sql in STATE {
            self.conn.execute(sql, params![self.scope.key(), id]).await?;
        }
        self.delete_session(id.as_str()).await?;
        self.forget_retained_of(id).await.map(drop)
    }
}
