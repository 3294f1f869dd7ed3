//! Migrations: numbered SQL files, embedded, applied once and forward only.
//!
//! Each is applied in a transaction of its own together with its line in `schema_migration`, which keeps the SHA-256 of
//! what was applied. A database that is newer than the program, or that was migrated with other files, is refused. To
//! add one, see `docs/guides/adding-a-table.md`; a released file never changes.

use std::fmt::Write;

use aws_lc_rs::digest;
use deadpool_postgres::Object;
use fleetward_base::Timestamp;
use rusqlite::{Connection, TransactionBehavior};

use crate::OpenError;
use crate::engine::{postgres, sqlite};

struct Migration {
    version: u64,
    name: &'static str,
    sql: &'static str,
}

macro_rules! migrations {
    ($engine:literal: $($version:literal $name:literal),+ $(,)?) => {
        &[$(Migration {
            version: $version,
            name: $name,
            sql: include_str!(concat!("../migrations/", $engine, "/", $name, ".sql")),
        }),+]
    };
}

const SQLITE: &[Migration] = migrations!("sqlite":
    1 "0001_initial", 2 "0002_certificate_way", 3 "0003_ways_out", 4 "0004_vault", 5 "0005_issuers",
    6 "0006_rotation", 7 "0007_attestation", 8 "0008_provisioning", 9 "0009_bootstrap", 10 "0010_scep",
    11 "0011_auth_failure", 12 "0012_transfer", 13 "0013_ended_certificates", 14 "0014_lookups",
    15 "0015_mqtt_exactly_once", 16 "0016_token_issuer", 17 "0017_ends", 18 "0018_certified_key",
    19 "0019_transfer_wipe", 20 "0020_claim_code_certificate", 21 "0021_other_certificate",
    22 "0022_vouched_key", 23 "0023_shadow_history", 24 "0024_job", 25 "0025_command", 26 "0026_access_key",
    27 "0027_topic_policy", 28 "0028_hub_message", 29 "0029_other_certificate_tail",
    30 "0030_dynamic_group", 31 "0031_command_template", 32 "0032_server", 33 "0033_retention");
const POSTGRES: &[Migration] = migrations!("postgres":
    1 "0001_initial", 2 "0002_certificate_way", 3 "0003_ways_out", 4 "0004_vault", 5 "0005_issuers",
    6 "0006_rotation", 7 "0007_attestation", 8 "0008_provisioning", 9 "0009_bootstrap", 10 "0010_scep",
    11 "0011_auth_failure", 12 "0012_transfer", 13 "0013_ended_certificates", 14 "0014_lookups",
    15 "0015_mqtt_exactly_once", 16 "0016_token_issuer", 17 "0017_ends", 18 "0018_certified_key",
    19 "0019_transfer_wipe", 20 "0020_claim_code_certificate", 21 "0021_other_certificate",
    22 "0022_vouched_key", 23 "0023_shadow_history", 24 "0024_job", 25 "0025_command", 26 "0026_access_key",
    27 "0027_topic_policy", 28 "0028_hub_message", 29 "0029_other_certificate_tail",
    30 "0030_dynamic_group", 31 "0031_command_template", 32 "0032_server", 33 "0033_retention");

const LEDGER: &str = "CREATE TABLE IF NOT EXISTS schema_migration (\
     version BIGINT PRIMARY KEY, name TEXT NOT NULL, checksum TEXT NOT NULL, applied_at BIGINT NOT NULL)";
const APPLIED: &str = "SELECT version, checksum FROM schema_migration ORDER BY version";
const APPLY: &str = "INSERT INTO schema_migration (version, name, checksum, applied_at) VALUES ($1, $2, $3, $4)";
/// Only one server migrates at a time. The number means nothing else.
const LOCK: &str = "SELECT pg_advisory_xact_lock(4201170731)";

/// A line of `schema_migration`.
struct Applied {
    version: u64,
    checksum: String,
}

pub(crate) fn sqlite(connection: &mut Connection, now: Timestamp) -> Result<(), OpenError> {
    migrate_sqlite(connection, SQLITE, now)
}

