//! Making a certificate and keeping it: what first enrolment and renewal share.
//!
//! It is signed before the transaction that keeps it, so that the writer of the database never waits for a signature. One
//! that the transaction then refuses was never seen by anybody.

use fleetward_base::{DeviceId, RequestId, TenantId, Timestamp};
use fleetward_core::enrolment::Way;
use fleetward_core::journal::{Action, Actor, Entry};
use fleetward_core::lifecycle::{Status, Transition, decide};
use fleetward_core::registry::{CertificateRef, Device};
use fleetward_core::rotation::{Standing, Terms};
use fleetward_pki::foreign::Named;
use fleetward_pki::{Csr, Validity};
use fleetward_store::{CertificateRow, TenantTx};
use serde_json::json;

use super::ladder;
use super::refusal::{Fault, Refusal};
use crate::authority::{LeafFault, Wish};
use crate::error::Error;
use crate::identity_policy::identity_policy;
use crate::journal::record;
use crate::registry::{device_of, row_of};
use crate::{App, authority};

/// By which way somebody came, and what was shown there.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    pub(super) way: Way,
    pub(super) source: Option<String>,
}

/// Signs a certificate of `device` for the request, as long as the tenant's policy says. It is nobody's until [`keep`] kept
/// it.
pub(super) async fn sign(
    app: &App,
    tenant: &TenantId,
    device: &DeviceId,
    csr: &Csr,
    origin: Origin,
) -> Result<CertificateRow, Fault> {
    let policy = identity_policy(app, tenant).await?;
    let now = app.now();
    let validity = Validity {
        not_before: now.minus(policy.certificates.backdate()),
        not_after: now.plus(policy.certificates.life()),
    };
    let latest = validity.not_after;
    let signed =
        match authority::sign_leaf(app, &Wish { tenant, named: Named::Device(device), csr, validity, latest }).await {
            Ok(signed) => signed,
            Err(LeafFault::Request(error)) => return Err(error.into()),
            Err(LeafFault::Failed(error)) => return Err(error.into()),
        };
    app.traffic().issued();
    let (issued, authority) = (signed.issued, signed.authority);
    Ok(CertificateRow {
        serial: issued.serial.to_string(),
        device: device.clone(),
        authority,
        fingerprint: issued.fingerprint,
        request: csr.request_hash(tenant).to_vec(),
        not_before: issued.validity.not_before,
        not_after: issued.validity.not_after,
        der: issued.der,
        status: Standing::Issued.to_string(),
        issued_at: now,
        proven_at: None,
        revoked_at: None,
        reason: None,
        way: origin.way.to_string(),
        source: origin.source,
    })
}

/// The device's record, made where there is none yet, held until the transaction ends.
pub(super) async fn device_for_enrolment(
    tx: &mut TenantTx,
    id: &DeviceId,
    request_id: RequestId,
    now: Timestamp,
) -> Result<Device, Fault> {
    if let Some(row) = tx.device_for_update(id).await? {
        return Ok(device_of(row)?);
    }
    let device = Device::new(id.clone(), now);
    tx.insert_device(&row_of(&device)?).await?;
    let entry = Entry::done(now, Actor::device(id), Action::DeviceCreated).device(id).request(Some(request_id));
    record(tx, &entry.detail(json!({ "by": "enrolment" }))).await?;
    Ok(device)
}

/// Keeps a certificate that was signed: its row with its place on the ladder, the device's record, and the journal.
pub(super) async fn keep(
    tx: &mut TenantTx,
    before: &Device,
    row: &CertificateRow,
    mut entry: Entry,
    terms: &Terms,
    request_id: RequestId,
) -> Result<(), Fault> {
    let status = decide(before.status, Transition::Enroll).map_err(|refused| {
        Fault::Refused(Refusal { cause: "device-status", error: Error::conflict("life-cycle", refused.to_string()) })
    })?;
    tx.insert_certificate(row).await?;
    let certificate = Some(CertificateRef { serial: row.serial.clone(), not_after: row.not_after });
    let after = Device {
        status,
        certificate,
        provisioned_at: before.provisioned_at.or(Some(row.issued_at)),
        revision: before.revision + 1,
        updated_at: row.issued_at,
        ..before.clone()
    };
    if !tx.update_device(&row_of(&after)?, before.revision).await? {
        return Err(Error::conflict("device-changed", "the device's record changed meanwhile").into());
    }
    if let Some(detail) = entry.detail.as_object_mut() {
        detail.insert("serial".to_owned(), json!(row.serial));
        detail.insert("not_after".to_owned(), json!(row.not_after.to_string()));
        detail.insert("rotation".to_owned(), json!(request_id.to_string()));
        if status != before.status {
            detail.insert("from".to_owned(), json!(before.status.as_str()));
            detail.insert("to".to_owned(), json!(status.as_str()));
        }
    }
    let renews = entry.action == Action::CertificateRenewed;
    record(tx, &entry.device(&before.id)).await?;
    ladder::issued(tx, row, renews, terms, request_id).await?;
    Ok(())
}

/// Whether a device may be given a certificate for the one that it holds. Quarantine does not take a device's identity.
pub(super) fn may_renew(status: Status) -> bool {
    matches!(status, Status::Active | Status::Quarantined)
}
