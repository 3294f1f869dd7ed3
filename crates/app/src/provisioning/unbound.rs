//! Certificates that operators have made before it is settled which device gets them, and what becomes of them after.
//!
//! AWS's clients make a certificate, then attach it to a thing. Here a certificate belongs to one device for good: until it
//! is attached it waits as those of claims do, and no door takes it; then it is the device's. One that is *set aside* stands
//! on the deny list by its serial number and counts again when it is taken off; one that is detached is set aside and goes
//! back to the same device only. What is removed is revoked, and its row stays as evidence.

mod make;

use std::sync::Arc;

use fleetward_base::{DeviceId, TenantId, Timestamp, limits};
use fleetward_core::access::Permission;
use fleetward_core::enrolment::Way;
use fleetward_core::journal::{Action, Severity};
use fleetward_core::registry::DeviceFields;
use fleetward_core::rotation::Standing;
use fleetward_store::{CertificateRow, DenyRow, PendingCertificateRow, TenantTx};
use serde_json::json;

use super::pending::pem;
use crate::deny_list::{self, Denied};
use crate::enroll::Fault;
use crate::enroll::adopt::{Adoption, adopt};
use crate::error::{Error, Result};
use crate::identity_policy::identity_policy;
use crate::journal::record;
use crate::{App, Ctx};

pub use make::{MadeCertificate, create_from_csr, create_with_key};

/// In place of the name of a claim, which has no such character.
const OPERATORS: &str = ":operators";
/// Why one stands on the deny list.
const SET_ASIDE: &str = "set aside";
const DETACHED: &str = "detached from its device";
/// Both: attached again it does not count either.
const DETACHED_ASIDE: &str = "set aside, and detached from its device";
/// Why one was revoked that is not to be seen any more.
const REMOVED: &str = "removed";

/// How a certificate stands, for those who made it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Active,
    Inactive,
    Revoked,
}

/// A certificate, with or without its device.
#[derive(Clone, Debug)]
pub struct KnownCertificate {
    /// SHA-256 of the DER, hex.
    pub id: String,
    pub serial: String,
    pub der: Vec<u8>,
    /// None: it waits, or was detached.
    pub device: Option<DeviceId>,
    /// Whose it is for good, also where it was detached.
    pub bound_to: Option<DeviceId>,
    pub state: State,
    pub authority: String,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
    pub issued_at: Timestamp,
}

impl KnownCertificate {
    pub fn pem(&self) -> String {
        pem("CERTIFICATE", &self.der)
    }
}

/// One certificate by its id.
///
/// # Errors
/// `NotFound`, also where it was removed.
pub async fn certificate(app: &App, ctx: &Ctx, tenant: &TenantId, id: &str) -> Result<KnownCertificate> {
    ctx.allow(tenant, Permission::DeviceRead)?;
    let (id, app_in, tenant_in) = (id.to_ascii_lowercase(), app.clone(), tenant.clone());
    app.read(tenant, "certificate", move |tx| Box::pin(async move { find(&app_in, &tenant_in, tx, &id).await })).await
}

/// The id of the certificate with this serial number.
pub async fn id_of(app: &App, ctx: &Ctx, tenant: &TenantId, serial: &str) -> Result<Option<String>> {
    ctx.allow(tenant, Permission::DeviceRead)?;
    let serial = serial.to_owned();
    app.read(tenant, "certificate's id", move |tx| {
        Box::pin(async move {
            if let Some(row) = tx.certificate(&serial).await? {
                return Ok(Some(row.fingerprint));
            }
            Ok(tx.pending_certificate_by_serial(&serial).await?.map(|row| row.id))
        })
    })
    .await
}