fn migrate_sqlite(connection: &mut Connection, known: &[Migration], now: Timestamp) -> Result<(), OpenError> {
    let fault = |error: rusqlite::Error| OpenError::Database(sqlite::fault(&error).during("migrate"));
    connection.execute_batch(LEDGER).map_err(fault)?;
    let applied = {
        let mut statement = connection.prepare(APPLIED).map_err(fault)?;
        let lines = statement
            .query_map((), |row| Ok(Applied { version: row.get::<_, i64>(0)?.unsigned_abs(), checksum: row.get(1)? }));
        lines.and_then(Iterator::collect::<Result<Vec<_>, _>>).map_err(fault)?
    };
    for migration in pending(known, &applied)? {
        let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(fault)?;
        tx.execute_batch(migration.sql).map_err(fault)?;
        let version = i64::try_from(migration.version).unwrap_or(i64::MAX);
        tx.execute(APPLY, (version, migration.name, checksum(migration.sql), now.millis())).map_err(fault)?;
        tx.commit().map_err(fault)?;
        tracing::info!(version, name = migration.name, "migrated");
    }
    Ok(())
}

pub(crate) async fn postgres(client: &mut Object, now: Timestamp) -> Result<(), OpenError> {
    migrate_postgres(client, POSTGRES, now).await
}

/// All that is pending in one transaction, so that a second server that starts waits and then finds it done.
async fn migrate_postgres(client: &mut Object, known: &[Migration], now: Timestamp) -> Result<(), OpenError> {
    let fault = |error: tokio_postgres::Error| OpenError::Database(postgres::fault(&error).during("migrate"));
    let tx = client.transaction().await.map_err(fault)?;
    tx.batch_execute(
        // Rows of all tenants are migrated: the policies of rows bind the owner of the tables too.
        "SET LOCAL lock_timeout = 0; SET LOCAL statement_timeout = 0; SET LOCAL client_min_messages = warning; \
         SET LOCAL app.tenant = '*'",
    )
    .await
    .map_err(fault)?;
    tx.batch_execute(LOCK).await.map_err(fault)?;
    tx.batch_execute(LEDGER).await.map_err(fault)?;
    let lines = tx.query(APPLIED, &[]).await.map_err(fault)?;
    let applied = lines
        .iter()
        .map(|row| Ok(Applied { version: row.try_get::<_, i64>(0)?.unsigned_abs(), checksum: row.try_get(1)? }))
        .collect::<Result<Vec<_>, _>>()
        .map_err(fault)?;
    for migration in pending(known, &applied)? {
        tx.batch_execute(migration.sql).await.map_err(fault)?;
        let version = i64::try_from(migration.version).unwrap_or(i64::MAX);
        tx.execute(APPLY, &[&version, &migration.name, &checksum(migration.sql), &now.millis()])
            .await
            .map_err(fault)?;
        tracing::info!(version, name = migration.name, "migrated");
    }
    tx.commit().await.map_err(fault)
}

/// What is still to apply, once it is sure that what was applied is ours.
fn pending<'m>(known: &'m [Migration], applied: &[Applied]) -> Result<Vec<&'m Migration>, OpenError> {
    let newest = known.iter().map(|migration| migration.version).max().unwrap_or(0);
    if let Some(newer) = applied.iter().map(|line| line.version).max().filter(|found| *found > newest) {
        return Err(OpenError::Newer { found: newer, known: newest });
    }
    for line in applied {
        let ours = known.iter().find(|migration| migration.version == line.version);
        if ours.is_none_or(|migration| checksum(migration.sql) != line.checksum) {
            return Err(OpenError::Changed { version: line.version });
        }
    }
    let done = |migration: &&Migration| applied.iter().any(|line| line.version == migration.version);
    Ok(known.iter().filter(|migration| !done(migration)).collect())
}

fn checksum(sql: &str) -> String {
    let digest = digest::digest(&digest::SHA256, sql.as_bytes());
    digest.as_ref().iter().fold(String::new(), |mut hex, byte| {
        write!(hex, "{byte:02x}").expect("writing to a String does not fail");
        hex
    })
}

#[cfg(test)]
mod tests;
