//! MQTT sessions that outlive their connection: subscriptions, queued messages, retained messages.
//!
//! Messages are packed by the broker: one row of the queue holds those that one batch brought for one session. What the
//! bytes mean is the broker's affair.

use fleetward_base::{DeviceId, TenantId, Timestamp};

use super::{Of, hit};
use crate::sql::{Bulk, Column, Sql, from_row, params};
use crate::{StoreError, SystemTx, TenantTx};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SessionRow {
    pub client: String,
    /// How long it outlives its connection, in seconds.
    pub expiry_s: u64,
    /// None while it is connected.
    pub disconnected_at: Option<Timestamp>,
    /// The last message of the queue that the client has acknowledged.
    pub acked_seq: u64,
    /// 4: MQTT 3.1.1; 5: MQTT 5.
    pub protocol: u32,
    pub created_at: Timestamp,
}

from_row!(SessionRow {
    client: text,
    expiry_s: count,
    disconnected_at: opt_time,
    acked_seq: count,
    protocol: small,
    created_at: time,
});

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SubscriptionRow {
    pub client: String,
    pub filter: String,
    pub qos: u32,
    /// The broker's own bits: no local, retain as published and the like.
    pub options: u32,
    /// The subscription identifier of MQTT 5; 0 for none.
    pub identifier: u32,
}

from_row!(SubscriptionRow { client: text, filter: text, qos: small, options: small, identifier: small });

/// What of QoS 2 is half done in a session, as the broker packs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExchangesRow {
    pub client: String,
    pub exchanges: Vec<u8>,
}

from_row!(ExchangesRow { client: text, exchanges: bytes });

/// The last will of a connection that lasts, as the broker packs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WillRow {
    pub client: String,
    pub will: Vec<u8>,
}

from_row!(WillRow { client: text, will: bytes });

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueRow {
    pub client: String,
    pub first_seq: u64,
    pub last_seq: u64,
    pub messages: Vec<u8>,
}

from_row!(QueueRow { client: text, first_seq: count, last_seq: count, messages: bytes });

/// What waits for a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueSize {
    pub rows: u64,
    pub bytes: u64,
    /// The greatest number that was given; 0 for none.
    pub last_seq: u64,
}

from_row!(QueueSize { rows: count, bytes: count, last_seq: count });

/// What waits for one session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueTotal {
    pub client: String,
    pub bytes: u64,
    pub last_seq: u64,
}

from_row!(QueueTotal { client: text, bytes: count, last_seq: count });

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetainedRow {
    pub topic: String,
    pub payload: Vec<u8>,
    pub qos: u32,
    pub properties: Option<Vec<u8>>,
    pub stored_at: Timestamp,
}

from_row!(RetainedRow { topic: text, payload: bytes, qos: small, properties: opt_bytes, stored_at: time });

macro_rules! session_columns {
    () => {
        "client, expiry_s, disconnected_at, acked_seq, protocol, created_at"
    };
}

impl TenantTx {
    /// Keeps sessions. One that is there keeps its time and what it has acknowledged.
    pub async fn put_sessions(&mut self, rows: &[SessionRow]) -> Result<(), StoreError> {
        const SQL: Bulk = Bulk {
            sqlite: concat!(
                "INSERT INTO mqtt_session (tenant_id, ",
                session_columns!(),
                ") VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (tenant_id, client) DO UPDATE SET \
                 expiry_s = excluded.expiry_s, disconnected_at = excluded.disconnected_at, \
                 protocol = excluded.protocol"
            ),
            // The last line of a client counts, as it does where they are written one by one.
            postgres: concat!(
                "INSERT INTO mqtt_session (tenant_id, ",
                session_columns!(),
                ") SELECT DISTINCT ON (c) CAST($1 AS TEXT), c, e, d, a, p, t FROM UNNEST(CAST($2 AS TEXT[]), \
                 CAST($3 AS BIGINT[]), CAST($4 AS BIGINT[]), CAST($5 AS BIGINT[]), CAST($6 AS BIGINT[]), \
                 CAST($7 AS BIGINT[])) WITH ORDINALITY AS s (c, e, d, a, p, t, n) ORDER BY c, n DESC \
                 ON CONFLICT (tenant_id, client) DO UPDATE SET \
                 expiry_s = excluded.expiry_s, disconnected_at = excluded.disconnected_at, \
                 protocol = excluded.protocol"
            ),
        };
        let columns = [
            Column::of(rows, |row| &row.client),
            Column::of(rows, |row| row.expiry_s),
            Column::of(rows, |row| row.disconnected_at),
            Column::of(rows, |row| row.acked_seq),
            Column::of(rows, |row| row.protocol),
            Column::of(rows, |row| row.created_at),
        ];
        self.conn.execute_rows(SQL, params![self.scope.key()], &columns).await.map(drop)
    }