/// A page of all certificates: those of devices by serial number, then those that wait by id. `after` is what
/// [`place`] says of the last.
pub async fn certificates(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    after: Option<String>,
    limit: u32,
) -> Result<Vec<KnownCertificate>> {
    ctx.allow(tenant, Permission::DeviceRead)?;
    let (now, app_in, tenant_in) = (app.now(), app.clone(), tenant.clone());
    let limit = limit.clamp(1, limits::PAGE_ROWS + 1);
    app.read(tenant, "certificates", move |tx| {
        Box::pin(async move {
            let mut found = Vec::new();
            let after = after.unwrap_or_default();
            let waiting_after = after.strip_prefix('w');
            if waiting_after.is_none() {
                let from = after.strip_prefix('d').unwrap_or_default().to_owned();
                found = held(&app_in, &tenant_in, tx, from, limit).await?;
            }
            let room = limit.saturating_sub(u32::try_from(found.len()).unwrap_or(limit));
            if room > 0 {
                let rows = tx.pending_certificates(OPERATORS, waiting_after, now, room).await?;
                found.extend(rows.into_iter().map(|row| waiting(&app_in, &tenant_in, row)));
            }
            Ok(found)
        })
    })
    .await
}

/// Those of devices, without what was removed.
async fn held(
    app: &App,
    tenant: &TenantId,
    tx: &mut TenantTx,
    mut from: String,
    limit: u32,
) -> Result<Vec<KnownCertificate>> {
    let wanted = usize::try_from(limit).unwrap_or(1);
    let mut found = Vec::new();
    while found.len() < wanted {
        let rows = tx.all_certificates(Some(&from), limit).await?;
        let Some(last) = rows.last() else { break };
        from.clone_from(&last.serial);
        for row in rows {
            if !is_removed(&row) && found.len() < wanted {
                found.push(bound(app, tenant, tx, row).await?);
            }
        }
    }
    Ok(found)
}

/// Where a certificate stands in the order of [`certificates`].
pub fn place(certificate: &KnownCertificate) -> String {
    match certificate.bound_to {
        Some(_) => format!("d{}", certificate.serial),
        None => format!("w{}", certificate.id),
    }
}

/// The certificates with which a device may come in, now or when they are made active.
///
/// # Errors
/// `NotFound` for the device.
pub async fn certificates_of(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    device: &DeviceId,
) -> Result<Vec<KnownCertificate>> {
    ctx.allow(tenant, Permission::DeviceRead)?;
    let (app_in, tenant_in, device) = (app.clone(), tenant.clone(), device.clone());
    app.read(tenant, "certificates of device", move |tx| {
        Box::pin(async move {
            tx.device(&device).await?.ok_or(Error::NotFound { what: "device" })?;
            let mut found = Vec::new();
            for row in tx.certificates(&device, limits::PAGE_ROWS).await? {
                found.push(bound(&app_in, &tenant_in, tx, row).await?);
            }
            found.retain(|one| one.device.is_some() && one.state != State::Revoked);
            Ok(found)
        })
    })
    .await
}

