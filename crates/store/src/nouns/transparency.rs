//! The log of a tenant's certificates: its head, its tiles, and which certificates have their place in it.

use fleetward_base::{TenantId, Timestamp};

use crate::sql::{Bulk, Cells, Column, FromRow, Sql, for_update, from_row, params};
use crate::{StoreError, SystemTx, TenantTx};

/// How far a log goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogRow {
    pub size: u64,
    pub root: Vec<u8>,
    /// The signed note.
    pub checkpoint: String,
    pub signed_at: Timestamp,
}

from_row!(LogRow { size: count, root: bytes, checkpoint: text, signed_at: time });

/// Some hashes of a log's tree.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TileRow {
    pub level: u32,
    pub place: u64,
    /// 32 bytes each, side by side.
    pub hashes: Vec<u8>,
}

from_row!(TileRow { level: small, place: count, hashes: bytes });

/// A certificate as the log has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeafRow {
    pub serial: String,
    pub der: Vec<u8>,
    pub issued_at: Timestamp,
    /// Its place; none until it has one.
    pub index: Option<u64>,
}

from_row!(LeafRow { serial: text, der: bytes, issued_at: time, index: opt_count });

struct Tenant(Option<TenantId>);

impl FromRow for Tenant {
    fn from_row(cells: &mut Cells) -> Result<Self, StoreError> {
        cells.tenant().map(Self)
    }
}

impl TenantTx {
    pub async fn transparency_log(&mut self) -> Result<Option<LogRow>, StoreError> {
        const SQL: &str = "SELECT size, root, checkpoint, signed_at FROM transparency_log WHERE tenant_id = $1";
        self.conn.query_opt(SQL, params![self.scope.key()]).await
    }

    /// As [`transparency_log`](Self::transparency_log), and nobody else appends until the unit ends.
    pub async fn transparency_log_for_update(&mut self) -> Result<Option<LogRow>, StoreError> {
        const SQL: Sql =
            for_update!("SELECT size, root, checkpoint, signed_at FROM transparency_log WHERE tenant_id = $1");
        self.conn.query_opt(SQL, params![self.scope.key()]).await
    }

    /// Begins a log; `Conflict` where somebody else did.
    pub async fn begin_transparency_log(&mut self, row: &LogRow) -> Result<(), StoreError> {
        const SQL: &str = "INSERT INTO transparency_log (tenant_id, size, root, checkpoint, signed_at) \
             VALUES ($1, $2, $3, $4, $5)";
        let params = params![self.scope.key(), row.size, &row.root, &row.checkpoint, row.signed_at];
        self.conn.execute(SQL, params).await.map(drop)
    }

    /// `false` where the log is not of `expected` size any more.
    pub async fn grow_transparency_log(&mut self, row: &LogRow, expected: u64) -> Result<bool, StoreError> {
        const SQL: &str = "UPDATE transparency_log SET size = $2, root = $3, checkpoint = $4, signed_at = $5 \
             WHERE tenant_id = $1 AND size = $6";
        let params = params![self.scope.key(), row.size, &row.root, &row.checkpoint, row.signed_at, expected];
        self.conn.execute(SQL, params).await.map(super::hit)
    }

    pub async fn transparency_tile(&mut self, level: u32, place: u64) -> Result<Option<TileRow>, StoreError> {
        const SQL: &str = "SELECT level, place, hashes FROM transparency_tile \
             WHERE tenant_id = $1 AND level = $2 AND place = $3";
        self.conn.query_opt(SQL, params![self.scope.key(), level, place]).await
    }

    pub async fn put_transparency_tiles(&mut self, rows: &[TileRow]) -> Result<u64, StoreError> {
        const SQL: Bulk = Bulk {
            sqlite: "INSERT INTO transparency_tile (tenant_id, level, place, hashes) VALUES ($1, $2, $3, $4) \
                 ON CONFLICT (tenant_id, level, place) DO UPDATE SET hashes = excluded.hashes",
            postgres: "INSERT INTO transparency_tile (tenant_id, level, place, hashes) \
                 SELECT CAST($1 AS TEXT), * FROM UNNEST(CAST($2 AS BIGINT[]), CAST($3 AS BIGINT[]), CAST($4 AS BYTEA[])) \
                 ON CONFLICT (tenant_id, level, place) DO UPDATE SET hashes = excluded.hashes",
        };
        let columns =
            [Column::of(rows, |row| row.level), Column::of(rows, |row| row.place), Column::of(rows, |row| &row.hashes)];
        self.conn.execute_rows(SQL, params![self.scope.key()], &columns).await
    }

