//! What is good: from signed releases, from operators, and from the first devices of a cohort.
//!
//! A cohort is a hardware revision with a firmware version, or with any (`*`). Its reference is locked, or learns until
//! the wanted number of devices has taught it.

use std::collections::{BTreeMap, BTreeSet};

use fleetward_attest::tpm::Hash;
use fleetward_base::{DeviceId, TenantId, Timestamp, limits};
use fleetward_core::access::Permission;
use fleetward_core::attestation::{References, check_references, learn};
use fleetward_core::journal::{Action, Actor, Entry, Severity};
use fleetward_core::registry::Device;
use fleetward_store::{AttestationReferenceRow, TenantTx};
use serde_json::json;

use super::hex;
use crate::error::{Error, Result, check_line};
use crate::journal::record;
use crate::rollouts::observe::manifest_of;
use crate::{App, Ctx};

const LEARNING: &str = "learning";
const LOCKED: &str = "locked";
/// Any firmware.
const ANY: &str = "*";
/// Releases of one version that are looked at; they differ by name.
const RELEASES: u32 = 16;

/// A reference that is to be.
#[derive(Clone, Debug, Default)]
pub struct NewReference {
    pub hardware: String,
    pub firmware: String,
    /// How many devices are to teach it; none where it is given.
    pub learn: Option<u32>,
    pub measurements: References,
}

/// A reference as people see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reference {
    pub id: String,
    pub hardware: String,
    pub firmware: String,
    /// `learning` or `locked`.
    pub state: String,
    pub wanted: u64,
    pub teachers: Vec<String>,
    pub measurements: References,
    pub revision: u64,
    pub created_by: String,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// What applies to a device.
pub(super) struct Cohort {
    pub(super) good: References,
    /// Where its first devices still teach.
    pub(super) learning: Option<AttestationReferenceRow>,
}

/// All that is good for what the device runs. A reference that still learns is not held against it.
pub(super) async fn applying(tx: &mut TenantTx, device: &Device) -> Result<Cohort> {
    let mut cohort = Cohort { good: References::new(), learning: None };
    if let Some(version) = &device.firmware {
        for row in tx.releases_of_version(version, RELEASES).await? {
            let manifest = manifest_of(&row)?;
            merge(&mut cohort.good, manifest.measurements(&device.hardware).into_iter().flatten());
        }
    }
    for firmware in device.firmware.as_deref().into_iter().chain([ANY]) {
        let Some(row) = tx.attestation_reference_for_update(&id_of(&device.hardware, firmware)).await? else {
            continue;
        };
        if row.state == LEARNING {
            cohort.learning.get_or_insert(row);
        } else {
            let own: References = serde_json::from_str(&row.measurements).map_err(Error::internal)?;
            merge(&mut cohort.good, own.iter());
        }
    }
    Ok(cohort)
}

fn merge<'a>(into: &mut References, from: impl Iterator<Item = (&'a String, &'a BTreeSet<String>)>) {
    for (name, digests) in from {
        into.entry(name.clone()).or_default().extend(digests.iter().cloned());
    }
}

/// One more device taught; at the wanted number the reference is locked.
pub(super) async fn teach(
    tx: &mut TenantTx,
    mut row: AttestationReferenceRow,
    device: &DeviceId,
    measurements: &BTreeSet<(String, String)>,
    now: Timestamp,
) -> Result<()> {
    let known: References = serde_json::from_str(&row.measurements).map_err(Error::internal)?;
    let mut teachers: BTreeSet<String> = serde_json::from_str(&row.teachers).map_err(Error::internal)?;
    let Some(next) = learn(&known, measurements) else { return Ok(()) };
    teachers.insert(device.to_string());
    let full = u64::try_from(teachers.len()).is_ok_and(|count| count >= row.wanted);
    row.measurements = serde_json::to_string(&next).map_err(Error::internal)?;
    row.teachers = serde_json::to_string(&teachers).map_err(Error::internal)?;
    row.revision += 1;
    row.updated_at = now;
    if full {
        row.state = LOCKED.to_owned();
        let detail = json!({ "hardware": row.hardware, "firmware": row.firmware, "by": "learning" });
        let entry = Entry::done(now, Actor::system("attestation"), Action::AttestationReferenceLocked);
        record(tx, &entry.subject(&row.id).severity(Severity::Notice).detail(detail)).await?;
    }
    Ok(tx.put_attestation_reference(&row).await?)
}

/// Says what is good for a cohort, or lets its first devices say it; in the place of what was said before.
///
/// # Errors
/// `Invalid` with the field.
pub async fn add_reference(app: &App, ctx: &Ctx, tenant: &TenantId, new: NewReference) -> Result<Reference> {
    ctx.allow(tenant, Permission::AttestationUpdate)?;
    check(&new)?;
    let now = app.now();
    let state = if new.learn.is_some() { LEARNING } else { LOCKED };
    let row = AttestationReferenceRow {
        id: id_of(&new.hardware, &new.firmware),
        hardware: new.hardware,
        firmware: new.firmware,
        state: state.to_owned(),
        wanted: new.learn.map_or(0, u64::from),
        teachers: String::from("[]"),
        measurements: serde_json::to_string(&new.measurements).map_err(Error::internal)?,
        revision: 1,
        created_by: ctx.principal.actor().name,
        created_at: now,
        updated_at: now,
    };
    let ctx_in = ctx.clone();
    let row = app
        .write(tenant, "add reference", move |tx| {
            Box::pin(async move {
                let before = tx.attestation_reference_for_update(&row.id).await?;
                let revision = before.map_or(1, |before| before.revision + 1);
                let row = AttestationReferenceRow { revision, ..row };
                tx.put_attestation_reference(&row).await?;
                journal(tx, &ctx_in, Action::AttestationReferenceSet, &row, now).await?;
                Ok(row)
            })
        })
        .await?;
    reference_of(row)
}

