//! Shadows of devices: one function for each request, whatever door it came by.
//!
//! [`update`] commits the document with its history and then tells the subscribers, in this order: `update/delta`,
//! `update/accepted` where the request came as a message, `update/documents`; also where the caller has gone meanwhile. Requests
//! on one shadow take turns, so that what is told has the order of the versions; those on many share their commits ([`batch`]).
//! What AWS has a code for is [`ShadowError::Refused`].
//!
//! A delta goes out at once, but for the one case in [`grace`].

mod batch;
pub mod grace;
pub mod history;
pub mod light;
mod rows;
mod tell;
mod turns;

use fleetward_base::{DeviceId, TenantId, limits};
use fleetward_core::access::{DeviceRights, Permission};
use fleetward_core::identity_policy::ShadowPolicy;
use fleetward_core::journal::Action;
use fleetward_core::shadow::{self as rules, Applied, Document, Refused, SectionPatch, UpdateRequest, View};
use fleetward_store::TenantTx;
use serde_json::json;

use crate::deployments::FIRMWARE;
use crate::error::Error;
use crate::identity_policy::identity_policy;
use crate::journal::record;
use crate::{App, Ctx, Principal};

/// What the process keeps of shadows: who works on which, who waits, and how far the walks have come.
#[derive(Debug, Default)]
pub(crate) struct Shadows {
    turns: turns::Turns,
    batches: batch::Batches,
    grace: grace::Grace,
    histories: history::Histories,
    light: light::Walks,
}

/// Which shadow.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ShadowKey {
    pub device: DeviceId,
    /// Empty: the classic one.
    pub name: String,
}

impl ShadowKey {
    pub fn classic(device: DeviceId) -> Self {
        Self { device, name: String::new() }
    }

    /// What a refusal calls it.
    fn title(&self) -> String {
        if self.name.is_empty() { self.device.to_string() } else { format!("{}~{}", self.device, self.name) }
    }

    fn wire_name(&self) -> Option<&str> {
        (!self.name.is_empty()).then_some(self.name.as_str())
    }
}

/// How a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// As a message: the answer goes to the topic that ends in `accepted`.
    Message,
    /// As a call whose answer goes back the same way.
    Call,
}

/// Why a request did nothing.
#[derive(Debug, thiserror::Error)]
pub enum ShadowError {
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error(transparent)]
    App(#[from] Error),
}

impl From<fleetward_store::StoreError> for ShadowError {
    fn from(error: fleetward_store::StoreError) -> Self {
        Self::App(error.into())
    }
}

impl ShadowError {
    /// As AWS would say it.
    pub fn refused(self) -> Refused {
        match self {
            Self::Refused(refused) => refused,
            Self::App(Error::NotFound { .. }) => Refused::NoThing,
            Self::App(Error::Unauthenticated { .. }) => Refused::Unauthorized,
            Self::App(Error::Denied { .. }) => Refused::Forbidden,
            Self::App(Error::TooMany { .. }) => Refused::TooManyRequests,
            Self::App(Error::TooLarge { .. }) => Refused::TooLarge,
            Self::App(_) => Refused::Internal,
        }
    }
}

impl From<ShadowError> for Error {
    /// As the operators' API says it.
    fn from(error: ShadowError) -> Self {
        let refused = match error {
            ShadowError::App(error) => return error,
            ShadowError::Refused(refused) => refused,
        };
        match refused.code() {
            401 => Self::Unauthenticated { reason: "refused by the shadow" },
            403 | 404 => Self::NotFound { what: "shadow" },
            409 => Self::conflict("version-conflict", refused.to_string()),
            413 => Self::TooLarge { what: "the shadow", limit: limits::SHADOW_STATE_BYTES as u64 },
            429 => Self::TooMany { what: "requests", retry_after: std::time::Duration::from_secs(1) },
            500 => Self::internal(refused),
            _ => Self::invalid("", refused.to_string()),
        }
    }
}

type Result<T> = std::result::Result<T, ShadowError>;

/// The shadow with its delta.
///
/// # Errors
/// `NoShadow` where there is none.
pub async fn get(app: &App, ctx: &Ctx, tenant: &TenantId, key: &ShadowKey) -> Result<View> {
    allow(ctx, tenant, &key.device, Permission::ShadowRead)?;
    let policy = identity_policy(app, tenant).await?;
    let (ctx_in, key_in) = (ctx.clone(), key.clone());
    if matches!(ctx.principal, Principal::Device { .. }) {
        grace::forget(app, tenant, key);
    }
    app.store()
        .read(tenant, "shadow", move |tx| {
            Box::pin(async move {
                known(tx, &ctx_in, &key_in.device, &policy.shadow, false).await?;
                let row = tx.shadow(&key_in.device, &key_in.name).await?;
                let document = row.map(rows::document_of).transpose()?;
                Ok::<_, ShadowError>(rules::view(document.as_ref(), &key_in.title())?)
            })
        })
        .await
}

