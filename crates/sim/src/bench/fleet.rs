//! Devices for a benchmark, enrolled through EST like any others.

use std::sync::Arc;

use anyhow::Context as _;
use fleetward_base::DeviceId;
use futures::{StreamExt as _, TryStreamExt as _, stream};

use super::progress;
use super::stage::Stage;
use crate::est;
use crate::http::Connection;
use crate::identity::Identity;
use crate::net::source;
use crate::tls::ALPN_HTTP;

/// Requests under way at once while a fleet is made.
const AT_ONCE: usize = 48;

/// A device that may enrol.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    pub(crate) device: DeviceId,
    pub(crate) token: String,
}

pub(crate) fn names(prefix: &str, count: usize) -> anyhow::Result<Vec<DeviceId>> {
    (0..count).map(|index| format!("{prefix}-{index:05}").parse().context("a device name")).collect()
}

/// Registers devices and fetches a one-time token for each.
pub(crate) async fn claims(stage: &Stage, prefix: &str, count: usize) -> anyhow::Result<Vec<Claim>> {
    let bar = progress::bar("enrolment tokens", count);
    let claims = stream::iter(names(prefix, count)?)
        .map(|device| {
            let bar = &bar;
            async move {
                let token = stage.rest.enroll_token(&stage.tenant, &device, "a-1").await?;
                bar.inc(1);
                anyhow::Ok(Claim { device, token })
            }
        })
        .buffered(AT_ONCE)
        .try_collect()
        .await;
    bar.finish_and_clear();
    claims
}

/// `count` devices with certificates of the stage's tenant.
pub(crate) async fn enroll(stage: &Stage, prefix: &str, count: usize) -> anyhow::Result<Vec<Arc<Identity>>> {
    let claims = claims(stage, prefix, count).await?;
    let bar = progress::bar("enrolments", count);
    let door = stage.server.device_door()?;
    let tls = stage.server.trust.anonymous(&[ALPN_HTTP])?;
    let groups = claims.chunks(count.div_ceil(AT_ONCE).max(1)).enumerate();
    let fleet: Vec<Vec<Arc<Identity>>> = stream::iter(groups)
        .map(|(place, group)| {
            let (bar, door, tls) = (&bar, &door, &tls);
            async move {
                let mut connection = Connection::open(door, tls, Some(source(place))).await?;
                let mut made = Vec::with_capacity(group.len());
                for claim in group {
                    made.push(Arc::new(est::enroll(&mut connection, &claim.device, &claim.token).await?));
                    bar.inc(1);
                }
                anyhow::Ok(made)
            }
        })
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    bar.finish_and_clear();
    Ok(fleet.into_iter().flatten().collect())
}
