//! What the broker asks of whoever knows the devices, and what it tells them.
//!
//! The synchronous methods are on the hot path: they answer from memory, return at once and never call the broker back.
//! Nothing has a default answer: what is not allowed by an implementation does not happen.

use std::net::SocketAddr;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use fleetward_base::{DeviceId, Secret, TenantId, Timestamp};
use fleetward_core::access::DeviceRights;
use fleetward_core::messaging::{Profile, TenantRates};
use fleetward_core::topic_policy::Compiled;
use parking_lot::RwLock;

use crate::EndReason;

/// Who is at the other end of a stream, as far as the transport knows.
#[derive(Clone, Debug)]
pub struct Peer {
    pub address: SocketAddr,
    /// The client's certificate chain in DER, leaf first; empty without client authentication. The transport has verified
    /// that the peer holds the leaf's key and that the chain is valid.
    pub certificates: Vec<Vec<u8>>,
    /// The negotiated ALPN protocol.
    pub alpn: Option<Vec<u8>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// MQTT 3.1.1 (protocol level 4).
    V311,
    /// MQTT 5.0 (protocol level 5).
    V5,
}

/// Quality of service (§4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Qos {
    AtMostOnce = 0,
    AtLeastOnce = 1,
    ExactlyOnce = 2,
}

impl Qos {
    /// 0 to 2; what is above counts as 2.
    pub const fn from_bits(bits: u8) -> Self {
        match bits {
            0 => Self::AtMostOnce,
            1 => Self::AtLeastOnce,
            _ => Self::ExactlyOnce,
        }
    }
}

/// What a CONNECT says, before anybody believes it.
#[derive(Clone, Debug)]
pub struct Connect {
    /// Empty where the client leaves the choice to the server; it is then the principal's device name.
    pub client_id: String,
    pub protocol: Protocol,
    /// Clean start (5.0) or clean session (3.1.1).
    pub clean_start: bool,
    pub keep_alive_secs: u16,
    /// As asked; the broker caps it. On 3.1.1 it is the maximum unless the session is clean.
    pub session_expiry_secs: u32,
    pub username: Option<String>,
    pub password: Option<Secret<Vec<u8>>>,
    pub will: Option<Will>,
}

/// The last will as a CONNECT announces it. The broker has it authorised with [`Hooks::authorize_publish`] itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Will {
    pub topic: String,
    pub qos: Qos,
    pub retain: bool,
}

/// Who a connection is, once authenticated. Its tenant selects the topic space, its device is the client id.
#[derive(Clone, Debug)]
pub struct Principal {
    pub tenant: TenantId,
    pub device: DeviceId,
    /// The serial number of the certificate that proved it, or what stands for one.
    pub serial: Arc<str>,
    /// What it may do. The broker carries it to the hooks that authorise, and keeps those with a claim apart: their sessions
    /// are in a space of their own and end with the connection, and `device` is the name of the connection.
    pub rights: DeviceRights,
    /// By whose rules it is spoken to.
    pub profile: Profile,
    /// What all devices of its tenant may do together; what is not said is as [`crate::Config::tenant_rates`] has it.
    pub rates: TenantRates,
    /// What its tenant's policies say of topics. The broker carries it to the hooks that authorise.
    pub topics: TopicRights,
    /// The connection ends here at the latest: the end of the certificate or token.
    pub valid_until: Option<Timestamp>,
}

/// The compiled topic policies of a connection. They can change while it lasts.
#[derive(Debug, Default)]
pub struct TopicRights(RwLock<Option<Arc<Compiled>>>);

impl TopicRights {
    pub fn new(compiled: Arc<Compiled>) -> Self {
        let rights = Self::default();
        rights.set(compiled);
        rights
    }

    /// `None` where nothing is said.
    pub fn read(&self) -> Option<Arc<Compiled>> {
        self.0.read().clone()
    }

    /// Whether anything changed.
    pub fn set(&self, compiled: Arc<Compiled>) -> bool {
        let next = (!compiled.is_empty()).then_some(compiled);
        let mut now = self.0.write();
        let changed = *now != next;
        *now = next;
        changed
    }
}

impl Clone for TopicRights {
    fn clone(&self) -> Self {
        Self(RwLock::new(self.read()))
    }
}

/// Why a CONNECT is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The client id is not this principal's (0x85; 2 on 3.1.1).
    ClientId,
    /// Bad user name or password (0x86; 4).
    Credentials,
    /// Not authorised (0x87; 5).
    NotAuthorized,
    /// The registry cannot be asked just now (0x88; 3).
    Unavailable,
    /// Too much to do (0x89; 3).
    Busy,
    /// Banned (0x8A; 5).
    Banned,
    /// A quota of the tenant is used up (0x97; 3).
    Quota,
}

