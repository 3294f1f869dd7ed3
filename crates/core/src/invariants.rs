//! The predicates that must hold everywhere, shared by simulation, property tests and debug assertions.
//!
//! Numbers refer to the invariants of `ARCHITECTURE.md`. Each predicate answers with what is wrong, in a sentence.

use std::collections::{BTreeMap, BTreeSet};

use crate::deployment::{Deployment, Kind, Status};
use crate::rollout::{Rollout, State};
use crate::shadow::{Document, VERSION_MEMORY};

/// What is broken, in a sentence.
pub type Broken = String;

/// Invariant 5, first half: what was assigned in the phases so far is within their quota.
pub fn quota_is_kept(rollout: &Rollout, deployments: &[Deployment]) -> Result<(), Broken> {
    let updates = deployments.iter().filter(|d| d.rollout == rollout.id && d.kind == Kind::Update);
    let mut by_phase: BTreeMap<u32, usize> = BTreeMap::new();
    for deployment in updates {
        if deployment.phase > rollout.phase {
            return Err(format!("{} was assigned in phase {} before it began", deployment.device, deployment.phase));
        }
        *by_phase.entry(deployment.phase).or_default() += 1;
    }
    let mut so_far = 0;
    for (phase, assigned) in by_phase {
        so_far += assigned;
        let quota = rollout.policy.quota(phase, rollout.target_count);
        if u32::try_from(so_far).map_or(true, |so_far| so_far > quota) {
            return Err(format!("{so_far} devices assigned by the end of phase {phase}, quota {quota}"));
        }
    }
    Ok(())
}

/// Invariant 6: a device has at most one deployment that is open, and one of a kind in a rollout.
pub fn one_open_deployment(deployments: &[Deployment]) -> Result<(), Broken> {
    let (mut open, mut all) = (BTreeSet::new(), BTreeSet::new());
    for deployment in deployments {
        if !deployment.status.is_terminal() && !open.insert(&deployment.device) {
            return Err(format!("{} has two open deployments", deployment.device));
        }
        if !all.insert((&deployment.rollout, &deployment.device, deployment.kind)) {
            return Err(format!("{} has {} twice", deployment.device, deployment.id()));
        }
    }
    Ok(())
}

/// A deployment only moves forward: versions grow, what is at its end stays there.
pub fn deployment_moved_forward(before: &Deployment, after: &Deployment) -> Result<(), Broken> {
    let name = || format!("{} of {}", after.id(), after.device);
    if after.version < before.version {
        return Err(format!("the version of {} went from {} to {}", name(), before.version, after.version));
    }
    if before != after && (before.version == after.version || before.status.is_terminal()) {
        return Err(format!("{} changed from {} v{}", name(), before.status, before.version));
    }
    if after.status == Status::Queued && before.status != Status::Queued {
        return Err(format!("{} is queued again", name()));
    }
    Ok(())
}

/// Invariant 5, second half: between two looks at a rollout no phase was skipped, a rollout that stood still assigned
/// nothing, and one that ended stays ended unless it is rolled back.
pub fn rollout_moved_forward(before: &Rollout, after: &Rollout) -> Result<(), Broken> {
    if after.phase < before.phase {
        return Err(format!("the phase went from {} back to {}", before.phase, after.phase));
    }
    if after.revision < before.revision || (after.revision == before.revision && after != before) {
        return Err(format!("changed without a new revision {}", before.revision));
    }
    let reopened = before.state.is_terminal() && after.state != before.state && after.state != State::RollingBack;
    let undone = before.state == State::RolledBack && after.state != State::RolledBack;
    if reopened && after.state != State::RolledBack || undone {
        return Err(format!("went from {} to {}", before.state, after.state));
    }
    Ok(())
}

/// A device gets a way back only from an update of the same rollout that succeeded.
pub fn rollbacks_are_earned(deployments: &[Deployment]) -> Result<(), Broken> {
    let succeeded: BTreeSet<_> = deployments
        .iter()
        .filter(|d| d.kind == Kind::Update && d.status == Status::Succeeded)
        .map(|d| (&d.rollout, &d.device))
        .collect();
    match deployments.iter().find(|d| d.kind == Kind::Rollback && !succeeded.contains(&(&d.rollout, &d.device))) {
        Some(deployment) => Err(format!("{} is rolled back from an update that it does not have", deployment.device)),
        None => Ok(()),
    }
}

/// Invariant 7: the version of a shadow grows by one with every update, and is forgotten only after its memory has passed.
pub fn shadow_version_grew(before: Option<&Document>, after: &Document) -> Result<(), Broken> {
    let Some(before) = before else {
        return if after.version == 1 { Ok(()) } else { Err(format!("a new shadow has version {}", after.version)) };
    };
    let forgotten = before.deleted_at.is_some_and(|deleted| after.updated_at.since(deleted) > VERSION_MEMORY);
    let expected = if forgotten { 1 } else { before.version.saturating_add(u64::from(after.deleted_at.is_none())) };
    if after.version == expected {
        Ok(())
    } else {
        Err(format!("the version went from {} to {}", before.version, after.version))
    }
}

/// Metadata has a time stamp for every leaf of the state and for nothing else.
pub fn shadow_metadata_fits(document: &Document) -> Result<(), Broken> {
    if crate::shadow::same_shape(&document.state, &document.metadata) {
        Ok(())
    } else {
        Err(format!("metadata of version {} does not have the shape of its state", document.version))
    }
}
