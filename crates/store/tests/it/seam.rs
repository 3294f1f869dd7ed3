//! What callers see of a store as a value.

use fleetward_store::testing::TestStore;
use fleetward_store::{Config, Database, OpenError, StoreErrorKind};

use crate::support::{Fixture, device_row};

#[test]
fn addresses() {
    for address in ["postgres://u:p@host/db", "postgresql://host/db?sslmode=require"] {
        assert!(matches!(Config::from_address(address).expect("an address").database, Database::Postgres { .. }));
    }
    for address in ["fleetward.db", "sqlite:/var/lib/x.db", "/a/b"] {
        assert!(matches!(Config::from_address(address).expect("a path").database, Database::Sqlite(_)));
    }
    for address in ["", "mysql://host/db", "sqlite:"] {
        assert!(matches!(Config::from_address(address), Err(OpenError::Address { .. })), "{address}");
    }
}

#[tokio::test]
async fn a_bad_postgres_address_is_told_without_its_password() {
    let clock = fleetward_base::ManualClock::at(fleetward_base::Timestamp::EPOCH);
    for address in ["postgres://u:hunter2@host:port/db", "postgres://u:hunter2@127.0.0.1:1/db"] {
        let config = Config::postgres(address);
        let error = fleetward_store::Store::open(&config, &clock).await.expect_err("nobody is there");
        assert!(!format!("{error:?} {error}").contains("hunter2"), "{error:?}");
    }
}

#[tokio::test]
async fn a_closed_store_says_so() {
    for under in [TestStore::sqlite().await, TestStore::postgres().await] {
        let on = Fixture::on(under).await;
        on.store.close().await;
        let late =
            on.store.write(&on.acme, "late", |tx| Box::pin(async move { tx.insert_device(&device_row("a")).await }));
        let late = late.await.expect_err("the store is closed");
        assert_eq!((late.op, late.kind, late.retryable()), ("late", StoreErrorKind::Unavailable, true));
    }
}
