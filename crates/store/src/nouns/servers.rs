//! The servers that are at the database, and the wills of those that are gone.
//!
//! A server counts its beats in a row of its own. Whoever looks remembers the count and when it came, by a clock of its own: no
//! two clocks are compared.

use fleetward_base::TenantId;

use super::mqtt::WillRow;
use super::{Of, hit};
use crate::sql::{Cells, FromRow, from_row, params};
use crate::{StoreError, SystemTx, TenantTx};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerRow {
    pub id: String,
    pub beat: u64,
}

from_row!(ServerRow { id: text, beat: count });

struct Beat(u64);

impl FromRow for Beat {
    fn from_row(cells: &mut Cells) -> Result<Self, StoreError> {
        cells.count().map(Self)
    }
}

impl TenantTx {
    /// Of the installation: counts a beat of this server; 1 where it had no row, or has none any more.
    pub async fn beat_server(&mut self, id: &str) -> Result<u64, StoreError> {
        const SQL: &str = "INSERT INTO server (tenant_id, id, beat) VALUES ($1, $2, 1) \
             ON CONFLICT (tenant_id, id) DO UPDATE SET beat = server.beat + 1 RETURNING beat";
        let beat: Option<Beat> = self.conn.query_opt(SQL, params![self.scope.key(), id]).await?;
        Ok(beat.map_or(0, |beat| beat.0))
    }

    /// Of the installation: all servers, by their ids.
    pub async fn servers(&mut self) -> Result<Vec<ServerRow>, StoreError> {
        const SQL: &str = "SELECT id, beat FROM server WHERE tenant_id = $1 ORDER BY id";
        self.conn.query(SQL, params![self.scope.key()]).await
    }

    /// Of the installation: takes a server whose count still stands at `beat` for gone. Should it beat again, it counts from 1.
    pub async fn miss_server(&mut self, id: &str, beat: u64) -> Result<bool, StoreError> {
        const SQL: &str = "UPDATE server SET beat = 0 WHERE tenant_id = $1 AND id = $2 AND beat = $3";
        self.conn.execute(SQL, params![self.scope.key(), id, beat]).await.map(hit)
    }

    /// Of the installation: forgets a server whose count still stands at `beat`.
    pub async fn remove_server(&mut self, id: &str, beat: u64) -> Result<bool, StoreError> {
        const SQL: &str = "DELETE FROM server WHERE tenant_id = $1 AND id = $2 AND beat = $3";
        self.conn.execute(SQL, params![self.scope.key(), id, beat]).await.map(hit)
    }
}

impl SystemTx {
    /// Makes wills of connections that were on the server `from` those of `to`: up to `limit` of them, which another server
    /// that does the same does not get too.
    pub async fn take_wills(&mut self, from: &str, to: &str, limit: u32) -> Result<Vec<Of<WillRow>>, StoreError> {
        const SQL: &str = "UPDATE mqtt_will SET server = $2 WHERE server = $1 AND (tenant_id, client) IN \
             (SELECT tenant_id, client FROM mqtt_will WHERE server = $1 ORDER BY tenant_id, client LIMIT $3) \
             RETURNING tenant_id, client, will";
        self.across().await?.query(SQL, params![from, to, limit]).await
    }

    /// Makes every will that of the server `to`, and forgets all other servers: it is the only one.
    pub async fn take_all_wills(&mut self, to: &str) -> Result<(), StoreError> {
        const WILLS: &str = "UPDATE mqtt_will SET server = $1 WHERE server <> $1";
        const SERVERS: &str = "DELETE FROM server WHERE id <> $1";
        self.across().await?.execute(WILLS, params![to]).await?;
        self.across().await?.execute(SERVERS, params![to]).await.map(drop)
    }

    /// All wills of connections on one server that did not end, by tenant and client.
    pub async fn wills_of(
        &mut self,
        server: &str,
        after: Option<(&TenantId, &str)>,
        limit: u32,
    ) -> Result<Vec<Of<WillRow>>, StoreError> {
        const SQL: &str = "SELECT tenant_id, client, will FROM mqtt_will \
             WHERE server = $1 AND (tenant_id, client) > ($2, $3) ORDER BY tenant_id, client LIMIT $4";
        let (tenant, client) = after.map_or(("", ""), |(tenant, client)| (tenant.as_str(), client));
        self.across().await?.query(SQL, params![server, tenant, client, limit]).await
    }
}
