//! A broker with rules of its own, for tests.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use fleetward_base::{Clock, DeviceId, ManualClock, TenantId, Timestamp};
use fleetward_broker::{
    Broker, Config, Connect, Connected, Disconnected, EndReason, Hooks, MemoryStore, Message, Nack, Overload, Peer,
    Principal, Profile, Refusal, ServiceRequest, TenantRates,
};
use fleetward_core::access::DeviceRights;
use parking_lot::Mutex;
use tokio::io::DuplexStream;
use tokio::sync::{Notify, Semaphore};
use tokio_util::task::TaskTracker;

use crate::crash_point::CrashPoint;

/// What the hooks have been told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    Connected { device: String, session_present: bool, took_over: bool },
    Disconnected { device: String, reason: EndReason },
    Subscribed { device: String, filters: Vec<String> },
    QueueFull { device: String },
}

/// The rules: a peer's certificate is `tenant/device`; whoever calls itself `evil` is refused; `forbidden/...` is for
/// nobody; of `$aws/things/X/...` only X's own; a service has what is to be retained on `kept/...`; what is in `denied` is refused from now on.
pub(crate) struct Rules {
    pub(crate) broker: OnceLock<Broker>,
    pub(crate) told: Mutex<Vec<Told>>,
    pub(crate) denied: Mutex<Vec<String>>,
    pub(crate) overload: Mutex<Overload>,
    /// Permits for requests to `.../slow`.
    pub(crate) slow: Semaphore,
    pub(crate) served: Mutex<Vec<String>>,
    pub(crate) valid_until: Mutex<Option<Timestamp>>,
    pub(crate) profile: Mutex<Profile>,
    /// Of `acme`; other tenants have those of the installation.
    pub(crate) rates: Mutex<TenantRates>,
    news: Notify,
}

impl Rules {
    fn tell(&self, told: Told) {
        self.told.lock().push(told);
        self.news.notify_waiters();
    }

    /// Waits until the hooks have been told so.
    pub(crate) async fn wait_for(&self, what: impl Fn(&Told) -> bool) {
        within("news", async {
            loop {
                let mut news = std::pin::pin!(self.news.notified());
                news.as_mut().enable();
                if self.told.lock().iter().any(&what) {
                    return;
                }
                news.await;
            }
        })
        .await;
    }

    pub(crate) async fn wait_gone(&self, device: &str) -> EndReason {
        self.wait_for(|t| matches!(t, Told::Disconnected { device: d, .. } if d == device)).await;
        let told = self.told.lock();
        let last = told.iter().rev().find_map(|t| match t {
            Told::Disconnected { device: d, reason } if d == device => Some(*reason),
            _ => None,
        });
        last.expect("just seen")
    }

    /// Waits until the service has had this payload.
    pub(crate) async fn wait_served(&self, payload: &str) {
        within("a request", async {
            loop {
                let mut news = std::pin::pin!(self.news.notified());
                news.as_mut().enable();
                let before = self.served.lock().len();
                self.served.lock().retain(|it| it != payload);
                if self.served.lock().len() < before {
                    return;
                }
                news.await;
            }
        })
        .await;
    }

    fn principal(&self, tenant: TenantId, device: DeviceId) -> Principal {
        let rates = if tenant.as_str() == "acme" { *self.rates.lock() } else { TenantRates::default() };
        Principal {
            tenant,
            device,
            serial: "01".into(),
            rights: DeviceRights::Full,
            profile: *self.profile.lock(),
            rates,
            topics: Default::default(),
            valid_until: *self.valid_until.lock(),
        }
    }

    fn allowed(&self, principal: &Principal, topic: &str) -> bool {
        if self.denied.lock().iter().any(|d| topic.starts_with(d.as_str())) || topic.starts_with("forbidden/") {
            return false;
        }
        !topic.starts_with('$') || topic.starts_with(&format!("$aws/things/{}/", principal.device))
    }
}

#[async_trait]
impl Hooks for Rules {
    async fn authenticate(&self, peer: &Peer, _connect: &Connect) -> Result<Arc<Principal>, Refusal> {
        let name = peer.certificates.first().ok_or(Refusal::NotAuthorized)?;
        let (tenant, device) =
            std::str::from_utf8(name).ok().and_then(|n| n.split_once('/')).ok_or(Refusal::Credentials)?;
        if device == "evil" {
            return Err(Refusal::Banned);
        }
        Ok(Arc::new(self.principal(tenant.parse().expect("a tenant"), device.parse().expect("a device"))))
    }

    /// One is barred while no server runs.
    async fn will_owner(
        &self,
        tenant: &TenantId,
        client: &DeviceId,
        _: &str,
        _: bool,
    ) -> Result<Option<Arc<Principal>>, Nack> {
        match client.as_str() {
            "barred" => Ok(None),
            "unasked" => Err(Nack::Unavailable),
            _ => Ok(Some(Arc::new(self.principal(tenant.clone(), client.clone())))),
        }
    }

    fn authorize_publish(&self, principal: &Principal, topic: &str, _retain: bool) -> bool {
        self.allowed(principal, topic)
    }

    fn authorize_subscribe(&self, principal: &Principal, filter: &str) -> bool {
        self.allowed(principal, filter)
    }

    fn authorize_delivery(&self, principal: &Principal, topic: &str) -> bool {
        self.allowed(principal, topic)
    }

