//! PostgreSQL: a pool of connections, one transaction for each unit, row-level security behind the statements.
//!
//! The owner of the tables is bound by the policies too (`FORCE ROW LEVEL SECURITY`), unless it is a superuser, which is
//! said aloud at the start. A connection whose transaction did not end is thrown away, never handed to the next unit.

mod connect;
mod link;
mod value;

pub(crate) use link::{PgLink, fault};

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use deadpool_postgres::{ClientWrapper, Object, Pool, PoolError};
use futures::future::BoxFuture;
use tokio::sync::{Mutex, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Scoped, run_unit};
use crate::conn::Link;
use crate::{OpenError, StoreError};

/// A unit that takes longer than this is broken off: the network may have swallowed it.
const UNIT: Duration = Duration::from_secs(60);
/// An advisory lock that all servers of a database share while they run. The number means nothing else, and is not the one
/// that the first server of older versions held for itself.
const PLACE: i64 = 4_201_170_733;
/// How often the journal is looked at for what other servers appended.
const POLL: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct PostgresEngine {
    pool: Pool,
    journal: watch::Sender<i64>,
    tasks: TaskTracker,
    stop: CancellationToken,
    round_trips: Arc<AtomicU64>,
    place: Mutex<Option<Place>>,
}

/// Holds [`PLACE`].
#[derive(Debug)]
struct Place {
    client: ClientWrapper,
    /// Nobody else held it when this server came.
    alone: bool,
}

impl PostgresEngine {
    /// Connects once, so that a wrong address is known at the start. The caller migrates.
    pub(crate) async fn open(
        address: &str,
        ca_file: Option<&Path>,
        connections: usize,
        journal: watch::Sender<i64>,
    ) -> Result<Self, OpenError> {
        let pool = connect::pool(address, ca_file, connections)?;
        let engine = Self {
            pool,
            journal,
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            round_trips: Arc::default(),
            place: Mutex::new(None),
        };
        let client = engine.client().await?;
        let row = client
            .query_one("SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = current_user", &[])
            .await
            .map_err(|error| fault(&error))?;
        if row.try_get::<_, bool>(0).unwrap_or(false) {
            tracing::warn!("the database role is a superuser or bypasses row-level security: use a role of its own");
        }
        Ok(engine)
    }

    /// How often units waited for the server.
    pub(crate) fn round_trips(&self) -> u64 {
        self.round_trips.load(Ordering::Relaxed)
    }

    /// Whether no other server was at the database when this one first asked. From then on it holds a place there, which others
    /// see; where the connection that holds it broke, it takes one again.
    pub(crate) async fn came_alone(&self) -> Result<bool, StoreError> {
        let mut place = self.place.lock().await;
        if let Some(held) = place.as_ref().filter(|held| !held.client.is_closed()) {
            return Ok(held.alone);
        }
        let client = self.client().await?;
        let row = client.query_one("SELECT pg_try_advisory_lock($1)", &[&PLACE]).await;
        let free: bool = row.and_then(|row| row.try_get(0)).map_err(|error| fault(&error))?;
        client.execute("SELECT pg_advisory_lock_shared($1)", &[&PLACE]).await.map_err(|error| fault(&error))?;
        if free {
            client.execute("SELECT pg_advisory_unlock($1)", &[&PLACE]).await.map_err(|error| fault(&error))?;
        }
        let alone = place.take().map_or(free, |before| before.alone);
        *place = Some(Place { client: Object::take(client), alone });
        Ok(alone)
    }

    pub(crate) async fn client(&self) -> Result<Object, StoreError> {
        self.pool.get().await.map_err(|error| match error {
            PoolError::Backend(error) => StoreError { kind: crate::StoreErrorKind::Unavailable, ..fault(&error) },
            other => StoreError::unavailable(other.to_string()),
        })
    }

