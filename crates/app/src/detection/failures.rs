//! Refused authentications by cause, by whose credential it was and by where it came from (requirement I14).
//!
//! Counted in memory and written now and then, so that a flood of refusals is a few rows: what a crash loses is the count of
//! some seconds. Each refusal for itself stands in the journal, within limits.

use std::collections::HashMap;
use std::net::IpAddr;

use fleetward_base::{TenantId, Timestamp, limits};
use fleetward_core::access::Permission;
use fleetward_core::detection::network::place_of;
use fleetward_store::AuthFailureRow;
use parking_lot::Mutex;

use crate::error::{Error, Result};
use crate::identity_policy::known_policy;
use crate::{App, Ctx};

const HOUR_MS: i64 = 3600 * 1000;
/// Where an address is that no place of the tenant holds.
const ELSEWHERE: &str = "-";
/// Stands for every kind beyond those that are counted each for itself.
const OTHERS: &str = "others";

/// What the process has counted and not written yet.
#[derive(Default)]
pub(crate) struct Failures {
    counts: Mutex<HashMap<Key, u64>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    tenant: Option<TenantId>,
    hour: i64,
    cause: String,
    issuer: &'static str,
    region: String,
}

/// Somebody was refused.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refused<'a> {
    /// None where nobody knows whose it would have been.
    pub(crate) tenant: Option<&'a TenantId>,
    pub(crate) cause: &'static str,
    /// Whose credential was shown: `issuing`, `factory`, `token`, `jwt`, or `unknown`.
    pub(crate) issuer: &'static str,
    pub(crate) address: IpAddr,
}

/// Refusals of one hour that are alike.
pub type AuthFailure = AuthFailureRow;

/// Counts a refusal.
pub(crate) fn count_refused(app: &App, refused: Refused<'_>) {
    let region = refused.tenant.and_then(|tenant| {
        let policy = known_policy(app, tenant);
        place_of(&policy.detection.places, refused.address).map(|place| place.name.clone())
    });
    let mut key = Key {
        tenant: refused.tenant.cloned(),
        hour: app.now().millis().div_euclid(HOUR_MS) * HOUR_MS,
        cause: refused.cause.to_owned(),
        issuer: refused.issuer,
        region: region.unwrap_or_else(|| ELSEWHERE.to_owned()),
    };
    let mut counts = app.detection().failures.counts.lock();
    if counts.len() >= limits::AUTH_FAILURE_KINDS && !counts.contains_key(&key) {
        key = Key { tenant: None, cause: OTHERS.to_owned(), issuer: "unknown", region: ELSEWHERE.to_owned(), ..key };
    }
    *counts.entry(key).or_default() += 1;
}

/// Writes what was counted; how many lines. What cannot be written is counted on.
pub(crate) async fn flush_failures(app: &App) -> Result<usize> {
    let counted = std::mem::take(&mut *app.detection().failures.counts.lock());
    if counted.is_empty() {
        return Ok(0);
    }
    let rows: Vec<(Option<TenantId>, AuthFailureRow)> = counted.iter().map(|(key, count)| row(key, *count)).collect();
    let lines = rows.len();
    let written = app
        .store()
        .system_write("auth failures", move |tx| {
            Box::pin(async move {
                for (tenant, row) in rows {
                    let tx = match &tenant {
                        // A tenant that is gone meanwhile has nobody who asks.
                        Some(tenant) => tx.enter(tenant).await?,
                        None => tx.installation().await?,
                    };
                    tx.add_auth_failures(&row).await?;
                }
                Ok::<_, Error>(())
            })
        })
        .await;
    if written.is_err() {
        let mut counts = app.detection().failures.counts.lock();
        for (key, count) in counted {
            *counts.entry(key).or_default() += count;
        }
    }
    written.map(|()| lines)
}

fn row(key: &Key, count: u64) -> (Option<TenantId>, AuthFailureRow) {
    let row = AuthFailureRow {
        hour: Timestamp::from_millis(key.hour),
        cause: key.cause.clone(),
        issuer: key.issuer.to_owned(),
        region: key.region.clone(),
        count,
    };
    (key.tenant.clone(), row)
}

/// What was refused in a tenant since then, the newest hour first, after `after`.
///
/// # Errors
/// `NotFound`, `Denied`.
pub async fn auth_failures(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    since: Timestamp,
    after: Option<AuthFailure>,
    limit: u32,
) -> Result<Vec<AuthFailure>> {
    ctx.allow(tenant, Permission::EventRead)?;
    flush_failures(app).await?;
    let limit = limit.clamp(1, limits::PAGE_ROWS + 1);
    app.read(tenant, "auth failures", move |tx| {
        Box::pin(async move { Ok(tx.auth_failures(since, after.as_ref(), limit).await?) })
    })
    .await
}
