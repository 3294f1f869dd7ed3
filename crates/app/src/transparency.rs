//! The log of a tenant's certificates: a Merkle tree whose head is signed, with proofs for whoever keeps an old head.
//!
//! Every certificate in the registry gets its place within a second ([`crate::reconcile::transparency`]). A leaf is the
//! certificate itself, so that whoever holds one can prove that it is in the log; the log is the tenant's own and is shown
//! to nobody else. A certificate that an authority of ours signed and that is not there is an alarm
//! (`certificate.unlogged`).

use std::collections::HashMap;
use std::sync::Arc;

use fleetward_base::{TenantId, Timestamp, limits};
use fleetward_core::access::Permission;
use fleetward_pki::checkpoint::{Checkpoint, LogKey};
use fleetward_pki::merkle::{self, Hash, Plan, Tile, Tiles};
use fleetward_store::{LeafRow, LogRow, SealedKeyRow, TenantTx, TileRow};
use fleetward_vault::Purpose;
use parking_lot::RwLock;

use crate::error::{Error, Result};
use crate::{App, Ctx, vault};

/// The purpose of the sealed key.
const KEY: &str = "transparency-log";

/// A log that is open: its name and its key.
pub(crate) struct Log {
    pub(crate) origin: String,
    pub(crate) key: LogKey,
}

/// The open logs.
#[derive(Default)]
pub(crate) struct Logs {
    open: RwLock<HashMap<TenantId, Arc<Log>>>,
}

impl Logs {
    /// Forgets the keys of other tenants than these; for [`vault::refresh`] alone.
    pub(crate) fn keep_opened(&self, of: impl Fn(&TenantId) -> bool) {
        self.open.write().retain(|tenant, _| of(tenant));
    }
}

/// How far a log goes, and by which key that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeadView {
    pub size: u64,
    pub root: Hash,
    /// The signed note (C2SP tlog-checkpoint).
    pub checkpoint: String,
    /// The verifier key of the note.
    pub key: String,
    pub signed_at: Timestamp,
}

/// That a certificate is in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InclusionView {
    pub index: u64,
    pub size: u64,
    pub leaf: Hash,
    pub proof: Vec<Hash>,
    pub certificate: Vec<u8>,
    pub head: HeadView,
}

/// That the log of one size continues that of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsistencyView {
    pub from: u64,
    pub to: u64,
    pub proof: Vec<Hash>,
}

/// One certificate in the order of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeafView {
    pub index: u64,
    pub serial: String,
    pub leaf: Hash,
}

/// The log's key, from memory, from the store, or made.
///
/// # Errors
/// `Unavailable` while the tenant's keys are disabled.
pub(crate) async fn log(app: &App, tenant: &TenantId) -> Result<Arc<Log>> {
    vault::usable(app, tenant).await?;
    if let Some(open) = app.logs().open.read().get(tenant) {
        return Ok(Arc::clone(open));
    }
    let sealed = match stored(app, tenant).await? {
        Some(sealed) => sealed,
        None => {
            make(app, tenant).await?;
            stored(app, tenant).await?.ok_or_else(|| Error::internal("the key that was made is not there"))?
        }
    };
    let opened = app.vault().open(Purpose::SigningKey, &[tenant.as_str(), KEY], &sealed.sealed)?;
    let key = LogKey::from_pkcs8(opened.expose()).map_err(Error::internal)?;
    let mark: String = sealed.public.iter().take(4).map(|byte| format!("{byte:02x}")).collect();
    let open = Arc::new(Log { origin: format!("fleetward.log/{tenant}-{mark}"), key });
    app.logs().open.write().insert(tenant.clone(), Arc::clone(&open));
    Ok(open)
}

async fn stored(app: &App, tenant: &TenantId) -> Result<Option<SealedKeyRow>> {
    app.read(tenant, "log key", |tx: &mut TenantTx| Box::pin(async move { Ok(tx.sealed_key(KEY).await?) })).await
}

async fn make(app: &App, tenant: &TenantId) -> Result<()> {
    let (key, pkcs8) = LogKey::generate();
    let sealed = app.vault().seal(app.rng().as_ref(), Purpose::SigningKey, &[tenant.as_str(), KEY], pkcs8.expose())?;
    let row = SealedKeyRow { purpose: KEY.to_owned(), sealed, public: key.public_bytes(), created_at: app.now() };
    app.write(tenant, "new log key", move |tx: &mut TenantTx| {
        Box::pin(async move {
            // Another server may have been quicker; a log has one key.
            if tx.sealed_key(KEY).await?.is_none() {
                tx.put_sealed_key(&row).await?;
            }
            Ok(())
        })
    })
    .await
}

/// Gives the next certificates their places; how many. What the transaction sees of the log is locked, so that places have
/// no gaps and nobody gets one twice.
pub(crate) async fn append(app: &App, tenant: &TenantId) -> Result<usize> {
    let log = log(app, tenant).await?;
    let now = app.now();
    app.write(tenant, "append to log", move |tx: &mut TenantTx| {
        Box::pin(async move {
            let head = match tx.transparency_log_for_update().await? {
                Some(head) => head,
                None => {
                    let empty = head_of(&log, 0, merkle::empty_root(), now);
                    tx.begin_transparency_log(&empty).await?;
                    empty
                }
            };
            let mut rows = tx.unlogged_certificates(limits::TRANSPARENCY_BATCH).await?;
            if rows.is_empty() {
                return Ok(0);
            }
            let mut tiles = load(tx, merkle::edge(head.size)).await?;
            let leaves: Vec<Hash> = rows.iter().map(|row| merkle::leaf(&row.der)).collect();
            let changed = merkle::append(&mut tiles, head.size, &leaves).map_err(Error::internal)?;
            for (index, row) in (head.size..).zip(&mut rows) {
                row.index = Some(index);
            }
            let size = head.size + u64::try_from(rows.len()).map_err(Error::internal)?;
            let root = merkle::root(&tiles, size).map_err(Error::internal)?;
            let kept: Vec<TileRow> = changed.iter().filter_map(|tile| row_of(&tiles, *tile)).collect();
            tx.put_transparency_tiles(&kept).await?;
            tx.log_certificates(&rows).await?;
            if !tx.grow_transparency_log(&head_of(&log, size, root, now), head.size).await? {
                return Err(Error::internal("the log grew under a lock"));
            }
            Ok(rows.len())
        })
    })
    .await
}

