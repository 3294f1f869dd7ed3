//! The identity policy of each tenant: kept in the tenant's settings, asked for at every enrolment, answered from memory.
//!
//! What another server on the same database changed is known here when [`forget_policies`] has run, which the reconciler of
//! the trust index does every few seconds.

use std::collections::HashMap;
use std::sync::Arc;

use fleetward_base::{TenantId, limits};
use fleetward_core::access::Permission;
use fleetward_core::identity_policy::IdentityPolicy;
use fleetward_core::journal::{Action, Severity};
use fleetward_core::messaging::Messaging;
use fleetward_store::TenantRow;
use parking_lot::RwLock;
use serde_json::{Map, Value, json};

use crate::error::{Error, Result};
use crate::journal::record;
use crate::{App, Ctx};

/// Where it stands within the settings.
const KEY: &str = "identity";

/// What the process keeps of them.
#[derive(Debug, Default)]
pub(crate) struct Policies {
    known: RwLock<HashMap<TenantId, Arc<IdentityPolicy>>>,
    /// See [`crate::messaging`].
    pub(crate) messaging: RwLock<HashMap<TenantId, Messaging>>,
}

/// A policy and the revision of the tenant that it was read at.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyView {
    pub policy: IdentityPolicy,
    pub revision: u64,
}

/// The policy that holds in a tenant, for whoever acts by it.
///
/// # Errors
/// `NotFound` where there is no such tenant.
pub async fn identity_policy(app: &App, tenant: &TenantId) -> Result<Arc<IdentityPolicy>> {
    if let Some(known) = app.policies().known.read().get(tenant) {
        return Ok(Arc::clone(known));
    }
    let policy = Arc::new(load(app, tenant).await?.policy);
    app.policies().known.write().insert(tenant.clone(), Arc::clone(&policy));
    Ok(policy)
}

/// The policy as far as it is in memory, else the default one: for what must not wait.
pub(crate) fn known_policy(app: &App, tenant: &TenantId) -> Arc<IdentityPolicy> {
    app.policies().known.read().get(tenant).cloned().unwrap_or_default()
}

/// Forgets what is in memory: it is read again when it is asked for.
pub(crate) fn forget_policies(app: &App) {
    app.policies().known.write().clear();
    app.policies().messaging.write().clear();
}

/// The policy for somebody who wants to see it.
///
/// # Errors
/// `NotFound`, `Denied`.
pub async fn show_policy(app: &App, ctx: &Ctx, tenant: &TenantId) -> Result<PolicyView> {
    ctx.allow(tenant, Permission::TenantRead)?;
    load(app, tenant).await
}

/// Changes what the merge patch names (RFC 7396: `null` brings a section or field back to its default), if the tenant is
/// still at `expected`.
///
/// # Errors
/// `NotFound`, `Denied`, `Stale`; `Invalid` with section and field; `TooLarge`.
pub async fn amend_policy(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    expected: u64,
    patch: Map<String, Value>,
) -> Result<PolicyView> {
    ctx.allow(tenant, Permission::TenantUpdate)?;
    let (now, ctx_in) = (app.now(), ctx.clone());
    let tokens = app
        .write(tenant, "amend identity policy", move |tx| {
            Box::pin(async move {
                let before = tx.own_tenant().await?.ok_or(Error::NotFound { what: "tenant" })?;
                if before.revision != expected {
                    return Err(Error::Stale { expected, found: before.revision });
                }
                let mut settings = settings_of(&before)?;
                let value = patched(settings.get(KEY), patch)?;
                let sections = changed(settings.get(KEY), &value);
                if sections.is_empty() {
                    return Ok(false);
                }
                settings.insert(KEY.to_owned(), value);
                let settings = Value::Object(settings).to_string();
                let after = TenantRow { settings, revision: before.revision + 1, ..before };
                if !tx.update_tenant(&after, expected).await? {
                    return Err(Error::Stale { expected, found: expected + 1 });
                }
                let entry = ctx_in.done(now, Action::TenantIdentityPolicyChanged).subject(&after.id);
                record(tx, &entry.severity(Severity::Notice).detail(json!({ "sections": &sections }))).await?;
                Ok(sections.iter().any(|section| section == "tokens"))
            })
        })
        .await?;
    app.policies().known.write().remove(tenant);
    app.followed().look_again();
    // Sessions on the word of a token service are held against the new rule.
    if let Some(links) = app.links().filter(|_| tokens) {
        links.recheck_all(tenant);
    }
    load(app, tenant).await
}

async fn load(app: &App, tenant: &TenantId) -> Result<PolicyView> {
    let row = app.read(tenant, "identity policy", |tx| Box::pin(async move { Ok(tx.own_tenant().await?) })).await?;
    let row = row.ok_or(Error::NotFound { what: "tenant" })?;
    let policy = match settings_of(&row)?.remove(KEY) {
        Some(value) => serde_json::from_value(value).map_err(Error::internal)?,
        None => IdentityPolicy::default(),
    };
    Ok(PolicyView { policy, revision: row.revision })
}

pub(crate) fn settings_of(row: &TenantRow) -> Result<Map<String, Value>> {
    serde_json::from_str(&row.settings).map_err(Error::internal)
}

/// The text of the whole policy after the patch. Written out with all defaults, so that a later version of this program
/// with other defaults does not change what holds.
fn patched(before: Option<&Value>, patch: Map<String, Value>) -> Result<Value> {
    let mut merged = before.cloned().unwrap_or_else(|| json!({}));
    merge(&mut merged, Value::Object(patch));
    let policy: IdentityPolicy = serde_path_to_error::deserialize(&merged)
        .map_err(|error| Error::invalid(error.path().to_string(), error.inner().to_string()))?;
    policy.check().map_err(|invalid| Error::invalid(invalid.field, invalid.why))?;
    let value = serde_json::to_value(&policy).map_err(Error::internal)?;
    if value.to_string().len() > limits::IDENTITY_POLICY_BYTES {
        return Err(Error::TooLarge { what: "the identity policy", limit: limits::IDENTITY_POLICY_BYTES as u64 });
    }
    Ok(value)
}

/// RFC 7396 §2. The depth is that of the request, which the door has bounded.
pub(crate) fn merge(target: &mut Value, patch: Value) {
    let Value::Object(patch) = patch else {
        *target = patch;
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    let Some(fields) = target.as_object_mut() else { return };
    for (name, value) in patch {
        if value.is_null() {
            fields.remove(&name);
        } else {
            merge(fields.entry(name).or_insert(Value::Null), value);
        }
    }
}

/// Names of the sections that differ. One that was not written down before had its defaults.
fn changed(before: Option<&Value>, after: &Value) -> Vec<String> {
    let silent = serde_json::to_value(IdentityPolicy::default()).unwrap_or_default();
    let sections = after.as_object().into_iter().flatten();
    let was = |name: &str| before.and_then(|before| before.get(name)).or_else(|| silent.get(name)).cloned();
    let differs = |name: &str, section: &Value| was(name).as_ref() != Some(section);
    sections.filter(|(name, section)| differs(name, section)).map(|(name, _)| name.clone()).collect()
}
