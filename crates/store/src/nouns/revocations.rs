//! Revocations of many: the job with how far it came, and the statements that take a page of devices or certificates.

use fleetward_base::{DeviceId, RevocationId, TenantId, Timestamp};

use super::Of;
use super::selector::{DeviceSelector, json_array, selected};
use crate::sql::{Cells, FromRow, Sql, for_update, from_row, params};
use crate::{StoreError, SystemTx, TenantTx};

/// A revocation or a replacement of many, under way or ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevocationRow {
    pub id: RevocationId,
    /// `revoke` or `replace`.
    pub kind: String,
    /// JSON, as the core writes it.
    pub target: String,
    pub reason: String,
    pub status: String,
    /// Devices (or certificates, where those are the target) that there were when it was asked for.
    pub total: u64,
    /// How many were worked on.
    pub done: u64,
    /// Certificates that were revoked, or marked.
    pub certificates: u64,
    /// The last one that was worked on.
    pub cursor: String,
    pub due_at: Option<Timestamp>,
    pub created_by: String,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
    pub finished_at: Option<Timestamp>,
}

from_row!(RevocationRow {
    id: id,
    kind: text,
    target: text,
    reason: text,
    status: text,
    total: count,
    done: count,
    certificates: count,
    cursor: text,
    due_at: opt_time,
    created_by: text,
    created_at: time,
    updated_at: time,
    finished_at: opt_time,
});

macro_rules! columns {
    () => {
        "id, kind, target, reason, status, total, done, certificates, cursor, due_at, created_by, created_at, \
         updated_at, finished_at"
    };
}

/// A device as a page of a job has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelectedRow {
    pub device: DeviceId,
    pub status: String,
}

from_row!(SelectedRow { device: id, status: text });

/// A certificate and whose it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldRow {
    pub serial: String,
    pub device: DeviceId,
}

from_row!(HeldRow { serial: text, device: id });

/// How many there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reach {
    pub certificates: u64,
    pub devices: u64,
}

from_row!(Reach { certificates: count, devices: count });

struct Count(u64);

impl FromRow for Count {
    fn from_row(cells: &mut Cells) -> Result<Self, StoreError> {
        cells.count().map(Self)
    }
}

/// Of a certificate: a revocation takes it. What works on it and what only looks have one condition.
macro_rules! revocable {
    () => {
        "status <> 'revoked'"
    };
}
pub(super) use revocable;

/// Of a certificate: a replacement asks for another one.
macro_rules! replaceable {
    () => {
        "status NOT IN ('revoked', 'retired')"
    };
}
pub(super) use replaceable;

macro_rules! page {
    ($engine:ident) => {
        concat!(
            "SELECT d.id, d.status FROM device AS d WHERE d.tenant_id = $1 AND ",
            selected!($engine),
            " AND d.id > $10 ORDER BY d.id LIMIT $11"
        )
    };
}

macro_rules! reach {
    ($engine:ident) => {
        concat!(
            "SELECT (SELECT count(*) FROM certificate AS c WHERE c.tenant_id = $1 \
              AND c.status NOT IN ('revoked', 'retired') AND c.device IN \
              (SELECT d.id FROM device AS d WHERE d.tenant_id = $1 AND ",
            selected!($engine),
            ")), (SELECT count(*) FROM device AS d WHERE d.tenant_id = $1 AND ",
            selected!($engine),
            ")"
        )
    };
}

fn names(devices: &[DeviceId]) -> String {
    json_array(&devices.iter().map(|id| id.as_str().to_owned()).collect::<Vec<_>>())
}