fn head_of(log: &Log, size: u64, root: Hash, now: Timestamp) -> LogRow {
    let checkpoint = Checkpoint { origin: log.origin.clone(), size, root };
    LogRow { size, root: root.to_vec(), checkpoint: log.key.sign(&checkpoint), signed_at: now }
}

fn row_of(tiles: &Tiles, tile: Tile) -> Option<TileRow> {
    let hashes = tiles.get(&tile)?.concat();
    Some(TileRow { level: tile.level, place: tile.place, hashes })
}

async fn load(tx: &mut TenantTx, wanted: impl IntoIterator<Item = Tile>) -> Result<Tiles> {
    let mut tiles = Tiles::new();
    for tile in wanted {
        let Some(row) = tx.transparency_tile(tile.level, tile.place).await? else { continue };
        let hashes = row.hashes.chunks_exact(32).filter_map(|hash| hash.try_into().ok()).collect();
        tiles.insert(tile, hashes);
    }
    Ok(tiles)
}

fn head_view(log: &Log, row: LogRow) -> Result<HeadView> {
    let root = Hash::try_from(row.root.as_slice()).map_err(Error::internal)?;
    let key = log.key.public(&log.origin).to_string();
    Ok(HeadView { size: row.size, root, checkpoint: row.checkpoint, key, signed_at: row.signed_at })
}

/// The head of the tenant's log.
///
/// # Errors
/// `NotFound` before there was a certificate; `Denied`.
pub async fn head(app: &App, ctx: &Ctx, tenant: &TenantId) -> Result<HeadView> {
    ctx.allow(tenant, Permission::EventRead)?;
    let log = log(app, tenant).await?;
    app.read(tenant, "log head", move |tx: &mut TenantTx| {
        Box::pin(async move {
            let row = tx.transparency_log().await?.ok_or(Error::NotFound { what: "log" })?;
            head_view(&log, row)
        })
    })
    .await
}

/// The proof that the certificate of this serial number is in the log as it stands now.
///
/// # Errors
/// `NotFound` where there is no such certificate; `Conflict` (`not-logged-yet`) in the second before it has its place.
pub async fn inclusion(app: &App, ctx: &Ctx, tenant: &TenantId, serial: &str) -> Result<InclusionView> {
    ctx.allow(tenant, Permission::EventRead)?;
    let log = log(app, tenant).await?;
    let serial = serial.to_owned();
    app.read(tenant, "inclusion proof", move |tx: &mut TenantTx| {
        Box::pin(async move {
            let leaf = tx.log_leaf(&serial).await?.ok_or(Error::NotFound { what: "certificate" })?;
            let waits = || Error::conflict("not-logged-yet", "the certificate has no place in the log yet");
            let index = leaf.index.ok_or_else(waits)?;
            let head = head_view(&log, tx.transparency_log().await?.ok_or_else(waits)?)?;
            let plan = Plan::inclusion(index, head.size).map_err(Error::internal)?;
            let proof = plan.prove(&load(tx, plan.tiles()).await?).map_err(Error::internal)?;
            let hash = merkle::leaf(&leaf.der);
            Ok(InclusionView { index, size: head.size, leaf: hash, proof, certificate: leaf.der, head })
        })
    })
    .await
}

/// The proof that the log of `to` certificates (now, where absent) continues that of `from`.
///
/// # Errors
/// `Invalid` for sizes that the log never had.
pub async fn consistency(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    from: u64,
    to: Option<u64>,
) -> Result<ConsistencyView> {
    ctx.allow(tenant, Permission::EventRead)?;
    app.read(tenant, "consistency proof", move |tx: &mut TenantTx| {
        Box::pin(async move {
            let size = tx.transparency_log().await?.map_or(0, |row| row.size);
            let to = to.unwrap_or(size);
            if to > size {
                return Err(Error::invalid("to", format!("the log has {size} certificates")));
            }
            let plan = Plan::consistency(from, to).map_err(|_| Error::invalid("from", "larger than the later size"))?;
            let proof = plan.prove(&load(tx, plan.tiles()).await?).map_err(Error::internal)?;
            Ok(ConsistencyView { from, to, proof })
        })
    })
    .await
}

/// The certificates of the log in its order, from place `from` on: by these anybody can build the tree again.
///
/// # Errors
/// `NotFound`, `Denied`.
pub async fn leaves(app: &App, ctx: &Ctx, tenant: &TenantId, from: u64, limit: u32) -> Result<Vec<LeafView>> {
    ctx.allow(tenant, Permission::EventRead)?;
    let limit = limit.clamp(1, limits::PAGE_ROWS + 1);
    let rows = app
        .read(tenant, "log leaves", move |tx: &mut TenantTx| {
            Box::pin(async move { Ok(tx.log_leaves(from, limit).await?) })
        })
        .await?;
    let view = |row: LeafRow| Some(LeafView { index: row.index?, leaf: merkle::leaf(&row.der), serial: row.serial });
    Ok(rows.into_iter().filter_map(view).collect())
}
