//! Devices fetch what they are to install, and nothing else.

use std::ops::Range;

use bytes::Bytes;
use fleetward_base::{DeviceId, TenantId};
use fleetward_store::TenantTx;
use fleetward_supply::Sha256;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::{GetOptions, GetRange, ObjectStore};

use super::artifacts::{location, storage};
use crate::error::{Error, Result};
use crate::rollouts::observe::manifest_of;
use crate::{App, Ctx};

/// Releases and deployments of a device that are looked at, the newest first.
const LOOKED_AT: u32 = 50;

/// An artifact that this device may fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetched {
    pub tenant: TenantId,
    pub sha256: Sha256,
    pub size: u64,
}

/// The artifact, where the device that speaks has, or had, a deployment that names it for its hardware.
///
/// # Errors
/// `NotFound`, whatever the cause: a device learns nothing of other artifacts.
pub async fn device_artifact(app: &App, ctx: &Ctx, sha256: Sha256) -> Result<Fetched> {
    let (tenant, device) = ctx.device()?;
    let device = device.clone();
    let size = app
        .read(tenant, "device artifact", move |tx| {
            Box::pin(async move {
                let hardware = hardware_of(tx, &device).await?;
                for row in tx.deployed_releases(&device, LOOKED_AT).await? {
                    let manifest = manifest_of(&row)?;
                    let named = manifest.artifacts().iter().find(|artifact| {
                        artifact.sha256 == sha256
                            && artifact.hardware.iter().any(|made_for| hardware.contains(made_for))
                    });
                    if let Some(artifact) = named {
                        return Ok(Some(artifact.size));
                    }
                }
                Ok(None)
            })
        })
        .await?;
    let size = size.ok_or(Error::NotFound { what: "artifact" })?;
    Ok(Fetched { tenant: tenant.clone(), sha256, size })
}

/// What the device is, and what it was when it was given a deployment.
async fn hardware_of(tx: &mut TenantTx, device: &DeviceId) -> Result<Vec<String>> {
    let deployments = tx.device_deployments(device, LOOKED_AT).await?;
    let mut hardware: Vec<String> = deployments.into_iter().map(|row| row.hardware).collect();
    hardware.extend(tx.device(device).await?.map(|row| row.hardware));
    hardware.sort();
    hardware.dedup();
    Ok(hardware)
}

/// The bytes in `range` of an artifact, piece by piece.
///
/// # Errors
/// `NotFound` where the bytes are gone, `Unavailable` where the object store is out of reach. A fault on the way ends the
/// stream with an error.
pub async fn open_artifact(
    app: &App,
    artifact: &Fetched,
    range: Range<u64>,
) -> Result<BoxStream<'static, Result<Bytes>>> {
    let options = GetOptions { range: Some(GetRange::Bounded(range)), ..GetOptions::default() };
    let place = location(&artifact.tenant, artifact.sha256);
    match app.objects().get_opts(&place, options).await {
        Ok(found) if found.meta.size == artifact.size => {
            Ok(found.into_stream().map(|piece| piece.map_err(storage)).boxed())
        }
        Ok(_) | Err(object_store::Error::NotFound { .. }) => {
            tracing::error!(sha256 = %artifact.sha256, "the bytes of an artifact are gone");
            Err(Error::NotFound { what: "artifact" })
        }
        Err(error) => Err(storage(error)),
    }
}
