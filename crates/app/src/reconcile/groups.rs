//! Dynamic groups: whom a group's question meets gets its name as a tag, and whom it meets no more loses it.
//!
//! Devices that changed are found by when, each turn; all of them are asked where a group is new or asks something else,
//! and once an hour besides, so that nothing that was missed stays so. Where it stands with that is in memory: a server
//! that starts asks everybody anew. The decision is [`fleetward_core::group::tags_of`].

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use fleetward_base::{DeviceId, TenantId, Timestamp, limits};
use fleetward_core::group::{DynamicGroup, tags_of};
use fleetward_core::journal::{Action, Actor, Entry};
use fleetward_core::registry::{Device, DeviceFields};
use fleetward_store::{DeviceFilter, DeviceRow, SystemTx, TenantTx};
use parking_lot::Mutex;
use serde_json::json;

use super::or_later;
use crate::App;
use crate::error::{Error, Result};
use crate::journal::record;
use crate::registry::{device_of, load, row_of};

const EVERYBODY_EVERY: Duration = Duration::from_secs(3600);
/// A change that was decided so long before now is committed, or it is found within the hour.
const LAG: Duration = Duration::from_secs(5);
const PAGE: u32 = limits::DYNAMIC_GROUP_DEVICES_PER_BATCH;

/// What one turn did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupsStatus {
    pub asked: usize,
    /// Devices that came into a group, or went.
    pub moved: usize,
}

/// How far this server is with each tenant.
#[derive(Debug, Default)]
pub(crate) struct Seen(Mutex<HashMap<TenantId, Place>>);

#[derive(Clone, Debug)]
struct Place {
    /// The groups and their questions, as they were asked.
    asked: BTreeMap<String, String>,
    /// After whom everybody goes on being asked; none where that is done.
    walk: Option<Option<DeviceId>>,
    walked_at: Timestamp,
    /// What was written before has been looked at, and of that moment the devices up to this name.
    since: (Timestamp, String),
}

/// One turn over all tenants.
///
/// # Errors
/// Where the store does not say which groups there are.
pub async fn tick(app: &App) -> Result<GroupsStatus> {
    let groups = all_groups(app).await?;
    app.groups_seen().0.lock().retain(|tenant, _| groups.contains_key(tenant));
    let mut status = GroupsStatus::default();
    for (tenant, groups) in groups {
        let turn = or_later(app, "groups", Some(&tenant), turn(app, &tenant, groups).await);
        status.asked += turn.asked;
        status.moved += turn.moved;
    }
    Ok(status)
}

async fn all_groups(app: &App) -> Result<BTreeMap<TenantId, BTreeMap<String, String>>> {
    let mut all: BTreeMap<TenantId, BTreeMap<String, String>> = BTreeMap::new();
    let mut after: Option<(TenantId, String)> = None;
    loop {
        let from = after.take();
        let rows = app.store().system_read("dynamic groups", move |tx: &mut SystemTx| {
            Box::pin(async move {
                let from = from.as_ref().map(|(tenant, name)| (tenant, name.as_str()));
                Ok::<_, Error>(tx.dynamic_groups(from, limits::PAGE_ROWS).await?)
            })
        });
        let rows = rows.await?;
        let full = u32::try_from(rows.len()).is_ok_and(|found| found >= limits::PAGE_ROWS);
        for of in rows {
            let (Some(tenant), Some(query)) = (of.tenant, of.row.query) else { continue };
            after = Some((tenant.clone(), of.row.name.clone()));
            all.entry(tenant).or_default().insert(of.row.name, query);
        }
        if !full {
            return Ok(all);
        }
    }
}

async fn turn(app: &App, tenant: &TenantId, asked: BTreeMap<String, String>) -> Result<GroupsStatus> {
    let now = app.now();
    let groups: Vec<DynamicGroup> = asked
        .iter()
        .map(|(name, query)| DynamicGroup::new(name.as_str(), query).map_err(Error::internal))
        .collect::<Result<_>>()?;
    let known = app.groups_seen().0.lock().get(tenant).cloned().filter(|place| place.asked == asked);
    let fresh = || Place { asked, walk: Some(None), walked_at: now, since: (now.minus(LAG), String::new()) };
    let mut place = known.unwrap_or_else(fresh);
    if place.walk.is_none() && now.since(place.walked_at) >= EVERYBODY_EVERY {
        (place.walk, place.walked_at) = (Some(None), now);
    }
    let mut status = GroupsStatus::default();
    if place.walk.is_some() {
        walk(app, tenant, &groups, &mut place, &mut status).await?;
    }
    follow(app, tenant, &groups, &mut place, &mut status).await?;
    app.groups_seen().0.lock().insert(tenant.clone(), place);
    Ok(status)
}

