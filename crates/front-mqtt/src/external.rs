//! An external broker: devices speak MQTT with a broker of somebody else's, and the services here answer through it.
//!
//! The server is one of its clients. It shares subscriptions with the other servers of the installation
//! (`$share/fleetward/$aws/things/+/...`) where the broker can share these, works on each request as it does on those of its own broker, publishes the answers, and
//! acknowledges the request only then: a server that dies in between gets it again. One connection is for one tenant.
//!
//! What it believes is that broker: a request is by the device that its topic names, since the broker lets nobody else publish
//! there ([`policy`], `/broker/authz`, or an access list made of the same rules). Whether the device still may is asked here, for
//! each request. What is lesser than on our own broker is in `docs/guides/external-broker.md`.

mod link;
mod outlet;

use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fleetward_app::messaging::messaging;
use fleetward_app::topic_policies::rights_of;
use fleetward_app::{Error, enroll};
use fleetward_base::{Clock, DeviceId, TenantId, limits};
use fleetward_broker::{Hooks, Nack, Principal, Protocol, Qos, ServiceRequest, TopicRights};
use fleetward_core::messaging::Messaging;
use fleetward_core::topic_policy::Act;
use fleetward_wire::aws::topic::{self, PREFIX};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::MqttHooks;
use crate::policy;
use link::{Arrived, End, Link};
pub(crate) use outlet::Outlet;

/// The requests that are served, below `$aws/things/`. Answers have a level more, so none of these matches one.
pub(crate) const REQUESTS: [&str; 10] = [
    "+/shadow/get",
    "+/shadow/update",
    "+/shadow/delete",
    "+/shadow/name/+/get",
    "+/shadow/name/+/update",
    "+/shadow/name/+/delete",
    "+/jobs/get",
    "+/jobs/start-next",
    "+/jobs/+/get",
    "+/jobs/+/update",
];
/// What the principal of a request has in place of a certificate's serial number.
const SERIAL: &str = "external";
/// The last level of a topic on which nothing is ever asked.
const TRIAL: &str = "trial";
/// Locks that devices share.
const TURNS: u64 = 1024;
/// Pauses between connections that come to nothing, in seconds.
const PAUSES: [u64; 5] = [1, 2, 5, 10, 30];

/// A stream to the broker.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// The way to the broker: TCP and TLS with a certificate of ours, in a server.
#[async_trait]
pub trait Dial: Send + Sync + 'static {
    async fn dial(&self) -> io::Result<Box<dyn Stream>>;
}

/// Which broker, and for whom.
pub struct External {
    pub tenant: TenantId,
    /// What the broker keeps our session under. Each server has one of its own.
    pub client_id: String,
    /// Under which name the servers of an installation share the requests; none where there is one server alone.
    pub group: Option<String>,
    pub dial: Arc<dyn Dial>,
}

/// How it stands with the broker, for whoever examines the server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    Connected,
    /// Why not.
    Away(String),
}

impl MqttHooks {
    /// Serves the devices of an external broker until it is told to stop. Called once.
    pub async fn serve_external(self: Arc<Self>, external: External, stop: CancellationToken) {
        let outlet = self.external.get_or_init(|| Outlet::new(external.tenant.clone()));
        let mut pauses = PAUSES.iter();
        while !stop.is_cancelled() {
            let end = match self.one_connection(&external, outlet, &stop, &mut pauses).await {
                Ok(()) => return,
                Err(end) => end,
            };
            tracing::warn!(tenant = %external.tenant, %end, "the external broker is not connected");
            outlet.note(Standing::Away(end.to_string()));
            let pause = pauses.next().or(PAUSES.last()).copied().unwrap_or_default();
            if tokio::time::timeout(Duration::from_secs(pause), stop.cancelled()).await.is_ok() {
                return;
            }
        }
    }

    /// How it stands with the external broker; none where there is none.
    pub fn external_standing(&self) -> Option<Standing> {
        self.external.get().map(Outlet::standing)
    }

    async fn one_connection(
        self: &Arc<Self>,
        external: &External,
        outlet: &Outlet,
        stop: &CancellationToken,
        pauses: &mut std::slice::Iter<'_, u64>,
    ) -> Result<(), End> {
        let dialled = tokio::time::timeout(limits::EXTERNAL_BROKER_DEADLINE, external.dial.dial());
        let stream = dialled.await.map_err(|_| End::Silent)?.map_err(End::Broken)?;
        let clock: Arc<dyn Clock> = Arc::clone(self.app.clock());
        let group = external.group.as_deref();
        // The broker keeps the subscriptions of a session: another group is another session, or both would be heard.
        let own = group.map_or_else(|| external.client_id.clone(), |group| format!("{}.{group}", external.client_id));
        let mut link = Link::open(stream, &own, clock).await?;
        if group.is_some() {
            // What goes to everybody's group could come to another server; this one is nobody else's.
            let topic = format!("{PREFIX}{own}/{TRIAL}");
            link.try_sharing(&format!("$share/{own}/{topic}"), &topic).await?;
        }
        let shared = group.map(|group| format!("$share/{group}/")).unwrap_or_default();
        let filters: Vec<String> = REQUESTS.iter().map(|request| format!("{shared}{PREFIX}{request}")).collect();
        link.listen(&filters).await?;
        tracing::info!(tenant = %external.tenant, "serving the devices of an external broker");
        outlet.note(Standing::Connected);
        *pauses = PAUSES.iter();
        let (hooks, tenant, turns) = (Arc::clone(self), external.tenant.clone(), Turns::default());
        let serve = move |arrived: Arrived| {
            let (hooks, tenant, turn) = (Arc::clone(&hooks), tenant.clone(), turns.of(&arrived.topic));
            async move {
                let _turn = turn.lock_owned().await;
                hooks.serve_arrived(&tenant, arrived).await
            }
        };
        link.run(outlet, serve, stop).await
    }

