//! Requests to addresses that a tenant chose: HTTPS only, to public addresses only, once, and not for long.
//!
//! A tenant must not reach with the server's hands what it cannot reach itself. So the name is resolved here, every address
//! is looked at, and the connection goes to one of those that were looked at and to no other; there are no redirects and no
//! proxies. Networks of the installation's own are opened by its operator (`--hook-network`), never by a tenant.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;

use fleetward_base::limits;
use reqwest::{Certificate, Client, Url, redirect};

/// A network such as `10.2.0.0/16`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

/// A text that is no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a network such as 10.2.0.0/16 or fd00::/8")]
pub struct BadNetwork;

impl FromStr for Network {
    type Err = BadNetwork;

    fn from_str(text: &str) -> Result<Self, BadNetwork> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse().map_err(|_| BadNetwork)?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| BadNetwork)?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(most);
        if bits > most { Err(BadNetwork) } else { Ok(Self { address, bits }) }
    }
}

impl Network {
    fn holds(&self, address: IpAddr) -> bool {
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let shift = 32 - u32::from(self.bits);
                own.to_bits().checked_shr(shift).unwrap_or(0) == other.to_bits().checked_shr(shift).unwrap_or(0)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let shift = 128 - u32::from(self.bits);
                own.to_bits().checked_shr(shift).unwrap_or(0) == other.to_bits().checked_shr(shift).unwrap_or(0)
            }
            _ => false,
        }
    }
}

/// Why nothing was asked, or no answer came. The text goes to the log and the journal, never to a device.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OutboundError {
    #[error("the URL must be https, with a host and without user name or password")]
    Url,
    #[error("the host has no address that may be reached")]
    Address,
    #[error("the certificate that the server is held to cannot be read")]
    Anchor,
    #[error("no answer: {0}")]
    Request(String),
    #[error("the answer has the status {0}")]
    Status(u16),
    #[error("the answer is longer than {0} bytes")]
    TooLong(usize),
}

/// Reads a URL that may be asked.
///
/// # Errors
/// [`OutboundError::Url`], and [`OutboundError::Address`] where it is an address that may not be reached.
pub(crate) fn check_url(text: &str, allowed: &[Network]) -> Result<Url, OutboundError> {
    let url = Url::parse(text).map_err(|_| OutboundError::Url)?;
    let plain = url.username().is_empty() && url.password().is_none();
    if url.scheme() != "https" || !plain || text.len() > limits::HOOK_URL_BYTES {
        return Err(OutboundError::Url);
    }
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or(OutboundError::Url)?;
    if let Some(address) = literal(host)
        && !reachable(address, allowed)
    {
        return Err(OutboundError::Address);
    }
    Ok(url)
}

/// Reads certificates in PEM.
///
/// # Errors
/// [`OutboundError::Anchor`] where there is none.
pub(crate) fn anchors(pem: &str) -> Result<Vec<Certificate>, OutboundError> {
    let found = Certificate::from_pem_bundle(pem.as_bytes()).map_err(|_| OutboundError::Anchor)?;
    if found.is_empty() { Err(OutboundError::Anchor) } else { Ok(found) }
}