    /// Keeps the will of a connection on `server`, in place of what was kept for the client.
    pub async fn keep_will(&mut self, client: &str, will: &[u8], server: &str) -> Result<(), StoreError> {
        const SQL: &str = "INSERT INTO mqtt_will (tenant_id, client, will, server) VALUES ($1, $2, $3, $4) \
             ON CONFLICT (tenant_id, client) DO UPDATE SET will = excluded.will, server = excluded.server";
        self.conn.execute(SQL, params![self.scope.key(), client, will, server]).await.map(drop)
    }

    /// Takes away just this one; `false` where another has come in its place, another server has it, or none is there.
    pub async fn drop_will(&mut self, client: &str, will: &[u8], server: &str) -> Result<bool, StoreError> {
        const SQL: &str = "DELETE FROM mqtt_will WHERE tenant_id = $1 AND client = $2 AND will = $3 AND server = $4";
        self.conn.execute(SQL, params![self.scope.key(), client, will, server]).await.map(hit)
    }

    pub async fn session(&mut self, client: &str) -> Result<Option<SessionRow>, StoreError> {
        const SQL: &str =
            concat!("SELECT ", session_columns!(), " FROM mqtt_session WHERE tenant_id = $1 AND client = $2");
        self.conn.query_opt(SQL, params![self.scope.key(), client]).await
    }

    /// Removes a session with its subscriptions and its queue.
    pub async fn delete_session(&mut self, client: &str) -> Result<bool, StoreError> {
        const QUEUE: &str = "DELETE FROM mqtt_queue WHERE tenant_id = $1 AND client = $2";
        const SUBSCRIPTIONS: &str = "DELETE FROM mqtt_subscription WHERE tenant_id = $1 AND client = $2";
        const SESSION: &str = "DELETE FROM mqtt_session WHERE tenant_id = $1 AND client = $2";
        self.conn.execute(QUEUE, params![self.scope.key(), client]).await?;
        self.conn.execute(SUBSCRIPTIONS, params![self.scope.key(), client]).await?;
        self.conn.execute(SESSION, params![self.scope.key(), client]).await.map(hit)
    }

    pub async fn put_subscription(&mut self, row: &SubscriptionRow) -> Result<(), StoreError> {
        const SQL: &str = "INSERT INTO mqtt_subscription (tenant_id, client, filter, qos, options, identifier) \
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (tenant_id, client, filter) \
             DO UPDATE SET qos = excluded.qos, options = excluded.options, identifier = excluded.identifier";
        let params = params![self.scope.key(), &row.client, &row.filter, row.qos, row.options, row.identifier];
        self.conn.execute(SQL, params).await.map(drop)
    }

    pub async fn remove_subscription(&mut self, client: &str, filter: &str) -> Result<bool, StoreError> {
        const SQL: &str = "DELETE FROM mqtt_subscription WHERE tenant_id = $1 AND client = $2 AND filter = $3";
        self.conn.execute(SQL, params![self.scope.key(), client, filter]).await.map(hit)
    }

    pub async fn subscriptions(&mut self, client: &str) -> Result<Vec<SubscriptionRow>, StoreError> {
        const SQL: &str = "SELECT client, filter, qos, options, identifier FROM mqtt_subscription \
             WHERE tenant_id = $1 AND client = $2 ORDER BY filter";
        self.conn.query(SQL, params![self.scope.key(), client]).await
    }

    /// Appends to the queues of any number of sessions. A first number that is taken is `Conflict`.
    pub async fn append_queue(&mut self, rows: &[QueueRow]) -> Result<(), StoreError> {
        const SQL: Bulk = Bulk {
            sqlite: "INSERT INTO mqtt_queue (tenant_id, client, first_seq, last_seq, messages) \
                 VALUES ($1, $2, $3, $4, $5)",
            postgres: "INSERT INTO mqtt_queue (tenant_id, client, first_seq, last_seq, messages) \
                 SELECT CAST($1 AS TEXT), * FROM UNNEST(CAST($2 AS TEXT[]), CAST($3 AS BIGINT[]), \
                 CAST($4 AS BIGINT[]), CAST($5 AS BYTEA[]))",
        };
        let columns = [
            Column::of(rows, |row| &row.client),
            Column::of(rows, |row| row.first_seq),
            Column::of(rows, |row| row.last_seq),
            Column::of(rows, |row| &row.messages),
        ];
        self.conn.execute_rows(SQL, params![self.scope.key()], &columns).await.map(drop)
    }

