//! The job document of a deployment.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fleetward_core::deployment::{Deployment, Kind};
use fleetward_store::ReleaseRow;
use fleetward_supply::select;
use fleetward_wire::aws::document::{Artifact, JobDocument, Operation, ReleaseName};

use super::Offer;
use crate::App;
use crate::error::{Error, Result};
use crate::rollouts::observe::manifest_of;

pub(crate) fn offer(app: &App, deployment: Deployment, release: &ReleaseRow) -> Result<Offer> {
    let (operation, artifact) = match deployment.kind {
        Kind::Update => (Operation::Update, Some(artifact(app, &deployment, release)?)),
        Kind::Rollback => (Operation::Rollback, None),
    };
    let document = JobDocument {
        operation,
        rollout: deployment.rollout.to_string(),
        release: ReleaseName { name: release.name.clone(), version: release.version.clone() },
        manifest: STANDARD.encode(&release.manifest),
        signature: STANDARD.encode(&release.signature),
        key_id: release.key_id.clone(),
        artifact,
    };
    Ok(Offer { deployment, document })
}

fn artifact(app: &App, deployment: &Deployment, release: &ReleaseRow) -> Result<Artifact> {
    let manifest = manifest_of(release)?;
    let artifact = select(&manifest, &deployment.hardware).map_err(Error::internal)?;
    let settings = app.settings()?;
    let host = &settings.device_host;
    let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
    Ok(Artifact {
        sha256: artifact.sha256.to_string(),
        size: artifact.size,
        url: format!("https://{host}:{}/artifacts/{}", settings.device_port, artifact.sha256),
    })
}
