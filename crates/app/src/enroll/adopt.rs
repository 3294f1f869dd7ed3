//! A device that is to be known by a certificate that is there already: one that waited for its device, or a factory's.
//!
//! The other path to a first certificate is [`super::newcomer`], which signs one. Both end in [`take_in`]; what is added
//! here is that nobody takes the name of a device that is in use, and that the device may have to wait for a person.

use std::sync::Arc;

use fleetward_base::{RequestId, Timestamp};
use fleetward_core::enrolment::Way;
use fleetward_core::identity_policy::IdentityPolicy;
use fleetward_core::journal::{Action, Actor, Entry};
use fleetward_core::lifecycle::{Transition, decide};
use fleetward_core::registry::{Device, DeviceFields};
use fleetward_store::{CertificateRow, TenantTx};
use serde_json::{Value, json};

use super::intake::{Intake, take_in};
use super::refusal::{Fault, Refusal};
use super::usable;
use crate::App;
use crate::error::{Error, Result};
use crate::journal::record;
use crate::registry::{device_of, row_of};

/// What is to be kept together.
pub(crate) struct Adoption {
    pub(crate) app: App,
    /// What the device showed of its hardware: the names in a factory's certificate.
    pub(crate) hardware: Vec<String>,
    /// The certificate, with the device that it is to be known for.
    pub(crate) certificate: CertificateRow,
    /// Where not, the device is quarantined until somebody has looked at it.
    pub(crate) active: bool,
    /// Whether a person decided on this one device.
    pub(crate) looked_at: bool,
    pub(crate) policy: Arc<IdentityPolicy>,
    /// For the journal.
    pub(crate) detail: Value,
    pub(crate) request_id: RequestId,
}

/// Makes the device known by its certificate, its record by `fields`, which gets what is known already; whether it had one
/// before.
///
/// # Errors
/// A refusal (`device-in-use`, or as of [`take_in`]).
pub(crate) async fn adopt(
    tx: &mut TenantTx,
    adoption: Adoption,
    fields: impl FnOnce(Option<&Device>) -> Result<DeviceFields> + Send,
    now: Timestamp,
) -> Result<bool, Fault> {
    let Adoption { app, hardware, certificate: row, active, looked_at, policy, detail, request_id } = adoption;
    let way: Way = row.way.parse().map_err(Error::internal)?;
    let known = tx.device_for_update(&row.device).await?.map(device_of).transpose()?;
    if let Some(device) = &known
        && !policy.provisioning.reprovision
        && in_use(tx, device, now).await?
    {
        let error = Error::conflict("device-in-use", format!("the device {} has a certificate in use", device.id));
        return Err(Fault::Refused(Refusal { cause: "device-in-use", error }));
    }
    let facts = |error| Fault::Refused(Refusal { cause: "device-facts", error });
    let fields = fields(known.as_ref()).map_err(facts)?;
    let intake = Intake {
        certificate: &row,
        way,
        signed_here: way != Way::Factory,
        fields,
        hardware: &hardware,
        policy: &policy,
        detail,
        request_id,
    };
    let returning = take_in(&app, tx, intake, now).await?;
    // Where policy wants a person to look at those who come this way, it is let in with reduced rights until then.
    if !active || (!looked_at && policy.enrolment.approval.contains(&way)) {
        quarantine(tx, &row, request_id, now).await?;
    }
    Ok(returning)
}

/// Whether the device's certificate still counts.
async fn in_use(tx: &mut TenantTx, device: &Device, now: Timestamp) -> Result<bool, Fault> {
    let Some(certificate) = &device.certificate else { return Ok(false) };
    Ok(tx.certificate(&certificate.serial).await?.is_some_and(|row| usable(&row, now)))
}

async fn quarantine(
    tx: &mut TenantTx,
    row: &CertificateRow,
    request_id: RequestId,
    now: Timestamp,
) -> Result<(), Fault> {
    let device = tx.device_for_update(&row.device).await?.map(device_of).transpose()?;
    let before = device.ok_or_else(|| Error::internal("a device that was just made"))?;
    let status = decide(before.status, Transition::Quarantine).map_err(|refused| {
        let error = Error::conflict("life-cycle", refused.to_string());
        Fault::Refused(Refusal { cause: "device-status", error })
    })?;
    let after = Device { status, revision: before.revision + 1, updated_at: now, ..before.clone() };
    if !tx.update_device(&row_of(&after)?, before.revision).await? {
        return Err(Error::conflict("device-changed", "the device's record changed meanwhile").into());
    }
    let detail = json!({ "from": before.status.as_str(), "to": status.as_str(), "by": "template" });
    let entry = Entry::done(now, Actor::system("provisioning"), Action::DeviceStatusChanged).device(&before.id);
    record(tx, &entry.detail(detail).request(Some(request_id))).await?;
    Ok(())
}
