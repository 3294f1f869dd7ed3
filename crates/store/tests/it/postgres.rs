//! What only PostgreSQL does: row-level security, concurrent transactions, a server that goes and comes back.

use std::sync::Arc;
use std::time::Duration;

use fleetward_base::SystemClock;
use fleetward_store::testing::{Durability, PostgresCluster, TestStore};
use fleetward_store::{Config, Database, OpenError, Store, StoreError, StoreErrorKind};
use tokio::sync::{Barrier, Notify};
use tokio_postgres::NoTls;

use crate::support::{Fixture, device, device_row, entry, tenant};

/// A connection as the owner of the tables, past the store.
async fn raw(on: &TestStore) -> tokio_postgres::Client {
    let Database::Postgres { address, .. } = &on.config.database else { panic!("it is PostgreSQL") };
    let (client, connection) = tokio_postgres::connect(address, NoTls).await.expect("it connects");
    tokio_util::task::TaskTracker::new().spawn(connection);
    client
}

async fn count(client: &tokio_postgres::Client, sql: &str) -> i64 {
    client.query_one(sql, &[]).await.expect("a count").get(0)
}

#[tokio::test]
async fn policies_hold_without_the_statements() {
    let on = Fixture::postgres().await;
    on.write(|tx| Box::pin(async move { tx.insert_device(&device_row("a")).await })).await;
    on.system(|tx| Box::pin(async move { tx.installation().await?.journal(&entry("installation.started")).await }))
        .await;
    let client = raw(&on.under).await;
    for (scope, devices, tenants, journal) in [
        (None, 0, 0, 0),
        (Some(""), 0, 0, 0),
        (Some("acme"), 1, 1, 0),
        (Some("umbrella"), 0, 1, 0),
        (Some("@"), 0, 0, 1),
        (Some("*"), 1, 2, 1),
    ] {
        if let Some(scope) = scope {
            client.execute("SELECT set_config('app.tenant', $1, false)", &[&scope]).await.expect("it is set");
        }
        let seen = (
            count(&client, "SELECT count(*) FROM device").await,
            count(&client, "SELECT count(*) FROM tenant").await,
            count(&client, "SELECT count(*) FROM journal").await,
        );
        assert_eq!(seen, (devices, tenants, journal), "{scope:?}");
    }
    client.batch_execute("SELECT set_config('app.tenant', 'umbrella', false)").await.expect("it is set");
    let foreign = "INSERT INTO artifact (tenant_id, sha256, size, created_at) VALUES ('acme', 'aa', 1, 1)";
    let refused = client.batch_execute(foreign).await.expect_err("the row is another tenant's");
    assert!(refused.as_db_error().expect("the server says so").message().contains("row-level security"));
    assert_eq!(client.execute("UPDATE device SET status = 'lost'", &[]).await.expect("it runs"), 0);
    assert_eq!(client.execute("DELETE FROM device", &[]).await.expect("it runs"), 0);
}

#[tokio::test]
async fn every_table_of_tenants_has_its_policy() {
    let on = TestStore::postgres().await;
    let client = raw(&on).await;
    let bare = client
        .query(
            "SELECT c.relname FROM pg_class AS c JOIN pg_attribute AS a ON a.attrelid = c.oid \
             WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND a.attname = 'tenant_id' \
             AND NOT (c.relrowsecurity AND c.relforcerowsecurity \
                 AND EXISTS (SELECT 1 FROM pg_policy AS p WHERE p.polrelid = c.oid))",
            &[],
        )
        .await
        .expect("the catalogue answers");
    let names: Vec<String> = bare.iter().map(|row| row.get(0)).collect();
    assert!(names.is_empty(), "without row-level security: {names:?}");
}

#[tokio::test]
async fn a_deadlock_breaks_one_unit_and_may_be_tried_again() {
    let on = Fixture::postgres().await;
    on.write(|tx| {
        Box::pin(async move {
            tx.insert_device(&device_row("a")).await?;
            tx.insert_device(&device_row("b")).await
        })
    })
    .await;
    let both_hold_one = Arc::new(Barrier::new(2));
    let crossing = |first: &'static str, second: &'static str| {
        let meet = Arc::clone(&both_hold_one);
        on.store.write(&on.acme, "crossing", move |tx| {
            Box::pin(async move {
                tx.device_for_update(&device(first)).await?;
                meet.wait().await;
                tx.device_for_update(&device(second)).await.map(drop)
            })
        })
    };
    let (one, other): (Result<(), StoreError>, Result<(), StoreError>) =
        tokio::join!(crossing("a", "b"), crossing("b", "a"));
    let broken = one.and(other).expect_err("one of them is broken off");
    assert_eq!((broken.kind, broken.retryable()), (StoreErrorKind::Unavailable, true));
}