    /// Begins to watch the journal for what other servers append.
    pub(crate) fn follow_journal(&self) {
        let (pool, journal, stop) = (self.pool.clone(), self.journal.clone(), self.stop.clone());
        self.tasks.spawn(async move { stop.run_until_cancelled(poll_journal(pool, journal)).await });
        self.tasks.close();
    }

    pub(crate) async fn write<S, F, T, E>(&self, op: &'static str, key: S::Key, work: F) -> Result<T, E>
    where
        S: Scoped,
        F: for<'t> FnOnce(&'t mut S) -> BoxFuture<'t, Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.unit::<S, F, T, E>("BEGIN", op, key, work).await
    }

    pub(crate) async fn read<S, F, T, E>(&self, op: &'static str, key: S::Key, work: F) -> Result<T, E>
    where
        S: Scoped,
        F: for<'t> FnOnce(&'t mut S) -> BoxFuture<'t, Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: From<StoreError> + Send + 'static,
    {
        self.unit::<S, F, T, E>("BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY", op, key, work).await
    }

    async fn unit<S, F, T, E>(&self, begin: &'static str, op: &'static str, key: S::Key, work: F) -> Result<T, E>
    where
        S: Scoped,
        F: for<'t> FnOnce(&'t mut S) -> BoxFuture<'t, Result<T, E>> + Send + 'static,
        E: From<StoreError>,
    {
        let client = self.client().await.map_err(|error| error.during(op))?;
        let link = Link::Postgres(Box::new(PgLink::new(client, begin, Arc::clone(&self.round_trips))));
        // Breaking off drops the link within, and with it the connection.
        let limited = tokio::time::timeout(UNIT, async move {
            let (link, effects, result) = run_unit::<S, F, T, E>(link, op, key, work).await;
            let Link::Postgres(link) = link else { unreachable!("the link went in as PostgreSQL's") };
            if effects.failed {
                link.roll_back().await;
                return (effects, result);
            }
            match link.commit().await {
                Ok(()) => (effects, result),
                Err(error) => (effects, Err(error.during(op).into())),
            }
        });
        let late = || StoreError::unavailable("the database did not answer in time").during(op);
        let (effects, result) = limited.await.map_err(|_| late())?;
        if let (true, Some(id)) = (result.is_ok(), effects.journaled) {
            self.journal.send_if_modified(|last| {
                let newer = *last < id;
                *last = id.max(*last);
                newer
            });
        }
        result
    }

    pub(crate) async fn close(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        drop(self.place.lock().await.take());
        self.pool.close();
    }
}

/// Wakes the followers whenever there is another last row, and whenever rows settled that nobody could read before
/// because an older transaction was still open.
async fn poll_journal(pool: Pool, journal: watch::Sender<i64>) {
    let mut ticks = tokio::time::interval(POLL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut seen = None;
    loop {
        ticks.tick().await;
        match last_rows(&pool).await {
            Ok(last) if seen != Some(last) => {
                seen = Some(last);
                journal.send_modify(|announced| *announced = last.0.max(*announced));
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "the journal could not be looked at"),
        }
    }
}

/// The last id, and the last settled transaction among the newest rows.
async fn last_rows(pool: &Pool) -> Result<(i64, i64), Box<dyn std::error::Error + Send + Sync>> {
    let mut client = pool.get().await?;
    let tx = client.transaction().await?;
    tx.batch_execute("SELECT set_config('app.tenant', '*', true)").await?;
    let statement = tx
        .prepare_cached(
            // across tenants: only the newest id is read, to wake those who follow the journal
            "SELECT coalesce(max(id), 0), \
                 coalesce(max(xid) FILTER (WHERE xid < pg_snapshot_xmin(pg_current_snapshot())::text::bigint), 0) \
             FROM (SELECT id, xid FROM journal ORDER BY id DESC LIMIT 256) AS newest",
        )
        .await?;
    let row = tx.query_one(&statement, &[]).await?;
    let last = (row.try_get(0)?, row.try_get(1)?);
    tx.commit().await?;
    Ok(last)
}
