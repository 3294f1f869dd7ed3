//! Groups of devices: a name that an operator has written down, with a description, and the group that it lies in.
//!
//! A device is in a group by having the group's name as a tag, as templates do it too: whatever chooses devices by tags
//! (rollouts, revocations, searches) chooses by groups at once, and a tag that was there first makes members of those who
//! had it. What lies in a group is not in the group above by that; who asks for both says so.
//!
//! Of a *dynamic* group a question decides who is in it ([`fleetward_core::group`]): its reconciler gives the tag and takes
//! it, a moment after a device has changed. Nobody else does, and no group lies in it or around it.

use std::collections::BTreeMap;

use fleetward_base::{DeviceId, TenantId, Timestamp, limits};
use fleetward_core::access::Permission;
use fleetward_core::group::DynamicGroup;
use fleetward_core::journal::Action;
use fleetward_core::registry::DeviceFields;
use fleetward_store::{DeviceFilter, DeviceGroupRow, TenantTx};
use serde_json::json;

use crate::device_types::check_name;
use crate::error::{Error, Result, check_note};
use crate::journal::record;
use crate::registry::{load, row_of};
use crate::{App, Ctx, labels};

const DESCRIPTION_BYTES: usize = 2028;
const ATTRIBUTE_BYTES: usize = 800;
/// Devices that leave a group in one transaction, where it is removed.
const LEAVE_AT_ONCE: u32 = 200;

/// A group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceGroup {
    pub name: String,
    pub description: Option<String>,
    pub attributes: BTreeMap<String, String>,
    pub parent: Option<String>,
    /// What decides who is in it, where people do not.
    pub query: Option<String>,
    /// Every device was asked, for the question as it is.
    pub settled: bool,
    pub revision: u64,
    pub created_at: Timestamp,
    pub updated_at: Timestamp,
}

/// What of a group can be said and changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupFields {
    pub description: Option<String>,
    pub attributes: BTreeMap<String, String>,
    /// Makes a dynamic group, or gives one another question. A group that is dynamic stays so, and one that is not too.
    pub query: Option<String>,
}

impl GroupFields {
    fn check(&self) -> Result<()> {
        if let Some(description) = &self.description {
            check_note("description", description, DESCRIPTION_BYTES)?;
        }
        if let Some(query) = &self.query {
            DynamicGroup::new("", query).map_err(|bad| Error::invalid("query", bad.to_string()))?;
        }
        if self.attributes.len() > limits::DEVICE_GROUP_ATTRIBUTES {
            return Err(Error::invalid("attributes", format!("more than {}", limits::DEVICE_GROUP_ATTRIBUTES)));
        }
        self.attributes.iter().try_for_each(|(key, value)| {
            check_name("attributes", key)?;
            check_note("attributes", value, ATTRIBUTE_BYTES)
        })
    }
}

