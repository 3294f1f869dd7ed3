//! `devices/{device}/identity/anchors` and `fleet/identity/anchors`: the server asks devices to fetch the list of authorities
//! (EST `cacerts`) now, because a root follows another.
//!
//! Published at QoS 1: to the whole tenant when the roots change, and to a device that subscribes while it does not hold the
//! one that is waited for. Nothing in the message is believed: it says only that there is something to fetch. One who does
//! not listen finds the same at its own time.

use serde::{Deserialize, Serialize};

/// The longest message that is read.
const BYTES: usize = 4096;
/// To all devices of a tenant.
pub const FLEET: &str = "fleet/identity/anchors";

/// What devices are told. Fields that they do not know are left alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnchorsRequest {
    /// The device waits for a part of these seconds, chosen by chance: many are asked together.
    #[serde(default)]
    pub spread_s: u32,
}

impl AnchorsRequest {
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
    format!("devices/{device}/identity/anchors")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_nothing_else_breaks() {
        let request = AnchorsRequest { spread_s: 60 };
        assert_eq!(AnchorsRequest::parse(&request.to_bytes()), Some(request));
        assert_eq!(AnchorsRequest::parse(br#"{"later":1}"#), Some(AnchorsRequest::default()));
        for bad in [&b""[..], b"{", br#"{"spread_s":-1}"#, br#"{"spread_s":4294967296}"#, &[b' '; 5000]] {
            assert_eq!(AnchorsRequest::parse(bad), None);
        }
        assert_eq!(topic("gw-1"), "devices/gw-1/identity/anchors");
    }
}
