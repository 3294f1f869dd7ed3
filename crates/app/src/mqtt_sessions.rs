//! The broker's memory: MQTT sessions, queues and retained messages kept in the store.
//!
//! The broker collects what waits for a commit, of all tenants; here it becomes one transaction. Only the order within a
//! session matters, so changes are gathered by tenant, and runs of the same kind become one statement for many rows.

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use bytes::Bytes;
use fleetward_base::{DeviceId, TenantId};
use fleetward_broker::{
    Chunk, Op, SessionStore, StoreFailure, StoredRetained, StoredSession, StoredSubscription, StoredWill,
};
use fleetward_store::{
    Of, QueueRow, RetainedRow, SessionRow, StoreError, SubscriptionRow, SystemTx, TenantTx, WillRow,
};

use crate::App;

const PAGE: u32 = 5000;
/// Rows of a queue that are read at a time; each holds what one commit brought for the session.
const QUEUE_ROWS: u32 = 64;

/// [`SessionStore`] over the store.
#[derive(Debug)]
pub struct StoredSessions {
    app: App,
}

impl StoredSessions {
    pub fn new(app: App) -> Self {
        Self { app }
    }
}

#[async_trait]
impl SessionStore for StoredSessions {
    async fn load_sessions(&self) -> Result<Vec<StoredSession>, StoreFailure> {
        self.app
            .store()
            .system_read("load MQTT sessions", |tx| Box::pin(load_sessions(tx)))
            .await
            .map_err(|error| failure("loading the sessions", error))
    }

    async fn load_retained(&self) -> Result<Vec<(TenantId, StoredRetained)>, StoreFailure> {
        self.app
            .store()
            .system_read("load retained messages", |tx| Box::pin(load_retained(tx)))
            .await
            .map_err(|error| failure("loading the retained messages", error))
    }

    /// Where others are at the database, their wills are among these: what one of them leaves is found by
    /// [`crate::reconcile::servers`].
    async fn load_wills(&self) -> Result<Vec<StoredWill>, StoreFailure> {
        let store = self.app.store();
        let alone = store.came_alone().await.map_err(|error| failure("asking who else is here", error))?;
        let server = self.app.server_id().to_owned();
        store
            .system_write("load wills", move |tx| {
                Box::pin(async move {
                    if alone {
                        tx.take_all_wills(&server).await?;
                    }
                    // Before the first connection, so that its will has a server.
                    tx.installation().await?.beat_server(&server).await?;
                    if alone { load_wills(tx, &server).await } else { Ok(Vec::new()) }
                })
            })
            .await
            .map_err(|error| failure("loading the wills", error))
    }

    async fn commit(&self, ops: Vec<Op>) -> Result<(), StoreFailure> {
        let server = self.app.server_id().to_owned();
        self.app
            .store()
            .system_write("commit MQTT sessions", move |tx| {
                Box::pin(async move {
                    let mut by_tenant: BTreeMap<TenantId, Vec<Op>> = BTreeMap::new();
                    for op in ops {
                        by_tenant.entry(op.tenant().clone()).or_default().push(op);
                    }
                    for (tenant, ops) in by_tenant {
                        apply(tx.enter(&tenant).await?, ops, &server).await?;
                    }
                    Ok::<_, StoreError>(())
                })
            })
            .await
            .map_err(|error| failure("committing", error))
    }

    async fn read_queue(
        &self,
        tenant: &TenantId,
        client: &DeviceId,
        after_seq: u64,
        limit_bytes: usize,
    ) -> Result<Vec<Chunk>, StoreFailure> {
        let client = client.clone();
        self.app
            .store()
            .read(tenant, "read MQTT queue", move |tx| {
                Box::pin(async move {
                    let (mut chunks, mut bytes, mut after) = (Vec::new(), 0, after_seq);
                    loop {
                        let rows = tx.queue(client.as_str(), after, QUEUE_ROWS).await?;
                        let more = rows.len() == QUEUE_ROWS as usize;
                        for row in rows {
                            if !chunks.is_empty() && bytes + row.messages.len() > limit_bytes {
                                return Ok(chunks);
                            }
                            bytes += row.messages.len();
                            after = row.last_seq;
                            let (first_seq, last_seq) = (row.first_seq, row.last_seq);
                            chunks.push(Chunk { first_seq, last_seq, packed: Bytes::from(row.messages) });
                        }
                        if !more {
                            return Ok::<_, StoreError>(chunks);
                        }
                    }
                })
            })
            .await
            .map_err(|error| failure("reading a queue", error))
    }
}

/// Rows of one kind that wait to be written together.
#[derive(Default)]
struct Runs {
    sessions: Vec<SessionRow>,
    queued: Vec<QueueRow>,
}

