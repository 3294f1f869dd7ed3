//! What each tenant has decided on its messaging: kept in the tenant's settings, asked for at every connection, answered from
//! memory. The profile holds for connections from then on; rates hold at once.
//!
//! And the way to hand a server's clients to another one, which is the installation's.

use fleetward_base::TenantId;
use fleetward_core::access::Permission;
use fleetward_core::journal::{Action, Severity};
use fleetward_core::messaging::Messaging;
use fleetward_store::TenantRow;
use serde_json::{Map, Value, json};

use crate::error::{Error, Result};
use crate::identity_policy::{merge, settings_of};
use crate::journal::record;
use crate::{App, Ctx};

/// Where it stands within the settings.
const KEY: &str = "messaging";
/// A host name with a port.
const SERVER_BYTES: usize = 260;

/// What holds, and the revision of the tenant that it was read at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessagingView {
    pub messaging: Messaging,
    pub revision: u64,
}

/// What holds in a tenant, for a door.
///
/// # Errors
/// `NotFound` where there is no such tenant.
pub async fn messaging(app: &App, tenant: &TenantId) -> Result<Messaging> {
    if let Some(known) = app.policies().messaging.read().get(tenant) {
        return Ok(*known);
    }
    let found = load(app, tenant).await?.messaging;
    app.policies().messaging.write().insert(tenant.clone(), found);
    Ok(found)
}

/// The same for somebody who wants to see it.
///
/// # Errors
/// `NotFound`, `Denied`.
pub async fn show_messaging(app: &App, ctx: &Ctx, tenant: &TenantId) -> Result<MessagingView> {
    ctx.allow(tenant, Permission::TenantRead)?;
    load(app, tenant).await
}

/// Changes what the merge patch names (RFC 7396: `null` brings back the default), if the tenant is still at `expected`.
///
/// # Errors
/// `NotFound`, `Denied`, `Stale`; `Invalid` with the field.
pub async fn amend_messaging(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    expected: u64,
    patch: Map<String, Value>,
) -> Result<MessagingView> {
    ctx.allow(tenant, Permission::TenantUpdate)?;
    let (now, ctx_in) = (app.now(), ctx.clone());
    app.write(tenant, "amend messaging", move |tx| {
        Box::pin(async move {
            let before = tx.own_tenant().await?.ok_or(Error::NotFound { what: "tenant" })?;
            if before.revision != expected {
                return Err(Error::Stale { expected, found: before.revision });
            }
            let mut settings = settings_of(&before)?;
            let mut merged = settings.get(KEY).cloned().unwrap_or_else(|| json!({}));
            merge(&mut merged, Value::Object(patch));
            let messaging: Messaging = serde_path_to_error::deserialize(&merged)
                .map_err(|error| Error::invalid(error.path().to_string(), error.inner().to_string()))?;
            messaging.check().map_err(|invalid| Error::invalid(invalid.field, invalid.why))?;
            let value = serde_json::to_value(messaging).map_err(Error::internal)?;
            if settings.get(KEY) == Some(&value) {
                return Ok(());
            }
            settings.insert(KEY.to_owned(), value.clone());
            let settings = Value::Object(settings).to_string();
            let after = TenantRow { settings, revision: before.revision + 1, ..before };
            if !tx.update_tenant(&after, expected).await? {
                return Err(Error::Stale { expected, found: expected + 1 });
            }
            let entry = ctx_in.done(now, Action::TenantMessagingChanged).subject(&after.id);
            record(tx, &entry.severity(Severity::Notice).detail(value)).await?;
            Ok(())
        })
    })
    .await?;
    app.policies().messaging.write().remove(tenant);
    if let Some(links) = app.links() {
        links.recheck_all(tenant);
    }
    load(app, tenant).await
}

/// Where a server's clients are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elsewhere {
    /// `host` or `host:port`.
    pub server: String,
    /// For good, or for now.
    pub moved: bool,
}

/// Has the server that is asked send its MQTT clients to another one, or keep them again. How many are on their way.
///
/// # Errors
/// `Denied`; `Invalid` (`server`); `Unavailable` before the devices' door is open.
pub async fn redirect(app: &App, ctx: &Ctx, to: Option<Elsewhere>) -> Result<usize> {
    ctx.allow_installation(Permission::SystemManage)?;
    let named = |it: &Elsewhere| {
        let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b':' | b'[' | b']');
        (1..=SERVER_BYTES).contains(&it.server.len()) && it.server.bytes().all(good)
    };
    if to.as_ref().is_some_and(|it| !named(it)) {
        return Err(Error::invalid("server", "HOST or HOST:PORT"));
    }
    let links = app.links().ok_or(Error::Unavailable { what: "the devices' door" })?;
    let (now, ctx_in) = (app.now(), ctx.clone());
    let detail = json!({ "server": to.as_ref().map(|it| &it.server), "moved": to.as_ref().is_some_and(|it| it.moved) });
    app.store()
        .system_write("redirect", move |tx| {
            Box::pin(async move {
                let entry = ctx_in.done(now, Action::ServerRedirected).severity(Severity::Warning).detail(detail);
                record(tx.installation().await?, &entry).await
            })
        })
        .await?;
    Ok(links.redirect(to))
}

/// Where clients of the server that is asked are sent; none where they stay.
///
/// # Errors
/// `Denied`; `Unavailable` before the devices' door is open.
pub fn redirected(app: &App, ctx: &Ctx) -> Result<Option<Elsewhere>> {
    ctx.allow_installation(Permission::SystemRead)?;
    Ok(app.links().ok_or(Error::Unavailable { what: "the devices' door" })?.redirected())
}

async fn load(app: &App, tenant: &TenantId) -> Result<MessagingView> {
    let row = app.read(tenant, "messaging", |tx| Box::pin(async move { Ok(tx.own_tenant().await?) })).await?;
    let row = row.ok_or(Error::NotFound { what: "tenant" })?;
    let messaging = match settings_of(&row)?.remove(KEY) {
        Some(value) => serde_json::from_value(value).map_err(Error::internal)?,
        None => Messaging::default(),
    };
    Ok(MessagingView { messaging, revision: row.revision })
}
