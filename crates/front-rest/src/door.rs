//! What every handler of the door shares.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use fleetward_app::App;
use fleetward_vault::MacPurpose;
use tokio_util::sync::CancellationToken;

use crate::failures::Failures;
use crate::page::Cursors;
use crate::problem::Problem;
use crate::streams::Streams;

/// The door's state. Cheap to clone.
#[derive(Clone)]
pub struct Door {
    inner: Arc<Inner>,
}

struct Inner {
    app: App,
    cursors: Cursors,
    failures: Failures,
    streams: Streams,
    stop: CancellationToken,
    keep_alive: Duration,
}

/// Proxies let go of a connection that says nothing for long.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

impl Door {
    /// `stop` ends event streams when the server stops.
    pub fn new(app: App, stop: CancellationToken) -> Self {
        Self::with_keep_alive(app, stop, KEEP_ALIVE)
    }

    /// As [`Self::new`], with another time between the signs of life of event streams.
    pub fn with_keep_alive(app: App, stop: CancellationToken, keep_alive: Duration) -> Self {
        let cursors = Cursors::new(app.vault().mac(MacPurpose::Cursor));
        let (failures, streams) = (Failures::default(), Streams::default());
        Self { inner: Arc::new(Inner { app, cursors, failures, streams, stop, keep_alive }) }
    }

    pub fn app(&self) -> &App {
        &self.inner.app
    }

    pub fn cursors(&self) -> &Cursors {
        &self.inner.cursors
    }

    fn failures(&self) -> &Failures {
        &self.inner.failures
    }

    /// Refuses an address that failed too often.
    pub fn may_sign_in(&self, address: Option<IpAddr>) -> Result<(), Problem> {
        let wait = address.and_then(|address| self.failures().wait(address, self.app().clock().monotonic()));
        wait.map_or(Ok(()), |wait| Err(Problem::too_many("failed sign-ins from this address", wait)))
    }

    /// Counts a wrong credential.
    pub fn sign_in_failed(&self, address: Option<IpAddr>) {
        if let Some(address) = address {
            self.failures().note(address, self.app().clock().monotonic());
        }
    }

    pub(crate) fn streams(&self) -> &Streams {
        &self.inner.streams
    }

    pub(crate) fn keep_alive(&self) -> Duration {
        self.inner.keep_alive
    }

    pub(crate) fn stop(&self) -> &CancellationToken {
        &self.inner.stop
    }
}
