//! What a revocation would meet, before anything is done.

use fleetward_base::{DeviceId, TenantId};
use fleetward_core::lifecycle;
use fleetward_core::revocation::Target;
use fleetward_store::{DeviceSelector, Reach, TenantTx};

use super::allow;
use super::selection::{only, store_selector};
use crate::error::{Error, Result};
use crate::{App, Ctx};

/// Names that are shown of those that it would meet.
const SHOWN: u32 = 20;

/// The reach of a revocation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    pub devices: u64,
    /// Certificates that still count and would not.
    pub certificates: u64,
    /// How many of those that are shown may connect now.
    pub active: u64,
    /// The first of them, by name.
    pub examples: Vec<DeviceId>,
}

/// Counts what a target meets.
///
/// # Errors
/// As `begin`.
pub async fn preview(app: &App, ctx: &Ctx, tenant: &TenantId, target: Target) -> Result<Preview> {
    allow(ctx, tenant, &target)?;
    target.check().map_err(|bad| Error::invalid(bad.field, bad.why))?;
    app.read(tenant, "revocation preview", move |tx| {
        Box::pin(async move {
            let reach = reach(tx, &target).await?;
            let examples = examples(tx, &target).await?;
            let mut active = 0;
            for id in &examples {
                let status = tx.device(id).await?.and_then(|row| row.status.parse().ok());
                active += u64::from(status.is_some_and(lifecycle::may_connect));
            }
            Ok(Preview { devices: reach.devices, certificates: reach.certificates, active, examples })
        })
    })
    .await
}

/// How many steps it will be: devices, or certificates where those are aimed at.
pub(crate) async fn total(tx: &mut TenantTx, target: &Target) -> Result<u64> {
    let reach = reach(tx, target).await?;
    Ok(if target.is_of_certificates() { reach.certificates } else { reach.devices })
}

async fn reach(tx: &mut TenantTx, target: &Target) -> Result<Reach> {
    Ok(match target {
        Target::Certificate { serial } => {
            let row = tx.certificate(serial).await?.ok_or(Error::NotFound { what: "certificate" })?;
            Reach { certificates: u64::from(row.revoked_at.is_none()), devices: 1 }
        }
        Target::Device { device } => {
            if tx.device(device).await?.is_none() {
                return Err(Error::NotFound { what: "device" });
            }
            tx.reach_of_devices(&only([device.clone()])).await?
        }
        Target::Group { selector } => tx.reach_of_devices(&store_selector(selector)).await?,
        Target::Tenant => tx.reach_of_devices(&DeviceSelector::default()).await?,
        Target::Claim { source, way } => tx.reach_of_source(way.map(|way| way.as_str()), source).await?,
        Target::Authority { fingerprint } => {
            if !tx.authorities().await?.iter().any(|row| row.fingerprint == *fingerprint) {
                return Err(Error::NotFound { what: "authority" });
            }
            tx.reach_of_authority(fingerprint).await?
        }
    })
}

async fn examples(tx: &mut TenantTx, target: &Target) -> Result<Vec<DeviceId>> {
    let held = match target {
        Target::Certificate { serial } => {
            return Ok(tx.certificate(serial).await?.map(|row| row.device).into_iter().collect());
        }
        Target::Device { device } => return Ok(vec![device.clone()]),
        Target::Group { selector } => return selected(tx, &store_selector(selector)).await,
        Target::Tenant => return selected(tx, &DeviceSelector::default()).await,
        Target::Claim { source, way } => {
            tx.certificates_by_source(way.map(|way| way.as_str()), source, "", SHOWN).await?
        }
        Target::Authority { fingerprint } => tx.certificates_by_authority(fingerprint, "", SHOWN).await?,
    };
    let names: std::collections::BTreeSet<DeviceId> = held.into_iter().map(|row| row.device).collect();
    Ok(names.into_iter().collect())
}

async fn selected(tx: &mut TenantTx, selector: &DeviceSelector) -> Result<Vec<DeviceId>> {
    let rows = tx.selected_devices(selector, "", SHOWN).await?;
    Ok(rows.into_iter().map(|row| row.device).collect())
}
