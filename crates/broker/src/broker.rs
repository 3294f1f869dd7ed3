//! The broker as its users see it.

use std::sync::Arc;
use std::time::Duration;

use fleetward_base::{Clock, DeviceId, TenantId};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::{Config, Hooks, Peer, Qos, Reason, SessionStore, StoreFailure};

/// A message that the server itself sends.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    pub topic: &'a str,
    pub payload: &'a [u8],
    pub qos: Qos,
    pub retain: bool,
    /// Not delivered any more after this.
    pub expiry: Option<Duration>,
}

impl<'a> Message<'a> {
    /// QoS 1, not retained, never stale.
    pub fn new(topic: &'a str, payload: &'a [u8]) -> Self {
        Self { topic, payload, qos: Qos::AtLeastOnce, retain: false, expiry: None }
    }

    #[must_use]
    pub fn qos(self, qos: Qos) -> Self {
        Self { qos, ..self }
    }
}

/// Why a message of the server's own went nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    #[error("not a topic name")]
    TopicInvalid,
    #[error("topic or payload above the limit")]
    TooLarge,
    /// The queue of a session it matches is full. No session has received it.
    #[error("the queue of a session is full")]
    QueueFull,
    #[error("too many retained messages")]
    RetainedFull,
    #[error("the broker is shutting down")]
    Draining,
}

/// The commit failed; whether anybody has received the message is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not durable: the commit failed")]
pub struct CommitFailed;

/// A message is on its way to the clients that are connected.
#[derive(Debug)]
#[must_use = "`durable` waits for the commit; `forget` says that this is not needed"]
pub struct Receipt {
    matched: usize,
}

impl Receipt {
    /// Sessions that it goes to.
    pub fn matched(&self) -> usize {
        self.matched
    }

    /// Waits until it is committed for every persistent session it goes to; at once where there is none.
    pub async fn durable(self) -> Result<(), CommitFailed> {
        Ok(())
    }

    pub fn forget(self) {}
}

/// Counters since the start, and what there is now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    pub connections: u64,
    pub sessions: u64,
    pub subscriptions: u64,
    pub retained: u64,
    pub queued_bytes: u64,
    pub connects: u64,
    pub connects_refused: u64,
    pub received: u64,
    pub delivered: u64,
    pub service_requests: u64,
    pub acked: u64,
    /// QoS 0 messages that a full outbound buffer has dropped.
    pub dropped_qos0: u64,
    /// Messages refused because a queue was full.
    pub refused_full: u64,
    pub refused_unauthorized: u64,
    /// Messages that had expired, or that their receiver may not have any more.
    pub discarded: u64,
    pub slow_readers: u64,
    pub kicked: u64,
    pub commits: u64,
    pub commit_failures: u64,
}

/// MQTT sessions and routing. A handle: cheap to clone.
#[derive(Clone)]
pub struct Broker {
    _inner: Arc<()>,
}

impl Broker {
    /// Loads sessions and retained messages from the store and starts the committer.
    pub async fn start(
        _config: Config,
        _hooks: Arc<dyn Hooks>,
        _store: Arc<dyn SessionStore>,
        _clock: Arc<dyn Clock>,
    ) -> Result<Self, StoreFailure> {
        Ok(Self { _inner: Arc::new(()) })
    }

    /// Speaks MQTT over `stream` until either side ends it. [`Broker::drain`] waits for the returned future.
    pub fn serve<S>(&self, _stream: S, _peer: Peer) -> impl Future<Output = ()> + Send + 'static
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        std::future::ready(())
    }

    /// To every session of the tenant that subscribes to the topic. The call itself hands the message over, in order.
    pub fn publish(&self, _tenant: &TenantId, _message: Message<'_>) -> Result<Receipt, PublishError> {
        Ok(Receipt { matched: 0 })
    }

    /// To this client only, whether it subscribes to the topic or not; nowhere if it has no session.
    pub fn publish_to(
        &self,
        _tenant: &TenantId,
        _device: &DeviceId,
        _message: Message<'_>,
    ) -> Result<Receipt, PublishError> {
        Ok(Receipt { matched: 0 })
    }

    /// Ends the live connection of a device; false if there is none. Its session stays.
    pub fn kick(&self, _tenant: &TenantId, _device: &DeviceId, _reason: Reason) -> bool {
        false
    }

    /// Ends the live connection of a device if it was made with the certificate of this serial.
    pub fn kick_serial(&self, _tenant: &TenantId, _device: &DeviceId, _serial: &str, _reason: Reason) -> bool {
        false
    }

    /// Ends every live connection of a tenant; says how many.
    pub fn kick_all(&self, _tenant: &TenantId, _reason: Reason) -> usize {
        0
    }

    /// Ends the connection of a device and removes its session, subscriptions and queue.
    pub async fn forget(&self, _tenant: &TenantId, _device: &DeviceId) -> Result<(), CommitFailed> {
        Ok(())
    }

    /// Whether the device is connected now.
    pub fn connected(&self, _tenant: &TenantId, _device: &DeviceId) -> bool {
        false
    }

    pub fn stats(&self) -> Stats {
        Stats::default()
    }

    /// Moves the broker's timers on to the clock's now: deadlines, keep-alive, delayed wills, session expiry. The broker
    /// calls it four times a second by itself unless `Config::own_ticker` is off.
    pub fn tick(&self) {}

    /// Accepts no more, tells every client that the server shuts down (0x8B), waits for the connections to end and
    /// commits what is left.
    pub async fn drain(&self) {}
}