    /// Rows that hold a message after `after_seq`, in order.
    pub async fn queue(&mut self, client: &str, after_seq: u64, limit: u32) -> Result<Vec<QueueRow>, StoreError> {
        const SQL: &str = "SELECT client, first_seq, last_seq, messages FROM mqtt_queue \
             WHERE tenant_id = $1 AND client = $2 AND last_seq > $3 ORDER BY first_seq LIMIT $4";
        self.conn.query(SQL, params![self.scope.key(), client, after_seq, limit]).await
    }

    /// The client has acknowledged everything up to `seq`: notes it, and removes the rows that hold nothing later.
    pub async fn acknowledge_queue(&mut self, client: &str, seq: u64) -> Result<(), StoreError> {
        const SESSION: &str = "UPDATE mqtt_session SET acked_seq = $3 \
             WHERE tenant_id = $1 AND client = $2 AND acked_seq < $3";
        // A row ends no sooner than it begins; the first condition is the one that the key can be searched with.
        const QUEUE: &str = "DELETE FROM mqtt_queue \
             WHERE tenant_id = $1 AND client = $2 AND first_seq <= $3 AND last_seq <= $3";
        self.conn.execute(SESSION, params![self.scope.key(), client, seq]).await?;
        self.conn.execute(QUEUE, params![self.scope.key(), client, seq]).await.map(drop)
    }

    /// Keeps what of QoS 2 is half done in a session; nothing if there is no such session. `None` for nothing half done.
    pub async fn save_exchanges(&mut self, client: &str, exchanges: Option<&[u8]>) -> Result<bool, StoreError> {
        const SQL: &str = "UPDATE mqtt_session SET exchanges = $3 WHERE tenant_id = $1 AND client = $2";
        self.conn.execute(SQL, params![self.scope.key(), client, exchanges]).await.map(hit)
    }

    pub async fn queue_size(&mut self, client: &str) -> Result<QueueSize, StoreError> {
        const SQL: &str = "SELECT count(*), CAST(coalesce(sum(length(messages)), 0) AS BIGINT), \
             coalesce(max(last_seq), 0) FROM mqtt_queue WHERE tenant_id = $1 AND client = $2";
        self.conn.query_one(SQL, params![self.scope.key(), client]).await
    }

    pub async fn put_retained(&mut self, row: &RetainedRow) -> Result<(), StoreError> {
        const SQL: &str = "INSERT INTO mqtt_retained (tenant_id, topic, payload, qos, properties, stored_at) \
             VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (tenant_id, topic) DO UPDATE SET \
             payload = excluded.payload, qos = excluded.qos, properties = excluded.properties, \
             stored_at = excluded.stored_at";
        let params = params![self.scope.key(), &row.topic, &row.payload, row.qos, &row.properties, row.stored_at];
        self.conn.execute(SQL, params).await.map(drop)
    }

    pub async fn delete_retained(&mut self, topic: &str) -> Result<bool, StoreError> {
        const SQL: &str = "DELETE FROM mqtt_retained WHERE tenant_id = $1 AND topic = $2";
        self.conn.execute(SQL, params![self.scope.key(), topic]).await.map(hit)
    }