/// Posts a body of JSON and gives the answer's bytes.
///
/// # Errors
/// [`OutboundError`] says why there is none; whoever asks takes that for a no.
pub(super) async fn post(
    url: &str,
    anchors_pem: Option<&str>,
    allowed: &[Network],
    headers: &[(&'static str, String)],
    body: Vec<u8>,
) -> Result<Vec<u8>, OutboundError> {
    let asking = async {
        let url = check_url(url, allowed)?;
        let client = client(&url, anchors_pem, allowed).await?;
        let mut request = client.post(url).header("content-type", "application/json").body(body);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        read(request, limits::HOOK_ANSWER_BYTES).await
    };
    in_time(asking).await
}

/// Asks for a document and gives its bytes, at most `most`.
///
/// # Errors
/// [`OutboundError`].
pub(crate) async fn get(
    url: &str,
    anchors_pem: Option<&str>,
    allowed: &[Network],
    most: usize,
) -> Result<Vec<u8>, OutboundError> {
    let asking = async {
        let url = check_url(url, allowed)?;
        let client = client(&url, anchors_pem, allowed).await?;
        read(client.get(url).header("accept", "application/json"), most).await
    };
    in_time(asking).await
}

async fn read(request: reqwest::RequestBuilder, most: usize) -> Result<Vec<u8>, OutboundError> {
    let failed = |error: reqwest::Error| OutboundError::Request(told(&error));
    let mut answer = request.send().await.map_err(failed)?;
    if !answer.status().is_success() {
        return Err(OutboundError::Status(answer.status().as_u16()));
    }
    let mut bytes = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(failed)? {
        if bytes.len() + chunk.len() > most {
            return Err(OutboundError::TooLong(most));
        }
        bytes.extend_from_slice(&chunk);
    }
    Ok(bytes)
}

async fn in_time(asking: impl Future<Output = Result<Vec<u8>, OutboundError>>) -> Result<Vec<u8>, OutboundError> {
    match tokio::time::timeout(limits::HOOK_DEADLINE, asking).await {
        Ok(outcome) => outcome,
        Err(_) => Err(OutboundError::Request(format!("not within {} s", limits::HOOK_DEADLINE.as_secs()))),
    }
}

/// A client that reaches the addresses that were looked at, and nothing else.
async fn client(url: &Url, anchors_pem: Option<&str>, allowed: &[Network]) -> Result<Client, OutboundError> {
    let host = url.host_str().ok_or(OutboundError::Url)?;
    let mut builder = Client::builder()
        .https_only(true)
        .redirect(redirect::Policy::none())
        .no_proxy()
        .connect_timeout(Duration::from_secs(3))
        .user_agent(concat!("fleetward/", env!("CARGO_PKG_VERSION")));
    if literal(host).is_none() {
        let port = url.port_or_known_default().unwrap_or(443);
        let found = tokio::net::lookup_host((host, port)).await.map_err(|_| OutboundError::Address)?;
        // All of them: a name that also leads inside is no name of a public server.
        let addresses: Vec<SocketAddr> = found.collect();
        if addresses.is_empty() || !addresses.iter().all(|address| reachable(address.ip(), allowed)) {
            return Err(OutboundError::Address);
        }
        builder = builder.resolve_to_addrs(host, &addresses);
    }
    if let Some(pem) = anchors_pem {
        builder = builder.tls_certs_only(anchors(pem)?);
    }
    builder.build().map_err(|error| OutboundError::Request(told(&error)))
}

/// The innermost cause: the outer ones repeat the URL.
fn told(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string().chars().take(200).collect()
}

fn literal(host: &str) -> Option<IpAddr> {
    host.trim_start_matches('[').trim_end_matches(']').parse().ok()
}

fn reachable(address: IpAddr, allowed: &[Network]) -> bool {
    let address = match address {
        IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4),
        v4 @ IpAddr::V4(_) => v4,
    };
    allowed.iter().any(|network| network.holds(address)) || public(address)
}

/// Whether an address belongs to the public Internet (the registries of RFC 6890).
fn public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => public_v4(v4),
        IpAddr::V6(v6) => public_v6(v6),
    }
}

fn public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_broadcast()
        || address.is_documentation()
        || address.is_multicast()
        || matches!((a, b, c), (0, _, _) | (100, 64..=127, _) | (192, 0, 0) | (192, 88, 99) | (198, 18..=19, _));
    !special && a < 240
}

fn public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let [first, second, ..] = segments;
    // Only what is assigned for global unicast, without documentation, Teredo and 6to4, which hide other addresses.
    let global = (0x2000..=0x3fff).contains(&first);
    let hidden = first == 0x2002 || (first == 0x2001 && (second < 0x0200 || second == 0x0db8)) || first == 0x3fff;
    global && !hidden
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: bool) {
        assert_eq!(check_url(text, &[]).is_ok(), expect, "{text}");
    }

    #[test]
    fn nothing_inside_is_reached() {
        for good in ["https://hook.example/x?y", "https://8.8.8.8", "https://[2606:4700::1]:8443/"] {
            check(good, true);
        }
        for bad in [
            "http://hook.example",
            "file:///etc/passwd",
            "https://",
            "https://user:secret@hook.example",
            "https://127.0.0.1",
            "https://127.1",
            "https://0x7f000001",
            "https://2130706433/",
            "https://10.0.0.1",
            "https://169.254.169.254/latest/meta-data",
            "https://100.64.0.1",
            "https://0.0.0.0",
            "https://255.255.255.255",
            "https://[::1]",
            "https://[::ffff:127.0.0.1]",
            "https://[fe80::1]",
            "https://[fd00::1]",
            "https://[64:ff9b::7f00:1]",
            "https://[2002:7f00:1::]",
        ] {
            check(bad, false);
        }
    }

    #[test]
    fn an_operator_opens_networks() {
        let network = |text: &str| text.parse::<Network>();
        let open = [network("127.0.0.0/8").expect("a network"), network("fd00::/8").expect("a network")];
        assert!(check_url("https://127.0.0.1", &open).is_ok());
        assert!(check_url("https://[fdaa::1]", &open).is_ok());
        assert!(check_url("https://10.0.0.1", &open).is_err());
        assert!(check_url("http://127.0.0.1", &open).is_err());
        for bad in ["", "10.0.0.0/33", "x/8", "10.0.0.0/-1", "::/129"] {
            assert_eq!(network(bad), Err(BadNetwork), "{bad}");
        }
        let all = network("0.0.0.0/0").expect("a network");
        assert!(all.holds("9.9.9.9".parse().expect("an address")));
        assert!(!all.holds("::1".parse().expect("an address")));
    }

    #[tokio::test]
    async fn a_name_that_leads_inside_is_not_asked() {
        let error = post("https://localhost:1/", None, &[], &[], Vec::new()).await.expect_err("it is inside");
        assert!(matches!(error, OutboundError::Address), "{error}");
    }
}
