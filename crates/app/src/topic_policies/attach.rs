//! Whom a policy is attached to.

use fleetward_base::{TenantId, Timestamp, limits};
use fleetward_core::access::Permission;
use fleetward_core::journal::{Action, Severity};
use fleetward_core::topic_policy::Target;
use fleetward_store::{TenantTx, TopicPolicyAttachmentRow};
use serde_json::json;

use super::{changed, existing, weight};
use crate::error::{Error, Result};
use crate::journal::record;
use crate::{App, Ctx};

/// An attachment as people see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttachmentView {
    pub policy: String,
    pub target: Target,
    pub attached_by: String,
    pub attached_at: Timestamp,
}

/// Has a policy hold for a target from now on. Asking twice is harmless.
///
/// # Errors
/// `NotFound` for the policy, and for a device or certificate that is not there; `Conflict` (`topic-policy-attachments-full`),
/// (`topic-policy-weight-full`) where what is attached there would be more than is asked with every message.
pub async fn attach_topic_policy(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    policy: &str,
    target: Target,
) -> Result<AttachmentView> {
    ctx.allow(tenant, Permission::TopicPolicyManage)?;
    let (now, ctx_in) = (app.now(), ctx.clone());
    let row = TopicPolicyAttachmentRow {
        policy: policy.to_owned(),
        kind: target.kind().as_str().to_owned(),
        target: target.key(),
        attached_by: ctx.principal.actor().name,
        attached_at: now,
    };
    let (row_in, target_in) = (row.clone(), target.clone());
    app.write(tenant, "attach topic policy", move |tx| {
        Box::pin(async move {
            let policy = existing(tx, &row_in.policy).await?;
            check_target(tx, &target_in).await?;
            if !tx.attach_topic_policy(&row_in).await? {
                return Ok(());
            }
            // Counted with the new one in.
            let (found, most) = match target_in {
                Target::Tenant | Target::Selector(_) => {
                    (tx.topic_policies_for_many().await?, limits::TOPIC_POLICIES_FOR_MANY)
                }
                Target::Device(_) | Target::Certificate(_) => {
                    let found = tx.topic_policies_at(&row_in.kind, &row_in.target).await?.len();
                    (found as u64, limits::TOPIC_POLICIES_PER_TARGET)
                }
            };
            if found > most {
                return Err(Error::conflict("topic-policy-attachments-full", format!("there are {most} already")));
            }
            weight::count(tx, policy).await?;
            weight::check_at(tx, &target_in).await?;
            tx.touch_topic_policies().await?;
            let detail = json!({ "kind": row_in.kind, "target": row_in.target });
            let entry = ctx_in.done(now, Action::TopicPolicyAttached).subject(&row_in.policy);
            record(tx, &entry.severity(Severity::Notice).detail(detail)).await?;
            Ok(())
        })
    })
    .await?;
    changed(app, tenant);
    view(row)
}

/// The other way. Asking twice is harmless.
///
/// # Errors
/// `NotFound` for the policy.
pub async fn detach_topic_policy(app: &App, ctx: &Ctx, tenant: &TenantId, policy: &str, target: &Target) -> Result<()> {
    ctx.allow(tenant, Permission::TopicPolicyManage)?;
    let (now, ctx_in, policy_in) = (app.now(), ctx.clone(), policy.to_owned());
    let (kind, key) = (target.kind().as_str(), target.key());
    app.write(tenant, "detach topic policy", move |tx| {
        Box::pin(async move {
            existing(tx, &policy_in).await?;
            if !tx.detach_topic_policy(&policy_in, kind, &key).await? {
                return Ok(());
            }
            tx.touch_topic_policies().await?;
            let entry = ctx_in.done(now, Action::TopicPolicyDetached).subject(&policy_in);
            record(tx, &entry.severity(Severity::Notice).detail(json!({ "kind": kind, "target": key }))).await?;
            Ok(())
        })
    })
    .await?;
    changed(app, tenant);
    Ok(())
}

/// A page of those that a policy is attached to, by kind and target, after `after`.
///
/// # Errors
/// `NotFound`.
pub async fn topic_policy_attachments(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    policy: &str,
    after: Option<(String, String)>,
    limit: u32,
) -> Result<Vec<AttachmentView>> {
    ctx.allow(tenant, Permission::TopicPolicyRead)?;
    let policy = policy.to_owned();
    let limit = limit.clamp(1, limits::PAGE_ROWS + 1);
    let rows = app
        .read(tenant, "topic policy attachments", move |tx| {
            Box::pin(async move {
                existing(tx, &policy).await?;
                let after = after.as_ref().map(|(kind, target)| (kind.as_str(), target.as_str()));
                Ok(tx.topic_policy_attachments(&policy, after, limit).await?)
            })
        })
        .await?;
    rows.into_iter().map(view).collect()
}

/// What is attached to just this target, by the name of the policy.
///
/// # Errors
/// `NotFound`, `Denied`.
pub async fn topic_policies_at(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    target: &Target,
) -> Result<Vec<AttachmentView>> {
    ctx.allow(tenant, Permission::TopicPolicyRead)?;
    let (kind, key) = (target.kind().as_str(), target.key());
    let rows = app
        .read(tenant, "topic policies of a target", move |tx| {
            Box::pin(async move { Ok(tx.topic_policies_at(kind, &key).await?) })
        })
        .await?;
    rows.into_iter().map(view).collect()
}

/// Nothing is attached to what is not there, where a misspelling would go unseen.
async fn check_target(tx: &mut TenantTx, target: &Target) -> Result<()> {
    match target {
        Target::Tenant | Target::Selector(_) => Ok(()),
        Target::Device(device) => tx.device(device).await?.map(drop).ok_or(Error::NotFound { what: "device" }),
        Target::Certificate(serial) => {
            // Also one that waits for its device: whoever makes it attaches the policy first.
            if tx.certificate(serial).await?.is_some() || tx.pending_certificate_by_serial(serial).await?.is_some() {
                return Ok(());
            }
            Err(Error::NotFound { what: "certificate" })
        }
    }
}

fn view(row: TopicPolicyAttachmentRow) -> Result<AttachmentView> {
    let target =
        Target::of(&row.kind, &row.target).ok_or_else(|| Error::internal("an attachment that nobody reads"))?;
    Ok(AttachmentView { policy: row.policy, target, attached_by: row.attached_by, attached_at: row.attached_at })
}
