//! The ladder of a device's certificates: what `core::rotation` decides, read from rows and written to them.
//!
//! Everything that happens to a certificate on its way goes through here, in the transaction of whatever made it happen, and
//! leaves a row in the journal for each step. All of one rotation carry the same `rotation`: the request that the new
//! certificate was asked for with.

use fleetward_base::{DeviceId, RequestId, Timestamp};
use fleetward_core::journal::{Action, Actor, Entry, Severity};
use fleetward_core::registry::CertificateRef;
use fleetward_core::rotation::{Cause, Event, Held, Standing, Step, Terms, alert, decide};
use fleetward_store::{CertificateRow, LadderRow, RotationRow, TenantTx};
use serde_json::json;

use crate::error::{Error, Result};
use crate::journal::record;
use crate::registry::{device_of, row_of};

/// Who makes the step, for the journal.
#[derive(Clone, Debug)]
pub(crate) struct By {
    pub(crate) actor: Actor,
    pub(crate) request_id: Option<RequestId>,
}

impl By {
    pub(crate) fn device(id: &DeviceId, request_id: RequestId) -> Self {
        Self { actor: Actor::device(id), request_id: Some(request_id) }
    }
}

/// The reason of a certificate's end, as revocation lists have it.
const SUPERSEDED: &str = "superseded";
const NEVER_PROVEN: &str = "cessation_of_operation";

/// A certificate was signed and its row inserted. `renews`: it was asked for with another one.
pub(super) async fn issued(
    tx: &mut TenantTx,
    row: &CertificateRow,
    renews: bool,
    terms: &Terms,
    request_id: RequestId,
) -> Result<()> {
    let id = request_id.to_string();
    let mut rows = tx.ladder(&row.device).await?;
    let mut held = held_of(&rows)?;
    for one in held.iter_mut().filter(|one| one.serial == row.serial) {
        one.standing = Standing::Pending;
    }
    let event = Event::Issued { serial: &row.serial, renews };
    let steps = decide(row.issued_at, &held, event, terms);
    for new in rows.iter_mut().filter(|new| new.serial == row.serial) {
        new.id.clone_from(&id);
    }
    // Its place is written once, as it is decided.
    let place = steps.iter().find(|step| step.after.serial == row.serial).map(|step| &step.after);
    let rotation = RotationRow {
        serial: row.serial.clone(),
        device: row.device.clone(),
        id,
        deadline: place.and_then(|place| place.deadline),
        sessions: place.map_or(0, |place| place.sessions),
        session_at: place.and_then(|place| place.session_at),
        alert_at: None,
    };
    tx.insert_rotation(&rotation).await?;
    let steps: Vec<Step> = steps.into_iter().filter(|step| step.from != Standing::Pending).collect();
    let by = By::device(&row.device, request_id);
    apply(tx, &row.device, &rows, &steps, &row.serial, &by, row.issued_at).await
}

/// Whether being let in with this certificate changes anything.
pub(super) async fn would_step(tx: &mut TenantTx, row: &CertificateRow, terms: &Terms, now: Timestamp) -> Result<bool> {
    let held = held_of(&tx.ladder(&row.device).await?)?;
    Ok(!decide(now, &held, Event::Used { serial: &row.serial, at_once: false }, terms).is_empty())
}

/// The device was let in with this certificate.
pub(super) async fn used(
    tx: &mut TenantTx,
    row: &CertificateRow,
    terms: &Terms,
    request_id: RequestId,
    now: Timestamp,
) -> Result<()> {
    let rows = tx.ladder(&row.device).await?;
    // What is asked for after a request to renew answers it.
    let asked = tx.renewal_request(&row.device).await?.filter(|asked| row.issued_at >= asked.asked_at);
    let at_once = asked.as_ref().is_some_and(|asked| asked.at_once);
    let event = Event::Used { serial: &row.serial, at_once };
    let steps = decide(now, &held_of(&rows)?, event, terms);
    if asked.is_some() && steps.iter().any(|step| step.cause == Some(Cause::FirstUse)) {
        tx.remove_renewal_request(&row.device).await?;
    }
    let by = By::device(&row.device, request_id);
    apply(tx, &row.device, &rows, &steps, &row.serial, &by, now).await
}

/// Time went by. What was done, and to which certificates.
pub(crate) async fn elapsed(tx: &mut TenantTx, device: &DeviceId, terms: &Terms, now: Timestamp) -> Result<Vec<Step>> {
    let rows = tx.ladder(device).await?;
    let steps = decide(now, &held_of(&rows)?, Event::Elapsed, terms);
    let by = By { actor: Actor::system("rotation"), request_id: None };
    let charge = |row: &&LadderRow| row.status.parse::<Standing>().is_ok_and(Standing::is_in_charge);
    let serial = rows.iter().rfind(charge).map(|row| row.serial.clone()).unwrap_or_default();
    apply(tx, device, &rows, &steps, &serial, &by, now).await?;
    if steps.iter().any(|step| step.cause == Some(Cause::Unproven)) {
        put_back(tx, device, &rows, &steps, now).await?;
    }
    Ok(steps)
}

