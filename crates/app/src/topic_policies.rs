//! Topic policies: what a tenant gives its devices beyond the built-in topics, or takes from them (requirement B4).
//!
//! A policy is a named document in versions, one of which counts; it is attached to a device, a selector, a certificate or
//! the whole tenant. [`rights_of`] makes of all that holds for a device what its connection is asked with. A change reaches
//! live sessions right after its commit: they get the new rules, and end only where something that they hold is not allowed
//! any more.

mod attach;
mod explain;
mod rights;
mod weight;

use fleetward_base::{TenantId, Timestamp, limits};
use fleetward_core::access::Permission;
use fleetward_core::journal::{Action, Severity};
use fleetward_core::topic_policy::Document;
use fleetward_store::{TenantTx, TopicPolicyRow, TopicPolicyVersionRow};
use serde_json::json;

use crate::error::{Error, Result, check_line};
use crate::journal::record;
use crate::{App, Ctx};

pub use attach::{
    AttachmentView, attach_topic_policy, detach_topic_policy, topic_policies_at, topic_policy_attachments,
};
pub use explain::{Answer, Because, Question, explain_topic};
pub(crate) use rights::Known;
pub use rights::{forget_topic_rights, rights_of};

const DESCRIPTION_BYTES: usize = 200;

/// A version of a policy as people see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VersionView {
    pub version: u64,
    pub document: Document,
    pub created_by: String,
    pub created_at: Timestamp,
}

/// A policy as people see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicPolicyView {
    pub name: String,
    pub description: Option<String>,
    /// The version that counts.
    pub default_version: u64,
    pub latest_version: u64,
    /// The newest first.
    pub versions: Vec<VersionView>,
    pub created_by: String,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// Keeps a new policy. It holds for nobody until it is attached.
///
/// # Errors
/// `Invalid` with the field; `TooLarge`; `Conflict` (`topic-policy-exists`, `topic-policies-full`).
pub async fn create_topic_policy(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    name: &str,
    description: Option<String>,
    document: Document,
) -> Result<TopicPolicyView> {
    ctx.allow(tenant, Permission::TopicPolicyManage)?;
    check_name(name)?;
    if let Some(text) = &description {
        check_line("description", text, DESCRIPTION_BYTES)?;
    }
    let text = checked(&document)?;
    let (now, by, ctx_in) = (app.now(), ctx.principal.actor().name, ctx.clone());
    let (rules, pattern_bytes) = weight::columns(document.weight());
    let row = TopicPolicyRow {
        name: name.to_owned(),
        description,
        default_version: 1,
        latest_version: 1,
        rules,
        pattern_bytes,
        created_by: by,
        created_at: now,
        updated_at: now,
    };
    let name_in = name.to_owned();
    app.write(tenant, "create topic policy", move |tx| {
        Box::pin(async move {
            if tx.topic_policy(&row.name).await?.is_some() {
                return Err(Error::conflict("topic-policy-exists", format!("the policy {} exists", row.name)));
            }
            let most = usize::try_from(limits::TOPIC_POLICIES).unwrap_or(usize::MAX);
            if tx.topic_policies(None, limits::TOPIC_POLICIES).await?.len() >= most {
                return Err(Error::conflict("topic-policies-full", format!("there are {most} already")));
            }
            tx.insert_topic_policy(&row).await?;
            tx.insert_topic_policy_version(&version_row(&row.name, 1, text, &row.created_by, now)).await?;
            let entry = ctx_in.done(now, Action::TopicPolicyCreated).subject(&row.name).severity(Severity::Notice);
            record(tx, &entry).await?;
            view(tx, &name_in).await
        })
    })
    .await
}

