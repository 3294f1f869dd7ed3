//! The journal: time line of each device, audit log and event feed in one append-only table.
//!
//! A row is written in the transaction that it tells of. Some moments later it is sealed: it gets its number in the
//! tenant's order and the hash that chains it to the one before. Nothing else ever changes a row.

use fleetward_base::{DeviceId, RequestId, TenantId, Timestamp};

use crate::sql::{Bulk, Cells, Column, FromRow, Sql, from_row, params};
use crate::{StoreError, SystemTx, TenantTx};

/// What happened, as it is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalEntry {
    pub at: Timestamp,
    /// `device`, `token`, `system` and the like.
    pub actor_kind: String,
    pub actor: String,
    /// A dotted name such as `device.enrolled`.
    pub action: String,
    pub device: Option<DeviceId>,
    /// What else it was done to.
    pub subject: Option<String>,
    pub outcome: String,
    pub severity: String,
    /// A JSON object without secrets.
    pub detail: String,
    pub request_id: Option<RequestId>,
}

from_row!(JournalEntry {
    at: time,
    actor_kind: text,
    actor: text,
    action: text,
    device: opt_id,
    subject: opt_text,
    outcome: text,
    severity: text,
    detail: text,
    request_id: opt_id,
});

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalRow {
    pub id: i64,
    /// Its number in the tenant's order, from 1; none until it is sealed.
    pub seq: Option<u64>,
    pub chain: Option<Vec<u8>>,
    pub entry: JournalEntry,
}

impl FromRow for JournalRow {
    fn from_row(cells: &mut Cells) -> Result<Self, StoreError> {
        Ok(Self {
            id: cells.int()?,
            seq: cells.opt_count()?,
            chain: cells.opt_bytes()?,
            entry: JournalEntry::from_row(cells)?,
        })
    }
}

/// The number and hash that a row gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seal {
    pub id: i64,
    pub seq: u64,
    pub chain: Vec<u8>,
}

from_row!(Seal { id: int, seq: count, chain: bytes });

/// Which rows a page shows. Nothing set: all.
#[derive(Clone, Debug, Default)]
pub struct JournalFilter {
    pub device: Option<DeviceId>,
    /// The beginning of the action, such as `rollout.`.
    pub action: Option<String>,
    pub subject: Option<String>,
    pub severity: Option<String>,
    /// From this moment on.
    pub since: Option<Timestamp>,
    /// Before this moment.
    pub until: Option<Timestamp>,
}

macro_rules! columns {
    () => {
        "id, seq, chain, at, actor_kind, actor, action, device, subject, outcome, severity, detail, request_id"
    };
}

/// Rows that every reader may see: on PostgreSQL those of transactions older than all that are still open.
macro_rules! settled {
    () => {
        "xid < CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS TEXT) AS BIGINT)"
    };
}

struct Owner(Option<TenantId>);

impl FromRow for Owner {
    fn from_row(cells: &mut Cells) -> Result<Self, StoreError> {
        cells.tenant().map(Self)
    }
}

impl TenantTx {
    /// Appends one row; its id.
    pub async fn journal(&mut self, entry: &JournalEntry) -> Result<i64, StoreError> {
        const SQL: &str = "INSERT INTO journal (tenant_id, at, actor_kind, actor, action, device, subject, outcome, \
             severity, detail, request_id) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) RETURNING id";
        let params = params![
            self.scope.key(),
            entry.at,
            &entry.actor_kind,
            &entry.actor,
            &entry.action,
            &entry.device,
            &entry.subject,
            &entry.outcome,
            &entry.severity,
            &entry.detail,
            entry.request_id
        ];
        let id = self.conn.query_one(SQL, params).await?;
        self.conn.appended(id);
        Ok(id)
    }

