//! What the profiles differ in (`core::messaging`). A client is told on CONNACK where MQTT 5.0 has a word for it.

use fleetward_base::limits;
use fleetward_core::messaging::Profile;

use crate::Qos;

/// The rules of one profile.
#[derive(Debug)]
pub(crate) struct Rules {
    pub(crate) max_qos: Qos,
    pub(crate) subscription_identifiers: bool,
    pub(crate) filters_per_subscribe: usize,
    pub(crate) subscriptions: usize,
    /// Levels of topics that do not begin with `$`.
    pub(crate) levels: usize,
    pub(crate) topic_aliases: u16,
    pub(crate) keep_alive_min_secs: u16,
    /// How long a session of 3.1.1, which cannot say, outlives its connection.
    pub(crate) v3_expiry_secs: u32,
    /// Filters with wildcards bring what is retained.
    pub(crate) retained_by_wildcards: bool,
    /// `a/#` matches `a` (§4.7.1.2).
    pub(crate) parent_of_hash: bool,
}

const STANDARD: Rules = Rules {
    max_qos: Qos::ExactlyOnce,
    subscription_identifiers: true,
    filters_per_subscribe: limits::MQTT_FILTERS_PER_SUBSCRIBE,
    subscriptions: limits::MQTT_SUBSCRIPTIONS,
    levels: limits::MQTT_TOPIC_LEVELS,
    topic_aliases: limits::MQTT_TOPIC_ALIASES,
    keep_alive_min_secs: 0,
    v3_expiry_secs: u32::MAX,
    retained_by_wildcards: true,
    parent_of_hash: true,
};

/// The developer guide of AWS IoT Core, "MQTT", and its page of quotas.
const AWS: Rules = Rules {
    max_qos: Qos::AtLeastOnce,
    subscription_identifiers: false,
    filters_per_subscribe: 8,
    subscriptions: 50,
    levels: 8,
    topic_aliases: 8,
    keep_alive_min_secs: 30,
    v3_expiry_secs: 3600,
    retained_by_wildcards: false,
    parent_of_hash: false,
};

pub(crate) const fn rules(profile: Profile) -> &'static Rules {
    match profile {
        Profile::Standard => &STANDARD,
        Profile::Aws => &AWS,
    }
}

impl Rules {
    /// Whether a topic or filter is not too deep.
    pub(crate) fn allows_depth(&self, topic: &str) -> bool {
        topic.starts_with('$') || topic.bytes().filter(|byte| *byte == b'/').count() < self.levels
    }
}
