//! Between the device record and its row.

use std::collections::{BTreeMap, BTreeSet};

use fleetward_core::registry::{CertificateRef, Device};
use fleetward_store::DeviceRow;

use crate::error::{Error, Result};

pub(crate) fn device_of(row: DeviceRow) -> Result<Device> {
    let tags: BTreeSet<String> = serde_json::from_str(&row.tags).map_err(Error::internal)?;
    let attributes: BTreeMap<_, _> = serde_json::from_str(&row.attributes).map_err(Error::internal)?;
    let certificate = match (row.certificate_serial, row.certificate_not_after) {
        (Some(serial), Some(not_after)) => Some(CertificateRef { serial, not_after }),
        _ => None,
    };
    Ok(Device {
        id: row.id,
        class: row.class.parse().map_err(Error::internal)?,
        hardware: row.hardware,
        firmware: row.firmware,
        status: row.status.parse().map_err(Error::internal)?,
        owner: row.owner,
        environment: row.environment,
        site: row.site,
        location: row.location,
        parent: row.parent,
        endpoint: row.endpoint,
        tags,
        attributes,
        certificate,
        heartbeat_s: row.heartbeat_s.and_then(|seconds| u32::try_from(seconds).ok()),
        revision: row.revision,
        provisioned_at: row.provisioned_at,
        created_at: row.created_at,
        updated_at: row.updated_at,
    })
}

pub(crate) fn row_of(device: &Device) -> Result<DeviceRow> {
    Ok(DeviceRow {
        id: device.id.clone(),
        class: device.class.to_string(),
        hardware: device.hardware.clone(),
        firmware: device.firmware.clone(),
        status: device.status.to_string(),
        owner: device.owner.clone(),
        environment: device.environment.clone(),
        site: device.site.clone(),
        location: device.location.clone(),
        parent: device.parent.clone(),
        endpoint: device.endpoint.clone(),
        tags: serde_json::to_string(&device.tags).map_err(Error::internal)?,
        attributes: serde_json::to_string(&device.attributes).map_err(Error::internal)?,
        certificate_serial: device.certificate.as_ref().map(|certificate| certificate.serial.clone()),
        certificate_not_after: device.certificate.as_ref().map(|certificate| certificate.not_after),
        heartbeat_s: device.heartbeat_s.map(u64::from),
        revision: device.revision,
        provisioned_at: device.provisioned_at,
        created_at: device.created_at,
        updated_at: device.updated_at,
    })
}
