//! The history of shadows: read by people, thinned out by the server.

use std::collections::{HashMap, HashSet};

use fleetward_base::{DeviceId, TenantId, Timestamp, limits};
use fleetward_core::access::Permission;
use fleetward_core::journal::Actor;
use fleetward_core::shadow::history::{self as rules, Change, Retention};
use fleetward_store::{ShadowEventRow, TenantTx};
use parking_lot::Mutex;
use serde_json::{Map, Value};

use super::{Result, ShadowKey, allow};
use crate::error::Error;
use crate::identity_policy::identity_policy;
use crate::reconcile::for_each_tenant;
use crate::{App, Ctx};

/// So many looks at one shadow are one turn's work.
const LOOKS: usize = 32;
/// So many shadows that grew are one turn's work.
const SHADOWS: usize = 64;

/// One change to a shadow.
#[derive(Clone, Debug, PartialEq)]
pub struct Changed {
    /// Counts the changes to this shadow, and never begins again.
    pub number: u64,
    /// Of the shadow after it.
    pub version: u64,
    pub at: Timestamp,
    pub actor: Actor,
    /// A merge patch over `desired` and `reported`. The oldest that is kept holds the whole document of then.
    pub patch: Map<String, Value>,
}

/// What waits to be thinned out, and how far the walk over everything has come.
#[derive(Debug, Default)]
pub(crate) struct Histories {
    due: Mutex<HashSet<(TenantId, ShadowKey)>>,
    walked: Mutex<HashMap<TenantId, (DeviceId, String)>>,
}

/// A page of a shadow's history, newest first, before the change with the number `before`.
///
/// # Errors
/// `NotFound`, `Denied`. A shadow that never was has no history.
pub async fn history(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    key: &ShadowKey,
    before: Option<u64>,
    limit: u32,
) -> Result<Vec<Changed>> {
    allow(ctx, tenant, &key.device, Permission::ShadowRead)?;
    let (key, limit) = (key.clone(), limit.clamp(1, limits::PAGE_ROWS.saturating_add(1)));
    let rows = app.read(tenant, "shadow history", move |tx| {
        Box::pin(async move { Ok(tx.shadow_history(&key.device, &key.name, before, limit).await?) })
    });
    let changed = rows.await?.into_iter().map(changed_of).collect::<std::result::Result<_, Error>>();
    Ok(changed?)
}

fn changed_of(row: ShadowEventRow) -> std::result::Result<Changed, Error> {
    Ok(Changed {
        number: row.number,
        version: row.version,
        at: row.at,
        actor: Actor { kind: row.actor_kind.parse().map_err(Error::internal)?, name: row.actor },
        patch: serde_json::from_str(&row.patch).map_err(Error::internal)?,
    })
}

/// A shadow has had this many changes: now and then that is a reason to look at its history soon.
pub(super) fn grew(app: &App, tenant: &TenantId, key: &ShadowKey, changes: u64) {
    if changes.checked_rem(limits::SHADOW_HISTORY_SLACK) != Some(0) {
        return;
    }
    let mut due = app.shadows().histories.due.lock();
    if due.len() < limits::SHADOW_HISTORY_WAITING {
        due.insert((tenant.clone(), key.clone()));
    }
}

/// Thins out the histories that grew most lately; how many changes went.
///
/// # Errors
/// What the store cannot do. What was not done is found again by [`walk`].
pub async fn thin_out_grown(app: &App) -> std::result::Result<u64, Error> {
    let grown: Vec<_> = {
        let mut due = app.shadows().histories.due.lock();
        let some: Vec<_> = due.iter().take(SHADOWS).cloned().collect();
        for key in &some {
            due.remove(key);
        }
        some
    };
    let mut gone = 0_u64;
    for (tenant, key) in grown {
        gone = gone.saturating_add(thin_out(app, &tenant, key).await?);
    }
    Ok(gone)
}

/// Looks at the next page of each tenant's histories, and thins out those that are too long or too old; how many changes
/// went. It comes by everything in time, whatever was missed.
///
/// # Errors
/// Where the store does not say which tenants there are.
pub async fn walk(app: &App) -> std::result::Result<u64, Error> {
    for_each_tenant(app, "shadow history", |app, tenant| async move { walk_tenant(&app, &tenant).await }).await
}