    fn owns(&self, topic: &str, retain: bool) -> bool {
        topic.starts_with("$aws/things/") || (retain && topic.starts_with("kept/"))
    }

    async fn service(&self, principal: &Arc<Principal>, request: ServiceRequest) -> Result<(), Nack> {
        let broker = self.broker.get().expect("set at start");
        if request.topic.ends_with("/slow") {
            self.slow.acquire().await.expect("open").forget();
        }
        if request.topic.ends_with("/broken") {
            return Err(Nack::Unavailable);
        }
        let reply = format!("{}/accepted", request.topic);
        let message = Message::new(&reply, &request.payload);
        broker.publish_to(&principal.tenant, &principal.device, message).map_err(|_| Nack::Quota)?.forget();
        self.served.lock().push(String::from_utf8_lossy(&request.payload).into_owned());
        self.news.notify_waiters();
        Ok(())
    }

    fn overloaded(&self, principal: &Arc<Principal>, request: &ServiceRequest) -> Overload {
        let answer = *self.overload.lock();
        if answer == Overload::Answered {
            let broker = self.broker.get().expect("set at start");
            let reply = format!("{}/rejected", request.topic);
            broker
                .publish_to(&principal.tenant, &principal.device, Message::new(&reply, b"429"))
                .expect("room")
                .forget();
        }
        answer
    }

    fn connected(&self, principal: &Arc<Principal>, connected: &Connected) {
        let Connected { session_present, took_over, .. } = *connected;
        self.tell(Told::Connected { device: principal.device.to_string(), session_present, took_over });
    }

    fn disconnected(&self, principal: &Arc<Principal>, disconnected: &Disconnected) {
        self.tell(Told::Disconnected { device: principal.device.to_string(), reason: disconnected.reason });
    }

    fn seen(&self, _principal: &Arc<Principal>) {}

    fn subscribed(&self, principal: &Arc<Principal>, filters: &[Arc<str>]) {
        let filters = filters.iter().map(|f| f.to_string()).collect();
        self.tell(Told::Subscribed { device: principal.device.to_string(), filters });
    }

    fn queue_full(&self, _tenant: &TenantId, device: &DeviceId) {
        self.tell(Told::QueueFull { device: device.to_string() });
    }
}

pub(crate) struct House {
    pub(crate) broker: Broker,
    pub(crate) rules: Arc<Rules>,
    pub(crate) store: Arc<MemoryStore>,
    /// Between the broker and its store.
    pub(crate) point: Arc<CrashPoint>,
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) tracker: TaskTracker,
}

pub(crate) fn config() -> Config {
    Config {
        own_ticker: false,
        keep_alive_spread: Duration::ZERO,
        connects_per_client: None,
        publish_messages: None,
        publish_bytes: None,
        ..Config::default()
    }
}

impl House {
    pub(crate) async fn new() -> Self {
        Self::with(config(), MemoryStore::default()).await
    }

    pub(crate) async fn with(config: Config, store: MemoryStore) -> Self {
        Self::at(config, store, Arc::new(ManualClock::at(Timestamp::from_secs(1_800_000_000)))).await
    }

    pub(crate) async fn at(config: Config, store: MemoryStore, clock: Arc<ManualClock>) -> Self {
        let rules = Arc::new(Rules {
            broker: OnceLock::new(),
            told: Mutex::default(),
            denied: Mutex::default(),
            overload: Mutex::new(Overload::Wait),
            slow: Semaphore::new(0),
            served: Mutex::default(),
            valid_until: Mutex::default(),
            profile: Mutex::default(),
            rates: Mutex::default(),
            news: Notify::new(),
        });
        let store = Arc::new(store);
        let point = Arc::new(CrashPoint::new(store.clone()));
        let broker = Broker::start(config, rules.clone(), point.clone(), clock.clone()).await.expect("starts");
        assert!(rules.broker.set(broker.clone()).is_ok());
        Self { broker, rules, store, point, clock, tracker: TaskTracker::new() }
    }

    /// The process dies: what was committed is all that is left of it.
    pub(crate) async fn crash(&self) -> Self {
        Self::at(config(), self.store.copy(), self.clock.clone()).await
    }

    /// A stream to the broker from a device of a tenant.
    pub(crate) fn dial(&self, name: &str) -> DuplexStream {
        self.dial_with(name, 64 * 1024)
    }

    pub(crate) fn dial_with(&self, name: &str, buffer: usize) -> DuplexStream {
        let (ours, theirs) = tokio::io::duplex(buffer);
        self.tracker.spawn(self.broker.serve(theirs, peer(name)));
        ours
    }

    pub(crate) fn pass(&self, span: Duration) {
        self.clock.advance(span);
        self.broker.tick();
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

pub(crate) fn peer(name: &str) -> Peer {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    let certificates = if name.is_empty() { vec![] } else { vec![name.as_bytes().to_vec()] };
    Peer { address, certificates, alpn: None }
}

pub(crate) fn tenant(name: &str) -> TenantId {
    name.parse().expect("a tenant")
}

pub(crate) fn device(name: &str) -> DeviceId {
    name.parse().expect("a device")
}

/// A test that hangs has failed.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    match tokio::time::timeout(Duration::from_secs(20), future).await {
        Ok(value) => value,
        Err(_) => panic!("waited in vain for {what}"),
    }
}
