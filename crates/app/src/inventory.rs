//! The manufacturing database: imported, looked at, and held to what makers have signed (requirements I3, I16).
//!
//! An import is read as it arrives and written in units of bounded size; each is its own transaction with its own journal
//! row, and the same file again changes nothing. Rows that are good are taken, those that are not are told by their line.

pub mod makers;

use std::collections::HashMap;
use std::io;

use bytes::Bytes;
use fleetward_base::{DeviceId, TenantId, Timestamp, limits};
use fleetward_core::access::Permission;
use fleetward_core::inventory::import::{Fault, Format, Import};
use fleetward_core::inventory::{InventoryRow as Row, RootOfTrust};
use fleetward_core::journal::{Action, Severity};
use fleetward_pki::jws::{Jws, VerifyingKey};
use fleetward_store::TenantTx;
use futures::{Stream, StreamExt};
use serde_json::{Map, Value, json};

use crate::error::{Error, Result};
use crate::journal::record;
use crate::{App, Ctx};

pub use fleetward_store::{InventoryFilter, InventoryRow, MakerRow};

/// What came of an import.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    pub added: u64,
    pub changed: u64,
    pub unchanged: u64,
    /// By line; the first of them.
    pub faults: Vec<Fault>,
    /// How many there were in all.
    pub faulty: u64,
}

impl Imported {
    fn blame(&mut self, fault: Fault) {
        self.faulty += 1;
        if self.faults.len() < limits::INVENTORY_FAULTS_TOLD {
            self.faults.push(fault);
        }
    }
}

/// Takes the rows of an import; with `dry_run` nothing is written, and everything else is as it would be.
///
/// # Errors
/// `Invalid` for a head line that cannot be read, before any row is taken; `TooLarge`, `Conflict` (`inventory-full`) and
/// faults of the connection with what was taken until then kept: sent again, it goes on.
pub async fn import_inventory<S>(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    format: Format,
    mut body: S,
    dry_run: bool,
) -> Result<Imported>
where
    S: Stream<Item = io::Result<Bytes>> + Send + Unpin,
{
    ctx.allow(tenant, Permission::InventoryImport)?;
    let bad_head = |error: fleetward_core::inventory::import::BadHead| Error::invalid("", error.to_string());
    let (mut import, mut read, mut lines) = (Import::new(format), 0_u64, Vec::new());
    let (mut outcome, mut unit) = (Imported::default(), Vec::new());
    let mut keys = Keys::default();
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(|_| Error::invalid("", "the import broke off"))?;
        read = read.saturating_add(piece.len() as u64);
        if read > limits::INVENTORY_IMPORT_BYTES {
            return Err(Error::TooLarge { what: "the import", limit: limits::INVENTORY_IMPORT_BYTES });
        }
        // A large piece must not become a large list.
        for part in piece.chunks(limits::INVENTORY_ROW_BYTES) {
            import.feed(part, &mut lines).map_err(bad_head)?;
            for line in lines.drain(..) {
                take(&mut unit, &mut outcome, line);
            }
            if unit.len() >= limits::INVENTORY_ROWS_PER_UNIT {
                write(app, ctx, tenant, std::mem::take(&mut unit), dry_run, &mut keys, &mut outcome).await?;
            }
        }
    }
    import.finish(&mut lines).map_err(bad_head)?;
    for line in lines {
        take(&mut unit, &mut outcome, line);
    }
    write(app, ctx, tenant, unit, dry_run, &mut keys, &mut outcome).await?;
    Ok(outcome)
}

fn take(unit: &mut Vec<(u64, Row)>, outcome: &mut Imported, line: Result<(u64, Row), Fault>) {
    match line {
        Ok(row) => unit.push(row),
        Err(fault) => outcome.blame(fault),
    }
}

/// Keys of makers, as far as they were looked for; a maker without one is known too.
#[derive(Default)]
struct Keys(HashMap<String, Option<(String, VerifyingKey)>>);