/// Applies the payload of an update.
///
/// # Errors
/// Every refusal of the contract.
pub async fn update(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    key: &ShadowKey,
    payload: &[u8],
    via: Via,
) -> Result<Applied> {
    allow(ctx, tenant, &key.device, Permission::ShadowUpdate)?;
    let request = UpdateRequest::parse(payload)?;
    submit_and_tell(app, ctx, tenant, key, request, via).await
}

async fn submit_and_tell(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    key: &ShadowKey,
    request: UpdateRequest,
    via: Via,
) -> Result<Applied> {
    let turn = app.shadows().turns.take(tenant, key).await;
    let (ctx, key, now) = (ctx.clone(), key.clone(), app.now());
    let mut work = batch::Work { ctx, key, request, via, at_start: false, now };
    work.at_start = grace::left(app, tenant, &work).is_some();
    batch::submit(app, tenant, work, turn).await
}

/// Deletes the shadow; what is answered is its last version.
///
/// # Errors
/// `NoShadow` where there is none.
pub async fn delete(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    key: &ShadowKey,
    client_token: Option<String>,
    via: Via,
) -> Result<Document> {
    allow(ctx, tenant, &key.device, Permission::ShadowDelete)?;
    let (app_in, ctx, tenant, key) = (app.clone(), ctx.clone(), tenant.clone(), key.clone());
    app.see_through(async move { delete_and_tell(&app_in, &ctx, &tenant, &key, client_token, via).await }).await
}

async fn delete_and_tell(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    key: &ShadowKey,
    client_token: Option<String>,
    via: Via,
) -> Result<Document> {
    let turn = app.shadows().turns.take(tenant, key).await;
    let policy = identity_policy(app, tenant).await?;
    let (ctx_in, key_in, now) = (ctx.clone(), key.clone(), app.now());
    let (deleted, before) = app
        .store()
        .write(tenant, "delete shadow", move |tx| {
            Box::pin(async move {
                let current = load(tx, &key_in).await?;
                known(tx, &ctx_in, &key_in.device, &policy.shadow, false).await?;
                let deleted = rules::delete(current.as_ref(), &key_in.title(), now)?;
                store(tx, &key_in, &deleted).await?;
                let before = current.map(|document| document.state).unwrap_or_default();
                let patch = rules::history::diff(&before, &deleted.state);
                tx.add_shadow_events(&[batch::event(&ctx_in, &key_in, &deleted, &patch)]).await?;
                let detail = json!({ "version": deleted.version, "name": key_in.wire_name() });
                let entry = ctx_in.done(now, Action::ShadowDeleted).device(&key_in.device).detail(detail);
                record(tx, &entry).await?;
                Ok::<_, ShadowError>((deleted, before))
            })
        })
        .await?;
    light::deleted(app, tenant, key, &before).await;
    if via == Via::Message {
        tell::deleted(app, tenant, key, &deleted, client_token).await;
    }
    drop(turn);
    Ok(deleted)
}

/// Has everything asserted again that was held to oscillate, and tells the delta; what it was.
///
/// # Errors
/// `NoShadow` where there is none.
pub async fn reassert(app: &App, ctx: &Ctx, tenant: &TenantId, key: &ShadowKey) -> Result<Vec<String>> {
    ctx.allow(tenant, Permission::ShadowUpdate)?;
    let (app_in, ctx, tenant, key) = (app.clone(), ctx.clone(), tenant.clone(), key.clone());
    app.see_through(async move { settle_and_tell(&app_in, &ctx, &tenant, &key).await }).await
}

async fn settle_and_tell(app: &App, ctx: &Ctx, tenant: &TenantId, key: &ShadowKey) -> Result<Vec<String>> {
    let turn = app.shadows().turns.take(tenant, key).await;
    let (ctx_in, key_in, now) = (ctx.clone(), key.clone(), app.now());
    let settled = app
        .store()
        .write(tenant, "reassert shadow", move |tx| {
            Box::pin(async move {
                let view = rules::view(load(tx, &key_in).await?.as_ref(), &key_in.title())?;
                let Some((settled, delta)) = rules::settle(&view.document) else { return Ok(None) };
                store(tx, &key_in, &settled).await?;
                let paths: Vec<String> = view.document.watch.found().keys().cloned().collect();
                let detail = json!({ "name": key_in.wire_name(), "paths": &paths });
                let entry = ctx_in.done(now, Action::ShadowReasserted).device(&key_in.device).detail(detail);
                record(tx, &entry).await?;
                Ok::<_, ShadowError>(Some((settled, delta, paths)))
            })
        })
        .await?;
    let Some((document, delta, paths)) = settled else { return Ok(Vec::new()) };
    if let Some(delta) = delta {
        tell::delta(app, tenant, key, &document, &delta, None).await;
    }
    drop(turn);
    Ok(paths)
}

