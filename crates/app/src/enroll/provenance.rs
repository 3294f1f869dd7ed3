//! What the manufacturing database says of a newcomer: whether policy lets it in by that, and what of it goes into its
//! record (requirements I3, I15, I16).

use fleetward_base::DeviceId;
use fleetward_core::identity_policy::EnrolmentPolicy;
use fleetward_core::identity_policy::enrolment::Provenance;
use fleetward_core::registry::{Class, Device, DeviceFields, HARDWARE_UNKNOWN, Scalar};
use fleetward_store::{InventoryRow, TenantTx};

use super::refusal::{Fault, Refusal};
use crate::error::Error;

/// The newcomer's row, if it has one, once policy lets it in with it or without.
pub(crate) async fn admit(
    tx: &mut TenantTx,
    policy: &EnrolmentPolicy,
    device: &DeviceId,
    facts: &DeviceFields,
) -> Result<Option<InventoryRow>, Fault> {
    let row = tx.inventory_by_device(device).await?;
    let class = match row.as_ref().and_then(class_of).or(facts.class) {
        Some(class) => class,
        None => {
            let known = tx.device(device).await?;
            known.and_then(|device| device.class.parse().ok()).unwrap_or(Class::Endpoint)
        }
    };
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
    let said = [("serial", Some(&row.serial)), ("batch", row.batch.as_ref()), ("maker", row.maker.as_ref())];
    for (key, value) in said {
        if let Some(value) = value
            && !before.attributes.contains_key(key)
        {
            facts.attributes.entry(key.to_owned()).or_insert_with(|| Some(Scalar::Text(value.clone())));
        }
    }
    facts
}

fn class_of(row: &InventoryRow) -> Option<Class> {
    row.class.as_ref().and_then(|class| class.parse().ok())
}
