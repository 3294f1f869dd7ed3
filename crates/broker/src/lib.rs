//! MQTT sessions and routing: an engine that knows MQTT and nothing of devices, databases or TLS.
//!
//! It is given a byte stream with its [`Peer`], asks [`Hooks`] who that is and what it may do, and keeps what must
//! survive in a [`SessionStore`]. MQTT 3.1.1 and 5.0 are spoken as the client asks, with QoS 0 to 2.
//! Topic spaces are per tenant and do not touch.
//!
//! ```text
//! let broker = Broker::start(config, hooks, store, clock).await?;   // loads sessions and retained messages
//! tracker.spawn(broker.serve(tls_stream, peer));                    // one task per connection
//! broker.publish(&tenant, Message::new(topic, &payload))?.durable().await?;   // to whoever subscribes
//! broker.publish_to(&tenant, &device, Message::new(topic, &payload))?;        // to this one, subscribed or not
//! broker.kick(&tenant, &device, Reason::AdministrativeAction);      // out at once
//! broker.drain().await;                                             // 0x8B to all, and the last commit
//! ```
//!
//! What holds:
//! - A PUBACK or PUBREC (or the `Ok` of [`Receipt::durable`]) comes after the commit that stored the message for every persistent
//!   session it matches. A SUBACK comes after the commit of the subscriptions, a CONNACK after that of the session.
//! - Deny by default: nothing is published, subscribed or delivered that the hooks have not allowed, also when it is
//!   delivered later than it was allowed.
//! - A full queue refuses the new message and tells its publisher; nothing acknowledged is dropped.
//! - Everything is bounded by `base::limits` and [`Config`].
//!
//! To add a packet: `codec` reads and writes it, `conn` acts on it. To add a stored thing: an [`Op`], its line in
//! [`MemoryStore`], and in the adapter over the real store.

mod broker;
#[doc(hidden)]
pub mod codec;
mod committer;
mod config;
mod conn;
mod deliver;
mod exchanges;
mod hooks;
mod lifecycle;
mod link;
mod memory;
mod properties;
mod reason;
mod record;
mod retained;
mod router;
mod rules;
mod session;
mod space;
mod stats;
mod store;
mod timers;
mod topic;

pub use broker::{Broker, CommitFailed, Message, PublishError, Receipt, Redirect};
pub use config::Config;
pub use fleetward_core::messaging::{Profile, Rate, TenantRates};
pub use hooks::{
    Connect, Connected, Disconnected, Hooks, Nack, Overload, Peer, Principal, Protocol, Qos, Refusal, ServiceRequest,
    TopicRights, Will,
};
pub use memory::MemoryStore;
pub use properties::{Beside, LongProperties, Properties};
pub use reason::{EndReason, Reason};
pub use stats::Stats;
pub use store::{Chunk, Op, SessionStore, StoreFailure, StoredRetained, StoredSession, StoredSubscription, StoredWill};
pub use topic::{is_filter, is_name};
