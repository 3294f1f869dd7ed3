//! Signs the lists of revoked certificates ahead.
//!
//! A list is due when something was revoked that is not on it, and when it was made a seventh of its life ago. What is on
//! it is read in one moment together with what waits for it, signed outside of any transaction, and kept only if nobody
//! kept a newer one meanwhile. Numbers grow by one, and a list never says that it is older than the one before it, also
//! where the clock went back. Nothing but the readers of lists depends on this.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use fleetward_base::{TenantId, Timestamp, limits};
use fleetward_pki::Serial;
use fleetward_pki::crl::{self, List, Reason, Revoked, shards};
use fleetward_store::{CrlRow, CrlState, PendingRow, RevokedRow, SystemTx, TenantTx};
use parking_lot::Mutex;

use crate::error::{Error, Result};
use crate::identity_policy::identity_policy;
use crate::publication::{Ca, list_url, refresh};
use crate::{App, authority};

/// Lists that nobody revoked anything for are looked at this often.
const FULL_LOOK_EVERY: std::time::Duration = std::time::Duration::from_secs(60);
/// A list is made anew after this part of its life.
const RENEW_AFTER: u32 = 7;
/// How long a list of the installation's own authorities counts.
const OWN_LIFE: std::time::Duration = std::time::Duration::from_secs(7 * 24 * 3600);

/// When all lists were last looked at (monotonic).
#[derive(Debug, Default)]
pub(crate) struct Looked(Mutex<Option<std::time::Duration>>);

impl Looked {
    /// There is an authority that had no list yet: all are looked at in the next turn.
    pub(crate) fn forget(&self) {
        *self.0.lock() = None;
    }
}

/// What one turn did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CrlStatus {
    pub signed: usize,
    /// Certificates that are on their lists from now on.
    pub listed: usize,
    /// Tenants whose lists could not be made; the next turn tries again.
    pub failed: usize,
}

/// A list that is to be signed.
struct Draft {
    label: String,
    before: Option<CrlState>,
    entries: Vec<Revoked>,
}

/// One turn.
///
/// # Errors
/// Where the store does not answer.
pub async fn tick(app: &App) -> Result<CrlStatus> {
    let pending: BTreeSet<TenantId> = app
        .store()
        .system_read("pending lists", |tx: &mut SystemTx| {
            Box::pin(async move { Ok::<_, Error>(tx.crl_pending_tenants().await?) })
        })
        .await?
        .into_iter()
        .collect();
    let now = app.clock().monotonic();
    let full = app.looked().0.lock().is_none_or(|last| now.saturating_sub(last) >= FULL_LOOK_EVERY);
    if !full && pending.is_empty() {
        return Ok(CrlStatus::default());
    }
    refresh(app).await?;
    let mut by_tenant: BTreeMap<Option<TenantId>, Vec<Arc<Ca>>> = BTreeMap::new();
    for ca in app.publication().all() {
        by_tenant.entry(ca.tenant.clone()).or_default().push(ca);
    }
    let mut status = CrlStatus::default();
    for (tenant, authorities) in by_tenant {
        let made = match &tenant {
            Some(tenant) if full || pending.contains(tenant) => of_tenant(app, tenant, &authorities).await,
            Some(_) => continue,
            None => own(app, &authorities).await,
        };
        match made {
            Ok((signed, listed)) => {
                status.signed += signed;
                status.listed += listed;
            }
            Err(error) => {
                status.failed += 1;
                tracing::warn!(tenant = ?tenant, %error, "the lists of revoked certificates could not be made");
            }
        }
    }
    if full && status.failed == 0 {
        *app.looked().0.lock() = Some(now);
    }
    Ok(status)
}

