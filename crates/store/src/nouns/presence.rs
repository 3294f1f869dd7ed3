//! Who was last heard of, and when. Memory knows it to the second; the store is told together, now and then.

use fleetward_base::{DeviceId, TenantId, Timestamp};

use super::Of;
use crate::sql::{Bulk, Column, from_row, params};
use crate::{StoreError, SystemTx, TenantTx};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PresenceRow {
    pub device: DeviceId,
    pub online: bool,
    pub last_seen: Option<Timestamp>,
    pub connected_at: Option<Timestamp>,
    pub disconnected_at: Option<Timestamp>,
    /// Why the last connection ended.
    pub reason: Option<String>,
    /// Where the device connected from.
    pub address: Option<String>,
}

from_row!(PresenceRow {
    device: id,
    online: bool,
    last_seen: opt_time,
    connected_at: opt_time,
    disconnected_at: opt_time,
    reason: opt_text,
    address: opt_text,
});

/// One line of a flush.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenRow {
    pub device: DeviceId,
    pub at: Timestamp,
}

macro_rules! columns {
    () => {
        "device, online, last_seen, connected_at, disconnected_at, reason, address"
    };
}

impl TenantTx {
    pub async fn presence(&mut self, device: &DeviceId) -> Result<Option<PresenceRow>, StoreError> {
        const SQL: &str = concat!("SELECT ", columns!(), " FROM device_presence WHERE tenant_id = $1 AND device = $2");
        self.conn.query_opt(SQL, params![self.scope.key(), device]).await
    }

    /// Writes a transition, in place of what was known.
    pub async fn put_presence(&mut self, rows: &[PresenceRow]) -> Result<(), StoreError> {
        const SQL: Bulk = Bulk {
            sqlite: concat!(
                "INSERT INTO device_presence (tenant_id, ",
                columns!(),
                ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (tenant_id, device) DO UPDATE SET \
                 online = excluded.online, last_seen = excluded.last_seen, connected_at = excluded.connected_at, \
                 disconnected_at = excluded.disconnected_at, reason = excluded.reason, address = excluded.address"
            ),
            // The last line of a device counts, as it does where they are written one by one.
            postgres: concat!(
                "INSERT INTO device_presence (tenant_id, ",
                columns!(),
                ") SELECT DISTINCT ON (d) CAST($1 AS TEXT), d, o, l, c, x, r, a FROM UNNEST(CAST($2 AS TEXT[]), \
                 CAST($3 AS BIGINT[]), CAST($4 AS BIGINT[]), CAST($5 AS BIGINT[]), CAST($6 AS BIGINT[]), \
                 CAST($7 AS TEXT[]), CAST($8 AS TEXT[])) WITH ORDINALITY AS t (d, o, l, c, x, r, a, n) \
                 ORDER BY d, n DESC ON CONFLICT (tenant_id, device) DO UPDATE SET \
                 online = excluded.online, last_seen = excluded.last_seen, connected_at = excluded.connected_at, \
                 disconnected_at = excluded.disconnected_at, reason = excluded.reason, address = excluded.address"
            ),
        };
        let columns = [
            Column::of(rows, |row| &row.device),
            Column::of(rows, |row| row.online),
            Column::of(rows, |row| row.last_seen),
            Column::of(rows, |row| row.connected_at),
            Column::of(rows, |row| row.disconnected_at),
            Column::of(rows, |row| &row.reason),
            Column::of(rows, |row| &row.address),
        ];
        self.conn.execute_rows(SQL, params![self.scope.key()], &columns).await.map(drop)
    }

    /// Writes when devices were last heard of; a time only moves on. Devices without a line get one as offline.
    pub async fn flush_last_seen(&mut self, rows: &[SeenRow]) -> Result<(), StoreError> {
        const SQL: Bulk = Bulk {
            sqlite: "INSERT INTO device_presence (tenant_id, device, online, last_seen) VALUES ($1, $2, 0, $3) \
                 ON CONFLICT (tenant_id, device) DO UPDATE SET last_seen = excluded.last_seen \
                 WHERE device_presence.last_seen IS NULL OR device_presence.last_seen < excluded.last_seen",
            // In the order of the key, so that two flushes cannot wait for each other.
            postgres: "INSERT INTO device_presence (tenant_id, device, online, last_seen) \
                 SELECT CAST($1 AS TEXT), d, 0, max(s) FROM UNNEST(CAST($2 AS TEXT[]), CAST($3 AS BIGINT[])) \
                 AS t (d, s) GROUP BY d ORDER BY d COLLATE \"C\" \
                 ON CONFLICT (tenant_id, device) DO UPDATE SET last_seen = excluded.last_seen \
                 WHERE device_presence.last_seen IS NULL OR device_presence.last_seen < excluded.last_seen",
        };
        let columns = [Column::of(rows, |row| &row.device), Column::of(rows, |row| row.at)];
        self.conn.execute_rows(SQL, params![self.scope.key()], &columns).await.map(drop)
    }
}

impl SystemTx {
    /// Everything that is known, for the start of the server, page by page.
    pub async fn presences(
        &mut self,
        after: Option<(&TenantId, &DeviceId)>,
        limit: u32,
    ) -> Result<Vec<Of<PresenceRow>>, StoreError> {
        const SQL: &str = concat!(
            "SELECT tenant_id, ",
            columns!(),
            " FROM device_presence WHERE (tenant_id, device) > ($1, $2) ORDER BY tenant_id, device LIMIT $3"
        );
        let (tenant, device) = after.map_or(("", ""), |(tenant, device)| (tenant.as_str(), device.as_str()));
        self.across().await?.query(SQL, params![tenant, device, limit]).await
    }
}
