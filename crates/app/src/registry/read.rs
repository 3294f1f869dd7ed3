//! Reading the register.

use fleetward_base::{DeviceId, TenantId, Timestamp, limits};
use fleetward_core::access::Permission;
use fleetward_core::presence::Presence;
use fleetward_core::registry::Device;
use fleetward_store::CertificateRow;

use super::rows::device_of;
use crate::attestation::{AttestationState, state_of};
use crate::error::{Error, Result};
use crate::identity_policy::identity_policy;
use crate::{App, Ctx};

pub use fleetward_store::DeviceFilter;

/// A device as people see it: the record, whether it is there, and how it stands with its attestation.
#[derive(Clone, Debug)]
pub struct DeviceView {
    pub device: Device,
    pub presence: Presence,
    /// None in a list of many.
    pub attestation: Option<AttestationState>,
}

/// A certificate of a device, without its bytes.
#[derive(Clone, Debug)]
pub struct CertificateView {
    pub serial: String,
    /// SHA-256 of the DER, hex.
    pub fingerprint: String,
    /// `issued`, `active`, `superseded` or `revoked`.
    pub status: String,
    pub not_before: Timestamp,
    pub not_after: Timestamp,
    pub issued_at: Timestamp,
    /// First used on a connection.
    pub proven_at: Option<Timestamp>,
    pub revoked_at: Option<Timestamp>,
    pub reason: Option<String>,
}

/// One device.
///
/// # Errors
/// `NotFound`.
pub async fn device(app: &App, ctx: &Ctx, tenant: &TenantId, id: &DeviceId) -> Result<DeviceView> {
    ctx.allow(tenant, Permission::DeviceRead)?;
    let id_in = id.clone();
    let policy = identity_policy(app, tenant).await?;
    let (row, proven) = app
        .read(tenant, "device", move |tx| {
            Box::pin(async move { Ok((tx.device(&id_in).await?, tx.attestation(&id_in).await?)) })
        })
        .await?;
    let device = device_of(row.ok_or(Error::NotFound { what: "device" })?)?;
    let presence = app.presence().of(tenant, id);
    let attestation = Some(state_of(&policy.attestation, device.class, proven.as_ref(), app.now())?);
    Ok(DeviceView { device, presence, attestation })
}

/// A page of the devices that the filter matches, by name, after `after`.
pub async fn devices(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    filter: DeviceFilter,
    after: Option<DeviceId>,
    limit: u32,
) -> Result<Vec<DeviceView>> {
    ctx.allow(tenant, Permission::DeviceRead)?;
    let limit = limit.clamp(1, limits::PAGE_ROWS + 1);
    let rows = app
        .read(tenant, "devices", move |tx| {
            Box::pin(async move { Ok(tx.devices(&filter, after.as_ref(), limit).await?) })
        })
        .await?;
    rows.into_iter()
        .map(|row| {
            let device = device_of(row)?;
            let presence = app.presence().of(tenant, &device.id);
            Ok(DeviceView { device, presence, attestation: None })
        })
        .collect()
}

/// Every certificate that was ever issued to the device and is still kept, newest first.
///
/// # Errors
/// `NotFound`.
pub async fn device_certificates(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    id: &DeviceId,
) -> Result<Vec<CertificateView>> {
    ctx.allow(tenant, Permission::DeviceRead)?;
    let id_in = id.clone();
    let rows = app
        .read(tenant, "device certificates", move |tx| {
            Box::pin(async move {
                if tx.device(&id_in).await?.is_none() {
                    return Err(Error::NotFound { what: "device" });
                }
                Ok(tx.certificates(&id_in, limits::PAGE_ROWS).await?)
            })
        })
        .await?;
    Ok(rows.into_iter().map(view).collect())
}

fn view(row: CertificateRow) -> CertificateView {
    CertificateView {
        serial: row.serial,
        fingerprint: row.fingerprint,
        status: row.status,
        not_before: row.not_before,
        not_after: row.not_after,
        issued_at: row.issued_at,
        proven_at: row.proven_at,
        revoked_at: row.revoked_at,
        reason: row.reason,
    }
}
