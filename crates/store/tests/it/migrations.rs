//! The checked-in schema is what the migrations make, and a database that is not ours is left alone.
//!
//! After a new migration, `UPDATE_SCHEMA=1 cargo test -p fleetward-store --test it schema` writes `schema/*.sql` anew.

use std::path::{Path, PathBuf};

use fleetward_base::SystemClock;
use fleetward_store::testing::{PostgresCluster, TestStore};
use fleetward_store::{Config, Database, OpenError, Store};
use rusqlite::Connection;

const SQLITE_DUMP: &str = "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%' \
     AND tbl_name <> 'schema_migration' ORDER BY tbl_name, type DESC, name";

fn schema_file(engine: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("schema/{engine}.sql"))
}

/// Compares with the checked-in file, or writes it when told to.
fn check(engine: &str, dump: &str) {
    let path = schema_file(engine);
    let text = format!("-- Made from the migrations, to be read; `migrations/{engine}/` is what is applied.\n\n{dump}");
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(&path, text).expect("the schema is written");
        return;
    }
    let checked_in = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(checked_in, text, "{} is not what the migrations make: see the head of this test", path.display());
}

fn dump_sqlite(file: &Path) -> String {
    let connection = Connection::open(file).expect("it opens");
    let mut statement = connection.prepare(SQLITE_DUMP).expect("it is SQL");
    let rows = statement.query_map((), |row| row.get::<_, String>(0)).expect("it runs");
    rows.map(|sql| format!("{};\n\n", sql.expect("a row"))).collect::<String>().trim_end().to_owned() + "\n"
}

#[tokio::test]
async fn schema_of_sqlite() {
    let migrated = TestStore::sqlite().await;
    migrated.store.close().await;
    let folder = migrated.folder.as_ref().expect("SQLite has one").path();
    let dump = dump_sqlite(&folder.join("fleetward.db"));
    check("sqlite", &dump);

    let fresh = folder.join("fresh.db");
    let text = std::fs::read_to_string(schema_file("sqlite")).expect("it is checked in");
    Connection::open(&fresh).expect("it opens").execute_batch(&text).expect("the schema is SQL");
    assert_eq!(dump_sqlite(&fresh), dump);
}

/// The tables with their columns, constraints, indexes and policies, as statements that make them.
const POSTGRES_DUMP: &str = r#"
WITH tables AS (
    SELECT oid, relname, reloptions, relrowsecurity, relforcerowsecurity FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND relname <> 'schema_migration'
), columns AS (
    SELECT t.oid, string_agg(format('    %I %s%s%s%s', a.attname, format_type(a.atttypid, a.atttypmod),
        CASE WHEN a.attcollation <> y.typcollation THEN ' COLLATE ' || quote_ident(c.collname) ELSE '' END,
        CASE WHEN a.attidentity = 'a' THEN ' GENERATED ALWAYS AS IDENTITY'
             ELSE coalesce(' DEFAULT ' || pg_get_expr(d.adbin, d.adrelid), '') END,
        CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END), E',\n' ORDER BY a.attnum) AS text
    FROM tables AS t JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
    JOIN pg_type AS y ON y.oid = a.atttypid LEFT JOIN pg_collation AS c ON c.oid = a.attcollation
    LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum GROUP BY t.oid
), constraints AS (
    SELECT conrelid AS oid, string_agg(format('    CONSTRAINT %I %s', conname, pg_get_constraintdef(oid)), E',\n'
        ORDER BY contype, conname) AS text
    FROM pg_constraint WHERE connamespace = 'public'::regnamespace GROUP BY conrelid
), lines AS (
    SELECT t.relname AS name, 1 AS part, '' AS detail, format(E'CREATE TABLE %I (\n%s%s\n)%s;', t.relname, c.text,
        coalesce(E',\n' || k.text, ''), coalesce(' WITH (' || array_to_string(t.reloptions, ', ') || ')', '')) AS text
    FROM tables AS t JOIN columns AS c USING (oid) LEFT JOIN constraints AS k USING (oid)
    UNION ALL
    SELECT t.relname, 2, i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid) || ';'
    FROM tables AS t JOIN pg_index AS i ON i.indrelid = t.oid
    WHERE NOT EXISTS (SELECT 1 FROM pg_constraint AS k WHERE k.conindid = i.indexrelid)
    UNION ALL
    SELECT relname, 3, '', format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY;', relname) FROM tables WHERE relrowsecurity
    UNION ALL
    SELECT relname, 4, '', format('ALTER TABLE %I FORCE ROW LEVEL SECURITY;', relname) FROM tables
    WHERE relforcerowsecurity
    UNION ALL
    SELECT t.relname, 5, p.polname, format('CREATE POLICY %I ON %I USING %s;', p.polname, t.relname,
        pg_get_expr(p.polqual, p.polrelid))
    FROM tables AS t JOIN pg_policy AS p ON p.polrelid = t.oid
)
SELECT string_agg(text, E'\n\n' ORDER BY name COLLATE "C", part, detail COLLATE "C") FROM lines
"#;

