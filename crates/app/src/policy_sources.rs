//! Texts that topic policies were translated from: whoever wrote a policy in another language gets back what they wrote.
//!
//! A text is kept beside the version that was made of it and decides nothing. Whoever reads one holds it against the
//! version: a policy may have been removed and made anew under its name.

use fleetward_base::{TenantId, limits};
use fleetward_core::access::Permission;
use fleetward_store::PolicySourceRow;

use crate::error::{Error, Result};
use crate::{App, Ctx};

/// Keeps the text of a version.
///
/// # Errors
/// `TooLarge`.
pub async fn keep_source(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    policy: &str,
    version: u64,
    source: String,
) -> Result<()> {
    ctx.allow(tenant, Permission::TopicPolicyManage)?;
    if source.len() > limits::POLICY_SOURCE_BYTES {
        return Err(Error::TooLarge { what: "the policy", limit: limits::POLICY_SOURCE_BYTES as u64 });
    }
    let row = PolicySourceRow { policy: policy.to_owned(), version, source, created_at: app.now() };
    app.write(tenant, "keep policy source", move |tx| {
        // The version that it belongs to has its line.
        Box::pin(async move { Ok(tx.put_policy_source(&row).await?) })
    })
    .await
}

/// The text of a version, where there is one.
pub async fn source(app: &App, ctx: &Ctx, tenant: &TenantId, policy: &str, version: u64) -> Result<Option<String>> {
    ctx.allow(tenant, Permission::TopicPolicyRead)?;
    let policy = policy.to_owned();
    let row = app.read(tenant, "policy source", move |tx| {
        Box::pin(async move { Ok(tx.policy_source(&policy, version).await?) })
    });
    Ok(row.await?.map(|row| row.source))
}

/// Forgets the texts of all versions of a policy that is no more.
pub async fn forget_sources(app: &App, ctx: &Ctx, tenant: &TenantId, policy: &str) -> Result<()> {
    ctx.allow(tenant, Permission::TopicPolicyManage)?;
    let policy = policy.to_owned();
    app.write(tenant, "forget policy sources", move |tx| {
        Box::pin(async move { Ok(tx.remove_policy_sources(&policy).await.map(drop)?) })
    })
    .await
}
