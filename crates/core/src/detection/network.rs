//! Where an address is, as far as that can be said: its network, and the place that a tenant gave to it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Addresses within one of these are taken for neighbours: what a provider or a site hands out.
const V4_BITS: u8 = 24;
const V6_BITS: u8 = 48;
/// The mean radius of the earth.
const EARTH_KM: f64 = 6371.0;

/// A range of addresses, such as `192.0.2.0/24`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network {
    first: IpAddr,
    bits: u8,
}

/// A text that is no network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a network of the form 192.0.2.0/24 or 2001:db8::/32")]
pub struct BadNetwork;

impl Network {
    /// The network that neighbours of `address` share.
    pub fn around(address: IpAddr) -> Self {
        let address = address.to_canonical();
        let bits = if address.is_ipv4() { V4_BITS } else { V6_BITS };
        Self { first: masked(address, bits), bits }
    }

    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.first.is_ipv4() && masked(address, self.bits) == self.first
    }
}

fn masked(address: IpAddr, bits: u8) -> IpAddr {
    let bits = u32::from(bits);
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32_u32.saturating_sub(bits)).unwrap_or(0);
            IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & mask))
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128_u32.saturating_sub(bits)).unwrap_or(0);
            IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask))
        }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.first, self.bits)
    }
}

impl FromStr for Network {
    type Err = BadNetwork;

    /// The address may be any of the network's; without a length it is that one address.
    fn from_str(text: &str) -> Result<Self, BadNetwork> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| BadNetwork)?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            Some(bits) => bits.parse::<u8>().ok().filter(|bits| *bits <= most).ok_or(BadNetwork)?,
            None => most,
        };
        Ok(Self { first: masked(address, bits), bits })
    }
}

impl TryFrom<String> for Network {
    type Error = BadNetwork;

    fn try_from(text: String) -> Result<Self, BadNetwork> {
        text.parse()
    }
}

impl From<Network> for String {
    fn from(network: Network) -> Self {
        network.to_string()
    }
}

/// Where the addresses of a network are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    pub network: Network,
    /// What people call it; also the region under which refusals are counted.
    pub name: String,
    /// Degrees, north and east positive. Without them no distance is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latitude: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub longitude: Option<f64>,
}

/// The place of an address: that of the smallest network that holds it.
pub fn place_of(places: &[Place], address: IpAddr) -> Option<&Place> {
    places.iter().filter(|place| place.network.contains(address)).max_by_key(|place| place.network.bits)
}

/// How far apart two places are along the surface, in kilometres; `None` where one of them has no position.
pub fn distance_km(one: &Place, other: &Place) -> Option<f64> {
    let (lat_one, lat_other) = (one.latitude?.to_radians(), other.latitude?.to_radians());
    let (dlat, dlon) = (lat_other - lat_one, (other.longitude? - one.longitude?).to_radians());
    let chord = (dlat / 2.0).sin().powi(2) + lat_one.cos() * lat_other.cos() * (dlon / 2.0).sin().powi(2);
    Some(2.0 * EARTH_KM * chord.clamp(0.0, 1.0).sqrt().asin())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(network: &str, name: &str, at: Option<(f64, f64)>) -> Place {
        let (latitude, longitude) = (at.map(|at| at.0), at.map(|at| at.1));
        Place { network: network.parse().expect("a network"), name: name.to_owned(), latitude, longitude }
    }

    #[test]
    fn networks_read_and_hold() {
        for (text, shown) in [
            ("192.0.2.7/24", "192.0.2.0/24"),
            ("192.0.2.7", "192.0.2.7/32"),
            ("0.0.0.0/0", "0.0.0.0/0"),
            ("2001:db8::1/32", "2001:db8::/32"),
            ("::/0", "::/0"),
        ] {
            assert_eq!(text.parse::<Network>().map(|network| network.to_string()).as_deref(), Ok(shown), "{text}");
        }
        for bad in ["", "192.0.2.0/33", "::/129", "192.0.2/24", "a/8", "192.0.2.0/-1", "192.0.2.0/"] {
            assert_eq!(bad.parse::<Network>(), Err(BadNetwork), "{bad}");
        }
        let holds = |network: &str, address: &str| {
            network.parse::<Network>().expect("a network").contains(address.parse().expect("an address"))
        };
        assert!(holds("192.0.2.0/24", "192.0.2.255") && !holds("192.0.2.0/24", "192.0.3.0"));
        assert!(holds("192.0.2.0/24", "::ffff:192.0.2.1"), "mapped addresses are what they map");
        assert!(holds("0.0.0.0/0", "8.8.8.8") && !holds("0.0.0.0/0", "2001:db8::1"));
        assert!(holds("2001:db8::/48", "2001:db8:0:ffff::1") && !holds("2001:db8::/48", "2001:db8:1::1"));
    }

    #[test]
    fn the_smallest_network_names_the_place() {
        let places = [place("10.0.0.0/8", "company", None), place("10.1.0.0/16", "oslo", None)];
        let of = |address: &str| place_of(&places, address.parse().expect("an address")).map(|p| p.name.as_str());
        assert_eq!((of("10.1.2.3"), of("10.2.2.3"), of("192.0.2.1")), (Some("oslo"), Some("company"), None));
    }

    #[test]
    fn distances() {
        let oslo = place("10.1.0.0/16", "oslo", Some((59.91, 10.75)));
        let rome = place("10.2.0.0/16", "rome", Some((41.9, 12.5)));
        let km = distance_km(&oslo, &rome).expect("both have a position");
        assert!((1990.0..2030.0).contains(&km), "{km}");
        assert!(distance_km(&oslo, &oslo).expect("a position") < 0.001);
        assert_eq!(distance_km(&oslo, &place("10.3.0.0/16", "x", None)), None);
    }
}
