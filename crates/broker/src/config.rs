//! What an operator may tune. Everything else is a constant of `base::limits`.

use std::time::Duration;

use fleetward_base::limits;
use fleetward_core::messaging::{Rate, TenantRates};

/// The broker's settings. `Config::default()` suits a production server.
#[derive(Clone, Debug)]
pub struct Config {
    /// Messages that one device may publish; above it its connection is not read from. `None`: no limit.
    pub publish_messages: Option<Rate>,
    /// Bytes of packets that one device may send; above it its connection is not read from. `None`: no limit.
    pub publish_bytes: Option<Rate>,
    /// CONNECTs of one client id; above it they are refused (0x9F, or 3 on MQTT 3.1.1). `None`: no limit.
    pub connects_per_client: Option<Rate>,
    /// What each tenant may do with all its connections, where it has no rates of its own.
    pub tenant_rates: TenantRates,
    /// Bytes that wait in memory, for clients and for commits; above it new connections are refused (0x97, or 3 on MQTT 3.1.1).
    pub memory_bytes: usize,
    /// From the first byte to the whole CONNECT.
    pub connect_deadline: Duration,
    /// A peer that takes nothing of what is sent to it for this long is disconnected.
    pub write_stall: Duration,
    /// How long a closing connection may take to accept its last packet.
    pub close_grace: Duration,
    /// The longest keep-alive, in seconds; a client that asks for more or for none gets this.
    pub keep_alive_max_secs: u16,
    /// For so long after its start the broker gives clients of MQTT 5.0 keep-alives that are up to a tenth shorter than they
    /// asked for, each by its name: those that came together do not go on pinging together. Zero: never.
    pub keep_alive_spread: Duration,
    /// The longest session expiry, in seconds.
    pub session_expiry_max_secs: u32,
    /// Bytes that wait in the store for one session.
    pub queue_bytes: u64,
    /// Bytes that wait in memory for one connected client.
    pub outbound_bytes: usize,
    /// Payloads and topics of retained messages of one tenant, in memory.
    pub retained_bytes: usize,
    /// How long a commit waits for those whom the last one answered to come again; zero commits at once what is there.
    pub commit_linger: Duration,
    /// Bytes that may wait for a commit in all; above it no connection is read from.
    pub pending_bytes: usize,
    /// Topics whose last level holds the properties of a message, and which may therefore be longer than others.
    pub properties_in_topic: fn(&str) -> bool,
    /// Whether the broker runs its own ticker. A test turns it off and calls `Broker::tick` itself.
    pub own_ticker: bool,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            publish_messages: Some(Rate { per_second: 1000, burst: 2000 }),
            publish_bytes: Some(Rate { per_second: 4 * 1024 * 1024, burst: 8 * 1024 * 1024 }),
            connects_per_client: Some(Rate { per_second: 1, burst: 10 }),
            tenant_rates: TenantRates {
                connects: Some(Rate { per_second: 2000, burst: 20_000 }),
                messages: Some(Rate { per_second: 200_000, burst: 400_000 }),
                bytes: Some(Rate { per_second: 128 * 1024 * 1024, burst: 256 * 1024 * 1024 }),
            },
            memory_bytes: 1024 * 1024 * 1024,
            connect_deadline: limits::MQTT_CONNECT_DEADLINE,
            write_stall: Duration::from_secs(30),
            close_grace: Duration::from_secs(1),
            keep_alive_max_secs: limits::MQTT_KEEP_ALIVE_SECS,
            keep_alive_spread: Duration::from_secs(300),
            session_expiry_max_secs: limits::MQTT_SESSION_EXPIRY_SECS,
            queue_bytes: limits::MQTT_OFFLINE_QUEUE_BYTES,
            outbound_bytes: limits::MQTT_OUTBOUND_BYTES,
            retained_bytes: 64 * 1024 * 1024,
            commit_linger: Duration::from_millis(2),
            pending_bytes: 64 * 1024 * 1024,
            properties_in_topic: |_| false,
            own_ticker: true,
        }
    }
}