async fn of_tenant(app: &App, tenant: &TenantId, authorities: &[Arc<Ca>]) -> Result<(usize, usize)> {
    let now = app.now();
    let life = identity_policy(app, tenant).await?.revocation.crl_life();
    // Shards are named by their URL in certificates: without one nobody would find them.
    let may_shard = app.settings()?.pki_url.is_some();
    let fingerprints: Vec<String> = authorities.iter().map(|ca| ca.fingerprint.clone()).collect();
    let (drafts, pending, digits) = app
        .read(tenant, "draft lists", move |tx: &mut TenantTx| {
            Box::pin(async move {
                let digits = cut(tx, may_shard).await?;
                let pending = tx.crl_pending(limits::CRL_PENDING_PER_LOOK).await?;
                let mut drafts = Vec::new();
                for fingerprint in fingerprints {
                    let of = draft(tx, &fingerprint, &pending, digits, (now, life)).await?;
                    drafts.push((fingerprint, of));
                }
                Ok((drafts, pending, digits))
            })
        })
        .await?;
    let mut rows = Vec::new();
    for (fingerprint, of) in drafts {
        let Some(ca) = authorities.iter().find(|ca| ca.fingerprint == fingerprint).filter(|_| !of.is_empty()) else {
            continue;
        };
        match sign(app, ca, of, now, life).await {
            Ok(signed) => rows.extend(signed),
            Err(error) if is_without_key(&error) => {}
            Err(error) => return Err(error),
        }
    }
    for ca in authorities {
        let here = pending.iter().filter(|row| row.authority == ca.fingerprint);
        let serials = here.filter_map(|row| Serial::from_hex(&row.serial));
        app.publication().answers.expect(ca, serials.map(|serial| ca.cert_id(&serial)));
    }
    let (signed, listed) = (rows.len(), pending.len());
    if signed > 0 || listed > 0 {
        app.write(tenant, "keep lists", move |tx: &mut TenantTx| {
            Box::pin(async move { keep(tx, &rows, &pending).await })
        })
        .await?;
    }
    app.publication().set_digits(tenant, digits);
    Ok((signed, listed))
}

/// The cut that a tenant's lists are made in.
pub(crate) async fn cut(tx: &mut TenantTx, may_shard: bool) -> Result<usize> {
    let issued = tx.transparency_log().await?.map_or(0, |row| row.size);
    Ok(if may_shard { shards::digits(issued) } else { 0 })
}

/// The lists of an authority that certificates with these serial numbers stand on.
pub(crate) fn lists_with<'a>(serials: impl Iterator<Item = &'a str>, digits: usize) -> BTreeSet<&'a str> {
    serials.flat_map(|serial| (0..=digits).map(move |cut| shards::label(serial, cut))).collect()
}

/// What is due of one authority, with what will be on it, all of one moment.
async fn draft(
    tx: &mut TenantTx,
    fingerprint: &str,
    pending: &[PendingRow],
    digits: usize,
    (now, life): (Timestamp, std::time::Duration),
) -> Result<Vec<Draft>> {
    let states: BTreeMap<String, CrlState> =
        tx.crl_states(fingerprint).await?.into_iter().map(|state| (state.label.clone(), state)).collect();
    let serials = pending.iter().filter(|row| row.authority == fingerprint).map(|row| row.serial.as_str());
    let dirty = lists_with(serials, digits);
    let is_due = |label: &String| {
        dirty.contains(label.as_str())
            || states.get(label).is_none_or(|state| now.since(state.this_update) >= life / RENEW_AFTER)
    };
    let due: Vec<String> = shards::labels(digits).into_iter().filter(is_due).collect();
    // RFC 5280 §3.3: one that expired stays until it stood on a list that was made after its end.
    let since = due.iter().filter_map(|label| states.get(label)).map(|state| state.this_update).min().unwrap_or(now);
    let mut tails: BTreeMap<String, Vec<Revoked>> = BTreeMap::new();
    for tail in due.iter().flat_map(|label| shards::tails(label)).collect::<BTreeSet<_>>() {
        let rows = tx.revoked_with_tail(fingerprint, &tail, since, limits::CRL_ENTRIES_PER_TAIL).await?;
        if !rows.is_empty() {
            tails.insert(tail, rows.into_iter().filter_map(revoked).collect());
        }
    }
    Ok(due
        .into_iter()
        .map(|label| {
            let entries = shards::tails(&label).iter().filter_map(|tail| tails.get(tail)).flatten().cloned().collect();
            Draft { before: states.get(&label).cloned(), label, entries }
        })
        .collect())
}

fn revoked(row: RevokedRow) -> Option<Revoked> {
    let reason = Reason::of_words(row.reason.as_deref().unwrap_or_default());
    Some(Revoked { serial: Serial::from_hex(&row.serial)?, at: row.revoked_at, reason })
}