impl TenantTx {
    pub async fn insert_revocation(&mut self, row: &RevocationRow) -> Result<(), StoreError> {
        const SQL: &str = concat!(
            "INSERT INTO revocation (tenant_id, ",
            columns!(),
            ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)"
        );
        let params = params![
            self.scope.key(),
            row.id,
            &row.kind,
            &row.target,
            &row.reason,
            &row.status,
            row.total,
            row.done,
            row.certificates,
            &row.cursor,
            row.due_at,
            &row.created_by,
            row.created_at,
            row.updated_at,
            row.finished_at
        ];
        self.conn.execute(SQL, params).await.map(drop)
    }

    pub async fn revocation(&mut self, id: RevocationId) -> Result<Option<RevocationRow>, StoreError> {
        const SQL: &str = concat!("SELECT ", columns!(), " FROM revocation WHERE tenant_id = $1 AND id = $2");
        self.conn.query_opt(SQL, params![self.scope.key(), id]).await
    }

    /// How many have not ended.
    pub async fn count_open_revocations(&mut self) -> Result<u64, StoreError> {
        const SQL: &str = "SELECT count(*) FROM revocation WHERE tenant_id = $1 AND finished_at IS NULL";
        let count: Count = self.conn.query_one(SQL, params![self.scope.key()]).await?;
        Ok(count.0)
    }

    /// As [`revocation`](Self::revocation), and nobody else works on it until the unit ends.
    pub async fn revocation_for_update(&mut self, id: RevocationId) -> Result<Option<RevocationRow>, StoreError> {
        const SQL: Sql = for_update!("SELECT ", columns!(), " FROM revocation WHERE tenant_id = $1 AND id = $2");
        self.conn.query_opt(SQL, params![self.scope.key(), id]).await
    }

    /// The newest first; `before` is the id of the last one of the page before.
    pub async fn revocations(
        &mut self,
        before: Option<RevocationId>,
        limit: u32,
    ) -> Result<Vec<RevocationRow>, StoreError> {
        const SQL: &str = concat!(
            "SELECT ",
            columns!(),
            " FROM revocation WHERE tenant_id = $1 AND id < $2 ORDER BY id DESC LIMIT $3"
        );
        let before = before.map_or_else(|| "g".to_owned(), |id| id.to_string());
        self.conn.query(SQL, params![self.scope.key(), before, limit]).await
    }

    /// How far it came.
    pub async fn advance_revocation(&mut self, row: &RevocationRow) -> Result<(), StoreError> {
        const SQL: &str = "UPDATE revocation SET status = $3, done = $4, certificates = $5, cursor = $6, \
             updated_at = $7, finished_at = $8 WHERE tenant_id = $1 AND id = $2";
        let params = params![
            self.scope.key(),
            row.id,
            &row.status,
            row.done,
            row.certificates,
            &row.cursor,
            row.updated_at,
            row.finished_at
        ];
        self.conn.execute(SQL, params).await.map(drop)
    }

    /// Devices that are meant, in the order of their names.
    pub async fn selected_devices(
        &mut self,
        selector: &DeviceSelector,
        after: &str,
        limit: u32,
    ) -> Result<Vec<SelectedRow>, StoreError> {
        const SQL: Sql = Sql { sqlite: page!(sqlite), postgres: page!(postgres) };
        let arrays = selector.arrays();
        let params = params![
            self.scope.key(),
            arrays.devices,
            arrays.hardware,
            arrays.statuses,
            arrays.tags,
            &selector.class,
            &selector.environment,
            &selector.site,
            &selector.not_firmware,
            after,
            limit
        ];
        self.conn.query(SQL, params).await
    }

    /// How many devices are meant, and how many certificates of theirs still count.
    pub async fn reach_of_devices(&mut self, selector: &DeviceSelector) -> Result<Reach, StoreError> {
        const SQL: Sql = Sql { sqlite: reach!(sqlite), postgres: reach!(postgres) };
        let arrays = selector.arrays();
        let params = params![
            self.scope.key(),
            arrays.devices,
            arrays.hardware,
            arrays.statuses,
            arrays.tags,
            &selector.class,
            &selector.environment,
            &selector.site,
            &selector.not_firmware
        ];
        self.conn.query_one(SQL, params).await
    }

    /// Certificates that came by a way and a source; without a way, by any.
    pub async fn certificates_by_source(
        &mut self,
        way: Option<&str>,
        source: &str,
        after: &str,
        limit: u32,
    ) -> Result<Vec<HeldRow>, StoreError> {
        const SQL: &str = "SELECT serial, device FROM certificate WHERE tenant_id = $1 \
             AND (CAST($2 AS TEXT) IS NULL OR way = $2) AND source = $3 AND serial > $4 ORDER BY serial LIMIT $5";
        self.conn.query(SQL, params![self.scope.key(), way, source, after, limit]).await
    }

    pub async fn reach_of_source(&mut self, way: Option<&str>, source: &str) -> Result<Reach, StoreError> {
        const SQL: &str = "SELECT count(*), count(DISTINCT device) FROM certificate WHERE tenant_id = $1 \
             AND (CAST($2 AS TEXT) IS NULL OR way = $2) AND source = $3";
        self.conn.query_one(SQL, params![self.scope.key(), way, source]).await
    }

    /// Certificates of an authority that still count.
    pub async fn certificates_by_authority(
        &mut self,
        authority: &str,
        after: &str,
        limit: u32,
    ) -> Result<Vec<HeldRow>, StoreError> {
        const SQL: &str = "SELECT serial, device FROM certificate WHERE tenant_id = $1 AND authority = $2 \
             AND serial > $3 AND status <> 'revoked' ORDER BY serial LIMIT $4";
        self.conn.query(SQL, params![self.scope.key(), authority, after, limit]).await
    }

    pub async fn reach_of_authority(&mut self, authority: &str) -> Result<Reach, StoreError> {
        const SQL: &str = "SELECT count(*), count(DISTINCT device) FROM certificate WHERE tenant_id = $1 \
             AND authority = $2 AND status <> 'revoked'";
        self.conn.query_one(SQL, params![self.scope.key(), authority]).await
    }

    /// Revokes all certificates of these devices; which were not revoked before.
    pub async fn revoke_certificates_of(
        &mut self,
        devices: &[DeviceId],
        reason: &str,
        at: Timestamp,
    ) -> Result<Vec<HeldRow>, StoreError> {
        const SQL: Sql = Sql {
            sqlite: concat!(
                "UPDATE certificate SET status = 'revoked', revoked_at = $3, reason = $4, crl_pending = 1 WHERE \
                 tenant_id = $1 AND device IN (SELECT value FROM json_each($2)) AND ",
                revocable!(),
                " RETURNING serial, device"
            ),
            postgres: concat!(
                "UPDATE certificate SET status = 'revoked', revoked_at = $3, reason = $4, crl_pending = 1 WHERE \
                 tenant_id = $1 AND device = ANY (ARRAY(SELECT jsonb_array_elements_text(CAST(CAST($2 AS TEXT) \
                 AS jsonb)))) AND ",
                revocable!(),
                " RETURNING serial, device"
            ),
        };
        self.conn.query(SQL, params![self.scope.key(), names(devices), at, reason]).await
    }

    /// Revokes these; which were not revoked before.
    pub async fn revoke_serials(
        &mut self,
        serials: &[String],
        reason: &str,
        at: Timestamp,
    ) -> Result<Vec<HeldRow>, StoreError> {
        const SQL: Sql = Sql {
            sqlite: concat!(
                "UPDATE certificate SET status = 'revoked', revoked_at = $3, reason = $4, crl_pending = 1 WHERE \
                 tenant_id = $1 AND serial IN (SELECT value FROM json_each($2)) AND ",
                revocable!(),
                " RETURNING serial, device"
            ),
            postgres: concat!(
                "UPDATE certificate SET status = 'revoked', revoked_at = $3, reason = $4, crl_pending = 1 WHERE \
                 tenant_id = $1 AND serial = ANY (ARRAY(SELECT jsonb_array_elements_text(CAST(CAST($2 AS TEXT) \
                 AS jsonb)))) AND ",
                revocable!(),
                " RETURNING serial, device"
            ),
        };
        self.conn.query(SQL, params![self.scope.key(), json_array(serials), at, reason]).await
    }

    /// Revokes the unused enrolment tokens of these devices; how many.
    pub async fn revoke_enroll_tokens_of(&mut self, devices: &[DeviceId], at: Timestamp) -> Result<u64, StoreError> {
        const SQL: Sql = Sql {
            sqlite: "UPDATE enroll_token SET revoked_at = $3 WHERE tenant_id = $1 AND device IN (SELECT value FROM \
                 json_each($2)) AND used_at IS NULL AND revoked_at IS NULL",
            postgres: "UPDATE enroll_token SET revoked_at = $3 WHERE tenant_id = $1 AND device = ANY (ARRAY(SELECT \
                 jsonb_array_elements_text(CAST(CAST($2 AS TEXT) AS jsonb)))) AND used_at IS NULL AND revoked_at \
                 IS NULL",
        };
        self.conn.execute(SQL, params![self.scope.key(), names(devices), at]).await
    }

    /// Moves these devices from one state of their life to another and takes their certificate out of their record; those
    /// that were in it.
    pub async fn move_devices(
        &mut self,
        devices: &[DeviceId],
        from: &str,
        to: &str,
        at: Timestamp,
    ) -> Result<Vec<DeviceId>, StoreError> {
        const SQL: Sql = Sql {
            sqlite: "UPDATE device SET status = $4, certificate_serial = NULL, certificate_not_after = NULL, \
                 revision = revision + 1, updated_at = $5 WHERE tenant_id = $1 AND id IN (SELECT value FROM \
                 json_each($2)) AND status = $3 RETURNING id",
            postgres: "UPDATE device SET status = $4, certificate_serial = NULL, certificate_not_after = NULL, \
                 revision = revision + 1, updated_at = $5 WHERE tenant_id = $1 AND id = ANY (ARRAY(SELECT \
                 jsonb_array_elements_text(CAST(CAST($2 AS TEXT) AS jsonb)))) AND status = $3 RETURNING id",
        };
        self.conn.query(SQL, params![self.scope.key(), names(devices), from, to, at]).await
    }

    /// Marks the certificates of these devices that still count: to be replaced by `by`. Which they are.
    pub async fn mark_replacements(
        &mut self,
        devices: &[DeviceId],
        job: RevocationId,
        by: Timestamp,
    ) -> Result<Vec<HeldRow>, StoreError> {
        const SQL: Sql = Sql {
            sqlite: concat!(
                "UPDATE certificate SET replace_by = $3, replace_job = $4 WHERE tenant_id = $1 AND device IN \
                 (SELECT value FROM json_each($2)) AND ",
                replaceable!(),
                " RETURNING serial, device"
            ),
            postgres: concat!(
                "UPDATE certificate SET replace_by = $3, replace_job = $4 WHERE tenant_id = $1 AND device = ANY \
                 (ARRAY(SELECT jsonb_array_elements_text(CAST(CAST($2 AS TEXT) AS jsonb)))) AND ",
                replaceable!(),
                " RETURNING serial, device"
            ),
        };
        self.conn.query(SQL, params![self.scope.key(), names(devices), by, job]).await
    }

    /// Those that were marked and still count.
    pub async fn unreplaced(&mut self, job: RevocationId, after: &str, limit: u32) -> Result<Vec<HeldRow>, StoreError> {
        const SQL: &str = "SELECT serial, device FROM certificate WHERE tenant_id = $1 AND replace_job = $2 \
             AND serial > $3 AND status NOT IN ('revoked', 'retired') ORDER BY serial LIMIT $4";
        self.conn.query(SQL, params![self.scope.key(), job, after, limit]).await
    }

    /// Devices that were told to replace their certificate and hold no newer one yet.
    pub async fn count_unreplaced(&mut self, job: RevocationId) -> Result<u64, StoreError> {
        const SQL: &str = "SELECT count(DISTINCT c.device) FROM certificate AS c WHERE c.tenant_id = $1 \
             AND c.replace_job = $2 AND c.status NOT IN ('revoked', 'retired') AND NOT EXISTS (SELECT 1 FROM certificate \
             AS n WHERE n.tenant_id = $1 AND n.device = c.device AND n.proven_at IS NOT NULL \
             AND n.status NOT IN ('revoked', 'retired') AND n.replace_job IS NULL)";
        let count: Count = self.conn.query_one(SQL, params![self.scope.key(), job]).await?;
        Ok(count.0)
    }

    /// By when a certificate is to be replaced; none where nobody asked for it.
    pub async fn replace_by(&mut self, serial: &str) -> Result<Option<Timestamp>, StoreError> {
        const SQL: &str = "SELECT replace_by FROM certificate WHERE tenant_id = $1 AND serial = $2 \
             AND replace_by IS NOT NULL";
        let at: Option<i64> = self.conn.query_opt(SQL, params![self.scope.key(), serial]).await?;
        Ok(at.map(Timestamp::from_millis))
    }
}

impl SystemTx {
    /// Jobs of all tenants that have something to do at `now`, by tenant and id: one that waits for its moment has not.
    pub async fn due_revocations(
        &mut self,
        now: Timestamp,
        after: Option<(&TenantId, RevocationId)>,
        limit: u32,
    ) -> Result<Vec<Of<RevocationRow>>, StoreError> {
        const SQL: &str = concat!(
            "SELECT tenant_id, ",
            columns!(),
            " FROM revocation WHERE finished_at IS NULL AND (status <> 'waiting' OR due_at <= $1) \
             AND (tenant_id, id) > ($2, $3) ORDER BY tenant_id, id LIMIT $4"
        );
        let (tenant, id) = after.map_or(("", String::new()), |(tenant, id)| (tenant.as_str(), id.to_string()));
        self.across().await?.query(SQL, params![now, tenant, id, limit]).await
    }
}
