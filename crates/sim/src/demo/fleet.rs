//! The simulated part of the cast: enrolled through EST, each from an address of its own, and alive until told otherwise.

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::Context as _;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::cast::{BASELINE, Cast, Member, Tenant};
use super::releases::{self, Published};
use super::view::View;
use crate::device::{Device, Firmware, World};
use crate::est;
use crate::http::Connection;
use crate::identity::Identity;
use crate::net::{Door, source};
use crate::rest::Rest;
use crate::tls::ALPN_HTTP;

/// Enrolments under way at once.
const AT_ONCE: usize = 24;

/// A device that is enrolled and may be brought to life as often as it is needed.
struct Enrolled {
    member: Member,
    tenant: usize,
    identity: Arc<Identity>,
    place: usize,
}

/// All simulated devices.
pub(super) struct Fleet {
    world: Arc<World>,
    enrolled: Vec<Enrolled>,
    alive: TaskTracker,
    stop: CancellationToken,
    /// Takes the devices of the site off the air.
    site: CancellationToken,
}

impl Fleet {
    pub(super) async fn enroll(
        cast: &Cast,
        rest: &Arc<Rest>,
        door: &Door,
        world: World,
        view: &mut View,
    ) -> anyhow::Result<Self> {
        let tls = world.trust.anonymous(&[ALPN_HTTP])?;
        let members = cast
            .tenants
            .iter()
            .enumerate()
            .flat_map(|(number, tenant)| tenant.simulated.iter().map(move |member| (number, tenant, member)))
            .enumerate();
        let mut enrolling = stream::iter(members)
            .map(|(place, (number, tenant, member))| {
                let (rest, tls) = (rest, &tls);
                async move {
                    let identity = first_certificate(rest, door, tls, tenant, member, place).await;
                    let identity = identity.with_context(|| format!("enrolling {}", member.id))?;
                    anyhow::Ok(Enrolled { member: member.clone(), tenant: number, identity, place })
                }
            })
            .buffer_unordered(AT_ONCE);
        let total = cast.simulated();
        let mut enrolled = Vec::with_capacity(total);
        while let Some(one) = enrolling.try_next().await? {
            enrolled.push(one);
            view.progress("Devices enrolled", enrolled.len(), total);
        }
        drop(enrolling);
        enrolled.sort_by_key(|one| one.place);
        let stop = CancellationToken::new();
        let site = stop.child_token();
        Ok(Self { world: Arc::new(world), enrolled, alive: TaskTracker::new(), stop, site })
    }

    /// Brings every device to life.
    pub(super) fn wake(&self, cast: &Cast, published: &BTreeMap<usize, Published>) -> anyhow::Result<()> {
        self.enrolled.iter().try_for_each(|one| self.wake_one(one, cast, published))
    }

    /// The site loses its link.
    pub(super) fn cut_site(&mut self) {
        self.site.cancel();
        self.site = self.stop.child_token();
    }

    /// The site has its link again.
    pub(super) fn wake_site(&self, cast: &Cast, published: &BTreeMap<usize, Published>) -> anyhow::Result<()> {
        self.enrolled.iter().filter(|one| one.member.at_site).try_for_each(|one| self.wake_one(one, cast, published))
    }

    fn wake_one(&self, one: &Enrolled, cast: &Cast, published: &BTreeMap<usize, Published>) -> anyhow::Result<()> {
        let tenant = cast.tenants.get(one.tenant).context("a device without a tenant")?;
        let signers = published.get(&one.tenant).context("a tenant without a signer")?.signers.clone();
        let image = releases::image(tenant, one.member.hardware, BASELINE);
        let device = Device::new(
            Arc::clone(&self.world),
            Arc::clone(&one.identity),
            one.member.hardware,
            signers,
            source(one.place),
            Firmware { version: BASELINE.to_owned(), image },
        );
        let stop = if one.member.at_site { &self.site } else { &self.stop };
        self.alive.spawn(device.live(stop.clone()));
        Ok(())
    }

    pub(super) fn world(&self) -> &World {
        &self.world
    }

    /// A certificate of a device of this tenant.
    pub(super) fn identity_in(&self, tenant: usize) -> Option<&Identity> {
        self.enrolled.iter().find(|one| one.tenant == tenant).map(|one| one.identity.as_ref())
    }

    pub(super) async fn stop(&self) {
        self.stop.cancel();
        self.alive.close();
        self.alive.wait().await;
    }
}

async fn first_certificate(
    rest: &Rest,
    door: &Door,
    tls: &Arc<rustls::ClientConfig>,
    tenant: &Tenant,
    member: &Member,
    place: usize,
) -> anyhow::Result<Arc<Identity>> {
    let token = rest.enroll_token(&tenant.id, &member.id, member.hardware).await?;
    let mut connection = Connection::open(door, tls, Some(source(place))).await?;
    Ok(Arc::new(est::enroll(&mut connection, &member.id, &token).await?))
}
