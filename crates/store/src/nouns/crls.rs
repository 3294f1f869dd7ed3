//! Lists of revoked certificates that were signed, and who answers OCSP.

use fleetward_base::{TenantId, Timestamp};

use super::{Of, hit};
use crate::sql::{Bulk, Cells, Column, FromRow, Sql, from_row, params};
use crate::{StoreError, SystemTx, TenantTx};

/// A signed list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrlRow {
    /// Fingerprint of the authority.
    pub authority: String,
    /// Empty for the whole list, else the last digits of the serial numbers in it.
    pub label: String,
    /// Its number, which only grows.
    pub number: u64,
    pub this_update: Timestamp,
    pub next_update: Timestamp,
    pub entries: u64,
    pub der: Vec<u8>,
}

from_row!(CrlRow {
    authority: text,
    label: text,
    number: count,
    this_update: time,
    next_update: time,
    entries: count,
    der: bytes,
});

/// A list without what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrlState {
    pub label: String,
    pub number: u64,
    pub this_update: Timestamp,
    pub next_update: Timestamp,
    pub entries: u64,
}

from_row!(CrlState { label: text, number: count, this_update: time, next_update: time, entries: count });

// Without an order: asked for in that of the serial numbers, SQLite goes through all certificates of the tenant.
const REVOKED_WITH_TAIL: Sql = Sql {
    sqlite: "SELECT serial, revoked_at, reason FROM certificate WHERE tenant_id = $1 AND authority = $2 \
         AND substr(serial, -2) = $3 AND status IN ('retired', 'revoked') AND not_after >= $4 UNION ALL \
         SELECT serial, revoked_at, reason FROM other_certificate WHERE tenant_id = $1 AND authority = $2 \
         AND substr(serial, -2) = $3 AND revoked_at IS NOT NULL AND not_after >= $4 LIMIT $5",
    postgres: "SELECT serial, revoked_at, reason FROM certificate WHERE tenant_id = $1 AND authority = $2 \
         AND right(serial, 2) = $3 AND status IN ('retired', 'revoked') AND not_after >= $4 UNION ALL \
         SELECT serial, revoked_at, reason FROM other_certificate WHERE tenant_id = $1 AND authority = $2 \
         AND right(serial, 2) = $3 AND revoked_at IS NOT NULL AND not_after >= $4 LIMIT $5",
};

/// A line of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevokedRow {
    pub serial: String,
    pub revoked_at: Timestamp,
    pub reason: Option<String>,
}

from_row!(RevokedRow { serial: text, revoked_at: time, reason: opt_text });

/// A certificate that is revoked and on no list yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingRow {
    pub authority: String,
    pub serial: String,
}

from_row!(PendingRow { authority: text, serial: text });

/// Who answers for an authority.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResponderRow {
    /// Fingerprint of the authority.
    pub authority: String,
    pub der: Vec<u8>,
    /// The purpose of its sealed key.
    pub key_purpose: String,
    /// When another one is to take its place.
    pub renew_at: Timestamp,
}

from_row!(ResponderRow { authority: text, der: bytes, key_purpose: text, renew_at: time });

struct Tenant(Option<TenantId>);

impl FromRow for Tenant {
    fn from_row(cells: &mut Cells) -> Result<Self, StoreError> {
        cells.tenant().map(Self)
    }
}

impl TenantTx {
    pub async fn crl(&mut self, authority: &str, label: &str) -> Result<Option<CrlRow>, StoreError> {
        const SQL: &str = "SELECT authority, label, number, this_update, next_update, entries, der FROM crl \
             WHERE tenant_id = $1 AND authority = $2 AND label = $3";
        self.conn.query_opt(SQL, params![self.scope.key(), authority, label]).await
    }

    /// What is known of all lists of an authority.
    pub async fn crl_states(&mut self, authority: &str) -> Result<Vec<CrlState>, StoreError> {
        const SQL: &str = "SELECT label, number, this_update, next_update, entries FROM crl \
             WHERE tenant_id = $1 AND authority = $2 ORDER BY label";
        self.conn.query(SQL, params![self.scope.key(), authority]).await
    }

    /// Keeps a list in place of one with a lower number; `false` where there is one that is as high.
    pub async fn put_crl(&mut self, row: &CrlRow) -> Result<bool, StoreError> {
        const SQL: &str = "INSERT INTO crl (tenant_id, authority, label, number, this_update, next_update, entries, der) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (tenant_id, authority, label) DO UPDATE SET \
             number = excluded.number, this_update = excluded.this_update, next_update = excluded.next_update, \
             entries = excluded.entries, der = excluded.der WHERE crl.number < excluded.number";
        let params = params![
            self.scope.key(),
            &row.authority,
            &row.label,
            row.number,
            row.this_update,
            row.next_update,
            row.entries,
            &row.der
        ];
        self.conn.execute(SQL, params).await.map(hit)
    }

    /// Revoked ones that are on no list yet.
    pub async fn crl_pending(&mut self, limit: u32) -> Result<Vec<PendingRow>, StoreError> {
        const SQL: &str = "SELECT authority, serial FROM certificate WHERE tenant_id = $1 AND crl_pending = 1 \
             UNION ALL SELECT authority, serial FROM other_certificate WHERE tenant_id = $1 AND crl_pending = 1 \
             ORDER BY serial LIMIT $2";
        self.conn.query(SQL, params![self.scope.key(), limit]).await
    }

