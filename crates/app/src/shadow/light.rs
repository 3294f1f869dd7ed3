//! The light mode: a device's shadow `config` by two retained messages, for clients that know MQTT and nothing else.
//!
//! `devices/{device}/config/desired` is what is wanted of it, retained by the server and by nobody else;
//! `devices/{device}/config/reported` is what it publishes to say what is, the whole of it each time. The database is the
//! truth: a retained message that is not what it says is made so, when the device subscribes and by the reconciler.

use std::collections::HashMap;

use bytes::Bytes;
use fleetward_base::{DeviceId, TenantId, limits};
use fleetward_core::access::Permission;
use fleetward_core::shadow::{Applied, Document, Refused, Sections, UpdateRequest};
use fleetward_wire::light::{self as topics, Section};
use parking_lot::Mutex;
use serde_json::{Map, Value};

use super::{Result, ShadowKey, Via, allow, rows, submit_and_tell};
use crate::error::Error;
use crate::identity_policy::identity_policy;
use crate::reconcile::for_each_tenant;
use crate::{App, Ctx};

/// The shadow that the messages stand for.
pub const NAME: &str = "config";

/// How far the walk over what is retained has come, in each tenant.
#[derive(Debug, Default)]
pub(crate) struct Walks {
    after: Mutex<HashMap<TenantId, DeviceId>>,
}

fn key_of(device: &DeviceId) -> ShadowKey {
    ShadowKey { device: device.clone(), name: NAME.to_owned() }
}

/// What a device published to say what is: the whole of its reported section.
///
/// # Errors
/// Every refusal of the contract; `Forbidden` where the tenant does not have the light mode.
pub async fn reported(app: &App, ctx: &Ctx, tenant: &TenantId, device: &DeviceId, payload: &[u8]) -> Result<Applied> {
    allow(ctx, tenant, device, Permission::ShadowUpdate)?;
    if !identity_policy(app, tenant).await?.shadow.light_mode {
        return Err(Refused::Forbidden.into());
    }
    let request = UpdateRequest::reported(payload)?;
    submit_and_tell(app, ctx, tenant, &key_of(device), request, Via::Call).await
}

/// After an update: retains what changed.
pub(super) async fn updated(app: &App, tenant: &TenantId, key: &ShadowKey, applied: &Applied) {
    let before = applied.previous.as_ref().map(|document| &document.state);
    changed(app, tenant, key, before, Some(&applied.document.state)).await;
}

/// After a deletion: nothing is wanted and nothing is known.
pub(super) async fn deleted(app: &App, tenant: &TenantId, key: &ShadowKey, before: &Sections) {
    changed(app, tenant, key, Some(before), None).await;
}

async fn changed(app: &App, tenant: &TenantId, key: &ShadowKey, before: Option<&Sections>, after: Option<&Sections>) {
    if key.name != NAME || !offered(app, tenant).await {
        return;
    }
    let Some(links) = app.links() else { return };
    for section in [Section::Desired, Section::Reported] {
        let (before, after) = (before.and_then(|it| of(it, section)), after.and_then(|it| of(it, section)));
        if before != after {
            links.retain(tenant, topics::topic(key.device.as_str(), section), payload(after)).await;
        }
    }
}

/// Whether the tenant has the light mode. Where that cannot be read just now the walk finds what was missed.
async fn offered(app: &App, tenant: &TenantId) -> bool {
    identity_policy(app, tenant).await.is_ok_and(|policy| policy.shadow.light_mode)
}

fn of(state: &Sections, section: Section) -> Option<&Map<String, Value>> {
    match section {
        Section::Desired => state.desired.as_ref(),
        Section::Reported => state.reported.as_ref(),
    }
}

/// Empty where there is nothing, which takes a retained message away (MQTT 5.0 §3.3.1.3).
fn payload(section: Option<&Map<String, Value>>) -> Bytes {
    section.map_or_else(Bytes::new, |section| Bytes::from(serde_json::to_vec(section).unwrap_or_default()))
}

/// Makes what is retained for a device what the database says, where it is not; how many messages that took.
///
/// # Errors
/// What the store cannot do.
pub async fn restore(app: &App, tenant: &TenantId, device: &DeviceId) -> Result<u64> {
    let turn = app.shadows().turns.take(tenant, &key_of(device)).await;
    let of = device.clone();
    let row =
        app.read(tenant, "light mode", move |tx| Box::pin(async move { Ok(tx.shadow(&of, NAME).await?) })).await?;
    let document = row.map(rows::document_of).transpose()?;
    let restored = hold(app, tenant, device, document.as_ref()).await;
    drop(turn);
    Ok(restored)
}

async fn hold(app: &App, tenant: &TenantId, device: &DeviceId, document: Option<&Document>) -> u64 {
    let (Some(links), true) = (app.links(), offered(app, tenant).await) else { return 0 };
    let mut restored = 0_u64;
    for section in [Section::Desired, Section::Reported] {
        let (topic, wanted) =
            (topics::topic(device.as_str(), section), payload(document.and_then(|it| of(&it.state, section))));
        if links.retained(tenant, &topic).map(|it| it.payload).unwrap_or_default() != wanted {
            links.retain(tenant, topic, wanted).await;
            restored = restored.saturating_add(1);
        }
    }
    restored
}

/// Holds a page of each tenant's retained messages against the database; how many were made anew.
///
/// # Errors
/// Where the store does not say which tenants there are.
pub async fn walk(app: &App) -> std::result::Result<u64, Error> {
    for_each_tenant(app, "light mode", |app, tenant| async move { walk_tenant(&app, &tenant).await }).await
}

async fn walk_tenant(app: &App, tenant: &TenantId) -> std::result::Result<u64, Error> {
    if app.links().is_none() || !identity_policy(app, tenant).await?.shadow.light_mode {
        return Ok(0);
    }
    let from = app.shadows().light.after.lock().get(tenant).cloned();
    let page = app
        .read(tenant, "config shadows", move |tx| {
            Box::pin(async move { Ok(tx.config_shadows(from.as_ref(), limits::LIGHT_MODE_WALK).await?) })
        })
        .await?;
    let whole = page.len() >= usize::try_from(limits::LIGHT_MODE_WALK).unwrap_or(usize::MAX);
    let last = page.last().map(|row| row.device.clone()).filter(|_| whole);
    {
        let mut after = app.shadows().light.after.lock();
        match last {
            Some(last) => drop(after.insert(tenant.clone(), last)),
            None => drop(after.remove(tenant)),
        }
    }
    let mut restored = 0_u64;
    for row in page {
        let device = row.device.clone();
        let document = rows::document_of(row)?;
        if differs(app, tenant, &device, &document) {
            // Read again in its turn: an update may be about to tell the same.
            restored = restored.saturating_add(restore(app, tenant, &device).await.map_err(Error::from)?);
        }
    }
    Ok(restored)
}

fn differs(app: &App, tenant: &TenantId, device: &DeviceId, document: &Document) -> bool {
    let Some(links) = app.links() else { return false };
    [Section::Desired, Section::Reported].into_iter().any(|section| {
        let topic = topics::topic(device.as_str(), section);
        links.retained(tenant, &topic).map(|it| it.payload).unwrap_or_default() != payload(of(&document.state, section))
    })
}