/// The device's record names a certificate that was taken back: it names the one in charge again.
async fn put_back(
    tx: &mut TenantTx,
    device: &DeviceId,
    rows: &[LadderRow],
    steps: &[Step],
    now: Timestamp,
) -> Result<()> {
    let Some(row) = tx.device_for_update(device).await? else { return Ok(()) };
    let mut record = device_of(row)?;
    let gone = |serial: &str| steps.iter().any(|step| step.after.serial == serial && step.after.standing.is_terminal());
    if !record.certificate.as_ref().is_some_and(|named| gone(&named.serial)) {
        return Ok(());
    }
    let left = rows.iter().rfind(|row| !gone(&row.serial));
    record.certificate = left.map(|row| CertificateRef { serial: row.serial.clone(), not_after: row.not_after });
    let before = record.revision;
    (record.revision, record.updated_at) = (before + 1, now);
    if tx.update_device(&row_of(&record)?, before).await? {
        return Ok(());
    }
    Err(Error::conflict("device-changed", "the device's record changed meanwhile"))
}

fn held_of(rows: &[LadderRow]) -> Result<Vec<Held>> {
    rows.iter()
        .map(|row| {
            Ok(Held {
                serial: row.serial.clone(),
                standing: row.status.parse().map_err(Error::internal)?,
                issued_at: row.issued_at,
                not_after: row.not_after,
                deadline: row.deadline,
                sessions: row.sessions,
                session_at: row.session_at,
            })
        })
        .collect()
}

/// Writes what was decided. `serial` is the certificate whose rotation the steps belong to.
async fn apply(
    tx: &mut TenantTx,
    device: &DeviceId,
    rows: &[LadderRow],
    steps: &[Step],
    serial: &str,
    by: &By,
    now: Timestamp,
) -> Result<()> {
    let row_of = |serial: &str| rows.iter().find(|row| row.serial == serial);
    let rotation = row_of(serial).map(|row| row.id.clone());
    for step in steps {
        let Some(row) = row_of(&step.after.serial) else { continue };
        let Held { standing, deadline, sessions, session_at, .. } = step.after;
        if step.cause.is_some() && step.from != Standing::Pending {
            let proven_at = (step.cause == Some(Cause::FirstUse)).then_some(now);
            let reason = if standing == Standing::Revoked { NEVER_PROVEN } else { SUPERSEDED };
            let ended = standing.is_terminal().then_some((now, reason));
            let (from, to) = (step.from.as_str(), standing.as_str());
            if !tx.step_certificate(&row.serial, from, to, proven_at, ended).await? {
                return Err(Error::conflict("certificate-changed", "the certificate changed meanwhile; try again"));
            }
        }
        let told = row.told.and_then(|told| u32::try_from(told).ok());
        let alert_at = standing.is_in_charge().then(|| alert::next(row.not_before, row.not_after, told)).flatten();
        tx.update_rotation(&RotationRow {
            serial: row.serial.clone(),
            device: device.clone(),
            id: row.id.clone(),
            deadline,
            sessions,
            session_at,
            alert_at,
        })
        .await?;
        if let Some((action, severity)) = event_of(step) {
            let mut detail = json!({ "rotation": rotation });
            if let Some(fields) = detail.as_object_mut() {
                if let Some(cause) = step.cause {
                    fields.insert("cause".to_owned(), json!(cause.as_str()));
                }
                if row.serial != serial {
                    fields.insert("by".to_owned(), json!(serial));
                }
                if let Some(until) = deadline {
                    fields.insert("until".to_owned(), json!(until.to_string()));
                }
            }
            let entry = Entry::done(now, by.actor.clone(), action).device(device).subject(&row.serial);
            record(tx, &entry.severity(severity).detail(detail).request(by.request_id)).await?;
        }
    }
    Ok(())
}

/// What the journal calls a step. Issuing is written down by whoever issues.
fn event_of(step: &Step) -> Option<(Action, Severity)> {
    let cause = step.cause?;
    match step.after.standing {
        Standing::Pending | Standing::Issued => None,
        _ if cause == Cause::FirstUse => Some((Action::CertificateProven, Severity::Info)),
        Standing::Proven => None,
        Standing::Active => Some((Action::CertificateConfirmed, Severity::Info)),
        Standing::Superseded => Some((Action::CertificateSuperseded, Severity::Info)),
        Standing::Retired => Some((Action::CertificateRetired, Severity::Info)),
        Standing::Revoked => Some((Action::CertificateRevoked, Severity::Warning)),
    }
}
