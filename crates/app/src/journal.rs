//! The journal: time line of a device, audit log of a tenant, and feed of events, in one append-only table.

use fleetward_base::{TenantId, limits};
use fleetward_core::access::Permission;
use fleetward_core::journal::{Actor, Entry, GENESIS, Link, verify};
use fleetward_store::{JournalEntry, JournalRow, TenantTx};

use crate::error::{Error, Result};
use crate::{App, Ctx};

pub use fleetward_store::JournalFilter;

/// An entry with its place. `seq` counts a tenant's entries without a gap once it is sealed.
#[derive(Clone, Debug)]
pub struct Event {
    pub id: i64,
    pub seq: Option<u64>,
    pub entry: Entry,
}

/// What a walk along the chain found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verification {
    /// Sealed entries that follow from their predecessors.
    pub verified: u64,
    /// The first that does not; everything from there on proves nothing.
    pub broken_at: Option<u64>,
    /// The last link that holds: whoever keeps it can prove later that nothing before it changed.
    pub head: Link,
}

/// Appends an entry in the transaction of the change that it tells of.
pub(crate) async fn record(tx: &mut TenantTx, entry: &Entry) -> Result<i64> {
    Ok(tx.journal(&row_of(entry)).await?)
}

pub(crate) fn row_of(entry: &Entry) -> JournalEntry {
    JournalEntry {
        at: entry.at,
        actor_kind: entry.actor.kind.to_string(),
        actor: entry.actor.name.clone(),
        action: entry.action.to_string(),
        device: entry.device.clone(),
        subject: entry.subject.clone(),
        outcome: entry.outcome.to_string(),
        severity: entry.severity.to_string(),
        detail: entry.detail.to_string(),
        request_id: entry.request_id,
    }
}

pub(crate) fn entry_of(row: JournalEntry) -> Result<Entry> {
    Ok(Entry {
        at: row.at,
        actor: Actor { kind: row.actor_kind.parse().map_err(Error::internal)?, name: row.actor },
        action: row.action.parse().map_err(Error::internal)?,
        device: row.device,
        subject: row.subject,
        outcome: row.outcome.parse().map_err(Error::internal)?,
        severity: row.severity.parse().map_err(Error::internal)?,
        detail: serde_json::from_str(&row.detail).map_err(Error::internal)?,
        request_id: row.request_id,
    })
}

pub(crate) fn event_of(row: JournalRow) -> Result<Event> {
    Ok(Event { id: row.id, seq: row.seq, entry: entry_of(row.entry)? })
}

/// A page of the journal, newest first, before `before`.
pub async fn events(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    filter: JournalFilter,
    before: Option<i64>,
    limit: u32,
) -> Result<Vec<Event>> {
    ctx.allow(tenant, Permission::EventRead)?;
    let limit = limit.clamp(1, limits::PAGE_ROWS + 1);
    let rows = app
        .read(tenant, "events", move |tx| Box::pin(async move { Ok(tx.journal_page(&filter, before, limit).await?) }))
        .await?;
    rows.into_iter().map(event_of).collect()
}

/// What came after `after`, oldest first: the feed of a stream that resumes.
pub async fn events_after(app: &App, ctx: &Ctx, tenant: &TenantId, after: i64, limit: u32) -> Result<Vec<Event>> {
    ctx.allow(tenant, Permission::EventRead)?;
    let limit = limit.clamp(1, limits::PAGE_ROWS);
    let rows = app
        .read(tenant, "events after", move |tx| Box::pin(async move { Ok(tx.journal_tail(after, limit).await?) }))
        .await?;
    rows.into_iter().map(event_of).collect()
}

/// Where a stream begins that asks for what comes from now on.
pub async fn events_head(app: &App, ctx: &Ctx, tenant: &TenantId) -> Result<i64> {
    ctx.allow(tenant, Permission::EventRead)?;
    app.read(tenant, "events head", |tx| Box::pin(async move { Ok(tx.journal_head().await?) })).await
}

/// Walks the whole chain of a tenant and says how far it holds.
pub async fn verify_journal(app: &App, ctx: &Ctx, tenant: &TenantId) -> Result<Verification> {
    ctx.allow(tenant, Permission::EventRead)?;
    let (mut head, mut verified) = (GENESIS, 0_u64);
    loop {
        let rows = app
            .read(tenant, "sealed page", move |tx| {
                Box::pin(async move { Ok(tx.sealed_page(verified, limits::PAGE_ROWS).await?) })
            })
            .await?;
        if rows.is_empty() {
            return Ok(Verification { verified, broken_at: None, head });
        }
        let mut page = Vec::with_capacity(rows.len());
        for (expected, row) in (verified + 1..).zip(rows) {
            let link: Option<Link> = row.chain.as_deref().and_then(|link| link.try_into().ok());
            let sealed = row.seq.filter(|seq| *seq == expected).and(link);
            // A row that cannot be read as what it was is a row that was changed.
            match (sealed, entry_of(row.entry)) {
                (Some(link), Ok(entry)) => page.push((entry, link)),
                _ => {
                    page.truncate(usize::try_from(expected - verified - 1).unwrap_or(usize::MAX));
                    return Ok(match check(head, tenant, verified, &page) {
                        Ok((head, verified)) => Verification { verified, broken_at: Some(expected), head },
                        Err(broken) => broken,
                    });
                }
            }
        }
        match check(head, tenant, verified, &page) {
            Ok(reached) => (head, verified) = reached,
            Err(broken) => return Ok(broken),
        }
    }
}

fn check(head: Link, tenant: &TenantId, verified: u64, page: &[(Entry, Link)]) -> Result<(Link, u64), Verification> {
    let length = u64::try_from(page.len()).unwrap_or(u64::MAX);
    match verify(head, tenant, verified + 1, page.iter().map(|(entry, link)| (entry, link))) {
        Ok(head) => Ok((head, verified + length)),
        Err(broken) => Err(Verification { verified: broken - 1, broken_at: Some(broken), head }),
    }
}
