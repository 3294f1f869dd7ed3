//! `devices/{device}/identity/transfer`: the device is to go to another tenant, and to ask how.
//!
//! Published to the device at QoS 1 when both tenants have agreed, and once more whenever it subscribes to the topic, until it
//! has gone. Nothing in the message is believed: the device asks the server over HTTPS with its certificate
//! (`POST /v1/identity/transfer`), gets [`Order`], wipes itself, says so (`POST /v1/identity/transfer/wiped`) and enrols
//! anew with what the order holds.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The longest message that is read.
const BYTES: usize = 4096;

/// What the device is told. Fields that it does not know are left alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// Ties together what the server writes down of it.
    pub transfer: String,
}

impl Notice {
    /// `None` for what is no such message.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        if payload.len() > BYTES { None } else { serde_json::from_slice(payload).ok() }
    }

    pub fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

/// Where the device goes, and with what it enrols there. Holds a secret.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    pub transfer: String,
    /// The tenant that it goes to, which is its EST label.
    pub tenant: String,
    /// Its name there.
    pub device: String,
    /// The one-time enrolment token.
    pub token: String,
}

impl fmt::Debug for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Order({} to {} as {})", self.transfer, self.tenant, self.device)
    }
}

impl Order {
    /// `None` for what is no order, or has an empty field.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let order: Self = if payload.len() > BYTES { None } else { serde_json::from_slice(payload).ok() }?;
        let whole = [&order.transfer, &order.tenant, &order.device, &order.token].iter().all(|text| !text.is_empty());
        whole.then_some(order)
    }
}

/// The topic of a device.
pub fn topic(device: &str) -> String {
    format!("devices/{device}/identity/transfer")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_nothing_else_breaks() {
        let notice = Notice { transfer: "t".to_owned() };
        assert_eq!(Notice::parse(&notice.to_bytes()), Some(notice));
        let text = br#"{"transfer":"t","tenant":"zenith","device":"gw-2","token":"fwe_x","later":1}"#;
        let order = Order::parse(text).expect("an order");
        assert_eq!((order.tenant.as_str(), order.device.as_str()), ("zenith", "gw-2"));
        assert!(!format!("{order:?}").contains("fwe_x"));
        assert_eq!(Order::parse(&serde_json::to_vec(&order).expect("JSON")), Some(order));
        for bad in [&b""[..], b"{", b"{}", br#"{"transfer":1}"#, &[b' '; 5000]] {
            assert_eq!((Notice::parse(bad), Order::parse(bad)), (None, None));
        }
        assert_eq!(Order::parse(br#"{"transfer":"t","tenant":"","device":"d","token":"x"}"#), None);
        assert_eq!(topic("gw-1"), "devices/gw-1/identity/transfer");
    }
}