/// Its key was destroyed when nothing rested on it any more, or was never here: its last list stays, and no other one's
/// waits for it.
fn is_without_key(error: &Error) -> bool {
    matches!(error, Error::NotFound { what: "authority" })
}

async fn sign(
    app: &App,
    ca: &Ca,
    drafts: Vec<Draft>,
    now: Timestamp,
    life: std::time::Duration,
) -> Result<Vec<CrlRow>> {
    let opened = authority::opened(app, ca.tenant.as_ref(), &ca.fingerprint).await?;
    let base = app.settings()?.pki_url.as_deref();
    let mut rows = Vec::with_capacity(drafts.len());
    for draft in drafts {
        let (number, this_update) = match &draft.before {
            Some(before) => (before.number + 1, Timestamp::max(now, before.this_update)),
            None => (1, now),
        };
        let next_update = this_update.plus(life);
        let url = base.filter(|_| !draft.label.is_empty()).map(|base| list_url(base, ca.mark(), &draft.label));
        let entries = u64::try_from(draft.entries.len()).unwrap_or(u64::MAX);
        let lines = draft.entries;
        let signing = opened.sign(move |issuer| {
            crl::sign(&List { number, this_update, next_update, entries: &lines, url: url.as_deref() }, issuer)
        });
        let der = signing.await?.map_err(Error::internal)?;
        let authority = ca.fingerprint.clone();
        rows.push(CrlRow { authority, label: draft.label, number, this_update, next_update, entries, der });
    }
    Ok(rows)
}

/// All or nothing: where another server kept a list with the same number, it may lack what this one has.
async fn keep(tx: &mut TenantTx, rows: &[CrlRow], pending: &[PendingRow]) -> Result<()> {
    for row in rows {
        if !tx.put_crl(row).await? {
            return Err(Error::conflict("list-changed", "another server made the list at the same moment"));
        }
    }
    if !pending.is_empty() {
        tx.crl_listed(pending).await?;
    }
    Ok(())
}

/// Root and the like: what they revoke are authorities.
async fn own(app: &App, authorities: &[Arc<Ca>]) -> Result<(usize, usize)> {
    let now = app.now();
    let revoked = app
        .store()
        .system_read("revoked authorities", |tx: &mut SystemTx| {
            Box::pin(async move { Ok::<_, Error>(tx.revoked_authorities().await?) })
        })
        .await?;
    let known = app.publication().all();
    let mut signed = 0;
    for ca in authorities {
        let below = |of: &&fleetward_store::Of<fleetward_store::RevokedAuthorityRow>| {
            known
                .iter()
                .any(|it| it.fingerprint == of.row.fingerprint && it.certificate.issuer == ca.certificate.subject)
        };
        let entries: Vec<Revoked> = revoked
            .iter()
            .filter(below)
            .filter_map(|of| {
                let it = known.iter().find(|it| it.fingerprint == of.row.fingerprint)?;
                let reason = Reason::of_words(of.row.reason.as_deref().unwrap_or_default());
                Some(Revoked { serial: it.certificate.serial.clone(), at: of.row.revoked_at, reason })
            })
            .collect();
        let fingerprint = ca.fingerprint.clone();
        let before = app
            .store()
            .system_read("own list", move |tx: &mut SystemTx| {
                Box::pin(async move {
                    let states = tx.installation().await?.crl_states(&fingerprint).await?;
                    Ok::<_, Error>(states.into_iter().next())
                })
            })
            .await?;
        let count = u64::try_from(entries.len()).unwrap_or(u64::MAX);
        let is_due = before
            .as_ref()
            .is_none_or(|state| state.entries != count || now.since(state.this_update) >= OWN_LIFE / RENEW_AFTER);
        if !is_due {
            continue;
        }
        let rows = match sign(app, ca, vec![Draft { label: String::new(), before, entries }], now, OWN_LIFE).await {
            Err(error) if is_without_key(&error) => continue,
            signed => signed?,
        };
        signed += rows.len();
        app.store()
            .system_write("keep own list", move |tx: &mut SystemTx| {
                Box::pin(async move { keep(tx.installation().await?, &rows, &[]).await })
            })
            .await?;
    }
    Ok((signed, 0))
}
