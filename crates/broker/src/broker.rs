//! The broker as its users see it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use fleetward_base::{Clock, DeviceId, TenantId, limits};
use parking_lot::RwLock;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::committer::Committer;
use crate::deliver::{Outbound, Refused, Routed};
use crate::link::{TICK, Wheel};
use crate::properties::Properties;
use crate::record::Flags;
use crate::retained::Retained;
use crate::session::Session;
use crate::space::Space;
use crate::stats::{Counters, Stats};
use crate::timers::Timers;
use crate::{Config, Hooks, Peer, Principal, Qos, Reason, SessionStore, StoreFailure, conn, topic};

mod ending;
mod redirect;
mod retaining;
mod rights;
mod wills;

pub use redirect::Redirect;

/// A message that the server itself sends.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    pub topic: &'a str,
    pub payload: &'a [u8],
    pub qos: Qos,
    pub retain: bool,
    /// Not delivered any more after this.
    pub expiry: Option<Duration>,
    /// What MQTT 5.0 says beside it; those with 3.1.1 do not hear it.
    pub properties: Option<&'a Properties>,
}

impl<'a> Message<'a> {
    /// QoS 1, not retained, never stale.
    pub fn new(topic: &'a str, payload: &'a [u8]) -> Self {
        Self { topic, payload, qos: Qos::AtLeastOnce, retain: false, expiry: None, properties: None }
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
    #[error("payload above the limit")]
    TooLarge,
    /// The queue of a session it matches is full. No session has received it.
    #[error("the queue of a session is full")]
    QueueFull,
    #[error("too many retained messages")]
    RetainedFull,
}

impl From<Refused> for PublishError {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::QueueFull => Self::QueueFull,
            Refused::RetainedFull => Self::RetainedFull,
        }
    }
}

/// The commit failed; whether anybody has received the message is not known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not durable: the commit failed")]
pub struct CommitFailed;

/// A message is on its way to the clients that are connected.
#[must_use = "`durable` waits for the commit; `forget` says that this is not needed"]
pub struct Receipt {
    matched: usize,
    commit: Option<(Arc<Committer>, u64, u64)>,
}

impl Receipt {
    /// Sessions that it goes to.
    pub fn matched(&self) -> usize {
        self.matched
    }

    /// Waits until it is committed for every persistent session it goes to; at once where there is none.
    pub async fn durable(self) -> Result<(), CommitFailed> {
        match self.commit {
            Some((committer, since, ticket)) => committer.wait(since, ticket).await,
            None => Ok(()),
        }
    }

    pub fn forget(self) {}
}

pub(crate) struct Inner {
    pub(crate) config: Config,
    pub(crate) hooks: Arc<dyn Hooks>,
    pub(crate) store: Arc<dyn SessionStore>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) committer: Arc<Committer>,
    pub(crate) wheel: Wheel,
    pub(crate) timers: Timers,
    pub(crate) epochs: AtomicU64,
    pub(crate) counters: Counters,
    /// The broker accepts no more.
    pub(crate) closing: CancellationToken,
    /// Connections, and the services that outlive theirs.
    pub(crate) tracker: TaskTracker,
    spaces: RwLock<HashMap<TenantId, Arc<Space>>>,
    /// Where claims are: no message goes from here to a tenant's devices, or the other way.
    anterooms: RwLock<HashMap<TenantId, Arc<Space>>>,
    background: TaskTracker,
    stop: CancellationToken,
    tick: AtomicU32,
    /// The tick in which it began.
    started: AtomicU32,
    last_sweep: AtomicU32,
    /// Bytes that waited in memory at the last look.
    pub(crate) held_bytes: AtomicUsize,
    pub(crate) redirect: RwLock<Option<Arc<Redirect>>>,
}

impl Inner {
    /// The tick that is worked off, since the clock's zero. Read from memory: it is asked for with every packet.
    pub(crate) fn now_tick(&self) -> u32 {
        self.tick.load(Ordering::Relaxed)
    }

    /// A keep-alive for a client that may have come with all others, after a restart: see [`Config::keep_alive_spread`].
    pub(crate) fn spread_keep_alive(&self, device: &DeviceId, secs: u16) -> u16 {
        let since = TICK * self.now_tick().saturating_sub(self.started.load(Ordering::Relaxed));
        if since >= self.config.keep_alive_spread {
            return secs;
        }
        let fnv = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
        let hash = device.as_str().bytes().fold(0x811C_9DC5, fnv);
        let less = hash % (u32::from(secs / 10) + 1);
        secs.saturating_sub(u16::try_from(less).unwrap_or_default())
    }