    /// Appends many rows in one statement; their ids in the same order.
    pub async fn journal_all(&mut self, entries: &[JournalEntry]) -> Result<Vec<i64>, StoreError> {
        const SQL: Bulk = Bulk {
            sqlite: "INSERT INTO journal (tenant_id, at, actor_kind, actor, action, device, subject, outcome, \
                 severity, detail, request_id) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) RETURNING id",
            postgres: "INSERT INTO journal (tenant_id, at, actor_kind, actor, action, device, subject, outcome, \
                 severity, detail, request_id) SELECT CAST($1 AS TEXT), * FROM UNNEST(CAST($2 AS BIGINT[]), \
                 CAST($3 AS TEXT[]), CAST($4 AS TEXT[]), CAST($5 AS TEXT[]), CAST($6 AS TEXT[]), CAST($7 AS TEXT[]), \
                 CAST($8 AS TEXT[]), CAST($9 AS TEXT[]), CAST($10 AS TEXT[]), CAST($11 AS TEXT[])) RETURNING id",
        };
        let columns = [
            Column::of(entries, |entry| entry.at),
            Column::of(entries, |entry| &entry.actor_kind),
            Column::of(entries, |entry| &entry.actor),
            Column::of(entries, |entry| &entry.action),
            Column::of(entries, |entry| &entry.device),
            Column::of(entries, |entry| &entry.subject),
            Column::of(entries, |entry| &entry.outcome),
            Column::of(entries, |entry| &entry.severity),
            Column::of(entries, |entry| &entry.detail),
            Column::of(entries, |entry| entry.request_id),
        ];
        let ids: Vec<i64> = self.conn.query_rows(SQL, params![self.scope.key()], &columns).await?;
        if let Some(last) = ids.iter().max() {
            self.conn.appended(*last);
        }
        Ok(ids)
    }

    /// Whether a certificate of this serial number was ever issued to a claim, also where nobody owned it in its hour.
    pub async fn waited(&mut self, serial: &str) -> Result<bool, StoreError> {
        const SQL: &str = "SELECT COUNT(*) FROM journal WHERE tenant_id = $1 AND subject = $2 \
             AND action = 'certificate.pending'";
        let found: Option<u64> = self.conn.query_opt(SQL, params![self.scope.key(), serial]).await?;
        Ok(found.unwrap_or(0) > 0)
    }

    /// The newest rows first; `before` is the id of the last row of the page before.
    pub async fn journal_page(
        &mut self,
        filter: &JournalFilter,
        before: Option<i64>,
        limit: u32,
    ) -> Result<Vec<JournalRow>, StoreError> {
        const SELECT: &str = concat!(
            "SELECT ",
            columns!(),
            " FROM journal WHERE tenant_id = $1 AND id < $2 \
             AND (CAST($3 AS TEXT) IS NULL OR substr(action, 1, length($3)) = $3) \
             AND (CAST($4 AS TEXT) IS NULL OR severity = $4) \
             AND (CAST($5 AS BIGINT) IS NULL OR at >= $5) \
             AND (CAST($6 AS BIGINT) IS NULL OR at < $6) \
             AND (CAST($7 AS TEXT) IS NULL OR subject = $7) ORDER BY id DESC LIMIT $8"
        );
        const OF_DEVICE: &str = concat!(
            "SELECT ",
            columns!(),
            " FROM journal WHERE tenant_id = $1 AND id < $2 \
             AND (CAST($3 AS TEXT) IS NULL OR substr(action, 1, length($3)) = $3) \
             AND (CAST($4 AS TEXT) IS NULL OR severity = $4) \
             AND (CAST($5 AS BIGINT) IS NULL OR at >= $5) \
             AND (CAST($6 AS BIGINT) IS NULL OR at < $6) \
             AND (CAST($7 AS TEXT) IS NULL OR subject = $7) AND device = $9 ORDER BY id DESC LIMIT $8"
        );
        let before = before.unwrap_or(i64::MAX);
        let (key, action, severity, subject) = (self.scope.key(), &filter.action, &filter.severity, &filter.subject);
        match &filter.device {
            None => {
                let params = params![key, before, action, severity, filter.since, filter.until, subject, limit];
                self.conn.query(SELECT, params).await
            }
            Some(device) => {
                let params = params![key, before, action, severity, filter.since, filter.until, subject, limit, device];
                self.conn.query(OF_DEVICE, params).await
            }
        }
    }

    /// What came after the row `after` of this tenant (0: from the beginning), in an order in which nothing is ever put
    /// in front of a row that was read. On PostgreSQL that is not the order of ids, so follow with the id of the last
    /// row read, not with the greatest.
    pub async fn journal_tail(&mut self, after: i64, limit: u32) -> Result<Vec<JournalRow>, StoreError> {
        const SQL: Sql = Sql {
            sqlite: concat!(
                "SELECT ",
                columns!(),
                " FROM journal WHERE tenant_id = $1 AND id > $2 ORDER BY id LIMIT $3"
            ),
            postgres: concat!(
                "SELECT ",
                columns!(),
                " FROM journal WHERE tenant_id = $1 AND ",
                settled!(),
                " AND (xid, id) > ((SELECT coalesce((SELECT j.xid FROM journal AS j WHERE j.tenant_id = $1 AND j.id = $2), \
                 (SELECT j.xid FROM journal AS j WHERE j.tenant_id = $1 AND j.id < $2 ORDER BY j.id DESC LIMIT 1), 0)), \
                 $2) ORDER BY xid, id LIMIT $3"
            ),
        };
        self.conn.query(SQL, params![self.scope.key(), after, limit]).await
    }

