//! Whether tokens of the tenant's token services are taken, and for what.

use serde::{Deserialize, Serialize};

/// The section `tokens`. Nothing in it is wrong in itself, so there is nothing to check.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TokensPolicy {
    /// A token may be exchanged for a certificate. Whoever can have tokens issued can then take the place of any device that
    /// they may name, so this is off.
    pub exchange: bool,
    /// A token lets a device in over MQTT, without a certificate, for as long as it counts. Off: a token is copied more
    /// easily than a key.
    pub mqtt: bool,
    /// The user name over MQTT must say the device too (`TENANT/DEVICE`), and it must be the one that the token names.
    pub device_in_username: bool,
}