/// Writes a group down, within `parent`. The same again is harmless.
///
/// # Errors
/// `Invalid` with the field; `NotFound` for the parent; `Conflict` (`group-exists` where it says something else,
/// `groups-full`, `groups-too-deep`; of a dynamic group `tag-in-use` where a device has its name as a tag).
pub async fn create_device_group(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    name: &str,
    parent: Option<String>,
    fields: GroupFields,
) -> Result<DeviceGroup> {
    ctx.allow(tenant, Permission::DeviceCreate)?;
    check_name("name", name)?;
    fields.check()?;
    if fields.query.is_some() && parent.is_some() {
        return Err(Error::invalid("parent", "a dynamic group lies in no other"));
    }
    if fields.query.is_some() {
        tag_is_free(app, tenant, name).await?;
    }
    let now = app.now();
    let row = DeviceGroupRow {
        name: name.to_owned(),
        description: fields.description,
        attributes: serde_json::to_string(&fields.attributes).map_err(Error::internal)?,
        parent,
        query: fields.query,
        settled_at: None,
        revision: 1,
        created_at: now,
        updated_at: now,
    };
    let ctx_in = ctx.clone();
    let kept = app.write(tenant, "create device group", move |tx| {
        Box::pin(async move {
            if let Some(known) = tx.device_group(&row.name).await? {
                let same = (&known.description, &known.attributes, &known.parent, &known.query)
                    == (&row.description, &row.attributes, &row.parent, &row.query);
                let reason = || format!("the group {} exists with other values", row.name);
                return if same { Ok(known) } else { Err(Error::conflict("group-exists", reason())) };
            }
            if tx.count_device_groups().await? >= limits::DEVICE_GROUPS {
                let reason = format!("there are {} groups already", limits::DEVICE_GROUPS);
                return Err(Error::conflict("groups-full", reason));
            }
            if row.query.is_some() && tx.count_dynamic_groups().await? >= limits::DYNAMIC_GROUPS {
                let reason = format!("there are {} dynamic groups already", limits::DYNAMIC_GROUPS);
                return Err(Error::conflict("groups-full", reason));
            }
            if let Some(parent) = &row.parent {
                let above = above(tx, parent).await?;
                if above.iter().any(|group| group.query.is_some()) {
                    return Err(Error::invalid("parent", "no group lies in a dynamic one"));
                }
                if above.len() >= limits::DEVICE_GROUP_DEPTH {
                    let reason = format!("groups lie in each other {} deep at most", limits::DEVICE_GROUP_DEPTH);
                    return Err(Error::conflict("groups-too-deep", reason));
                }
            }
            if !tx.insert_device_group(&row).await? {
                return Err(Error::conflict("group-exists", format!("the group {} exists", row.name)));
            }
            let entry = ctx_in.done(now, Action::DeviceGroupCreated).subject(&row.name);
            record(tx, &entry.detail(json!({ "parent": row.parent, "query": row.query }))).await?;
            Ok(row)
        })
    });
    let kept = kept.await?;
    if kept.query.is_some() {
        app.wake_groups();
    }
    group_of(kept)
}

/// A tag that devices have already would be taken from those whom the question does not meet. This may go through all
/// devices, so nobody who writes waits for it. Of a group that is there the tag is its own.
async fn tag_is_free(app: &App, tenant: &TenantId, name: &str) -> Result<()> {
    let name_in = name.to_owned();
    let free = app.read(tenant, "devices with tag", move |tx| {
        Box::pin(async move {
            if tx.device_group(&name_in).await?.is_some() {
                return Ok(true);
            }
            let filter = DeviceFilter { tags: vec![name_in], ..DeviceFilter::default() };
            Ok(tx.devices(&filter, None, 1).await?.is_empty())
        })
    });
    if free.await? {
        return Ok(());
    }
    Err(Error::conflict("tag-in-use", format!("devices have the tag {name} already; take it from them first")))
}

/// The group and those that it lies in, the outermost last.
///
/// # Errors
/// `NotFound`.
async fn above(tx: &mut TenantTx, name: &str) -> Result<Vec<DeviceGroupRow>> {
    let mut found: Vec<DeviceGroupRow> = Vec::new();
    let mut next = Some(name.to_owned());
    while let Some(name) = next.filter(|_| found.len() < limits::DEVICE_GROUP_DEPTH) {
        let row = tx.device_group(&name).await?.ok_or(NOT_THERE)?;
        next = row.parent.clone();
        found.push(row);
    }
    Ok(found)
}

/// One group, and the names of those that it lies in, the outermost first.
///
/// # Errors
/// `NotFound`.
pub async fn device_group(app: &App, ctx: &Ctx, tenant: &TenantId, name: &str) -> Result<(DeviceGroup, Vec<String>)> {
    ctx.allow(tenant, Permission::DeviceRead)?;
    let name = name.to_owned();
    let rows = app.read(tenant, "device group", move |tx| Box::pin(async move { above(tx, &name).await }));
    let mut rows = rows.await?.into_iter();
    let group = group_of(rows.next().ok_or(NOT_THERE)?)?;
    let mut names: Vec<String> = rows.map(|row| row.name).collect();
    names.reverse();
    Ok((group, names))
}

/// A page of the groups, by name, after `after`; with `parent`, of those that lie right in it.
pub async fn device_groups(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    parent: Option<String>,
    after: Option<String>,
    limit: u32,
) -> Result<Vec<DeviceGroup>> {
    ctx.allow(tenant, Permission::DeviceRead)?;
    let limit = limit.clamp(1, limits::PAGE_ROWS + 1);
    let rows = app.read(tenant, "device groups", move |tx| {
        Box::pin(async move { Ok(tx.device_groups(parent.as_deref(), after.as_deref(), limit).await?) })
    });
    rows.await?.into_iter().map(group_of).collect()
}

