//! What `fleetward serve` can be told. Every flag has an environment variable; every fault is reported at once.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use clap::Args;
use fleetward_app::provisioning::Network;
use fleetward_base::TenantId;

use crate::external::ExternalArgs;
use crate::seals::SealArgs;

/// Run the server. With no flags it keeps everything in `./fleetward-data` and listens on all addresses.
#[derive(Args, Debug, Clone)]
pub(crate) struct ServeArgs {
    /// Folder for the database, artifacts and sealed keys; made when absent.
    #[arg(long, env = "FLEETWARD_DATA_DIR", default_value = "fleetward-data")]
    pub(crate) data_dir: PathBuf,

    /// `postgres://user@host/database`; without it an embedded SQLite database in the data folder.
    #[arg(long, env = "FLEETWARD_DATABASE", hide_env_values = true)]
    pub(crate) database: Option<String>,

    /// Operators: REST and events over HTTPS.
    #[arg(long, env = "FLEETWARD_OPERATOR_LISTEN", default_value = "0.0.0.0:8080")]
    pub(crate) operator_listen: SocketAddr,

    /// Devices: HTTPS and, by ALPN, MQTT.
    #[arg(long, env = "FLEETWARD_DEVICE_LISTEN", default_value = "0.0.0.0:8443")]
    pub(crate) device_listen: SocketAddr,

    /// Devices: MQTT over TLS.
    #[arg(long, env = "FLEETWARD_MQTT_LISTEN", default_value = "0.0.0.0:8883")]
    pub(crate) mqtt_listen: SocketAddr,

    /// Prometheus metrics, without TLS: keep it on loopback or a private network.
    #[arg(long, env = "FLEETWARD_METRICS_LISTEN", default_value = "127.0.0.1:9464")]
    pub(crate) metrics_listen: SocketAddr,

    /// Anybody, without TLS: lists of revoked certificates, OCSP, certificates of authorities, and SCEP where a tenant offers
    /// it. Off unless given; devices' HTTPS port has them too.
    #[arg(long, env = "FLEETWARD_PKI_LISTEN")]
    pub(crate) pki_listen: Option<SocketAddr>,

    /// Where others reach that, as it is to stand in certificates: `http://pki.example.com`. Default: the first public host
    /// and the port of --pki-listen; without either, certificates say nothing of it.
    #[arg(long, env = "FLEETWARD_PKI_URL")]
    pub(crate) pki_url: Option<String>,

    /// Names and addresses under which the server is reached; the first is the one that devices are given.
    #[arg(long = "public-host", env = "FLEETWARD_PUBLIC_HOST", value_delimiter = ',', default_value = "localhost")]
    pub(crate) public_hosts: Vec<String>,

    /// Tenant of enrolment requests that name none and whose credential names none.
    #[arg(long, env = "FLEETWARD_DEFAULT_TENANT")]
    pub(crate) default_tenant: Option<TenantId>,

    /// Networks of your own in which hooks of tenants may be, such as 10.2.0.0/16. Others than public addresses are refused.
    #[arg(long = "hook-network", env = "FLEETWARD_HOOK_NETWORK", value_delimiter = ',')]
    pub(crate) hook_networks: Vec<Network>,

