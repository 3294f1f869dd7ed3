//! One page of a revocation: a transaction that takes so many devices and remembers how far it came.

use std::collections::{BTreeMap, BTreeSet};

use fleetward_base::{DeviceId, Timestamp, limits};
use fleetward_core::enrolment::Way;
use fleetward_core::journal::{Action, Actor, Entry, Severity};
use fleetward_core::lifecycle;
use fleetward_core::revocation::{Kind, Status, Target, suspended};
use fleetward_store::{HeldRow, JournalEntry, RenewalRequestRow, RevocationRow, SelectedRow, TenantTx};
use serde_json::json;

use super::selection::{Page, page_of};
use crate::Ctx;
use crate::error::{Error, Result};
use crate::journal::row_of;
use crate::provisioning::claims;
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
    /// Serial numbers of claims that ended: connections with them end too.
    pub(crate) claims: Vec<String>,
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

/// A pass over what a target meets. Serial numbers are random, so that what is issued while a revocation is under way may
/// lie behind its cursor; it goes over the whole again until a pass finds nothing. The cursor of a later pass says so with
/// its first letter, which stands in no serial number and no name.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pass {
    first: bool,
    /// Something was revoked in it.
    found: bool,
    after: String,
}

impl Pass {
    const NOTHING_YET: char = '+';
    const FOUND: char = '*';

    fn of(row: &RevocationRow) -> Self {
        let cursor = row.cursor.as_str();
        let later = |found, after: &str| Self { first: false, found, after: after.to_owned() };
        if let Some(after) = cursor.strip_prefix(Self::NOTHING_YET) {
            return later(false, after);
        }
        if let Some(after) = cursor.strip_prefix(Self::FOUND) {
            return later(true, after);
        }
        Self { first: true, found: row.certificates > 0 || row.done > 0, after: cursor.to_owned() }
    }

    /// Where it goes on after a page on which something was `revoked` or not and whose last one is `last`, if there is
    /// more; `None` where all is done.
    fn go_on(&self, more: bool, last: Option<&str>, revoked: bool) -> Option<String> {
        let found = self.found || revoked;
        match (more, self.first) {
            (true, true) => Some(last.unwrap_or(&self.after).to_owned()),
            (true, false) => {
                let sign = if found { Self::FOUND } else { Self::NOTHING_YET };
                Some(format!("{sign}{}", last.unwrap_or(&self.after)))
            }
            (false, _) if found => Some(Self::NOTHING_YET.to_string()),
            (false, _) => None,
        }
    }
}

/// What a revocation is of ends before what came by it: nothing new comes by it from here on.
async fn stop(tx: &mut TenantTx, target: &Target, now: Timestamp) -> Result<Vec<String>> {
    let Target::Claim { source, way } = target else { return Ok(Vec::new()) };
    if !way.is_none_or(|way| way == Way::Claim) {
        return Ok(Vec::new());
    }
    let Some(claim) = tx.claim(source).await? else { return Ok(Vec::new()) };
    let ended = claims::end(tx, &claim, entry(now, Action::ClaimRevoked), now).await?;
    Ok(ended.then_some(claim.serial).into_iter().collect())
}

async fn page(
    tx: &mut TenantTx,
    ctx: &Ctx,
    row: RevocationRow,
    (kind, target): (Kind, &Target),
    now: Timestamp,
) -> Result<Batch> {
    let pass = Pass::of(&row);
    let claims = if kind == Kind::Revoke && row.cursor.is_empty() { stop(tx, target, now).await? } else { Vec::new() };
    let Page { more, cursor, devices, held } = page_of(tx, target, &pass.after, limits::REVOCATIONS_PER_BATCH).await?;
    let mut batch = Batch { more, claims, ..Batch::default() };
    let (steps, certificates) = match kind {
        Kind::Revoke if target.is_of_certificates() => {
            batch.certificates = revoke_held(tx, &row, held, now).await?;
            (batch.certificates.len(), batch.certificates.len())
        }
        Kind::Revoke => revoke_devices(tx, &row, &devices, now, &mut batch).await?,
        Kind::Replace => ask(tx, ctx, &row, (&devices, now), &mut batch).await?,
    };
    let revoked = !batch.certificates.is_empty() || !batch.ended.is_empty();
    let next = match (kind, target) {
        // One thing, or one that is asked once: there is nothing behind.
        (Kind::Replace, _) | (_, Target::Certificate { .. } | Target::Device { .. }) => {
            more.then_some(cursor).flatten()
        }
        (Kind::Revoke, _) => pass.go_on(more, cursor.as_deref(), revoked),
    };
    batch.more = next.is_some();
    let status = match (batch.more, kind) {
        (true, _) => Status::Running,
        (false, Kind::Replace) => Status::Waiting,
        (false, Kind::Revoke) => Status::Finished,
    };
    let after = RevocationRow {
        // What came meanwhile was not among those that there were.
        done: row.done + if pass.first { u64::try_from(steps).unwrap_or(0) } else { 0 },
        certificates: row.certificates + u64::try_from(certificates).unwrap_or(0),
        cursor: next.unwrap_or_default(),
        ..row
    };
    advance(tx, after, status, now).await?;
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

#[cfg(test)]
mod tests {
    use fleetward_base::RevocationId;

    use super::*;

    fn pass(cursor: &str, certificates: u64) -> Pass {
        let id: RevocationId = "00000000-0000-7000-8000-000000000001".parse().expect("a UUID");
        let at = Timestamp::from_secs(1);
        Pass::of(&RevocationRow {
            id,
            kind: "revoke".to_owned(),
            target: "{}".to_owned(),
            reason: "x".to_owned(),
            status: "running".to_owned(),
            total: 0,
            done: certificates,
            certificates,
            cursor: cursor.to_owned(),
            due_at: None,
            created_by: "ops".to_owned(),
            created_at: at,
            updated_at: at,
            finished_at: None,
        })
    }

    /// From one page to the next: what it was, whether it was full, its last one, whether something was revoked on it.
    #[test]
    fn it_goes_over_the_whole_until_a_pass_finds_nothing() {
        for (cursor, before, (more, last, revoked), next) in [
            ("", 0, (true, Some("0a"), true), Some("0a")),
            ("0a", 500, (true, Some("1b"), true), Some("1b")),
            ("1b", 1000, (false, Some("2c"), true), Some("+")),
            // Nothing came behind the cursor.
            ("+", 1200, (true, Some("0a"), false), Some("+0a")),
            ("+0a", 1200, (false, Some("2c"), false), None),
            // Something did: it is revoked, and looked for once more.
            ("+0a", 1200, (true, Some("1b"), true), Some("*1b")),
            ("*1b", 1201, (true, Some("1c"), false), Some("*1c")),
            ("*1c", 1201, (false, None, false), Some("+")),
            ("+", 1201, (false, None, false), None),
            // There is nothing at all.
            ("", 0, (false, None, false), None),
            // The last page of the first pass was empty, the ones before were not.
            ("0a", 500, (false, None, false), Some("+")),
        ] {
            assert_eq!(pass(cursor, before).go_on(more, last, revoked).as_deref(), next, "{cursor:?}");
        }
    }
}
