//! How much policies come to where they are attached. What is refused here is never asked with a message; what was attached
//! before it was counted, `core` closes when it is compiled.

use fleetward_core::topic_policy::{Document, Target, Weight};
use fleetward_store::{TenantTx, TopicPolicyRow, TopicPolicyVersionRow, TopicPolicyWeight};

use crate::error::{Error, Result};

/// As it is kept: rules, and bytes of patterns.
pub(super) fn columns(weight: Weight) -> (u64, u64) {
    (weight.rules as u64, weight.bytes as u64)
}

pub(super) fn of(version: &TopicPolicyVersionRow) -> Result<Weight> {
    let document: Document = serde_json::from_str(&version.document).map_err(Error::internal)?;
    Ok(document.weight())
}

/// Counts a policy that nobody has counted: it is older than the counting.
pub(super) async fn count(tx: &mut TenantTx, policy: TopicPolicyRow) -> Result<()> {
    if policy.rules > 0 {
        return Ok(());
    }
    let versions = tx.topic_policy_versions(&policy.name).await?;
    let Some(counts) = versions.iter().find(|row| row.version == policy.default_version) else { return Ok(()) };
    let (rules, pattern_bytes) = columns(of(counts)?);
    let latest = policy.latest_version;
    tx.update_topic_policy(&TopicPolicyRow { rules, pattern_bytes, ..policy }, latest).await?;
    Ok(())
}

/// Whether what is attached to a target is no more than it may be.
///
/// # Errors
/// `Conflict` (`topic-policy-weight-full`), which names the limit.
pub(super) async fn check_at(tx: &mut TenantTx, target: &Target) -> Result<()> {
    match target {
        Target::Tenant | Target::Selector(_) => check_many(tx).await,
        Target::Device(_) | Target::Certificate(_) => {
            let found = tx.topic_policy_weight_at(target.kind().as_str(), &target.key()).await?;
            check(found, Weight::OF_TARGET, &format!("one {}", target.kind().as_str()))
        }
    }
}

/// The same of everybody that a policy is attached to.
pub(super) async fn check_all(tx: &mut TenantTx, policy: &str) -> Result<()> {
    let (rules, pattern_bytes) = columns(Weight::OF_TARGET);
    let over = tx.topic_policy_overweight(policy, TopicPolicyWeight { rules, pattern_bytes }).await?;
    if let Some((target, found)) = over {
        check(found, Weight::OF_TARGET, &target)?;
    }
    check_many(tx).await
}

async fn check_many(tx: &mut TenantTx) -> Result<()> {
    check(tx.topic_policy_weight_for_many().await?, Weight::OF_MANY, "the tenant and its selectors together")
}

fn check(found: TopicPolicyWeight, most: Weight, whose: &str) -> Result<()> {
    let count = |found: u64| usize::try_from(found).unwrap_or(usize::MAX);
    let weight = Weight { rules: count(found.rules), bytes: count(found.pattern_bytes) };
    match weight.over(most) {
        None => Ok(()),
        Some(why) => Err(Error::conflict("topic-policy-weight-full", format!("{why} for {whose}"))),
    }
}
