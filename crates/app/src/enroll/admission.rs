//! Admission: a certificate was shown at a door; whose is it, and may that device come in?

use std::sync::Arc;
use std::time::Duration;

use fleetward_base::{DeviceId, TenantId, Timestamp};
use fleetward_core::access::DeviceRights;
use fleetward_core::identity_policy::IdentityPolicy;
use fleetward_core::journal::Action;
use fleetward_core::lifecycle;
use fleetward_core::rotation::Standing;
use fleetward_pki::Verified;
use fleetward_store::{CertificateRow, TenantTx};
use rustls_pki_types::CertificateDer;

use super::recognise::recognise;
use super::refusal::{Fault, Refusal, Whose, settle};
use super::{Attempt, bearer, ladder, provenance, renewal, usable};
use crate::error::{Error, Result};
use crate::identity_policy::identity_policy;
use crate::{App, Principal, attestation, deny_list};

/// A device that may come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admitted {
    pub tenant: TenantId,
    pub device: DeviceId,
    pub serial: String,
    pub not_after: Timestamp,
    pub rights: DeviceRights,
}

impl Admitted {
    pub fn principal(self) -> Principal {
        Principal::Device { tenant: self.tenant, device: self.device, serial: self.serial, rights: self.rights }
    }
}

/// Lets the device in that proved to hold `presented` in its TLS hand-shake, if its certificate and its record say that
/// it may. The first time proves the certificate and supersedes older ones.
///
/// Ask on every new connection, and on every request of a connection that is kept: the hand-shake may be long past, and
/// a resumed session never looked at the certificate at all.
///
/// # Errors
/// `Unauthenticated` where it may not; the cause is journaled.
pub async fn admit_device(app: &App, attempt: &Attempt, presented: &CertificateDer<'_>) -> Result<Admitted> {
    admit_chain(app, attempt, std::slice::from_ref(presented)).await
}

