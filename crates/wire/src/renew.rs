//! `devices/{device}/identity/renew`: the server asks a device to renew its certificate now.
//!
//! Published to the device at QoS 1 when it is asked, and once more whenever it subscribes to the topic, until it is in with a
//! certificate that it asked for since. The device answers by renewing. One that does not listen renews at its own time.

use serde::{Deserialize, Serialize};

/// The longest message that is read.
const BYTES: usize = 4096;

/// What the device is told. Fields that it does not know are left alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenewRequest {
    /// Ties together what the server writes down of it.
    pub request: String,
    /// In a word or sentence, for the device's log.
    #[serde(default)]
    pub reason: String,
    /// The old certificate ends with the first use of the new one.
    #[serde(default)]
    pub at_once: bool,
    /// The device waits for a part of these seconds, chosen by chance: many are asked together.
    #[serde(default)]
    pub spread_s: u32,
}

impl RenewRequest {
    /// `None` for what is no such message.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        if payload.len() > BYTES { None } else { serde_json::from_slice(payload).ok() }
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// The topic of a device.
pub fn topic(device: &str) -> String {
    format!("devices/{device}/identity/renew")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_nothing_else_breaks() {
        let request =
            RenewRequest { request: "r".to_owned(), reason: "campaign".to_owned(), at_once: true, spread_s: 60 };
        assert_eq!(RenewRequest::parse(&request.to_bytes()), Some(request));
        let least = RenewRequest::parse(br#"{"request":"r","later":1}"#).expect("the least that it says");
        assert_eq!((least.at_once, least.spread_s), (false, 0));
        for bad in [&b""[..], b"{", b"[]", b"{}", br#"{"request":1}"#, &[b' '; 5000]] {
            assert_eq!(RenewRequest::parse(bad), None);
        }
        assert_eq!(topic("gw-1"), "devices/gw-1/identity/renew");
    }
}