    fn read_clock(&self) -> u32 {
        let tick = u32::try_from(self.clock.monotonic().as_millis() / TICK.as_millis()).unwrap_or(u32::MAX / 2);
        self.tick.store(tick, Ordering::Relaxed);
        tick
    }

    pub(crate) fn space(&self, tenant: &TenantId) -> Arc<Space> {
        if let Some(space) = self.spaces.read().get(tenant) {
            return space.clone();
        }
        self.spaces.write().entry(tenant.clone()).or_insert_with(|| Arc::new(Space::new(tenant.clone()))).clone()
    }

    /// The space that a principal's session is in.
    pub(crate) fn space_of(&self, principal: &Principal) -> Arc<Space> {
        if !principal.rights.is_guest() {
            return self.space(&principal.tenant);
        }
        let tenant = &principal.tenant;
        if let Some(space) = self.anterooms.read().get(tenant) {
            return space.clone();
        }
        self.anterooms.write().entry(tenant.clone()).or_insert_with(|| Arc::new(Space::new(tenant.clone()))).clone()
    }

    fn known_space(&self, tenant: &TenantId) -> Option<Arc<Space>> {
        self.spaces.read().get(tenant).cloned()
    }

    fn all_spaces(&self) -> Vec<Arc<Space>> {
        let mut all: Vec<_> = self.spaces.read().values().cloned().collect();
        all.extend(self.anterooms.read().values().cloned());
        all
    }

    async fn load(&self) -> Result<(), StoreFailure> {
        let now = self.clock.now();
        for stored in self.store.load_sessions().await? {
            let space = self.space(&stored.tenant);
            let session = Session::from_stored(&stored, now, u64::from(limits::MQTT_IN_FLIGHT));
            let mut state = session.lock();
            let mut router = space.router.write();
            for subscription in &state.subscriptions {
                router.add(&subscription.filter, &session, subscription.wish);
            }
            drop(router);
            self.arm(&session, &mut state);
            drop(state);
            space.sessions.lock().insert(stored.client, session);
        }
        for stored in self.store.load_wills().await? {
            self.adopt_will(stored, true).await;
        }
        for (tenant, stored) in self.store.load_retained().await? {
            let space = self.space(&tenant);
            if !topic::valid_name(&stored.topic) {
                continue; // a limit on topics has been lowered
            }
            // What was there before the limit on bytes was lowered stays.
            if space.retained.write().set(&stored.topic, Retained::from_stored(&stored), usize::MAX).is_err() {
                tracing::warn!(%tenant, "more retained messages than the limit; one is left out");
            }
        }
        Ok(())
    }

    fn tick(&self) {
        let now = self.read_clock();
        self.wheel.advance(now);
        for session in self.timers.due(now, 10_000) {
            self.session_due(&self.space(&session.tenant), &session);
        }
        if now.is_multiple_of(4) {
            self.look_at_memory();
        }
        // Once in ten seconds.
        if now.saturating_sub(self.last_sweep.load(Ordering::Relaxed)) >= 40 {
            self.last_sweep.store(now, Ordering::Relaxed);
            for space in self.all_spaces() {
                space.forget_full(&self.config, self.clock.monotonic());
                self.expire_retained(&space);
            }
        }
        self.committer.flush();
    }

    /// Whether a message can be published to it.
    pub(crate) fn valid_topic(&self, topic: &str) -> bool {
        topic::valid_name(topic) || ((self.config.properties_in_topic)(topic) && topic::valid_long_name(topic))
    }

    /// Once in a second: between two looks each connection is bounded by itself.
    fn look_at_memory(&self) {
        let mut held = self.committer.pending_bytes();
        for space in self.all_spaces() {
            let sessions: Vec<_> = space.sessions.lock().values().cloned().collect();
            held += sessions.iter().filter(|s| s.is_online()).map(|s| s.lock().outbox_bytes).sum::<usize>();
        }
        self.held_bytes.store(held, Ordering::Relaxed);
    }

    fn outbound<'a>(&self, message: &Message<'a>) -> Result<Outbound<'a>, PublishError> {
        if !self.valid_topic(message.topic) {
            return Err(PublishError::TopicInvalid);
        }
        if message.payload.len() > limits::MQTT_PAYLOAD_BYTES {
            return Err(PublishError::TooLarge);
        }
        Ok(Outbound {
            topic: message.topic,
            payload: message.payload,
            properties: message.properties.map_or(&[], Properties::encoded),
            qos: message.qos,
            retain: message.retain,
            expires_at: message.expiry.map(|span| self.clock.now().plus(span)),
        })
    }

    fn receipt(&self, since: u64, routed: Routed) -> Receipt {
        let commit = routed.durable.then(|| {
            let ticket = self.committer.open();
            self.committer.want(None);
            (self.committer.clone(), since, ticket)
        });
        Receipt { matched: routed.matched, commit }
    }
}