/// As [`admit_device`], with all certificates that came in the hand-shake, the device's own first: that of a factory may
/// need the intermediate ones. Doors ask this, so that a device is let in by each of them or by none.
///
/// # Errors
/// `Unauthenticated` where it may not; the cause is journaled.
pub async fn admit_chain(app: &App, attempt: &Attempt, presented: &[CertificateDer<'_>]) -> Result<Admitted> {
    match shown(app, attempt, presented).await {
        Ok(admitted) => Ok(admitted),
        Err((whose, fault)) => Err(settle(app, attempt, Action::DeviceConnectionRefused, whose, fault).await),
    }
}

/// As [`admit_chain`], for whoever remembers a refusal as something else.
pub(super) async fn shown(
    app: &App,
    attempt: &Attempt,
    presented: &[CertificateDer<'_>],
) -> Result<Admitted, (Whose, Fault)> {
    let verified = recognise(app, attempt, presented).await?;
    let whose = Whose {
        tenant: Some(verified.tenant.clone()),
        device: Some(verified.device.clone()),
        token: None,
        serial: Some(verified.serial.clone()),
    };
    let leaf = presented.first().map_or(&[][..], |leaf| leaf.as_ref());
    let admitted = if deny_list::is_denied_certificate(app, &verified.tenant, &verified.serial, leaf) {
        Err(Refusal::credential("denied", "the certificate is on the deny list"))
    } else {
        admit(app, attempt, verified).await
    };
    admitted.map_err(|fault| (whose, fault))
}

/// Whether the device that was admitted with this certificate and these rights still may be in with them. For a door whose sessions last: it may have
/// been revoked between its admission and the moment from which its session could be found and ended.
///
/// # Errors
/// Where the store does not answer.
pub async fn still_admitted(
    app: &App,
    tenant: &TenantId,
    device: &DeviceId,
    serial: &str,
    rights: DeviceRights,
) -> Result<bool> {
    if bearer::is_session(serial) {
        return bearer::still_admitted(app, tenant, device, serial, rights).await;
    }
    let (now, device, serial) = (app.now(), device.clone(), serial.to_owned());
    let policy = identity_policy(app, tenant).await?;
    let (app_in, tenant_in) = (app.clone(), tenant.clone());
    app.read(tenant, "still admitted", move |tx: &mut TenantTx| {
        Box::pin(async move {
            let denied =
                |row: &CertificateRow| deny_list::is_denied_certificate(&app_in, &tenant_in, &row.serial, &row.der);
            let row = tx.certificate(&serial).await?.filter(|row| usable(row, now) && !denied(row));
            let Some(row) = row else { return Ok(false) };
            // A factory that ended takes its devices along; their certificates are not ours to revoke.
            let factory = tx.factory_authority(&row.authority).await?;
            let ended = factory.is_some_and(|factory| factory.revoked_at.is_some());
            Ok(!ended && rights_now(&app_in, &tenant_in, tx, &policy, &device, now).await? == Some(rights))
        })
    })
    .await
}

/// What the device of this name may do; `None` where it may not come in. For whoever has it from another, who saw its
/// certificate, which device this is.
///
/// # Errors
/// Where the store does not answer.
pub async fn rights_by_name(app: &App, tenant: &TenantId, device: &DeviceId) -> Result<Option<DeviceRights>> {
    let policy = identity_policy(app, tenant).await?;
    let (app_in, tenant_in, device, now) = (app.clone(), tenant.clone(), device.clone(), app.now());
    app.read(tenant, "rights", move |tx: &mut TenantTx| {
        Box::pin(async move { rights_now(&app_in, &tenant_in, tx, &policy, &device, now).await })
    })
    .await
}

/// What the device may do by its life cycle and its attestation; `None` where it may not come in, as that of which the
/// hardware is refused.
pub(crate) async fn rights_now(
    app: &App,
    tenant: &TenantId,
    tx: &mut TenantTx,
    policy: &IdentityPolicy,
    id: &DeviceId,
    now: Timestamp,
) -> Result<Option<DeviceRights>> {
    let Some(device) = tx.device(id).await? else { return Ok(None) };
    let Some(allowed) = device.status.parse().ok().and_then(lifecycle::rights) else { return Ok(None) };
    if provenance::is_denied(app, tenant, tx, id).await? {
        return Ok(None);
    }
    attestation::rights_of(tx, &policy.attestation, id, &device.class, allowed, now).await.map(Some)
}

async fn admit(app: &App, attempt: &Attempt, verified: Verified) -> Result<Admitted, Fault> {
    let (now, tenant, asked) = (app.now(), verified.tenant.clone(), verified.clone());
    let policy = identity_policy(app, &tenant).await?;
    let (terms, asked_policy, app_in) = (policy.renewal.terms(), Arc::clone(&policy), app.clone());
    let (rights, steps) = app
        .store()
        .read(&tenant, "admit device", move |tx: &mut TenantTx| {
            Box::pin(async move {
                let (row, rights) = standing_of(&app_in, tx, &asked_policy, &asked, now).await?;
                // Nearly always it is the one that the device uses, alone, and there is nothing to write.
                let settled = row.status == Standing::Active.as_str();
                let steps = !settled && ladder::would_step(tx, &row, &terms, now).await?;
                Ok::<_, Fault>((rights, steps))
            })
        })
        .await?;
    if steps {
        let (asked, request_id, app_in) = (verified.clone(), attempt.request_id, app.clone());
        let used = app
            .store()
            .write(&tenant, "certificate in use", move |tx: &mut TenantTx| {
                Box::pin(async move {
                    // Between the two it may have been revoked.
                    let (row, _) = standing_of(&app_in, tx, &policy, &asked, now).await?;
                    Ok::<_, Fault>(ladder::used(tx, &row, &terms, request_id, now).await?)
                })
            })
            .await;
        match used {
            // Another connection of the device was quicker with the same step.
            Err(Fault::Failed(Error::Conflict { .. })) | Ok(()) => {}
            Err(fault) => return Err(fault),
        }
    }
    Ok(Admitted { tenant, device: verified.device, serial: verified.serial, not_after: verified.not_after, rights })
}

async fn standing_of(
    app: &App,
    tx: &mut TenantTx,
    policy: &IdentityPolicy,
    verified: &Verified,
    now: Timestamp,
) -> Result<(CertificateRow, DeviceRights), Fault> {
    let row = renewal::presented_row(tx, verified, now, Duration::ZERO).await?;
    match rights_now(app, &verified.tenant, tx, policy, &verified.device, now).await? {
        Some(rights) => Ok((row, rights)),
        None => Err(Refusal::credential("device-status", "the device may not connect")),
    }
}