    /// Certificates that have no place in the log yet, the oldest first.
    pub async fn unlogged_certificates(&mut self, limit: u32) -> Result<Vec<LeafRow>, StoreError> {
        const SQL: &str = "SELECT serial, der, issued_at, log_index FROM certificate \
             WHERE tenant_id = $1 AND log_index IS NULL UNION ALL SELECT serial, der, issued_at, log_index \
             FROM other_certificate WHERE tenant_id = $1 AND log_index IS NULL ORDER BY issued_at, serial LIMIT $2";
        self.conn.query(SQL, params![self.scope.key(), limit]).await
    }

    /// Gives certificates their places. A place that is taken is `Conflict`.
    pub async fn log_certificates(&mut self, rows: &[LeafRow]) -> Result<u64, StoreError> {
        const SQL: Bulk = Bulk {
            sqlite: "UPDATE certificate SET log_index = $3 WHERE tenant_id = $1 AND serial = $2 AND log_index IS NULL",
            postgres: "UPDATE certificate AS c SET log_index = s.place FROM UNNEST(CAST($2 AS TEXT[]), \
                 CAST($3 AS BIGINT[])) AS s (serial, place) \
                 WHERE c.tenant_id = $1 AND c.serial = s.serial AND c.log_index IS NULL",
        };
        const OTHERS: Bulk = Bulk {
            sqlite: "UPDATE other_certificate SET log_index = $3 \
                 WHERE tenant_id = $1 AND serial = $2 AND log_index IS NULL",
            postgres: "UPDATE other_certificate AS c SET log_index = s.place FROM UNNEST(CAST($2 AS TEXT[]), \
                 CAST($3 AS BIGINT[])) AS s (serial, place) \
                 WHERE c.tenant_id = $1 AND c.serial = s.serial AND c.log_index IS NULL",
        };
        let columns = [Column::of(rows, |row| &row.serial), Column::of(rows, |row| row.index)];
        let logged = self.conn.execute_rows(SQL, params![self.scope.key()], &columns).await?;
        Ok(logged + self.conn.execute_rows(OTHERS, params![self.scope.key()], &columns).await?)
    }

    /// Of one certificate.
    pub async fn log_leaf(&mut self, serial: &str) -> Result<Option<LeafRow>, StoreError> {
        const SQL: &str = "SELECT serial, der, issued_at, log_index FROM certificate WHERE tenant_id = $1 AND serial = $2 \
             UNION ALL SELECT serial, der, issued_at, log_index FROM other_certificate \
             WHERE tenant_id = $1 AND serial = $2 LIMIT 1";
        self.conn.query_opt(SQL, params![self.scope.key(), serial]).await
    }

    /// In the order of the log, from place `from` on.
    pub async fn log_leaves(&mut self, from: u64, limit: u32) -> Result<Vec<LeafRow>, StoreError> {
        const SQL: &str = "SELECT serial, der, issued_at, log_index FROM certificate \
             WHERE tenant_id = $1 AND log_index >= $2 UNION ALL SELECT serial, der, issued_at, log_index \
             FROM other_certificate WHERE tenant_id = $1 AND log_index >= $2 ORDER BY log_index LIMIT $3";
        self.conn.query(SQL, params![self.scope.key(), from, limit]).await
    }
}

impl SystemTx {
    /// Who has certificates without a place in their log.
    pub async fn unlogged_tenants(&mut self) -> Result<Vec<TenantId>, StoreError> {
        const SQL: &str = "SELECT tenant_id FROM certificate WHERE log_index IS NULL \
             UNION SELECT tenant_id FROM other_certificate WHERE log_index IS NULL ORDER BY tenant_id";
        let tenants: Vec<Tenant> = self.across().await?.query(SQL, params![]).await?;
        Ok(tenants.into_iter().filter_map(|tenant| tenant.0).collect())
    }
}