#[tokio::test]
async fn a_row_committed_late_is_not_skipped() {
    let on = Fixture::postgres().await;
    let (appended, commit) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (tell, wait) = (Arc::clone(&appended), Arc::clone(&commit));
    let slow = on.write(move |tx| {
        Box::pin(async move {
            let id = tx.journal(&entry("slow")).await?;
            tell.notify_one();
            wait.notified().await;
            Ok(id)
        })
    });
    let following = async {
        appended.notified().await;
        let fast = on.write(|tx| Box::pin(async move { tx.journal(&entry("fast")).await })).await;
        // The fast one has the greater id, but may not be shown yet.
        let seen = on.read(|tx| Box::pin(async move { tx.journal_tail(0, 10).await })).await;
        assert_eq!(seen, []);
        commit.notify_one();
        fast
    };
    let (slow, fast) = tokio::join!(slow, following);
    assert!(slow < fast);
    // Followers are woken although the greatest id is announced already.
    on.settled(2).await;
    let seen = on.read(|tx| Box::pin(async move { tx.journal_tail(0, 10).await })).await;
    assert_eq!(seen.iter().map(|row| row.id).collect::<Vec<_>>(), [slow, fast]);
}

#[tokio::test]
async fn other_servers_are_heard_of() {
    let one = Fixture::postgres().await;
    let other = Store::open(&one.under.config, &SystemClock::new()).await.expect("a second server opens");
    let mut watch = other.watch_journal();
    let id = one.write(|tx| Box::pin(async move { tx.journal(&entry("a")).await })).await;
    let seen = tokio::time::timeout(Duration::from_secs(10), watch.wait_for(|last| *last >= id)).await;
    assert_eq!(*seen.expect("it comes").expect("the store is open"), id);
}

#[tokio::test]
async fn an_abandoned_unit_leaves_nothing() {
    let on = Fixture::postgres().await;
    let written = Arc::new(Notify::new());
    let tell = Arc::clone(&written);
    let unit = on.store.write(&on.acme, "abandoned", move |tx| {
        Box::pin(async move {
            tx.insert_device(&device_row("a")).await?;
            tell.notify_one();
            std::future::pending::<Result<(), StoreError>>().await
        })
    });
    tokio::select! {
        _ = unit => panic!("it never ends"),
        () = written.notified() => {}
    }
    assert_eq!(on.read(|tx| Box::pin(async move { tx.device(&device("a")).await })).await, None);
    on.write(|tx| Box::pin(async move { tx.insert_device(&device_row("a")).await })).await;
}

#[tokio::test]
async fn postgres_gone_and_back() {
    let cluster = PostgresCluster::start(Durability::Full).expect("a cluster of one's own");
    let address = cluster.create_database().expect("a database");
    let store = Store::open(&Config::postgres(address), &SystemClock::new()).await.expect("it opens");
    let insert = |name: &'static str| {
        let store = store.clone();
        async move {
            let acme = tenant("acme");
            store
                .write(&acme, "insert", move |tx| Box::pin(async move { tx.insert_device(&device_row(name)).await }))
                .await
        }
    };
    insert("before").await.expect("it is written");
    cluster.crash().expect("it stops");
    for _ in 0..3 {
        let gone: StoreError = insert("meanwhile").await.expect_err("nobody is there");
        assert_eq!((gone.op, gone.kind), ("insert", StoreErrorKind::Unavailable), "{gone:?}");
    }
    cluster.resume().expect("it starts");
    insert("after").await.expect("it is written");
    let acme = tenant("acme");
    let kept = store.read(&acme, "read", |tx| {
        Box::pin(async move {
            let before = tx.device(&device("before")).await?;
            Ok::<_, StoreError>((before, tx.device(&device("meanwhile")).await?))
        })
    });
    assert_eq!(kept.await.expect("it is read"), (Some(device_row("before")), None));
}

#[tokio::test]
async fn tls_is_checked() {
    let cluster = PostgresCluster::start(Durability::None).expect("a cluster of one's own");
    let address = cluster.create_database().expect("a database");
    let name = address.rsplit('/').next().expect("a name").to_owned();
    let (ours, other) = (authority(), authority());
    let key = rcgen::KeyPair::generate().expect("a key");
    let server = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("a name");
    let server = server.signed_by(&key, &ours.1).expect("a certificate");
    let port = cluster.listen_with_tls(&server.pem(), &key.serialize_pem()).expect("it listens");

    let folder = tempfile::tempdir().expect("a folder");
    let open = |host: &str, mode: &str, ca: Option<&rcgen::Certificate>| {
        let ca_file = ca.map(|ca| {
            let path = folder.path().join("ca.pem");
            std::fs::write(&path, ca.pem()).expect("it is written");
            path
        });
        let address = format!("postgres://fleetward@{host}:{port}/{name}?sslmode={mode}");
        let config = Config { database: Database::Postgres { address, ca_file }, connections: 2 };
        async move { Store::open(&config, &SystemClock::new()).await }
    };
    open("127.0.0.1", "require", Some(&ours.0)).await.expect("the certificate is good");
    for (why, refused) in [
        ("another authority", open("127.0.0.1", "require", Some(&other.0)).await),
        ("not one of the system's", open("127.0.0.1", "require", None).await),
        ("another name", open("localhost", "require", Some(&ours.0)).await),
        ("the server wants TLS", open("127.0.0.1", "disable", None).await),
    ] {
        let error = refused.err().unwrap_or_else(|| panic!("{why}: it was let in"));
        assert!(matches!(error, OpenError::Database(_)), "{why}: {error:?}");
    }
}

fn authority() -> (rcgen::Certificate, rcgen::Issuer<'static, rcgen::KeyPair>) {
    let mut params = rcgen::CertificateParams::new(Vec::<String>::new()).expect("no name is needed");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().expect("a key");
    let certificate = params.self_signed(&key).expect("a certificate");
    (certificate, rcgen::Issuer::new(params, key))
}
