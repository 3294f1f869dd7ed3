//! One page of a revocation: a transaction that takes so many devices and remembers how far it came.

use std::collections::{BTreeMap, BTreeSet};

use fleetward_base::{DeviceId, Timestamp, limits};
use fleetward_core::journal::{Action, Actor, Entry, Severity};
use fleetward_core::lifecycle;
use fleetward_core::revocation::{Kind, Status, Target, suspended};
use fleetward_store::{HeldRow, JournalEntry, RenewalRequestRow, RevocationRow, SelectedRow, TenantTx};
use serde_json::json;

use super::selection::{Page, page_of};
use crate::Ctx;
use crate::error::{Error, Result};
use crate::journal::row_of;
use crate::rotation::{self, Ask};

/// What a page did, for those who are to be told after the commit.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    /// Their sessions end.
    pub(crate) ended: Vec<DeviceId>,
    /// Only the sessions that were made with these certificates end.
    pub(crate) certificates: Vec<HeldRow>,
    /// These are asked for another certificate.
    pub(crate) asked: Vec<RenewalRequestRow>,
    /// There is more to do now.
    pub(crate) more: bool,
}

/// Takes the next page of the revocation `row`, which the transaction holds.
pub(crate) async fn next_batch(tx: &mut TenantTx, ctx: &Ctx, row: RevocationRow, now: Timestamp) -> Result<Batch> {
    let kind: Kind = row.kind.parse().map_err(Error::internal)?;
    let status: Status = row.status.parse().map_err(Error::internal)?;
    let target: Target = serde_json::from_str(&row.target).map_err(Error::internal)?;
    match (kind, status) {
        (_, Status::Finished | Status::Canceled) => Ok(Batch::default()),
        (Kind::Replace, Status::Waiting) if row.due_at.is_some_and(|due| now < due) => Ok(Batch::default()),
        (Kind::Replace, Status::Waiting) => overdue(tx, row, now).await,
        _ => page(tx, ctx, row, (kind, &target), now).await,
    }
}

async fn page(
    tx: &mut TenantTx,
    ctx: &Ctx,
    row: RevocationRow,
    (kind, target): (Kind, &Target),
    now: Timestamp,
) -> Result<Batch> {
    let Page { more, cursor, devices, held } = page_of(tx, target, &row.cursor, limits::REVOCATIONS_PER_BATCH).await?;
    let mut batch = Batch { more, ..Batch::default() };
    let (steps, certificates) = match kind {
        Kind::Revoke if target.is_of_certificates() => {
            batch.certificates = revoke_held(tx, &row, held, now).await?;
            (batch.certificates.len(), batch.certificates.len())
        }
        Kind::Revoke => revoke_devices(tx, &row, &devices, now, &mut batch).await?,
        Kind::Replace => ask(tx, ctx, &row, (&devices, now), &mut batch).await?,
    };
    let status = match (batch.more, kind) {
        (true, _) => Status::Running,
        (false, Kind::Replace) => Status::Waiting,
        (false, Kind::Revoke) => Status::Finished,
    };
    let next = RevocationRow {
        done: row.done + u64::try_from(steps).unwrap_or(0),
        certificates: row.certificates + u64::try_from(certificates).unwrap_or(0),
        cursor: if batch.more { cursor.unwrap_or_else(|| row.cursor.clone()) } else { String::new() },
        ..row
    };
    advance(tx, next, status, now).await?;
    Ok(batch)
}

async fn advance(tx: &mut TenantTx, row: RevocationRow, status: Status, now: Timestamp) -> Result<()> {
    let finished_at = (status == Status::Finished).then_some(now);
    let row = RevocationRow { status: status.to_string(), updated_at: now, finished_at, ..row };
    tx.advance_revocation(&row).await?;
    if finished_at.is_some() {
        let detail = json!({ "kind": row.kind, "done": row.done, "certificates": row.certificates });
        let entry = entry(now, Action::RevocationFinished).subject(row.id).severity(Severity::Notice);
        tx.journal(&row_of(&entry.detail(detail))).await?;
    }
    Ok(())
}

fn entry(now: Timestamp, action: Action) -> Entry {
    Entry::done(now, Actor::system("revocations"), action)
}