/// A publish to a topic that a service owns.
#[derive(Clone, Debug)]
pub struct ServiceRequest {
    pub topic: Arc<str>,
    pub payload: Bytes,
    pub qos: Qos,
    /// Only where the topic does not begin with `$`.
    pub retain: bool,
    pub protocol: Protocol,
}

/// Why a service cannot take a request at all. A request that is taken and answered with a rejection is `Ok`.
/// MQTT 5.0 hears the code in its PUBACK; a 3.1.1 connection is closed without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Nack {
    /// 0x83: try again, for instance when the database cannot be reached.
    Unavailable,
    /// 0x87.
    NotAuthorized,
    /// 0x90.
    TopicInvalid,
    /// 0x97.
    Quota,
    /// 0x99.
    PayloadInvalid,
}

/// What to do with a request above `limits::SERVICE_REQUESTS_IN_FLIGHT` of its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overload {
    /// Stop reading from the connection until one of its requests is done.
    Wait,
    /// The hook has answered (with a 429, say); acknowledge and forget the request.
    Answered,
    /// Refuse it as [`Hooks::service`] would.
    Refuse(Nack),
}

/// A connection has been accepted.
#[derive(Clone, Debug)]
pub struct Connected {
    /// Grows with each connection of the process. Of two reports on one device the one with the higher epoch is newer.
    pub epoch: u64,
    pub address: SocketAddr,
    pub protocol: Protocol,
    pub keep_alive_secs: u16,
    pub clean_start: bool,
    pub session_present: bool,
    /// It took over from a connection that was still there, which gets no `disconnected`.
    pub took_over: bool,
}

/// A connection has ended.
#[derive(Clone, Debug)]
pub struct Disconnected {
    pub epoch: u64,
    pub address: SocketAddr,
    pub reason: EndReason,
}

/// The rules and services above the broker.
#[async_trait]
pub trait Hooks: Send + Sync + 'static {
    /// Who is this? Called once per connection, within the connect deadline.
    async fn authenticate(&self, peer: &Peer, connect: &Connect) -> Result<Arc<Principal>, Refusal>;

    /// May it publish to this topic? Also asked for the will at CONNECT, and for topics that a service owns.
    fn authorize_publish(&self, principal: &Principal, topic: &str, retain: bool) -> bool;

    /// May it subscribe to this filter? Asked at SUBSCRIBE and again for each kept subscription when a session resumes.
    fn authorize_subscribe(&self, principal: &Principal, filter: &str) -> bool;

    /// May this message reach it? Asked at delivery, which can be long after the subscription; not for
    /// [`crate::Broker::publish_to`].
    fn authorize_delivery(&self, principal: &Principal, topic: &str) -> bool;

    /// Does a service own this topic, for messages that are to be retained or for others? It then hears what is published there,
    /// and nobody else does unless it says so itself. What begins with `$` and has no owner is refused.
    fn owns(&self, topic: &str, retain: bool) -> bool;

    /// Who a client that is not connected is, if it may still have its will published there. Asked of wills that a crash left.
    ///
    /// # Errors
    /// Where that cannot be known now: the will is kept then.
    async fn will_owner(
        &self,
        _tenant: &TenantId,
        _client: &DeviceId,
        _topic: &str,
        _retain: bool,
    ) -> Result<Option<Arc<Principal>>, Nack> {
        Ok(None)
    }

    /// Works on a publish to an owned topic. `Ok` means that what it changed is committed: the PUBACK follows it. The
    /// requests of a connection run side by side, first polled in order of arrival, acknowledged in that order.
    async fn service(&self, principal: &Arc<Principal>, request: ServiceRequest) -> Result<(), Nack>;

    /// One request too many at once. May answer by itself: this method alone may call the broker back.
    fn overloaded(&self, principal: &Arc<Principal>, request: &ServiceRequest) -> Overload;

    /// After the CONNACK has been queued.
    fn connected(&self, principal: &Arc<Principal>, connected: &Connected);

    /// The connection is over and no other has taken its place.
    fn disconnected(&self, principal: &Arc<Principal>, disconnected: &Disconnected);

    /// It has sent something. Called at most once in five seconds for a connection.
    fn seen(&self, principal: &Arc<Principal>);

    /// These filters have been added and are durable; the SUBACK is on its way.
    fn subscribed(&self, principal: &Arc<Principal>, filters: &[Arc<str>]);

    /// A message for this session has been refused because its queue is full. Called at most once a second for a session.
    fn queue_full(&self, tenant: &TenantId, device: &DeviceId);
}
