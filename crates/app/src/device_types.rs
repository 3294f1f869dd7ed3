//! Types of devices: names that an operator has written down, for those who look for devices by what they are.
//!
//! AWS calls them thing types. A device says its type in the attribute `thing_type`, where templates put it too; nothing is
//! decided by it here. A deprecated type is given to no device any more.

use std::collections::BTreeSet;

use fleetward_base::{TenantId, Timestamp, limits};
use fleetward_core::access::Permission;
use fleetward_core::journal::Action;
use fleetward_core::search::Query;
use fleetward_store::DeviceTypeRow;
use serde_json::json;

use crate::error::{Error, Result, check_note};
use crate::journal::record;
use crate::search::search_devices;
use crate::{App, Ctx, labels};

const DESCRIPTION_BYTES: usize = 2028;
const SEARCHABLE: usize = 3;

/// A type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceType {
    pub name: String,
    pub description: Option<String>,
    /// Attributes that its devices are looked for by. Ours are looked for by any.
    pub searchable: BTreeSet<String>,
    pub created_at: Timestamp,
    pub deprecated_at: Option<Timestamp>,
}

/// A name of a type or a group: what AWS's may be.
pub(crate) fn check_name(field: &str, name: &str) -> Result<()> {
    let good = (1..=128).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'_' | b'-'));
    if good { Ok(()) } else { Err(Error::invalid(field, "1 to 128 of a-z, A-Z, 0-9, :, _ and -")) }
}

/// Writes a type down. The same again is harmless.
///
/// # Errors
/// `Invalid` with the field; `Conflict` (`type-exists` where it says something else, `types-full`).
pub async fn create_device_type(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    name: &str,
    description: Option<String>,
    searchable: BTreeSet<String>,
) -> Result<DeviceType> {
    ctx.allow(tenant, Permission::DeviceCreate)?;
    check_name("name", name)?;
    if let Some(description) = &description {
        check_note("description", description, DESCRIPTION_BYTES)?;
    }
    if searchable.len() > SEARCHABLE {
        return Err(Error::invalid("searchable", format!("more than {SEARCHABLE}")));
    }
    searchable.iter().try_for_each(|key| check_name("searchable", key))?;
    let now = app.now();
    let row = DeviceTypeRow {
        name: name.to_owned(),
        description,
        searchable: serde_json::to_string(&searchable).map_err(Error::internal)?,
        created_at: now,
        deprecated_at: None,
    };
    let ctx_in = ctx.clone();
    let kept = app.write(tenant, "create device type", move |tx| {
        Box::pin(async move {
            if let Some(known) = tx.device_type(&row.name).await? {
                if (&known.description, &known.searchable) == (&row.description, &row.searchable) {
                    return Ok(known);
                }
                return Err(Error::conflict("type-exists", format!("the type {} exists with other values", row.name)));
            }
            if tx.count_device_types().await? >= limits::DEVICE_TYPES {
                return Err(Error::conflict("types-full", format!("there are {} types already", limits::DEVICE_TYPES)));
            }
            if !tx.insert_device_type(&row).await? {
                return Err(Error::conflict("type-exists", format!("the type {} exists", row.name)));
            }
            record(tx, &ctx_in.done(now, Action::DeviceTypeCreated).subject(&row.name)).await?;
            Ok(row)
        })
    });
    type_of(kept.await?)
}

/// One type.
///
/// # Errors
/// `NotFound`.
pub async fn device_type(app: &App, ctx: &Ctx, tenant: &TenantId, name: &str) -> Result<DeviceType> {
    ctx.allow(tenant, Permission::DeviceRead)?;
    let name = name.to_owned();
    let row = app.read(tenant, "device type", move |tx| Box::pin(async move { Ok(tx.device_type(&name).await?) }));
    type_of(row.await?.ok_or(NOT_THERE)?)
}

/// A page of the types, by name, after `after`.
pub async fn device_types(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    after: Option<String>,
    limit: u32,
) -> Result<Vec<DeviceType>> {
    ctx.allow(tenant, Permission::DeviceRead)?;
    let limit = limit.clamp(1, limits::PAGE_ROWS + 1);
    let rows = app.read(tenant, "device types", move |tx| {
        Box::pin(async move { Ok(tx.device_types(after.as_deref(), limit).await?) })
    });
    rows.await?.into_iter().map(type_of).collect()
}

/// No device becomes one of this type any more, or again one does. Asking twice is harmless.
///
/// # Errors
/// `NotFound`.
pub async fn deprecate_device_type(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    name: &str,
    deprecated: bool,
) -> Result<DeviceType> {
    ctx.allow(tenant, Permission::DeviceUpdate)?;
    let (now, ctx_in, name) = (app.now(), ctx.clone(), name.to_owned());
    let row = app.write(tenant, "deprecate device type", move |tx| {
        Box::pin(async move {
            let row = tx.device_type(&name).await?.ok_or(NOT_THERE)?;
            if row.deprecated_at.is_some() == deprecated {
                return Ok(row);
            }
            let row = DeviceTypeRow { deprecated_at: deprecated.then_some(now), ..row };
            tx.deprecate_device_type(&name, row.deprecated_at).await?;
            let entry = ctx_in.done(now, Action::DeviceTypeDeprecated).subject(&name);
            record(tx, &entry.detail(json!({ "deprecated": deprecated }))).await?;
            Ok(row)
        })
    });
    type_of(row.await?)
}

/// Removes a type that no device has.
///
/// # Errors
/// `NotFound`; `Conflict` (`type-in-use`).
pub async fn remove_device_type(app: &App, ctx: &Ctx, tenant: &TenantId, name: &str) -> Result<()> {
    ctx.allow(tenant, Permission::DeviceUpdate)?;
    let mut after = None;
    loop {
        let found = search_devices(app, ctx, tenant, &Query::kind(name), after, 1).await?;
        if let Some(one) = found.devices.first() {
            let reason = format!("{} is of the type {name}", one.device.id);
            return Err(Error::conflict("type-in-use", reason));
        }
        after = found.next;
        if after.is_none() {
            break;
        }
    }
    let (now, ctx_in, name) = (app.now(), ctx.clone(), name.to_owned());
    app.write(tenant, "remove device type", move |tx| {
        Box::pin(async move {
            if !tx.remove_device_type(&name).await? {
                return Err(NOT_THERE);
            }
            tx.remove_labels(labels::Kind::Type.as_str(), &name).await?;
            record(tx, &ctx_in.done(now, Action::DeviceTypeRemoved).subject(&name)).await?;
            Ok(())
        })
    })
    .await
}

const NOT_THERE: Error = Error::NotFound { what: "type" };

fn type_of(row: DeviceTypeRow) -> Result<DeviceType> {
    Ok(DeviceType {
        name: row.name,
        description: row.description,
        searchable: serde_json::from_str(&row.searchable).map_err(Error::internal)?,
        created_at: row.created_at,
        deprecated_at: row.deprecated_at,
    })
}