    /// Those whose topic begins with `prefix`, in the order of topics.
    pub async fn retained(
        &mut self,
        prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<RetainedRow>, StoreError> {
        const SQL: &str = "SELECT topic, payload, qos, properties, stored_at FROM mqtt_retained \
             WHERE tenant_id = $1 AND topic > $2 AND topic >= $3 AND topic < $4 ORDER BY topic LIMIT $5";
        // No topic holds the last code point of all: MQTT 5.0 §1.5.4 lets a receiver refuse non-characters.
        let end = format!("{prefix}\u{10ffff}");
        self.conn.query(SQL, params![self.scope.key(), after.unwrap_or(""), prefix, end, limit]).await
    }

    /// Removes what is retained on a device's own topics: those with its name in the second level; how many there were.
    /// What all devices share, and what operators say to all, is nobody's own.
    pub async fn forget_retained_of(&mut self, device: &DeviceId) -> Result<u64, StoreError> {
        const SQL: Sql = Sql {
            sqlite: "DELETE FROM mqtt_retained WHERE tenant_id = $1 AND instr(topic, '/') > 1 \
                 AND substr(substr(topic, instr(topic, '/')) || '/', 1, length($2)) = $2 \
                 AND substr(topic, 1, 7) <> 'shared/' AND substr(topic, 1, 6) <> 'fleet/'",
            postgres: "DELETE FROM mqtt_retained WHERE tenant_id = $1 AND strpos(topic, '/') > 1 \
                 AND substr(substr(topic, strpos(topic, '/')) || '/', 1, length($2)) = $2 \
                 AND substr(topic, 1, 7) <> 'shared/' AND substr(topic, 1, 6) <> 'fleet/'",
        };
        self.conn.execute(SQL, params![self.scope.key(), format!("/{device}/")]).await
    }

    pub async fn count_retained(&mut self) -> Result<u64, StoreError> {
        const SQL: &str = "SELECT count(*) FROM mqtt_retained WHERE tenant_id = $1";
        self.conn.query_one(SQL, params![self.scope.key()]).await
    }
}

impl SystemTx {
    /// What waits for each session that something waits for, by tenant and client, for the start of the server.
    pub async fn all_queue_sizes(
        &mut self,
        after: Option<(&TenantId, &str)>,
        limit: u32,
    ) -> Result<Vec<Of<QueueTotal>>, StoreError> {
        const SQL: &str = "SELECT tenant_id, client, CAST(sum(length(messages)) AS BIGINT), max(last_seq) \
             FROM mqtt_queue WHERE (tenant_id, client) > ($1, $2) GROUP BY tenant_id, client \
             ORDER BY tenant_id, client LIMIT $3";
        let (tenant, client) = after.map_or(("", ""), |(tenant, client)| (tenant.as_str(), client));
        self.across().await?.query(SQL, params![tenant, client, limit]).await
    }

    /// All retained messages, by tenant and topic, for the start of the server.
    pub async fn all_retained(
        &mut self,
        after: Option<(&TenantId, &str)>,
        limit: u32,
    ) -> Result<Vec<Of<RetainedRow>>, StoreError> {
        const SQL: &str = "SELECT tenant_id, topic, payload, qos, properties, stored_at FROM mqtt_retained \
             WHERE (tenant_id, topic) > ($1, $2) ORDER BY tenant_id, topic LIMIT $3";
        let (tenant, topic) = after.map_or(("", ""), |(tenant, topic)| (tenant.as_str(), topic));
        self.across().await?.query(SQL, params![tenant, topic, limit]).await
    }

    /// All sessions, by tenant and client, for the start of the server.
    pub async fn all_sessions(
        &mut self,
        after: Option<(&TenantId, &str)>,
        limit: u32,
    ) -> Result<Vec<Of<SessionRow>>, StoreError> {
        const SQL: &str = concat!(
            "SELECT tenant_id, ",
            session_columns!(),
            " FROM mqtt_session WHERE (tenant_id, client) > ($1, $2) ORDER BY tenant_id, client LIMIT $3"
        );
        let (tenant, client) = after.map_or(("", ""), |(tenant, client)| (tenant.as_str(), client));
        self.across().await?.query(SQL, params![tenant, client, limit]).await
    }

    /// What of QoS 2 is half done in any session, by tenant and client, for the start of the server.
    pub async fn all_exchanges(
        &mut self,
        after: Option<(&TenantId, &str)>,
        limit: u32,
    ) -> Result<Vec<Of<ExchangesRow>>, StoreError> {
        const SQL: &str = "SELECT tenant_id, client, exchanges FROM mqtt_session \
             WHERE exchanges IS NOT NULL AND (tenant_id, client) > ($1, $2) ORDER BY tenant_id, client LIMIT $3";
        let (tenant, client) = after.map_or(("", ""), |(tenant, client)| (tenant.as_str(), client));
        self.across().await?.query(SQL, params![tenant, client, limit]).await
    }

    /// All subscriptions, by tenant, client and filter, for the start of the server.
    pub async fn all_subscriptions(
        &mut self,
        after: Option<(&TenantId, &str, &str)>,
        limit: u32,
    ) -> Result<Vec<Of<SubscriptionRow>>, StoreError> {
        const SQL: &str = "SELECT tenant_id, client, filter, qos, options, identifier FROM mqtt_subscription \
             WHERE (tenant_id, client, filter) > ($1, $2, $3) ORDER BY tenant_id, client, filter LIMIT $4";
        let (tenant, client, filter) =
            after.map_or(("", "", ""), |(tenant, client, filter)| (tenant.as_str(), client, filter));
        self.across().await?.query(SQL, params![tenant, client, filter, limit]).await
    }
}