/// Adds a version, which counts from now on unless `keep_default` says that the present one goes on to.
///
/// # Errors
/// `NotFound`; `Invalid` with the field; `TooLarge`; `Conflict` (`topic-policy-versions-full`), (`topic-policy-weight-full`)
/// where those that it is attached to would have more than they may.
pub async fn update_topic_policy(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    name: &str,
    document: Document,
    keep_default: bool,
) -> Result<TopicPolicyView> {
    ctx.allow(tenant, Permission::TopicPolicyManage)?;
    let text = checked(&document)?;
    let (rules, pattern_bytes) = weight::columns(document.weight());
    let (now, ctx_in, name_in) = (app.now(), ctx.clone(), name.to_owned());
    let after = app
        .write(tenant, "update topic policy", move |tx| {
            Box::pin(async move {
                let before = existing(tx, &name_in).await?;
                let most = usize::try_from(limits::TOPIC_POLICY_VERSIONS).unwrap_or(usize::MAX);
                if tx.topic_policy_versions(&name_in).await?.len() >= most {
                    let why = format!("there are {most} versions; remove one first");
                    return Err(Error::conflict("topic-policy-versions-full", why));
                }
                let version = before.latest_version + 1;
                let by = ctx_in.principal.actor().name;
                tx.insert_topic_policy_version(&version_row(&name_in, version, text, &by, now)).await?;
                let default_version = if keep_default { before.default_version } else { version };
                let latest = before.latest_version;
                let after = TopicPolicyRow { default_version, latest_version: version, updated_at: now, ..before };
                if keep_default {
                    store(tx, after, latest).await?;
                } else {
                    store(tx, TopicPolicyRow { rules, pattern_bytes, ..after }, latest).await?;
                    weight::check_all(tx, &name_in).await?;
                }
                let detail = json!({ "version": version, "counts": default_version });
                let entry = ctx_in.done(now, Action::TopicPolicyChanged).subject(&name_in);
                record(tx, &entry.severity(Severity::Notice).detail(detail)).await?;
                view(tx, &name_in).await
            })
        })
        .await?;
    if !keep_default {
        changed(app, tenant);
    }
    Ok(after)
}

/// Has another version count. Asking twice is harmless.
///
/// # Errors
/// `NotFound`; `Conflict` (`topic-policy-weight-full`).
pub async fn set_default_version(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    name: &str,
    version: u64,
) -> Result<TopicPolicyView> {
    ctx.allow(tenant, Permission::TopicPolicyManage)?;
    let (now, ctx_in, name_in) = (app.now(), ctx.clone(), name.to_owned());
    let after = app
        .write(tenant, "topic policy version", move |tx| {
            Box::pin(async move {
                let before = existing(tx, &name_in).await?;
                let versions = tx.topic_policy_versions(&name_in).await?;
                let Some(chosen) = versions.iter().find(|row| row.version == version) else {
                    return Err(Error::NotFound { what: "version of the topic policy" });
                };
                if before.default_version != version {
                    let latest = before.latest_version;
                    let (rules, pattern_bytes) = weight::columns(weight::of(chosen)?);
                    let after =
                        TopicPolicyRow { default_version: version, updated_at: now, rules, pattern_bytes, ..before };
                    store(tx, after, latest).await?;
                    weight::check_all(tx, &name_in).await?;
                    let entry = ctx_in.done(now, Action::TopicPolicyChanged).subject(&name_in);
                    record(tx, &entry.severity(Severity::Notice).detail(json!({ "counts": version }))).await?;
                }
                view(tx, &name_in).await
            })
        })
        .await?;
    changed(app, tenant);
    Ok(after)
}

/// Removes a version that does not count.
///
/// # Errors
/// `NotFound`; `Conflict` (`topic-policy-version-counts`) for the one that counts.
pub async fn remove_topic_policy_version(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    name: &str,
    version: u64,
) -> Result<()> {
    ctx.allow(tenant, Permission::TopicPolicyManage)?;
    let (now, ctx_in, name_in) = (app.now(), ctx.clone(), name.to_owned());
    app.write(tenant, "remove topic policy version", move |tx| {
        Box::pin(async move {
            if existing(tx, &name_in).await?.default_version == version {
                return Err(Error::conflict("topic-policy-version-counts", "have another version count first"));
            }
            if !tx.remove_topic_policy_version(&name_in, version).await? {
                return Err(Error::NotFound { what: "version of the topic policy" });
            }
            let entry = ctx_in.done(now, Action::TopicPolicyVersionRemoved).subject(&name_in);
            record(tx, &entry.severity(Severity::Notice).detail(json!({ "version": version }))).await?;
            Ok(())
        })
    })
    .await
}

/// Removes a policy that is attached to nobody.
///
/// # Errors
/// `NotFound`; `Conflict` (`topic-policy-attached`).
pub async fn remove_topic_policy(app: &App, ctx: &Ctx, tenant: &TenantId, name: &str) -> Result<()> {
    ctx.allow(tenant, Permission::TopicPolicyManage)?;
    let (now, ctx_in, name_in) = (app.now(), ctx.clone(), name.to_owned());
    app.write(tenant, "remove topic policy", move |tx| {
        Box::pin(async move {
            existing(tx, &name_in).await?;
            if !tx.topic_policy_attachments(&name_in, None, 1).await?.is_empty() {
                return Err(Error::conflict("topic-policy-attached", "detach it first"));
            }
            tx.remove_topic_policy(&name_in).await?;
            let entry = ctx_in.done(now, Action::TopicPolicyRemoved).subject(&name_in).severity(Severity::Notice);
            record(tx, &entry).await?;
            Ok(())
        })
    })
    .await
}