async fn walk_tenant(app: &App, tenant: &TenantId) -> std::result::Result<u64, Error> {
    let policy = identity_policy(app, tenant).await?;
    let rules = policy.shadow.retention();
    let from = app.shadows().histories.walked.lock().get(tenant).cloned();
    let page = app
        .read(tenant, "shadow histories", move |tx| {
            Box::pin(async move {
                let after = from.as_ref().map(|(device, name)| (device, name.as_str()));
                Ok(tx.shadow_histories(after, limits::SHADOW_HISTORY_WALK).await?)
            })
        })
        .await?;
    let whole = page.len() >= usize::try_from(limits::SHADOW_HISTORY_WALK).unwrap_or(usize::MAX);
    let last = page.last().map(|row| (row.device.clone(), row.name.clone())).filter(|_| whole);
    {
        let mut walked = app.shadows().histories.walked.lock();
        match last {
            Some(last) => drop(walked.insert(tenant.clone(), last)),
            None => drop(walked.remove(tenant)),
        }
    }
    let old = app.now().minus(std::time::Duration::from_secs(24 * 3600).saturating_mul(rules.days));
    let mut gone = 0_u64;
    for row in page {
        let long = row.events > u64::from(rules.kept);
        if row.events > 1 && (long || row.oldest < old) {
            let key = ShadowKey { device: row.device, name: row.name };
            if is_due(app, tenant, key.clone(), rules).await? {
                gone = gone.saturating_add(thin_out(app, tenant, key).await?);
            }
        }
    }
    Ok(gone)
}

/// Whether anything of a history is to go: asked without a lock, since mostly nothing is.
async fn is_due(app: &App, tenant: &TenantId, key: ShadowKey, rules: Retention) -> std::result::Result<bool, Error> {
    let now = app.now();
    app.read(tenant, "shadow history", move |tx| {
        Box::pin(async move {
            let row = tx.shadow(&key.device, &key.name).await?;
            let oldest = tx.oldest_shadow_events(&key.device, &key.name, limits::SHADOW_HISTORY_LOOK).await?;
            let newest = row.as_ref().map(|row| row.changes).or(oldest.last().map(|event| event.number));
            let changes = oldest.into_iter().map(change_of).collect::<crate::Result<Vec<_>>>()?;
            Ok(!rules::thin_out(now, rules, newest.unwrap_or_default(), &changes).dropped.is_empty())
        })
    })
    .await
}

/// Thins out one history; how many changes went.
async fn thin_out(app: &App, tenant: &TenantId, key: ShadowKey) -> std::result::Result<u64, Error> {
    let rules = identity_policy(app, tenant).await?.shadow.retention();
    let now = app.now();
    app.write(tenant, "thin out history", move |tx| Box::pin(thin_out_in(tx, key, rules, now))).await
}

async fn thin_out_in(tx: &mut TenantTx, key: ShadowKey, rules: Retention, now: Timestamp) -> crate::Result<u64> {
    // Locked: nobody adds a change that follows one which is about to go.
    let row = tx.shadow_for_update(&key.device, &key.name).await?;
    let mut gone = 0_u64;
    for _ in 0..LOOKS {
        let oldest = tx.oldest_shadow_events(&key.device, &key.name, limits::SHADOW_HISTORY_LOOK).await?;
        let newest = row.as_ref().map(|row| row.changes).or(oldest.last().map(|event| event.number));
        let changes = oldest.into_iter().map(change_of).collect::<crate::Result<Vec<_>>>()?;
        let plan = rules::thin_out(now, rules, newest.unwrap_or_default(), &changes);
        let patches: Vec<_> = plan.rewritten.into_iter().map(|(number, patch)| (number, text(&patch))).collect();
        tx.rewrite_shadow_events(&key.device, &key.name, &patches).await?;
        gone = gone.saturating_add(tx.drop_shadow_events(&key.device, &key.name, &plan.dropped).await?);
        let all = changes.len() < usize::try_from(limits::SHADOW_HISTORY_LOOK).unwrap_or(usize::MAX);
        if all || plan.dropped.is_empty() {
            break;
        }
    }
    Ok(gone)
}

fn change_of(row: ShadowEventRow) -> crate::Result<Change> {
    let patch = serde_json::from_str(&row.patch).map_err(Error::internal)?;
    Ok(Change { number: row.number, at: row.at, patch })
}

fn text(patch: &Map<String, Value>) -> String {
    serde_json::to_string(patch).unwrap_or_default()
}
