//! Reaching the server: address, limits on waiting, TLS.
//!
//! TLS is used when the address says `sslmode=require` (or `prefer` with a CA file). The server's certificate is then
//! always checked: against the CA file where one is given, else against the system's own certificates.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Pool, RecyclingMethod, Runtime};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres::config::SslMode;
use tokio_postgres::{Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::OpenError;

const CONNECT: Duration = Duration::from_secs(5);
const KEEP_ALIVE: Duration = Duration::from_secs(30);
/// Where Debian keeps the certificates of the public authorities.
const SYSTEM_CA_FILE: &str = "/etc/ssl/certs/ca-certificates.crt";
/// The server's own limits, in milliseconds: a statement, waiting for a row, and a transaction that nobody goes on with.
const LIMITS: &str = "-c statement_timeout=30000 -c lock_timeout=10000 -c idle_in_transaction_session_timeout=60000";

pub(crate) fn pool(address: &str, ca_file: Option<&Path>, connections: usize) -> Result<Pool, OpenError> {
    let config = config(address)?;
    let settings = ManagerConfig { recycling_method: RecyclingMethod::Fast };
    let manager = match config.get_ssl_mode() {
        SslMode::Disable => Manager::from_config(config, NoTls, settings),
        SslMode::Prefer if ca_file.is_none() => Manager::from_config(config, NoTls, settings),
        _ => Manager::from_config(config, MakeRustlsConnect::new(tls(ca_file)?), settings),
    };
    Pool::builder(manager)
        .max_size(connections.max(2))
        .wait_timeout(Some(CONNECT))
        .create_timeout(Some(CONNECT))
        .recycle_timeout(Some(CONNECT))
        .runtime(Runtime::Tokio1)
        .build()
        .map_err(|error| OpenError::Address { why: error.to_string() })
}

/// The address as a configuration. What the parser says about a bad one is kept, the address itself (it may hold a
/// password) is not.
pub(crate) fn config(address: &str) -> Result<Config, OpenError> {
    let mut config: Config =
        address.parse().map_err(|error: tokio_postgres::Error| OpenError::Address { why: error.to_string() })?;
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(CONNECT);
    }
    config.keepalives_idle(KEEP_ALIVE).tcp_user_timeout(KEEP_ALIVE);
    if config.get_application_name().is_none() {
        config.application_name("fleetward");
    }
    let options = match config.get_options() {
        Some(given) => format!("{LIMITS} {given}"),
        None => LIMITS.to_owned(),
    };
    config.options(options);
    Ok(config)
}

fn tls(ca_file: Option<&Path>) -> Result<ClientConfig, OpenError> {
    let path = ca_file.unwrap_or(Path::new(SYSTEM_CA_FILE));
    let bad = |error: rustls::pki_types::pem::Error| OpenError::Io {
        path: path.to_owned(),
        source: std::io::Error::other(error.to_string()),
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(bad)? {
        // A system's list may hold one that is too odd to use; the others still count.
        if roots.add(certificate.map_err(bad)?).is_err() {
            tracing::debug!(path = %path.display(), "a CA certificate is passed over");
        }
    }
    if roots.is_empty() {
        return Err(OpenError::Address { why: format!("{} holds no usable certificate", path.display()) });
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let versions = versions.map_err(|error| OpenError::Address { why: error.to_string() })?;
    Ok(versions.with_root_certificates(roots).with_no_client_auth())
}
