//! The reconciler that notices who did not attest again in time: an event, and the end of a session that has too many
//! rights. The rights themselves are decided at each admission.

use fleetward_base::{DeviceId, TenantId, limits};
use fleetward_core::attestation::overdue_before;
use fleetward_core::journal::{Action, Actor, Entry, Severity};
use fleetward_store::TenantTx;

use crate::error::Result;
use crate::identity_policy::identity_policy;
use crate::journal::record;
use crate::reconcile::for_each_tenant;
use crate::registry::device_of;
use crate::{App, EndReason};

/// Looks through all tenants that ask for attestation; how many devices are overdue that were not before.
///
/// # Errors
/// Where the store does not answer; the next look finds the rest.
pub async fn look_at_overdue(app: &App) -> Result<u64> {
    for_each_tenant(app, "attestation", |app, tenant| async move { look_at(&app, &tenant).await }).await
}

async fn look_at(app: &App, tenant: &TenantId) -> Result<u64> {
    let policy = identity_policy(app, tenant).await?;
    let now = app.now();
    let asks = policy.attestation.classes.values().any(|rule| rule.required);
    let Some(before) = overdue_before(&policy.attestation, now).filter(|_| asks) else { return Ok(0) };
    let limit = limits::ATTESTATION_OVERDUE_PER_LOOK;
    let due = app
        .read(tenant, "overdue attestations", move |tx| {
            Box::pin(async move { Ok(tx.lapsing_attestations(before, limit).await?) })
        })
        .await?;
    if due.is_empty() {
        return Ok(0);
    }
    let lapsed = app
        .write(tenant, "overdue attestations", move |tx| {
            Box::pin(async move {
                let mut lapsed = Vec::new();
                for id in due {
                    if lapse(tx, &policy.attestation, &id, now).await? {
                        lapsed.push(id);
                    }
                }
                Ok(lapsed)
            })
        })
        .await?;
    if let Some(links) = app.links() {
        lapsed.iter().for_each(|id| links.end_sessions(tenant, id, EndReason::Administrative));
    }
    Ok(u64::try_from(lapsed.len()).unwrap_or(u64::MAX))
}

/// Whether it is overdue, and that matters.
async fn lapse(
    tx: &mut TenantTx,
    policy: &fleetward_core::identity_policy::AttestationPolicy,
    id: &DeviceId,
    now: fleetward_base::Timestamp,
) -> Result<bool> {
    if !tx.lapse_attestation(id).await? {
        return Ok(false);
    }
    let Some(row) = tx.device(id).await? else { return Ok(false) };
    let device = device_of(row)?;
    if !policy.rule(device.class).required || !fleetward_core::lifecycle::may_connect(device.status) {
        return Ok(false);
    }
    let entry = Entry::done(now, Actor::system("attestation"), Action::AttestationOverdue).device(id);
    record(tx, &entry.severity(Severity::Warning)).await?;
    Ok(true)
}