/// The names of the group and of all that lie in it.
///
/// # Errors
/// `NotFound`.
pub async fn group_with_all_below(app: &App, ctx: &Ctx, tenant: &TenantId, name: &str) -> Result<Vec<String>> {
    ctx.allow(tenant, Permission::DeviceRead)?;
    let name = name.to_owned();
    app.read(tenant, "groups below", move |tx| {
        Box::pin(async move {
            tx.device_group(&name).await?.ok_or(NOT_THERE)?;
            let (mut names, mut at) = (vec![name], 0);
            while let Some(parent) = names.get(at).cloned() {
                let below = tx.device_groups(Some(&parent), None, limits::PAGE_ROWS).await?;
                names.extend(below.into_iter().map(|row| row.name));
                if names.len() > limits::SEARCH_TERMS * 10 {
                    let reason = "too many groups lie in it to be asked at once; ask for each";
                    return Err(Error::invalid("recursive", reason));
                }
                at += 1;
            }
            Ok(names)
        })
    })
    .await
}

/// Says something else of a group that is still at `expected`; where that is not said, whatever it is at.
///
/// # Errors
/// `NotFound`, `Stale`, `Invalid` with the field; `Conflict` (`group-static`) where a question is given to one that is not
/// dynamic.
pub async fn amend_device_group(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    name: &str,
    expected: Option<u64>,
    fields: GroupFields,
) -> Result<DeviceGroup> {
    ctx.allow(tenant, Permission::DeviceUpdate)?;
    fields.check()?;
    let (now, ctx_in, name) = (app.now(), ctx.clone(), name.to_owned());
    let row = app.write(tenant, "amend device group", move |tx| {
        Box::pin(async move {
            let before = tx.device_group(&name).await?.ok_or(NOT_THERE)?;
            let found = before.revision;
            let expected = expected.unwrap_or(found);
            if before.query.is_none() && fields.query.is_some() {
                return Err(Error::conflict("group-static", format!("people decide who is in {name}")));
            }
            let same = fields.query.is_none() || fields.query == before.query;
            let row = DeviceGroupRow {
                query: fields.query.or_else(|| before.query.clone()),
                settled_at: before.settled_at.filter(|_| same),
                description: fields.description,
                attributes: serde_json::to_string(&fields.attributes).map_err(Error::internal)?,
                revision: expected + 1,
                updated_at: now,
                ..before
            };
            if !tx.update_device_group(&row, expected).await? {
                return Err(Error::Stale { expected, found });
            }
            let entry = ctx_in.done(now, Action::DeviceGroupUpdated).subject(&name);
            record(tx, &if same { entry } else { entry.detail(json!({ "query": row.query })) }).await?;
            Ok(row)
        })
    });
    let row = row.await?;
    if row.query.is_some() {
        app.wake_groups();
    }
    group_of(row)
}

/// Removes a group in which no other lies. Its devices leave it, so many in a transaction; whoever asks meanwhile sees it
/// with fewer.
///
/// # Errors
/// `NotFound`; `Stale`; `Conflict` (`group-not-empty` where another lies in it).
pub async fn remove_device_group(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    name: &str,
    expected: Option<u64>,
) -> Result<()> {
    ctx.allow(tenant, Permission::DeviceUpdate)?;
    let (group, _) = device_group(app, ctx, tenant, name).await?;
    if let Some(expected) = expected.filter(|expected| *expected != group.revision) {
        return Err(Error::Stale { expected, found: group.revision });
    }
    if !device_groups(app, ctx, tenant, Some(name.to_owned()), None, 1).await?.is_empty() {
        return Err(Error::conflict("group-not-empty", format!("other groups lie in {name}")));
    }
    if group.query.is_some() {
        ask_no_more(app, ctx, tenant, name).await?;
    }
    loop {
        let (ctx_in, name_in) = (ctx.clone(), name.to_owned());
        let now = app.now();
        let left = app.write(tenant, "leave device group", move |tx| {
            Box::pin(async move {
                let filter = DeviceFilter { tags: vec![name_in.clone()], ..DeviceFilter::default() };
                let rows = tx.devices(&filter, None, LEAVE_AT_ONCE).await?;
                for row in &rows {
                    retag(tx, &ctx_in, &row.id, &name_in, false, now).await?;
                }
                Ok(rows.len())
            })
        });
        if left.await? == 0 {
            break;
        }
    }
    let (now, ctx_in, name) = (app.now(), ctx.clone(), name.to_owned());
    app.write(tenant, "remove device group", move |tx| {
        Box::pin(async move {
            if !tx.remove_device_group(&name).await? {
                return Err(Error::conflict("group-not-empty", format!("other groups lie in {name}")));
            }
            tx.remove_labels(labels::Kind::Group.as_str(), &name).await?;
            record(tx, &ctx_in.done(now, Action::DeviceGroupRemoved).subject(&name)).await?;
            Ok(())
        })
    })
    .await
}