impl Runs {
    async fn write(&mut self, tx: &mut TenantTx) -> Result<(), StoreError> {
        if !self.sessions.is_empty() {
            tx.put_sessions(&std::mem::take(&mut self.sessions)).await?;
        }
        if !self.queued.is_empty() {
            tx.append_queue(&std::mem::take(&mut self.queued)).await?;
        }
        Ok(())
    }
}

async fn apply(tx: &mut TenantTx, ops: Vec<Op>, server: &str) -> Result<(), StoreError> {
    let mut runs = Runs::default();
    for op in ops {
        match op {
            Op::SaveSession { client, expiry_secs, disconnected_at, protocol, created_at, acked_seq, .. } => {
                runs.sessions.push(SessionRow {
                    client: client.into(),
                    expiry_s: u64::from(expiry_secs),
                    disconnected_at,
                    acked_seq,
                    protocol: u32::from(protocol),
                    created_at,
                })
            }
            Op::Enqueue { client, chunk, .. } => runs.queued.push(QueueRow {
                client: client.into(),
                first_seq: chunk.first_seq,
                last_seq: chunk.last_seq,
                messages: chunk.packed.into(),
            }),
            other => {
                // What was gathered comes before it.
                runs.write(tx).await?;
                apply_one(tx, other, server).await?;
            }
        }
    }
    runs.write(tx).await
}

async fn apply_one(tx: &mut TenantTx, op: Op, server: &str) -> Result<(), StoreError> {
    match op {
        Op::SaveSession { .. } | Op::Enqueue { .. } => {}
        Op::DeleteSession { client, .. } => {
            tx.delete_session(client.as_str()).await?;
        }
        Op::PutSubscriptions { client, subscriptions, .. } => {
            for subscription in subscriptions {
                let row = SubscriptionRow {
                    client: client.as_str().to_owned(),
                    filter: subscription.filter,
                    qos: u32::from(subscription.qos),
                    options: u32::from(subscription.options),
                    identifier: subscription.identifier,
                };
                tx.put_subscription(&row).await?;
            }
        }
        Op::RemoveSubscriptions { client, filters, .. } => {
            for filter in filters {
                tx.remove_subscription(client.as_str(), &filter).await?;
            }
        }
        Op::SaveExchanges { client, exchanges, .. } => {
            tx.save_exchanges(client.as_str(), Some(&*exchanges).filter(|packed| !packed.is_empty())).await?;
        }
        Op::Advance { client, acked_seq, .. } => tx.acknowledge_queue(client.as_str(), acked_seq).await?,
        Op::KeepWill { client, will, .. } => tx.keep_will(client.as_str(), &will, server).await?,
        Op::DropWill { client, will, .. } => {
            tx.drop_will(client.as_str(), &will, server).await?;
        }
        Op::Retain { retained, .. } => {
            let row = RetainedRow {
                topic: retained.topic,
                payload: retained.payload.into(),
                qos: u32::from(retained.qos),
                properties: (!retained.properties.is_empty()).then(|| retained.properties.into()),
                stored_at: retained.stored_at,
            };
            tx.put_retained(&row).await?;
        }
        Op::ClearRetained { topic, .. } => {
            tx.delete_retained(&topic).await?;
        }
    }
    Ok(())
}

type Key = (TenantId, String);

async fn load_sessions(tx: &mut SystemTx) -> Result<Vec<StoredSession>, StoreError> {
    let mut subscriptions = load_subscriptions(tx).await?;
    let queues = load_queues(tx).await?;
    let mut exchanges = load_exchanges(tx).await?;
    let mut sessions = Vec::new();
    let mut after: Option<Key> = None;
    loop {
        let place = after.as_ref().map(|(tenant, client)| (tenant, client.as_str()));
        let page = tx.all_sessions(place, PAGE).await?;
        let more = page.len() == PAGE as usize;
        for of in page {
            let Some(tenant) = of.tenant else { continue };
            let key = (tenant, of.row.client.clone());
            after = Some(key.clone());
            let Ok(client) = of.row.client.parse::<DeviceId>() else { continue };
            let (last_seq, queued_bytes) = queues.get(&key).copied().unwrap_or((of.row.acked_seq, 0));
            sessions.push(StoredSession {
                subscriptions: subscriptions.remove(&key).unwrap_or_default(),
                exchanges: exchanges.remove(&key).map(Bytes::from).unwrap_or_default(),
                tenant: key.0,
                client,
                expiry_secs: u32::try_from(of.row.expiry_s).unwrap_or(u32::MAX),
                disconnected_at: of.row.disconnected_at,
                protocol: u8::try_from(of.row.protocol).unwrap_or(4),
                acked_seq: of.row.acked_seq,
                last_seq: last_seq.max(of.row.acked_seq),
                queued_bytes,
            });
        }
        if !more {
            return Ok(sessions);
        }
    }
}

