//! Deployments as their devices work on them: what is next, and what came of it.
//!
//! The one way for reports of every protocol. A queued deployment is handed out only while its rollout goes on; one that
//! the device began is its own until it ends.

pub(crate) mod document;
mod report;

use fleetward_base::DeviceId;
use fleetward_core::deployment::{Deployment, DeploymentId, Kind, Refused, Status};
use fleetward_core::rollout::Rollout;
use fleetward_store::{DeploymentKey, ReleaseRow, TenantTx};
use fleetward_wire::aws::document::JobDocument;

use crate::error::{Error, Result};
use crate::rollouts::rows;
use crate::{App, Ctx};

pub(crate) use report::{FIRMWARE, note_firmware};
pub use report::{Reported, report, start_next};

/// A deployment with what it asks of the device.
#[derive(Clone, Debug)]
pub struct Offer {
    pub deployment: Deployment,
    pub document: JobDocument,
}

/// Why a report did nothing.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A rule said no; the deployment is as it was.
    #[error("{refused}")]
    Refused { refused: Refused, deployment: Box<Deployment> },
    #[error(transparent)]
    App(#[from] Error),
}

impl From<fleetward_store::StoreError> for ReportError {
    fn from(error: fleetward_store::StoreError) -> Self {
        Self::App(error.into())
    }
}

/// What is pending for the device that asks: at most one, in progress or queued. Its place among jobs is in [`crate::jobs`].
pub async fn pending(app: &App, ctx: &Ctx) -> Result<Option<Deployment>> {
    let (tenant, device) = ctx.device()?;
    let device = device.clone();
    app.read(tenant, "pending deployment", move |tx| {
        Box::pin(async move { Ok(deliverable(tx, &device).await?.map(|(deployment, ..)| deployment)) })
    })
    .await
}

/// One deployment of the device that asks, at its end or not.
///
/// # Errors
/// `NotFound`.
pub async fn describe(app: &App, ctx: &Ctx, id: DeploymentId) -> Result<Offer> {
    let (tenant, device) = ctx.device()?;
    let (app_in, key) = (app.clone(), key(id, device));
    app.read(tenant, "describe deployment", move |tx| {
        Box::pin(async move {
            let row = tx.deployment(&key).await?.ok_or(Error::NotFound { what: "deployment" })?;
            let (_, release) = of_rollout(tx, row.rollout).await?;
            document::offer(&app_in, rows::deployment_of(row)?, &release)
        })
    })
    .await
}

fn key(id: DeploymentId, device: &DeviceId) -> DeploymentKey {
    DeploymentKey { rollout: id.rollout, device: device.clone(), kind: id.kind.to_string() }
}

async fn of_rollout(tx: &mut TenantTx, id: fleetward_base::RolloutId) -> Result<(Rollout, ReleaseRow)> {
    let row = tx.rollout(id).await?.ok_or(Error::NotFound { what: "rollout" })?;
    let release = tx.release(row.release).await?.ok_or(Error::NotFound { what: "release" })?;
    Ok((rows::rollout_of(row)?, release))
}

/// The device's active deployment, if it is to be told of it.
pub(crate) async fn deliverable(
    tx: &mut TenantTx,
    device: &DeviceId,
) -> Result<Option<(Deployment, Rollout, ReleaseRow)>> {
    let Some(row) = tx.active_deployment(device).await? else { return Ok(None) };
    let deployment = rows::deployment_of(row)?;
    let (rollout, release) = of_rollout(tx, deployment.rollout).await?;
    let kind: Kind = deployment.kind;
    let given = deployment.status == Status::InProgress || rollout.state.delivers(kind);
    Ok(given.then_some((deployment, rollout, release)))
}
