//! Looking for devices by a question ([`fleetward_core::search`]).
//!
//! What the store can narrow down it does; the rest is looked at row by row. A call looks at so many devices and no more: it
//! may come back with less than was asked for and the place from which to go on, which a caller takes for another page.

use fleetward_base::{DeviceId, TenantId, limits};
use fleetward_core::access::Permission;
use fleetward_core::presence::Presence;
use fleetward_core::search::{Field, Query, Subject, Tally};
use fleetward_store::DeviceFilter;

use crate::error::{Error, Result};
use crate::registry::{DeviceView, device_of};
use crate::{App, Ctx};

/// What was found, and from where to go on; none where all has been looked at.
#[derive(Debug)]
pub struct Found {
    pub devices: Vec<DeviceView>,
    pub next: Option<DeviceId>,
}

/// The next devices that the question meets, by name, after `after`; `limit` of them at most.
pub async fn search_devices(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    query: &Query,
    after: Option<DeviceId>,
    limit: u32,
) -> Result<Found> {
    ctx.allow(tenant, Permission::DeviceRead)?;
    let wanted = usize::try_from(limit.clamp(1, limits::PAGE_ROWS)).unwrap_or(1);
    let narrowed = query.narrowed();
    let filter =
        DeviceFilter { prefix: narrowed.prefix, tags: narrowed.tags.into_iter().collect(), ..DeviceFilter::default() };
    let (mut devices, mut from, mut looked) = (Vec::new(), after, 0);
    loop {
        let (page_filter, page_from) = (filter.clone(), from.clone());
        let rows = app.read(tenant, "search devices", move |tx| {
            Box::pin(async move { Ok(tx.devices(&page_filter, page_from.as_ref(), limits::PAGE_ROWS).await?) })
        });
        let rows = rows.await?;
        let last_page = u32::try_from(rows.len()).is_ok_and(|count| count < limits::PAGE_ROWS);
        for row in rows {
            let device = device_of(row)?;
            looked += 1;
            from = Some(device.id.clone());
            let presence = app.presence().of(tenant, &device.id);
            if query.matches(Subject { device: &device, online: is_online(&presence) }) {
                devices.push(DeviceView { device, presence, attestation: None });
                if devices.len() == wanted {
                    return Ok(Found { devices, next: from });
                }
            }
        }
        if last_page {
            return Ok(Found { devices, next: None });
        }
        if looked >= limits::SEARCH_DEVICES_PER_CALL {
            return Ok(Found { devices, next: from });
        }
    }
}

/// How many devices the question meets.
///
/// # Errors
/// `TooLarge` in a fleet of more devices than are counted one by one.
pub async fn count_devices(app: &App, ctx: &Ctx, tenant: &TenantId, query: &Query) -> Result<u64> {
    let mut count = 0;
    each(app, ctx, tenant, query, |_| {
        count += 1;
        Ok(())
    })
    .await?;
    Ok(count)
}

/// What the values of a field are like, over the devices that the question meets.
///
/// # Errors
/// `TooLarge` in a fleet of more devices than are counted one by one, or of more values than are kept apart.
pub async fn tally_devices(app: &App, ctx: &Ctx, tenant: &TenantId, (query, field): (&Query, &Field)) -> Result<Tally> {
    let mut tally = Tally::default();
    each(app, ctx, tenant, query, |view| {
        let subject = Subject { device: &view.device, online: is_online(&view.presence) };
        let limit = limits::SEARCH_VALUES as u64;
        tally.add(field, subject).map_err(|_| Error::TooLarge { what: "the number of different values", limit })
    })
    .await?;
    Ok(tally)
}

async fn each(
    app: &App,
    ctx: &Ctx,
    tenant: &TenantId,
    query: &Query,
    mut with: impl FnMut(&DeviceView) -> Result<()> + Send,
) -> Result<()> {
    let (mut after, mut turns) = (None, 0);
    loop {
        let found = search_devices(app, ctx, tenant, query, after, limits::PAGE_ROWS).await?;
        found.devices.iter().try_for_each(&mut with)?;
        after = found.next;
        turns += 1;
        if after.is_none() {
            return Ok(());
        }
        if turns >= limits::SEARCH_CALLS_PER_COUNT {
            let limit = u64::from(limits::SEARCH_CALLS_PER_COUNT) * u64::from(limits::PAGE_ROWS);
            return Err(Error::TooLarge { what: "the count of devices", limit });
        }
    }
}

fn is_online(presence: &Presence) -> bool {
    presence.online
}
