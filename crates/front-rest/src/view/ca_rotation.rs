//! Rotations of authorities.

use fleetward_app::ca_rotations::{RotationView as Found, said};
use fleetward_base::DeviceId;
use serde::Serialize;
use utoipa::ToSchema;

use super::Time;

/// One authority follows another.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CaRotation)]
pub struct CaRotationView {
    pub id: String,
    /// `issuing` or `root`.
    pub kind: String,
    /// `publish`, `issue`, `retired`, `canceled`.
    pub stage: String,
    /// Fingerprints of the authorities.
    pub old: String,
    pub new: String,
    /// How many of the active devices must hold the new anchor.
    pub threshold_percent: f64,
    pub publish_seconds: u64,
    pub settle_seconds: u64,
    pub active_devices: u64,
    /// Those of them that hold the new anchor.
    pub holding_devices: u64,
    /// What rests on the old authority: certificates that count, tenants.
    pub resting: u64,
    /// What it waits for, in words.
    pub waits: Option<String>,
    /// Some of the devices that do not hold the new anchor.
    pub lagging: Vec<String>,
    pub started_at: Time,
    pub stage_at: Time,
    pub finished_at: Option<Time>,
    pub revision: u64,
}

impl CaRotationView {
    pub(crate) fn new(found: Found) -> Self {
        Self {
            id: found.id,
            kind: found.kind.to_string(),
            stage: found.stage.to_string(),
            old: found.old,
            new: found.new,
            threshold_percent: f64::from(found.plan.threshold) / 100.0,
            publish_seconds: found.plan.publish_secs,
            settle_seconds: found.plan.settle_secs,
            active_devices: found.seen.active,
            holding_devices: found.seen.holding,
            resting: found.seen.resting,
            waits: found.waits.as_ref().map(said),
            lagging: found.lagging.iter().map(DeviceId::to_string).collect(),
            started_at: Time(found.started_at),
            stage_at: Time(found.stage_at),
            finished_at: found.finished_at.map(Time),
            revision: found.revision,
        }
    }
}

/// A device that does not hold the new root yet.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LaggingDevice)]
pub struct LaggingDeviceView {
    pub device: String,
}

impl LaggingDeviceView {
    pub(crate) fn new(device: DeviceId) -> Self {
        Self { device: device.to_string() }
    }
}