/// MQTT sessions and routing. A handle: cheap to clone.
#[derive(Clone)]
pub struct Broker {
    inner: Arc<Inner>,
}

impl Broker {
    /// Loads sessions and retained messages from the store and starts the committer.
    pub async fn start(
        config: Config,
        hooks: Arc<dyn Hooks>,
        store: Arc<dyn SessionStore>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StoreFailure> {
        let inner = Arc::new(Inner {
            hooks,
            store,
            clock,
            committer: Committer::new(),
            wheel: Wheel::new(),
            timers: Timers::default(),
            epochs: AtomicU64::new(0),
            counters: Counters::default(),
            closing: CancellationToken::new(),
            tracker: TaskTracker::new(),
            spaces: RwLock::default(),
            anterooms: RwLock::default(),
            background: TaskTracker::new(),
            stop: CancellationToken::new(),
            tick: AtomicU32::new(0),
            started: AtomicU32::new(0),
            last_sweep: AtomicU32::new(0),
            held_bytes: AtomicUsize::new(0),
            redirect: RwLock::default(),
            config,
        });
        inner.started.store(inner.read_clock(), Ordering::Relaxed);
        inner.wheel.advance(inner.now_tick());
        inner.load().await?;
        let commits = inner.committer.clone().run(inner.store.clone(), inner.config.commit_linger);
        inner.background.spawn(commits);
        if inner.config.own_ticker {
            let (ticking, stop) = (inner.clone(), inner.stop.clone());
            inner.background.spawn(async move {
                let mut interval = tokio::time::interval(TICK);
                interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
                while stop.run_until_cancelled(interval.tick()).await.is_some() {
                    ticking.tick();
                }
            });
        }
        Ok(Self { inner })
    }

    /// Speaks MQTT over `stream` until either side ends it. [`Broker::drain`] waits for the returned future. The stream
    /// is ready for MQTT: TLS has been negotiated.
    pub fn serve<S>(&self, stream: S, peer: Peer) -> impl Future<Output = ()> + Send + 'static
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let inner = self.inner.clone();
        self.inner.tracker.track_future(conn::serve(inner, stream, Box::new(peer)))
    }

    /// To every session of the tenant that subscribes to the topic. The call itself hands the message over, in order.
    pub fn publish(&self, tenant: &TenantId, message: Message<'_>) -> Result<Receipt, PublishError> {
        let outbound = self.inner.outbound(&message)?;
        let space = self.inner.space(tenant);
        let since = self.inner.committer.since();
        let routed = self.inner.route(&space, &outbound, None, &mut Vec::new())?;
        Ok(self.inner.receipt(since, routed))
    }

    /// To this client only, whether it subscribes to the topic or not; nowhere if it has no session.
    pub fn publish_to(
        &self,
        tenant: &TenantId,
        device: &DeviceId,
        message: Message<'_>,
    ) -> Result<Receipt, PublishError> {
        let outbound = self.inner.outbound(&message)?;
        let Some(session) = self.session(tenant, device) else { return Ok(Receipt { matched: 0, commit: None }) };
        let since = self.inner.committer.since();
        let routed = self.inner.push_to(&session, &outbound, Flags { direct: true, ..Flags::default() })?;
        Ok(self.inner.receipt(since, routed))
    }

    /// To the live connection of this client only, if it subscribes to the topic and may have the message then; nowhere else.
    pub fn tell(&self, tenant: &TenantId, device: &DeviceId, message: Message<'_>) -> Result<Receipt, PublishError> {
        let outbound = self.inner.outbound(&message)?;
        let session = self.session(tenant, device).filter(|session| listens(session, message.topic) == Some(true));
        let Some(session) = session else { return Ok(Receipt { matched: 0, commit: None }) };
        let since = self.inner.committer.since();
        let routed = self.inner.push_to(&session, &outbound, Flags::default())?;
        Ok(self.inner.receipt(since, routed))
    }

    /// Whether the session of this client subscribes to the topic; true where it is connected too.
    pub fn listens(&self, tenant: &TenantId, device: &DeviceId, topic: &str) -> Option<bool> {
        listens(&*self.session(tenant, device)?, topic)
    }

