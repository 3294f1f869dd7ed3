//! Fetching DID documents, for names that somebody else chose: from public addresses alone, and little of it.
//!
//! The address is checked where it is used: the client resolves through [`PublicOnly`], so a name cannot show one address
//! to a check and another to the connection. No redirect is followed, no proxy of the environment is used, and neither
//! the body nor the time is without end.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use async_trait::async_trait;
use fleetward_app::dids::{DidSource, SourceError};
use fleetward_base::limits;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::redirect::Policy;

/// The way to DID documents.
pub(crate) struct HttpsDocuments {
    client: reqwest::Client,
}

impl HttpsDocuments {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let client = reqwest::Client::builder()
            .https_only(true)
            .redirect(Policy::none())
            .no_proxy()
            .timeout(limits::DID_DOCUMENT_DEADLINE)
            .dns_resolver(Arc::new(PublicOnly))
            .build()?;
        Ok(Self { client })
    }
}

#[async_trait]
impl DidSource for HttpsDocuments {
    async fn fetch(&self, url: &str) -> Result<Vec<u8>, SourceError> {
        let url = reqwest::Url::parse(url).map_err(|_| SourceError::Forbidden)?;
        // An address would not go through the resolver.
        if url.domain().is_none() {
            return Err(SourceError::Forbidden);
        }
        let mut response = self.client.get(url).send().await.map_err(|_| SourceError::Failed)?;
        if response.status() != http::StatusCode::OK {
            return Err(SourceError::Failed);
        }
        let mut body = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(|_| SourceError::Failed)? {
            if body.len() + piece.len() > limits::DID_DOCUMENT_BYTES {
                return Err(SourceError::TooLarge);
            }
            body.extend_from_slice(&piece);
        }
        Ok(body)
    }
}

/// Resolves to public addresses, or to none.
struct PublicOnly;

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let public: Vec<SocketAddr> = found.filter(|address| is_public(address.ip())).collect();
            if public.is_empty() {
                return Err("no public address".into());
            }
            let addresses: Addrs = Box::new(public.into_iter());
            Ok(addresses)
        })
    }
}

/// Whether an address is one of the public internet (IANA's special-purpose registries, as far as they are not).
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => match address.to_ipv4_mapped() {
            Some(mapped) => is_public_v4(mapped),
            None => is_public_v6(address),
        },
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_multicast()
        || address.is_broadcast()
        || address.is_documentation()
        || a == 0
        || a >= 240
        || (a == 100 && (64..128).contains(&b))
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && (b == 18 || b == 19));
    !special
}

/// Within 2000::/3, and none of its tunnels and examples, which may lead to an IPv4 address or to nowhere.
fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, ..] = address.segments();
    let tunnel = (a == 0x2001 && b < 0x0200) || a == 0x2002;
    let example = (a == 0x2001 && b == 0x0db8) || a == 0x3fff;
    a & 0xe000 == 0x2000 && !tunnel && !example
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_public_internet_is_reached() {
        for public in ["93.184.216.34", "1.1.1.1", "2606:2800:220:1::1", "::ffff:8.8.8.8"] {
            assert!(is_public(public.parse().expect("an address")), "{public}");
        }
        for own in [
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "198.18.0.1",
            "192.0.2.1",
            "::1",
            "::",
            "fe80::1",
            "fc00::1",
            "ff02::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "64:ff9b::7f00:1",
            "::ffff:127.0.0.1",
        ] {
            assert!(!is_public(own.parse().expect("an address")), "{own}");
        }
    }

    #[tokio::test]
    async fn names_and_addresses_of_our_own_are_refused() {
        let documents = HttpsDocuments::new().expect("a client");
        for url in ["https://127.0.0.1/x", "https://[::1]/x", "https://169.254.169.254/x"] {
            assert_eq!(documents.fetch(url).await, Err(SourceError::Forbidden), "{url}");
        }
        assert_eq!(documents.fetch("https://localhost/x").await, Err(SourceError::Failed));
        assert_eq!(documents.fetch("http://example.com/x").await, Err(SourceError::Failed));
    }
}