/// From here on its question gives nobody the tag that is taken away next.
async fn ask_no_more(app: &App, ctx: &Ctx, tenant: &TenantId, name: &str) -> Result<()> {
    let (now, ctx_in, name) = (app.now(), ctx.clone(), name.to_owned());
    app.write(tenant, "ask no more", move |tx| {
        Box::pin(async move {
            let row = tx.device_group(&name).await?.ok_or(NOT_THERE)?;
            let found = row.revision;
            let row = DeviceGroupRow { query: None, settled_at: None, revision: found + 1, updated_at: now, ..row };
            if tx.update_device_group(&row, found).await? {
                // Where the server stops before the group is gone, this says why it is not dynamic any more.
                let entry = ctx_in.done(now, Action::DeviceGroupUpdated).subject(&name);
                record(tx, &entry.detail(json!({ "query": null }))).await?;
            }
            Ok(())
        })
    })
    .await
}

/// Takes a device into a group, or out of it. Asking twice is harmless.
///
/// # Errors
/// `NotFound` for the group and the device; `Invalid` (`tags`) where it has as many as may be; `Conflict` (`group-dynamic`).
pub async fn move_device(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    device: &DeviceId,
    group: &str,
    member: bool,
) -> Result<()> {
    ctx.allow(tenant, Permission::DeviceUpdate)?;
    let (now, ctx_in, device, group) = (app.now(), ctx.clone(), device.clone(), group.to_owned());
    app.write(tenant, "move device", move |tx| {
        Box::pin(async move {
            if tx.device_group(&group).await?.ok_or(NOT_THERE)?.query.is_some() {
                return Err(Error::conflict("group-dynamic", format!("a question decides who is in {group}")));
            }
            retag(tx, &ctx_in, &device, &group, member, now).await
        })
    })
    .await
}

async fn retag(tx: &mut TenantTx, ctx: &Ctx, id: &DeviceId, tag: &str, on: bool, now: Timestamp) -> Result<()> {
    let before = load(tx, id).await?;
    let mut tags = before.tags.clone();
    if on {
        tags.insert(tag.to_owned());
    } else {
        tags.remove(tag);
    }
    let fields = DeviceFields { tags: Some(tags), ..DeviceFields::default() };
    let after = before.amend(fields, now).map_err(|invalid| Error::invalid(invalid.field, invalid.why))?;
    if after.revision == before.revision {
        return Ok(());
    }
    tx.update_device(&row_of(&after)?, before.revision).await?;
    let detail = json!({ "changed": ["tags"], "revision": after.revision, "group": tag, "member": on });
    record(tx, &ctx.done(now, Action::DeviceUpdated).device(id).detail(detail)).await?;
    Ok(())
}

/// Of these names, those that are groups.
pub async fn groups_among(app: &App, ctx: &Ctx, tenant: &TenantId, names: Vec<String>) -> Result<Vec<DeviceGroup>> {
    ctx.allow(tenant, Permission::DeviceRead)?;
    let rows = app.read(tenant, "groups among tags", move |tx| {
        Box::pin(async move {
            let mut found = Vec::new();
            for name in names.iter().take(limits::DEVICE_TAGS) {
                found.extend(tx.device_group(name).await?);
            }
            Ok(found)
        })
    });
    rows.await?.into_iter().map(group_of).collect()
}

const NOT_THERE: Error = Error::NotFound { what: "group" };

fn group_of(row: DeviceGroupRow) -> Result<DeviceGroup> {
    Ok(DeviceGroup {
        name: row.name,
        description: row.description,
        attributes: serde_json::from_str(&row.attributes).map_err(Error::internal)?,
        parent: row.parent,
        settled: row.query.is_some() && row.settled_at.is_some(),
        query: row.query,
        revision: row.revision,
        created_at: row.created_at,
        updated_at: row.updated_at,
    })
}
