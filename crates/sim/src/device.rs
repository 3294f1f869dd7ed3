//! A simulated device: it has a key and a certificate of its own, holds a real mTLS session, keeps its shadow and takes
//! updates as the real agent does.
//!
//! What it does not have is a disk: its two slots are in memory and "restarting" is a new connection. It verifies
//! signatures, hardware and hashes itself with the code of `supply`; what the server says is not believed.

mod link;
mod update;

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fleetward_base::DeviceId;
use fleetward_supply::Signers;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::identity::Identity;
use crate::json::with;
use crate::net::Door;
use crate::tls::Trust;
use link::{Event, Link};
use update::Trial;

/// A device that cannot connect tries again after this, doubled each time up to [`RETRY_MAX`].
const RETRY: Duration = Duration::from_millis(200);
const RETRY_MAX: Duration = Duration::from_secs(20);
/// Errors that are kept for the report.
const TROUBLES: usize = 50;

/// What all devices of a simulation share.
#[derive(Debug)]
pub struct World {
    pub mqtt: Door,
    pub trust: Trust,
    /// How long each step of an update takes: a person is to see it happen.
    pub pace: Duration,
    troubles: Mutex<Vec<String>>,
}

/// What runs on a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Firmware {
    pub version: String,
    pub image: Bytes,
}

/// One device. [`Device::live`] is its life.
#[derive(Debug)]
pub struct Device {
    world: Arc<World>,
    identity: Arc<Identity>,
    hardware: String,
    /// Whose releases it accepts.
    signers: Signers,
    source: Ipv4Addr,
    running: Firmware,
    /// The other slot: what it falls back to.
    previous: Option<Firmware>,
    trial: Option<Trial>,
    /// The end of a job that the server has not been told.
    outcome: Option<update::Outcome>,
}

/// How a session ended, where it ended well.
enum Ended {
    Stopped,
    Restart,
}

impl World {
    pub fn new(mqtt: Door, trust: Trust, pace: Duration) -> Self {
        Self { mqtt, trust, pace, troubles: Mutex::new(Vec::new()) }
    }

    /// What went wrong so far, the first [`TROUBLES`] of it.
    pub fn troubles(&self) -> Vec<String> {
        self.troubles.lock().clone()
    }

    fn trouble(&self, device: &DeviceId, cause: &anyhow::Error) {
        let mut troubles = self.troubles.lock();
        if troubles.len() < TROUBLES {
            troubles.push(format!("{device}: {cause:#}"));
        }
    }
}

impl Device {
    pub fn new(
        world: Arc<World>,
        identity: Arc<Identity>,
        hardware: &str,
        signers: Signers,
        source: Ipv4Addr,
        running: Firmware,
    ) -> Self {
        let hardware = hardware.to_owned();
        Self { world, identity, hardware, signers, source, running, previous: None, trial: None, outcome: None }
    }

    /// Connects, works, restarts and reconnects until `stop`.
    pub async fn live(mut self, stop: CancellationToken) {
        let mut retry = RETRY;
        while !stop.is_cancelled() {
            match self.session(&stop).await {
                Ok(Ended::Stopped) => return,
                Ok(Ended::Restart) => retry = RETRY,
                Err(cause) => {
                    if !stop.is_cancelled() {
                        self.world.trouble(&self.identity.device, &cause);
                    }
                    wait(retry, &stop).await;
                    retry = (retry * 2).min(RETRY_MAX);
                }
            }
        }
    }

    async fn session(&mut self, stop: &CancellationToken) -> anyhow::Result<Ended> {
        let mut link = Link::open(&self.world, &self.identity, self.source).await?;
        self.report_state(&mut link, json!({})).await?;
        if let Some(trial) = self.trial.take() {
            self.self_test(&mut link, trial, stop).await?;
            if self.outcome.is_some() {
                link.close().await?;
                return Ok(Ended::Restart);
            }
        }
        self.report_outcome(&mut link).await?;
        loop {
            if self.next_job(&mut link, stop).await? {
                link.close().await?;
                return Ok(Ended::Restart);
            }
            let event = tokio::select! {
                () = stop.cancelled() => {
                    link.close().await?;
                    return Ok(Ended::Stopped);
                }
                event = link.event() => event?,
            };
            match event {
                Event::NextJob => {}
                Event::Delta(wanted) => self.report_state(&mut link, wanted).await?,
            }
        }
    }

    /// Reports what runs, and that settings which were wanted are now in force.
    async fn report_state(&self, link: &mut Link, settings: Value) -> anyhow::Result<()> {
        let reported = with(settings, "firmware", self.running.version.as_str());
        let reported = with(reported, "hardware", self.hardware.as_str());
        link.request("shadow/update", json!({ "state": { "reported": reported } })).await?;
        Ok(())
    }
}

/// Waits for the time or for the stop, whichever comes first.
async fn wait(span: Duration, stop: &CancellationToken) {
    let _which = tokio::time::timeout(span, stop.cancelled()).await;
}

#[cfg(test)]
mod tests;