impl Keys {
    async fn of(&mut self, app: &App, tenant: &TenantId, maker: &str) -> Result<Option<&(String, VerifyingKey)>> {
        // Hostile files name a maker on each line.
        if self.0.len() > limits::INVENTORY_FAULTS_TOLD {
            self.0.clear();
        }
        if !self.0.contains_key(maker) {
            let name = maker.to_owned();
            let row = app.read(tenant, "maker", move |tx| Box::pin(async move { Ok(tx.maker(&name).await?) })).await?;
            let key = match row {
                None => None,
                Some(row) => Some((row.key_id, VerifyingKey::from_spki(&row.public_key).map_err(Error::internal)?)),
            };
            self.0.insert(maker.to_owned(), key);
        }
        Ok(self.0.get(maker).and_then(Option::as_ref))
    }
}

/// Writes one unit.
async fn write(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    unit: Vec<(u64, Row)>,
    dry_run: bool,
    keys: &mut Keys,
    outcome: &mut Imported,
) -> Result<()> {
    let mut rows = Vec::with_capacity(unit.len());
    for (line, row) in unit {
        match attested(app, tenant, &row, keys).await? {
            Ok(attested_by) => rows.push((line, stored(row, attested_by, app.now()))),
            Err(why) => outcome.blame(Fault { line, field: Some("attestation"), why }),
        }
    }
    if rows.is_empty() {
        return Ok(());
    }
    let (ctx_in, now) = (ctx.clone(), app.now());
    let done = if dry_run {
        app.read(tenant, "check inventory", move |tx| unit_work(tx, rows, ctx_in, now, dry_run)).await?
    } else {
        app.write(tenant, "import inventory", move |tx| unit_work(tx, rows, ctx_in, now, dry_run)).await?
    };
    outcome.added += done.added;
    outcome.changed += done.changed;
    outcome.unchanged += done.unchanged;
    for fault in done.faults {
        outcome.blame(fault);
    }
    Ok(())
}

fn unit_work(
    tx: &mut TenantTx,
    rows: Vec<(u64, InventoryRow)>,
    ctx: Ctx,
    now: Timestamp,
    dry_run: bool,
) -> futures::future::BoxFuture<'_, Result<Imported>> {
    Box::pin(async move {
        let mut done = Imported::default();
        let mut room = limits::INVENTORY_ROWS.saturating_sub(tx.count_inventory().await?);
        for (line, row) in rows {
            let before = tx.inventory(&row.serial).await?;
            let holder = tx.inventory_by_device(&row.device).await?;
            if let Some(other) = holder.filter(|other| other.serial != row.serial) {
                let why = format!("the device {} is already that of serial number {}", row.device, other.serial);
                done.blame(Fault { line, field: Some("device"), why });
                continue;
            }
            match before {
                Some(before) if same(&before, &row) => {
                    done.unchanged += 1;
                    continue;
                }
                Some(before) => {
                    done.changed += 1;
                    let row = InventoryRow { imported_at: before.imported_at, ..row };
                    if !dry_run {
                        tx.put_inventory(&row).await?;
                    }
                }
                None => {
                    room = room.checked_sub(1).ok_or_else(|| {
                        let most = limits::INVENTORY_ROWS;
                        Error::conflict("inventory-full", format!("the inventory holds {most} rows already"))
                    })?;
                    done.added += 1;
                    if !dry_run {
                        tx.put_inventory(&row).await?;
                    }
                }
            }
        }
        if !dry_run && done.added + done.changed > 0 {
            let detail = json!({ "added": done.added, "changed": done.changed });
            record(tx, &ctx.done(now, Action::InventoryImported).detail(detail)).await?;
        }
        Ok(done)
    })
}