/// One policy with its versions.
///
/// # Errors
/// `NotFound`.
pub async fn topic_policy(app: &App, ctx: &Ctx, tenant: &TenantId, name: &str) -> Result<TopicPolicyView> {
    ctx.allow(tenant, Permission::TopicPolicyRead)?;
    let name = name.to_owned();
    app.read(tenant, "topic policy", move |tx| Box::pin(async move { view(tx, &name).await })).await
}

/// A page of them, by name, after `after`.
///
/// # Errors
/// `NotFound`, `Denied`.
pub async fn topic_policies(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    after: Option<String>,
    limit: u32,
) -> Result<Vec<TopicPolicyView>> {
    ctx.allow(tenant, Permission::TopicPolicyRead)?;
    let limit = limit.clamp(1, limits::PAGE_ROWS + 1);
    app.read(tenant, "topic policies", move |tx| {
        Box::pin(async move {
            let mut views = Vec::new();
            for row in tx.topic_policies(after.as_deref(), limit).await? {
                let versions = tx.topic_policy_versions(&row.name).await?;
                views.push(view_of(row, versions)?);
            }
            Ok(views)
        })
    })
    .await
}

/// After the commit: what is remembered is forgotten, and live sessions are held against what counts now.
fn changed(app: &App, tenant: &TenantId) {
    app.topic_rights().forget(tenant);
    if let Some(links) = app.links() {
        links.recheck_all(tenant);
    }
}

fn check_name(name: &str) -> Result<()> {
    let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':' | b'@' | b'+' | b'=' | b',');
    if (1..=128).contains(&name.len()) && name.bytes().all(good) {
        return Ok(());
    }
    Err(Error::invalid("name", "1 to 128 letters, digits and - _ . : @ + = ,"))
}

/// Its text as it is stored.
fn checked(document: &Document) -> Result<String> {
    document.check().map_err(|invalid| Error::invalid(format!("document.{}", invalid.field), invalid.why))?;
    let text = serde_json::to_string(document).map_err(Error::internal)?;
    if text.len() > limits::TOPIC_POLICY_BYTES {
        return Err(Error::TooLarge { what: "the document", limit: limits::TOPIC_POLICY_BYTES as u64 });
    }
    Ok(text)
}

fn version_row(policy: &str, version: u64, document: String, by: &str, now: Timestamp) -> TopicPolicyVersionRow {
    TopicPolicyVersionRow { policy: policy.to_owned(), version, document, created_by: by.to_owned(), created_at: now }
}

async fn existing(tx: &mut TenantTx, name: &str) -> Result<TopicPolicyRow> {
    tx.topic_policy(name).await?.ok_or(Error::NotFound { what: "topic policy" })
}

/// Writes a changed row, and that something changed.
async fn store(tx: &mut TenantTx, row: TopicPolicyRow, latest: u64) -> Result<()> {
    if !tx.update_topic_policy(&row, latest).await? {
        return Err(Error::conflict("topic-policy-changed", "somebody else changed it just now; look again"));
    }
    tx.touch_topic_policies().await?;
    Ok(())
}

async fn view(tx: &mut TenantTx, name: &str) -> Result<TopicPolicyView> {
    let row = existing(tx, name).await?;
    let versions = tx.topic_policy_versions(name).await?;
    view_of(row, versions)
}

fn view_of(row: TopicPolicyRow, versions: Vec<TopicPolicyVersionRow>) -> Result<TopicPolicyView> {
    let version = |row: TopicPolicyVersionRow| {
        let document = serde_json::from_str(&row.document).map_err(Error::internal)?;
        Ok(VersionView { version: row.version, document, created_by: row.created_by, created_at: row.created_at })
    };
    Ok(TopicPolicyView {
        name: row.name,
        description: row.description,
        default_version: row.default_version,
        latest_version: row.latest_version,
        versions: versions.into_iter().map(version).collect::<Result<_>>()?,
        created_by: row.created_by,
        created_at: row.created_at,
        updated_at: row.updated_at,
    })
}
