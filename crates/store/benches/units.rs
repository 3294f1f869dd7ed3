//! Durable units of work a second: read a shadow, write it, append a journal row; 64 callers at once.
//!
//! `cargo bench -p fleetward-store --bench units -- [sqlite] [postgres] [SECONDS]`. SQLite runs as in service
//! (`synchronous=FULL`), PostgreSQL with `fsync=on`; both in the folder for temporary files.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use fleetward_base::{Clock, DeviceId, SystemClock, TenantId, Timestamp};
use fleetward_store::testing::{Durability, PostgresCluster, TestStore};
use fleetward_store::{Config, JournalEntry, ShadowRow, Store, StoreError};
use futures::future::join_all;

const CALLERS: u64 = 64;
const DEVICES: u64 = 1000;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let asked = |engine: &str| {
        words.iter().any(|word| word == engine) || !words.iter().any(|w| w.ends_with('e') || w.ends_with('s'))
    };
    let seconds = words.iter().find_map(|word| word.parse().ok()).unwrap_or(5);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        if asked("sqlite") {
            let under = TestStore::sqlite().await;
            report("sqlite", &under.store, Duration::from_secs(seconds)).await;
            under.store.close().await;
        }
        if asked("postgres") {
            let cluster = PostgresCluster::start(Durability::Full).expect("a cluster");
            let address = cluster.create_database().expect("a database");
            let store = Store::open(&Config::postgres(address), &SystemClock::new()).await.expect("it opens");
            report("postgres", &store, Duration::from_secs(seconds)).await;
            store.close().await;
        }
    });
}

async fn report(engine: &str, store: &Store, span: Duration) {
    let clock = Arc::new(SystemClock::new());
    let done = Arc::new(AtomicU64::new(0));
    let worst = Arc::new(AtomicU64::new(0));
    let start = clock.monotonic();
    let callers = (0..CALLERS).map(|caller| {
        let (store, clock) = (store.clone(), Arc::clone(&clock));
        let (done, worst) = (Arc::clone(&done), Arc::clone(&worst));
        tokio_util::task::TaskTracker::new().spawn(async move {
            let mut number = caller;
            while clock.monotonic() - start < span {
                let before = clock.monotonic();
                unit(&store, number % DEVICES).await.expect("the unit is written");
                number += CALLERS;
                done.fetch_add(1, Ordering::Relaxed);
                let took = u64::try_from((clock.monotonic() - before).as_micros()).expect("not so long");
                worst.fetch_max(took, Ordering::Relaxed);
            }
        })
    });
    join_all(callers).await;
    let took = (clock.monotonic() - start).as_secs_f64();
    let rate = f64::from(u32::try_from(done.load(Ordering::Relaxed)).expect("not so many")) / took;
    let worst = worst.load(Ordering::Relaxed);
    writeln!(std::io::stdout(), "{engine}: {rate:.0} units/s, slowest {worst} us").expect("somebody reads it");
}

async fn unit(store: &Store, number: u64) -> Result<(), StoreError> {
    let acme: TenantId = "acme".parse().expect("a name");
    store
        .write(&acme, "unit", move |tx| {
            Box::pin(async move {
                let device: DeviceId = format!("device-{number}").parse().expect("a name");
                let now = Timestamp::from_secs(1);
                let before = tx.shadow_for_update(&device, "").await?.map(|row| row.version);
                let row = ShadowRow {
                    device: device.clone(),
                    name: String::new(),
                    version: before.unwrap_or(0) + 1,
                    document: r#"{"desired":{"interval":60},"reported":{"interval":30,"level":71}}"#.to_owned(),
                    metadata: r#"{"desired":{"interval":{"timestamp":1}}}"#.to_owned(),
                    deleted_at: None,
                    updated_at: now,
                    changes: 0,
                    watch: None,
                };
                tx.put_shadow(&row, before).await?;
                let entry = JournalEntry {
                    at: now,
                    actor_kind: "device".to_owned(),
                    actor: device.to_string(),
                    action: "shadow.updated".to_owned(),
                    device: Some(device),
                    subject: None,
                    outcome: "success".to_owned(),
                    severity: "info".to_owned(),
                    detail: r#"{"version":1}"#.to_owned(),
                    request_id: None,
                };
                tx.journal(&entry).await.map(drop)
            })
        })
        .await
}
