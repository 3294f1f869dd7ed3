//! Deltas that are not told at once.
//!
//! A device that comes back with less than it had (`_meta` says so) is not sent its delta within the first moments after it
//! connected: it likely reads what it kept, or asks, and reports again. What it still lacks when they are over it is told then.
//! A delta that is asked for (a get, a subscription), or that somebody's new wish brings about, goes at once and takes the place
//! of one that waits. Nothing of this survives a restart, after which the device subscribes and is told.

use std::collections::HashMap;
use std::time::Duration;

use fleetward_base::{TenantId, limits};
use fleetward_core::shadow::{self as rules, Applied};
use parking_lot::Mutex;

use super::batch::Work;
use super::{ShadowKey, replay_delta};
use crate::error::Result;
use crate::{App, Principal};

/// When each is told, by the clock that does not jump.
#[derive(Debug, Default)]
pub(crate) struct Grace {
    due: Mutex<HashMap<(TenantId, ShadowKey), Duration>>,
}

/// How much is left of the first moments after the device that speaks has connected.
pub(super) fn left(app: &App, tenant: &TenantId, work: &Work) -> Option<Duration> {
    if !matches!(work.ctx.principal, Principal::Device { .. }) {
        return None;
    }
    let connected = app.presence().connected_for(tenant, &work.key.device, work.now)?;
    limits::SHADOW_DELTA_GRACE.checked_sub(connected).filter(|left| !left.is_zero())
}

/// Whether the delta of this update waits; if not, none of this shadow waits any more.
pub(super) fn holds(app: &App, tenant: &TenantId, work: &Work, applied: &Applied) -> bool {
    let left = left(app, tenant, work);
    let mut due = app.shadows().grace.due.lock();
    let key = (tenant.clone(), work.key.clone());
    if let Some(left) = left.filter(|_| rules::is_held(applied, !work.request.touches_desired(), true))
        && (due.len() < limits::SHADOW_DELTAS_HELD || due.contains_key(&key))
    {
        let at = app.clock().monotonic() + left;
        due.entry(key).or_insert(at);
        return true;
    }
    if !due.is_empty() {
        due.remove(&key);
    }
    false
}

/// The device has been told, or has asked.
pub(super) fn forget(app: &App, tenant: &TenantId, key: &ShadowKey) {
    let mut due = app.shadows().grace.due.lock();
    if !due.is_empty() {
        due.remove(&(tenant.clone(), key.clone()));
    }
}

/// Tells those whose moment has come what they still lack; how many were due.
///
/// # Errors
/// What the store cannot do; those that were not told wait for the next turn.
pub async fn tell_due(app: &App) -> Result<u64> {
    let now = app.clock().monotonic();
    let ready: Vec<_> = {
        let due = app.shadows().grace.due.lock();
        due.iter().filter(|(_, at)| **at <= now).map(|(key, _)| key.clone()).collect()
    };
    let mut told = 0;
    for (tenant, key) in ready {
        replay_delta(app, &tenant, &key).await?;
        told += 1;
    }
    Ok(told)
}
