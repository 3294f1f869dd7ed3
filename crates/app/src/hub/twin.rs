//! The twin of a device.

use bytes::Bytes;
use fleetward_base::{DeviceId, TenantId};
use fleetward_core::shadow::{Applied, Refused};
use fleetward_core::twin as rules;
use fleetward_wire::azure::hub::twin_change;
use serde_json::Value;

use crate::shadow::{self, ShadowError, ShadowKey, Via};
use crate::{App, Ctx};

/// The whole twin. There is always one.
///
/// # Errors
/// As for [`shadow::get`], without `NoShadow`.
pub async fn twin(app: &App, ctx: &Ctx, tenant: &TenantId, device: &DeviceId) -> Result<Value, ShadowError> {
    match shadow::get(app, ctx, tenant, &ShadowKey::classic(device.clone())).await {
        Ok(view) => Ok(rules::view(Some(&view.document))),
        Err(ShadowError::Refused(Refused::NoShadow { .. })) => Ok(rules::view(None)),
        Err(error) => Err(error),
    }
}

/// Merges into the reported properties; the version that the twin has then.
///
/// # Errors
/// What a hub would not take, and as for [`shadow::update`].
pub async fn report_twin(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    device: &DeviceId,
    payload: &[u8],
) -> Result<u64, ShadowError> {
    let update = rules::reported(payload)?;
    let key = ShadowKey::classic(device.clone());
    let applied = shadow::update(app, ctx, tenant, &key, &update, Via::Call).await?;
    Ok(rules::version(Some(&applied.document)))
}

/// Tells a device that listens to changes of its twin.
pub(crate) async fn tell_desired(app: &App, tenant: &TenantId, key: &ShadowKey, applied: &Applied) {
    let Some(links) = app.links() else { return };
    if key.name.is_empty()
        && let Some(change) = rules::desired_change(applied)
    {
        let topic = twin_change(rules::version(Some(&applied.document)));
        links.tell(tenant, &key.device, topic, Bytes::from(change.to_string())).await;
    }
}
