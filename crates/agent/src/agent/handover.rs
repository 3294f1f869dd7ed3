//! When the device goes to another tenant: it hears of it, fetches its order, wipes itself, says so, and begins anew there.
//!
//! Each step ends with the process beginning anew: nothing of the old home is left in memory.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use fleetward_base::Clock as _;
use fleetward_wire::transfer::{self as wire, Notice, Order};
use http_body_util::Full;
use hyper::Request;
use serde_json::json;

use super::{Agent, AgentError, Done, chance, io_error};
use crate::est::Service;
use crate::handlers::{HandlerError, WIPE};
use crate::handover::{Given, Handover, Home, Phase, name_of};
use crate::http::{self, HttpError};
use crate::identity::Credential;
use crate::mqtt::Message;
use crate::tls::refuses_identity;

/// Longest answer of the server.
const ANSWER_BYTES: usize = 4096;
/// Waits after failures: the first, and the longest.
const FIRST_WAIT: Duration = Duration::from_secs(5);
const LONGEST_WAIT: Duration = Duration::from_secs(5 * 60);

/// What may be forgotten of it, and what is on the disk.
#[derive(Debug)]
pub(super) struct Going {
    pub(super) state: Option<Handover>,
    /// The server said that there is an order.
    noticed: bool,
    asking: bool,
    /// Nothing is done before this moment of the monotonic clock.
    next: Duration,
    failures: u32,
}

/// What the server says to a device that goes.
#[derive(Debug, thiserror::Error)]
pub(super) enum GoingError {
    #[error(transparent)]
    Http(#[from] HttpError),
    /// It is not to go, or not any more.
    #[error("the server knows of no such transfer")]
    CalledOff,
    /// It is not let in as who it was.
    #[error("the server does not let this identity in any more")]
    Unknown,
    #[error("the server answers with status {0}")]
    Status(u16),
    #[error("the server's order cannot be read")]
    Order,
}

impl Going {
    pub(super) fn new(state: Option<Handover>) -> Self {
        Self { state, noticed: false, asking: false, next: Duration::ZERO, failures: 0 }
    }

    /// Whether the device keeps to itself for now.
    pub(super) fn is_on_its_way(&self) -> bool {
        self.state.as_ref().is_some_and(Handover::is_on_its_way)
    }
}

impl Agent {
    /// The server may have said that the device is to go.
    pub(super) fn hear_of_transfer(&mut self, message: &Message) {
        if message.topic != wire::topic(&self.options.device) {
            return;
        }
        match Notice::parse(&message.payload) {
            Some(notice) => {
                tracing::warn!(transfer = %notice.transfer, "this device is to go to another tenant");
                self.going.noticed = true;
            }
            None => tracing::warn!("a notice of a transfer cannot be read"),
        }
    }

    /// Takes the next step, where one is due.
    pub(super) fn look_after_handover(&mut self) {
        if self.going.asking || self.clock.monotonic() < self.going.next {
            return;
        }
        let on_its_way = self.going.state.clone().filter(Handover::is_on_its_way);
        match on_its_way {
            None => self.fetch_order(),
            Some(Handover { phase: Phase::Wiping, .. }) => {
                self.going.asking = true;
                let handlers = self.handlers.clone();
                self.work.spawn(async move { Done::Wiped(handlers.run(WIPE, b"", &[]).await) });
            }
            Some(handover) => self.say_that_it_is_wiped(&handover),
        }
    }

    /// Where there is one, and no update is under way: that ends first, one way or the other.
    fn fetch_order(&mut self) {
        if !self.going.noticed || self.machine.record().job.is_some() {
            return;
        }
        let Some(credential) = self.certificates.in_use() else { return };
        self.going.asking = true;
        let service = self.service.clone();
        self.work.spawn(async move {
            let order = ask(&service, &credential, "/v1/identity/transfer", "{}".to_owned()).await;
            Done::Ordered(order.and_then(|body| Order::parse(&body).ok_or(GoingError::Order)))
        });
    }

    /// The order came: once it is on the disk, there is no way back but the server's word.
    pub(super) fn ordered(&mut self, order: Result<Order, GoingError>) -> Result<(), AgentError> {
        self.going.asking = false;
        match order {
            Ok(order) => {
                tracing::warn!(transfer = %order.transfer, tenant = %order.tenant, "wiping this device for another tenant");
                let from = Home { tenant: self.options.tenant.clone(), device: self.options.device.clone() };
                let begun = Handover::begin(self.disk.as_ref(), self.given(&from), from, order);
                begun.map_err(io_error("cannot keep the order"))?;
                self.restart = true;
            }
            Err(GoingError::CalledOff) => self.going.noticed = false,
            Err(error) => self.going_failed(&error),
        }
        Ok(())
    }