    /// To this connection's own session only, whether it subscribes to the topic or not.
    pub fn answer(&self, principal: &Principal, message: Message<'_>) -> Result<Receipt, PublishError> {
        let outbound = self.inner.outbound(&message)?;
        let session = self.inner.space_of(principal).session(&principal.device);
        let Some(session) = session else { return Ok(Receipt { matched: 0, commit: None }) };
        let since = self.inner.committer.since();
        let routed = self.inner.push_to(&session, &outbound, Flags { direct: true, ..Flags::default() })?;
        Ok(self.inner.receipt(since, routed))
    }

    fn session(&self, tenant: &TenantId, device: &DeviceId) -> Option<Arc<Session>> {
        self.inner.known_space(tenant)?.session(device)
    }

    /// Ends the connection of a device and removes its session, subscriptions and queue.
    pub async fn forget(&self, tenant: &TenantId, device: &DeviceId) -> Result<(), CommitFailed> {
        let Some(space) = self.inner.known_space(tenant) else { return Ok(()) };
        let Some(session) = space.session(device) else { return Ok(()) };
        let (since, ticket) = self.inner.forget_session(&space, &session);
        self.inner.committer.want(None);
        self.inner.committer.wait(since, ticket).await
    }

    /// Whether the device is connected now.
    pub fn connected(&self, tenant: &TenantId, device: &DeviceId) -> bool {
        self.session(tenant, device).is_some_and(|s| s.lock().link.is_some())
    }

    /// Whether the device is connected now and a message on the topic would go to it.
    pub fn hears(&self, tenant: &TenantId, device: &DeviceId, topic: &str) -> bool {
        let Some(space) = self.inner.known_space(tenant) else { return false };
        let Some(session) = space.session(device).filter(|session| session.lock().link.is_some()) else { return false };
        let mut targets = Vec::new();
        space.router.read().route(topic, &mut targets);
        targets.iter().any(|target| Arc::ptr_eq(&target.session, &session))
    }

    /// Whose certificate the live connection of a device was made with; none where it is not connected.
    pub fn principal(&self, tenant: &TenantId, device: &DeviceId) -> Option<Arc<Principal>> {
        live(&*self.session(tenant, device)?)
    }

    /// The same of every live connection of a tenant.
    pub fn principals(&self, tenant: &TenantId) -> Vec<Arc<Principal>> {
        // Those with a claim are in the anteroom, and are asked after like everybody else.
        let anteroom = self.inner.anterooms.read().get(tenant).cloned();
        let spaces = self.inner.known_space(tenant).into_iter().chain(anteroom);
        let sessions: Vec<_> =
            spaces.flat_map(|space| space.sessions.lock().values().cloned().collect::<Vec<_>>()).collect();
        sessions.iter().filter_map(|session| live(session)).collect()
    }

    pub fn stats(&self) -> Stats {
        let mut stats = self.inner.counters.read();
        stats.held_bytes = count(self.inner.held_bytes.load(Ordering::Relaxed));
        stats.commits = self.inner.committer.commits.load(Ordering::Relaxed);
        stats.commit_failures = self.inner.committer.failures.load(Ordering::Relaxed);
        for space in self.inner.all_spaces() {
            stats.subscriptions += count(space.router.read().len());
            stats.retained += count(space.retained.read().len());
            let sessions: Vec<_> = space.sessions.lock().values().cloned().collect();
            stats.sessions += count(sessions.len());
            stats.queued_bytes += sessions.iter().map(|s| s.lock().queued_bytes).sum::<u64>();
        }
        stats
    }

    /// Moves the broker's timers on to the clock's now: deadlines, keep-alive, delayed wills, session expiry. The broker
    /// calls it four times a second by itself unless `Config::own_ticker` is off.
    pub fn tick(&self) {
        self.inner.tick();
    }

    /// Accepts no more, tells every client that the server shuts down (0x8B), and waits for the connections to end. What is
    /// published afterwards still reaches the queues.
    pub async fn end_connections(&self) {
        self.inner.closing.cancel();
        self.inner.tracker.close();
        for space in self.inner.all_spaces() {
            self.end_all(&space, Reason::ServerShuttingDown);
        }
        self.inner.tracker.wait().await;
    }

    /// Ends the connections and commits what is left.
    pub async fn drain(&self) {
        self.end_connections().await;
        self.inner.stop.cancel();
        self.inner.committer.stop();
        self.inner.background.close();
        self.inner.background.wait().await;
    }
}

fn listens(session: &Session, topic: &str) -> Option<bool> {
    let state = session.lock();
    let listens = state.subscriptions.iter().any(|s| topic::matches(&s.filter, topic));
    listens.then_some(state.link.is_some())
}

fn live(session: &Session) -> Option<Arc<Principal>> {
    let state = session.lock();
    state.link.as_ref().and(state.principal.clone())
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}