/// Gives a certificate that waits to a device; one that was detached from this device goes back to it. It counts from here
/// on, beside the ones that the device has; as ever, the older one ends when the device was seen with the newer. Asking
/// twice is harmless.
///
/// # Errors
/// `NotFound` for the certificate and the device; `Conflict` (`certificate-bound` where it is another device's,
/// `certificate-inactive`, `certificate-revoked`, or what keeps a device out).
pub async fn attach(app: &App, ctx: &Ctx, tenant: &TenantId, id: &str, device: &DeviceId) -> Result<()> {
    ctx.allow(tenant, Permission::DeviceUpdate)?;
    let policy = identity_policy(app, tenant).await?;
    // An operator says so of this one device.
    let mut policy = (*policy).clone();
    policy.provisioning.reprovision = true;
    let (id, device, ctx_in, now) = (id.to_ascii_lowercase(), device.clone(), ctx.clone(), app.now());
    let (app_in, tenant_in) = (app.clone(), tenant.clone());
    let attached = app.store().write(tenant, "attach certificate", move |tx: &mut TenantTx| {
        Box::pin(async move {
            tx.device(&device).await?.ok_or(Error::NotFound { what: "device" })?;
            let known = find(&app_in, &tenant_in, tx, &id).await?;
            if let Some(owner) = &known.bound_to {
                return Ok::<_, Fault>(again(tx, &ctx_in, &known, owner == &device, now).await?);
            }
            if known.state != State::Active {
                return Err(Error::conflict("certificate-inactive", "it is set aside; make it active first").into());
            }
            let row = tx.pending_certificate(&id).await?.ok_or(NOT_THERE)?;
            if !tx.take_pending_certificate(&id).await? {
                return Err(Error::conflict("certificate-busy", "somebody else attaches it now; repeat").into());
            }
            let adoption = Adoption {
                app: app_in,
                hardware: Vec::new(),
                certificate: row_of(&row, &device, &ctx_in),
                active: true,
                looked_at: true,
                policy: Arc::new(policy),
                detail: json!({
                    "way": Way::Approval.as_str(), "source": ctx_in.principal.actor().name, "certificate_id": row.id,
                }),
                request_id: ctx_in.request_id,
            };
            adopt(tx, adoption, |_| Ok(DeviceFields::default()), now).await?;
            Ok(())
        })
    });
    attached.await.map_err(|fault| match fault {
        Fault::Failed(error) => error,
        Fault::Refused(refusal) => match refusal.error {
            Error::Unauthenticated { reason } => Error::conflict("certificate-refused", reason),
            error => error,
        },
    })?;
    deny_list::refresh(app).await?;
    app.forget_answers(tenant);
    Ok(())
}

/// It has its device already.
async fn again(tx: &mut TenantTx, ctx: &Ctx, known: &KnownCertificate, same: bool, now: Timestamp) -> Result<()> {
    if !same {
        let reason = "it belongs to another device for good; make another certificate";
        return Err(Error::conflict("certificate-bound", reason));
    }
    if known.state == State::Revoked {
        return Err(Error::conflict("certificate-revoked", "it was revoked"));
    }
    if known.device.is_none() {
        let denial = tx.denial(Denied::Serial.as_str(), &known.serial).await?;
        take_back(tx, ctx, &known.serial, now).await?;
        // Somebody has said that it does not count; that it was detached meanwhile does not change that.
        if denial.is_some_and(|denial| denial.reason == DETACHED_ASIDE) {
            set_aside(tx, ctx, &known.serial, SET_ASIDE, now).await?;
        }
    }
    Ok(())
}

/// Takes a certificate from its device: it counts no more, until it is attached to the same device again; one that was set
/// aside before does not count then either. Its session ends. Asking twice is harmless.
///
/// # Errors
/// `NotFound` for the certificate, also where it is not this device's; `Conflict` (`certificate-inactive`) where the deny list
/// has it for a reason of its own.
pub async fn detach(app: &App, ctx: &Ctx, tenant: &TenantId, id: &str, device: &DeviceId) -> Result<()> {
    ctx.allow(tenant, Permission::DeviceRevoke)?;
    let known = certificate(app, ctx, tenant, id).await?;
    if known.bound_to.as_ref() != Some(device) {
        return Err(NOT_THERE);
    }
    let (serial, ctx_in, now) = (known.serial.clone(), ctx.clone(), app.now());
    app.write(tenant, "detach certificate", move |tx| {
        Box::pin(async move {
            let denial = tx.denial(Denied::Serial.as_str(), &serial).await?;
            let reason = match denial.as_ref().map(|denial| denial.reason.as_str()) {
                None | Some(DETACHED) => DETACHED,
                Some(SET_ASIDE | DETACHED_ASIDE) => DETACHED_ASIDE,
                // Attached again it would count, though somebody has denied it.
                Some(_) => {
                    return Err(Error::conflict("certificate-inactive", "the deny list has it; take it off first"));
                }
            };
            take_back(tx, &ctx_in, &serial, now).await?;
            set_aside(tx, &ctx_in, &serial, reason, now).await
        })
    })
    .await?;
    ended(app, tenant, &known).await
}