/// Goes on asking everybody, so far that others have their turn.
async fn walk(
    app: &App,
    tenant: &TenantId,
    groups: &[DynamicGroup],
    place: &mut Place,
    status: &mut GroupsStatus,
) -> Result<()> {
    for _ in 0..limits::DYNAMIC_GROUP_DEVICES_PER_TURN / PAGE {
        let Some(after) = place.walk.clone() else { break };
        let rows = app.read(tenant, "devices of groups", move |tx| {
            Box::pin(async move { Ok(tx.devices(&DeviceFilter::default(), after.as_ref(), PAGE).await?) })
        });
        let rows = rows.await?;
        let more = u32::try_from(rows.len()).is_ok_and(|found| found >= PAGE);
        let last = rows.last().map(|row| row.id.clone());
        ask(app, tenant, groups, rows, status).await?;
        place.walk = more.then_some(last);
    }
    if place.walk.is_none() {
        settle(app, tenant, &place.asked).await?;
    } else {
        app.wake_groups();
    }
    Ok(())
}

/// Asks those that were written since the last turn.
async fn follow(
    app: &App,
    tenant: &TenantId,
    groups: &[DynamicGroup],
    place: &mut Place,
    status: &mut GroupsStatus,
) -> Result<()> {
    let mut from = place.since.clone();
    for _ in 0..limits::DYNAMIC_GROUP_DEVICES_PER_TURN / PAGE {
        let at = from.clone();
        let rows = app.read(tenant, "changed devices", move |tx| {
            Box::pin(async move { Ok(tx.devices_changed((at.0, &at.1), PAGE).await?) })
        });
        let rows = rows.await?;
        let more = u32::try_from(rows.len()).is_ok_and(|found| found >= PAGE);
        if let Some(last) = rows.last() {
            from = (last.updated_at, last.id.to_string());
        }
        ask(app, tenant, groups, rows, status).await?;
        if !more {
            // Whoever wrote before this has committed by the next turn.
            let settled = (app.now().minus(LAG), String::new());
            place.since = place.since.clone().max(settled);
            return Ok(());
        }
    }
    place.since = from;
    app.wake_groups();
    Ok(())
}

/// Asks these devices, and writes what is other than it was.
async fn ask(
    app: &App,
    tenant: &TenantId,
    groups: &[DynamicGroup],
    rows: Vec<DeviceRow>,
    status: &mut GroupsStatus,
) -> Result<()> {
    status.asked += rows.len();
    let devices = rows.into_iter().map(device_of).collect::<Result<Vec<Device>>>()?;
    let other = devices.into_iter().filter(|device| tags_of(groups, device) != device.tags);
    let other: Vec<DeviceId> = other.map(|device| device.id).collect();
    if other.is_empty() {
        return Ok(());
    }
    let (groups, now) = (groups.to_vec(), app.now());
    let moved = app.write(tenant, "move between groups", move |tx| {
        Box::pin(async move {
            let groups = still(tx, groups).await?;
            let mut moved = 0;
            for id in other {
                moved += usize::from(retag(tx, &groups, &id, now).await?);
            }
            Ok(moved)
        })
    });
    let moved = moved.await?;
    status.moved += moved;
    if moved > 0 {
        app.wake_jobs();
    }
    Ok(())
}

/// Those that are still there: one that is being removed gives its tag to nobody.
async fn still(tx: &mut TenantTx, groups: Vec<DynamicGroup>) -> Result<Vec<DynamicGroup>> {
    let mut there = Vec::new();
    for group in groups {
        if tx.device_group(&group.name).await?.is_some_and(|row| row.query.is_some()) {
            there.push(group);
        }
    }
    Ok(there)
}

/// Gives a device the tags that it is to have; whether it had others.
async fn retag(tx: &mut TenantTx, groups: &[DynamicGroup], id: &DeviceId, now: Timestamp) -> Result<bool> {
    let before = match load(tx, id).await {
        Err(Error::NotFound { .. }) => return Ok(false),
        other => other?,
    };
    let tags = tags_of(groups, &before);
    let left: BTreeSet<String> = before.tags.intersection(&tags).cloned().collect();
    let amend = |tags| before.amend(DeviceFields { tags: Some(tags), ..DeviceFields::default() }, now);
    // One that would have more tags than may be comes in nowhere; it goes all the same.
    let Ok(after) = amend(tags).or_else(|_| amend(left)) else { return Ok(false) };
    let changed: BTreeSet<&String> = after.tags.symmetric_difference(&before.tags).collect();
    if changed.is_empty() {
        return Ok(false);
    }
    let detail = json!({ "changed": ["tags"], "groups": changed, "revision": after.revision });
    if !tx.update_device(&row_of(&after)?, before.revision).await? {
        return Ok(false);
    }
    let entry = Entry::done(now, Actor::system("groups"), Action::DeviceUpdated);
    record(tx, &entry.device(id).detail(detail)).await?;
    Ok(true)
}

/// Notes that everybody was asked.
async fn settle(app: &App, tenant: &TenantId, asked: &BTreeMap<String, String>) -> Result<()> {
    let (asked, now) = (asked.clone(), app.now());
    app.write(tenant, "groups are settled", move |tx| {
        Box::pin(async move {
            for (name, query) in &asked {
                tx.settle_device_group(name, query, now).await?;
            }
            Ok(())
        })
    })
    .await
}