async fn revoke_held(
    tx: &mut TenantTx,
    row: &RevocationRow,
    held: Vec<HeldRow>,
    now: Timestamp,
) -> Result<Vec<HeldRow>> {
    let serials: Vec<String> = held.into_iter().map(|it| it.serial).collect();
    if serials.is_empty() {
        return Ok(Vec::new());
    }
    let revoked = tx.revoke_serials(&serials, &row.reason, now).await?;
    let entries: Vec<JournalEntry> = revoked
        .iter()
        .map(|it| {
            let detail = json!({ "reason": row.reason, "revocation": row.id.to_string() });
            let entry = entry(now, Action::CertificateRevoked).device(&it.device).subject(&it.serial);
            row_of(&entry.severity(Severity::Warning).detail(detail))
        })
        .collect();
    tx.journal_all(&entries).await?;
    Ok(revoked)
}

/// All certificates and unused tokens of these devices, and their right to connect; how many devices and certificates.
async fn revoke_devices(
    tx: &mut TenantTx,
    row: &RevocationRow,
    devices: &[SelectedRow],
    now: Timestamp,
    batch: &mut Batch,
) -> Result<(usize, usize)> {
    if devices.is_empty() {
        return Ok((0, 0));
    }
    let names: Vec<DeviceId> = devices.iter().map(|it| it.device.clone()).collect();
    let revoked = tx.revoke_certificates_of(&names, &row.reason, now).await?;
    tx.revoke_enroll_tokens_of(&names, now).await?;
    let mut moved: BTreeMap<DeviceId, (&str, &str)> = BTreeMap::new();
    let mut by_status: BTreeMap<&str, Vec<DeviceId>> = BTreeMap::new();
    for it in devices {
        by_status.entry(&it.status).or_default().push(it.device.clone());
    }
    for (from, names) in by_status {
        let status: lifecycle::Status = from.parse().map_err(Error::internal)?;
        let Some(to) = suspended(status) else { continue };
        for name in tx.move_devices(&names, from, to.as_str(), now).await? {
            moved.insert(name, (from, to.as_str()));
        }
    }
    let mut counts: BTreeMap<&DeviceId, u64> = BTreeMap::new();
    for it in &revoked {
        *counts.entry(&it.device).or_default() += 1;
    }
    let touched: BTreeSet<&DeviceId> = moved.keys().chain(counts.keys().copied()).collect();
    let entries: Vec<JournalEntry> = touched
        .iter()
        .map(|device| {
            let (from, to) = moved.get(*device).copied().unzip();
            let detail = json!({
                "from": from,
                "to": to,
                "certificates": counts.get(device).copied().unwrap_or(0),
                "reason": row.reason,
                "revocation": row.id.to_string(),
            });
            let entry = entry(now, Action::DeviceRevoked).device(device).severity(Severity::Warning);
            row_of(&entry.detail(detail))
        })
        .collect();
    tx.journal_all(&entries).await?;
    batch.ended = touched.into_iter().cloned().collect();
    Ok((devices.len(), revoked.len()))
}

/// Marks the certificates of these devices and asks each for another one; they are told after the commit, or when they are
/// back.
async fn ask(
    tx: &mut TenantTx,
    ctx: &Ctx,
    row: &RevocationRow,
    (devices, now): (&[SelectedRow], Timestamp),
    batch: &mut Batch,
) -> Result<(usize, usize)> {
    let Some(due) = row.due_at else { return Err(Error::internal("a replacement without its moment")) };
    if devices.is_empty() {
        return Ok((0, 0));
    }
    let names: Vec<DeviceId> = devices.iter().map(|it| it.device.clone()).collect();
    let marked = tx.mark_replacements(&names, row.id, due).await?;
    let asked: BTreeSet<&DeviceId> = marked.iter().map(|it| &it.device).collect();
    // What may be in other hands gets no grace once the new one was used.
    let how = Ask { reason: row.reason.clone(), at_once: true };
    let id = row.id.to_string();
    for device in asked {
        batch.asked.push(rotation::ask::put(tx, ctx, device, &how, Some(&id), now).await?);
    }
    Ok((devices.len(), marked.len()))
}

/// The moment has come: what was marked and still counts is revoked, page by page. The devices stay what they are.
async fn overdue(tx: &mut TenantTx, row: RevocationRow, now: Timestamp) -> Result<Batch> {
    let held = tx.unreplaced(row.id, &row.cursor, limits::REVOCATIONS_PER_BATCH).await?;
    let more = u32::try_from(held.len()).is_ok_and(|found| found >= limits::REVOCATIONS_PER_BATCH);
    let cursor = held.last().map_or_else(|| row.cursor.clone(), |it| it.serial.clone());
    let certificates = revoke_held(tx, &row, held, now).await?;
    let status = if more { Status::Waiting } else { Status::Finished };
    advance(tx, RevocationRow { cursor, ..row }, status, now).await?;
    Ok(Batch { certificates, more, ..Batch::default() })
}