/// Makes a certificate count, or not. What was revoked stays so.
///
/// # Errors
/// `NotFound`; `Conflict` (`certificate-revoked`, `certificate-detached`).
pub async fn set_state(app: &App, ctx: &Ctx, tenant: &TenantId, id: &str, state: State) -> Result<()> {
    ctx.allow(tenant, Permission::DeviceRevoke)?;
    let known = certificate(app, ctx, tenant, id).await?;
    let detached = known.bound_to.is_some() && known.device.is_none();
    match (known.state, state) {
        (State::Revoked, State::Active) => return Err(Error::conflict("certificate-revoked", "it was revoked")),
        (State::Revoked, _) => return Ok(()),
        (_, State::Active) if detached => {
            return Err(Error::conflict("certificate-detached", "it has no device; attach it to its own again"));
        }
        (_, State::Revoked) => return revoke(app, ctx, tenant, &known, "revoked by an operator").await,
        (found, wanted) if found == wanted => return Ok(()),
        _ => {}
    }
    let (serial, ctx_in, now) = (known.serial.clone(), ctx.clone(), app.now());
    app.write(tenant, "set aside certificate", move |tx| {
        Box::pin(async move {
            match state {
                State::Active => take_back(tx, &ctx_in, &serial, now).await,
                _ => set_aside(tx, &ctx_in, &serial, SET_ASIDE, now).await,
            }
        })
    })
    .await?;
    ended(app, tenant, &known).await
}

/// Revokes a certificate that does not count, and shows it no more; one that was revoked before stays to be seen. Its row
/// stays.
///
/// # Errors
/// `NotFound`; `Conflict` (`certificate-active`, `certificate-attached`) unless `even_so`.
pub async fn remove(app: &App, ctx: &Ctx, tenant: &TenantId, id: &str, even_so: bool) -> Result<()> {
    ctx.allow(tenant, Permission::DeviceRevoke)?;
    let known = certificate(app, ctx, tenant, id).await?;
    if known.state == State::Active {
        return Err(Error::conflict("certificate-active", "it is active; set it aside first"));
    }
    if known.device.is_some() && !even_so {
        return Err(Error::conflict("certificate-attached", "it is a device's; detach it first"));
    }
    revoke(app, ctx, tenant, &known, REMOVED).await
}

async fn revoke(app: &App, ctx: &Ctx, tenant: &TenantId, known: &KnownCertificate, reason: &'static str) -> Result<()> {
    let (known_in, ctx_in, now) = (known.clone(), ctx.clone(), app.now());
    app.write(tenant, "revoke certificate", move |tx| {
        Box::pin(async move {
            // The list of revoked ones has it from here on.
            tx.undeny(Denied::Serial.as_str(), &known_in.serial).await?;
            let entry = ctx_in.done(now, Action::CertificateRevoked).subject(&known_in.serial);
            let entry = entry.severity(Severity::Warning).detail(json!({ "reason": reason }));
            let Some(device) = &known_in.bound_to else {
                if tx.end_pending_certificate(&known_in.id, now).await? {
                    record(tx, &entry).await?;
                }
                return Ok(());
            };
            if tx.revoke_certificate(&known_in.serial, reason, now).await? {
                record(tx, &entry.device(device)).await?;
            }
            Ok(())
        })
    })
    .await?;
    app.forget_answers(tenant);
    ended(app, tenant, known).await
}

/// The door's memory hears of it, and the session that was opened with it ends.
async fn ended(app: &App, tenant: &TenantId, known: &KnownCertificate) -> Result<()> {
    deny_list::refresh(app).await?;
    if let (Some(links), Some(device)) = (app.links(), &known.bound_to) {
        links.recheck(tenant, device);
    }
    Ok(())
}