    /// Works on one request; whether it may be acknowledged. What is none, or by a device that may not, is let go of; what
    /// cannot be worked on now comes again.
    async fn serve_arrived(&self, tenant: &TenantId, arrived: Arrived) -> bool {
        let Some(device) = topic::parse(&arrived.topic).and_then(|topic| topic.thing.parse().ok()) else { return true };
        let principal = match self.principal_outside(tenant, device).await {
            Ok(Some(principal)) if policy::may(&principal, Act::Publish, &arrived.topic) => principal,
            Ok(_) => {
                tracing::info!(topic = arrived.topic, "a device of the external broker asked for what it may not");
                return true;
            }
            Err(error) => {
                tracing::warn!(%error, "a device of the external broker could not be asked after");
                return false;
            }
        };
        self.seen(&principal);
        let request = ServiceRequest {
            topic: arrived.topic.into(),
            payload: arrived.payload,
            qos: Qos::AtLeastOnce,
            retain: false,
            protocol: Protocol::V5,
        };
        let Err(nack) = self.service(&principal, request).await else { return true };
        tracing::info!(device = %principal.device, ?nack, "a request by the external broker was not taken");
        !matches!(nack, Nack::Unavailable)
    }

    /// A device that may be in, with what it may do now: one that has no connection here.
    pub(crate) async fn principal_outside(
        &self,
        tenant: &TenantId,
        device: DeviceId,
    ) -> Result<Option<Arc<Principal>>, Error> {
        let Some(rights) = enroll::rights_by_name(&self.app, tenant, &device).await? else { return Ok(None) };
        let topics = rights_of(&self.app, tenant, &device, SERIAL).await?;
        if topics.connect_denied().is_some() {
            return Ok(None);
        }
        let Messaging { profile, rates } = messaging(&self.app, tenant).await?;
        let (tenant, serial, topics) = (tenant.clone(), SERIAL.into(), TopicRights::new(topics));
        Ok(Some(Arc::new(Principal { tenant, device, serial, rights, topics, profile, rates, valid_until: None })))
    }

    /// Whether devices of the tenant may be at an external broker.
    pub(crate) fn serves_outside(&self, tenant: &TenantId) -> bool {
        self.external.get().is_some_and(|outlet| outlet.is_for(tenant))
    }

    /// Hands what is said to a tenant's devices to its external broker too, unless it is for one that is connected here.
    pub(crate) fn say_outside(&self, tenant: &TenantId, topic: &str, payload: &[u8]) {
        let Some(outlet) = self.external.get().filter(|outlet| outlet.is_for(tenant)) else { return };
        let here = topic::parse(topic)
            .and_then(|topic| topic.thing.parse().ok())
            .is_some_and(|device| self.broker.get().is_some_and(|broker| broker.connected(tenant, &device)));
        if !here {
            outlet.push(topic, payload);
        }
    }
}

/// Whose turn it is: requests of one device are worked on in the order in which they came. Devices share locks by hash, and wait
/// for each other now and then.
struct Turns {
    locks: Vec<Arc<Mutex<()>>>,
}

impl Default for Turns {
    fn default() -> Self {
        Self { locks: (0..TURNS).map(|_| Arc::default()).collect() }
    }
}

impl Turns {
    fn of(&self, topic: &str) -> Arc<Mutex<()>> {
        let thing = topic::parse(topic).map_or("", |topic| topic.thing);
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(thing);
        let index = usize::try_from(hash % TURNS).unwrap_or_default();
        self.locks.get(index).cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use fleetward_wire::aws::topic::parse;

    use super::*;

    #[test]
    fn requests_are_subscribed_to_and_answers_are_not() {
        for (topic, wanted) in [
            ("$aws/things/gw-1/shadow/get", true),
            ("$aws/things/gw-1/shadow/name/$config/update", true),
            ("$aws/things/gw-1/jobs/start-next", true),
            ("$aws/things/gw-1/jobs/$next/get", true),
            ("$aws/things/gw-1/jobs/j-1/update", true),
            ("$aws/things/gw-1/shadow/get/accepted", false),
            ("$aws/things/gw-1/shadow/update/delta", false),
            ("$aws/things/gw-1/shadow/update/documents", false),
            ("$aws/things/gw-1/jobs/notify", false),
            ("$aws/things/gw-1/jobs/get/accepted", false),
            ("$aws/things/gw-1/jobs/$next/get/rejected", false),
        ] {
            let heard = REQUESTS.iter().any(|request| policy::matches(&format!("{PREFIX}{request}"), topic));
            assert_eq!(heard, wanted, "{topic}");
            assert_eq!(parse(topic).is_some_and(|topic| topic.is_request()), wanted, "{topic}");
        }
    }
}
