//! Between rollouts, deployments and their rows.

use std::collections::BTreeMap;

use fleetward_core::deployment::Deployment;
use fleetward_core::rollout::{Halt, Rollout};
use fleetward_store::{DeploymentRow, RolloutRow};

use crate::error::{Error, Result};

pub(crate) fn rollout_of(row: RolloutRow) -> Result<Rollout> {
    let halt = match &row.pause_reason {
        Some(text) => serde_json::from_str(text).map_err(Error::internal)?,
        None => Halt::default(),
    };
    Ok(Rollout {
        id: row.id,
        name: row.name,
        release: row.release,
        selector: serde_json::from_str(&row.selector).map_err(Error::internal)?,
        policy: serde_json::from_str(&row.policy).map_err(Error::internal)?,
        state: row.state.parse().map_err(Error::internal)?,
        phase: row.phase,
        phase_started_at: row.phase_started_at,
        gate_met_at: row.gate_met_at,
        halt,
        target_count: u32::try_from(row.target_count).unwrap_or(u32::MAX),
        created_by: row.created_by,
        created_at: row.created_at,
        updated_at: row.updated_at,
        revision: row.revision,
    })
}

pub(crate) fn row_of(rollout: &Rollout) -> Result<RolloutRow> {
    let halt = (rollout.halt != Halt::default()).then(|| serde_json::to_string(&rollout.halt)).transpose();
    Ok(RolloutRow {
        id: rollout.id,
        name: rollout.name.clone(),
        release: rollout.release,
        selector: serde_json::to_string(&rollout.selector).map_err(Error::internal)?,
        policy: serde_json::to_string(&rollout.policy).map_err(Error::internal)?,
        state: rollout.state.to_string(),
        phase: rollout.phase,
        phase_started_at: rollout.phase_started_at,
        gate_met_at: rollout.gate_met_at,
        pause_reason: halt.map_err(Error::internal)?,
        target_count: rollout.target_count.into(),
        created_by: rollout.created_by.clone(),
        created_at: rollout.created_at,
        updated_at: rollout.updated_at,
        revision: rollout.revision,
    })
}

pub(crate) fn deployment_of(row: DeploymentRow) -> Result<Deployment> {
    let detail = match &row.detail {
        Some(text) => serde_json::from_str(text).map_err(Error::internal)?,
        None => BTreeMap::new(),
    };
    Ok(Deployment {
        rollout: row.rollout,
        device: row.device,
        kind: row.kind.parse().map_err(Error::internal)?,
        phase: row.phase,
        status: row.status.parse().map_err(Error::internal)?,
        step: row.step,
        hardware: row.hardware,
        from_version: row.from_version,
        detail,
        version: row.version,
        queued_at: row.queued_at,
        started_at: row.started_at,
        updated_at: row.updated_at,
        finished_at: row.finished_at,
    })
}

pub(crate) fn deployment_row(deployment: &Deployment) -> Result<DeploymentRow> {
    let detail = (!deployment.detail.is_empty()).then(|| serde_json::to_string(&deployment.detail)).transpose();
    Ok(DeploymentRow {
        rollout: deployment.rollout,
        device: deployment.device.clone(),
        kind: deployment.kind.to_string(),
        phase: deployment.phase,
        status: deployment.status.to_string(),
        step: deployment.step.clone(),
        hardware: deployment.hardware.clone(),
        from_version: deployment.from_version.clone(),
        detail: detail.map_err(Error::internal)?,
        version: deployment.version,
        queued_at: deployment.queued_at,
        started_at: deployment.started_at,
        updated_at: deployment.updated_at,
        finished_at: deployment.finished_at,
    })
}