async fn set_aside(tx: &mut TenantTx, ctx: &Ctx, serial: &str, reason: &'static str, now: Timestamp) -> Result<()> {
    if tx.count_denied().await? >= limits::DENY_LIST_ENTRIES {
        return Err(Error::conflict("deny-list-full", "the deny list is full"));
    }
    let row = DenyRow {
        kind: Denied::Serial.as_str().to_owned(),
        value: serial.to_owned(),
        reason: reason.to_owned(),
        created_by: ctx.principal.actor().name,
        created_at: now,
    };
    if tx.deny(&row).await? {
        let entry = ctx.done(now, Action::DenyListChanged).subject(serial).severity(Severity::Warning);
        record(tx, &entry.detail(json!({ "denied": row.kind, "reason": reason }))).await?;
    }
    Ok(())
}

async fn take_back(tx: &mut TenantTx, ctx: &Ctx, serial: &str, now: Timestamp) -> Result<()> {
    if tx.undeny(Denied::Serial.as_str(), serial).await? {
        let entry = ctx.done(now, Action::DenyListChanged).subject(serial).severity(Severity::Notice);
        record(tx, &entry.detail(json!({ "allowed": Denied::Serial.as_str() }))).await?;
    }
    Ok(())
}

const NOT_THERE: Error = Error::NotFound { what: "certificate" };

async fn find(app: &App, tenant: &TenantId, tx: &mut TenantTx, id: &str) -> Result<KnownCertificate> {
    if let Some(row) = tx.certificate_by_fingerprint(id).await? {
        return if is_removed(&row) { Err(NOT_THERE) } else { bound(app, tenant, tx, row).await };
    }
    let row = tx.pending_certificate(id).await?;
    // Those of claims are their connections' own.
    let row = row.filter(|row| row.claim == OPERATORS && row.expires_at > app.now());
    row.map(|row| waiting(app, tenant, row)).ok_or(NOT_THERE)
}

fn is_removed(row: &CertificateRow) -> bool {
    row.status == Standing::Revoked.as_str() && row.reason.as_deref() == Some(REMOVED)
}

async fn bound(app: &App, tenant: &TenantId, tx: &mut TenantTx, row: CertificateRow) -> Result<KnownCertificate> {
    let standing: Standing = row.status.parse().map_err(Error::internal)?;
    let denied = app.deny_lists().has(tenant, [(Denied::Serial, row.serial.as_str())]);
    let denial = if denied { tx.denial(Denied::Serial.as_str(), &row.serial).await? } else { None };
    let state = match standing {
        Standing::Revoked => State::Revoked,
        _ if denied || !standing.is_accepted() => State::Inactive,
        _ => State::Active,
    };
    let detached = denial.is_some_and(|denial| matches!(denial.reason.as_str(), DETACHED | DETACHED_ASIDE));
    Ok(KnownCertificate {
        id: row.fingerprint,
        serial: row.serial,
        der: row.der,
        device: (!detached).then(|| row.device.clone()),
        bound_to: Some(row.device),
        state,
        authority: row.authority,
        not_before: row.not_before,
        not_after: row.not_after,
        issued_at: row.issued_at,
    })
}

fn waiting(app: &App, tenant: &TenantId, row: PendingCertificateRow) -> KnownCertificate {
    let aside = app.deny_lists().has(tenant, [(Denied::Serial, row.serial.as_str())]);
    KnownCertificate {
        id: row.id,
        serial: row.serial,
        der: row.der,
        device: None,
        bound_to: None,
        state: if aside { State::Inactive } else { State::Active },
        authority: row.authority,
        not_before: row.not_before,
        not_after: row.not_after,
        issued_at: row.created_at,
    }
}

fn row_of(pending: &PendingCertificateRow, device: &DeviceId, ctx: &Ctx) -> CertificateRow {
    CertificateRow {
        serial: pending.serial.clone(),
        device: device.clone(),
        authority: pending.authority.clone(),
        fingerprint: pending.id.clone(),
        request: pending.request.clone(),
        not_before: pending.not_before,
        not_after: pending.not_after,
        der: pending.der.clone(),
        status: Standing::Issued.to_string(),
        issued_at: pending.created_at,
        proven_at: None,
        revoked_at: None,
        reason: None,
        way: Way::Approval.as_str().to_owned(),
        source: Some(ctx.principal.actor().name),
    }
}
