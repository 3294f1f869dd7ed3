//! When the agent looks after the roots that it holds: now and then, with each renewal, and when the server says that there
//! is something to fetch. Afterwards it says which it holds, so that a change of the root need not wait for it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fleetward_base::Clock as _;
use fleetward_pki::anchors::{self as roots, Anchor};
use fleetward_wire::anchors::{self as wire, AnchorsRequest};
use http_body_util::Full;
use hyper::Request;
use serde_json::json;

use super::{Agent, Done, chance};
use crate::anchors;
use crate::est::{EstError, Listed, Service};
use crate::http::{self, HttpError};
use crate::identity::Credential;
use crate::mqtt::Message;

/// The first look comes within this of the start, each later one about this after the one before.
const FIRST: Duration = Duration::from_secs(600);
const EVERY: Duration = Duration::from_secs(24 * 3600);
/// Waits after failures: the first, and the longest.
const FIRST_WAIT: Duration = Duration::from_secs(5);
const LONGEST_WAIT: Duration = Duration::from_secs(15 * 60);

/// What may be forgotten of it.
#[derive(Debug)]
pub(super) struct Looking {
    /// A look is under way.
    asking: bool,
    /// Nothing is done before this moment of the monotonic clock.
    next: Duration,
    /// Somebody asked while a look was under way.
    again: Option<Duration>,
    failures: u32,
}

/// Why what is held is not what it should be, or the server does not know of it.
#[derive(Debug, thiserror::Error)]
pub(super) enum AnchorsError {
    #[error(transparent)]
    Fetch(#[from] EstError),
    #[error("the server does not take the report: status {0}")]
    Report(u16),
}

impl From<HttpError> for AnchorsError {
    fn from(error: HttpError) -> Self {
        Self::Fetch(EstError::Http(error))
    }
}

impl Looking {
    pub(super) fn new(chance: f64) -> Self {
        Self { asking: false, next: FIRST.mul_f64(chance), again: None, failures: 0 }
    }

    fn ask_at(&mut self, at: Duration) {
        if self.asking {
            self.again = Some(at);
        } else {
            self.next = self.next.min(at);
        }
    }
}

impl Agent {
    /// Fetches the list of authorities where it is time to.
    pub(super) fn look_after_anchors(&mut self) {
        if self.looking.asking || self.clock.monotonic() < self.looking.next || self.certificates.in_use().is_none() {
            return;
        }
        self.looking.asking = true;
        let service = self.service.clone();
        self.work.spawn(async move { Done::Listed(service.authorities().await) });
    }

    /// A renewal went well: whoever signs may be about to change.
    pub(super) fn look_at_anchors_soon(&mut self) {
        self.looking.ask_at(self.clock.monotonic());
    }

    /// The server may have said that there are roots to fetch: somewhere within the seconds that it gives.
    pub(super) fn hear_of_anchors(&mut self, message: &Message) {
        if message.topic != wire::FLEET && message.topic != wire::topic(&self.options.device) {
            return;
        }
        let Some(request) = AnchorsRequest::parse(&message.payload) else {
            return tracing::warn!("a message about roots cannot be read");
        };
        let wait = Duration::from_secs(request.spread_s.into()).mul_f64(chance(self.rng.as_ref()));
        self.looking.ask_at(self.clock.monotonic() + wait);
    }

    /// The list came. First the disk, then what connections go by, then the report.
    pub(super) fn listed(&mut self, listed: Result<Listed, EstError>) {
        let held = match listed {
            Ok(listed) => self.follow(&listed),
            Err(error) => return self.looked(Err(error.into())),
        };
        let (service, credential) = (self.service.clone(), self.certificates.in_use());
        self.work.spawn(async move {
            let told = match credential {
                Some(credential) => report(&service, &credential, &held).await,
                None => Ok(()),
            };
            Done::AnchorsTold(told)
        });
    }

    /// What is held after a list.
    fn follow(&self, listed: &Listed) -> Vec<Anchor> {
        let anchors = &self.service.server.anchors;
        let held = anchors.held();
        let Some(next) = roots::follow(&held, &listed.certificates, self.clock.now()) else {
            tracing::warn!("the server lists no root that the ones held vouch for");
            return held;
        };
        let same = next.len() == held.len() && next.iter().all(|it| held.contains(it));
        if same {
            return held;
        }
        if let Err(error) = self.service.server.would_be_believed(&listed.shown, &next) {
            tracing::warn!(%error, "the server would not be believed by the roots that it lists; they are not taken");
            return held;
        }
        if let Err(error) = anchors::keep(self.disk.as_ref(), &self.ca, &next) {
            tracing::error!(%error, "cannot keep the new roots");
            return held;
        }
        match anchors.hold(&next) {
            Ok(()) => tracing::info!(roots = ?anchors::fingerprints(&next), "the roots are others now"),
            Err(error) => tracing::error!(%error, "cannot use the new roots"),
        }
        anchors.held()
    }

    pub(super) fn looked(&mut self, result: Result<(), AnchorsError>) {
        let (now, chance) = (self.clock.monotonic(), chance(self.rng.as_ref()));
        self.looking.asking = false;
        self.looking.next = match result {
            Ok(()) => {
                self.looking.failures = 0;
                now + EVERY.mul_f64(0.9 + 0.2 * chance)
            }
            Err(error) => {
                let wait = (FIRST_WAIT * 2_u32.saturating_pow(self.looking.failures.min(16))).min(LONGEST_WAIT);
                self.looking.failures = self.looking.failures.saturating_add(1);
                tracing::warn!(%error, seconds = wait.as_secs_f64(), "the roots were not looked after");
                now + wait.mul_f64(0.5 + 0.5 * chance)
            }
        };
        if let Some(at) = self.looking.again.take() {
            self.looking.ask_at(at);
        }
    }
}

/// Says which roots are held.
async fn report(service: &Service, credential: &Arc<Credential>, held: &[Anchor]) -> Result<(), AnchorsError> {
    let body = json!({ "anchors": anchors::fingerprints(held) }).to_string();
    let request = Request::post("/v1/identity/anchors").header("content-type", "application/json");
    let request = request.body(Full::new(Bytes::from(body))).map_err(HttpError::from)?;
    let to = (service.server.host.as_str(), service.port);
    match http::send(&service.server, to, Some(credential), request).await?.status() {
        200..=299 => Ok(()),
        status => Err(AnchorsError::Report(status)),
    }
}