/// The key under which the row's statement holds; none where its maker has no key here or it has no statement.
async fn attested(
    app: &App,
    tenant: &TenantId,
    row: &Row,
    keys: &mut Keys,
) -> Result<std::result::Result<Option<String>, String>> {
    let (Some(statement), Some(maker)) = (&row.attestation, &row.maker) else { return Ok(Ok(None)) };
    let Some((key_id, key)) = keys.of(app, tenant, maker).await? else { return Ok(Ok(None)) };
    let holds = || -> std::result::Result<(), String> {
        let jws = Jws::parse(statement).map_err(|error| error.to_string())?;
        let payload = jws.verified(key).map_err(|error| error.to_string())?;
        let claims: Map<String, Value> =
            serde_json::from_slice(payload).map_err(|_| "what was signed is no JSON object".to_owned())?;
        row.agrees(&claims).map_err(|field| format!("what was signed says something else of {field}"))
    };
    Ok(holds().map(|()| Some(key_id.clone())))
}

fn stored(row: Row, attested_by: Option<String>, now: Timestamp) -> InventoryRow {
    InventoryRow {
        serial: row.serial,
        device: row.device,
        class: row.class.map(|class| class.to_string()),
        hardware: row.hardware,
        ek_hash: row.ek_hash,
        batch: row.batch,
        maker: row.maker,
        root_of_trust: row.root_of_trust.map(|root: RootOfTrust| root.to_string()),
        attestation: row.attestation,
        attested_by,
        imported_at: now,
        updated_at: now,
    }
}

fn same(one: &InventoryRow, other: &InventoryRow) -> bool {
    InventoryRow { imported_at: other.imported_at, updated_at: other.updated_at, ..one.clone() } == *other
}

/// A page of the rows that the filter matches, by serial number, after `after`.
pub async fn inventory(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    filter: InventoryFilter,
    after: Option<String>,
    limit: u32,
) -> Result<Vec<InventoryRow>> {
    ctx.allow(tenant, Permission::InventoryRead)?;
    let limit = limit.clamp(1, limits::PAGE_ROWS + 1);
    app.read(tenant, "inventory", move |tx| {
        Box::pin(async move { Ok(tx.inventory_page(&filter, after.as_deref(), limit).await?) })
    })
    .await
}

/// One row.
///
/// # Errors
/// `NotFound`.
pub async fn inventory_row(app: &App, ctx: &Ctx, tenant: &TenantId, serial: &str) -> Result<InventoryRow> {
    ctx.allow(tenant, Permission::InventoryRead)?;
    let serial = serial.to_owned();
    let row =
        app.read(tenant, "inventory row", move |tx| Box::pin(async move { Ok(tx.inventory(&serial).await?) })).await?;
    row.ok_or(NOT_THERE)
}

/// What is known of a device from its making.
///
/// # Errors
/// `NotFound` where the inventory has no row of it.
pub async fn provenance(app: &App, ctx: &Ctx, tenant: &TenantId, device: &DeviceId) -> Result<InventoryRow> {
    ctx.allow(tenant, Permission::InventoryRead)?;
    let device = device.clone();
    let row = app
        .read(tenant, "provenance", move |tx| Box::pin(async move { Ok(tx.inventory_by_device(&device).await?) }))
        .await?;
    row.ok_or(NOT_THERE)
}

/// Takes a row out. A device that came in by it stays.
///
/// # Errors
/// `NotFound`.
pub async fn remove_inventory(app: &App, ctx: &Ctx, tenant: &TenantId, serial: &str) -> Result<()> {
    ctx.allow(tenant, Permission::InventoryRemove)?;
    let (serial, ctx_in, now) = (serial.to_owned(), ctx.clone(), app.now());
    app.write(tenant, "remove inventory", move |tx| {
        Box::pin(async move {
            let row = tx.inventory(&serial).await?.ok_or(NOT_THERE)?;
            tx.remove_inventory(&serial).await?;
            let entry = ctx_in.done(now, Action::InventoryRemoved).subject(&serial).severity(Severity::Notice);
            record(tx, &entry.detail(json!({ "device": row.device }))).await?;
            Ok(())
        })
    })
    .await
}

const NOT_THERE: Error = Error::NotFound { what: "row of the inventory" };