async fn load_subscriptions(tx: &mut SystemTx) -> Result<HashMap<Key, Vec<StoredSubscription>>, StoreError> {
    let mut all: HashMap<Key, Vec<StoredSubscription>> = HashMap::new();
    let mut after: Option<(TenantId, String, String)> = None;
    loop {
        let place = after.as_ref().map(|(tenant, client, filter)| (tenant, client.as_str(), filter.as_str()));
        let page = tx.all_subscriptions(place, PAGE).await?;
        let more = page.len() == PAGE as usize;
        for of in page {
            let Some(tenant) = of.tenant else { continue };
            after = Some((tenant.clone(), of.row.client.clone(), of.row.filter.clone()));
            all.entry((tenant, of.row.client)).or_default().push(StoredSubscription {
                filter: of.row.filter,
                qos: u8::try_from(of.row.qos).unwrap_or(0),
                options: u8::try_from(of.row.options).unwrap_or(0),
                identifier: of.row.identifier,
            });
        }
        if !more {
            return Ok(all);
        }
    }
}

async fn load_exchanges(tx: &mut SystemTx) -> Result<HashMap<Key, Vec<u8>>, StoreError> {
    let mut all = HashMap::new();
    let mut after: Option<Key> = None;
    loop {
        let place = after.as_ref().map(|(tenant, client)| (tenant, client.as_str()));
        let page = tx.all_exchanges(place, PAGE).await?;
        let more = page.len() == PAGE as usize;
        for of in page {
            let Some(tenant) = of.tenant else { continue };
            let key = (tenant, of.row.client);
            after = Some(key.clone());
            all.insert(key, of.row.exchanges);
        }
        if !more {
            return Ok(all);
        }
    }
}

async fn load_wills(tx: &mut SystemTx, server: &str) -> Result<Vec<StoredWill>, StoreError> {
    let mut all = Vec::new();
    let mut after: Option<Key> = None;
    loop {
        let place = after.as_ref().map(|(tenant, client)| (tenant, client.as_str()));
        let page = tx.wills_of(server, place, PAGE).await?;
        let more = page.len() == PAGE as usize;
        after = page.last().and_then(|of| Some((of.tenant.clone()?, of.row.client.clone())));
        all.extend(page.into_iter().filter_map(stored_will));
        if !more {
            return Ok(all);
        }
    }
}

pub(crate) fn stored_will(of: Of<WillRow>) -> Option<StoredWill> {
    let client = of.row.client.parse().ok()?;
    Some(StoredWill { tenant: of.tenant?, client, will: Bytes::from(of.row.will) })
}

/// Last number and bytes of each queue that holds something.
async fn load_queues(tx: &mut SystemTx) -> Result<HashMap<Key, (u64, u64)>, StoreError> {
    let mut all = HashMap::new();
    let mut after: Option<Key> = None;
    loop {
        let place = after.as_ref().map(|(tenant, client)| (tenant, client.as_str()));
        let page = tx.all_queue_sizes(place, PAGE).await?;
        let more = page.len() == PAGE as usize;
        for of in page {
            let Some(tenant) = of.tenant else { continue };
            let key = (tenant, of.row.client);
            after = Some(key.clone());
            all.insert(key, (of.row.last_seq, of.row.bytes));
        }
        if !more {
            return Ok(all);
        }
    }
}

async fn load_retained(tx: &mut SystemTx) -> Result<Vec<(TenantId, StoredRetained)>, StoreError> {
    let mut all = Vec::new();
    let mut after: Option<Key> = None;
    loop {
        let place = after.as_ref().map(|(tenant, topic)| (tenant, topic.as_str()));
        let page = tx.all_retained(place, PAGE).await?;
        let more = page.len() == PAGE as usize;
        for of in page {
            let Some(tenant) = of.tenant else { continue };
            after = Some((tenant.clone(), of.row.topic.clone()));
            all.push((
                tenant,
                StoredRetained {
                    topic: of.row.topic,
                    payload: Bytes::from(of.row.payload),
                    qos: u8::try_from(of.row.qos).unwrap_or(0),
                    properties: of.row.properties.map(Bytes::from).unwrap_or_default(),
                    stored_at: of.row.stored_at,
                },
            ));
        }
        if !more {
            return Ok(all);
        }
    }
}

fn failure(doing: &'static str, error: StoreError) -> StoreFailure {
    StoreFailure { doing, source: Box::new(error) }
}
