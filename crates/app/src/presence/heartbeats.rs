//! Devices whose sign of life is overdue, and those that are back.

use fleetward_base::{DeviceId, TenantId, Timestamp, limits};
use fleetward_core::journal::{Action, Actor, Entry, Severity};
use fleetward_core::lifecycle::{Status, may_connect};
use fleetward_core::presence::{Heartbeat, heartbeat};
use fleetward_store::JournalFilter;
use serde_json::json;

use crate::error::{Error, Result};
use crate::{App, journal};

/// What one look found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HeartbeatStatus {
    pub missed: usize,
    pub back: usize,
    pub deferred: usize,
}

/// Looks at the heartbeat of every device and reports in the journal what is new: that one is missed, or back.
pub async fn look_at_heartbeats(app: &App) -> Result<HeartbeatStatus> {
    let now = app.now();
    let mut found: Vec<(TenantId, DeviceId, Heartbeat, Option<Timestamp>)> = Vec::new();
    {
        let state = app.presence().state.read();
        for (tenant, devices) in &state.known {
            for (device, slot) in devices {
                let beat = heartbeat(now, &slot.presence, slot.every, slot.alarmed, state.watching_since);
                if beat != Heartbeat::Same {
                    found.push((tenant.clone(), device.clone(), beat, slot.presence.last_seen));
                }
            }
        }
    }
    found.sort_unstable_by(|a, b| (&a.0, &a.1).cmp(&(&b.0, &b.1)));
    let deferred = found.len().saturating_sub(limits::HEARTBEAT_REPORTS_PER_LOOK);
    let mut status = HeartbeatStatus { deferred, ..HeartbeatStatus::default() };
    for (tenant, device, beat, seen) in found.into_iter().take(limits::HEARTBEAT_REPORTS_PER_LOOK) {
        let reported = report(app, now, &tenant, &device, beat, seen).await?;
        app.presence().state.write().slot(&tenant, &device).alarmed = beat == Heartbeat::Missed;
        match beat {
            Heartbeat::Missed if reported => status.missed += 1,
            Heartbeat::Back if reported => status.back += 1,
            _ => {}
        }
    }
    Ok(status)
}

/// One row, unless it stands there already (from before a restart) or nobody waits for the device.
async fn report(
    app: &App,
    now: Timestamp,
    tenant: &TenantId,
    device: &DeviceId,
    beat: Heartbeat,
    seen: Option<Timestamp>,
) -> Result<bool> {
    let device = device.clone();
    app.write(tenant, "report heartbeat", move |tx| {
        Box::pin(async move {
            let status: Option<Status> = match tx.device(&device).await? {
                Some(row) => Some(row.status.parse().map_err(Error::internal)?),
                None => None,
            };
            if !status.is_some_and(may_connect) {
                return Ok(false);
            }
            let (action, severity) = match beat {
                Heartbeat::Missed => (Action::DeviceHeartbeatMissed, Severity::Warning),
                Heartbeat::Back | Heartbeat::Same => (Action::DeviceHeartbeatBack, Severity::Notice),
            };
            if beat == Heartbeat::Missed {
                let filter = JournalFilter {
                    device: Some(device.clone()),
                    action: Some(action.to_string()),
                    since: seen,
                    ..JournalFilter::default()
                };
                if !tx.journal_page(&filter, None, 1).await?.is_empty() {
                    return Ok(false);
                }
            }
            let detail = json!({ "last_seen": seen.map(|at| at.to_string()) });
            let entry = Entry::done(now, Actor::system("heartbeats"), action).device(&device);
            journal::record(tx, &entry.severity(severity).detail(detail)).await?;
            Ok(true)
        })
    })
    .await
}