    /// The certificate of a root whose key is kept offline (`wardctl ca root create --offline`), for the first start: the
    /// server asks it for its authorities and never has its key. Without it the server makes a root of its own.
    #[arg(long, env = "FLEETWARD_OFFLINE_ROOT", value_name = "FILE")]
    pub(crate) offline_root: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) external: ExternalArgs,

    #[command(flatten)]
    pub(crate) seal: SealArgs,

    /// MQTT and HTTP connections of devices held at once.
    #[arg(long, env = "FLEETWARD_MAX_CONNECTIONS", default_value_t = 200_000)]
    pub(crate) max_connections: usize,

    /// Messages a second that one MQTT connection may publish.
    #[arg(long, env = "FLEETWARD_PUBLISH_RATE", default_value_t = 1000)]
    pub(crate) publish_rate: u32,

    /// Messages a second that all devices of one tenant may publish together; a tenant may be given another rate.
    #[arg(long, env = "FLEETWARD_TENANT_PUBLISH_RATE", default_value_t = 200_000)]
    pub(crate) tenant_publish_rate: u32,

    /// MQTT connections a second that all devices of one tenant may open together; a tenant may be given another rate.
    #[arg(long, env = "FLEETWARD_TENANT_CONNECT_RATE", default_value_t = 2000)]
    pub(crate) tenant_connect_rate: u32,

    /// Mebibytes of messages that may wait in memory; above it no more MQTT clients are let in.
    #[arg(long, env = "FLEETWARD_MQTT_MEMORY_MIB", default_value_t = 1024)]
    pub(crate) mqtt_memory_mib: u32,

    /// Send MQTT clients to this server, HOST or HOST:PORT, from the start.
    #[arg(long, env = "FLEETWARD_MQTT_REDIRECT", value_name = "SERVER")]
    pub(crate) mqtt_redirect: Option<String>,

    /// Log as JSON lines instead of text.
    #[arg(long, env = "FLEETWARD_LOG_JSON")]
    pub(crate) log_json: bool,
}

impl ServeArgs {
    /// All that is wrong with the arguments together.
    pub(crate) fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if self.public_hosts.is_empty() {
            faults.push("--public-host: name at least one host name or address".to_owned());
        }
        for host in &self.public_hosts {
            if !is_host(host) {
                faults.push(format!("--public-host: {host:?} is neither a host name nor an address"));
            }
        }
        if let Some(url) = &self.database
            && !(url.starts_with("postgres://") || url.starts_with("postgresql://"))
        {
            faults.push("--database: only postgres:// is known; leave it out for the embedded database".to_owned());
        }
        if let Some(url) = &self.pki_url
            && !is_pki_url(url)
        {
            faults.push("--pki-url: http://HOST[:PORT][/PATH] or https://.., without a slash at the end".to_owned());
        }
        if self.max_connections == 0 {
            faults.push("--max-connections: must be at least 1".to_owned());
        }
        for (flag, value) in [
            ("--publish-rate", self.publish_rate),
            ("--tenant-publish-rate", self.tenant_publish_rate),
            ("--tenant-connect-rate", self.tenant_connect_rate),
            ("--mqtt-memory-mib", self.mqtt_memory_mib),
        ] {
            if value == 0 {
                faults.push(format!("{flag}: must be at least 1"));
            }
        }
        faults.extend(self.external.faults());
        faults
    }
}

/// A URL as it can stand in a certificate (an IA5String), with nothing after its path.
fn is_pki_url(text: &str) -> bool {
    let rest = text.strip_prefix("http://").or_else(|| text.strip_prefix("https://"));
    rest.is_some_and(|rest| {
        !rest.is_empty()
            && text.len() <= 200
            && !rest.ends_with('/')
            && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._~:/[]%".contains(&b))
    })
}

/// RFC 1123 §2.1 host names, and addresses.
fn is_host(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok()
        || (!text.is_empty()
            && text.len() <= 253
            && text.split('.').all(|label| {
                (1..=63).contains(&label.len())
                    && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
                    && !label.starts_with('-')
                    && !label.ends_with('-')
            }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pki_urls() {
        for good in ["http://pki.example.com", "https://a.example:8080/x", "http://[::1]:80"] {
            assert!(is_pki_url(good), "{good}");
        }
        for bad in ["", "http://", "ftp://a", "http://a/", "http://a?x", "http://a b", "http://ä"] {
            assert!(!is_pki_url(bad), "{bad}");
        }
    }

    #[test]
    fn hosts() {
        for good in ["localhost", "a.example.com", "127.0.0.1", "::1", "xn--bcher-kva.example"] {
            assert!(is_host(good), "{good}");
        }
        for bad in ["", "a..b", "-a", "a b", "http://a", "a:1", &"x".repeat(64)] {
            assert!(!is_host(bad), "{bad}");
        }
    }
}