fn name(config: &Config) -> String {
    let Database::Postgres { address, .. } = &config.database else { panic!("it is PostgreSQL") };
    address.rsplit('/').next().expect("a name").to_owned()
}

#[tokio::test]
async fn schema_of_postgres() {
    let migrated = TestStore::postgres().await;
    let cluster = PostgresCluster::shared();
    let dump = cluster.psql(&name(&migrated.config), POSTGRES_DUMP).expect("the catalogue answers");
    check("postgres", &dump);

    let fresh = cluster.create_database().expect("a database");
    let fresh = name(&Config::postgres(fresh));
    let text = std::fs::read_to_string(schema_file("postgres")).expect("it is checked in");
    cluster.psql(&fresh, &text).expect("the schema is SQL");
    assert_eq!(cluster.psql(&fresh, POSTGRES_DUMP).expect("the catalogue answers"), dump);
}

/// Tables and columns are the same on both engines, but for what only PostgreSQL needs.
#[tokio::test]
async fn both_engines_have_the_same_columns() {
    let sqlite = TestStore::sqlite().await;
    sqlite.store.close().await;
    let file = sqlite.folder.as_ref().expect("SQLite has one").path().join("fleetward.db");
    let connection = Connection::open(file).expect("it opens");
    let mut statement = connection
        .prepare(
            "SELECT m.name || '.' || c.name || CASE WHEN c.\"notnull\" = 1 OR c.pk > 0 THEN ' not null' ELSE '' END \
             FROM sqlite_master AS m JOIN pragma_table_info(m.name) AS c \
             WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite_%' AND m.name <> 'schema_migration'",
        )
        .expect("it is SQL");
    let rows = statement.query_map((), |row| row.get::<_, String>(0)).expect("it runs");
    let mut ours: Vec<String> = rows.collect::<Result<_, _>>().expect("rows");
    ours.push("journal.xid not null".to_owned());
    ours.sort();

    let postgres = TestStore::postgres().await;
    let theirs = PostgresCluster::shared()
        .psql(
            &name(&postgres.config),
            "SELECT table_name || '.' || column_name || CASE is_nullable WHEN 'NO' THEN ' not null' ELSE '' END \
             FROM information_schema.columns WHERE table_schema = 'public' AND table_name <> 'schema_migration'",
        )
        .expect("the catalogue answers");
    let mut theirs: Vec<String> = theirs.lines().map(str::to_owned).collect();
    theirs.sort();
    assert_eq!(ours, theirs);
}

#[tokio::test]
async fn a_newer_or_foreign_database_is_refused() {
    let clock = SystemClock::new();
    let newer = "INSERT INTO schema_migration (version, name, checksum, applied_at) VALUES (999, 'x', 'x', 1)";
    let not_newer = "DELETE FROM schema_migration WHERE version = 999";
    let foreign = "UPDATE schema_migration SET checksum = 'x' WHERE version = 1";

    let on = TestStore::sqlite().await;
    on.store.close().await;
    let TestStore { store, config, folder } = on;
    drop(store);
    let Database::Sqlite(file) = &config.database else { panic!("it is SQLite") };
    let sqlite = |sql: &str| Connection::open(file).expect("it opens").execute_batch(sql).expect("it runs");
    sqlite(newer);
    let error = Store::open(&config, &clock).await.expect_err("it is newer");
    assert!(error.to_string().contains("newer version (schema 999, this program knows up to "), "{error}");
    sqlite(not_newer);
    sqlite(foreign);
    assert!(matches!(Store::open(&config, &clock).await, Err(OpenError::Changed { version: 1 })));
    drop(folder);

    let on = TestStore::postgres().await;
    let database = name(&on.config);
    let postgres = |sql: &str| PostgresCluster::shared().psql(&database, sql).expect("it runs");
    postgres(newer);
    assert!(matches!(Store::open(&on.config, &clock).await, Err(OpenError::Newer { found: 999, .. })));
    postgres(not_newer);
    postgres(foreign);
    assert!(matches!(Store::open(&on.config, &clock).await, Err(OpenError::Changed { version: 1 })));
}

#[tokio::test]
async fn servers_that_start_together_migrate_once() {
    let address = PostgresCluster::shared().create_database().expect("a database");
    let config = Config { connections: 2, ..Config::postgres(address) };
    let clock = SystemClock::new();
    let opened = futures::future::join_all((0..4).map(|_| Store::open(&config, &clock))).await;
    for store in opened {
        store.expect("each of them opens");
    }
}
