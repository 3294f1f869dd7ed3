//! Migrations on their own, with files made up for the purpose.

use fleetward_base::Timestamp;
use rusqlite::Connection;

use super::{Migration, POSTGRES, SQLITE, migrate_postgres, migrate_sqlite};
use crate::engine::postgres::PostgresEngine;
use crate::testing::PostgresCluster;
use crate::{OpenError, StoreErrorKind};

const FIRST: Migration = Migration { version: 1, name: "0001_a", sql: "CREATE TABLE a (id BIGINT PRIMARY KEY)" };
const SECOND: Migration = Migration { version: 2, name: "0002_b", sql: "CREATE TABLE b (id BIGINT PRIMARY KEY)" };
const BROKEN: Migration = Migration {
    version: 3,
    name: "0003_c",
    sql: "CREATE TABLE c (id BIGINT PRIMARY KEY); SELECT nothing FROM nowhere",
};

#[test]
fn numbers_rise_and_names_agree() {
    for known in [SQLITE, POSTGRES] {
        assert!(known.is_sorted_by(|one, next| one.version < next.version), "in the order of their numbers");
        for migration in known {
            assert!(migration.name.starts_with(&format!("{:04}_", migration.version)), "{}", migration.name);
        }
    }
    let names = |known: &[Migration]| known.iter().map(|migration| migration.name).collect::<Vec<_>>();
    assert_eq!(names(SQLITE), names(POSTGRES), "both engines have the same steps");
}

fn tables(connection: &Connection) -> Vec<String> {
    let mut statement =
        connection.prepare("SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name").expect("SQL");
    let rows = statement.query_map((), |row| row.get(0)).expect("it runs");
    rows.collect::<Result<_, _>>().expect("rows")
}

#[test]
fn sqlite_goes_on_where_it_stopped() {
    let mut connection = Connection::open_in_memory().expect("it opens");
    let now = Timestamp::EPOCH;
    migrate_sqlite(&mut connection, &[FIRST], now).expect("the first");
    migrate_sqlite(&mut connection, &[FIRST, SECOND], now).expect("the second");
    migrate_sqlite(&mut connection, &[FIRST, SECOND], now).expect("nothing is left to do");
    assert_eq!(tables(&connection), ["a", "b", "schema_migration"]);

    let broken = migrate_sqlite(&mut connection, &[FIRST, SECOND, BROKEN], now).expect_err("it is broken");
    assert!(matches!(&broken, OpenError::Database(error) if error.kind == StoreErrorKind::Other), "{broken:?}");
    assert_eq!(tables(&connection), ["a", "b", "schema_migration"], "nothing of the broken one is left");

    let older = migrate_sqlite(&mut connection, &[FIRST], now).expect_err("the database is newer");
    assert!(matches!(older, OpenError::Newer { found: 2, known: 1 }));
    let edited = Migration { sql: "CREATE TABLE a (id BIGINT)", ..FIRST };
    let changed = migrate_sqlite(&mut connection, &[edited, SECOND], now).expect_err("the file was edited");
    assert!(matches!(changed, OpenError::Changed { version: 1 }));
}

#[tokio::test]
async fn postgres_goes_on_where_it_stopped() {
    let address = PostgresCluster::shared().create_database().expect("a database");
    let engine = PostgresEngine::open(&address, None, 2, tokio::sync::watch::channel(0).0).await.expect("it opens");
    let mut client = engine.client().await.expect("a connection");
    let now = Timestamp::EPOCH;
    migrate_postgres(&mut client, &[FIRST], now).await.expect("the first");
    migrate_postgres(&mut client, &[FIRST, SECOND], now).await.expect("the second");
    let broken = migrate_postgres(&mut client, &[FIRST, SECOND, BROKEN], now).await.expect_err("it is broken");
    assert!(matches!(&broken, OpenError::Database(error) if error.kind == StoreErrorKind::Other), "{broken:?}");
    migrate_postgres(&mut client, &[FIRST, SECOND], now).await.expect("nothing is left to do");
    let older = migrate_postgres(&mut client, &[FIRST], now).await.expect_err("the database is newer");
    assert!(matches!(older, OpenError::Newer { found: 2, known: 1 }));
}
