//! What the manufacturing database says of a newcomer: whether policy lets it in by that, and what of it goes into its
//! record (requirements I3, I15, I16).

use fleetward_base::{DeviceId, TenantId};
use fleetward_core::identity_policy::EnrolmentPolicy;
use fleetward_core::identity_policy::enrolment::Provenance;
use fleetward_core::registry::{Class, Device, DeviceFields, HARDWARE_UNKNOWN, Scalar};
use fleetward_store::{InventoryRow, TenantTx};

use super::refusal::{Fault, Refusal};
use crate::App;
use crate::deny_list::{self, Denied};
use crate::error::{Error, Result};
use crate::registry::device_of;

/// Under which attribute of its record a device's serial number stands.
const SERIAL: &str = "serial";

/// The newcomer's row, if it has one, once policy lets it in with it or without.
pub(crate) async fn admit(
    tx: &mut TenantTx,
    policy: &EnrolmentPolicy,
    device: &DeviceId,
    facts: &DeviceFields,
) -> Result<Option<InventoryRow>, Fault> {
    let row = tx.inventory_by_device(device).await?;
    let class = class_for(tx, row.as_ref(), device, facts).await?;
    let provenance = row.as_ref().map(|row| Provenance {
        attested: row.attested_by.is_some(),
        root_of_trust: row.root_of_trust.as_ref().and_then(|root| root.parse().ok()),
    });
    policy.admit(class, provenance).map_err(|no| {
        let error = Error::conflict(no.code(), no.to_string());
        Fault::Refused(Refusal { cause: no.code(), error })
    })?;
    Ok(row)
}

/// Of which class the newcomer is going to be.
pub(crate) async fn class_for(
    tx: &mut TenantTx,
    row: Option<&InventoryRow>,
    device: &DeviceId,
    facts: &DeviceFields,
) -> Result<Class> {
    if let Some(class) = row.and_then(class_of).or(facts.class) {
        return Ok(class);
    }
    let known = tx.device(device).await?;
    Ok(known.and_then(|device| device.class.parse().ok()).unwrap_or(Class::Endpoint))
}

/// What the database and the credential say, for the record of a device that is `before`. The credential is nearer to the
/// device than the database, and what somebody has written into the record stays.
pub(crate) fn facts(before: &Device, row: Option<&InventoryRow>, mut facts: DeviceFields) -> DeviceFields {
    let Some(row) = row else { return facts };
    let first = before.provisioned_at.is_none();
    if first && facts.class.is_none() && before.class == Class::Endpoint {
        facts.class = class_of(row);
    }
    if facts.hardware.is_none() && before.hardware == HARDWARE_UNKNOWN {
        facts.hardware.clone_from(&row.hardware);
    }
    let said = [(SERIAL, Some(&row.serial)), ("batch", row.batch.as_ref()), ("maker", row.maker.as_ref())];
    for (key, value) in said {
        if let Some(value) = value
            && !before.attributes.contains_key(key)
        {
            facts.attributes.entry(key.to_owned()).or_insert_with(|| Some(Scalar::Text(value.clone())));
        }
    }
    facts
}

/// Refuses whoever is, or is going to be, a piece of hardware that stands on the deny list, by what `facts` or `shown` say
/// of it and by what is known of the device already.
pub(crate) async fn check_hardware(
    app: &App,
    tenant: &TenantId,
    tx: &mut TenantTx,
    device: &DeviceId,
    facts: &DeviceFields,
    shown: &[String],
) -> Result<(), Fault> {
    let said = facts.attributes.get(SERIAL).and_then(|value| text_of(value.as_ref()?));
    let shown = shown.iter().map(String::as_str).chain(said);
    if shown.into_iter().any(|hardware| deny_list::is_denied_hardware(app, tenant, hardware))
        || is_denied(app, tenant, tx, device).await?
    {
        return Err(Refusal::credential("denied-hardware", "the hardware is on the deny list"));
    }
    Ok(())
}

/// Whether the hardware of a device stands on the deny list: its serial number or endorsement key by its maker, the serial
/// number of its record, or what it proved to be.
pub(crate) async fn is_denied(app: &App, tenant: &TenantId, tx: &mut TenantTx, device: &DeviceId) -> Result<bool> {
    // Most tenants refuse no hardware: no statement for them.
    if !app.deny_lists().has_any(tenant, Denied::Hardware) {
        return Ok(false);
    }
    let made = tx.inventory_by_device(device).await?;
    let record = tx.device(device).await?.map(device_of).transpose()?;
    let proven = tx.attestation(device).await?.and_then(|row| row.identity);
    let written = record.as_ref().and_then(|record| text_of(record.attributes.get(SERIAL)?));
    let made = made.as_ref().map(|row| (row.serial.as_str(), row.ek_hash.as_deref()));
    let known = [made.map(|(serial, _)| serial), made.and_then(|(_, key)| key), proven.as_deref(), written];
    Ok(known.into_iter().flatten().any(|hardware| deny_list::is_denied_hardware(app, tenant, hardware)))
}

fn text_of(value: &Scalar) -> Option<&str> {
    match value {
        Scalar::Text(text) => Some(text),
        _ => None,
    }
}

fn class_of(row: &InventoryRow) -> Option<Class> {
    row.class.as_ref().and_then(|class| class.parse().ok())
}