    /// They are on their lists now.
    pub async fn crl_listed(&mut self, rows: &[PendingRow]) -> Result<u64, StoreError> {
        const SQL: Bulk = Bulk {
            sqlite: "UPDATE certificate SET crl_pending = 0 WHERE tenant_id = $1 AND serial = $2",
            postgres: "UPDATE certificate SET crl_pending = 0 WHERE tenant_id = $1 \
                 AND serial IN (SELECT UNNEST(CAST($2 AS TEXT[])))",
        };
        const OTHERS: Bulk = Bulk {
            sqlite: "UPDATE other_certificate SET crl_pending = 0 WHERE tenant_id = $1 AND serial = $2",
            postgres: "UPDATE other_certificate SET crl_pending = 0 WHERE tenant_id = $1 \
                 AND serial IN (SELECT UNNEST(CAST($2 AS TEXT[])))",
        };
        let columns = [Column::of(rows, |row| &row.serial)];
        let listed = self.conn.execute_rows(SQL, params![self.scope.key()], &columns).await?;
        Ok(listed + self.conn.execute_rows(OTHERS, params![self.scope.key()], &columns).await?)
    }

    /// The ended ones (revoked, or retired by their successor) of an authority whose serial number ends in these two digits, as far as they were valid at `since`.
    pub async fn revoked_with_tail(
        &mut self,
        authority: &str,
        tail: &str,
        since: Timestamp,
        limit: u32,
    ) -> Result<Vec<RevokedRow>, StoreError> {
        let mut rows: Vec<RevokedRow> =
            self.conn.query(REVOKED_WITH_TAIL, params![self.scope.key(), authority, tail, since, limit]).await?;
        rows.sort_by(|one, other| one.serial.cmp(&other.serial));
        Ok(rows)
    }

    pub async fn ocsp_responder(&mut self, authority: &str) -> Result<Option<ResponderRow>, StoreError> {
        const SQL: &str = "SELECT authority, der, key_purpose, renew_at FROM ocsp_responder \
             WHERE tenant_id = $1 AND authority = $2";
        self.conn.query_opt(SQL, params![self.scope.key(), authority]).await
    }

    /// In place of the one before it.
    pub async fn put_ocsp_responder(&mut self, row: &ResponderRow) -> Result<(), StoreError> {
        const SQL: &str = "INSERT INTO ocsp_responder (tenant_id, authority, der, key_purpose, renew_at) \
             VALUES ($1, $2, $3, $4, $5) ON CONFLICT (tenant_id, authority) DO UPDATE SET der = excluded.der, \
             key_purpose = excluded.key_purpose, renew_at = excluded.renew_at";
        let params = params![self.scope.key(), &row.authority, &row.der, &row.key_purpose, row.renew_at];
        self.conn.execute(SQL, params).await.map(drop)
    }

    /// An authority is no more; `false` where there is none such, or it was revoked before.
    pub async fn revoke_authority(
        &mut self,
        fingerprint: &str,
        reason: &str,
        at: Timestamp,
    ) -> Result<bool, StoreError> {
        const SQL: &str = "UPDATE authority SET revoked_at = $3, reason = $4 \
             WHERE tenant_id = $1 AND fingerprint = $2 AND revoked_at IS NULL";
        self.conn.execute(SQL, params![self.scope.key(), fingerprint, at, reason]).await.map(hit)
    }
}

/// An authority that is no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevokedAuthorityRow {
    pub fingerprint: String,
    pub der: Vec<u8>,
    pub revoked_at: Timestamp,
    pub reason: Option<String>,
}

from_row!(RevokedAuthorityRow { fingerprint: text, der: bytes, revoked_at: time, reason: opt_text });

impl SystemTx {
    /// Who has certificates that are revoked and on no list yet.
    pub async fn crl_pending_tenants(&mut self) -> Result<Vec<TenantId>, StoreError> {
        const SQL: &str = "SELECT tenant_id FROM certificate WHERE crl_pending = 1 \
             UNION SELECT tenant_id FROM other_certificate WHERE crl_pending = 1 ORDER BY tenant_id";
        let tenants: Vec<Tenant> = self.across().await?.query(SQL, params![]).await?;
        Ok(tenants.into_iter().filter_map(|tenant| tenant.0).collect())
    }

    /// Authorities of all tenants that are no more.
    pub async fn revoked_authorities(&mut self) -> Result<Vec<Of<RevokedAuthorityRow>>, StoreError> {
        const SQL: &str = "SELECT tenant_id, fingerprint, der, revoked_at, reason FROM authority \
             WHERE revoked_at IS NOT NULL ORDER BY tenant_id, fingerprint";
        self.across().await?.query(SQL, params![]).await
    }
}

#[cfg(test)]
mod tests {
    use super::REVOKED_WITH_TAIL;

    #[test]
    fn a_list_is_found_by_its_index() {
        let connection = rusqlite::Connection::open_in_memory().expect("a database");
        connection.execute_batch(include_str!("../../schema/sqlite.sql")).expect("our tables");
        let mut plan = connection.prepare(&format!("EXPLAIN QUERY PLAN {}", REVOKED_WITH_TAIL.sqlite)).expect("a plan");
        let steps = plan.query_map(("t", "a", "00", 0, 1), |row| row.get::<_, String>(3)).expect("steps");
        let steps: Vec<String> = steps.collect::<Result<_, _>>().expect("texts");
        let searches: Vec<&String> =
            steps.iter().filter(|step| step.contains("SEARCH") || step.contains("SCAN")).collect();
        assert_eq!(searches.len(), 2, "{steps:?}");
        assert!(searches.iter().all(|step| step.contains("revoked_tail")), "{steps:?}");
    }
}
