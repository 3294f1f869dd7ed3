//! SQLite and PostgreSQL behind one seam.
//!
//! Everything happens in units of work: `store.write(&tenant, "name of it", |tx| Box::pin(async move { .. }))` runs the
//! closure in one transaction and answers when it is durable. Rows are plain structs of this crate; what they mean is
//! decided above. The statements are constants in the portable subset of both engines (`docs/adr/0002-sql-engines.md`).
//!
//! To add a method: put it in the file of its noun under `nouns/`, bind `tenant_id = $1` in the statement, and give it a
//! line in the contract suite (`tests/it/contract/`), which runs on both engines. To add a table, follow
//! `docs/guides/adding-a-table.md`.

mod conn;
mod engine;
mod error;
mod migrate;
mod nouns;
mod sql;
mod store;
#[cfg(feature = "testing")]
pub mod testing;
mod tx;

pub use error::{OpenError, StoreError, StoreErrorKind};
pub use nouns::*;
pub use store::{Config, Database, Store};
pub use tx::{SystemTx, TenantTx};