    /// The owner's handler has run, or there is none: the agent's own state follows.
    pub(super) fn wiped(&mut self, result: Result<(), HandlerError>) -> Result<(), AgentError> {
        self.going.asking = false;
        if let Err(error) = result
            && !matches!(error, HandlerError::Absent)
        {
            self.going_failed(&error);
            return Ok(());
        }
        let Some(handover) = self.going.state.take() else { return Ok(()) };
        let wiped = handover.wipe_state(self.disk.as_ref()).map_err(io_error("cannot wipe the state"))?;
        self.going.state = Some(wiped);
        self.going.failures = 0;
        self.look_after_handover();
        Ok(())
    }

    fn say_that_it_is_wiped(&mut self, handover: &Handover) {
        self.going.asking = true;
        let credential = self.certificates.in_use();
        let credential = credential.filter(|held| held.certificate.not_after > self.clock.now());
        let (service, body) = (self.service.clone(), json!({ "transfer": handover.order.transfer }).to_string());
        self.work.spawn(async move {
            Done::Confirmed(match credential {
                Some(held) => ask(&service, &held, "/v1/identity/transfer/wiped", body).await.map(drop),
                // As who it was it cannot speak any more.
                None => Err(GoingError::Unknown),
            })
        });
    }

    pub(super) fn confirmed(&mut self, result: Result<(), GoingError>) -> Result<(), AgentError> {
        self.going.asking = false;
        let Some(handover) = self.going.state.clone() else { return Ok(()) };
        match result {
            // Not let in: the answer to an earlier attempt was lost.
            Ok(()) | Err(GoingError::Unknown) => {
                tracing::warn!(tenant = %handover.order.tenant, "this device is another tenant's from now on");
                handover.moved(self.disk.as_ref()).map_err(io_error("cannot keep that the device has moved"))?;
                self.restart = true;
            }
            Err(GoingError::CalledOff) => {
                tracing::warn!("the transfer was called off; this device stays where it is");
                Handover::cancel(self.disk.as_ref()).map_err(io_error("cannot forget the order"))?;
                self.restart = true;
            }
            Err(error) => self.going_failed(&error),
        }
        Ok(())
    }

    /// The first certificate of the new home is in use.
    pub(super) fn settle(&mut self) {
        let Some(handover) = self.going.state.clone().filter(|it| it.phase == Phase::Enrolling) else { return };
        match handover.settle(self.disk.as_ref()) {
            Ok(settled) => self.going.state = Some(settled),
            Err(error) => tracing::error!(%error, "cannot forget the token of the transfer"),
        }
    }

    fn going_failed(&mut self, error: &dyn std::error::Error) {
        let wait = (FIRST_WAIT * 2_u32.saturating_pow(self.going.failures.min(16))).min(LONGEST_WAIT);
        let wait = wait.mul_f64(1.0 + 0.5 * chance(self.rng.as_ref()));
        self.going.failures = self.going.failures.saturating_add(1);
        self.going.next = self.clock.monotonic() + wait;
        tracing::warn!(%error, seconds = wait.as_secs_f64(), "the transfer does not go on yet");
    }

    /// The command line, as it is held against a later one.
    fn given(&self, here: &Home) -> Given {
        Given {
            // After a transfer it is not where the device is; nobody has changed it since, or that would have ended.
            home: self.going.state.as_ref().map_or_else(|| here.clone(), |before| before.given.home.clone()),
            token: self.token_given().map(|token| name_of(token.expose().as_bytes())),
            signers: self.signers_given.clone(),
        }
    }
}

/// One request as this device; its answer's body.
async fn ask(service: &Service, credential: &Arc<Credential>, path: &str, body: String) -> Result<Vec<u8>, GoingError> {
    let request = Request::post(path).header("content-type", "application/json");
    let request = request.body(Full::new(Bytes::from(body))).map_err(HttpError::from)?;
    let to = (service.server.host.as_str(), service.port);
    let answer = http::send(&service.server, to, Some(credential), request).await;
    let mut answer = match answer {
        Err(error) if refuses_identity(&error) => return Err(GoingError::Unknown),
        other => other?,
    };
    match answer.status() {
        200..=299 => Ok(answer.body(ANSWER_BYTES).await?),
        401 | 403 => Err(GoingError::Unknown),
        404 | 409 => Err(GoingError::CalledOff),
        status => Err(GoingError::Status(status)),
    }
}
