//! The history of shadows: changes as merge patches, numbered in each shadow. What stays is decided in
//! `core::shadow::history`.

use fleetward_base::{DeviceId, Timestamp};

use crate::sql::{Bulk, Column, from_row, params};
use crate::{StoreError, TenantTx};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShadowEventRow {
    pub device: DeviceId,
    /// Empty: the classic shadow.
    pub name: String,
    pub number: u64,
    /// Of the shadow after the change.
    pub version: u64,
    pub at: Timestamp,
    pub actor_kind: String,
    pub actor: String,
    /// JSON: a merge patch over desired and reported.
    pub patch: String,
}

from_row!(ShadowEventRow {
    device: id,
    name: text,
    number: count,
    version: count,
    at: time,
    actor_kind: text,
    actor: text,
    patch: text,
});

/// How much history one shadow has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShadowHistoryRow {
    pub device: DeviceId,
    pub name: String,
    pub events: u64,
    pub oldest: Timestamp,
}

from_row!(ShadowHistoryRow { device: id, name: text, events: count, oldest: time });

macro_rules! columns {
    () => {
        "device, name, number, version, at, actor_kind, actor, patch"
    };
}

impl TenantTx {
    pub async fn add_shadow_events(&mut self, events: &[ShadowEventRow]) -> Result<u64, StoreError> {
        const SQL: Bulk = Bulk {
            sqlite: "INSERT INTO shadow_event (tenant_id, device, name, number, version, at, actor_kind, actor, patch) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
            postgres: "INSERT INTO shadow_event (tenant_id, device, name, number, version, at, actor_kind, actor, patch) \
                 SELECT CAST($1 AS TEXT), * FROM UNNEST(CAST($2 AS TEXT[]), CAST($3 AS TEXT[]), CAST($4 AS BIGINT[]), \
                 CAST($5 AS BIGINT[]), CAST($6 AS BIGINT[]), CAST($7 AS TEXT[]), CAST($8 AS TEXT[]), CAST($9 AS TEXT[]))",
        };
        let columns = [
            Column::of(events, |event| &event.device),
            Column::of(events, |event| &event.name),
            Column::of(events, |event| event.number),
            Column::of(events, |event| event.version),
            Column::of(events, |event| event.at),
            Column::of(events, |event| &event.actor_kind),
            Column::of(events, |event| &event.actor),
            Column::of(events, |event| &event.patch),
        ];
        self.conn.execute_rows(SQL, params![self.scope.key()], &columns).await
    }

    /// The newest first; `before` is the number of the last of the page before.
    pub async fn shadow_history(
        &mut self,
        device: &DeviceId,
        name: &str,
        before: Option<u64>,
        limit: u32,
    ) -> Result<Vec<ShadowEventRow>, StoreError> {
        const SQL: &str = concat!(
            "SELECT ",
            columns!(),
            " FROM shadow_event WHERE tenant_id = $1 AND device = $2 AND name = $3 AND number < $4 \
             ORDER BY number DESC LIMIT $5"
        );
        let before = before.unwrap_or(u64::MAX);
        self.conn.query(SQL, params![self.scope.key(), device, name, before, limit]).await
    }

    /// The oldest of a shadow, in order.
    pub async fn oldest_shadow_events(
        &mut self,
        device: &DeviceId,
        name: &str,
        limit: u32,
    ) -> Result<Vec<ShadowEventRow>, StoreError> {
        const SQL: &str = concat!(
            "SELECT ",
            columns!(),
            " FROM shadow_event WHERE tenant_id = $1 AND device = $2 AND name = $3 ORDER BY number LIMIT $4"
        );
        self.conn.query(SQL, params![self.scope.key(), device, name, limit]).await
    }

    /// Takes changes of one shadow away; how many.
    pub async fn drop_shadow_events(
        &mut self,
        device: &DeviceId,
        name: &str,
        numbers: &[u64],
    ) -> Result<u64, StoreError> {
        const SQL: Bulk = Bulk {
            sqlite: "DELETE FROM shadow_event WHERE tenant_id = $1 AND device = $2 AND name = $3 AND number = $4",
            postgres: "DELETE FROM shadow_event WHERE tenant_id = $1 AND device = $2 AND name = $3 \
                 AND number = ANY (CAST($4 AS BIGINT[]))",
        };
        let columns = [Column::of(numbers, |number| *number)];
        self.conn.execute_rows(SQL, params![self.scope.key(), device, name], &columns).await
    }

    /// Gives changes of one shadow other patches.
    pub async fn rewrite_shadow_events(
        &mut self,
        device: &DeviceId,
        name: &str,
        patches: &[(u64, String)],
    ) -> Result<u64, StoreError> {
        const SQL: Bulk = Bulk {
            sqlite: "UPDATE shadow_event SET patch = $5 \
                 WHERE tenant_id = $1 AND device = $2 AND name = $3 AND number = $4",
            postgres: "UPDATE shadow_event AS e SET patch = n.patch \
                 FROM UNNEST(CAST($4 AS BIGINT[]), CAST($5 AS TEXT[])) AS n (number, patch) \
                 WHERE e.tenant_id = $1 AND e.device = $2 AND e.name = $3 AND e.number = n.number",
        };
        let columns = [Column::of(patches, |(number, _)| *number), Column::of(patches, |(_, patch)| patch)];
        self.conn.execute_rows(SQL, params![self.scope.key(), device, name], &columns).await
    }

    /// Histories in the order of devices and names, after the last of the page before.
    pub async fn shadow_histories(
        &mut self,
        after: Option<(&DeviceId, &str)>,
        limit: u32,
    ) -> Result<Vec<ShadowHistoryRow>, StoreError> {
        const SQL: &str = "SELECT device, name, COUNT(*), MIN(at) FROM shadow_event \
             WHERE tenant_id = $1 AND (device, name) > ($2, $3) GROUP BY device, name ORDER BY device, name LIMIT $4";
        let (device, name) = after.map_or(("", ""), |(device, name)| (device.as_str(), name));
        self.conn.query(SQL, params![self.scope.key(), device, name, limit]).await
    }
}
