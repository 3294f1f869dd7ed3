//! What a target meets, page by page: asked alike by the revocation that works on it and by the drill that only looks.

use std::collections::BTreeSet;

use fleetward_base::DeviceId;
use fleetward_core::revocation::Target;
use fleetward_core::selector::Selector;
use fleetward_store::{DeviceSelector, HeldRow, SelectedRow, TenantTx};

use crate::error::Result;

/// A page of what is met: devices, or certificates where those are aimed at.
#[derive(Debug, Default)]
pub(crate) struct Page {
    /// There may be another one.
    pub(crate) more: bool,
    /// Where it goes on.
    pub(crate) cursor: Option<String>,
    pub(crate) devices: Vec<SelectedRow>,
    pub(crate) held: Vec<HeldRow>,
}

/// The page after `after`; of a target that is one thing, that.
pub(crate) async fn page_of(tx: &mut TenantTx, target: &Target, after: &str, limit: u32) -> Result<Page> {
    let full = |found: usize| u32::try_from(found).is_ok_and(|found| found >= limit);
    Ok(match target {
        Target::Certificate { serial } => {
            let known = tx.certificate(serial).await?;
            let held = known.map(|it| HeldRow { serial: it.serial, device: it.device }).into_iter().collect();
            Page { held, ..Page::default() }
        }
        Target::Authority { fingerprint } => {
            let held = tx.certificates_by_authority(fingerprint, after, limit).await?;
            let cursor = held.last().map(|it| it.serial.clone());
            Page { more: full(held.len()), cursor, held, ..Page::default() }
        }
        Target::Claim { source, way } => {
            let way = way.map(|way| way.as_str());
            let held = tx.certificates_by_source(way, source, after, limit).await?;
            let names: BTreeSet<DeviceId> = held.iter().map(|it| it.device.clone()).collect();
            let devices =
                if names.is_empty() { Vec::new() } else { tx.selected_devices(&only(names), "", limit).await? };
            let cursor = held.last().map(|it| it.serial.clone());
            Page { more: full(held.len()), cursor, devices, ..Page::default() }
        }
        Target::Device { device } => {
            let devices = tx.selected_devices(&only([device.clone()]), "", 1).await?;
            Page { devices, ..Page::default() }
        }
        Target::Group { selector } => by_name(tx, &store_selector(selector), after, limit).await?,
        Target::Tenant => by_name(tx, &DeviceSelector::default(), after, limit).await?,
    })
}

async fn by_name(tx: &mut TenantTx, selector: &DeviceSelector, after: &str, limit: u32) -> Result<Page> {
    let devices = tx.selected_devices(selector, after, limit).await?;
    let more = u32::try_from(devices.len()).is_ok_and(|found| found >= limit);
    let cursor = devices.last().map(|it| it.device.as_str().to_owned());
    Ok(Page { more, cursor, devices, ..Page::default() })
}

/// Exactly these devices.
pub(crate) fn only(devices: impl IntoIterator<Item = DeviceId>) -> DeviceSelector {
    DeviceSelector { devices: devices.into_iter().collect(), ..DeviceSelector::default() }
}

pub(crate) fn store_selector(selector: &Selector) -> DeviceSelector {
    DeviceSelector {
        devices: selector.devices.iter().cloned().collect(),
        hardware: selector.hardware.iter().cloned().collect(),
        tags: selector.tags.iter().cloned().collect(),
        environment: selector.environment.clone(),
        site: selector.site.clone(),
        ..DeviceSelector::default()
    }
}