fn check(new: &NewReference) -> Result<()> {
    check_line("hardware", &new.hardware, limits::DEVICE_FIELD_BYTES)?;
    check_line("firmware", &new.firmware, limits::DEVICE_FIELD_BYTES)?;
    check_references(&new.measurements).map_err(|why| Error::invalid("measurements", why))?;
    match new.learn {
        Some(0) => Err(Error::invalid("learn", "at least one device teaches")),
        Some(count) if count > limits::ATTESTATION_TEACHERS => {
            Err(Error::invalid("learn", format!("{} devices at most", limits::ATTESTATION_TEACHERS)))
        }
        None if new.measurements.is_empty() => {
            Err(Error::invalid("measurements", "give measurements, or `learn` from devices"))
        }
        _ => Ok(()),
    }
}

/// Ends the learning: what was taught is what is good.
///
/// # Errors
/// `NotFound`; `Conflict` (`nothing-learned`) where no device taught yet.
pub async fn lock_reference(app: &App, ctx: &Ctx, tenant: &TenantId, id: String) -> Result<Reference> {
    ctx.allow(tenant, Permission::AttestationUpdate)?;
    let (now, ctx_in) = (app.now(), ctx.clone());
    let row = app
        .write(tenant, "lock reference", move |tx| {
            Box::pin(async move {
                let row = tx.attestation_reference_for_update(&id).await?;
                let row = row.ok_or(Error::NotFound { what: "reference" })?;
                if row.state == LOCKED {
                    return Ok(row);
                }
                if row.measurements == "{}" {
                    return Err(Error::conflict("nothing-learned", "no device taught this reference yet"));
                }
                let revision = row.revision + 1;
                let row = AttestationReferenceRow { state: LOCKED.to_owned(), revision, updated_at: now, ..row };
                tx.put_attestation_reference(&row).await?;
                journal(tx, &ctx_in, Action::AttestationReferenceLocked, &row, now).await?;
                Ok(row)
            })
        })
        .await?;
    reference_of(row)
}

/// Forgets what is good for a cohort.
///
/// # Errors
/// `NotFound`.
pub async fn remove_reference(app: &App, ctx: &Ctx, tenant: &TenantId, id: String) -> Result<()> {
    ctx.allow(tenant, Permission::AttestationUpdate)?;
    let (now, ctx_in) = (app.now(), ctx.clone());
    app.write(tenant, "remove reference", move |tx| {
        Box::pin(async move {
            let row = tx.attestation_reference_for_update(&id).await?;
            let row = row.ok_or(Error::NotFound { what: "reference" })?;
            tx.remove_attestation_reference(&id).await?;
            journal(tx, &ctx_in, Action::AttestationReferenceRemoved, &row, now).await
        })
    })
    .await
}

async fn journal(
    tx: &mut TenantTx,
    ctx: &Ctx,
    action: Action,
    row: &AttestationReferenceRow,
    now: Timestamp,
) -> Result<()> {
    let detail = json!({ "hardware": row.hardware, "firmware": row.firmware, "state": row.state });
    record(tx, &ctx.done(now, action).subject(&row.id).severity(Severity::Notice).detail(detail)).await?;
    Ok(())
}

/// One reference.
///
/// # Errors
/// `NotFound`.
pub async fn reference(app: &App, ctx: &Ctx, tenant: &TenantId, id: String) -> Result<Reference> {
    ctx.allow(tenant, Permission::AttestationRead)?;
    let row = app
        .read(tenant, "reference", move |tx| Box::pin(async move { Ok(tx.attestation_reference(&id).await?) }))
        .await?;
    reference_of(row.ok_or(Error::NotFound { what: "reference" })?)
}

/// A page of the references, by id, after `after`.
///
/// # Errors
/// `NotFound`, `Denied`.
pub async fn references(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    after: Option<String>,
    limit: u32,
) -> Result<Vec<Reference>> {
    ctx.allow(tenant, Permission::AttestationRead)?;
    let limit = limit.clamp(1, limits::PAGE_ROWS + 1);
    let rows = app
        .read(tenant, "references", move |tx| {
            Box::pin(async move { Ok(tx.attestation_references(after.as_deref(), limit).await?) })
        })
        .await?;
    rows.into_iter().map(reference_of).collect()
}

/// The name of a cohort in paths.
fn id_of(hardware: &str, firmware: &str) -> String {
    let mut id = hex(&Hash::Sha256.digest(&[hardware.as_bytes(), &[0], firmware.as_bytes()]));
    id.truncate(32);
    id
}

fn reference_of(row: AttestationReferenceRow) -> Result<Reference> {
    let teachers: Vec<String> = serde_json::from_str(&row.teachers).map_err(Error::internal)?;
    let measurements: BTreeMap<_, _> = serde_json::from_str(&row.measurements).map_err(Error::internal)?;
    Ok(Reference {
        id: row.id,
        hardware: row.hardware,
        firmware: row.firmware,
        state: row.state,
        wanted: row.wanted,
        teachers,
        measurements,
        revision: row.revision,
        created_by: row.created_by,
        created_at: row.created_at,
        updated_at: row.updated_at,
    })
}
