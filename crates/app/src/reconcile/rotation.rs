//! What time does to certificates: deadlines and graces that are over, ends that are near, and renewals that fail more often
//! than they used to. Pages of a bounded size; a device or certificate that could not be worked on is found again.

use std::time::Duration;

use fleetward_base::{DeviceId, TenantId, Timestamp, limits};
use fleetward_core::journal::{Action, Actor, Entry, Severity};
use fleetward_core::rotation::rise::Change;
use fleetward_core::rotation::{Cause, Standing, Step, alert};
use fleetward_store::ExpiringRow;
use serde_json::json;

use crate::App;
use crate::enroll::ladder;
use crate::error::{Error, Result};
use crate::identity_policy::identity_policy;
use crate::journal::record;

const DAY: Duration = Duration::from_secs(24 * 3600);

/// What one tick did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RotationTickStatus {
    pub confirmed: usize,
    pub retired: usize,
    /// Never proven.
    pub revoked: usize,
    /// Ends that were told.
    pub told: usize,
    /// Devices and certificates that could not be worked on.
    pub failed: usize,
}

/// One look at everything whose time has come.
pub async fn tick(app: &App) -> Result<RotationTickStatus> {
    let mut status = RotationTickStatus::default();
    deadlines(app, &mut status).await?;
    alerts(app, &mut status).await?;
    failures(app).await?;
    let now = app.now();
    let before = [7, 14, 30].map(|days| now.plus(DAY * days));
    let counts = app
        .store()
        .system_read("count expiring", move |tx| {
            Box::pin(async move { Ok::<_, Error>(tx.count_expiring(before, now).await?) })
        })
        .await?;
    app.traffic().note_expiring(counts);
    Ok(status)
}

async fn deadlines(app: &App, status: &mut RotationTickStatus) -> Result<()> {
    let now = app.now();
    let mut after: Option<(TenantId, DeviceId)> = None;
    loop {
        let from = after.take();
        let due = app
            .store()
            .system_read("due rotations", move |tx| {
                Box::pin(async move {
                    let after = from.as_ref().map(|(tenant, device)| (tenant, device));
                    Ok::<_, Error>(tx.due_rotations(now, after, limits::ROTATIONS_PER_PAGE).await?)
                })
            })
            .await?;
        let full = u32::try_from(due.len()).is_ok_and(|found| found >= limits::ROTATIONS_PER_PAGE);
        for of in due {
            let Some(tenant) = of.tenant else { continue };
            after = Some((tenant.clone(), of.row.clone()));
            match elapse(app, &tenant, &of.row, now).await {
                Ok(steps) => note(app, &tenant, &of.row, &steps, status),
                Err(error) => {
                    status.failed += 1;
                    tracing::warn!(%tenant, device = %of.row, %error, "a rotation could not go on");
                }
            }
        }
        if !full {
            return Ok(());
        }
    }
}

async fn elapse(app: &App, tenant: &TenantId, device: &DeviceId, now: Timestamp) -> Result<Vec<Step>> {
    let terms = identity_policy(app, tenant).await?.renewal.terms();
    let device = device.clone();
    app.write(tenant, "rotation goes on", move |tx| {
        Box::pin(async move { ladder::elapsed(tx, &device, &terms, now).await })
    })
    .await
}

fn note(app: &App, tenant: &TenantId, device: &DeviceId, steps: &[Step], status: &mut RotationTickStatus) {
    for step in steps.iter().filter(|step| step.cause.is_some()) {
        match step.after.standing {
            Standing::Active => status.confirmed += 1,
            Standing::Retired => status.retired += 1,
            Standing::Revoked => status.revoked += 1,
            _ => {}
        }
        if step.cause == Some(Cause::Unproven) {
            app.traffic().renewal_ended(Some(tenant), app.clock().monotonic(), Some(Cause::Unproven.as_str()));
        }
        if step.after.standing.is_terminal() {
            if let Some(links) = app.links() {
                links.end_certificate(tenant, device, &step.after.serial);
            }
            app.forget_answers(tenant);
        }
    }
}

async fn alerts(app: &App, status: &mut RotationTickStatus) -> Result<()> {
    let now = app.now();
    let mut after: Option<(TenantId, String)> = None;
    loop {
        let from = after.take();
        let due = app
            .store()
            .system_read("due alerts", move |tx| {
                Box::pin(async move {
                    let after = from.as_ref().map(|(tenant, serial)| (tenant, serial.as_str()));
                    Ok::<_, Error>(tx.due_alerts(now, after, limits::ROTATIONS_PER_PAGE).await?)
                })
            })
            .await?;
        let full = u32::try_from(due.len()).is_ok_and(|found| found >= limits::ROTATIONS_PER_PAGE);
        for of in due {
            let Some(tenant) = of.tenant else { continue };
            after = Some((tenant.clone(), of.row.serial.clone()));
            match alert(app, &tenant, of.row, now).await {
                Ok(told) => status.told += usize::from(told),
                Err(error) => {
                    status.failed += 1;
                    tracing::warn!(%tenant, %error, "the end of a certificate could not be told");
                }
            }
        }
        if !full {
            return Ok(());
        }
    }
}

/// Tells that a certificate is about to end, or has ended; each limit once.
async fn alert(app: &App, tenant: &TenantId, row: ExpiringRow, now: Timestamp) -> Result<bool> {
    app.write(tenant, "tell expiry", move |tx| {
        Box::pin(async move {
            let told = row.told.and_then(|told| u32::try_from(told).ok());
            let standing: Standing = row.status.parse().map_err(Error::internal)?;
            let due = alert::due(now, row.not_before, row.not_after, told).filter(|_| standing.is_in_charge());
            let told = due.map(|due| due.days).or(told);
            let next = standing.is_in_charge().then(|| alert::next(row.not_before, row.not_after, told)).flatten();
            tx.tell_expiry(&row.serial, told.map(u64::from), next).await?;
            let Some(due) = due else { return Ok(false) };
            let action = if due.days == 0 { Action::CertificateExpired } else { Action::CertificateExpiring };
            let entry = Entry::done(now, Actor::system("rotation"), action).device(&row.device).subject(&row.serial);
            let detail = json!({ "days": due.days, "not_after": row.not_after.to_string() });
            record(tx, &entry.severity(due.severity).detail(detail)).await?;
            Ok(true)
        })
    })
    .await
}

/// Tenants whose renewals began to fail more often, or ceased to.
async fn failures(app: &App) -> Result<()> {
    for (tenant, change) in app.traffic().changes(app.clock().monotonic()) {
        let now = app.now();
        app.write(&tenant, "renewal failures", move |tx| {
            Box::pin(async move {
                let entry = |action| Entry::done(now, Actor::system("rotation"), action);
                let entry = match change {
                    Change::Risen { recent, before } => {
                        entry(Action::RenewalFailuresRising).severity(Severity::Critical).detail(json!({
                            "failed": recent.failed,
                            "of": recent.total,
                            "percent": recent.percent(),
                            "percent_before": before.percent(),
                        }))
                    }
                    Change::Fallen { recent } => entry(Action::RenewalFailuresFallen)
                        .detail(json!({ "failed": recent.failed, "of": recent.total })),
                };
                record(tx, &entry).await?;
                Ok(())
            })
        })
        .await?;
    }
    Ok(())
}
