//! Signs of abuse, as they show in what devices do: noted, told in the journal, and acted on where the tenant's policy says so.
//!
//! What is remembered is in memory and of this process only: behind several servers a clone is found when its two halves meet
//! at one of them, which a load balancer by address makes likely and nothing makes sure. What is decided is in
//! `core::detection`.

mod failures;

use std::collections::HashMap;

use fleetward_base::{DeviceId, TenantId, Timestamp, limits};
use fleetward_core::detection::Finding;
use fleetward_core::detection::sessions::{Arrival, Sessions};
use fleetward_core::detection::surge::Surge;
use fleetward_core::enrolment::Way;
use fleetward_core::identity_policy::{DetectionPolicy, Reaction};
use fleetward_core::journal::{Actor, Entry, Severity};
use fleetward_core::lifecycle::Transition;
use parking_lot::Mutex;
use serde_json::json;

use crate::error::{Error, Result};
use crate::identity_policy::{identity_policy, known_policy};
use crate::journal::record;
use crate::{App, registry};

pub use failures::{AuthFailure, auth_failures};
pub(crate) use failures::{Refused, count_refused, flush_failures};

const COMPONENT: &str = "detection";

/// What the process remembers.
#[derive(Default)]
pub(crate) struct Detection {
    sessions: Mutex<HashMap<(TenantId, DeviceId), Sessions>>,
    reregistrations: Mutex<HashMap<TenantId, Surge>>,
    claims: Mutex<HashMap<(TenantId, String), Surge>>,
    failures: failures::Failures,
}

/// A device has connected. Quick, from memory: for the path of every connection. What is found is to be given to
/// [`settle`].
pub fn connected(app: &App, tenant: &TenantId, device: &DeviceId, arrival: Arrival) -> Vec<Finding> {
    let policy = known_policy(app, tenant);
    let mut sessions = app.detection().sessions.lock();
    let key = (tenant.clone(), device.clone());
    if sessions.len() >= limits::DETECTION_DEVICES && !sessions.contains_key(&key) {
        return Vec::new();
    }
    sessions.entry(key).or_default().arrive(arrival, &policy.detection)
}

/// A device got a certificate on some way in; `returning` where it had one that counted.
pub(crate) async fn enrolled(app: &App, tenant: &TenantId, way: Way, source: Option<&str>, returning: bool) {
    let Ok(policy) = identity_policy(app, tenant).await else { return };
    let findings = surges(app, tenant, way, source, returning, &policy.detection);
    if let Err(error) = settle(app, tenant, None, findings).await {
        tracing::warn!(%error, "a finding could not be journaled");
    }
}

fn surges(
    app: &App,
    tenant: &TenantId,
    way: Way,
    source: Option<&str>,
    returning: bool,
    policy: &DetectionPolicy,
) -> Vec<Finding> {
    let (now, window) = (app.now(), policy.window());
    let minutes = window.as_secs() / 60;
    let mut findings = Vec::new();
    if returning {
        let mut surges = app.detection().reregistrations.lock();
        if surges.entry(tenant.clone()).or_default().happened(now, policy.reregistrations, window) {
            findings.push(Finding::MassReregistration { devices: policy.reregistrations, minutes });
        }
    }
    if let (Way::Claim, Some(claim)) = (way, source) {
        let mut surges = app.detection().claims.lock();
        if surges.entry((tenant.clone(), claim.to_owned())).or_default().happened(now, policy.claims, window) {
            findings.push(Finding::ClaimBurst { claim: claim.to_owned(), devices: policy.claims, minutes });
        }
    }
    findings
}

/// Writes findings down and does what the tenant's policy wants done about them.
///
/// # Errors
/// Where the store does not answer.
pub async fn settle(app: &App, tenant: &TenantId, device: Option<&DeviceId>, findings: Vec<Finding>) -> Result<()> {
    if findings.is_empty() {
        return Ok(());
    }
    let policy = identity_policy(app, tenant).await?;
    for finding in findings {
        let reaction = reaction(&finding, &policy.detection);
        if reaction == Reaction::Ignore {
            continue;
        }
        tracing::warn!(%tenant, device = device.map(DeviceId::as_str), finding = %finding.action(), "security finding");
        write_down(app, tenant, device, &finding, reaction).await?;
        if let (Reaction::Quarantine, Some(device)) = (reaction, device) {
            quarantine(app, tenant, device).await?;
        }
    }
    Ok(())
}

const fn reaction(finding: &Finding, policy: &DetectionPolicy) -> Reaction {
    match finding {
        Finding::TwoPlaces { .. } => policy.two_places,
        Finding::Flapping { .. } => policy.flapping,
        Finding::ImpossibleTravel { .. } => policy.impossible_travel,
        // Nobody in particular is to blame, and a fleet must not be locked out by a factory that is quick.
        Finding::MassReregistration { .. } | Finding::ClaimBurst { .. } => Reaction::Event,
    }
}

async fn write_down(
    app: &App,
    tenant: &TenantId,
    device: Option<&DeviceId>,
    finding: &Finding,
    reaction: Reaction,
) -> Result<()> {
    let mut detail = finding.detail();
    if let Some(fields) = detail.as_object_mut() {
        fields.insert("reaction".to_owned(), json!(reaction.as_str()));
    }
    let severity = match finding {
        Finding::TwoPlaces { .. } | Finding::MassReregistration { .. } => Severity::Critical,
        Finding::Flapping { .. } | Finding::ImpossibleTravel { .. } | Finding::ClaimBurst { .. } => Severity::Warning,
    };
    let entry = Entry::done(app.now(), Actor::system(COMPONENT), finding.action()).severity(severity).detail(detail);
    let entry = match device {
        Some(device) => entry.device(device),
        None => entry,
    };
    app.write(tenant, "security finding", move |tx| Box::pin(async move { record(tx, &entry).await.map(drop) })).await
}

/// One that is quarantined already, or gone meanwhile, stays as it is.
async fn quarantine(app: &App, tenant: &TenantId, device: &DeviceId) -> Result<()> {
    let system = app.system(COMPONENT);
    match registry::change_status(app, &system, tenant, device, Transition::Quarantine).await {
        Ok(_) | Err(Error::Conflict { .. } | Error::NotFound { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Forgets what no later event could be held against; how much.
pub(crate) fn forget_stale(app: &App, now: Timestamp) -> usize {
    let detection = app.detection();
    let before = detection.sessions.lock().len();
    detection.sessions.lock().retain(|_, sessions| !sessions.is_stale(now));
    // The longest window that a policy can have.
    let longest = std::time::Duration::from_secs(24 * 3600);
    detection.reregistrations.lock().retain(|_, surge| !surge.is_stale(now, longest));
    detection.claims.lock().retain(|_, surge| !surge.is_stale(now, longest));
    before.saturating_sub(detection.sessions.lock().len())
}