/// What a device that subscribes to `update/delta` is to be told at once (requirement S4): AWS does not do this, and its
/// clients take it.
///
/// # Errors
/// What the store cannot do.
pub async fn replay_delta(app: &App, tenant: &TenantId, key: &ShadowKey) -> std::result::Result<(), Error> {
    let turn = app.shadows().turns.take(tenant, key).await;
    let key_in = key.clone();
    let row = app
        .read(tenant, "shadow delta", move |tx| {
            Box::pin(async move { Ok(tx.shadow(&key_in.device, &key_in.name).await?) })
        })
        .await?;
    grace::forget(app, tenant, key);
    let document = row.map(rows::document_of).transpose()?;
    if let Some(document) = document
        && let Some(delta) = rules::delta(&document)
    {
        tell::delta(app, tenant, key, &document, &delta, None).await;
    }
    drop(turn);
    Ok(())
}

/// Names of the named shadows of a device, in order, after `after`.
pub async fn names(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    device: &DeviceId,
    after: Option<String>,
    limit: u32,
) -> Result<Vec<String>> {
    allow(ctx, tenant, device, Permission::ShadowRead)?;
    let device = device.clone();
    let names = app.read(tenant, "shadow names", move |tx| {
        Box::pin(async move { Ok(tx.shadow_names(&device, after.as_deref(), limit).await?) })
    });
    Ok(names.await?)
}

/// A device with all its rights may do everything with its own shadows; operators what their role allows.
fn allow(ctx: &Ctx, tenant: &TenantId, device: &DeviceId, permission: Permission) -> Result<()> {
    match &ctx.principal {
        Principal::Device { tenant: home, device: itself, rights: DeviceRights::Full, .. }
            if home == tenant && itself == device =>
        {
            Ok(())
        }
        Principal::Device { .. } => Err(Refused::Forbidden.into()),
        _ => Ok(ctx.allow(tenant, permission)?),
    }
}

/// A device that speaks for itself was looked up when it connected. A name that no device has is as good where the tenant
/// allows it, up to a number of them.
async fn known(tx: &mut TenantTx, ctx: &Ctx, device: &DeviceId, policy: &ShadowPolicy, makes: bool) -> Result<()> {
    if matches!(ctx.principal, Principal::Device { .. }) || tx.device(device).await?.is_some() {
        return Ok(());
    }
    if !policy.unregistered {
        return Err(Error::NotFound { what: "device" }.into());
    }
    if makes && tx.unregistered_shadows(limits::SHADOWS_UNREGISTERED).await? >= limits::SHADOWS_UNREGISTERED {
        return Err(Refused::TooLarge.into());
    }
    Ok(())
}

async fn load(tx: &mut TenantTx, key: &ShadowKey) -> Result<Option<Document>> {
    let row = tx.shadow_for_update(&key.device, &key.name).await?;
    Ok(row.map(rows::document_of).transpose()?)
}

/// Writes what [`load`] has locked, at the version that it had.
async fn store(tx: &mut TenantTx, key: &ShadowKey, document: &Document) -> Result<()> {
    if tx.update_shadows(&[(rows::row_of(key, document)?, document.version)]).await? == 1 {
        return Ok(());
    }
    Err(Refused::VersionConflict.into())
}

async fn room_for_name(tx: &mut TenantTx, key: &ShadowKey) -> Result<()> {
    if key.name.is_empty() {
        return Ok(());
    }
    let names = tx.shadow_names(&key.device, None, limits::SHADOW_NAMES_PER_DEVICE).await?;
    if u32::try_from(names.len()).map_or(true, |count| count >= limits::SHADOW_NAMES_PER_DEVICE) {
        return Err(Refused::TooLarge.into());
    }
    Ok(())
}

/// What the device reports in its classic shadow to run.
fn firmware<'a>(ctx: &Ctx, key: &ShadowKey, request: &'a UpdateRequest) -> Option<&'a str> {
    let speaks_for_itself = matches!(ctx.principal, Principal::Device { .. }) && key.name.is_empty();
    match &request.reported {
        SectionPatch::Merge(fields) | SectionPatch::Replace(fields) if speaks_for_itself => {
            fields.get(FIRMWARE)?.as_str()
        }
        _ => None,
    }
}

fn sections(request: &UpdateRequest) -> Vec<&'static str> {
    let named = [("desired", &request.desired), ("reported", &request.reported)];
    named
        .into_iter()
        .filter(|(_, patch)| request.clear || **patch != SectionPatch::Keep)
        .map(|(name, _)| name)
        .collect()
}

/// The body of an answer to a get, which is the same for a message and a call.
pub fn view_body(view: &View, now: fleetward_base::Timestamp, client_token: Option<String>) -> Vec<u8> {
    tell::view(view, now, client_token)
}

/// As [`view_body`], with what oscillates beside it, which AWS does not have.
pub fn operator_body(view: &View, now: fleetward_base::Timestamp) -> Vec<u8> {
    tell::operator_view(view, now)
}

/// The body of an answer to an accepted update.
pub fn accepted_body(applied: &Applied) -> Vec<u8> {
    tell::accepted(applied)
}

/// The body of an answer to an accepted delete.
pub fn deleted_body(deleted: &Document, client_token: Option<String>) -> Vec<u8> {
    tell::deleted_body(deleted, client_token)
}

/// The body of a refusal.
pub fn refused_body(refused: &Refused, now: fleetward_base::Timestamp, client_token: Option<String>) -> Vec<u8> {
    tell::refused(refused, now, client_token)
}
