//! Between presence in memory and its rows.

use std::collections::BTreeMap;

use fleetward_base::{DeviceId, TenantId, Timestamp, limits};
use fleetward_core::journal::{Action, Actor, Entry};
use fleetward_core::presence::Presence;
use fleetward_store::{PresenceRow, SeenRow};
use serde_json::json;

use super::{Transition, What};
use crate::error::{Error, Result};
use crate::{App, journal};

/// What ends the connections that a server which is gone left behind.
const SERVER_RESTARTED: &str = "server_restarted";

/// Rows of one transaction.
const PIECE: usize = 1000;

/// Reads what was written before the start. Connections that are written as open are over: their server is gone.
pub async fn load(app: &App) -> Result<()> {
    let now = app.now();
    app.presence().state.write().watching_since = now;
    let mut after: Option<(TenantId, DeviceId)> = None;
    loop {
        let from = after.take();
        let rows = app
            .store()
            .system_read("presences", move |tx| {
                Box::pin(async move {
                    let after = from.as_ref().map(|(tenant, device)| (tenant, device));
                    Ok::<_, Error>(tx.presences(after, limits::PAGE_ROWS).await?)
                })
            })
            .await?;
        let Some(last) = rows.last() else { break };
        after = last.tenant.clone().map(|tenant| (tenant, last.row.device.clone()));
        let mut state = app.presence().state.write();
        for of in rows {
            let Some(tenant) = of.tenant else { continue };
            let device = of.row.device.clone();
            let slot = state.slot(&tenant, &device);
            // Whoever connected while this was read is known better than by the row.
            if slot.epoch > 0 {
                continue;
            }
            slot.presence = presence_of(of.row);
            if slot.presence.online {
                slot.presence.disconnected(now, SERVER_RESTARTED);
                state.push(Transition {
                    tenant,
                    device,
                    at: now,
                    what: What::Disconnected { reason: SERVER_RESTARTED },
                });
            }
        }
    }
    expect_heartbeats(app).await
}

/// Learns how often each device is to be heard of.
async fn expect_heartbeats(app: &App) -> Result<()> {
    let tenants: Vec<TenantId> = app.presence().state.read().known.keys().cloned().collect();
    for tenant in tenants {
        let mut after: Option<DeviceId> = None;
        loop {
            let from = after.take();
            let rows = app
                .read(&tenant, "heartbeats", move |tx| {
                    Box::pin(async move { Ok(tx.heartbeats(from.as_ref(), limits::PAGE_ROWS).await?) })
                })
                .await?;
            let Some(last) = rows.last() else { break };
            after = Some(last.device.clone());
            for row in &rows {
                app.presence().expect_heartbeat(&tenant, &row.device, u32::try_from(row.every_s).ok());
            }
        }
    }
    Ok(())
}

/// Writes who came and who went, each with its journal row, in the transaction of its presence. What fails is kept for the next
/// time; how many were written.
pub async fn flush_transitions(app: &App) -> Result<usize> {
    let mut written = 0;
    let mut failed = None;
    for (tenant, transitions) in app.presence().take_transitions() {
        // In pieces, so that a fleet that connects at once does not keep every other writer waiting.
        let mut rest = transitions.as_slice();
        while let Some((piece, after)) = rest.split_at_checked(rest.len().min(PIECE)).filter(|(p, _)| !p.is_empty()) {
            if let Err(error) = write(app, &tenant, piece).await {
                app.presence().give_back(rest.to_vec());
                failed = Some(error);
                break;
            }
            written += piece.len();
            rest = after;
        }
    }
    failed.map_or(Ok(written), Err)
}

/// Writes everything that memory knows better than the store.
pub async fn flush(app: &App) -> Result<usize> {
    let transitions = flush_transitions(app).await?;
    let stale = std::mem::take(&mut app.presence().state.write().stale);
    let mut by_tenant: BTreeMap<TenantId, Vec<SeenRow>> = BTreeMap::new();
    for (tenant, device) in stale {
        let presence = app.presence().of(&tenant, &device);
        if let Some(at) = presence.last_seen {
            by_tenant.entry(tenant).or_default().push(SeenRow { device, at });
        }
    }
    let mut written = transitions;
    let mut failed = None;
    let mut pieces: Vec<(TenantId, Vec<SeenRow>)> = Vec::new();
    for (tenant, rows) in by_tenant {
        pieces.extend(rows.chunks(PIECE).map(|piece| (tenant.clone(), piece.to_vec())));
    }
    for (tenant, rows) in pieces {
        written += rows.len();
        let again: Vec<DeviceId> = rows.iter().map(|row| row.device.clone()).collect();
        let done = app
            .write(&tenant, "flush last seen", move |tx| Box::pin(async move { Ok(tx.flush_last_seen(&rows).await?) }));
        if let Err(error) = done.await {
            let mut state = app.presence().state.write();
            state.stale.extend(again.into_iter().map(|device| (tenant.clone(), device)));
            failed = Some(error);
        }
    }
    failed.map_or(Ok(written), Err)
}

async fn write(app: &App, tenant: &TenantId, transitions: &[(Transition, Presence)]) -> Result<()> {
    // The last line of a device counts, and every line of it has the same presence.
    let rows: Vec<PresenceRow> =
        transitions.iter().map(|(transition, presence)| row_of(&transition.device, presence)).collect();
    let entries: Vec<_> = transitions.iter().map(|(transition, _)| journal::row_of(&entry(transition))).collect();
    app.write(tenant, "flush presence", move |tx| {
        Box::pin(async move {
            tx.put_presence(&rows).await?;
            tx.journal_all(&entries).await?;
            Ok(())
        })
    })
    .await
}

fn entry(transition: &Transition) -> Entry {
    let (action, detail) = match &transition.what {
        What::Connected { address, protocol } => {
            let address = address.map(|address| address.to_string());
            (Action::DeviceConnected, json!({ "address": address, "protocol": protocol }))
        }
        What::Disconnected { reason } => (Action::DeviceDisconnected, json!({ "reason": reason })),
    };
    Entry::done(transition.at, Actor::device(&transition.device), action).device(&transition.device).detail(detail)
}

fn row_of(device: &DeviceId, presence: &Presence) -> PresenceRow {
    PresenceRow {
        device: device.clone(),
        online: presence.online,
        last_seen: presence.last_seen,
        connected_at: presence.connected_at,
        disconnected_at: presence.disconnected_at,
        reason: presence.reason.clone(),
        address: presence.address.clone(),
    }
}

fn presence_of(row: PresenceRow) -> Presence {
    // A device that was online at the last flush was there until about then.
    let seen: Option<Timestamp> = row.last_seen.max(row.connected_at);
    Presence {
        online: row.online,
        last_seen: seen,
        connected_at: row.connected_at,
        disconnected_at: row.disconnected_at,
        reason: row.reason,
        address: row.address,
    }
}