    /// Where a follower that wants only what is new begins: the id of the last row that the tail would give, or 0.
    pub async fn journal_head(&mut self) -> Result<i64, StoreError> {
        const SQL: Sql = Sql {
            sqlite: "SELECT coalesce(max(id), 0) FROM journal WHERE tenant_id = $1",
            postgres: concat!(
                "SELECT coalesce((SELECT id FROM journal WHERE tenant_id = $1 AND ",
                settled!(),
                " ORDER BY xid DESC, id DESC LIMIT 1), 0)"
            ),
        };
        self.conn.query_one(SQL, params![self.scope.key()]).await
    }

    /// Rows that wait for their seal, in the order in which they are to get it.
    pub async fn unsealed(&mut self, limit: u32) -> Result<Vec<JournalRow>, StoreError> {
        const SQL: Sql = Sql {
            sqlite: concat!(
                "SELECT ",
                columns!(),
                " FROM journal WHERE tenant_id = $1 AND seq IS NULL ORDER BY id LIMIT $2"
            ),
            postgres: concat!(
                "SELECT ",
                columns!(),
                " FROM journal WHERE tenant_id = $1 AND seq IS NULL AND ",
                settled!(),
                " ORDER BY id LIMIT $2"
            ),
        };
        self.conn.query(SQL, params![self.scope.key(), limit]).await
    }

    /// The seal of the newest sealed row.
    pub async fn last_seal(&mut self) -> Result<Option<Seal>, StoreError> {
        const SQL: &str = "SELECT id, seq, chain FROM journal WHERE tenant_id = $1 AND seq IS NOT NULL \
             ORDER BY seq DESC LIMIT 1";
        self.conn.query_opt(SQL, params![self.scope.key()]).await
    }

    /// Seals rows that were not; how many. A number that is taken is `Conflict`: somebody else sealed meanwhile.
    pub async fn seal(&mut self, seals: &[Seal]) -> Result<u64, StoreError> {
        const SQL: Bulk = Bulk {
            sqlite: "UPDATE journal SET seq = $3, chain = $4 WHERE tenant_id = $1 AND id = $2 AND seq IS NULL",
            postgres: "UPDATE journal AS j SET seq = s.seq, chain = s.chain FROM UNNEST(CAST($2 AS BIGINT[]), \
                 CAST($3 AS BIGINT[]), CAST($4 AS BYTEA[])) AS s (id, seq, chain) \
                 WHERE j.tenant_id = $1 AND j.id = s.id AND j.seq IS NULL",
        };
        let columns = [
            Column::of(seals, |seal| seal.id),
            Column::of(seals, |seal| seal.seq),
            Column::of(seals, |seal| &seal.chain),
        ];
        self.conn.execute_rows(SQL, params![self.scope.key()], &columns).await
    }

    /// Sealed rows in the order of the chain, for whoever checks it.
    pub async fn sealed_page(&mut self, after_seq: u64, limit: u32) -> Result<Vec<JournalRow>, StoreError> {
        const SQL: &str =
            concat!("SELECT ", columns!(), " FROM journal WHERE tenant_id = $1 AND seq > $2 ORDER BY seq LIMIT $3");
        self.conn.query(SQL, params![self.scope.key(), after_seq, limit]).await
    }
}

impl SystemTx {
    /// When the newest entry of all was written.
    pub async fn newest_entry_at(&mut self) -> Result<Option<Timestamp>, StoreError> {
        // across tenants: the clock is one for all
        const SQL: &str = "SELECT at FROM journal ORDER BY id DESC LIMIT 1";
        let newest: Option<Moment> = self.across().await?.query_opt(SQL, params![]).await?;
        Ok(newest.map(|moment| moment.0))
    }

    /// Whose rows wait for a seal.
    pub async fn unsealed_tenants(&mut self) -> Result<Vec<Option<TenantId>>, StoreError> {
        const SQL: &str = "SELECT DISTINCT tenant_id FROM journal WHERE seq IS NULL ORDER BY tenant_id";
        let owners: Vec<Owner> = self.across().await?.query(SQL, params![]).await?;
        Ok(owners.into_iter().map(|owner| owner.0).collect())
    }
}

struct Moment(Timestamp);

impl FromRow for Moment {
    fn from_row(cells: &mut Cells) -> Result<Self, StoreError> {
        cells.time().map(Self)
    }
}
